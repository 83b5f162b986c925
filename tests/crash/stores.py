"""A store's folder as tests look at it from outside: opened for a moment, copied, waited for."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from azure_rotator.config import Settings
from azure_rotator.domain.ports import Sealer, UnitOfWork
from azure_rotator.wiring import SystemEntropy, open_store

LEASE_SECONDS = 0.3
_PATIENCE_SECONDS = 30.0
_NOW = "(julianday('now') - 2440587.5) * 86400.0"


@dataclass(frozen=True, slots=True)
class Store:
    """A SQLite store with its key, in one folder: ``db/store.db`` and ``key/store.key``."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "db" / "store.db"

    def settings(self, lease_seconds: float = LEASE_SECONDS) -> Settings:
        return Settings(
            store_url=f"sqlite:///{self.database}",
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
                raise TimeoutError(f"a lease in {self.database} does not run out")
            time.sleep(left)

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
        return max((seconds + 0.001 for seconds in every if seconds is not None and seconds >= 0), default=0.0)
