"""The store as a whole: its key changed, all of it looked through, a copy made. For persons, not for the core.

Every sealed column has its place here, so that a change of the key finds them all; a test holds the list against the
tables.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, and_, func, literal, select, text, true, update

from azure_rotator.domain.errors import Corrupt, Rejected, RotatorError, Unavailable
from azure_rotator.domain.model import AuditLine
from azure_rotator.domain.secrettext import SealedBytes, SealedFor
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import sqlite_fault
from azure_rotator.store.location import locate

# Sealed column -> the place that its values are sealed for: the table's name, the row's id, the version where there is
# one. What a Target had is sealed as the Target's own.
PLACES: Mapping[Column[Any], tuple[str, Column[Any], Column[Any] | None]] = {
    tables.targets.c.sealed_secret: ("targets", tables.targets.c.target_id, tables.targets.c.version),
    tables.target_versions.c.sealed_secret: (
        "targets",
        tables.target_versions.c.target_id,
        tables.target_versions.c.version,
    ),
    tables.items.c.sealed_login: ("items", tables.items.c.item_id, None),
    tables.mints.c.sealed_evidence: ("mints", tables.mints.c.mint_id, None),
    # Three in one row: each has a place of its own, so that none opens as another.
    tables.forwarders.c.sealed_url: ("forwarders.url", tables.forwarders.c.forwarder_id, None),
    tables.forwarders.c.sealed_credential: ("forwarders.credential", tables.forwarders.c.forwarder_id, None),
    tables.forwarders.c.sealed_signing_key: ("forwarders.signing_key", tables.forwarders.c.forwarder_id, None),
    tables.versions.c.sealed_value: ("versions", tables.versions.c.version_id, tables.versions.c.number),
}
# What only somebody who writes is told.
_OF_THE_COPY = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a look through a store found.

    Args:
        rows: Rows by table.
        sealed: How many sealed values there are.
        problems: What is wrong, a line each; never a value.
    """

    rows: Mapping[str, int]
    sealed: int
    problems: Sequence[str]


def change_key(
    url: str, *, old: str, new: str, reseal: Callable[[SealedBytes, SealedFor], SealedBytes], audit: AuditLine
) -> int:
    """Seal everything under another key, in one transaction that everybody who seals waits for.

    Args:
        old: The check value that the store must have.
        new: The check value that it gets.
        reseal: The same value for the same place, under the new key.

    Returns:
        How many values there were.

    Raises:
        Corrupt: ``StoreKeyWrong``, the store has another key by now; what ``reseal`` raises. Nothing was changed.
        Unavailable: ``StoreUnavailable``.
    """
    with closing(Database(locate(url))) as database, database.writing() as connection:
        present = connection.execute(select(tables.meta.c.key_check).with_for_update()).scalar_one()
        if present != old:
            raise Corrupt(
                "StoreKeyWrong",
                f"the key of the store {database.label} was changed meanwhile",
                hint="look whether another key rotate has done it; nothing was changed here",
            )
        count = 0
        for column, place, value in _sealed(connection):
            _, row, version = PLACES[column]
            here = and_(row == place.row, true() if version is None else version == place.version)
            connection.execute(update(column.table).where(here).values({column: reseal(value, place)}))
            count += 1
        connection.execute(update(tables.meta).values(key_check=new))
        audit_rows.add_line(connection, audit)
    return count


def look_through(url: str, *, opens: Callable[[SealedBytes, SealedFor], object]) -> Findings:
    """Read everything in one snapshot: the file, the schema, every reference between rows, every sealed value.

    Args:
        opens: Opens a value, or raises what is wrong with it.
    """
    problems: list[str] = []
    with closing(Database(locate(url))) as database, database.reading() as connection:
        problems += _damage(connection)
        problems += _strayed(connection)
        rows = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }
        sealed = 0
        for _, place, value in _sealed(connection):
            sealed += 1
            try:
                opens(value, place)
            except RotatorError as error:
                problems.append(error.message)
    return Findings(rows=rows, sealed=sealed, problems=tuple(problems))


def copy_file(url: str, to: Path) -> int:
    """Copy a SQLite store while processes use it: one snapshot, whole or not at all, for this user only.

    Returns:
        The copy's size in bytes.

    Raises:
        Rejected: ``ParameterInvalid``, there is a file already.
        Unavailable: ``StoreUnavailable``, the store cannot be read or the copy not be written.
    """
    location = locate(url)
    draft = to.absolute().with_name(f".{to.name}.{os.getpid()}")
    leftovers = (draft, draft.with_name(f"{draft.name}-journal"))
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            with closing(Database(location)) as database, database.reading() as connection:
                _copied(connection.connection.driver_connection, draft)
            _synced(draft)
            # A link and not a rename: it fails where a file exists.
            os.link(draft, to)
            _synced(draft.parent)
        finally:
            for file in leftovers:
                file.unlink(missing_ok=True)
    except sqlite3.Error as error:
        label = str(to) if error.sqlite_errorcode & 0xFF in _OF_THE_COPY else location.label
        raise (sqlite_fault(error, label) or error) from None
    except FileExistsError:
        raise Rejected(
            "ParameterInvalid",
            f"there is a file at {to} already",
            hint="name a new file with --to; a backup is never overwritten",
            details={"property": "to"},
        ) from None
    except OSError as error:
        raise Unavailable(
            "StoreUnavailable",
            f"the backup {to} cannot be written: {error.strerror}",
            hint="name another place with --to; the store is as it was",
            applied="no",
        ) from None
    return to.stat().st_size


def _sealed(connection: Connection) -> Iterator[tuple[Column[Any], SealedFor, SealedBytes]]:
    for column, (table, row, version) in PLACES.items():
        wanted = select(row, literal(0) if version is None else version, column)
        for place_row, place_version, value in connection.execute(
            wanted.where(column.is_not(None)).order_by(row)
        ).all():
            yield column, SealedFor(table=table, row=place_row, version=place_version), value


def _damage(connection: Connection) -> Iterator[str]:
    """What the database itself finds. PostgreSQL checks references at every write; its pages have checksums."""
    if connection.dialect.name != "sqlite":
        return
    for line in connection.execute(text("PRAGMA integrity_check")).scalars():
        if line != "ok":
            yield f"the file is damaged: {line}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"a row of {row[0]} has lost its {row[2]}"


def _strayed(connection: Connection) -> Iterator[str]:
    """Where the schema is not what its revision says: somebody changed it by hand."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or name in tables.metadata.tables  # a schema may be shared

    context = MigrationContext.configure(connection, opts={"include_name": ours})
    for difference in compare_metadata(context, tables.metadata):
        change = difference[0] if isinstance(difference, list) else difference
        named = [str(getattr(part, "name", part)) for part in change[1:4] if part is not None]
        yield f"the schema is not this release's: {' '.join([change[0], *named])}"


def _copied(source: Any, draft: Path) -> None:
    with closing(sqlite3.connect(draft)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, whatever is copied or moved


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
