"""What the disk, the driver and other processes do to a store, and what the caller is told."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from azure_rotator.domain.errors import Corrupt, RotatorError, Unavailable
from azure_rotator.domain.model import Stage
from azure_rotator.domain.secrettext import SealedBytes
from azure_rotator.store.faults import RuleBroken, translated
from azure_rotator.store.opening import create, open_store
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.conftest import KEY_CHECK, STORE_ID, Opened, on_sqlite
from tests.store.inspection import Inspection, StoreFile
from tests.store.samples import FAILURE, LATER, NOW, Scene

# --- a full disk

BIG = "x" * 200_000


def _set(store: SqlUnitOfWork, pragma: str) -> None:
    """On the connection that the store uses next; one thread has one."""
    with store._db.engine.connect() as connection:
        assert connection.connection.dbapi_connection is not None
        connection.connection.dbapi_connection.cursor().execute(f"PRAGMA {pragma}")


@contextmanager
def _full_disk(store: SqlUnitOfWork, file: StoreFile) -> Iterator[None]:
    ((pages,),) = file.execute("PRAGMA page_count")
    _set(store, f"max_page_count={pages}")
    yield
    _set(store, "max_page_count=1000000")


WRITES: dict[str, Callable[[Scene], object]] = {
    "a line of audit": lambda s: s.store.write_audit(samples.line(details={"note": BIG})),
    "a new target": lambda s: s.store.insert_target(samples.target(name="/big", description=BIG), samples.line()),
    "a new item": lambda s: s.store.insert_item(
        samples.item(s.item.target_id, name="/big", description=BIG),
        None,
        samples.rotation(samples.new_id()),
        samples.line(),
    ),
    "a minted secret": lambda s: s.store.store_pending(
        s.claim,
        samples.version(
            s.item.item_id,
            s.made.rotation_id,
            number=3,
            stage=Stage.PENDING,
            sealed_value=SealedBytes(BIG.encode()),
        ),
        LATER,
        NOW,
    ),
    "a publication": lambda s: s.store.publish(
        s.claim, samples.publication(s.item, s.pending, s.current, events=(samples.event(s.item, message=BIG),))
    ),
    "a failure": lambda s: s.store.fail(
        s.claim, FAILURE, audit=samples.line(details={"note": BIG}), undo_item=False, at=LATER
    ),
}


@on_sqlite
@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
def test_a_full_disk_changes_nothing_and_is_told(store: SqlUnitOfWork, file: StoreFile, write):
    scene = samples.scene(store)
    before = file.everything()
    with _full_disk(store, file):
        with pytest.raises(Unavailable, match="disk is full") as refused:
            write(scene)
        assert file.everything() == before
        assert store.find_item(item_id=scene.item.item_id) == scene.item, "reading goes on"
    assert (refused.value.code, refused.value.applied) == ("StoreUnavailable", "no")
    assert refused.value.hint
    assert str(file.path) in refused.value.message
    write(scene)
    assert file.everything() != before, "and it works again when there is space"


# --- locks


def test_a_lock_that_stays_is_told_and_reading_goes_on(store: SqlUnitOfWork, open_again: Opened, outside: Inspection):
    item, _ = samples.add_item(store)
    hasty = open_again(busy_seconds=0.05)
    with outside.lock():
        with pytest.raises(Unavailable, match="another process holds its lock") as refused:
            hasty.write_audit(samples.line())
        assert hasty.find_item(item_id=item.item_id) == item
    code = "SQLITE_BUSY" if outside.database == "sqlite" else "55P03"
    assert (refused.value.code, refused.value.details) == ("StoreUnavailable", {"driver_code": code})
    hasty.write_audit(samples.line())


def test_twelve_threads_wait_for_one_another(store: SqlUnitOfWork):
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: store.write_audit(samples.line(path=f"/{n}")), range(120)))
    assert len(store.audit_lines()) == 120


def test_more_threads_than_connections_is_told(store: SqlUnitOfWork, open_again: Opened, database: str):
    hasty = open_again(busy_seconds=0.05)
    held = [hasty._db.engine.connect() for _ in range(24 if database == "sqlite" else 12)]
    with pytest.raises(Unavailable, match="connections are in use"):
        hasty.list_items()
    for connection in held:
        connection.close()
    assert hasty.list_items() == []


# --- a store that is read-only, or gone


@on_sqlite
def test_a_read_only_store_is_told(store: SqlUnitOfWork, file: StoreFile):
    before = file.everything()
    _set(store, "query_only=ON")
    with pytest.raises(Unavailable, match="read-only") as refused:
        store.insert_target(samples.target(), samples.line())
    assert refused.value.code == "StoreUnavailable"
    assert file.everything() == before


@on_sqlite
def test_a_store_that_vanished_is_not_made_anew(url: str, tmp_path: Path):
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    with open_store(url) as store:
        for path in (tmp_path / "data").iterdir():
            path.unlink()
        with pytest.raises(Unavailable, match="cannot be opened"):
            store.list_items()
    assert list((tmp_path / "data").iterdir()) == []


# --- damage


def _read_everything(store: SqlUnitOfWork) -> None:
    store.list_targets()
    for item in store.list_items():
        store.versions(item.item_id)
        store.find_item(name=item.name)
    store.operations([rotation.rotation_id for rotation in store.open_rotations()])
    store.lanes()
    store.audit_lines()
    store.events()


@on_sqlite
def test_a_damaged_page_is_never_read_as_data(url: str, tmp_path: Path):
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    with open_store(url) as store:
        for _ in range(3):
            item, first = samples.add_item(store)
            samples.published(store, item, first)
        _read_everything(store)
    path = tmp_path / "data" / "store.db"
    whole = path.read_bytes()
    page_size = int.from_bytes(whole[16:18], "big")
    codes = []
    noise = random.Random(7)  # noqa: S311 - noise on a disk, not a key
    for page in range(1, len(whole) // page_size):
        damaged = bytearray(whole)
        damaged[page * page_size : (page + 1) * page_size] = noise.randbytes(page_size)
        path.write_bytes(damaged)
        try:
            with open_store(url) as store:
                _read_everything(store)
        except Corrupt as told:
            codes.append(told.code)
    # Pages of indexes that these reads do not use go unnoticed here.
    assert set(codes) == {"StoreCorrupt"}
    assert len(codes) >= 10
    path.write_bytes(whole)


@on_sqlite
def test_text_that_is_no_text_is_corruption(store: SqlUnitOfWork, file: StoreFile):
    item, _ = samples.add_item(store)
    file.execute("UPDATE items SET description = CAST(x'ff' AS TEXT)")
    with pytest.raises(Corrupt) as refused:
        store.find_item(item_id=item.item_id)
    assert refused.value.code == "StoreCorrupt"


# --- codes


def _sqlite_error(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("canary-parameter")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_X"
    return error


SQLITE_CODES = {
    "disk full": (sqlite3.SQLITE_FULL, "StoreUnavailable"),
    "busy": (sqlite3.SQLITE_BUSY, "StoreUnavailable"),
    "busy, a kind of it": (sqlite3.SQLITE_BUSY_SNAPSHOT, "StoreUnavailable"),
    "locked": (sqlite3.SQLITE_LOCKED, "StoreUnavailable"),
    "I/O error": (sqlite3.SQLITE_IOERR, "StoreUnavailable"),
    "I/O error on fsync": (sqlite3.SQLITE_IOERR_FSYNC, "StoreUnavailable"),
    "read-only": (sqlite3.SQLITE_READONLY, "StoreUnavailable"),
    "cannot open": (sqlite3.SQLITE_CANTOPEN, "StoreUnavailable"),
    "no memory": (sqlite3.SQLITE_NOMEM, "StoreUnavailable"),
    "malformed": (sqlite3.SQLITE_CORRUPT, "StoreCorrupt"),
    "not a database": (sqlite3.SQLITE_NOTADB, "StoreCorrupt"),
    "an error of ours": (sqlite3.SQLITE_ERROR, None),
    "misuse": (sqlite3.SQLITE_MISUSE, None),
}


def _told(error: Exception) -> str | None:
    with pytest.raises((RotatorError, DBAPIError)) as raised, translated("/data/store.db"):
        raise error
    told = raised.value
    if not isinstance(told, RotatorError):
        return None
    assert told.__suppress_context__, "the driver's error may hold what it was given"
    assert "canary" not in f"{told} {told.details} {told.hint}"
    return told.code


@pytest.mark.parametrize(("number", "code"), SQLITE_CODES.values(), ids=list(SQLITE_CODES))
def test_sqlite_errors_are_told_by_their_code(number: int, code: str | None):
    told = _told(OperationalError("SELECT", {"p": "canary-parameter"}, _sqlite_error(number)))
    assert told == code


POSTGRESQL_CODES = {
    "no connection": (None, "StoreUnavailable"),
    "stood still in a transaction": ("25P03", "StoreUnavailable"),
    "serialisation": ("40001", "StoreUnavailable"),
    "no such schema": ("3F000", "StoreUnavailable"),
    "not allowed": ("42501", "StoreUnavailable"),
    "given up": ("57014", "StoreUnavailable"),
    "connection lost": ("08006", "StoreUnavailable"),
    "wrong password": ("28P01", "StoreUnavailable"),
    "no such database": ("3D000", "StoreUnavailable"),
    "disk full": ("53100", "StoreUnavailable"),
    "too many connections": ("53300", "StoreUnavailable"),
    "shutting down": ("57P01", "StoreUnavailable"),
    "deadlock": ("40P01", "StoreUnavailable"),
    "lock not available": ("55P03", "StoreUnavailable"),
    "a read-only replica": ("25006", "StoreUnavailable"),
    "data corrupted": ("XX001", "StoreCorrupt"),
    "index corrupted": ("XX002", "StoreCorrupt"),
    "syntax error": ("42601", "InternalError"),
    "a value that does not fit": ("22001", "InternalError"),
}


@pytest.mark.parametrize(("state", "code"), POSTGRESQL_CODES.values(), ids=list(POSTGRESQL_CODES))
def test_postgresql_errors_are_told_by_their_sqlstate(state: str | None, code: str | None):
    driver_error = type("Error", (Exception,), {"sqlstate": state})("canary")
    told = _told(OperationalError("SELECT", {}, driver_error))
    assert told == code


def test_a_broken_rule_is_told_by_its_name_on_both_databases():
    sqlite_error = sqlite3.IntegrityError("UNIQUE constraint failed: versions.item_id, versions.number")
    postgresql_error = type("Error", (Exception,), {"diag": SimpleNamespace(constraint_name="uq_versions_number")})()
    for error in (sqlite_error, postgresql_error):
        with pytest.raises(RuleBroken) as broken, translated("x"):
            raise IntegrityError("INSERT", {}, error)
        assert broken.value.rule == "uq_versions_number"


def test_a_broken_rule_that_is_not_ours_is_a_bug():
    with pytest.raises(IntegrityError), translated("x"):
        raise IntegrityError("INSERT", {}, sqlite3.IntegrityError("FOREIGN KEY constraint failed"))
    diagnostics = SimpleNamespace(sqlstate="23503", table_name="items", constraint_name="fk_items_target_id")
    driver_error = type("Error", (Exception,), {"diag": diagnostics})("Key (target_id)=(canary) is not present")
    with pytest.raises(RotatorError) as told, translated("x"):
        raise IntegrityError("INSERT", {}, driver_error)
    assert told.value.code == "InternalError"
    assert told.value.details["constraint_name"] == "fk_items_target_id"
    assert "canary" not in f"{told.value} {told.value.details}"


# --- processes that fork


def test_a_forked_process_uses_connections_of_its_own(store: SqlUnitOfWork):
    """Locks of SQLite belong to a process: one connection in two of them loses both."""
    samples.add_target(store)
    with store._db.engine.connect() as connection:
        inherited = connection.connection.driver_connection
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with store._db.engine.connect() as connection:
                own = connection.connection.driver_connection
            store.write_audit(samples.line(path="/from/the/child"))
            os.write(writing, b"inherited" if own is inherited else b"its own")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "its own"
    os.waitpid(child, 0)
    with store._db.engine.connect() as connection:
        assert connection.connection.driver_connection is inherited, "the parent keeps its"
    store.write_audit(samples.line(path="/from/the/parent"))
    assert [line.path for line in store.audit_lines()][1:] == ["/from/the/child", "/from/the/parent"]
