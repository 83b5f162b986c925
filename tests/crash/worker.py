"""The life of a worker process: build an engine on wrapped ports, make the calls, say what came of it, or be killed.

A port is wrapped, never replaced: behind each wrapper is the real store, the real SDK, the sandbox over TLS.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

from sqlalchemy import Connection, event
from sqlalchemy import Engine as Database
from sqlalchemy.pool import Pool

from azure_rotator.cloud import ArmStorageKeys, EntraLogin, EntraUsers, GraphDirectory
from azure_rotator.cloud import close as close_cloud
from azure_rotator.config import Settings
from azure_rotator.domain.errors import RotatorError, Unavailable
from azure_rotator.domain.ports import Clock, Directory, Observer, StorageKeys, UnitOfWork, Unwatched, Users
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import Limits
from azure_rotator.engine.service import Engine
from azure_rotator.scheduler.loop import Scheduler
from azure_rotator.wiring import SystemEntropy, dispatcher_maker, make_engine, open_store
from azure_sandbox.testing import Control
from tests.crash import sabotage
from tests.crash.jobs import Call, Job, Result
from tests.crash.sabotage import Ports
from tests.crash.stores import store_at

ANSWER = "answer.json"
STDOUT = "stdout"
STDERR = "stderr"
LOG = "debug.log"
MODULES = "modules.json"
_BLINK_SECONDS = 0.005
_POLL = timedelta(seconds=0.05)
_HEARTBEAT = "azure-rotator-heartbeat"
# The store's methods that write nothing; ``close`` ends it. Every other one of the port writes.
READS = frozenset(
    {
        "store_id",
        "close",
        "find_target",
        "list_targets",
        "find_item",
        "list_items",
        "standings",
        "census",
        "standings_of",
        "to_tell",
        "holder",
        "item_known",
        "has_minted",
        "unplanned",
        "reminders",
        "due_by_hour",
        "due",
        "next_due",
        "versions",
        "audit_lines",
        "events",
        "get_rotation",
        "situation",
        "open_rotations",
        "operations",
        "held_key_ids",
        "find_mint",
        "account",
        "target_versions",
        "find_folder",
        "list_folders",
        "lanes",
        "paused_until",
        "latest_events",
        "find_forwarder",
        "list_forwarders",
        "backlogs",
        "next_delivery_at",
    }
)


def live(job: Job) -> NoReturn:
    """Do the job and end the process."""
    folder = Path(job.folder)
    _redirect(folder, logging.INFO if job.brief else logging.DEBUG)
    code = 1
    try:
        work(job)
        code = 0
    except BaseException:  # noqa: BLE001 - a forked process must not go up its parent's stack
        traceback.print_exc()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def work(job: Job) -> None:
    clock = SandboxClock(Control.of(Path(job.state)), job.ahead)
    began_at = clock.now()
    trap = Trap(job)
    store = store_at(Path(job.store))
    uow, sealer = open_store(store.settings(job.lease_seconds), SystemEntropy())
    if job.max_pages:
        _fill_disk(uow, job.max_pages)
    ports = Ports(
        uow=trap.watched(uow),
        directory=cast(Directory, Recorded(GraphDirectory(), Path(job.canaries), "add_password")),
        login=EntraLogin(),
        keys=cast(StorageKeys, Recorded(ArmStorageKeys(), Path(job.canaries), "regenerate")),
        users=cast(Users, Recorded(EntraUsers(), Path(job.canaries), "set_password", "change_password")),
        observer=LogObserver(),
    )
    for name in job.sabotage:
        ports = sabotage.PORTS[name](ports)
    engine = make_engine(
        uow=ports.uow,
        sealer=sealer,
        clock=clock,
        entropy=SystemEntropy(),
        directory=ports.directory,
        login=ports.login,
        keys=ports.keys,
        users=ports.users,
        observer=ports.observer,
        who="crash",
        limits=_limits(job),
    )
    serve = partial(_served, engine, store.settings(job.lease_seconds), clock, ports.observer)
    results = [serve(call) if call.use == "scheduler" else _called(engine, call) for call in job.calls]
    uow.close()
    close_cloud()
    if not job.brief:
        gc.collect()  # what was not closed warns here, in this process
    answer = {
        "results": [asdict(result) for result in results],
        "commits": trap.commits,
        "began_at": began_at.isoformat(),
    }
    if job.modules:
        (Path(job.folder) / MODULES).write_text(json.dumps(sorted(sys.modules)))
    (Path(job.folder) / ANSWER).write_text(json.dumps(answer, default=str))


def _called(engine: object, call: Call) -> Result:
    function: Any = engine
    for name in call.use.split("."):
        function = getattr(function, name)
    given = () if call.arguments is None else (call.arguments,)
    try:
        answer = function(*given, **call.options)
    except RotatorError as error:
        return Result(code=error.code, message=error.message)
    return Result(facts=answer.facts() if hasattr(answer, "facts") else None)


def _served(engine: Engine, settings: Settings, clock: Clock, observer: Observer, call: Call) -> Result:
    """A scheduler with one worker, as a process of its own has it."""
    make = dispatcher_maker(replace(settings, **call.options), store_id=engine.store_id, workers=1, poll=_POLL)
    served = Scheduler(engine, make, clock=clock, observer=observer, poll=_POLL).once()
    return Result(facts={"planned": served.planned, "failed": dict(served.failed)})


def _limits(job: Job) -> Limits:
    spans = {name: timedelta(seconds=value) for name, value in job.limits.items()}
    return replace(Limits(heartbeat_seconds=job.lease_seconds / 3), **cast(dict[str, Any], spans))


def _redirect(folder: Path, level: int) -> None:
    """Everything that the process says goes to files; what its libraries would say, too."""
    folder.mkdir(parents=True, exist_ok=True)
    for descriptor, name in ((1, STDOUT), (2, STDERR)):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    logging.basicConfig(filename=folder / LOG, level=level, force=True)


def _fill_disk(uow: UnitOfWork, pages: int) -> None:
    database: Any = uow

    @event.listens_for(database._db.engine, "connect")
    def limited(connection: Any, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")


class Trap:
    """What happens to the process at the store's commits and calls: killed, stopped, or told that the disk is full.

    Counts the commits of the process's own thread and of a scheduler's worker, of which only one does something at a
    time; heartbeats come when they come and are not counted. *Inside* a
    commit everything is written and nothing committed, with the lock held; *after* it the caller does not know yet.
    """

    def __init__(self, job: Job) -> None:
        self.commits: list[str] = []
        self._job = job
        self._here = _Here()
        self._writes = 0
        self._stopped = False
        self._rung = False
        self._beating = threading.Lock()
        event.listen(Database, "commit", self._commit)
        event.listen(Pool, "checkin", self._checkin)

    def watched(self, uow: UnitOfWork) -> UnitOfWork:
        """The same store, whose method names are the names of the points."""
        return cast(UnitOfWork, _Watched(uow, self))

    def calling(self, name: str, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if _is_heartbeat():
            with self._beating:
                return method(*args, **kwargs)
        self._here.method = name
        if name == self._job.stop_before and not self._stopped:
            self._stopped = True
            with self._beating:  # not in the middle of a heartbeat: it would keep the database's lock
                fall_asleep()
        if name not in READS:
            self._writes += 1
            if 0 < self._job.full_from <= self._writes:
                raise Unavailable("StoreUnavailable", "the store: its disk is full", applied="no")
        answer = method(*args, **kwargs)
        if self._job.bell and not self._rung and name in {"claim", "claim_lane"} and answer is not None:
            self._rung = True
            Path(self._job.bell).write_bytes(b"!")
        return answer

    def _commit(self, connection: Connection) -> None:
        reads = connection.get_execution_options().get("azure_rotator_reads", False)
        if reads or _is_heartbeat():
            return
        method = self._here.method
        self.commits.append(method)
        if method == self._job.kill_after:
            self._here.fallen = True
        wanted = self._job.kill_method
        number = len(self.commits) if not wanted else self.commits.count(wanted) * (method == wanted)
        if number == self._job.kill_at:
            if self._job.inside:
                _die()
            self._here.fallen = True

    def _checkin(self, connection: object, record: object) -> None:
        if self._here.fallen and not _is_heartbeat():
            _die()


class _Here(threading.local):
    """What a thread is at: its method of the store, and whether it dies when it has given its connection back."""

    method = "open_store"
    fallen = False


def _is_heartbeat() -> bool:
    return threading.current_thread().name == _HEARTBEAT


class _Watched:
    def __init__(self, inner: object, trap: Trap) -> None:
        self._inner = inner
        self._trap = trap

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        return lambda *args, **kwargs: self._trap.calling(name, method, args, kwargs)


def fall_asleep() -> None:
    """SIGSTOP, at this very place.

    To the thread and not to the process: there the kernel may pick another thread, and this one goes on for a moment.
    """
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable: nobody survives SIGKILL")


class Recorded:
    """An Azure port that tells the leak check which values there are, before anybody else knows them."""

    def __init__(self, inner: Directory | StorageKeys | Users, file: Path, *methods: str) -> None:
        self._inner = inner
        self._file = file
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in self._methods:
            return method

        def recorded(*arguments: Any) -> Any:
            self._write(*arguments)
            answer = method(*arguments)
            self._write(getattr(answer, "value", None))
            return answer

        return recorded

    def _write(self, *values: object) -> None:
        with self._file.open("a") as file:
            file.writelines(value.reveal() + "\n" for value in values if isinstance(value, SecretText))


class LogObserver:
    """Notes and messages as log lines, as a careless program would have them."""

    def __init__(self) -> None:
        self._log = logging.getLogger("azure_rotator.crash")

    def span(self, name: str, **fields: object) -> Unwatched:
        return Unwatched()

    def note(self, event: str, **fields: object) -> None:
        self._log.info("%s %r", event, fields)

    def tell(self, event: str, **fields: object) -> None:
        self.note(event, **fields)

    def say(self, message: str) -> None:
        self._log.info("%s", message)

    def warn(self, message: str) -> None:
        self._log.warning("%s", message)


class SandboxClock:
    """The sandbox's clock for the engine, too: whoever waits moves it on.

    A blink of real time passes with every wait, because leases are real: who polls for a lease must not use up his
    patience before it can run out.
    """

    def __init__(self, control: Control, ahead_seconds: float) -> None:
        self._control = control
        self._wrong = timedelta(seconds=ahead_seconds)
        self._ahead = control.now() - datetime.now(UTC)

    def now(self) -> datetime:
        return (datetime.now(UTC) + self._ahead + self._wrong).replace(microsecond=0)

    def wait_until(self, instant: datetime) -> None:
        time.sleep(_BLINK_SECONDS)
        now, until = self._control.now(), instant - self._wrong
        if now < until:
            now = self._control.advance((until - now).total_seconds())
        self._ahead = now - datetime.now(UTC)
