"""A store seen from outside, past the code that keeps it: all of it as text, leases that ran out, its bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import psycopg

from azure_rotator.store.location import locate

Row = tuple[object, ...]
NOW = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
}


class Inspection(Protocol):
    """What every test may ask, whichever database it runs on."""

    @property
    def database(self) -> str:
        """``sqlite`` or ``postgresql``."""

    def everything(self, *, but_leases: bool = False) -> Mapping[str, list[str]]:
        """Every row of every table, as readable text."""

    def run_out_leases(self) -> None:
        """Move all leases into the past, as time would."""

    def execute(self, statement: str, *values: object) -> list[Row]:
        """A statement in a transaction of its own; values stand where it has ``?``."""

    def content(self) -> bytes:
        """All bytes that the database keeps on its disk, its log of changes included."""

    def lock(self) -> AbstractContextManager[None]:
        """Keep everybody else from writing audit lines."""


def _text(row: Mapping[str, Any], *, but_leases: bool) -> str:
    return repr({name: value for name, value in row.items() if not (but_leases and name == "lease_until")})


def _run_out(inspection: Inspection) -> None:
    inspection.execute("UPDATE rotations SET lease_until = lease_until - 1000000")
    inspection.execute("UPDATE permits SET lease_until = lease_until - 1000000")
    inspection.execute("UPDATE deliveries SET lease_until = lease_until - 1000000")


@dataclass(frozen=True)
class StoreFile:
    """A store in SQLite."""

    path: Path
    database: str = "sqlite"

    def everything(self, *, but_leases: bool = False) -> Mapping[str, list[str]]:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {
                name: sorted(
                    _text(dict(row), but_leases=but_leases)
                    for row in connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - names from the schema
                )
                for name in names
            }

    def run_out_leases(self) -> None:
        _run_out(self)

    def execute(self, statement: str, *values: object) -> list[Row]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def lock(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def as_sql(self) -> str:
        """The whole store as a script of SQL that makes it again."""
        with closing(sqlite3.connect(self.path)) as connection:
            return "\n".join(connection.iterdump()) + "\n"

    def content(self) -> bytes:
        return b"".join(file.read_bytes() for file in sorted(self.path.parent.glob(f"{self.path.name}*")))


@dataclass(frozen=True)
class StoreDatabase:
    """A store in PostgreSQL."""

    url: str
    database: str = "postgresql"

    def everything(self, *, but_leases: bool = False) -> Mapping[str, list[str]]:
        with psycopg.connect(self.url) as connection:
            names = [
                name
                for (name,) in connection.execute(
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
                )
            ]
            return {name: self._rows(connection, name, but_leases=but_leases) for name in names}

    def run_out_leases(self) -> None:
        _run_out(self)

    def execute(self, statement: str, *values: object) -> list[Row]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.replace("?", "%s").encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def content(self) -> bytes:
        folder = Path(parse_qs(urlsplit(self.url).query)["host"][0])
        with psycopg.connect(self.url) as connection:
            connection.execute("CHECKPOINT")
            ((base,),) = connection.execute("SELECT pg_relation_filepath('versions')").fetchall()
        parts = [(folder / base).parent, folder / "pg_wal", folder / "log"]
        files = (file for part in parts for file in sorted([part, *part.glob("*")]) if file.is_file())
        return b"".join(file.read_bytes() for file in files)

    @contextmanager
    def lock(self) -> Iterator[None]:
        with psycopg.connect(self.url) as connection:
            connection.execute("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE")
            yield

    @staticmethod
    def _rows(connection: psycopg.Connection, table: str, *, but_leases: bool) -> list[str]:
        cursor = connection.execute(f'SELECT * FROM "{table}"'.encode())  # noqa: S608 - names from the schema
        names = [column.name for column in cursor.description or ()]
        return sorted(_text(dict(zip(names, row, strict=True)), but_leases=but_leases) for row in cursor)


def outside_of(url: str) -> Inspection:
    """The store at a URL, past its code."""
    path = locate(url).path
    return StoreDatabase(url) if path is None else StoreFile(path)


def schema(url: str) -> list[tuple[object, ...]]:
    """Everything that a schema is made of, in the database's own words."""
    if locate(url).path is None:
        return sorted(row for question in _CATALOG for row in outside_of(url).execute(question))
    rows = outside_of(url).execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    # Alembic writes its own table with other blanks.
    return sorted((*row[:3], " ".join(str(row[3]).split()).replace("( ", "(").replace(" )", ")")) for row in rows)


_CATALOG = (
    """SELECT table_name, column_name, data_type, coalesce(character_maximum_length, 0), is_nullable,
    coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public'""",
    "SELECT tablename, indexname, indexdef, 0, '', '' FROM pg_indexes WHERE schemaname = 'public'",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), 0, '', ''
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
)
