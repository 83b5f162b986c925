"""What only a server does: sessions that end, logins that are refused, defaults that are somebody else's."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, text

from azure_rotator.domain.errors import Conflict, NotFound, Rejected, RotatorError, Unavailable
from azure_rotator.domain.model import Trigger
from azure_rotator.store.location import locate
from azure_rotator.store.opening import open_store, peek
from azure_rotator.store.postgresql import connector
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.plugins.postgres import Postgres, name_of
from tests.store import samples
from tests.store.conftest import Opened
from tests.store.inspection import Inspection

PASSWORD = "hunter2-of-the-store"
PATIENCE_SECONDS = 30.0


@pytest.fixture
def database() -> str:
    return "postgresql"


def _until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


# --- sessions


def _end_sessions(outside: Inspection) -> None:
    outside.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    _until(lambda: _sessions(outside) == 0)


def _sessions(outside: Inspection) -> int:
    ((number,),) = outside.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(str(number))


def _write_twice(store: SqlUnitOfWork, in_between: Callable[[], None]) -> None:
    with store._db.writing() as connection:
        connection.execute(text("DELETE FROM meta"))
        in_between()
        connection.execute(text("DELETE FROM meta"))


def test_a_server_that_was_restarted_in_between_is_not_noticed(store: SqlUnitOfWork, outside: Inspection):
    item, _ = samples.add_item(store)
    _end_sessions(outside)
    assert store.find_item(item_id=item.item_id) == item


def test_a_session_that_ends_in_a_transaction_applies_nothing(store: SqlUnitOfWork, outside: Inspection):
    before = outside.everything()
    with pytest.raises(Unavailable) as refused:
        _write_twice(store, lambda: _end_sessions(outside))
    assert (refused.value.code, refused.value.applied) == ("StoreUnavailable", "no")
    assert outside.everything() == before


def test_a_commit_whose_answer_is_lost_may_have_happened(store: SqlUnitOfWork, outside: Inspection):
    event.listen(store._db.engine, "commit", lambda _: _end_sessions(outside))
    with pytest.raises(Unavailable) as refused:
        store.write_audit(samples.line())
    assert (refused.value.code, refused.value.applied) == ("StoreUnavailable", "unknown")


def test_who_stands_still_in_a_transaction_loses_it(store_url: str, outside: Inspection):
    """A stopped process must not keep everybody else from its rows for ever."""
    stuck = f"{store_url}&options=-c%20idle_in_transaction_session_timeout%3D50ms"
    with open_store(stuck) as store:
        before = outside.everything()
        with pytest.raises(Unavailable) as refused:
            _write_twice(store, lambda: _until(lambda: _sessions(outside) == 0))
        assert refused.value.code == "StoreUnavailable"
        assert outside.everything() == before


def test_of_two_in_a_deadlock_one_goes_on_and_the_other_may_repeat(store: SqlUnitOfWork, outside: Inspection):
    samples.add_target(store, name="/a")
    samples.add_target(store, name="/b")
    both = threading.Barrier(2)

    def touch(first: str, second: str) -> RotatorError | None:
        lock = text("UPDATE targets SET description = 'x' WHERE name = :name")
        try:
            with store._db.writing() as connection:
                connection.execute(lock, {"name": first})
                both.wait()
                connection.execute(lock, {"name": second})
        except RotatorError as error:
            return error
        return None

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(touch, ("/a", "/b"), ("/b", "/a")))
    (refused,) = [answer for answer in answers if answer is not None]
    assert isinstance(refused, Unavailable)
    assert (refused.code, refused.applied, refused.details) == ("StoreUnavailable", "no", {"driver_code": "40P01"})
    assert outside.execute("SELECT DISTINCT description FROM targets") == [("x",)]


# --- settings

SETTINGS = {
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "15s",
    "synchronous_commit": "on",
    "application_name": "azure-rotator",
    "client_encoding": "UTF8",
    "transaction_isolation": "read committed",
}


def _shown(store: SqlUnitOfWork) -> dict[str, str]:
    with store._db.writing() as connection:
        return {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in SETTINGS}


def test_a_session_has_our_settings_whatever_the_servers_are(store_url: str, outside: Inspection):
    database = name_of(store_url)
    for setting in (
        "synchronous_commit = off",
        "default_transaction_isolation = 'serializable'",
        "lock_timeout = '1h'",
        "client_encoding = 'LATIN1'",
    ):
        outside.execute(f"ALTER DATABASE {database} SET {setting}")
    with open_store(store_url) as store:
        assert _shown(store) == SETTINGS
        made = samples.add_target(store, description="ünïcode ☃")
        assert store.find_target(target_id=made.target_id) == made


def test_what_the_url_says_goes_before(store_url: str):
    url = f"{store_url}&application_name=scheduler&options=-c%20lock_timeout%3D7s"
    with open_store(url) as store:
        assert _shown(store) == SETTINGS | {"lock_timeout": "7s", "application_name": "scheduler"}


def test_reading_sees_one_snapshot_and_writes_nothing(store: SqlUnitOfWork):
    with store._db.reading() as connection:
        before = connection.execute(text("SELECT count(*) FROM audit")).scalar_one()
        store.write_audit(samples.line())
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar_one() == before
    with pytest.raises(Unavailable, match="read-only"), store._db.reading() as connection:
        connection.execute(text("DELETE FROM audit"))
    store.write_audit(samples.line())  # the connection is one for writing again


def test_a_read_only_database_is_told(store_url: str, outside: Inspection):
    """A replica that took the primary's place, say."""
    outside.execute(f"ALTER DATABASE {name_of(store_url)} SET default_transaction_read_only = on")
    with open_store(store_url) as store:
        with pytest.raises(Unavailable, match="read-only") as refused:
            store.insert_target(samples.target(), samples.line())
        assert refused.value.code == "StoreUnavailable"
        assert store.list_targets() == []


TLS = "sslmode=verify-full&sslrootcert=/etc/ssl/root.pem&sslcert=/c.pem&sslkey=/k.pem&channel_binding=require"


def test_tls_options_are_libpqs(monkeypatch: pytest.MonkeyPatch):
    given: dict[str, Any] = {}
    monkeypatch.setattr(psycopg, "connect", lambda **settings: given.update(settings))
    connector(locate(f"postgresql://ann@a.example:5433/rotator?{TLS}"), 30.0)()
    assert {name: given[name] for name in ("host", "port", "dbname", "user")} == {
        "host": "a.example",
        "port": "5433",
        "dbname": "rotator",
        "user": "ann",
    }
    assert {f"{name}={given[name]}" for name in given} >= set(TLS.split("&"))
    assert given["connect_timeout"] == "10"


# --- what cannot be reached, and a password that nobody is told


@pytest.fixture
def locked(postgres: Postgres, store_url: str, outside: Inspection) -> Iterator[str]:
    """The store's URL as a user who needs a password, up to that password."""
    rules = postgres.folder / "pg_hba.conf"
    before = rules.read_text()
    postgres.execute(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'")
    rules.write_text(f"local all locked scram-sha-256\n{before}")
    postgres.execute("SELECT pg_reload_conf()")
    yield store_url.replace("postgres@", "locked:{}@")
    rules.write_text(before)
    postgres.execute("SELECT pg_reload_conf()")
    outside.execute("DROP OWNED BY locked")
    outside.execute("DROP ROLE locked")


REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "another password": (lambda url: url.format(f"{PASSWORD}-not"), "refuses the login"),
    "no password": (lambda url: url.format(""), "refuses the login"),
    "no such database": (lambda url: url.format(PASSWORD).replace("/t", "/nowhere"), "login"),
    "no rights": (lambda url: url.format(PASSWORD), "does not allow this user"),
    "no such server": (lambda _: f"postgresql://ann:{PASSWORD}@/x?host=/nowhere", "no connection"),
    "no such address": (lambda _: f"postgresql://ann:{PASSWORD}@127.0.0.1:1/x", "no connection"),
}


@pytest.mark.parametrize(("broken", "what"), REFUSED.values(), ids=list(REFUSED))
def test_a_server_that_refuses_is_told_without_the_password(
    locked: str, broken: Callable[[str], str], what: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unavailable, match=what) as refused:
        peek(broken(locked))
    told = refused.value
    assert (told.code, told.applied) == ("StoreUnavailable", "no")
    assert told.hint
    shown = "".join(traceback.format_exception(told)) + f"{told.details} {told.hint} {caplog.text}"
    assert PASSWORD not in shown


def test_the_password_is_in_nothing_that_a_store_shows(locked: str, outside: Inspection):
    outside.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO locked")
    outside.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO locked")
    with open_store(locked.format(PASSWORD)) as store:
        samples.add_item(store)
        shown = [repr(store._db.location), repr(store._db.engine), str(store._db.engine.url), store._db.label]
        with store._db.engine.connect() as connection:
            shown.append(repr(connection.connection.driver_connection))
    assert PASSWORD not in " ".join(shown)


@pytest.mark.parametrize("query", ["sslmodus=hunter2", "connect_timeout=1&hunter2=x"])
def test_an_option_that_does_not_exist_is_refused_and_not_echoed(query: str):
    with pytest.raises(Rejected, match="does not know") as refused:
        peek(f"postgresql://ann@db.example/rotator?{query}")
    assert refused.value.code == "ParameterInvalid"
    assert "hunter2" not in f"{refused.value} {refused.value.hint} {refused.value.details}"


# --- decisions that another transaction could overtake


@contextmanager
def _paused(store: SqlUnitOfWork, move: Callable[[], Any]) -> Iterator[Future[Any]]:
    """The move on a thread of its own, stopped right before its commit until the block is left."""
    arrived, go_on = threading.Event(), threading.Event()

    def stop(_: Connection) -> None:
        arrived.set()
        assert go_on.wait(PATIENCE_SECONDS)

    event.listen(store._db.engine, "commit", stop, once=True)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(move)
        assert arrived.wait(PATIENCE_SECONDS)
        try:
            yield moving
        finally:
            go_on.set()
        moving.exception(PATIENCE_SECONDS)


def _waits(outside: Inspection) -> bool:
    return bool(outside.execute("SELECT 1 FROM pg_locks WHERE NOT granted"))


def test_a_target_that_gets_an_item_at_this_moment_is_not_deleted(
    store: SqlUnitOfWork, open_again: Opened, outside: Inspection
):
    target, other = samples.add_target(store), open_again()
    gone = replace(target, deleted=True, revision=2)
    with ThreadPoolExecutor(1) as pool, _paused(other, lambda: samples.add_item(other, target_id=target.target_id)):
        deleting = pool.submit(store.update_target, gone, samples.line())
        _until(lambda: _waits(outside))
    with pytest.raises(Conflict) as refused:
        deleting.result(PATIENCE_SECONDS)
    assert refused.value.code == "TargetInUse"


def test_no_item_is_made_on_a_target_that_is_deleted_at_this_moment(
    store: SqlUnitOfWork, open_again: Opened, outside: Inspection
):
    target, other = samples.add_target(store), open_again()
    gone = replace(target, deleted=True, revision=2)
    with ThreadPoolExecutor(1) as pool, _paused(other, lambda: other.update_target(gone, samples.line())):
        adding = pool.submit(samples.add_item, store, target_id=target.target_id)
        _until(lambda: _waits(outside))
    with pytest.raises(NotFound) as refused:
        adding.result(PATIENCE_SECONDS)
    assert refused.value.code == "TargetNotFound"


def test_a_rotation_that_is_claimed_at_this_moment_is_not_deleted_under_the_hand(
    store: SqlUnitOfWork, open_again: Opened
):
    item, _ = samples.add_item(store)
    made = store.insert_rotation(samples.rotation(item.item_id))
    other = open_again()
    delete = samples.rotation(item.item_id, trigger=Trigger.DELETE)
    with (
        _paused(other, lambda: samples.claimed(other, made)) as claiming,
        pytest.raises(Conflict, match="is being rotated") as refused,
    ):
        store.begin_delete(delete, revision=item.revision)
    assert refused.value.code == "ItemLocked"
    store.begin_minting(claiming.result(), samples.NOW, samples.mint(claiming.result()))


def test_a_rotation_that_is_closed_at_this_moment_is_not_claimed(store: SqlUnitOfWork, open_again: Opened):
    item, _ = samples.add_item(store)
    made = store.insert_rotation(samples.rotation(item.item_id))
    other = open_again()
    delete = samples.rotation(item.item_id, trigger=Trigger.DELETE)
    with _paused(other, lambda: other.begin_delete(delete, revision=item.revision)):
        assert store.claim(made.rotation_id, "worker-1", samples.NOW) is None, "nobody waits for a row that is locked"
    assert store.claim(made.rotation_id, "worker-1", samples.NOW) is None
