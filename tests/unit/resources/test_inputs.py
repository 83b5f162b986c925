"""Bags to arguments and back; fingerprints."""

from __future__ import annotations

import pytest
from pulumi.output import Unknown
from pulumi.runtime import rpc

from azure_rotator.resources.inputs import check, fingerprint, live, matches, plain

TARGET = {
    "name": "/prod/contoso",
    "tenant_id": "11111111-1111-4111-8111-111111111111",
    "client_id": "22222222-2222-4222-8222-222222222201",
    "client_secret": "x",
}


def test_a_fingerprint_tells_the_argument_again_and_nothing_else():
    known = fingerprint("env:X", b"0123456789abcdef")
    assert matches("env:X", known)
    for other in ("env:Y", "X", "", None):
        assert not matches(other, known)
    assert "env:X" not in known


def test_the_same_argument_has_another_fingerprint_each_time():
    assert fingerprint("a", b"1") != fingerprint("a", b"2")


def test_no_argument_has_a_fingerprint_that_no_argument_matches():
    known = fingerprint(None, b"salt")
    assert matches(None, known)
    assert not matches("", known)


@pytest.mark.parametrize("damaged", ["", ":", "no hex:00", "00"])
def test_a_damaged_fingerprint_matches_nothing(damaged):
    assert not matches("a", damaged)


def test_a_bag_loses_what_is_pulumis_own():
    assert plain({"__provider": "…", "__defaults": [], "a": rpc.wrap_rpc_secret("b")}) == {"a": "b"}


@pytest.mark.parametrize(
    ("olds", "news", "missing"),
    [
        ({}, {"client_secret": None}, ["client_secret"]),
        ({"connection_type": "credentials"}, {"client_secret": None}, []),
        ({"connection_type": "cloud-identity"}, {"client_secret": None}, ["client_secret"]),
        ({"connection_type": "credentials"}, {"client_secret": None, "tenant_id": None}, ["tenant_id"]),
        ({}, {"client_secret": Unknown(), "tenant_id": Unknown()}, []),
    ],
    ids=["a new Target", "one that has a secret", "one that has none", "one that drops more", "unknown"],
)
def test_a_target_that_has_a_secret_may_drop_it_from_the_program(olds, news, missing):
    given = {name: value for name, value in {**TARGET, **news}.items() if value is not None}
    assert [problem.property for problem in check("target", olds, given)[1]] == missing


def test_what_the_class_fills_in_passes_a_check_untouched():
    inputs, problems = check("target", {}, {**TARGET, "owner": "a/b/c"})
    assert not problems
    assert inputs["owner"] == "a/b/c"


def test_a_refresh_gives_live_values_of_what_the_program_sets():
    olds = {
        "name": "/a",
        "rotation_interval": 30.0,
        "api_id": "old",
        "owner": "o",
        "rotation_trigger": "t",
        "version": 1.0,
    }
    present = {"name": "/b", "rotation_interval": None, "api_id": "live", "revoke_after": "1h", "tags": ()}
    assert live("secret", olds, present) == (
        {"name": "/b", "api_id": "old", "owner": "o", "rotation_trigger": "t"},
        True,
    )


def test_a_refresh_without_a_difference_says_so():
    olds = {"name": "/a", "rotation_interval": 30.0, "tags": ["x"], "version": 1.0}
    inputs, moved = live("secret", olds, {"name": "/a", "rotation_interval": 30, "tags": ("x",)})
    assert not moved
    assert inputs == {"name": "/a", "rotation_interval": 30, "tags": ["x"]}
