"""A store's folder as tests look at it from outside: opened for a moment, copied, waited for."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import psycopg

from azure_rotator.config import PROCRASTINATE, Settings
from azure_rotator.crypto.keyring import create_key_file, make_key
from azure_rotator.domain.ports import Sealer, UnitOfWork
from azure_rotator.store.opening import peek
from azure_rotator.wiring import SystemEntropy, make_queue, open_store

LEASE_SECONDS = 0.3
_PATIENCE_SECONDS = 30.0
_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_SERVERS_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
URL_FILE = "url"


@dataclass(frozen=True, slots=True)
class Store:
    """A SQLite store with its key, in one folder: ``db/store.db`` and ``key/store.key``."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "db" / "store.db"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database}"

    def settings(self, lease_seconds: float = LEASE_SECONDS) -> Settings:
        return Settings(
            store_url=self.url,
            key_file=self.folder / "key" / "store.key",
            lease_seconds=lease_seconds,
        )

    def exists(self) -> bool:
        return self.database.exists() and self.database.stat().st_size > 0

    @contextmanager
    def opened(self, lease_seconds: float = LEASE_SECONDS) -> Iterator[tuple[UnitOfWork, Sealer]]:
        """Open it for a moment: what is opened for long would keep SQLite from recovering as after a real crash."""
        uow, sealer = open_store(self.settings(lease_seconds), SystemEntropy())
        try:
            yield uow, sealer
        finally:
            uow.close()

    @contextmanager
    def raw(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            yield connection

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database answers, past the code that keeps it."""
        with self.raw() as connection:
            return connection.execute(statement).fetchall()

    def in_hand(self) -> tuple[str, str] | None:
        """Trigger and state of the operation that somebody is at; else of one that nobody has claimed yet."""
        found = self.query(
            f"SELECT trigger, state FROM rotations WHERE lease_until > {self.clock} "  # noqa: S608
            "OR (lease_until IS NULL AND state = 'planned') ORDER BY coalesce(lease_until, 0) DESC"
        )
        return (found[0][0], found[0][1]) if found else None

    @property
    def clock(self) -> str:
        return _NOW

    def damage(self) -> Iterator[str]:
        """What the database itself finds wrong."""
        with self.raw() as connection:
            yield from (line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok")
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
            yield from (f"a row of {table} has lost its {parent}" for table, _, parent, _ in broken)

    def is_locked(self) -> bool:
        """Whether somebody is in the middle of a writing transaction."""
        with closing(sqlite3.connect(self.database, timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False

    def copy(self, folder: Path) -> Store:
        """A copy as a backup makes it; nobody may be writing."""
        if self.database.with_name("store.db-wal").exists():  # somebody was killed
            with self.raw() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copytree(self.folder, folder)
        return Store(folder)

    def wait_for_leases(self) -> None:
        """Return when nobody holds anything any more, by the database's clock: a dead process's lease ran out.

        Raises:
            TimeoutError: Somebody goes on extending his.
        """
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while (left := self._lease_seconds_left()) > 0:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"a lease in {self.folder} does not run out")
            time.sleep(left)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lease_seconds_left(self) -> float:
        """Until the last lease has run out; 0 when nobody has one."""
        if not self.exists():
            return 0.0
        with self.raw() as connection:
            # A store that was killed while it was made has no tables yet.
            made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            every = [
                connection.execute(f"SELECT max(lease_until) - {_NOW} FROM {table}").fetchone()[0]  # noqa: S608
                for table in ("rotations", "permits")
                if table in made
            ]
        return _longest(every)


class Server(Protocol):
    """What makes and removes databases: ``tests.plugins.postgres.Postgres``."""

    def create(self, *, template: str | None = None) -> str: ...
    def drop(self, url: str) -> None: ...


@dataclass(frozen=True, slots=True)
class ServerStore(Store):
    """A PostgreSQL store: its URL is in the folder's file ``url``, beside its key.

    Args:
        server: Where its database is; only who copies or removes it needs that.
    """

    server: Server | None = None

    @classmethod
    def make(cls, folder: Path, server: Server) -> ServerStore:
        """A new one, with a key and nothing in it."""
        made = cls(folder, server)
        made._lies_at(server.create())
        key_file = made.settings().key_file
        create_key_file(key_file, make_key(SystemEntropy()), store_folder=None)
        open_store(made.settings(), SystemEntropy())[0].close()
        make_queue(replace(made.settings(), dispatcher=PROCRASTINATE))
        return made

    @property
    def url(self) -> str:
        return (self.folder / URL_FILE).read_text()

    def exists(self) -> bool:
        return peek(self.url) is not None

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(statement.encode()).fetchall()

    @property
    def clock(self) -> str:
        return _SERVERS_NOW

    def damage(self) -> Iterator[str]:
        """Nothing: the server checks references at every write."""
        yield from ()

    def copy(self, folder: Path) -> ServerStore:
        assert self.server is not None
        shutil.copytree(self.folder, folder)
        made = ServerStore(folder, self.server)
        made._lies_at(self.server.create(template=self.url))
        return made

    def remove(self) -> None:
        if self.server is not None:
            self.server.drop(self.url)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lies_at(self, url: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / URL_FILE).write_text(url)

    def _lease_seconds_left(self) -> float:
        with psycopg.connect(self.url) as connection:
            every = [
                connection.execute(f"SELECT max(lease_until) - {_SERVERS_NOW} FROM {table}".encode()).fetchall()[0][0]  # noqa: S608
                for table in ("rotations", "permits")
            ]
        return _longest(every)


def store_at(folder: Path) -> Store:
    """The store that lies in a folder, whichever kind it is."""
    return ServerStore(folder) if (folder / URL_FILE).exists() else Store(folder)


def _longest(every: Iterable[float | None]) -> float:
    return max((seconds + 0.001 for seconds in every if seconds is not None and seconds >= 0), default=0.0)
