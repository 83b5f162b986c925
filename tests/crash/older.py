"""A store as an older release would have left it: what a *newer version* finds that takes over.

The processes that are killed are this release's. Their store is then brought back to the schema of the first release
that knew the item's kind: tables and columns that came later are dropped, with what is in them. That is what a process
of that release would have left when it was killed at the same point, since the states of an operation have not changed.
Who takes over opens it as after every update: SQLite is upgraded by the process itself, PostgreSQL by ``upgrade``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import closing
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
            columns = sorted(set(table.columns.keys()) - known[table.name])
            dropped += [f'ALTER TABLE "{table.name}" DROP COLUMN "{column}"' for column in columns]
    with closing(Database(locate(store.url))) as database, database.writing() as connection:
        for statement in (*dropped, f"UPDATE alembic_version SET version_num = '{revision}'"):  # noqa: S608
            connection.execute(text(statement))
    if isinstance(store, ServerStore):
        opening.upgrade(store.url)


@cache
def _schema(revision: str) -> Mapping[str, frozenset[str]]:
    """Table -> its columns, as that release's own migrations make them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        file.touch()
        with closing(Database(locate(f"sqlite:///{file}"))) as database:
            opening._migrate(database, revision)
            metadata = MetaData()
            with database.reading() as connection:
                metadata.reflect(connection)
    return {table.name: frozenset(table.columns.keys()) for table in metadata.tables.values()}
