"""A store as an older release would have left it: what a *newer version* finds that takes over.

The processes that are killed are this release's. Their store is then brought back to the schema of the first release
that knew the item's kind: tables, columns and indexes that came later are dropped, with what is in them. That is what a
process of that release would have left when it was killed at the same point: the states of an operation are the same.
Who takes over opens it as after every update: SQLite is upgraded by the process itself, PostgreSQL by ``upgrade``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import MetaData, text

from azure_rotator.store import opening, tables
from azure_rotator.store.connect import Database
from azure_rotator.store.location import locate
from tests.crash.stores import ServerStore, Store


def made_older(store: Store, revision: str) -> None:
    """Bring a store back to a revision; on PostgreSQL, where that is somebody's own command, upgrade it at once."""
    known = _schema(revision)
    later = [table for table in tables.metadata.sorted_tables if table.name not in known]
    dropped = [f'DROP TABLE "{table.name}"' for table in reversed(later)]
    for table in tables.metadata.sorted_tables:
        if table.name in known:
            here = known[table.name]
            indexes = sorted({str(index.name) for index in table.indexes} - here.indexes)
            dropped += [f'DROP INDEX "{index}"' for index in indexes]
            columns = sorted(set(table.columns.keys()) - here.columns)
            dropped += [f'ALTER TABLE "{table.name}" DROP COLUMN "{column}"' for column in columns]
    with closing(Database(locate(store.url))) as database, database.writing() as connection:
        for statement in (*dropped, f"UPDATE alembic_version SET version_num = '{revision}'"):  # noqa: S608
            connection.execute(text(statement))
    if isinstance(store, ServerStore):
        opening.upgrade(store.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a release knew of a table."""

    columns: frozenset[str]
    indexes: frozenset[str]


@cache
def _schema(revision: str) -> Mapping[str, _Known]:
    """Its tables, as that release's own migrations make them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        file.touch()
        with closing(Database(locate(f"sqlite:///{file}"))) as database:
            opening._migrate(database, revision)
            metadata = MetaData()
            with database.reading() as connection:
                metadata.reflect(connection)
    return {
        table.name: _Known(
            columns=frozenset(table.columns.keys()), indexes=frozenset(str(index.name) for index in table.indexes)
        )
        for table in metadata.tables.values()
    }
