"""The command line, as a person at a terminal meets it: input, stdout, stderr, exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from azure_sandbox import cli, process
from azure_sandbox.seed import default_seed

TENANT = "11111111-1111-4111-8111-111111111111"
ROTATOR = "22222222-2222-4222-8222-222222222201"
BILLING = "33333333-3333-4333-8333-333333333301"
BILLING_OBJECT = "33333333-3333-4333-8333-333333333302"
LOGIN = f"""
import os, httpx
form = {{"grant_type": "client_credentials", "client_id": "{ROTATOR}",
        "client_secret": open(os.environ["AZURE_SANDBOX_STATE"] + "/secrets/rotator").read(),
        "scope": "https://graph.microsoft.com/.default"}}
token = httpx.post("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token", data=form).json()["access_token"]
headers = {{"authorization": "Bearer " + token}}
url = "https://graph.microsoft.com/v1.0/applications/{BILLING_OBJECT}/addPassword"
answer = httpx.post(url, headers=headers, json={{"passwordCredential": {{"displayName": "mine"}}}})
print(answer.status_code, answer.json()["keyId"])
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


def invoke(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, process.STATE_VARIABLE: str(state)}
    command = [sys.executable, "-m", "azure_sandbox", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    state = tmp_path / "state"
    yield lambda *arguments: invoke(state, *arguments)
    running = process.find(state)
    if running is not None:
        process.stop(running)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A sandbox that runs, for commands that leave it as it is."""
    state = tmp_path_factory.mktemp("cli") / "state"
    running, _ = process.start(state)
    yield lambda *arguments: invoke(state, *arguments)
    process.stop(running)


def test_start_twice_use_and_stop(run: Run, tmp_path: Path):
    first = run("start")
    assert re.fullmatch(r"sandbox started: https://127\.0\.0\.1:\d+ \(pid \d+\)\n", first.stdout)
    assert first.stderr == "hint: azure-sandbox run -- COMMAND\n"
    second = run("start")
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == first.stdout.replace("started", "runs already")
    stopped = run("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "sandbox stopped\n")
    again = run("stop")
    assert (again.returncode, again.stdout) == (0, "sandbox is not running\n")


def test_run_starts_the_sandbox_passes_the_exit_code_and_leaves_it_running(run: Run, tmp_path: Path):
    done = run("run", "--", sys.executable, "-c", "print('hello'); raise SystemExit(7)")
    assert (done.returncode, done.stdout) == (7, "hello\n")
    assert done.stderr.splitlines() == [
        f"azure-sandbox: started on {tmp_path / 'state'}; it goes on running until: azure-sandbox stop"
    ]
    second = run("run", sys.executable, "-c", LOGIN)
    assert re.fullmatch(r"200 [0-9a-f-]{36}\n", second.stdout), second.stderr
    assert second.stderr == ""
    assert run("status").returncode == 0


def test_what_run_starts_reaches_nothing_else(shared: Run):
    code = "import httpx; print(httpx.get('http://example.com').status_code); httpx.get('https://example.com')"
    done = shared("run", sys.executable, "-c", code)
    assert done.stdout == "403\n"
    assert "httpx.ProxyError: 403 Forbidden" in done.stderr


def test_run_hides_what_would_lead_past_the_sandbox(shared: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "http://elsewhere:1")
    monkeypatch.setenv("no_proxy", "graph.microsoft.com")
    code = "import os; print(os.environ.get('ALL_PROXY'), os.environ['no_proxy'])"
    assert shared("run", sys.executable, "-c", code).stdout == "None 127.0.0.1,localhost\n"


@pytest.mark.parametrize(("command", "status"), [("there-is-no-such-command", 127), ("/", 126)])
def test_a_command_that_cannot_run_has_the_shells_exit_code(shared: Run, command, status):
    done = shared("run", "--", command)
    assert done.returncode == status
    assert done.stderr.startswith(f"azure-sandbox: error: {command}: ")


def test_status_tells_what_there_is(shared: Run):
    told = shared("status").stdout
    for line in (f"tenant   {TENANT}  Contoso (sandbox) (public)", f"app      {ROTATOR}  rotator"):
        assert line in told.splitlines()
    record = json.loads(shared("status", "--json").stdout)
    assert record["running"] is True
    assert {item["name"]: item["app_id"] for item in record["applications"]}["billing-api"] == BILLING


@pytest.mark.parametrize(
    "command",
    [("env",), ("journal",), ("reset",), ("seed", "show"), ("fault", "list"), ("clock", "show")],
    ids=" ".join,
)
def test_without_a_sandbox_the_way_out_is_named(run: Run, tmp_path: Path, command):
    done = run(*command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"azure-sandbox: error: no sandbox runs on {tmp_path / 'state'}\nhint: azure-sandbox start\n"
    )


def test_status_without_a_sandbox_is_no_error_but_an_exit_code(run: Run, tmp_path: Path):
    assert (run("status").returncode, run("status").stdout) == (1, f"not running on {tmp_path / 'state'}\n")
    assert json.loads(run("status", "--json").stdout) == {"running": False, "state": str(tmp_path / "state")}


def test_env_is_what_run_sets(shared: Run):
    evaluated = subprocess.run(
        ["sh", "-c", f"{shared('env').stdout}\nenv"], capture_output=True, text=True, check=True, env={"ALL_PROXY": "x"}
    )
    in_shell = dict(line.split("=", 1) for line in evaluated.stdout.splitlines())
    record = json.loads(shared("env", "--json").stdout)
    assert "ALL_PROXY" not in in_shell
    assert {name: in_shell.get(name) for name in record} == record
    assert not re.search("secret(?!s/)|token", shared("env").stdout, re.IGNORECASE)


def test_the_ca_bundle_holds_the_systems_roots_too(shared: Run):
    bundle = Path(json.loads(shared("env", "--json").stdout)["SSL_CERT_FILE"]).read_text()
    assert bundle.startswith((Path(json.loads(shared("status", "--json").stdout)["ca_file"])).read_text())
    assert bundle.count("BEGIN CERTIFICATE") > 50


def test_seeds_are_shown_and_loaded(run: Run, tmp_path: Path):
    assert run("seed", "default").stdout == default_seed()
    run("start")
    assert run("seed", "show").stdout == default_seed()
    mine = tmp_path / "mine.toml"
    mine.write_text('[[tenants]]\nname = "Mine"\n')
    assert run("seed", "load", str(mine)).stdout == f"seed loaded from {mine}\n"
    assert run("seed", "show").stdout == mine.read_text()
    mine.write_text("[[tenants]]\n")
    refused = run("seed", "load", str(mine))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("azure-sandbox: error: tenant: ")


def test_a_new_folder_may_begin_with_a_seed_of_ones_own(run: Run, tmp_path: Path):
    mine = tmp_path / "mine.toml"
    mine.write_text('[[tenants]]\nname = "Mine"\n')
    assert run("start", "--seed", str(mine)).returncode == 0
    assert run("seed", "show").stdout == mine.read_text()


def test_journal_lists_counts_and_finds_orphans(run: Run):
    made = run("run", sys.executable, "-c", LOGIN).stdout.split()[1]
    lines = run("journal").stdout.splitlines()
    assert lines[0].split() == ["#", "time", "status", "operation", "about", "outcome", "secret"]
    assert lines[-1].split()[2:] == ["200", "graph.addPassword", BILLING, "committed", made]
    assert json.loads(run("journal", "--json", "--last", "1").stdout)["key_id"] == made
    counted = json.loads(run("journal", "--counts", "--json", "--managed", made).stdout)
    assert (counted["creations"], counted["removals"], counted["orphans"]) == (1, 0, 0)
    assert json.loads(run("journal", "--counts", "--json", "--managed", "").stdout)["orphans"] == 1
    assert "orphans" not in json.loads(run("journal", "--counts", "--json").stdout)
    assert "creations         1" in run("journal", "--counts").stdout.splitlines()
    [line] = [line for line in run("journal", "--managed", "").stdout.splitlines() if made in line]
    assert line.split() == ["billing-api", made, "mine", "minted", "valid", line.split()[5], "orphan"]
    for line in run("journal", "--secrets", "--json").stdout.splitlines():
        assert "value" not in json.loads(line)


def test_reset_forgets_what_happened(run: Run):
    run("run", sys.executable, "-c", LOGIN)
    assert run("reset").stdout == "sandbox is back at its seed\n"
    assert json.loads(run("journal", "--counts", "--json").stdout)["requests"] == 0
    assert "mine" not in run("journal", "--secrets").stdout


def test_faults_are_added_listed_and_cleared(run: Run):
    run("start")
    added = run("fault", "add", "graph.addPassword", "--preset", "throttled", "--retry-after", "7", "--times", "0")
    [fault] = [json.loads(line) for line in run("fault", "list", "--json").stdout.splitlines()]
    assert fault["id"] == added.stdout.strip()
    assert (fault["status"], fault["headers"], fault["times"]) == (429, {"Retry-After": "7"}, None)
    assert fault["id"] in run("fault", "list").stdout
    assert run("fault", "release", fault["id"]).returncode == 0
    assert run("fault", "clear", fault["id"]).returncode == 0
    assert run("fault", "list", "--json").stdout == ""
    gone = run("fault", "clear", fault["id"])
    assert (gone.returncode, gone.stderr) == (1, f"azure-sandbox: error: no fault '{fault['id']}'\n")


def test_a_fault_that_makes_no_sense_is_wrong_usage(shared: Run):
    done = shared("fault", "add", "graph.*", "--preset", "no-secret-text", "--when", "before")
    assert done.returncode == 2
    assert "without and cut change a genuine answer" in done.stderr


def test_the_clock_moves_and_stays_moved(run: Run):
    run("start")
    assert run("clock", "set", "2040-01-31T12:00:00Z").stdout.startswith("2040-01-31T12:00:0")
    assert run("clock", "advance", "1d12h").stdout.startswith("2040-02-02T00:00:")
    run("stop")
    run("start")
    assert run("clock", "show").stdout.startswith("2040-02-02T00:00:")
    wrong = run("clock", "advance", "soon")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("azure-sandbox: error: not a duration: 'soon'")


def test_the_state_option_wins_over_the_variable(run: Run, tmp_path: Path):
    other = tmp_path / "it's another"
    started = run("start", "--state", str(other))
    assert started.stderr == f"hint: azure-sandbox run --state '{tmp_path}/it'\"'\"'s another' -- COMMAND\n"
    assert run("status").returncode == 1
    assert run("stop", "--state", str(other)).stdout == "sandbox stopped\n"


def test_start_in_the_foreground_ends_on_a_signal(tmp_path: Path):
    command = [sys.executable, "-m", "azure_sandbox", "start", "--foreground", "--state", str(tmp_path / "state")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            while (running := process.find(tmp_path / "state")) is None:
                assert server.poll() is None
            assert running.pid == server.pid
            server.terminate()
            _, said = server.communicate(timeout=30)
            assert said == f"azure-sandbox: listens on {running.address}; Ctrl+C ends it\n"
            assert server.returncode == 0
        finally:
            server.kill()


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", list(commands(cli.main)), ids=" ".join)
def test_every_command_and_option_has_help(path):
    command: click.Command = cli.main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_a_running_sandbox_gets_no_azurite(run: Run, tmp_path: Path):
    run("start")
    done = run("start", "--azurite", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "azure-sandbox: error: the sandbox runs already, without azurite\nhint: azure-sandbox stop\n"
    )


def test_settings_are_shown_and_changed(run: Run):
    run("start")
    assert run("behaviour", "set", "throttle_scale=0.5", "visible_after=[0,2]").returncode == 0
    shown = run("behaviour", "show").stdout.splitlines()
    assert "throttle_scale      0.5" in shown
    assert "visible_after       [0.0, 2.0]" in shown
    assert run("behaviour", "set", "--account", "contososandbox", "key_lag_seconds=3").returncode == 0
    assert (
        run("behaviour", "set", "--user", "ada@contoso-sandbox.onmicrosoft.com", "lockout_attempts=3").returncode == 0
    )
    wrong = run("behaviour", "set", "nonsense=1")
    assert (wrong.returncode, "unknown setting nonsense" in wrong.stderr) == (1, True)
    assert run("behaviour", "set", "visible_after=soon").returncode == 2
