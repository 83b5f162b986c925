"""Folders that somebody made as rows; and moving items and folders together."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.model import AuditLine, Folder, RotatedSecret
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.column_types import by_code_point
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import RuleBroken
from azure_rotator.store.items import changed_meanwhile, replace_settings

_FOLDER = tables.columns_of(tables.folders, Folder)
_KEPT = ("folder_id", "created_at")


class FolderRows:
    """The part of the unit of work about folders."""

    _db: Database

    def insert_folder(self, folder: Folder, audit: AuditLine) -> None:
        try:
            with self._db.writing() as connection:
                connection.execute(insert(tables.folders).values(tables.values_of(folder)))
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise _conflict(broken, folder.name) from None

    def update_folder(self, folder: Folder, audit: AuditLine) -> None:
        with self._db.writing() as connection:
            _replace(connection, folder)
            audit_rows.add_line(connection, audit)

    def find_folder(self, name: str) -> Folder | None:
        statement = select(*_FOLDER).where(tables.folders.c.name == name)
        with self._db.reading() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else Folder(**row)

    def list_folders(self) -> Sequence[Folder]:
        """By name."""
        with self._db.reading() as connection:
            rows = connection.execute(select(*_FOLDER).order_by(by_code_point(tables.folders.c.name))).mappings()
            return [Folder(**row) for row in rows]

    def delete_folder(self, folder: Folder, audit: AuditLine) -> None:
        mine = tables.folders.c.folder_id == folder.folder_id
        with self._db.writing() as connection:
            gone = connection.execute(delete(tables.folders).where(mine, tables.folders.c.revision == folder.revision))
            if gone.rowcount != 1:
                raise changed_meanwhile(folder.name)
            audit_rows.add_line(connection, audit)

    def move(self, items: Sequence[RotatedSecret], folders: Sequence[Folder], audit: Sequence[AuditLine]) -> None:
        taken = ""
        try:
            with self._db.writing() as connection:
                for item in items:
                    taken = item.name
                    replace_settings(connection, item)
                for folder in folders:
                    taken = folder.name
                    _replace(connection, folder)
                for line in audit:
                    audit_rows.add_line(connection, line)
        except RuleBroken as broken:
            raise _conflict(broken, taken) from None


def _replace(connection: Connection, folder: Folder) -> None:
    values = {name: value for name, value in tables.values_of(folder).items() if name not in _KEPT}
    mine = tables.folders.c.folder_id == folder.folder_id
    changed = connection.execute(
        update(tables.folders).where(mine, tables.folders.c.revision == folder.revision - 1).values(values)
    )
    if changed.rowcount != 1:
        raise changed_meanwhile(folder.name)


def _conflict(broken: RuleBroken, name: str) -> Exception:
    if broken.rule == tables.FOLDER_NAME:
        return Conflict("NameConflict", f'there is a folder "{name}" already', hint="choose another name")
    if broken.rule == tables.ITEM_NAME:
        return Conflict(
            "NameConflict",
            f'an item named "{name}" exists already: nothing was moved',
            hint="choose another name, or move that item first",
            details={"name": name},
        )
    return broken
