"""Starting, finding and stopping the sandbox's process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure_sandbox.client import Control, ControlError

READY_SECONDS = 30.0
STATE_VARIABLE = "AZURE_SANDBOX_STATE"
LOG_FILE = "server.log"


class StartFailed(Exception):
    """The process did not become ready; the message holds what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sandbox that runs: where it listens, and its control."""

    state: Path
    pid: int
    version: str
    tls_port: int
    proxy_port: int
    identity_port: int
    control: Control

    @property
    def bundle_file(self) -> Path:
        """The sandbox's root together with the system's."""
        return self.state / "ca-bundle.pem"

    @property
    def ca_file(self) -> Path:
        """The sandbox's root alone."""
        return self.state / "ca.pem"

    @property
    def address(self) -> str:
        """The TLS server's own address; programs reach it through the proxy under official names."""
        return f"https://127.0.0.1:{self.tls_port}"

    @property
    def proxy(self) -> str:
        """The proxy's address."""
        return f"http://127.0.0.1:{self.proxy_port}"


def default_state() -> Path:
    """The state folder of a person who names none: $AZURE_SANDBOX_STATE, or below the user's state folder."""
    if named := os.environ.get(STATE_VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "azure-sandbox"


def find(state: Path) -> Running | None:
    """The sandbox that runs on a state folder; None when none does (a killed one does not)."""
    if not _is_locked(state):
        return None
    try:
        control = Control.of(state)
        status: dict[str, Any] = control.status()
    except ControlError:
        return None
    return Running(
        state=state,
        pid=status["pid"],
        version=status["version"],
        tls_port=status["tls_port"],
        proxy_port=status["proxy_port"],
        identity_port=status["identity_port"],
        control=control,
    )


def start(state: Path, *, seed: Path | None = None, azurite: Path | None = None) -> tuple[Running, bool]:
    """Start a sandbox in the background, unless one runs already.

    Returns:
        The sandbox, and whether this call started it.

    Raises:
        StartFailed: it did not become ready.
    """
    deadline = time.monotonic() + READY_SECONDS
    while True:
        if (running := find(state)) is not None:
            return running, False
        if not _is_locked(state):
            break
        # Another process is just starting or stopping there.
        if time.monotonic() > deadline:
            raise StartFailed(f"the sandbox on {state} neither answers nor ends")
        time.sleep(0.05)
    try:
        process = spawn(state, seed=seed, azurite=azurite, detached=True)
    except StartFailed:
        # Two starts at once: the other one won, and is as good.
        while _is_locked(state) and time.monotonic() < deadline:
            if (running := find(state)) is not None:
                return running, False
            time.sleep(0.05)
        raise
    # The process outlives this one on purpose: forget the handle instead of waiting for it.
    process.returncode = 0
    running = find(state)
    if running is None:
        raise StartFailed(f"the sandbox ended at once; see {state / LOG_FILE}")
    return running, True


def spawn(
    state: Path,
    *,
    seed: Path | None = None,
    azurite: Path | None = None,
    detached: bool = False,
    until_eof_fd: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start the server process and wait until it is ready. What it has to say goes to the folder's ``server.log``.

    Args:
        state: the state folder.
        seed: seed file for a folder without a directory.
        azurite: where Azurite is installed, to answer for the blob services.
        detached: give it a session of its own, so that no terminal's signals reach it.
        until_eof_fd: a pipe's read end; the process ends with its writer.

    Raises:
        StartFailed: it ended, or was not ready in time.
    """
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "azure_sandbox.server", "--state", str(state), "--ready-fd", str(write_end)]
    if seed is not None:
        command += ["--seed", str(seed)]
    if azurite is not None:
        command += ["--azurite", str(azurite)]
    passed = [write_end]
    if until_eof_fd is not None:
        command += ["--until-eof-fd", str(until_eof_fd)]
        passed.append(until_eof_fd)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = os.open(state / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=passed,
            start_new_session=detached,
        )
        os.close(write_end)
        write_end = -1
        ready, _, _ = select.select([read_end], [], [], READY_SECONDS)
        if ready and os.read(read_end, 5) == b"ready":
            return process
    finally:
        os.close(log)
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    if not ready:
        process.kill()
    process.wait()
    said = (state / LOG_FILE).read_text(errors="replace")[-2000:].strip()
    raise StartFailed(said.removeprefix("azure-sandbox: error: ") or "the sandbox did not start")


def stop(running: Running) -> None:
    """Stop a sandbox and wait until it has let go of its folder.

    Raises:
        ControlError: it does not answer, or does not end.
    """
    with contextlib.suppress(ControlError):
        running.control.stop()
    deadline = time.monotonic() + READY_SECONDS
    while _is_locked(running.state):
        if time.monotonic() > deadline:
            raise ControlError(0, f"the sandbox (pid {running.pid}) does not end")
        time.sleep(0.02)


def _is_locked(state: Path) -> bool:
    """Whether a process owns the folder: the kernel drops the lock with the process, however it ended."""
    try:
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
