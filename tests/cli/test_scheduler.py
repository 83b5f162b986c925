"""The scheduler as a user starts it: a process, its log, its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import psycopg
import pytest

from azure_rotator.dispatch.procrastinate import SCHEMA
from tests import direct
from tests.cli.conftest import PROGRAM, Terminal
from tests.plugins.postgres import Postgres
from tests.plugins.receivers import Collector, attributes
from tests.rows import row


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--workers", "0"), ["--workers is no whole number from 1 to 64"]),
        (("--workers", "many"), ["--workers is no whole number from 1 to 64"]),
        (("--poll", "0"), ["--poll is no number of seconds from 0.05 to 3600"]),
        (("--dispatcher", "celery"), ["--dispatcher is none of: rows, procrastinate"]),
        (
            ("--workers", "65", "--poll", "often", "--dispatcher", ""),
            ["--workers is no", "--poll is no", "--dispatcher is none"],
        ),
        (("--log-format", "xml"), ["--log-format is none of logfmt, json"]),
        (("--metrics-port", "0"), ["--metrics-port is for a process that goes on, and --once ends"]),
        (("--metrics-address", "::"), ["--metrics-address is for a process that goes on"]),
    ],
)
def test_bad_flags_are_refused_all_at_once(terminal: Terminal, flags: tuple[str, ...], told: list[str]):
    said = terminal("scheduler", "run", "--once", *flags)
    assert said.code == 2
    assert all(text in said.err for text in told)
    assert not terminal.store.exists()


@pytest.mark.parametrize(
    ("flags", "environment", "told"),
    [
        (("--metrics-port", "65536"), {}, "--metrics-port is no port from 0 to 65535"),
        (("--metrics-port", "http"), {}, "--metrics-port is no port from 0 to 65535"),
        ((), {"AZURE_ROTATOR_METRICS_PORT": "-1"}, "AZURE_ROTATOR_METRICS_PORT is no port from 0 to 65535"),
        (("--metrics-address", "::1"), {}, "nothing says on which port (ParameterMissing)"),
        (("--metrics-port", "0", "--metrics-address", "192.0.2.1"), {}, "that is no address of this machine"),
        ((), {"AZURE_ROTATOR_LOG_FORMAT": "xml"}, "AZURE_ROTATOR_LOG_FORMAT names no format of the log"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_before_anything_starts(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], environment: dict[str, str], told: str
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = terminal("scheduler", "run", *flags)
    assert (said.code, told in said.err) == (2, True), said.err
    assert not terminal.store.exists()


def test_a_port_that_is_taken_is_refused_with_what_to_do(stocked: Terminal):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = stocked("scheduler", "run", "--metrics-port", port)
    assert said.code == 2
    assert f"metrics cannot be served at 127.0.0.1, port {port}: another program listens there" in said.err
    assert "choose another --metrics-port (0 takes any that is free)" in said.err
    assert "scheduler started" not in said.err


@pytest.mark.full
def test_a_job_that_shares_the_environment_of_a_service_serves_nothing(
    stocked: Terminal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AZURE_ROTATOR_METRICS_PORT", "1")
    assert stocked.told("scheduler", "run", "--once").out == "planned: 0; runs: none\n"


@row("B-28")
def test_metrics_and_health_of_a_process_and_its_log_as_json(stocked: Terminal):
    env = os.environ | stocked.settings | {"AZURE_ROTATOR_METRICS_PORT": "0"}
    command = [str(PROGRAM), "scheduler", "run", "--poll", "0.05", "--log-format", "json"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    for text in process.stderr:
        lines.append(json.loads(text))
        if lines[-1]["event"] == "scheduler started":
            break
    (served,) = [line for line in lines if line["event"] == "metrics served"]
    assert (served["address"], served["level"]) == ("127.0.0.1", "info")
    url = f"http://127.0.0.1:{served['port']}"
    with direct.ask(f"{url}/healthz", timeout=30) as answer:
        assert answer.read() == b"ok\n"
    with direct.ask(f"{url}/metrics", timeout=30) as answer:
        shown = answer.read().decode()
    process.send_signal(signal.SIGTERM)
    rest = [json.loads(text) for text in process.communicate()[1].splitlines()]
    assert process.returncode == 0
    assert rest[-1]["event"] == "scheduler stopped"
    assert "azure_rotator_store_up 1.0" in shown
    assert re.search(r'^azure_rotator_items\{kind="api-key",target="[^"]+"\} \d', shown, re.MULTILINE)
    assert "process_resident_memory_bytes" in shown


@pytest.mark.parametrize(
    ("argv", "variable"),
    [
        ("scheduler run --once --dispatcher procrastinate", "rows"),
        ("scheduler run --once", "procrastinate"),
        ("db upgrade", "procrastinate"),
    ],
)
def test_procrastinate_is_refused_on_sqlite_before_anything_is_done(
    terminal: Terminal, argv: str, variable: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AZURE_ROTATOR_DISPATCHER", variable)
    said = terminal(*argv.split(), "--json")
    assert (said.code, said.error["code"]) == (2, "ParameterInvalid")
    assert "needs a store in PostgreSQL" in said.error["message"]
    assert "the dispatcher rows" in said.error["hint"]
    assert not terminal.store.exists()


def test_without_the_extra_it_is_refused_before_anything_is_done(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    monkeypatch.delitem(sys.modules, "azure_rotator.dispatch.procrastinate", raising=False)
    monkeypatch.delattr("azure_rotator.dispatch.procrastinate", raising=False)
    monkeypatch.setenv("AZURE_ROTATOR_STORE", "postgresql://nobody@/nothing?host=/nowhere")
    said = terminal("scheduler", "run", "--dispatcher", "procrastinate", "--json")
    assert (said.code, said.error["code"]) == (2, "ParameterInvalid")
    assert "install azure-rotator[procrastinate]" in said.error["hint"]


def test_a_setting_that_names_no_dispatcher_is_refused(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_ROTATOR_DISPATCHER", "celery")
    said = terminal("scheduler", "run", "--once")
    assert (said.code, "set AZURE_ROTATOR_DISPATCHER to one of: rows, procrastinate" in said.err) == (2, True)


def test_on_postgresql_the_flag_wins_and_a_password_is_nowhere(
    terminal: Terminal, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
):
    """The flag against the variable; the tables are made by whoever comes first, and no check of the store minds."""
    password = "Q7w~made.up-of-the-store"
    url = postgres.create()
    monkeypatch.setenv("AZURE_ROTATOR_STORE", url.replace("postgres@", f"postgres:{password}@"))
    monkeypatch.setenv("AZURE_ROTATOR_DISPATCHER", "rows")
    monkeypatch.setenv("AZURE_ROTATOR_LOG", "debug")
    terminal.told("key", "create")
    terminal.told("db", "upgrade")
    spoken = []
    with psycopg.connect(url, autocommit=True) as connection:
        for argv, made in (
            (("scheduler", "run", "--once"), False),
            (("scheduler", "run", "--once", "--dispatcher", "procrastinate"), True),
            (("db", "check"), True),
            (("db", "upgrade"), True),
        ):
            said = terminal.told(*argv)
            spoken.append(said.out + said.err)
            found = connection.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.procrastinate_jobs"]).fetchone()
            assert (found != (None,)) is made, argv
    monkeypatch.setenv("AZURE_ROTATOR_STORE", url.replace("postgres@", f"nobody:{password}@"))
    said = terminal("scheduler", "run", "--once", "--dispatcher", "procrastinate")
    assert (said.code, "StoreUnavailable" in said.err) == (1, True)
    assert password not in "".join([*spoken, said.out, said.err])


def test_db_upgrade_makes_the_queue_of_the_dispatcher_that_is_set(
    terminal: Terminal, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
):
    url = postgres.create()
    monkeypatch.setenv("AZURE_ROTATOR_STORE", url)
    monkeypatch.setenv("AZURE_ROTATOR_DISPATCHER", "procrastinate")
    terminal.told("key", "create")
    for _ in range(2):
        terminal.told("db", "upgrade")
        with psycopg.connect(url) as connection:
            assert connection.execute(f"SELECT * FROM {SCHEMA}.procrastinate_jobs").fetchall() == []  # noqa: S608


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


@pytest.mark.full
def test_traces_are_sent_where_the_environment_says(stocked: Terminal, collector: Collector):
    with closing(sqlite3.connect(stocked.store)) as store, store:
        store.execute(
            "UPDATE items SET auto_rotate = 1, rotation_interval = 7, next_rotation_at = '2026-01-01 00:00:00'"
        )
    said = stocked("scheduler", "run", "--once")
    assert (said.code, "AzureUnavailable" in said.err) == (7, True), "there is no Azure here"
    (span,) = [span for span in collector.spans if span.name == "rotation"]
    assert attributes(span)["error.type"] == "AzureUnavailable"
    assert f"trace_id={span.trace_id.hex()}" in said.err


def test_traces_that_cannot_be_sent_keep_nothing_from_rotating(stocked: Terminal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    done = stocked.told("scheduler", "run", "--once")
    assert 'event="traces are not sent"' in done.err
    assert done.out == "planned: 0; runs: none\n"
