"""The journal of rotations: reading it, and adding to it. Steps of a running rotation are in ``steps``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, exists, insert, literal, or_, select, update

from azure_rotator.domain.errors import Conflict, NotFound, item_disabled
from azure_rotator.domain.model import (
    AuditLine,
    ItemState,
    Mint,
    RotatedSecret,
    Rotation,
    RotationState,
    Stage,
    Target,
    Trigger,
    Version,
)
from azure_rotator.domain.ports import Situation
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import RuleBroken
from azure_rotator.store.items import VERSIONS, add_version, already_managed, changed_meanwhile, drop_holdings
from azure_rotator.store.leases import is_free, pause_end, place_of
from azure_rotator.store.tables import items, labelled, mints, part_of, rotations, targets, versions

_ROTATION = tables.columns_of(rotations, Rotation)
_MINT = tables.columns_of(mints, Mint)
_ITEM = tables.columns_of(items, RotatedSecret)
_TARGET = tables.columns_of(targets, Target)
_SITUATION = (
    select(
        *labelled("rotation", _ROTATION),
        *labelled("item", _ITEM),
        *labelled("target", _TARGET),
        *labelled("mint", _MINT),
    )
    .join_from(rotations, items, items.c.item_id == rotations.c.item_id, isouter=True)
    .join(targets, targets.c.target_id == items.c.target_id, isouter=True)
    .join(mints, mints.c.mint_id == rotations.c.mint_id, isouter=True)
    .where(rotations.c.rotation_id == bindparam("rotation_id"))
)
# A rule that another process was faster to fill; the second look finds its row.
_ATTACHABLE = frozenset({tables.IDEMPOTENCY_KEY, tables.ONE_UNPUBLISHED, tables.ONE_DELETE})

_Add = Callable[[Connection], Rotation]


class JournalRows:
    """The part of the unit of work about the journal's rows."""

    _db: Database

    def get_rotation(self, rotation_id: str) -> Rotation | None:
        statement = select(*_ROTATION).where(rotations.c.rotation_id == rotation_id)
        with self._db.reading() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else Rotation(**row)

    def situation(self, rotation_id: str) -> Situation | None:
        with self._db.reading() as connection:
            row = connection.execute(_SITUATION, {"rotation_id": rotation_id}).mappings().one_or_none()
            if row is None:
                return None
            rotation = Rotation(**part_of(row, "rotation", _ROTATION))
            found = connection.execute(VERSIONS, {"item_id": rotation.item_id}).mappings()
            its_versions = tuple(Version(**one) for one in found)
        return Situation(
            rotation=rotation,
            item=RotatedSecret(**part_of(row, "item", _ITEM)) if row["item/item_id"] else None,
            versions=its_versions,
            target=Target(**part_of(row, "target", _TARGET)) if row["target/target_id"] else None,
            mint=Mint(**part_of(row, "mint", _MINT)) if row["mint/mint_id"] else None,
        )

    def open_rotations(self, *, item_id: str | None = None) -> Sequence[Rotation]:
        statement = select(*_ROTATION).where(tables.OPEN).order_by(rotations.c.created_at, rotations.c.rotation_id)
        if item_id is not None:
            statement = statement.where(rotations.c.item_id == item_id)
        with self._db.reading() as connection:
            return [Rotation(**row) for row in connection.execute(statement).mappings()]

    def operations(self, mint_ids: Collection[str]) -> Mapping[str, Rotation]:
        if not mint_ids:
            return {}
        statement = (
            select(mints.c.mint_id.label("attempt"), *_ROTATION)
            .join_from(mints, rotations, mints.c.rotation_id == rotations.c.rotation_id)
            .where(mints.c.mint_id.in_(set(mint_ids)))
        )
        with self._db.reading() as connection:
            rows = [dict(row) for row in connection.execute(statement).mappings()]
        return {row.pop("attempt"): Rotation(**row) for row in rows}

    def held_key_ids(self, key_ids: Collection[str]) -> Mapping[str, str]:
        """See ``ports.UnitOfWork``; the keys of the answer are written as the caller wrote them."""
        if not key_ids:
            return {}
        statement = select(versions.c.key_id_lower, versions.c.item_id).where(
            versions.c.key_id_lower.in_({key_id.lower() for key_id in key_ids}), tables.HELD
        )
        with self._db.reading() as connection:
            holders: dict[str, str] = {row.key_id_lower: row.item_id for row in connection.execute(statement)}
        return {key_id: holders[key_id.lower()] for key_id in key_ids if key_id.lower() in holders}

    def find_mint(self, mint_id: str) -> Mint | None:
        statement = select(*_MINT).where(mints.c.mint_id == mint_id)
        with self._db.reading() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else Mint(**row)

    def lanes(self) -> Sequence[str]:
        statement = select(rotations.c.lane).distinct()
        with self._db.reading() as connection:
            return sorted(connection.execute(statement).scalars())

    def has_minted(self, item_id: str) -> bool:
        statement = (
            select(mints.c.mint_id)
            .join_from(mints, rotations, mints.c.rotation_id == rotations.c.rotation_id)
            .where(rotations.c.item_id == item_id)
            .limit(1)
        )
        with self._db.reading() as connection:
            return connection.execute(statement).first() is not None

    def hasten(self, rotation_id: str, at: datetime) -> None:
        waits_for_its_time = rotations.c.state.in_([RotationState.PUBLISHED, RotationState.DONE])
        with self._db.writing() as connection:
            place = connection.execute(place_of(rotation_id)).one_or_none()
            until = pause_end(connection, place.lane, place.tenant_id) if place else None
            due_at = max(at, until) if until else at
            connection.execute(
                update(rotations)
                .where(
                    rotations.c.rotation_id == rotation_id,
                    rotations.c.next_attempt_at > due_at,
                    ~waits_for_its_time,
                    is_free(rotations.c.lease_until),
                )
                .values(next_attempt_at=due_at)
            )

    def withdraw_create(self, rotation_id: str, audit: AuditLine, at: datetime) -> bool:
        withdrawn = (
            update(rotations)
            .where(
                rotations.c.rotation_id == rotation_id,
                rotations.c.trigger == Trigger.CREATE,
                rotations.c.state == RotationState.PLANNED,
                is_free(rotations.c.lease_until),
            )
            .values(state=RotationState.FAILED, closed=True, fence=rotations.c.fence + 1, updated_at=at)
            .returning(rotations.c.item_id)
        )
        with self._db.writing() as connection:
            item_id = connection.execute(withdrawn).scalar_one_or_none()
            if item_id is None:
                return False
            connection.execute(delete(versions).where(versions.c.item_id == item_id))
            drop_holdings(connection, item_id)
            connection.execute(delete(items).where(items.c.item_id == item_id))
            audit_rows.add_line(connection, audit)
            return True

    def insert_rotation(self, rotation: Rotation) -> Rotation:
        """See ``ports.UnitOfWork``.

        Raises:
            NotFound: ``ItemNotFound``.
            Conflict: ``ItemLocked``, the item is being deleted or undone: nothing may be minted for it any more.
        """
        same_work = or_(
            rotations.c.idempotency_key == rotation.idempotency_key,
            (rotations.c.item_id == rotation.item_id) & tables.UNPUBLISHED,
        )

        def add(connection: Connection) -> Rotation:
            item = _locked_item(connection, rotation.item_id)
            found = _first(connection, same_work, rotation)
            if found is not None:
                return _hurried(connection, found) if rotation.revoke_now else found
            _refuse_unless_in_use(item, rotation.item_id)
            _refuse_disabled(item)
            connection.execute(insert(rotations).values(tables.values_of(rotation)))
            return rotation

        return self._attached(add)

    def insert_adoption(self, rotation: Rotation, version: Version) -> None:
        """See ``ports.UnitOfWork``. Raises what ``insert_rotation`` does, too."""
        name = rotation.item_id
        try:
            with self._db.writing() as connection:
                item = _locked_item(connection, rotation.item_id)
                name = _refuse_unless_in_use(item, rotation.item_id)
                _close_parked(connection, rotation)
                connection.execute(insert(rotations).values(tables.values_of(rotation)))
                add_version(connection, version)
        except RuleBroken as broken:
            if broken.rule in _ATTACHABLE:
                raise Conflict(
                    "ItemLocked",
                    f'the item "{name}" has a rotation that is not finished',
                    hint="wait until it is published (azure-rotator reconcile goes on with it), then repeat the change",
                ) from None
            if broken.rule == tables.KEY_ID:
                raise already_managed(self._db, version.key_id) from None
            raise

    def begin_delete(self, rotation: Rotation, *, revision: int, keep_only_copy: bool = False) -> Rotation:
        """See ``ports.UnitOfWork``.

        What the item's other rotations minted stays known: a pending version becomes abandoned, ``mint_uncertain``
        stays as it is. Their fences move on, so that a worker that slept through its lease cannot publish any more.
        """
        same_work = or_(
            rotations.c.idempotency_key == rotation.idempotency_key,
            (rotations.c.item_id == rotation.item_id) & tables.OPEN_DELETE,
        )

        def add(connection: Connection) -> Rotation:
            item = _locked_item(connection, rotation.item_id)
            found = _first(connection, same_work, rotation)
            if found is not None:
                return found
            if item is None or item.revision != revision:
                raise changed_meanwhile(rotation.item_id if item is None else item.name)
            _refuse_running(connection, rotation.item_id, item.name)
            if keep_only_copy:
                _refuse_only_copy(connection, rotation.item_id, item.name)
            _close_others(connection, rotation)
            connection.execute(insert(rotations).values(tables.values_of(rotation)))
            return rotation

        return self._attached(add)

    def begin_version_delete(self, rotation: Rotation, *, revision: int) -> Rotation:
        same_work = (
            (rotations.c.item_id == rotation.item_id)
            & (rotations.c.trigger == Trigger.DELETE_VERSION)
            & (rotations.c.replaced_version_id == rotation.replaced_version_id)
            & tables.OPEN
        )

        def add(connection: Connection) -> Rotation:
            item = _locked_item(connection, rotation.item_id)
            found = _first(connection, same_work, rotation)
            if found is not None:
                return found
            name = _refuse_unless_in_use(item, rotation.item_id)
            if item is not None and item.revision != revision:
                raise changed_meanwhile(name)
            connection.execute(insert(rotations).values(tables.values_of(rotation)))
            doomed = versions.c.version_id == rotation.replaced_version_id
            later = or_(versions.c.retire_at.is_(None), versions.c.retire_at > rotation.created_at)
            connection.execute(
                update(versions)
                .where(doomed, versions.c.stage == Stage.PREVIOUS, later)
                .values(retire_at=rotation.created_at)
            )
            return rotation

        return self._attached(add)

    def _attached(self, add: _Add) -> Rotation:
        try:
            with self._db.writing() as connection:
                return add(connection)
        except RuleBroken as broken:
            if broken.rule not in _ATTACHABLE:
                raise
        with self._db.writing() as connection:
            return add(connection)


class _Item(NamedTuple):
    name: str
    state: ItemState
    revision: int
    enabled: bool


def _locked_item(connection: Connection, item_id: str) -> _Item | None:
    """The item's row, kept from changing: whether it is deleted and what is begun for it is decided one at a time."""
    columns = (items.c.name, items.c.state, items.c.revision, items.c.enabled)
    row = connection.execute(select(*columns).where(items.c.item_id == item_id).with_for_update()).one_or_none()
    return None if row is None else _Item(*row)


def _refuse_unless_in_use(item: _Item | None, item_id: str) -> str:
    if item is None:
        raise NotFound("ItemNotFound", f"the item {item_id} was deleted meanwhile")
    if item.state not in {ItemState.CREATING, ItemState.ACTIVE}:
        raise Conflict(
            "ItemLocked",
            f'the item "{item.name}" is being deleted',
            hint="wait until it is gone, or look at its last error",
        )
    return item.name


def _refuse_disabled(item: _Item | None) -> None:
    if item is not None and not item.enabled:
        raise item_disabled(item.name)


def _hurried(connection: Connection, found: Rotation) -> Rotation:
    """The rotation that a request attaches to, which from now on retires the previous secret at once. Its publication
    looks at the row, so that it is not too late while somebody works on it."""
    still_open = (rotations.c.rotation_id == found.rotation_id) & tables.UNPUBLISHED
    connection.execute(update(rotations).where(still_open).values(revoke_now=True))
    return replace(found, revoke_now=True)


def _first(connection: Connection, same_work: ColumnElement[bool], rotation: Rotation) -> Rotation | None:
    # A row with the same idempotency key goes before one that merely stands in the way.
    order = case((rotations.c.idempotency_key == rotation.idempotency_key, 0), else_=1)
    row = connection.execute(select(*_ROTATION).where(same_work).order_by(order).limit(1)).mappings().one_or_none()
    return None if row is None else Rotation(**row)


def _refuse_running(connection: Connection, item_id: str, name: str) -> None:
    """Refuse what somebody works on: its lease runs, or its row is in somebody's transaction at this moment.

    The others stay locked, so that nobody claims them before they are closed. Nobody is waited for: a step locks its
    rotation first and its item then, the other way round than here.
    """
    still = rotations.c.rotation_id, is_free(rotations.c.lease_until)
    mine = select(*still).where(rotations.c.item_id == item_id, tables.OPEN).order_by(rotations.c.rotation_id)
    every = [rotation_id for rotation_id, _ in connection.execute(mine)]
    idle = {rotation_id for rotation_id, free in connection.execute(mine.with_for_update(skip_locked=True)) if free}
    running = next((rotation_id for rotation_id in every if rotation_id not in idle), None)
    if running is not None:
        raise Conflict(
            "ItemLocked",
            f'the item "{name}" is being rotated ({running})',
            hint="wait until the rotation is published, then delete the item",
            details={"rotation_id": running},
        )


def _refuse_only_copy(connection: Connection, item_id: str, name: str) -> None:
    """Refuse while an operation has made a value, or may have, that is published nowhere. The caller has its rows."""
    made = or_(
        rotations.c.mint_uncertain.is_(True), rotations.c.state.in_([RotationState.MINTED, RotationState.PROVING])
    )
    statement = select(rotations.c.rotation_id).where(rotations.c.item_id == item_id, tables.OPEN, made).limit(1)
    found = connection.execute(statement).scalar_one_or_none()
    if found is not None:
        raise Conflict(
            "ItemLocked",
            f'a rotation of "{name}" ({found}) may have set the only value that is valid now, and has not published it',
            hint="azure-rotator reconcile finishes it, then delete the item; --force-delete gives that value up",
            details={"rotation_id": found},
        )


def _close_others(connection: Connection, rotation: Rotation) -> None:
    published = rotations.c.state.in_([RotationState.PUBLISHED, RotationState.RETIRING])
    connection.execute(
        update(rotations)
        .where(rotations.c.item_id == rotation.item_id, tables.OPEN)
        .values(
            state=case((published, _state(RotationState.DONE)), else_=_state(RotationState.FAILED)),
            closed=~published,
            error_code=case((published, rotations.c.error_code), else_=literal("ItemLocked")),
            error_text=case((published, rotations.c.error_text), else_=literal("the item was deleted meanwhile")),
            fence=rotations.c.fence + 1,
            worker=None,
            lease_until=None,
            updated_at=rotation.created_at,
        )
    )
    connection.execute(
        update(versions)
        .where(versions.c.item_id == rotation.item_id, versions.c.stage == Stage.PENDING)
        .values(stage=Stage.ABANDONED)
    )
    connection.execute(
        update(items)
        .where(items.c.item_id == rotation.item_id)
        .values(state=ItemState.DELETING, revision=items.c.revision + 1, modified_at=rotation.created_at)
    )


def _close_parked(connection: Connection, rotation: Rotation) -> None:
    left = versions.c.rotation_id == rotations.c.rotation_id
    connection.execute(
        update(rotations)
        .where(
            rotations.c.item_id == rotation.item_id,
            rotations.c.trigger != Trigger.DELETE,
            rotations.c.state == RotationState.FAILED,
            rotations.c.closed.is_(False),
            rotations.c.mint_uncertain.is_(False),
            ~exists().where(left, versions.c.stage == Stage.ABANDONED),
            is_free(rotations.c.lease_until),
        )
        .values(closed=True, updated_at=rotation.created_at)
    )


def _state(state: RotationState) -> ColumnElement[RotationState]:
    return literal(state, rotations.c.state.type)
