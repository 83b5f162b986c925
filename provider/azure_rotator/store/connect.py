"""Connections and transactions.

SQLite: WAL with ``synchronous=FULL`` (a committed intent survives a power cut), foreign keys on, a busy timeout. Every
transaction that writes is ``BEGIN IMMEDIATE``: it waits for the lock at its first statement, where waiting is safe, and
never has to upgrade a read to a write, which SQLite answers with "locked" at once. A transaction that only reads sees
one snapshot and waits for nobody. A connection serves one thread at a time.

PostgreSQL: a transaction that writes is READ COMMITTED and locks the rows that it decides by; one that only reads sees
one snapshot. Whatever its databases and roles have as defaults, durability and isolation are ours.

A store belongs to a key, which may be changed while processes work. Every statement that stores a sealed value
therefore first makes sure that the key is still the one that this process seals with, and keeps it so until its commit.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, create_engine, event, select
from sqlalchemy.dialects.postgresql import Insert as ServerInsert
from sqlalchemy.dialects.sqlite import Insert as FileInsert
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

from azure_rotator.domain.errors import Corrupt, Unavailable
from azure_rotator.store import postgresql
from azure_rotator.store.column_types import Sealed
from azure_rotator.store.faults import translated
from azure_rotator.store.location import Location
from azure_rotator.store.tables import meta

BUSY_SECONDS = 30.0
_CONNECTIONS = 24
# A server has a hundred for everybody, and a thread needs one for moments only. What was opened is kept: to open one
# costs both sides more than a whole transaction.
_POSTGRESQL_CONNECTIONS = 12
_READS = "azure_rotator_reads"
_PRAGMAS = (
    # Kilobytes of pages that each connection keeps, and sorts by: with the 2,000 that are usual a scheduler of 100,000
    # items weighs 13 MB more, for pages that the system has in memory anyway.
    "cache_size=-512",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
    "cell_size_check=ON",
)


class Database:
    """Transactions on one store.

    Args:
        lease_seconds: How long a claim or a step's commit keeps a rotation and its lane.
        look_only: Change nothing, not even the file's journal mode: it may be another program's.
        key_check: The check value of the key that this process seals with. Under another key nothing sealed is stored.
    """

    def __init__(
        self,
        location: Location,
        *,
        lease_seconds: float = 30.0,
        busy_seconds: float = BUSY_SECONDS,
        look_only: bool = False,
        key_check: str | None = None,
    ) -> None:
        self.location = location
        self.label = location.label
        self.lease_seconds = lease_seconds
        if location.path is None:
            self.engine = _postgresql_engine(location, busy_seconds)
            self._reads = {_READS: True, "isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        else:
            self.engine = _sqlite_engine(location.path, busy_seconds, look_only=look_only)
            self._reads = {_READS: True}
        _refuse_inherited_connections(self.engine)
        if key_check is not None:
            _refuse_another_key(self.engine, key_check, self.label)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back by any exception."""
        with translated(self.label), self.engine.connect() as connection, connection.begin() as transaction:
            yield connection
            with translated(self.label, committing=True):
                transaction.commit()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot. Nothing may be written in it."""
        with translated(self.label), self.engine.connect() as connection:
            reader = connection.execution_options(**self._reads)
            with reader.begin():
                yield reader

    def close(self) -> None:
        """Close all connections; the last one of all processes folds the WAL into the file."""
        self.engine.dispose()


def make_file(path: Path) -> None:
    """An empty file for this user only, in a folder that, if it is new, is for this user only.

    SQLite gives its WAL and index files the permissions of the file.

    Raises:
        Unavailable: ``StoreUnavailable``.
    """
    try:
        make_folder(path.parent)
        # An existing file is left alone: SQLite decides whether it is a store.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Unavailable(
            "StoreUnavailable",
            f"the store {path} cannot be made: {error.strerror}",
            hint="name another place with AZURE_ROTATOR_STORE, or let this user write there",
            applied="no",
        ) from None


def make_folder(folder: Path) -> None:
    """Make what is missing of this path, each folder for this user only."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for step in reversed(missing):
        step.mkdir(mode=0o700, exist_ok=True)


def _sqlite_engine(path: Path, busy_seconds: float, *, look_only: bool) -> Engine:
    # mode=rw: a store is made by ``opening.create`` only; a store that vanished is an error and not a new one.
    uri = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        # isolation_level None: the driver begins no transactions of its own.
        connection = sqlite3.connect(uri, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            if not look_only:
                _use_wal(connection, busy_seconds)
            for pragma in ("query_only=ON",) if look_only else _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    # hide_parameters: an exception of SQLAlchemy quotes the statement, and would quote a refused plain text with it.
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=busy_seconds,
        hide_parameters=True,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get(_READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Nothing to do but for a new file and a restored one; for those SQLite does not wait for a lock, so we do."""
    give_up_at = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        time.sleep(0.01)


def _postgresql_engine(location: Location, busy_seconds: float) -> Engine:
    # A creator, so that the engine, which shows its URL here and there, has none.
    return create_engine(
        "postgresql+psycopg://",
        creator=postgresql.connector(location, busy_seconds),
        isolation_level="READ COMMITTED",
        poolclass=QueuePool,
        pool_size=_POSTGRESQL_CONNECTIONS,
        max_overflow=0,
        pool_timeout=busy_seconds,
        pool_pre_ping=True,
        use_native_hstore=False,
        hide_parameters=True,
    )


def insert_into(connection: Connection, table: Table) -> ServerInsert | FileInsert:
    """An INSERT that knows ON CONFLICT. The two databases spell it alike, SQLAlchemy has it per dialect."""
    return ServerInsert(table) if connection.dialect.name == "postgresql" else FileInsert(table)


def _refuse_another_key(engine: Engine, key_check: str, label: str) -> None:
    """A process that began before the key was changed must not seal under the old one: nobody could open it."""

    @event.listens_for(engine, "before_cursor_execute")
    def bound(connection: Connection, cursor: object, statement: str, values: object, context: Any, many: bool) -> None:
        binds = context.compiled.binds.values() if context.compiled else ()
        if not any(isinstance(bind.type, Sealed) for bind in binds):
            return
        # Locked: a change of the key waits for this transaction, or this one for the change.
        present = connection.execute(select(meta.c.key_check).with_for_update(read=True)).scalar_one()
        if present != key_check:
            raise Corrupt(
                "StoreKeyWrong",
                f"the key of the store {label} was changed while this process worked",
                hint="begin again with the new key; nothing was written under the old one",
            )


def _refuse_inherited_connections(engine: Engine) -> None:
    """A connection carried over fork() would break the parent's locks (sqlite.org/howtocorrupt.html, 2.6)."""

    @event.listens_for(engine, "connect")
    def connected(connection: object, record: object) -> None:
        record.info["pid"] = os.getpid()  # type: ignore[attr-defined]

    @event.listens_for(engine, "checkout")
    def checked_out(connection: object, record: object, proxy: object) -> None:
        if record.info["pid"] != os.getpid():  # type: ignore[attr-defined]
            record.dbapi_connection = proxy.dbapi_connection = None  # type: ignore[attr-defined]
            raise DisconnectionError("a connection of the parent process")
