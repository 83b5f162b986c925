"""Items (rotated secrets) and their versions as rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Select, bindparam, delete, exists, false, insert, select, update

from azure_rotator.domain.errors import Conflict, NotFound
from azure_rotator.domain.model import AuditLine, RotatedSecret, Rotation, RotatorType, Version
from azure_rotator.domain.names import is_guid
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.column_types import by_code_point
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import RuleBroken
from azure_rotator.store.leases import take_up_failed

_ITEM = tables.columns_of(tables.items, RotatedSecret)
_VERSION = tables.columns_of(tables.versions, Version)
VERSIONS = (
    select(*_VERSION)
    .where(tables.versions.c.item_id == bindparam("item_id"))
    .order_by(tables.versions.c.number, tables.versions.c.created_at, tables.versions.c.version_id)
)

# Not settings: what rotations, reads and deletes write. They do so without the reader's revision where the row is only
# shown (a failure, a read), so an update must not write back what it read.
_NOT_SETTINGS = frozenset(
    {
        "item_id",
        "state",
        "created_at",
        "accessed_at",
        "last_rotation_at",
        "counted_from",
        "rotator_status",
        "error_code",
        "error_text",
    }
)


def add_version(connection: Connection, version: Version) -> None:
    """Insert a version's row."""
    values = tables.values_of(version)
    handle = version.key_id.lower() if is_guid(version.key_id) else version.version_id
    connection.execute(insert(tables.versions).values({**values, "key_id_lower": handle}))


def drop_holdings(connection: Connection, item_id: str) -> None:
    """What the item managed is free for another one."""
    connection.execute(delete(tables.holdings).where(tables.holdings.c.item_id == item_id))


def _hold(connection: Connection, item_id: str, holdings: Collection[str]) -> None:
    if holdings:
        connection.execute(insert(tables.holdings), [{"item_id": item_id, "holding": one} for one in sorted(holdings)])


class ItemRows:
    """The part of the unit of work about items and versions."""

    _db: Database

    def insert_item(
        self,
        item: RotatedSecret,
        version: Version | None,
        rotation: Rotation,
        audit: AuditLine,
        *,
        holdings: Collection[str] = (),
    ) -> None:
        """See ``ports.UnitOfWork``.

        Raises:
            Conflict: ``NameConflict``, ``CredentialAlreadyManaged``; ``ItemLocked`` for a request id that was used.
            NotFound: ``TargetNotFound``, the Target was deleted meanwhile.
        """
        target = select(tables.targets.c.target_id).where(
            tables.targets.c.target_id == item.target_id, tables.targets.c.deleted.is_(false())
        )
        try:
            with self._db.writing() as connection:
                if connection.execute(target.with_for_update(read=True)).one_or_none() is None:
                    raise NotFound(
                        "TargetNotFound",
                        f'the target of "{item.name}" was deleted meanwhile',
                        hint="create the target, or name another one",
                        details={"target_id": item.target_id},
                    )
                connection.execute(insert(tables.items).values(tables.values_of(item)))
                _hold(connection, item.item_id, holdings)
                connection.execute(insert(tables.rotations).values(tables.values_of(rotation)))
                if version is not None:
                    add_version(connection, version)
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise self._conflict(broken, item, version, holdings) from None

    def update_item(
        self,
        item: RotatedSecret,
        audit: AuditLine,
        *,
        holdings: Collection[str] | None = None,
        take_up: bool = False,
    ) -> None:
        try:
            with self._db.writing() as connection:
                replace_settings(connection, item)
                if take_up:
                    take_up_failed(connection, _only(item), item.modified_at)
                if holdings is not None:
                    drop_holdings(connection, item.item_id)
                    _hold(connection, item.item_id, holdings)
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise self._conflict(broken, item, None, holdings or ()) from None

    def correct_value(self, item: RotatedSecret, version: Version, audit: AuditLine) -> None:
        statement = (
            update(tables.versions)
            .where(tables.versions.c.version_id == version.version_id, tables.versions.c.item_id == item.item_id)
            .values(sealed_value=version.sealed_value, number=version.number)
        )
        try:
            with self._db.writing() as connection:
                replace_settings(connection, item)
                if connection.execute(statement).rowcount != 1:
                    raise changed_meanwhile(item.name)
                take_up_failed(connection, _only(item), item.modified_at)
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise self._conflict(broken, item, None) from None

    def find_item(self, *, name: str | None = None, item_id: str | None = None) -> RotatedSecret | None:
        if (name is None) == (item_id is None):
            raise ValueError("an item is found by its name or by its id")
        statement = select(*_ITEM)
        if name is not None:
            statement = statement.where(tables.items.c.name == name, tables.NAMED)
        else:
            statement = statement.where(tables.items.c.item_id == item_id)
        with self._db.reading() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else RotatedSecret(**row)

    def list_items(self, *, target_id: str | None = None, app_id: str | None = None) -> Sequence[RotatedSecret]:
        statement = select(*_ITEM).order_by(by_code_point(tables.items.c.name), tables.items.c.item_id)
        if target_id is not None:
            statement = statement.where(tables.items.c.target_id == target_id)
        if app_id is not None:
            statement = statement.where(tables.items.c.app_id == app_id)
        with self._db.reading() as connection:
            return [RotatedSecret(**row) for row in connection.execute(statement).mappings()]

    def holder(self, holding: str) -> str | None:
        statement = select(tables.holdings.c.item_id).where(tables.holdings.c.holding == holding)
        with self._db.reading() as connection:
            return connection.execute(statement).scalar_one_or_none()

    def item_known(self, item_id: str) -> bool:
        statement = select(exists().where(tables.rotations.c.item_id == item_id))
        with self._db.reading() as connection:
            return bool(connection.execute(statement).scalar_one())

    def versions(self, item_id: str) -> Sequence[Version]:
        with self._db.reading() as connection:
            return [Version(**row) for row in connection.execute(VERSIONS, {"item_id": item_id}).mappings()]

    def record_read(self, item_id: str, audit: AuditLine) -> None:
        statement = update(tables.items).where(tables.items.c.item_id == item_id).values(accessed_at=audit.at)
        with self._db.writing() as connection:
            connection.execute(statement)
            audit_rows.add_line(connection, audit)

    def drop_version(self, version: Version, audit: AuditLine) -> None:
        statement = delete(tables.versions).where(
            tables.versions.c.version_id == version.version_id,
            tables.versions.c.item_id == version.item_id,
            tables.versions.c.stage == version.stage,
        )
        with self._db.writing() as connection:
            if connection.execute(statement).rowcount != 1:
                raise changed_meanwhile(audit.path)
            audit_rows.add_line(connection, audit)

    def _conflict(
        self, broken: RuleBroken, item: RotatedSecret, version: Version | None, holdings: Collection[str] = ()
    ) -> Exception:
        if broken.rule == tables.ITEM_NAME:
            return Conflict(
                "NameConflict",
                f'an item named "{item.name}" exists already',
                hint="choose another name, or update the item that exists",
                details={"name": item.name},
            )
        if broken.rule == tables.KEY_ID and version is not None:
            return already_managed(self._db, version.key_id)
        if broken.rule == tables.HOLDING:
            return self._held_already(item, holdings)
        if broken.rule == tables.IDEMPOTENCY_KEY:
            return Conflict(
                "ItemLocked",
                f'the request that would create "{item.name}" was made already',
                hint="look whether the item exists",
            )
        return broken

    def _held_already(self, item: RotatedSecret, holdings: Collection[str]) -> Conflict:
        statement = (
            select(tables.items.c.name)
            .join(tables.holdings, tables.holdings.c.item_id == tables.items.c.item_id)
            .where(tables.holdings.c.holding.in_(holdings), tables.items.c.item_id != item.item_id)
        )
        with self._db.reading() as connection:
            holder = connection.execute(statement).scalars().first()
        by = f'"{holder}"' if holder else "another item"
        if item.rotator_type is RotatorType.TARGET:
            return Conflict(
                "TargetAlreadyRotated",
                f"the secret of this Target is already rotated by {by}",
                hint="a Target has one rotator of its own: use that item, or delete it first",
                details={"holder": holder},
            )
        return Conflict(
            "CredentialAlreadyManaged",
            f"the credential is already rotated by {by}",
            hint="one credential belongs to one item: use that item, or delete it first",
            details={"holder": holder},
        )


def replace_settings(connection: Connection, item: RotatedSecret) -> None:
    """Write the settings of the row of revision ``item.revision - 1``. Raises: Conflict ``ItemLocked``."""
    values = {name: value for name, value in tables.values_of(item).items() if name not in _NOT_SETTINGS}
    # Its reminders may be others now, although it is due when it was.
    values["reminded_for"] = None
    statement = (
        update(tables.items)
        .where(tables.items.c.item_id == item.item_id, tables.items.c.revision == item.revision - 1)
        .values(values)
    )
    if connection.execute(statement).rowcount != 1:
        raise changed_meanwhile(item.name)


def already_managed(database: Database, key_id: str) -> Conflict:
    """Another item holds this keyId."""
    statement = (
        select(tables.items.c.name)
        .join(tables.versions, tables.versions.c.item_id == tables.items.c.item_id)
        .where(tables.versions.c.key_id_lower == key_id.lower(), tables.HELD)
    )
    with database.reading() as connection:
        holder = connection.execute(statement).scalar_one_or_none()
    return Conflict(
        "CredentialAlreadyManaged",
        f"the credential {key_id} is already rotated by " + (f'"{holder}"' if holder else "another item"),
        hint="one credential belongs to one item: use that item, or delete it first",
        details={"key_id": key_id, "holder": holder},
    )


def changed_meanwhile(name: str) -> Conflict:
    """The row is no longer the one that the caller read."""
    return Conflict(
        "ItemLocked", f'the item "{name}" was changed meanwhile', hint="look at it again, then repeat the change"
    )


def _only(item: RotatedSecret) -> Select[tuple[str]]:
    return select(tables.items.c.item_id).where(tables.items.c.item_id == item.item_id)
