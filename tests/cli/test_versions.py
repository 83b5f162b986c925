"""``rotate-secret --revoke-now`` and ``rotated-secret delete --version`` at the terminal."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from tests.cli.conftest import PROGRAM, Place
from tests.rows import row


@row("B-03", "B-04")
def test_revoke_now_retires_at_once_and_asks_nobody_off_a_terminal(place: Place):
    terminal = place.terminal
    terminal.told(*place.item())
    done = terminal.told("rotate-secret", "-n", "s", "--revoke-now", "--json")
    assert done.json["version"] == 2
    versions = terminal.told("rotated-secret", "describe", "-n", "s", "--show-versions", "--json").json["item_versions"]
    assert [v["stage"] for v in versions] == ["revoked", "current"]


@row("B-03")
@pytest.mark.parametrize(
    ("typed", "options", "code"),
    [("/s", (), 0), ("/t", (), 2), ("", (), 2), (None, ("--yes",), 0)],
    ids=["the name", "another name", "nothing", "--yes does not ask"],
)
def test_on_a_terminal_the_name_is_asked_for(place: Place, typed: str | None, options: tuple[str, ...], code: int):
    terminal = place.terminal
    terminal.told(*place.item())
    terminal.told("get-rotated-secret-value", "-n", "s")
    mine, its = pty.openpty()
    argv = [str(PROGRAM), "rotate-secret", "-n", "s", "--revoke-now", *options]
    environment = os.environ | terminal.settings
    process = subprocess.Popen(argv, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True)
    os.close(its)
    shown, asked = b"", False
    while True:
        try:
            shown += os.read(mine, 4096)
        except OSError:  # the other end is closed
            break
        if b"type /s to rotate and revoke: " in shown and not asked:
            asked = True
            os.write(mine, (typed or "").encode() + b"\n")
    os.close(mine)
    assert process.wait() == code, shown
    assert asked is (typed is not None)
    assert (b"ada read a value" in shown) is asked
    version = terminal.told("rotated-secret", "describe", "-n", "s", "--json").json["last_version"]
    assert version == (2 if code == 0 else 1)


@row("B-04")
def test_all_services_is_only_false(place: Place):
    place.terminal.told(*place.item())
    said = place.terminal("rotate-secret", "-n", "s", "--rotate-all-services", "--json")
    assert (said.code, said.error["code"]) == (2, "ParameterInvalid")
    place.terminal.told("gateway-rotate-secret", "-n", "s", "--rotate-all-services", "false")


@row("B-05", "B-04")
def test_one_version_is_deleted(place: Place):
    terminal = place.terminal
    terminal.told(*place.item("--max-versions", "5"))
    terminal.told("rotate-secret", "-n", "s")
    said = terminal("rotated-secret", "delete", "-n", "s", "--version", "2", "--json")
    assert (said.code, said.error["code"]) == (5, "VersionIsCurrent")
    assert terminal("rotated-secret", "delete", "-n", "s", "--version", "9").code == 4
    assert terminal("rotated-secret", "delete", "-n", "s", "--version", "x").code == 2
    done = terminal.told("rotated-secret", "delete", "-n", "s", "--version", "1", "--json").json
    assert (done["version_deleted"], len(done["revoked"]), done["orphans"]) == (1, 1, [])
    told = terminal.told("delete-item", "-n", "s", "--version", "-1", "--json").json
    assert told["version_deleted"] == -1


@pytest.mark.parametrize("given", ["0", "301", "many"])
def test_max_versions_is_1_to_300(place: Place, given: str):
    said = place.terminal(*place.item("--max-versions", given, "--json"))
    assert (said.code, said.error["code"]) == (2, "ParameterInvalid")
