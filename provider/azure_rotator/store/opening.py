"""Finding, making, upgrading and opening a store.

The composition root brings store and key together; the order makes a crash harmless (a key without a store is nothing,
a store without its key would be lost)::

    found = peek(url)                       # None: no store yet
    if found is None:
        ...                                 # make or find the key, on disk before the store
        found = create(url, store_id=..., key_check=...)
    ...                                     # refuse a missing or another key: nothing was written
    unit_of_work = open_store(url, found=found, lease_seconds=30.0)

Making and upgrading are one transaction each, under a lock of the whole store on both databases: of several processes
one does it, the others find it done.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, inspect, select, text

from azure_rotator.domain.errors import Corrupt, Unavailable
from azure_rotator.store import tables
from azure_rotator.store.connect import BUSY_SECONDS, Database, make_file
from azure_rotator.store.faults import translated
from azure_rotator.store.location import Location, locate
from azure_rotator.store.postgresql import lock_schema
from azure_rotator.store.unit_of_work import SqlUnitOfWork

# Every revision of the schema, oldest first. Kept here so that opening a current store does not load Alembic (275 ms);
# a test holds it against the scripts.
REVISIONS: tuple[str, ...] = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
# Alembic's ``context`` and ``op`` belong to the whole process: one thread at a time.
_MIGRATING = threading.Lock()
MIGRATIONS = Path(__file__).with_name("migrations")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMeta:
    """What a store says about itself.

    Args:
        key_check: The check value of its key.
        revision: Its schema's revision.
    """

    store_id: str
    key_check: str
    revision: str


def peek(url: str, *, busy_seconds: float = BUSY_SECONDS) -> StoreMeta | None:
    """Look at a store without changing it; None where there is none yet.

    Raises:
        Rejected: ``ParameterInvalid``, the URL.
        Unavailable: ``StoreUnavailable``.
        Corrupt: ``StoreCorrupt``; ``StoreSchemaMismatch`` for a schema of a newer release or of another program.
    """
    location = locate(url)
    if location.path is not None and not location.path.exists():
        return None
    looking = Database(location, busy_seconds=busy_seconds, look_only=True)
    with closing(looking), looking.reading() as connection:
        return _meta(connection, location)


def create(url: str, *, store_id: str, key_check: str, busy_seconds: float = BUSY_SECONDS) -> StoreMeta:
    """Make a store, in one transaction: after a crash there is a whole one or none.

    Returns:
        What the store says, which is another process's answer if that one was faster: compare ``key_check``.
    """
    found = peek(url, busy_seconds=busy_seconds)
    if found is not None:
        return found
    location = locate(url)
    if location.path is not None:
        make_file(location.path)
    with closing(Database(location, busy_seconds=busy_seconds)) as database, database.writing() as connection:
        lock_schema(connection)
        found = _meta(connection, location)
        if found is not None:
            return found
        _make_schema(connection)
        connection.execute(insert(tables.meta).values(store_id=store_id, key_check=key_check))
    return StoreMeta(store_id=store_id, key_check=key_check, revision=REVISIONS[-1])


def upgrade(url: str) -> None:
    """Bring the schema to this release's revision, in one transaction. Nothing happens if it is there already.

    Raises:
        Unavailable: ``StoreUnavailable``, also when there is no store.
        Corrupt: ``StoreCorrupt``; ``StoreSchemaMismatch``.
    """
    location = locate(url)
    if peek(url) is None:
        raise no_store(location)
    with closing(Database(location)) as database:
        _migrate(database)


def open_store(
    url: str, *, found: StoreMeta | None = None, lease_seconds: float = 30.0, busy_seconds: float = BUSY_SECONDS
) -> SqlUnitOfWork:
    """Open a store that exists; a SQLite store of an older release is upgraded first.

    Args:
        found: What ``peek`` said, and what the caller's key belongs to; else it is looked at here.
        lease_seconds: How long a claim lasts without being extended.
        busy_seconds: How long a transaction waits for another process's lock.

    Raises:
        Rejected: ``ParameterInvalid``, the URL.
        Unavailable: ``StoreUnavailable``, also when there is no store.
        Corrupt: ``StoreCorrupt``; ``StoreSchemaMismatch``.
    """
    location = locate(url)
    found = found or peek(url, busy_seconds=busy_seconds)
    if found is None:
        raise no_store(location)
    if found.revision != REVISIONS[-1]:
        if location.path is None:
            raise needs_upgrade(location, found)
        upgrade(url)
    database = Database(location, lease_seconds=lease_seconds, busy_seconds=busy_seconds, key_check=found.key_check)
    return SqlUnitOfWork(database, found.store_id)


def _meta(connection: Connection, location: Location) -> StoreMeta | None:
    names = set(inspect(connection).get_table_names())
    if not names:
        return None
    if not {"alembic_version", tables.meta.name} <= names:
        raise Corrupt(
            "StoreSchemaMismatch",
            f"{location.label} is a database of another program, not a store of azure-rotator",
            hint="name another one with AZURE_ROTATOR_STORE",
        )
    revision = ", ".join(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())
    if revision not in REVISIONS:
        raise Corrupt(
            "StoreSchemaMismatch",
            f"the store {location.label} has the schema {revision or 'none'}, which this release does not know",
            hint="a newer release wrote it: install that release or a newer one",
            details={"revision": revision, "known": list(REVISIONS)},
        )
    row = connection.execute(select(tables.meta.c.store_id, tables.meta.c.key_check)).one_or_none()
    if row is not None:
        return StoreMeta(store_id=row.store_id, key_check=row.key_check, revision=revision)
    raise Corrupt(
        "StoreCorrupt",
        f"the store {location.label} has lost its own id",
        hint="restore a backup of this store together with its key",
    )


def _make_schema(connection: Connection) -> None:
    """What the migrations make, without Alembic; a test proves that both make the same."""
    tables.metadata.create_all(connection)
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": REVISIONS[-1]})


def _migrate(database: Database, to: str = "head") -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with _MIGRATING, translated(database.label), database.engine.connect() as connection:
        if database.location.path is not None:
            # A table that is rebuilt is dropped for a moment. The pragma does nothing inside a transaction.
            _foreign_keys(connection, on=False)
        try:
            with connection.begin():
                lock_schema(connection)
                config.attributes["connection"] = connection
                command.upgrade(config, to)
        finally:
            if database.location.path is not None:
                _foreign_keys(connection, on=True)


def _foreign_keys(connection: Connection, *, on: bool) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")


def needs_upgrade(location: Location, found: StoreMeta) -> Corrupt:
    """Its schema is an older release's."""
    return Corrupt(
        "StoreSchemaMismatch",
        f"the store {location.label} has the schema {found.revision}, this release needs {REVISIONS[-1]}",
        hint="upgrade it once for all processes: azure-rotator db upgrade",
    )


def no_store(location: Location) -> Unavailable:
    """Nothing is there."""
    return Unavailable(
        "StoreUnavailable",
        f"there is no store at {location.label}",
        hint="look at AZURE_ROTATOR_STORE; a new store is made when the first target is created"
        + ("" if location.path else ", or by azure-rotator db upgrade"),
        applied="no",
    )
