"""What a scheduler may expect of every dispatcher, whoever calls ``run`` behind it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from azure_rotator.dispatch.procrastinate import SCHEMA, ProcrastinateDispatcher, Queue, make_tables
from azure_rotator.dispatch.rows import RowsDispatcher
from azure_rotator.domain.errors import Corrupt, Unavailable
from azure_rotator.domain.ports import Dispatcher
from azure_rotator.store import postgresql
from azure_rotator.store.location import locate
from tests.plugins.postgres import Postgres

PATIENCE_SECONDS = 20.0
POLL = timedelta(seconds=0.1)
WORKERS = 2


class Run:
    """What is dispatched: it is counted, and goes on when the test lets it."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.began = threading.Semaphore(0)
        self.ended: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, rotation_id: str) -> None:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.release()
        assert self.free.wait(PATIENCE_SECONDS)
        with self._lock:
            self.at_once -= 1
            self.ended[rotation_id] += 1

    def wait_for(self, count: int) -> None:
        """Until so many more have begun."""
        for _ in range(count):
            assert self.began.acquire(timeout=PATIENCE_SECONDS)


class Process:
    """A dispatcher as a scheduler's loop uses it."""

    def __init__(self, make: Callable[[Callable[[str], None], threading.Event], Dispatcher]) -> None:
        self.run = Run()
        self.bell = threading.Event()
        self.dispatcher = make(self.run, self.bell)

    def submit(self, *rotation_ids: str) -> int:
        """Look, and submit. Returns: the room that there was."""
        self.dispatcher.look()
        room = self.dispatcher.room
        self.dispatcher.submit(rotation_ids)
        return room

    def close(self) -> None:
        self.run.free.set()
        self.dispatcher.close()

    def until_done(self) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while self.dispatcher.in_hand or self.dispatcher.waiting:
            assert time.monotonic() < give_up_at
            self.bell.wait(POLL.total_seconds())  # what another process ends rings nothing here
            self.bell.clear()
            self.dispatcher.look()


def rows(run: Callable[[str], None], bell: threading.Event) -> RowsDispatcher:
    return RowsDispatcher(run, workers=WORKERS, bell=bell)


def queue_at(url: str, store_id: str = "abcdefghijklmnop") -> Queue:
    location = locate(url)
    return Queue(connection=postgresql.settings(location, 5.0), label=location.label, store_id=store_id)


def jobs(queue: Queue) -> Callable[[Callable[[str], None], threading.Event], ProcrastinateDispatcher]:
    def made(run: Callable[[str], None], bell: threading.Event) -> ProcrastinateDispatcher:
        return ProcrastinateDispatcher(run, queue=queue, workers=WORKERS, bell=bell, poll=POLL)

    return made


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create()


@pytest.fixture
def queue(url: str) -> Queue:
    made = queue_at(url)
    make_tables(made.connection, made.label)
    return made


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["rows", "procrastinate"])
def process(request: pytest.FixtureRequest) -> Iterator[Process]:
    """One with this dispatcher."""
    made = Process(rows if request.param == "rows" else jobs(request.getfixturevalue("queue")))
    yield made
    made.close()


# --- the contract


def test_what_is_submitted_is_run_once_and_rings_the_bell(process: Process):
    assert process.submit("a", "b") >= 2
    assert process.bell.wait(PATIENCE_SECONDS)
    process.until_done()
    assert process.run.ended == {"a": 1, "b": 1}


def test_what_is_in_hand_or_waits_is_not_taken_twice(process: Process):
    process.run.free.clear()
    process.submit("a")
    process.run.wait_for(1)
    process.submit("a")
    process.submit("a", "b")
    process.run.free.set()
    process.until_done()
    assert process.run.ended["a"] == 1


def test_what_has_ended_may_be_submitted_again(process: Process):
    for _ in range(3):
        process.submit("a")
        process.until_done()
    assert process.run.ended == {"a": 3}


def test_no_more_at_once_than_workers_and_what_has_no_room_is_left_out(process: Process):
    process.run.free.clear()
    room = process.submit(*(f"r{number}" for number in range(20)))
    process.run.wait_for(WORKERS)
    assert WORKERS <= room < 20
    assert process.dispatcher.in_hand == WORKERS
    assert process.dispatcher.in_hand + process.dispatcher.waiting == room
    process.run.free.set()
    process.until_done()
    assert sum(process.run.ended.values()) == room
    assert process.run.most_at_once == WORKERS


def test_an_operation_that_fails_is_nobody_elses_loss(process: Process):
    good = process.run.__call__

    def run(rotation_id: str) -> None:
        good(rotation_id)
        if rotation_id == "a":
            raise ValueError(rotation_id)

    process.dispatcher._run = run  # type: ignore[attr-defined]
    process.submit("a")
    process.until_done()
    process.submit("b")
    process.until_done()
    assert process.run.ended == {"a": 1, "b": 1}


def test_close_returns_when_what_is_in_hand_has_ended(process: Process):
    process.run.free.clear()
    process.submit("a")
    process.run.wait_for(1)
    closing = threading.Thread(target=process.dispatcher.close)
    closing.start()
    assert process.run.ended == {}
    process.run.free.set()
    closing.join(PATIENCE_SECONDS)
    assert process.run.ended == {"a": 1}


def test_closed_before_it_began_there_is_nothing_to_wait_for(process: Process):
    process.dispatcher.close()
    assert process.run.ended == {}


# --- a queue of several processes


@pytest.fixture
def two(queue: Queue, closing: ExitStack) -> tuple[Process, Process]:
    made = Process(jobs(queue)), Process(jobs(queue))
    for process in made:
        closing.callback(process.close)
    return made


def waiting(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT queueing_lock FROM {SCHEMA}.procrastinate_jobs WHERE status = 'todo'")  # noqa: S608
        return [lock for (lock,) in found]


def test_any_process_takes_what_one_has_submitted_and_each_is_run_once(two: tuple[Process, Process]):
    one, other = two
    one.run.free.clear()
    other.dispatcher.look()  # its worker begins
    one.submit("a", "b", "c", "d")
    other.run.wait_for(1)
    one.run.free.set()
    one.until_done()
    other.until_done()
    assert one.run.ended + other.run.ended == Counter("abcd")


def test_what_waits_when_a_process_ends_is_left_to_the_others(two: tuple[Process, Process], url: str):
    one, other = two
    one.run.free.clear()
    one.submit("a", "b", "c", "d")
    one.run.wait_for(WORKERS)
    one.run.free.set()
    one.dispatcher.close()
    left = waiting(url)
    assert set(one.run.ended) | set(left) == set("abcd")
    other.dispatcher.look()
    other.until_done()
    assert one.run.ended + other.run.ended == Counter("abcd")
    assert waiting(url) == []


def test_nothing_of_a_job_stays(queue: Queue, url: str, closing: ExitStack):
    process = Process(jobs(queue))
    process.submit("a", "b", "c")
    process.until_done()
    process.close()
    with psycopg.connect(url) as connection:
        for table in ("jobs", "events", "workers"):
            assert connection.execute(f"SELECT * FROM {SCHEMA}.procrastinate_{table}").fetchall() == []  # noqa: S608


@pytest.mark.full
def test_a_lost_server_is_told_and_the_worker_begins_anew(queue: Queue, closing: ExitStack):
    process = Process(jobs(queue))
    closing.callback(process.close)
    process.submit("a")
    process.until_done()
    with psycopg.connect(**queue.connection, autocommit=True) as admin:  # type: ignore[arg-type]
        mine = "pid <> pg_backend_pid() AND datname = current_database()"
        admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")  # noqa: S608
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while process.run.ended["b"] == 0:
        assert time.monotonic() < give_up_at
        with suppress(Unavailable):
            process.submit("b")
        process.bell.wait(POLL.total_seconds())
    assert process.run.ended["a"] == 1


def test_without_its_tables_it_says_how_to_make_them(url: str, closing: ExitStack):
    process = Process(jobs(queue_at(url)))
    closing.callback(process.close)
    with pytest.raises(Unavailable) as told:
        process.dispatcher.look()
    assert told.value.code == "StoreUnavailable"
    assert "db upgrade" in told.value.hint


def test_stores_in_one_database_have_a_queue_each(queue: Queue, url: str, closing: ExitStack):
    ours, theirs = Process(jobs(queue)), Process(jobs(queue_at(url, "qrstuvwxyzabcdef")))
    for process in (ours, theirs):
        closing.callback(process.close)
        process.dispatcher.look()
    ours.submit("a")
    theirs.submit("b")
    ours.until_done()
    theirs.until_done()
    assert (ours.run.ended, theirs.run.ended) == ({"a": 1}, {"b": 1})


# --- its tables


def mark(url: str) -> str:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT obj_description(%s::regnamespace, 'pg_namespace')", [SCHEMA]).fetchone()
    assert found is not None
    return str(found[0])


def test_several_processes_make_the_tables_once(url: str):
    queue = queue_at(url)
    threads = [threading.Thread(target=make_tables, args=(queue.connection, "x")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert mark(url).startswith("azure-rotator: ")


def test_tables_of_another_release_are_refused_and_made_anew_when_asked(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch
):
    before = mark(url)
    newer = SchemaManager.get_schema() + "\nCREATE TABLE procrastinate_more (id bigint);\n"
    monkeypatch.setattr(SchemaManager, "get_schema", staticmethod(lambda: newer))
    with pytest.raises(Corrupt) as told:
        make_tables(queue.connection, queue.label)
    assert (told.value.code, mark(url)) == ("StoreSchemaMismatch", before)
    make_tables(queue.connection, queue.label, renew=True)
    assert mark(url) != before


def test_another_programs_schema_of_that_name_is_left_alone(url: str):
    queue = queue_at(url)
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(f"COMMENT ON SCHEMA {SCHEMA} IS 'mine'")
    with pytest.raises(Corrupt):
        make_tables(queue.connection, queue.label, renew=True)
    assert mark(url) == "mine"


def test_a_schema_that_was_made_empty_for_us_is_filled(url: str):
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    queue = queue_at(url)
    make_tables(queue.connection, queue.label)
    assert mark(url).startswith("azure-rotator: ")
