"""A credential shows itself to nobody who does not ask for it by name."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import pytest

from azure_rotator.domain.names import is_guid
from azure_rotator.domain.ports import Identity, NewPassword
from azure_rotator.domain.secrettext import SealedBytes, SealedFor, SecretText
from tests.unit.domain.samples import NOW

CANARY = "Ca7~nary.8Q~value-that-nobody-may-see"
SECRET = SecretText(CANARY)


@dataclass(frozen=True)
class Holder:
    name: str
    secret: SecretText


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(ascii, id="ascii"),
        pytest.param(lambda s: f"{s}", id="f-string"),
        pytest.param(lambda s: f"{s!r:>60}", id="f-string with repr"),
        pytest.param(lambda s: f"{s:>60}", id="f-string with a format"),
        pytest.param(lambda s: format(s, "s"), id="format"),
        pytest.param(lambda s: f"{s}", id="str.format"),
        pytest.param(lambda s: "%s %r" % (s, s), id="percent"),  # noqa: UP031 - this is the case
        pytest.param(lambda s: pprint.pformat([s]), id="pprint"),
        pytest.param(lambda s: json.dumps({"s": s}, default=str), id="JSON with a default"),
        pytest.param(lambda s: repr({"s": s, "list": [s], "tuple": (s,)}), id="inside of collections"),
        pytest.param(lambda s: repr(Holder("x", s)), id="inside of a dataclass"),
        pytest.param(lambda s: repr(replace(Holder("x", SECRET), secret=s)), id="inside of a replaced dataclass"),
        pytest.param(
            lambda s: repr(Identity(tenant_id="t", client_id="c", secret=s, label="target")), id="inside of an identity"
        ),
        pytest.param(
            lambda s: repr(NewPassword(key_id="k", value=s, hint="Ca7", start_at=NOW, end_at=NOW)),
            id="inside of a new password",
        ),
        pytest.param(lambda s: " ".join(dir(s)), id="dir"),
        pytest.param(lambda s: repr(getattr(s, "__dict__", None)), id="no __dict__"),
        pytest.param(lambda s: repr(s.__reduce_ex__) + repr(s.reveal), id="its bound methods"),
    ],
)
def test_no_way_of_showing_it_shows_it(show: Callable[[SecretText], str]):
    assert CANARY not in show(SECRET)
    assert "ary.8Q~value" not in show(SECRET)


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(pickle.dumps, id="pickle"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda s: pickle.dumps(Holder("x", s)), id="pickle of what holds it"),
        pytest.param(lambda s: asdict(Holder("x", s)), id="asdict of what holds it"),
        pytest.param(json.dumps, id="json"),
        pytest.param(lambda s: json.dumps({"s": s}), id="json of what holds it"),
        pytest.param(hash, id="hash"),
        pytest.param(lambda s: {s}, id="a set"),
        pytest.param(lambda s: {s: 1}, id="a dictionary's key"),
        pytest.param(lambda s: "x" + s, id="plus a text"),
        pytest.param(lambda s: ",".join([s] * 2), id="join"),
        pytest.param(list, id="iteration"),
        pytest.param(len, id="length"),
        pytest.param(bytes, id="bytes"),
    ],
)
def test_what_would_copy_or_store_it_fails_without_it(attempt: Callable[[SecretText], object]):
    with pytest.raises(TypeError) as failed:
        attempt(SECRET)
    assert CANARY not in "".join(traceback.format_exception(failed.value))


def test_a_traceback_with_local_variables_does_not_show_it():
    def fails(secret: SecretText) -> None:
        holder = Holder("x", secret)
        raise RuntimeError(f"nothing about {holder}")

    secret = SecretText(CANARY)
    with pytest.raises(RuntimeError) as failed:
        fails(secret)
    shown = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
    text = "".join(shown.format())
    assert "SecretText(***)" in text
    assert CANARY not in text


def test_a_log_line_does_not_show_it(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("azure_rotator.test").debug("logged in as %s with %r", SECRET, {"secret": SECRET})
    assert CANARY not in caplog.text


def test_it_can_be_opened_asked_and_compared():
    assert SECRET.reveal() == CANARY
    assert SECRET.satisfies(lambda value: value.startswith("Ca7"))
    assert not SECRET.satisfies(is_guid)
    assert SecretText(CANARY) == SECRET
    assert SecretText(CANARY + "x") != SECRET
    assert (SECRET == CANARY) is False
    assert bool(SECRET)
    assert not SecretText("")


def test_bytes_of_an_environment_that_are_no_text_compare_without_being_told():
    """os.environ holds such bytes as lone surrogates, and an encoding error quotes the whole text."""
    odd = SecretText(CANARY + "\udc80")
    assert odd == SecretText(CANARY + "\udc80")
    assert odd != SECRET


def test_sealed_bytes_tell_their_length_only():
    sealed = SealedBytes(b"\x01ciphertext")
    assert repr(sealed) == str(sealed) == "SealedBytes(11 bytes)"
    assert sealed == SealedBytes(b"\x01ciphertext")


def test_places_differ_by_table_row_and_version():
    places = {
        SealedFor(table="versions", row="a", version=1),
        SealedFor(table="versions", row="a", version=2),
        SealedFor(table="versions", row="b", version=1),
        SealedFor(table="targets", row="a", version=1),
        SealedFor(table="targets", row="a"),
    }
    assert len(places) == 5
