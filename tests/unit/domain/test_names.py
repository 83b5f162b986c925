"""Paths, ids and stamps."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.names import ID_BYTES, MAX_PATH_LENGTH, Stamp, canonical_path, encode_id, is_guid, parse_stamp
from tests.rows import row
from tests.unit.domain.steady import steady

STORE, ITEM, OPERATION = "abcdefghijklmnop", "qrstuvwxyz234567", "a2b3c4d5e6f7ghij"
STAMP = f"azure-rotator/1/{STORE}/{ITEM}/{OPERATION}"


@pytest.mark.parametrize(
    ("given_", "path"),
    [
        ("a", "/a"),
        ("/a", "/a"),
        ("prod/billing/api", "/prod/billing/api"),
        ("/Prod/Billing", "/Prod/Billing"),
        ("a.b-c_d@e+f=g~h", "/a.b-c_d@e+f=g~h"),
        ("...", "/..."),
        (".hidden/x..y", "/.hidden/x..y"),
        ("a" * (MAX_PATH_LENGTH - 1), "/" + "a" * (MAX_PATH_LENGTH - 1)),
    ],
)
def test_a_path_gets_its_leading_slash_and_keeps_the_rest(given_: str, path: str):
    assert canonical_path(given_) == path
    assert canonical_path(path) == path


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="nothing"),
        pytest.param("/", id="the root"),
        pytest.param("//a", id="two leading slashes"),
        pytest.param("a//b", id="an empty segment"),
        pytest.param("a/", id="a trailing slash"),
        pytest.param(".", id="a dot"),
        pytest.param("a/./b", id="a dot inside"),
        pytest.param("../a", id="two dots"),
        pytest.param("a b", id="a space"),
        pytest.param("a\n", id="a line break"),
        pytest.param("a\0b", id="a null"),
        pytest.param("a\\b", id="a backslash"),
        pytest.param("a:b", id="a colon"),
        pytest.param("a*", id="a wildcard"),
        pytest.param("caf\N{LATIN SMALL LETTER E WITH ACUTE}", id="a letter beyond ASCII"),
        pytest.param("a" * MAX_PATH_LENGTH, id="too long with its slash"),
    ],
)
def test_a_malformed_path_is_refused_with_the_grammar(name: str):
    with pytest.raises(Rejected) as refused:
        canonical_path(name)
    assert refused.value.code == "NameInvalid"
    assert "/prod/billing/api" in refused.value.hint


@steady
@given(st.text(max_size=300))
def test_whatever_is_given_a_path_is_canonical_or_refused(name: str):
    try:
        path = canonical_path(name)
    except Rejected:
        return
    assert re.fullmatch(r"(/[A-Za-z0-9_.@+=~-]+)+", path)
    assert len(path) <= MAX_PATH_LENGTH
    assert not {".", ".."} & set(path.split("/"))
    assert canonical_path(path) == path


@pytest.mark.parametrize(
    ("text", "guid"),
    [
        ("11111111-1111-4111-8111-111111111111", True),
        ("ABCDEFAB-cdef-0000-0000-abcdefABCDEF", True),
        ("11111111-1111-4111-8111-11111111111", False),
        ("{11111111-1111-4111-8111-111111111111}", False),
        ("11111111111141118111111111111111", False),
        (" 11111111-1111-4111-8111-111111111111", False),
        ("11111111-1111-4111-8111-111111111111\n", False),
        ("g1111111-1111-4111-8111-111111111111", False),
        ("", False),
    ],
)
def test_what_has_a_guids_form(text: str, guid: bool):
    assert is_guid(text) is guid


def test_an_id_is_sixteen_characters_of_lower_case_base32():
    assert encode_id(b"\0" * ID_BYTES) == "a" * 16
    assert encode_id(b"\xff" * ID_BYTES) == "7" * 16
    with pytest.raises(ValueError, match="10 random bytes"):
        encode_id(b"\0" * 9)


@steady
@given(st.tuples(*[st.binary(min_size=ID_BYTES, max_size=ID_BYTES)] * 3))
def test_a_stamp_is_read_back_as_it_was_written(ids: tuple[bytes, bytes, bytes]):
    stamp = Stamp(*(encode_id(one) for one in ids))
    assert parse_stamp(str(stamp)) == stamp


@row("B-31")
@pytest.mark.parametrize(
    "display_name",
    [
        None,
        "",
        "by hand",
        STAMP + " ",
        STAMP + "\n",
        " " + STAMP,
        STAMP.upper(),
        STAMP + "/x",
        STAMP.replace("/1/", "/2/"),
        STAMP.replace("azure-rotator", "azure-rotator2"),
        STAMP[:-1],
        STAMP.replace(STORE, STORE[:-1] + "1"),
        f"azure-rotator/1/{STORE}/{ITEM}",
    ],
)
def test_anything_but_the_exact_form_is_somebody_elses(display_name: str | None):
    assert parse_stamp(display_name) is None
    assert parse_stamp(STAMP) == Stamp(STORE, ITEM, OPERATION)
