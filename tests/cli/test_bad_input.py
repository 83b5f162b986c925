"""Refusals: a code, a fix, and nothing changed: no row of the store, no write to Azure, no file made."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.conftest import Place, Said, Terminal
from tests.rows import row

NOWHERE = "99999999-9999-4999-8999-999999999999"
BY_USER = {"--authentication-credentials": "use-user-creds"}


def refused(said: Said, code: str, exit_code: int, *mentions: str) -> None:
    """It was refused so, with a fix, and without a result."""
    assert (said.out, said.code) == ("", exit_code), said
    assert f"({code})" in said.err
    assert "\nhint: " in said.err
    for text in mentions:
        assert text in said.err


@contextmanager
def unchanged(place: Place) -> Iterator[None]:
    before = place.terminal.rows(), place.writes()
    yield
    assert (place.terminal.rows(), place.writes()) == before


# One line each: what differs from a create that goes well, its refusal, what is mentioned, the row.
CREATES = [
    ("unknown target", {"--target-name": "nowhere"}, "TargetNotFound", 4, '"/nowhere"', "AK-02"),
    ("no such rotator", {"--rotator-type": "cert"}, "RotatorTypeInvalid", 2, "azure-storage-account", None),
    ("no such mode", {"--authentication-credentials": "x"}, "AuthModeInvalid", 2, "use-user-creds", "AK-19"),
    ("no application", {"--app-id": None}, "ParameterMissing", 2, "--app-id", "AK-30"),
    ("application is no GUID", {"--app-id": "billing"}, "IdentifierMixedUp", 2, "(client) id", "AK-30"),
    ("unknown application", {"--app-id": NOWHERE}, "ApplicationNotFound", 7, NOWHERE, "AK-30"),
    ("object id as application", {"--app-id": "{object}"}, "ApplicationNotFound", 7, "(client) id", "AK-30"),
    ("api-id equal to app-id", {"--api-id": "{app}"}, "IdentifierMixedUp", 2, "api-id is the secret's keyId", "AK-27"),
    ("unknown keyId", {"--api-id": NOWHERE}, "CredentialNotFound", 7, NOWHERE, "AK-27"),
    ("another's value", {"--api-id": "{boot}", "--api-key": "@{home}/other"}, "IdentifierMixedUp", 2, "hint", "AK-27"),
    ("keyId as value", {"--api-id": "{boot}", "--api-key": "{boot}"}, "IdentifierMixedUp", 2, "api_key", "AK-27"),
    ("value without keyId", {"--api-key": "@{home}/other"}, "ParameterMissing", 2, "--api-id", None),
    ("keyId without value", {"--api-id": "{boot}"} | BY_USER, "ParameterMissing", 2, "--api-key", "AK-29"),
    ("no such file", {"--api-key": "@{home}/nothing"}, "ReferenceUnresolved", 2, "No such file", None),
    ("empty stdin", {"--api-key": "-"}, "ReferenceUnresolved", 2, "stdin is empty", None),
    ("no such variable", {"--api-id": "{boot}", "--api-key": "env:NOT_SET"}, "ReferenceUnresolved", 2, "NOT_SET", None),
    ("rotation without interval", {"--auto-rotate": "true"}, "ParameterMissing", 2, "--rotation-interval", None),
    ("neither true nor false", {"--auto-rotate": "ja"}, "ParameterInvalid", 2, "true or false", None),
    ("interval 0", {"--rotation-interval": "0"}, "IntervalOutOfRange", 2, "1-365", None),
    ("interval 366", {"--rotation-interval": "366"}, "IntervalOutOfRange", 2, "1-365", None),
    ("interval -1", {"--rotation-interval": "-1"}, "IntervalOutOfRange", 2, "1-365", None),
    ("interval 1.5", {"--rotation-interval": "1.5"}, "IntervalOutOfRange", 2, "1-365", None),
    ("interval x", {"--rotation-interval": "x"}, "IntervalOutOfRange", 2, "1-365", None),
    ("empty interval", {"--rotation-interval": ""}, "IntervalOutOfRange", 2, "1-365", None),
    ("no duration", {"--revoke-after": "soon"}, "ParameterInvalid", 2, "24h", None),
    ("empty segment", {"--name": "/x//s"}, "NameInvalid", 2, "segments", "AK-16"),
    ("trailing slash", {"--name": "x/s/"}, "NameInvalid", 2, "segments", "AK-16"),
    ("one dot", {"--name": "x/./s"}, "NameInvalid", 2, "segments", "AK-16"),
    ("two dots", {"--name": "x/../s"}, "NameInvalid", 2, "segments", "AK-16"),
    ("forbidden character", {"--name": "x/s?"}, "NameInvalid", 2, "segments", "AK-16"),
    ("umlaut", {"--name": "x/ä"}, "NameInvalid", 2, "segments", "AK-16"),
    ("only a slash", {"--name": "/"}, "NameInvalid", 2, "segments", "AK-16"),
    ("empty name", {"--name": ""}, "NameInvalid", 2, "segments", "AK-16"),
    ("unknown option", {"--bogus": "1"}, "ParameterInvalid", 2, "--bogus", None),
]


def _cases():
    for name, options, code, exit_code, mention, shown in CREATES:
        marks = (row(shown),) if shown else ()
        yield pytest.param(options, code, exit_code, mention, id=name, marks=marks)


@pytest.mark.parametrize(("options", "code", "exit_code", "mention"), [*_cases()])
def test_a_create_that_cannot_be_is_refused_and_changes_nothing(
    place: Place, options: dict[str, str | None], code: str, exit_code: int, mention: str
):
    (place.terminal.home / "other").write_text("this-is-another-value")
    given: dict[str, str | None] = {
        "--name": "s",
        "--target-name": "t",
        "--rotator-type": "api-key",
        "--authentication-credentials": "use-target-creds",
        "--app-id": "{app}",
    }
    names = {**place.names, "home": str(place.terminal.home)}
    argv = ["rotated-secret", "create", "azure"]
    for flag, value in (given | options).items():
        argv += [] if value is None else [flag, value.format(**names)]
    with unchanged(place):
        refused(place.terminal(*argv), code, exit_code, mention)
    with unchanged(place):
        error = place.terminal(*argv, "--json").error
        assert (error["code"], error["exit_code"]) == (code, exit_code)
        assert error["hint"]


@row("AK-04")
def test_a_target_lacking_three_things_is_told_all_three_and_makes_no_store(terminal: Terminal):
    said = terminal("target", "create", "azure", "--name", "t")
    refused(said, "ParameterMissing", 2)
    assert [line.partition(" ")[2].partition(" ")[0] for line in said.err.splitlines() if line.startswith("error")] == [
        "tenant_id",
        "client_id",
        "client_secret",
    ]
    assert list(terminal.home.iterdir()) == []


def test_with_json_all_failures_are_in_the_details(terminal: Terminal):
    error = terminal("target", "create", "azure", "--json", "--tenant-id", "x").error
    assert [(p["property"], p["code"]) for p in error["details"]["problems"]] == [
        ("name", "ParameterMissing"),
        ("tenant_id", "IdentifierMixedUp"),
        ("client_id", "ParameterMissing"),
        ("client_secret", "ParameterMissing"),
    ]


@row("AK-15")
def test_a_taken_path_is_refused_whichever_way_it_is_written(place: Place):
    place.terminal.told(*place.item("--description", "first", name="a/s"))
    with unchanged(place):
        refused(place.terminal(*place.item("--description", "second", name="/a/s")), "NameConflict", 5, "/a/s")


@row("AK-16")
def test_a_failed_create_leaves_no_folder(place: Place):
    place.control.add_fault("graph.addPassword", app=place.workload.app_id, preset="denied")
    refused(place.terminal(*place.item(name="x/y/s")), "AzurePermissionMissing", 7)
    listed = place.terminal.told("list-items", "--json").json
    assert (listed["items"], listed["folders"]) == ([], [])


class TestWrongSecret:
    @pytest.fixture
    def place(self, place: Place) -> Place:
        place.terminal.told(
            *("target", "update", "azure", "-n", "t", "--client-secret", "-"), stdin="a-value-that-entra-never-made"
        )
        return place

    @pytest.mark.parametrize("argv", [("target", "test", "-n", "t"), None], ids=["target test", "create"])
    def test_is_told_with_entras_number_and_without_the_value(self, place: Place, argv: tuple[str, ...] | None):
        with unchanged(place):
            said = place.terminal(*(argv or place.item()))
        refused(said, "AzureAuthFailed", 7, "AADSTS7000215")
        assert "entra-never" not in said.err


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("command", ["target test", "create", "rotate"])
def test_an_unreachable_login_host_is_told_and_nothing_changes(
    place: Place, command: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
):
    place.terminal.told(*place.item(name="old"))
    argv = {
        "target test": ["target", "test", "-n", "t"],
        "create": place.item(),
        "rotate": ["rotate-secret", "-n", "old"],
    }
    value = place.terminal.told("rotated-secret", "get-value", "-n", "old").out
    for name in [name for name in os.environ if name.lower() in {"https_proxy", "http_proxy", "all_proxy"}]:
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    writes = place.writes()
    before = place.terminal.rows()
    refused(place.terminal(*argv[command], "--timeout", "1"), "AzureUnavailable", 7)
    assert place.writes() == writes
    if command == "rotate":  # it is in the journal, and goes on when Azure is back
        assert place.terminal.told("rotated-secret", "get-value", "-n", "old").out == value
        assert place.terminal.rows()["versions"] == before["versions"]
    else:
        assert place.terminal.rows() == before
