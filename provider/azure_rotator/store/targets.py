"""Targets as rows; a deleted one stays as a tombstone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, false, insert, select, update

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.model import AuditLine, Target
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.column_types import by_code_point
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import RuleBroken

_TARGET = tables.columns_of(tables.targets, Target)
_KEPT = ("target_id", "created_at")


class TargetRows:
    """The part of the unit of work about Targets."""

    _db: Database

    def insert_target(self, target: Target, audit: AuditLine) -> None:
        try:
            with self._db.writing() as connection:
                connection.execute(insert(tables.targets).values(tables.values_of(target)))
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise _conflict(broken, target) from None

    def update_target(self, target: Target, audit: AuditLine) -> None:
        values = {name: value for name, value in tables.values_of(target).items() if name not in _KEPT}
        statement = (
            update(tables.targets)
            .where(
                tables.targets.c.target_id == target.target_id,
                tables.targets.c.revision == target.revision - 1,
                tables.targets.c.deleted.is_(false()),
            )
            .values(values)
        )
        try:
            with self._db.writing() as connection:
                if target.deleted:
                    # Locked before looking: an item that is inserted at this moment waits, and finds it deleted.
                    locked = select(tables.targets.c.target_id).where(tables.targets.c.target_id == target.target_id)
                    connection.execute(locked.with_for_update())
                    _refuse_in_use(connection, target)
                if connection.execute(statement).rowcount != 1:
                    raise Conflict(
                        "ItemLocked",
                        f'the target "{target.name}" was changed meanwhile',
                        hint="look at it again, then repeat the change",
                    )
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise _conflict(broken, target) from None

    def find_target(self, *, name: str | None = None, target_id: str | None = None) -> Target | None:
        if (name is None) == (target_id is None):
            raise ValueError("a target is found by its name or by its id")
        statement = select(*_TARGET)
        if name is not None:
            statement = statement.where(tables.targets.c.name == name, tables.targets.c.deleted.is_(false()))
        else:
            statement = statement.where(tables.targets.c.target_id == target_id)
        with self._db.reading() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else Target(**row)

    def list_targets(self) -> Sequence[Target]:
        """Those not deleted, by name."""
        statement = (
            select(*_TARGET).where(tables.targets.c.deleted.is_(false())).order_by(by_code_point(tables.targets.c.name))
        )
        with self._db.reading() as connection:
            return [Target(**row) for row in connection.execute(statement).mappings()]


def _refuse_in_use(connection: Connection, target: Target) -> None:
    """Here and not before: an item may have been inserted since the caller looked."""
    statement = select(tables.items.c.name).where(tables.items.c.target_id == target.target_id)
    names = list(connection.execute(statement.order_by(by_code_point(tables.items.c.name))).scalars())
    if names:
        raise Conflict(
            "TargetInUse",
            f'Target "{target.name}" is used by {", ".join(names)}',
            hint="delete these items first",
            details={"items": names},
        )


def _conflict(broken: RuleBroken, target: Target) -> Exception:
    if broken.rule != tables.TARGET_NAME:
        return broken
    return Conflict(
        "NameConflict",
        f'a target named "{target.name}" exists already',
        hint="choose another name, or update the target that exists",
        details={"name": target.name},
    )
