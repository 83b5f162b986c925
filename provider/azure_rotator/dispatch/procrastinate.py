"""Rotations as jobs of procrastinate, in the PostgreSQL database that the store is in: any replica's worker takes them.

    due rows ──submit──> job "run this rotation" ──> a worker of this or another process ──> run

A job is a hint and the rows are the truth, so most of a queue's difficulties do not arise: no job is retried, none is
for later, none locks another one out, and one that is lost with its worker is simply submitted again when the lease of
its rotation has run out. It holds the rotation's id and nothing else.

Few jobs wait at a time. What is asked to pause meanwhile waits as a row, and the jobs that are left over find that out.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
import psycopg.sql
from procrastinate import App, JobContext, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.schema import SchemaManager
from procrastinate.worker import Worker

from azure_rotator.domain.errors import Corrupt, RotatorError, Unavailable

SCHEMA = "azure_rotator_jobs"
"""Where procrastinate's tables are, apart from the store's."""

_TASK = "run-rotation"
_MARK = "azure-rotator: tables of procrastinate "
# Any number that no other program uses; its bytes are "rotjobs".
_LOCK = 0x726F746A6F6273
# How many jobs may wait for each worker of a process: the next one is there when one ends.
_AHEAD = 2
_CONNECTIONS = 4
_CONNECT_SECONDS = 10.0
# Nothing waits for that: a dead worker's jobs are litter, and one that only slept may end its own.
_BEAT_SECONDS, _GONE_SECONDS = 30.0, 300.0

_NO_CONNECTION = ("there is no connection to its server", "look at the server, its address, its database and login")
_NO_STATEMENT = ("its server refused a statement", "look at the server's log; the rotations wait meanwhile")
_MAKE = "AZURE_ROTATOR_DISPATCHER=procrastinate azure-rotator db upgrade"
_NO_TABLES = ("its tables are not there", f"make them: {_MAKE}")
_REASONS: Mapping[str, tuple[str, str]] = {
    "42501": (
        "its server does not allow this user to do that",
        f"grant what docs/operations.md says; its owner makes the tables: {_MAKE}",
    ),
    "42P01": _NO_TABLES,
    "42883": _NO_TABLES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Where a store's jobs are.

    Args:
        connection: What libpq is told, with its password.
        label: How messages name the database; never holds a password.
        store_id: Stores in one database have a queue each.
    """

    connection: Mapping[str, str] = field(repr=False)
    label: str
    store_id: str

    @property
    def name(self) -> str:
        return f"rotations-{self.store_id}"

    def settings(self) -> dict[str, str]:
        """For connections that find procrastinate's tables. A job that a crash of the server loses is submitted again,
        so nobody waits for its disk."""
        ours = f"-c search_path={SCHEMA} -c synchronous_commit=off"
        return {**self.connection, "options": f"{self.connection.get('options', '')} {ours}".lstrip()}


def make_tables(connection: Mapping[str, str], label: str, *, renew: bool = False) -> None:
    """Make procrastinate's tables where there are none, in one transaction; several at once do not harm.

    Args:
        connection: What libpq is told.
        label: How messages name the database.
        renew: Make those of another release of procrastinate anew. Jobs are hints: none is missed.

    Raises:
        Unavailable: ``StoreUnavailable``.
        Corrupt: ``StoreSchemaMismatch``, they are another release's; or the schema is another program's.
    """
    tables = SchemaManager.get_schema()
    mark = _MARK + hashlib.sha256(tables.encode()).hexdigest()[:16]
    # psycopg's signature knows each of libpq's options by itself.
    with _translated(label), psycopg.connect(**connection, prepare_threshold=None) as asked:  # type: ignore[arg-type]
        asked.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # what was made while it waited is seen
        asked.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        found = _mark_of(asked)
        if found == mark:
            return
        if found and not (renew and found.startswith(_MARK)):
            raise Corrupt(
                "StoreSchemaMismatch",
                f"the schema {SCHEMA} in {label} has other tables than this release of procrastinate needs",
                hint=f"stop the schedulers that use it, then make it anew: {_MAKE}"
                if found.startswith(_MARK)
                else "it is another program's; let its owner rename it",
            )
        if found:
            asked.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
        if found != "":
            asked.execute(f"CREATE SCHEMA {SCHEMA}")
        asked.execute(f"SET LOCAL search_path = {SCHEMA}")
        asked.execute(tables)
        asked.execute(psycopg.sql.SQL("COMMENT ON SCHEMA {} IS {}").format(psycopg.sql.Identifier(SCHEMA), mark))


class ProcrastinateDispatcher:
    """Implements ``ports.Dispatcher``. Its worker begins with the first look, and anew after it has lost its server.

    Args:
        run: Works on one operation; must not raise.
        workers: How many operations this process works on at once.
        bell: Set whenever this process's worker has ended one.
        poll: How often the worker looks by itself; what is submitted wakes it.
    """

    def __init__(
        self, run: Callable[[str], None], *, queue: Queue, workers: int, bell: threading.Event, poll: timedelta
    ) -> None:
        self._run = run
        self._queue = queue
        self._workers = workers
        self._bell = bell
        self._poll = poll
        self._lock = threading.Lock()
        self._room = 0
        self._waiting: set[str] = set()  # rotations, at the last look, and submitted since
        self._running: set[str] = set()
        self._ended: set[int | None] = set()  # jobs that this process has ended, and may not have removed yet
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="azure-rotator-worker")
        connector = SyncPsycopgConnector(
            kwargs={**queue.settings(), "prepare_threshold": None}, min_size=1, max_size=1, timeout=_CONNECT_SECONDS
        )
        self._sender = App(connector=connector)
        self._server = _Server(self._serve)
        self._worker: Worker | None = None

    @property
    def in_hand(self) -> int:
        with self._lock:
            return len(self._running)

    @property
    def waiting(self) -> int:
        with self._lock:
            return len(self._waiting - self._running)

    @property
    def room(self) -> int:
        with self._lock:
            return self._room

    def look(self) -> None:
        self._server.ensure(self._queue.label)
        with _translated(self._queue.label):
            self._sender.open()
            jobs = list(self._sender.job_manager.list_jobs(queue=self._queue.name))
        worker_id = self._worker.worker_id if self._worker else None
        queued = {_rotation_of(job) for job in jobs if job.status == Status.TODO.value}
        fetched = {job.id: _rotation_of(job) for job in jobs if worker_id is not None and job.worker_id == worker_id}
        with self._lock:
            self._ended &= fetched.keys()
            self._waiting = queued | {rotation for job_id, rotation in fetched.items() if job_id not in self._ended}
            self._room = max(0, _AHEAD * self._workers - len(queued))

    def submit(self, rotation_ids: Sequence[str]) -> None:
        with self._lock:
            fresh = [one for one in rotation_ids if one not in self._waiting and one not in self._running]
            fresh = fresh[: self._room]
        if not fresh:
            return
        # Of two processes that submit one of them at the same moment one inserts nothing: the others are named again.
        with _translated(self._queue.label), suppress(AlreadyEnqueued):
            self._sender.job_manager.batch_defer_jobs([self._job(rotation_id) for rotation_id in fresh])
        with self._lock:
            self._room -= len(fresh)
            self._waiting.update(fresh)

    def close(self) -> None:
        self._server.stop()
        self._threads.shutdown(wait=True)
        with suppress(psycopg.Error, ConnectorException):
            self._sender.close()

    def _job(self, rotation_id: str) -> Job:
        # The lock: no two jobs for one rotation wait.
        return Job(
            queue=self._queue.name,
            task_name=_TASK,
            lock=None,
            queueing_lock=rotation_id,
            task_kwargs={"rotation_id": rotation_id},
        )

    async def _serve(self) -> None:
        """This process's worker, until it is cancelled; then what it works on comes to its end first."""
        connector = PsycopgConnector(
            kwargs={**self._queue.settings(), "prepare_threshold": None},
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=_CONNECT_SECONDS,
        )
        app = App(connector=connector)
        loop = asyncio.get_running_loop()

        @app.task(name=_TASK, queue=self._queue.name, pass_context=True)
        async def work(context: JobContext, rotation_id: str) -> None:
            await loop.run_in_executor(self._threads, self._one, context.job.id, rotation_id)

        async with app.open_async():
            self._worker = Worker(
                app,
                queues=[self._queue.name],
                concurrency=self._workers,
                delete_jobs="always",
                fetch_job_polling_interval=self._poll.total_seconds(),
                update_heartbeat_interval=_BEAT_SECONDS,
                stalled_worker_timeout=_GONE_SECONDS,
                install_signal_handlers=False,
            )
            sweeping = asyncio.create_task(self._sweep(app))
            try:
                await self._worker.run()  # type: ignore[no-untyped-call]
            finally:
                sweeping.cancel()

    async def _sweep(self, app: App) -> None:
        """Remove the jobs that a dead worker had in hand."""
        while True:
            with suppress(ConnectorException):  # another process may be at it, too
                stalled = await app.job_manager.get_stalled_jobs(
                    queue=self._queue.name, seconds_since_heartbeat=_GONE_SECONDS
                )
                for job in stalled:
                    await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
            await asyncio.sleep(_GONE_SECONDS)

    def _one(self, job_id: int | None, rotation_id: str) -> None:
        with self._lock:
            self._running.add(rotation_id)
        try:
            self._run(rotation_id)
        finally:
            with self._lock:
                self._running.discard(rotation_id)
                self._waiting.discard(rotation_id)
                self._ended.add(job_id)
            self._bell.set()


class _Server:
    """A coroutine on a thread and event loop of its own, begun anew when it has failed."""

    def __init__(self, serve: Callable[[], Coroutine[object, object, None]]) -> None:
        self._serve = serve
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cancel: Callable[[], object] = lambda: None
        self._stopped = False
        self._fault: Exception | None = None

    def ensure(self, label: str) -> None:
        """See that it runs.

        Raises:
            RotatorError: Why it did not; it has been begun anew.
        """
        with self._lock:
            if self._stopped or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._live, name="azure-rotator-queue")
            self._thread.start()
            fault, self._fault = self._fault, None
        if fault is not None:
            raise _told(fault, label)

    def stop(self) -> None:
        """Cancel it, and wait for its end."""
        with self._lock:
            self._stopped = True
            thread = self._thread
            self._cancel()
        if thread is not None:
            thread.join()

    def _live(self) -> None:
        try:
            asyncio.run(self._cancellable())
        except asyncio.CancelledError:
            pass
        except Exception as fault:  # noqa: BLE001 - told by whoever looks next
            self._fault = fault

    async def _cancellable(self) -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self._serve())
        with self._lock:
            if self._stopped:
                serving.cancel()
            self._cancel = lambda: loop.call_soon_threadsafe(serving.cancel)
        try:
            await serving
        finally:
            with self._lock:  # nobody may wake a loop that is gone
                self._cancel = lambda: None


def _rotation_of(job: Job) -> str:
    return job.queueing_lock or ""


def _mark_of(asked: psycopg.Connection) -> str | None:
    """What the schema says that it is; None where there is none."""
    found = asked.execute(
        "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s", [SCHEMA]
    ).fetchone()
    return str(found[0]) if found else None


@contextmanager
def _translated(label: str) -> Iterator[None]:
    """Turn what the driver and procrastinate raise inside into our error, by its code and without its text.

    Raises:
        Unavailable: ``StoreUnavailable``.
    """
    try:
        yield
    except (psycopg.Error, ConnectorException) as error:
        raise _told(error, label) from None


def _told(error: Exception, label: str) -> RotatorError:
    cause = error.__cause__ if isinstance(error, ConnectorException) else error
    if not isinstance(cause, psycopg.Error):
        return RotatorError(
            "InternalError",
            f"the job queue in {label} failed ({type(cause or error).__name__})",
            hint="report this: it should not happen",
        )
    state = cause.sqlstate or ""
    what, hint = _REASONS.get(state, _NO_STATEMENT) if state else _NO_CONNECTION
    return Unavailable(
        "StoreUnavailable",
        f"the job queue in {label}: {what}",
        hint=hint,
        details={"driver_code": state or "connection"},
        applied="no",
    )
