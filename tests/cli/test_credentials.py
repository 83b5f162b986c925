"""Credentials in arguments: every way of giving one works, and none of them shows it anywhere."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from azure_rotator.cli.credentials import MAX_BYTES, with_credentials
from azure_rotator.cli.flags import parameter_flags
from azure_rotator.cli.invocation import Invocation, command
from azure_rotator.domain.errors import Rejected
from tests.cli.conftest import GUID, PROGRAM, Place, Terminal, offline_item, offline_target
from tests.cli.test_bad_input import refused
from tests.rows import row

# Nothing about it looks like a secret; if it is masked, then because it was given.
CANARY = "canary in a coal mine & co"

WAYS = {
    "literal": CANARY,
    "literal with prefix": f"literal:{CANARY}",
    "file read at once": "@{home}/canary",
    "stdin": "-",
    "variable": "env:CANARY",
    "file as reference": "file:{home}/canary",
}


@pytest.fixture(params=WAYS)
def given(request: pytest.FixtureRequest, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> str:
    """The argument that holds or leads to the canary."""
    (terminal.home / "canary").write_text(CANARY + "\n")
    monkeypatch.setenv("CANARY", CANARY)
    return WAYS[request.param].format(home=terminal.home)


def everything_in(home: Path, *, but: str = "canary") -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name != but)


@row("AK-29")
def test_a_credential_is_nowhere_but_in_get_value(place: Place, given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_ROTATOR_LOG", "debug")
    terminal, app = place.terminal, place.workload.app_id
    adopted = place.control.add_secret(app, display_name="by hand", value=CANARY)
    wrong = place.boot.key_id
    stdin = CANARY + "\n"
    create = place.item("--api-key", given)
    told = [
        terminal(*create, "--api-id", wrong, stdin=stdin),  # refused by the hint
        terminal(*create, "--api-id", wrong, "--json", "--debug", stdin=stdin),
        terminal.told(*create, "--api-id", adopted.key_id, stdin=stdin),
        terminal(*create, "--api-id", adopted.key_id, stdin=stdin),  # refused, the name is taken
        terminal.told("rotated-secret", "describe", "-n", "s", "--show-versions", "--debug"),
        terminal.told("rotated-secret", "describe", "-n", "s", "--json"),
        terminal.told("rotated-secret", "list", "--json"),
        terminal.told("rotated-secret", "update", "azure", "-n", "s", "--api-key", given, "--debug", stdin=stdin),
        terminal.told("target", "update", "azure", "-n", "t", "--client-secret", given, stdin=stdin),
        terminal("target", "test", "-n", "t", "--debug"),  # refused, it is no secret of that application
        terminal("rotate-secret", "-n", "s", "--debug"),
        terminal("reconcile", "--debug"),
        terminal.told("target", "list", "--json"),
        terminal.told("audit", "list", "--json"),
    ]
    for said in told:
        assert CANARY not in said.out + said.err
        assert "canary+in" not in said.out + said.err
    assert [said.code for said in told if said.code] == [2, 2, 5, 7, 7, 7]
    value = terminal.told("rotated-secret", "get-value", "-n", "s", "--jq-expression", ".value.client_secret")
    assert value.out == CANARY + "\n"
    assert CANARY not in value.err
    assert CANARY.encode() not in everything_in(terminal.home)


def leaky(error: Callable[[str], Exception]) -> click.Command:
    """A command with a bug: it fails with the credential in its message, and in its frame."""

    @command(about="", flags=parameter_flags("target"))
    def leaky(call: Invocation, /, **given: object) -> None:
        values = with_credentials(call.console, "target", given)
        secret = values["client_secret"]
        raise error(f"cannot use {secret}")

    return leaky


def our_own(message: str) -> Exception:
    return Rejected("ParameterInvalid", message, hint=message, details={"seen": message})


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("secret", [CANARY, 'with "quotes" and \\ and\nlines'], ids=["plain", "odd"])
def test_an_error_of_ours_that_holds_a_credential_is_masked(terminal: Terminal, secret: str, json: list[str]):
    said = terminal("--client-secret", "-", *json, stdin=secret, commands=leaky(our_own))
    assert said.code == 2
    assert "cannot use" in said.err
    assert "***" in said.err
    assert secret not in said.err
    assert secret.encode("unicode_escape").decode() not in said.err
    assert "quotes" not in said.err


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["plain", "debug"])
@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("way", ["literal", "literal with prefix", "file read at once", "stdin"])
def test_an_unexpected_error_is_told_without_what_it_says(
    terminal: Terminal, way: str, json: list[str], debug: list[str]
):
    (terminal.home / "canary").write_text(CANARY)
    argument = WAYS[way].format(home=terminal.home)
    said = terminal("--client-secret", argument, *json, *debug, stdin=CANARY, commands=leaky(RuntimeError))
    assert (said.code, said.out) == (1, "")
    assert "unexpected RuntimeError" in said.err
    assert CANARY not in said.err
    assert ("Traceback" in said.err) == bool(debug)
    assert ("cannot use" in said.err) == bool(debug)


@row("AK-29")
@pytest.mark.parametrize("way", WAYS)
def test_only_a_literal_is_warned_about(terminal: Terminal, way: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANARY", CANARY)
    (terminal.home / "canary").write_text(CANARY)
    argv = ("target", "create", "azure", "-n", "t", "--quiet", "--client-secret", WAYS[way].format(home=terminal.home))
    said = terminal.told(*argv, "--tenant-id", GUID, "--client-id", GUID, stdin=CANARY)
    if way.startswith("literal"):
        assert said.err.startswith("warning: --client-secret ")
        for better in ("@FILE", " - (stdin)", "env:"):
            assert better in said.err
    else:
        assert said.err == ""


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"abc", "abc"),
        (b"abc\n", "abc"),
        (b"abc\r\n", "abc"),
        (b"abc\n\n", "abc\n"),
        (b" abc ", " abc "),
        (b"env:abc", "env:abc"),
        (b"@abc", "@abc"),
        (b"-", "-"),
        (b"literal:abc", "literal:abc"),
        ("schlüssel".encode(), "schlüssel"),
    ],
)
@pytest.mark.parametrize("way", ["@{home}/canary", "-"])
def test_what_is_read_is_taken_as_it_is_but_for_one_line_end(terminal: Terminal, way: str, content: bytes, value: str):
    (terminal.home / "canary").write_bytes(content)
    terminal.told(*offline_target())
    terminal.told(*offline_item("s", api_key=way.format(home=terminal.home)), stdin=content)
    assert terminal.told("rotated-secret", "get-value", "-n", "s").json["client_secret"] == value


@pytest.mark.parametrize(
    ("way", "content", "why"),
    [
        ("@{home}/nothing", b"", "No such file"),
        ("@{home}", b"", "Is a directory"),
        ("@", b"", "cannot be read"),
        ("@{home}/canary", b"", "is empty"),
        ("@{home}/canary", b"\n", "is empty"),
        ("@{home}/canary", b"\xff\xfe", "not UTF-8"),
        ("@{home}/canary", b"x" * (MAX_BYTES + 1), "more than 64 KiB"),
        ("-", b"", "is empty"),
        ("-", b"\xff\xfe", "not UTF-8"),
        ("-", b"x" * (MAX_BYTES + 1), "more than 64 KiB"),
    ],
)
def test_a_credential_that_cannot_be_read_is_told_with_its_flag(terminal: Terminal, way: str, content: bytes, why: str):
    (terminal.home / "canary").write_bytes(content)
    argument = way.format(home=terminal.home)
    said = terminal("target", "create", "azure", "-n", "t", "--client-secret", argument, stdin=content)
    refused(said, "ReferenceUnresolved", 2, "--client-secret", why)
    assert not terminal.store.exists()


def test_a_credential_typed_at_a_terminal_is_not_shown(terminal: Terminal):
    mine, its = pty.openpty()
    argv = ["target", "create", "azure", "-n", "t", "--tenant-id", GUID, "--client-id", GUID, "--client-secret", "-"]
    process = subprocess.Popen(
        [PROGRAM, *argv], stdin=its, stdout=its, stderr=its, env=os.environ | terminal.settings, start_new_session=True
    )
    os.close(its)
    shown = b""
    typed = False
    while True:
        try:
            shown += os.read(mine, 4096)
        except OSError:  # the other end is closed: that is how a terminal says end of file
            break
        if b"--client-secret: " in shown and not typed:
            os.write(mine, CANARY.encode() + b"\n")
            typed = True
    os.close(mine)
    assert process.wait() == 0, shown
    assert typed
    assert CANARY.encode() not in shown
    assert b"target_name" in shown
