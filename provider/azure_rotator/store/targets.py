"""Targets as rows; a deleted one stays as a tombstone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, false, insert, select, update

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.model import AuditLine, Target, TargetVersion
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.column_types import by_code_point
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import RuleBroken
from azure_rotator.store.leases import take_up_failed

_TARGET = tables.columns_of(tables.targets, Target)
_VERSION = tables.columns_of(tables.target_versions, TargetVersion)
_KEPT = ("target_id", "created_at")
_EVERY = 1_000_000


class TargetRows:
    """The part of the unit of work about Targets."""

    _db: Database

    def insert_target(self, target: Target, audit: AuditLine) -> None:
        try:
            with self._db.writing() as connection:
                connection.execute(insert(tables.targets).values(tables.values_of(target)))
                _keep_current(connection, target, keep=1)
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise _conflict(broken, target) from None

    def update_target(
        self,
        target: Target,
        audit: AuditLine,
        *,
        keep: int = _EVERY,
        although_in_use: bool = False,
        take_up: bool = False,
    ) -> None:
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
                if target.deleted and not although_in_use:
                    _refuse_in_use(connection, target)
                if connection.execute(statement).rowcount != 1:
                    raise Conflict(
                        "ItemLocked",
                        f'the target "{target.name}" was changed meanwhile',
                        hint="look at it again, then repeat the change",
                    )
                _keep_current(connection, target, keep=keep)
                if take_up:
                    on_it = select(tables.items.c.item_id).where(tables.items.c.target_id == target.target_id)
                    take_up_failed(connection, on_it, target.modified_at)
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

    def target_versions(self, target_id: str) -> Sequence[TargetVersion]:
        """Those that are kept, oldest first."""
        statement = select(*_VERSION).where(tables.target_versions.c.target_id == target_id)
        with self._db.reading() as connection:
            rows = connection.execute(statement.order_by(tables.target_versions.c.version)).mappings()
            return [TargetVersion(**row) for row in rows]

    def list_targets(self) -> Sequence[Target]:
        """Those not deleted, by name."""
        statement = (
            select(*_TARGET).where(tables.targets.c.deleted.is_(false())).order_by(by_code_point(tables.targets.c.name))
        )
        with self._db.reading() as connection:
            return [Target(**row) for row in connection.execute(statement).mappings()]


def keep_version(connection: Connection, version: TargetVersion, *, keep: int) -> None:
    """Add what a Target has from now on to what it had, and forget what lies more than ``keep`` versions back."""
    rows = tables.target_versions
    mine = rows.c.target_id == version.target_id
    known = connection.execute(select(rows.c.version).where(mine, rows.c.version == version.version)).one_or_none()
    if known is None:
        connection.execute(insert(rows).values(tables.values_of(version)))
        connection.execute(delete(rows).where(mine, rows.c.version <= version.version - keep))


def _keep_current(connection: Connection, target: Target, *, keep: int) -> None:
    if target.secret_reference is None and target.sealed_secret is None:
        # A cloud identity, or a tombstone: nothing of what it had is kept.
        rows = tables.target_versions
        connection.execute(delete(rows).where(rows.c.target_id == target.target_id))
        return
    version = TargetVersion(
        target_id=target.target_id,
        version=target.version,
        secret_reference=target.secret_reference,
        sealed_secret=target.sealed_secret,
        client_secret_id=target.client_secret_id,
        created_at=target.modified_at,
    )
    keep_version(connection, version, keep=keep)


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
