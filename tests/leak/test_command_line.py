"""The command line shows a credential in the stdout of get-value, that one only, and nowhere else.

The logs of all libraries are collected below its own redaction, the streams behind it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azure_rotator.cli import main
from azure_sandbox.testing import Control, Sandbox
from tests.leak.evidence import Evidence, command_lines, every_log
from tests.leak.life import FIRST_LOGIN, GIVEN, LITERAL, WRONG, every_minted_value
from tests.leak.search import Canaries
from tests.plugins.azure import App
from tests.rows import row

PROGRAM = Path(sys.executable).with_name("azure-rotator")


class Shell:
    """Runs commands in this process and collects what they say.

    Attributes:
        minted: Values in the order in which Azure told them.
    """

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str], control: Control) -> None:
        self.home = home
        self.control = control
        self.canaries = Canaries()
        self.evidence = Evidence()
        self.minted: list[str] = []
        self._capsys = capsys

    def __call__(self, *argv: str, code: int = 0, prints: str | None = None) -> str:
        """Run a command; it ends with this code, and its stdout may hold the canary ``prints``. Returns: the stdout."""
        self._capsys.readouterr()
        assert main(argv) == code, self._capsys.readouterr().err
        out, err = self._capsys.readouterr()
        self.evidence.add("stdout", " ".join(argv), out, but=[prints] if prints else [])
        self.evidence.add("stderr", " ".join(argv), err)
        self.evidence.add_files("files", self.home / "store", moment=" ".join(argv))
        return out

    def file(self, name: str, value: str) -> str:
        """A credential given as ``@FILE``."""
        path = self.home / "given" / name
        path.write_text(self.canaries.add(name, value))
        return f"@{path}"

    def told(self, key_id: str, value: str) -> None:
        self.minted.append(self.canaries.add(f"minted secret {len(self.minted) + 1}", value))


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {
        "AZURE_ROTATOR_STORE": f"sqlite:///{tmp_path / 'store' / 'db' / 'store.db'}",
        "AZURE_ROTATOR_KEY_FILE": str(tmp_path / "store" / "key" / "store.key"),
    }


@pytest.fixture
def shell(
    azure: Sandbox,
    control: Control,
    tmp_path: Path,
    settings: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shell]:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "given").mkdir()
    shell = Shell(tmp_path, capsys, control)
    with (
        every_log(lambda line: shell.evidence.add("logs", f"line {line[:60]!r}", line)),
        every_minted_value(shell.told),
    ):
        yield shell


@row("AK-29")
def test_only_get_value_shows_a_credential(shell: Shell, make_application, rotator: App, control: Control):
    tenant = rotator.info.tenant_id
    add = control.add_secret
    add(rotator.app_id, value=LITERAL)
    workload = make_application("workload", owners=[rotator.app_id, "self"], roles=rotator.info.roles)
    given = add(workload.app_id, value=GIVEN)
    add(workload.app_id, value=FIRST_LOGIN)
    secret, api_key = shell.file("the Target's secret", LITERAL), shell.file("the api_key", GIVEN)
    wrong, first = shell.file("a wrong secret", WRONG), shell.file("the first login's secret", FIRST_LOGIN)

    target = ["--tenant-id", tenant, "--client-id", rotator.app_id, "--client-secret"]
    shell("target", "create", "azure", "-n", "t", *target, secret)
    shell("target", "create", "azure", "-n", "t", *target, secret, code=5)
    shell("target", "create", "azure", "-n", "u", *target, LITERAL, "--debug")  # a literal is warned about
    shell("target", "create", "azure", "-n", "v", "--tenant-id", LITERAL, "--client-secret", secret, code=2)
    shell("target", "update", "azure", "-n", "u", "--client-secret", wrong, "--debug")
    for more in ([], ["--json"], ["--debug"]):
        shell("target", "test", "-n", "u", *more, code=7)
        shell("target", "test", "-n", "t", *more)
        shell("target", "get", "-n", "t", *more)
        shell("target", "list", *more)

    item = ["--target-name", "t", "--rotator-type", "api-key", "--app-id", workload.app_id]
    create = ["rotated-secret", "create", "azure", *item]
    acting = ["--authentication-credentials", "use-target-creds"]
    shell(*create, "-n", "adopted", *acting, "--api-id", GIVEN, "--api-key", given.key_id, "--debug", code=2)
    shell(*create, "-n", "adopted", *acting, "--api-id", given.key_id, "--api-key", wrong, "--json", code=2)
    shell(*create, "-n", "adopted", *acting, "--api-id", given.key_id, "--api-key", api_key, "--json")
    shell(*create, "-n", "alone", "--api-key", first, "--debug")
    shell(*create, "-n", "minted", *acting, "--debug")

    shell("rotate-secret", "-n", "minted", "--json", "--debug")
    for fault in ({"preset": "denied"}, {"preset": "internal-500", "times": None}):
        handle = control.add_fault("graph.addPassword", app=workload.app_id, **fault)
        shell("rotate-secret", "-n", "minted", "--debug", "--timeout", "1", code=7)
        handle.remove()
    for name in ("adopted", "alone", "minted"):
        for more in (["--show-versions"], ["--json", "--show-versions"]):
            shell("rotated-secret", "describe", "-n", name, *more)
    for command in (["rotated-secret", "list"], ["audit", "list"], ["reconcile"]):
        shell(*command)
        shell(*command, "--json", "--debug")

    # The one exception: its own value, on stdout.
    get = ["rotated-secret", "get-value", "-n"]
    assert json.loads(shell(*get, "adopted", "--json", prints="the api_key"))["value"]["client_secret"] == GIVEN
    for version in (1, 2):
        number = shell.minted.index(get_value(shell, "minted", version)) + 1
        shown = shell(*get, "minted", "--version", str(version), "--debug", prints=f"minted secret {number}")
        assert shell.minted[number - 1] in shown
    shell(*get, "minted", "--version", "9", code=4)

    for name in ("adopted", "alone", "minted"):
        shell("rotated-secret", "delete", "-n", name, "--debug")
    shell("target", "delete", "-n", "t", "--json")
    assert len(shell.minted) == 3
    for place in ("stdout", "stderr", "logs", "files"):
        assert shell.evidence.leaks(place, shell.canaries, tokens=True) == [], place


def get_value(shell: Shell, name: str, version: int) -> str:
    argv = ("rotated-secret", "get-value", "-n", name, "--version", str(version))
    shell._capsys.readouterr()
    assert main([*argv, "--jq-expression", ".value.client_secret"]) == 0
    return shell._capsys.readouterr().out.rstrip("\n")


@row("AK-29")
def test_no_process_that_is_started_has_a_credential_in_its_arguments(
    sandbox: Sandbox, control: Control, rotator: App, workload: App, settings: dict[str, str], tmp_path: Path
):
    """Looked at while a rotation stands inside the call that mints: the sandbox, ``azure-sandbox run``, the command."""
    canaries = Canaries()
    canaries.add("the Target's secret", rotator.secret)
    canaries.add("the workload's first secret", workload.secret)
    environment = sandbox.environment({**os.environ, **settings, "SECRET": rotator.secret})

    def run(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        # azure-sandbox becomes the command: its own arguments are in the process list until then.
        program = [
            str(PROGRAM.with_name("azure-sandbox")),
            "run",
            "--state",
            str(sandbox.state),
            "--",
            str(PROGRAM),
            *argv,
        ]
        return subprocess.run(program, env=environment, input=stdin, text=True, capture_output=True, check=False)

    target = ["--tenant-id", rotator.info.tenant_id, "--client-id", rotator.app_id, "--client-secret", "-"]
    assert run("target", "create", "azure", "-n", "t", *target, stdin=rotator.secret).returncode == 0
    held = control.add_fault("graph.addPassword", app=workload.app_id, hold=True, when="after")
    create = ["rotated-secret", "create", "azure", "-n", "s", "--target-name", "t", "--rotator-type", "api-key"]
    create += ["--authentication-credentials", "use-target-creds", "--app-id", workload.app_id]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, *create)
        held.wait_reached()
        lines = command_lines()
        held.release()
        made = running.result()
    assert made.returncode == 0, made.stderr
    value = run("rotated-secret", "get-value", "-n", "s", "--jq-expression", ".value.client_secret").stdout
    canaries.add("the minted secret", value.rstrip("\n"))

    assert control.status()["pid"] in lines
    assert any(b"rotated-secret\0create" in line for line in lines.values())
    assert [leak for line in lines.values() for leak in canaries.found(line)] == []
    assert canaries.found(made.stdout + made.stderr + repr(sandbox.variables())) == []
