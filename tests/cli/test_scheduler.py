"""The scheduler as a user starts it: a process, its log, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.cli.conftest import PROGRAM, Terminal
from tests.rows import row


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--workers", "0"), ["--workers is no whole number from 1 to 64"]),
        (("--workers", "many"), ["--workers is no whole number from 1 to 64"]),
        (("--poll", "0"), ["--poll is no number of seconds from 0.05 to 3600"]),
        (("--workers", "65", "--poll", "often"), ["--workers is no", "--poll is no"]),
    ],
)
def test_bad_flags_are_refused_all_at_once(terminal: Terminal, flags: tuple[str, ...], told: list[str]):
    said = terminal("scheduler", "run", "--once", *flags)
    assert said.code == 2
    assert all(text in said.err for text in told)
    assert not terminal.store.exists()


def test_without_a_store_there_is_nothing_to_schedule(terminal: Terminal):
    said = terminal("scheduler", "run", "--once")
    assert (said.code, "StoreUnavailable" in said.err) == (1, True)


def test_once_tells_what_it_did(stocked: Terminal):
    answer = stocked.told("scheduler", "run", "--once", "--json").json
    assert answer == {"planned": 0, "runs": {}, "failed": {}}
    assert stocked.told("scheduler", "run", "--once").out == "planned: 0; runs: none\n"


@row("AK-67")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_without_pulumi_and_ends_in_order(stocked: Terminal, number: signal.Signals):
    """A process of its own that never imports pulumi; told to end, it does, and says so."""
    env = os.environ | stocked.settings | {"PYTHONPROFILEIMPORTTIME": "1"}
    command = [str(PROGRAM), "scheduler", "run", "--poll", "0.05"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "scheduler started" in line:
            process.send_signal(number)
    process.communicate()
    assert process.returncode == 0
    imported = {line.rsplit("|", 1)[-1].strip() for line in lines if line.startswith("import time:")}
    log = [line for line in lines if not line.startswith("import time:")]
    assert "scheduler stopped" in log[-1]
    assert "sqlalchemy" in imported
    assert not {name for name in imported if name.split(".")[0] == "pulumi"}


def test_its_log_is_as_quiet_as_asked(stocked: Terminal):
    env = os.environ | stocked.settings | {"AZURE_ROTATOR_LOG": "error"}
    ended = subprocess.run(
        [PROGRAM, "scheduler", "run", "--once", "--json"], env=env, capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""
    assert json.loads(ended.stdout)["planned"] == 0
