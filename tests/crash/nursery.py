"""Processes to be killed: forked from one that has imported everything and opened nothing.

    test process ──socket──> nursery ──fork──> worker ──fork──> …
                             (one thread, no connections)

Importing the SDKs takes a second, a fork takes milliseconds, and a kill table needs a thousand processes. The test
process itself is no good parent: it has threads, connections and an open sandbox.

``python -m tests.crash.nursery FD FOLDER`` is the nursery's own main; tests use ``Nursery``. The folder, which may lie
in memory, goes with the nursery, however the test process ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.crash import worker
from tests.crash.jobs import Answer, Job

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
# Warnings are errors in our processes as in our tests, but for two that the SDKs' modules give while they are imported.
_WARNINGS = (
    "-Werror",
    "-Wignore:This class is deprecated. Please use the generic:DeprecationWarning",
    "-Wignore:GetQueryParameters is deprecated:DeprecationWarning",
)


class Process:
    """A worker. It stays a zombie until ``code`` is asked for, so its pid is nobody else's."""

    def __init__(self, nursery: Nursery, pid: int, folder: Path) -> None:
        self._nursery = nursery
        self._fd = os.pidfd_open(pid)
        self._code: int | None = None
        self.pid = pid
        self.folder = folder

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether it has ended, waiting that long for it."""
        if self._code is not None:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    @property
    def fd(self) -> int:
        """Becomes readable when it ends."""
        return self._fd

    def wait_stopped(self) -> None:
        """Wait until it has stopped itself.

        Raises:
            AssertionError: It ended instead.
        """
        while not self._is_stopped():
            assert not self.ended(0.005), f"process {self.pid} ended instead: {self.said()}"

    def _is_stopped(self) -> bool:
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    def code(self) -> int:
        """Wait for its end: 0, or minus the number of the signal that ended it.

        Raises:
            TimeoutError: It goes on and on.
        """
        if self._code is None:
            if not self.ended(PATIENCE_SECONDS):
                self.kill()
                raise TimeoutError(f"process {self.pid} does not end; see {self.folder}")
            self._code = self._nursery.reap(self.pid)
            os.close(self._fd)
        return self._code

    def answer(self) -> Answer:
        """Wait for its end and read what it came to.

        Raises:
            AssertionError: It was killed, or ended with a traceback.
        """
        code = self.code()
        said = self.said()
        assert code == 0, f"process {self.pid} ended with {code}: {said}"
        assert not said, f"process {self.pid} complained: {said}"
        return Answer.read(self.folder / worker.ANSWER)

    def said(self) -> str:
        """Its standard error; a process that is well says nothing."""
        return (self.folder / worker.STDERR).read_text(errors="replace").strip()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it as a machine that goes to sleep would: nothing of it runs, its leases run out."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        if self._code is None:
            signal.pidfd_send_signal(self._fd, number)


class Nursery:
    """Starts workers. Safe to use from several threads.

    Args:
        environment: The workers' variables.
        folder: Removed at the end.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, *_WARNINGS, "-m", "tests.crash.nursery", str(theirs.fileno()), str(folder)]
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the test process's, and it will hang up
            )
        self._pipe = Connection(ours.detach())
        self._lock = threading.Lock()

    def warm(self, job: Job) -> None:
        """Run a job once in a worker, and import whatever it had to import."""
        self._ask({"warm": asdict(job)})

    def start(self, job: Job) -> Process:
        return Process(self, int(self._ask({"start": asdict(job)})), Path(job.folder))

    def reap(self, pid: int) -> int:
        return int(self._ask({"reap": pid}))

    def close(self) -> None:
        """End the nursery, which ends its workers."""
        self._pipe.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: Mapping[str, Any]) -> Any:
        with self._lock:
            self._pipe.send_bytes(json.dumps(question).encode())
            return json.loads(self._pipe.recv_bytes())


# --- the nursery's own side -----------------------------------------------------------------------------------------


def main(descriptor: int, folder: Path) -> None:
    """Serve until the test process hangs up; then end and remove what is left."""
    pipe = Connection(descriptor)
    children: set[int] = set()
    with suppress(EOFError):
        while True:
            question = json.loads(pipe.recv_bytes())
            if "start" in question:
                pid = _fork(Job.of(question["start"]), descriptor)
                children.add(pid)
                answer = pid
            elif "reap" in question:
                _, status = os.waitpid(question["reap"], 0)
                children.discard(question["reap"])
                answer = os.waitstatus_to_exitcode(status)
            else:
                answer = _warm(Job.of(question["warm"]), descriptor)
            pipe.send_bytes(json.dumps(answer).encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)


def _fork(job: Job, descriptor: int) -> int:
    pid = os.fork()
    if pid == 0:
        os.close(descriptor)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        worker.live(job)
    return pid


def _warm(job: Job, descriptor: int) -> int:
    pid = _fork(job, descriptor)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError((Path(job.folder) / worker.STDERR).read_text(errors="replace"))
    names = json.loads((Path(job.folder) / worker.MODULES).read_text())
    for name in names:
        # Some names are no modules that can be imported by name: aliases, parts of compiled ones.
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here now stays in pages that parent and children share
    return len(names)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
