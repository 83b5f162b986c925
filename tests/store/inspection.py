"""The store's file seen from outside: all of it as text, leases that ran out, names of its files."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StoreFile:
    path: Path

    def everything(self, *, but_leases: bool = False) -> Mapping[str, list[str]]:
        """Every row of every table, as readable text."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {
                name: sorted(
                    repr({key: row[key] for key in row.keys() if not (but_leases and key == "lease_until")})  # noqa: SIM118
                    for row in connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - names from the schema
                )
                for name in names
            }

    def run_out_leases(self) -> None:
        """Move all leases into the past, as time would."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("UPDATE rotations SET lease_until = lease_until - 1000000")
            connection.execute("UPDATE permits SET lease_until = lease_until - 1000000")

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def as_sql(self) -> str:
        """The whole store as a script of SQL that makes it again."""
        with closing(sqlite3.connect(self.path)) as connection:
            return "\n".join(connection.iterdump()) + "\n"

    def content(self) -> bytes:
        """All bytes of the file, its WAL and its index."""
        return b"".join(file.read_bytes() for file in sorted(self.path.parent.glob(f"{self.path.name}*")))
