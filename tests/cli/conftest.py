"""A terminal for tests: commands run in this process, on a store in the test's own folder, against the sandbox."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from azure_rotator.cli import main, root
from azure_rotator.cli.program import run
from azure_rotator.domain.parameters import Subject
from azure_sandbox.testing import Control, Sandbox, SecretInfo
from tests.plugins.azure import App, MakeApplication

GUID = "88888888-8888-4888-8888-888888888888"
PROGRAM = Path(sys.executable).with_name("azure-rotator")
VARIABLES = ("AZURE_ROTATOR_STORE", "AZURE_ROTATOR_KEY_FILE", "AZURE_ROTATOR_KEY", "AZURE_ROTATOR_WHO")

CREATES: Mapping[Subject, tuple[str, ...]] = {
    "target": ("target", "create", "azure"),
    "secret": ("rotated-secret", "create", "azure"),
    "webhook": ("event-forwarder", "create", "webhook"),
    "email": ("event-forwarder", "create", "email"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error of a command that was called with --json: the last line of stderr."""
        return json.loads(self.err.splitlines()[-1])["error"]


class Terminal:
    """``terminal("target", "list")`` runs a command; ``terminal.told(...)`` insists that it goes well."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.store = home / "store" / "store.db"
        self.url = f"sqlite:///{self.store}"
        self.key_file = home / "key" / "store.key"
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    @property
    def settings(self) -> dict[str, str]:
        return {
            "AZURE_ROTATOR_STORE": self.url,
            "AZURE_ROTATOR_KEY_FILE": str(self.key_file),
            "AZURE_ROTATOR_WHO": "ada",
        }

    def __call__(self, *argv: str, stdin: str | bytes = b"", commands: click.Command = root) -> Said:
        self._capsys.readouterr()
        content = stdin.encode() if isinstance(stdin, str) else stdin
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        code = run(commands, argv) if commands is not root else main(argv)
        shown = self._capsys.readouterr()
        return Said(code=code, out=shown.out, err=shown.err)

    def told(self, *argv: str, stdin: str | bytes = b"") -> Said:
        said = self(*argv, stdin=stdin)
        assert said.code == 0, said.err
        return said

    def process(
        self,
        *argv: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """The same as a process of its own.

        Args:
            file_bytes: No file that it writes may become larger.
        """
        limit = ["prlimit", f"--fsize={file_bytes}"] if file_bytes is not None else []
        return subprocess.run(
            [*limit, PROGRAM, *argv],
            input=stdin,
            env={**os.environ, **self.settings, **(environment or {})},
            capture_output=True,
            check=False,
        )

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """Everything in the store but leases and the audit log: items, versions, schedule, journal."""
        if not self.store.exists():
            return {}
        tables = ("meta", "targets", "items", "versions", "rotations", "events")
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}  # noqa: S608 - names of this file

    def replay(self, transcript: str, **names: str) -> None:
        """Run a transcript and compare: ``$`` a command, ``<`` its stdin, ``!`` stderr, ``=`` the exit code if not 0,
        everything else stdout. What is new each time is written ``ID``, ``KEY`` and ``INSTANT``."""
        told, expected = [], []
        for number, block in enumerate(re.split(r"^\$ ", transcript.strip(), flags=re.MULTILINE)[1:], 1):
            command, *lines = block.rstrip().splitlines()
            stdin = "".join(line[2:] + "\n" for line in lines if line.startswith("< "))
            said = self(*shlex.split(command.format(**names)), stdin=stdin.format(**names))
            shown = [line.rstrip() for line in said.out.splitlines()]
            shown += [f"! {line}" for line in said.err.splitlines()]
            shown += [f"= {said.code}"] if said.code else []
            told += [f"{number} $ {command}", *(_timeless(line, names) for line in shown)]
            wanted = [line.rstrip() for line in lines if not line.startswith("< ")]
            expected += [f"{number} $ {command}", *(" ".join(line.split()) for line in wanted)]
        assert "\n".join(told) == "\n".join(expected)


def _timeless(line: str, names: Mapping[str, str]) -> str:
    """A line without what differs from run to run, and with single spaces."""
    for name, value in names.items():
        line = line.replace(value, f"{{{name}}}")
    line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "INSTANT", line)
    line = re.sub(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "KEY", line)
    line = re.sub(r"\b[a-z2-7]{16}\b", "ID", line)
    return " ".join(line.split())


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal(tmp_path, capsys, monkeypatch)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in terminal.settings.items():
        monkeypatch.setenv(name, value)
    return terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A Target in the store, and an application in the sandbox that it owns.

    Attributes:
        names: For transcripts and commands: ``tenant``, ``client``, ``app``.
    """

    terminal: Terminal
    control: Control
    rotator: App
    workload: App

    @property
    def names(self) -> dict[str, str]:
        return {
            "tenant": self.rotator.info.tenant_id,
            "client": self.rotator.app_id,
            "app": self.workload.app_id,
            "object": self.workload.object_id,
            "boot": self.boot.key_id,
        }

    @property
    def boot(self) -> SecretInfo:
        """The secret that the application had before."""
        return next(s for s in self.control.secrets(self.workload.app_id) if s.display_name == "boot")

    def item(self, *more: str, name: str = "s") -> list[str]:
        """The command that puts the application under rotation by the Target."""
        return [
            *("rotated-secret", "create", "azure", "--name", name, "--target-name", "t"),
            *("--rotator-type", "api-key", "--authentication-credentials", "use-target-creds"),
            *("--app-id", self.workload.app_id, *more),
        ]

    def writes(self) -> list[tuple[str, int | None]]:
        """Every change that was asked of the application's secrets."""
        changes = {"graph.addPassword", "graph.removePassword"}
        return [
            (entry.operation, entry.status)
            for entry in self.control.journal(app=self.workload.app_id)
            if entry.operation in changes
        ]


@pytest.fixture
def place(terminal: Terminal, azure: Sandbox, control: Control, rotator: App, workload: App) -> Place:
    """A store with a Target ``/t`` that owns the application."""
    made = Place(terminal=terminal, control=control, rotator=rotator, workload=workload)
    terminal.told(
        *("target", "create", "azure", "--name", "t", "--tenant-id", made.names["tenant"]),
        *("--client-id", made.names["client"], "--client-secret", "-"),
        stdin=rotator.secret,
    )
    return made


@pytest.fixture
def another(make_application: MakeApplication) -> App:
    """An application that nobody owns."""
    return make_application("another")


def offline_target(name: str = "t") -> list[str]:
    """The command that makes a Target with a made-up secret."""
    words = ["target", "create", "azure", "-n", name, "--tenant-id", GUID, "--client-id", GUID]
    return [*words, "--client-secret", "literal:made-up", "--quiet"]


def offline_item(name: str, *more: str, api_key: str = "-", key: int = 9) -> list[str]:
    """The command that adopts a made-up secret without asking Azure."""
    words = ["rotated-secret", "create", "azure", "-n", name, "--target-name", "t", "--rotator-type", "api-key"]
    key_id = GUID.replace("8", str(key))
    return [*words, "--app-id", GUID, "--api-id", key_id, "--api-key", api_key, "--skip-dry-run", *more]


@pytest.fixture
def stocked(terminal: Terminal) -> Terminal:
    """A store with a Target ``/t`` and an item ``/old``, made without Azure; nothing here asks it."""
    terminal.told(*offline_target())
    terminal.told(*offline_item("old"), stdin="made-up-too")
    return terminal
