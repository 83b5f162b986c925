"""What the scheduler reads and plans: rotations that are due, one row each, however many replicas look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from azure_rotator.domain.budget import Budget, budget_of, slots
from azure_rotator.domain.model import Event, RotatedSecret, Rotation, Target
from azure_rotator.domain.rotation import NEVER
from azure_rotator.store import audit as audit_rows
from azure_rotator.store.column_types import Instant
from azure_rotator.store.connect import Database
from azure_rotator.store.leases import ensure_permit, is_free
from azure_rotator.store.tables import (
    OPEN,
    PAUSED,
    UNPLANNED,
    UNPUBLISHED,
    columns_of,
    items,
    labelled,
    part_of,
    permits,
    rotations,
    targets,
    values_of,
)

_ITEM = columns_of(items, RotatedSecret)
_TARGET = columns_of(targets, Target)
_T = TypeVar("_T")


def _ready() -> Select[str]:
    # Not the column that the lane is: SQLite would walk along the lanes of all that waits, to spare itself sorting the
    # few that are due.
    place = func.row_number().over(
        partition_by=rotations.c.lane + "", order_by=(rotations.c.next_attempt_at, rotations.c.created_at)
    )
    # Not a join: PostgreSQL expects that much is due, and would read all permits for the few that are.
    may_run = (
        select(and_(is_free(permits.c.lease_until), or_(permits.c.not_before.is_(None), permits.c.not_before <= _NOW)))
        .where(permits.c.lane == rotations.c.lane)
        .scalar_subquery()
    )
    ready = (
        select(rotations.c.rotation_id, rotations.c.next_attempt_at, place.label("place"))
        .where(OPEN, rotations.c.next_attempt_at <= _NOW, is_free(rotations.c.lease_until), may_run.is_not(false()))
        .subquery()
    )
    return select(ready.c.rotation_id).where(ready.c.place == 1).order_by(ready.c.next_attempt_at).limit(_MOST)


# Made once: they are asked at every poll, and making one costs more than asking it.
_NOW, _MOST = bindparam("now", type_=Instant()), bindparam("most", type_=Integer())
_UNPLANNED_IDS = (
    select(items.c.item_id)
    .where(UNPLANNED, items.c.next_rotation_at <= _NOW)
    .order_by(items.c.next_rotation_at, items.c.item_id)
    .limit(_MOST)
)
_WITH_TARGETS = (
    select(*labelled("item", _ITEM), *labelled("target", _TARGET))
    .join_from(items, targets, items.c.target_id == targets.c.target_id)
    .where(items.c.item_id.in_(bindparam("ids", expanding=True)))
    .order_by(items.c.next_rotation_at, items.c.item_id)
)
_READY = _ready()
_SINCE, _UNTIL = bindparam("since", type_=Instant()), bindparam("until", type_=Instant())
_BY_HOUR = (
    select(*_ITEM)
    .where(UNPLANNED, items.c.rotation_hour.is_not(None))
    .where(items.c.next_rotation_at >= _SINCE, items.c.next_rotation_at <= _UNTIL)
    .where(or_(items.c.next_rotation_at > _SINCE, items.c.item_id > bindparam("after")))
    .order_by(items.c.next_rotation_at, items.c.item_id)
    .limit(_MOST)
)
_ACTIVE_PAUSES = (
    select(permits.c.lane, permits.c.not_before)
    .where(PAUSED, permits.c.not_before > _NOW)
    .order_by(permits.c.not_before.desc())
)
_NEXT = (
    select(func.min(rotations.c.next_attempt_at)).where(OPEN, rotations.c.next_attempt_at < NEVER),
    select(func.min(items.c.next_rotation_at)).where(UNPLANNED),
)


class Planning:
    """The part of the unit of work about what is due."""

    _db: Database

    def unplanned(self, now: datetime, limit: int) -> Sequence[tuple[RotatedSecret, Target]]:
        with self._db.reading() as connection:
            ids = connection.execute(_UNPLANNED_IDS, {"now": now, "most": limit}).scalars().all()
            if not ids:  # as at most polls: the wide rows are not asked for
                return []
            rows = connection.execute(_WITH_TARGETS, {"ids": ids}).mappings().all()
        return [
            (RotatedSecret(**part_of(row, "item", _ITEM)), Target(**part_of(row, "target", _TARGET))) for row in rows
        ]

    def due_by_hour(self, since: datetime, until: datetime, *, after: str = "", limit: int) -> Sequence[RotatedSecret]:
        values = {"since": since, "until": until, "after": after, "most": limit}
        with self._db.reading() as connection:
            return [RotatedSecret(**row) for row in connection.execute(_BY_HOUR, values).mappings()]

    def move_due(self, item: RotatedSecret, at: datetime) -> bool:
        # Not its revision: whoever changes the item meanwhile has read where it was due, and counts it anew.
        told = items.c.reminded_for == items.c.next_rotation_at
        statement = (
            update(items)
            .where(items.c.item_id == item.item_id, items.c.next_rotation_at == item.next_rotation_at)
            .values(
                next_rotation_at=at, reminded_for=case((told, bindparam("moved_to", at, items.c.reminded_for.type)))
            )
        )
        with self._db.writing() as connection:
            return connection.execute(statement).rowcount == 1

    def plan(self, planned: Sequence[Rotation], events: Sequence[Event]) -> Sequence[Rotation]:
        told = {event.item_id: event for event in events}
        by_item = {rotation.item_id: rotation for rotation in planned}
        # In one order: two replicas that plan the same cannot lock crosswise.
        locked = (
            select(items.c.item_id, items.c.next_rotation_at, targets.c.tenant_id)
            .join_from(items, targets, items.c.target_id == targets.c.target_id)
            .where(UNPLANNED, items.c.item_id.in_(by_item))
            .order_by(items.c.item_id)
            .with_for_update(of=items, skip_locked=True)
        )
        with self._db.writing() as connection:
            found = {row.item_id: row for row in connection.execute(locked)}
            mine = [r for r in planned if r.item_id in found and found[r.item_id].next_rotation_at == r.due_at]
            served = set(
                connection.execute(
                    select(rotations.c.item_id).where(
                        UNPUBLISHED, rotations.c.item_id.in_([rotation.item_id for rotation in mine])
                    )
                ).scalars()
            )
            fresh = [rotation for rotation in mine if rotation.item_id not in served]
            fresh = _unserved(connection, fresh)
            fresh = _at_slots(connection, [(r, found[r.item_id].tenant_id) for r in fresh])
            if fresh:
                connection.execute(insert(rotations), [values_of(rotation) for rotation in fresh])
                audit_rows.add_events(connection, [told[r.item_id] for r in fresh if r.item_id in told])
            if mine:
                connection.execute(
                    update(items)
                    .where(items.c.item_id == bindparam("which"))
                    .values(scheduled_for=bindparam("served_at")),
                    [{"which": r.item_id, "served_at": r.due_at} for r in mine],
                )
        return fresh

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        with self._db.reading() as connection:
            return connection.execute(_READY, {"now": now, "most": limit}).scalars().all()

    def postpone_paused(self, now: datetime) -> int:
        with self._db.reading() as connection:
            paused = connection.execute(_ACTIVE_PAUSES, {"now": now}).all()
        return sum(self._postpone(row.lane, row.not_before, now) for row in paused)

    def next_due(self) -> datetime | None:
        with self._db.reading() as connection:
            found = [connection.execute(statement).scalar_one() for statement in _NEXT]
        return min((at for at in found if at is not None), default=None)

    def _postpone(self, pause: str, until: datetime, now: datetime) -> int:
        with self._db.writing() as connection:
            waiting = connection.execute(_due_in(pause, now)).all()
            for row, at in _slots(connection, [(row, row.lane, row.tenant_id) for row in waiting], until):
                connection.execute(
                    update(rotations)
                    .where(rotations.c.rotation_id == row.rotation_id, is_free(rotations.c.lease_until))
                    .values(next_attempt_at=at)
                )
        return len(waiting)


def _unserved(connection: Connection, wanted: Sequence[Rotation]) -> list[Rotation]:
    """Those whose due instant no rotation has served. One that was closed before it came to that gives its key away."""
    keys = [rotation.idempotency_key for rotation in wanted]
    connection.execute(
        update(rotations)
        .where(rotations.c.idempotency_key.in_(keys), rotations.c.closed.is_(True))
        .values(idempotency_key=rotations.c.idempotency_key + "/" + rotations.c.rotation_id)
    )
    taken = select(rotations.c.idempotency_key).where(rotations.c.idempotency_key.in_(keys))
    served = set(connection.execute(taken).scalars())
    return [rotation for rotation in wanted if rotation.idempotency_key not in served]


def _due_in(pause: str, now: datetime) -> Select[tuple[str, str, str | None]]:
    """What is due of whom this pause concerns (``domain.kinds.pauses``)."""
    return (
        select(rotations.c.rotation_id, rotations.c.lane, targets.c.tenant_id)
        .join_from(rotations, items, items.c.item_id == rotations.c.item_id)
        .join(targets, targets.c.target_id == items.c.target_id)
        .where(OPEN, rotations.c.next_attempt_at <= now, is_free(rotations.c.lease_until), _concerns(pause))
        .order_by(rotations.c.next_attempt_at, rotations.c.rotation_id)
        .with_for_update(of=rotations, skip_locked=True)
    )


def _concerns(pause: str) -> ColumnElement[bool]:
    kind, _, where = pause.partition(":")
    if kind == "tenant":
        return func.lower(targets.c.tenant_id) == where
    if kind == "subscription":
        return rotations.c.lane.startswith(f"storage:{where}/", autoescape=True)
    return rotations.c.lane == pause


def _at_slots(connection: Connection, wanted: Sequence[tuple[Rotation, str | None]]) -> list[Rotation]:
    """These, each at an instant at which its budget has room."""
    found: list[Rotation] = []
    by_start = defaultdict(list)
    for rotation, tenant_id in wanted:
        by_start[rotation.next_attempt_at].append((rotation, rotation.lane, tenant_id))
    for start, group in by_start.items():
        found += [replace(rotation, next_attempt_at=at) for rotation, at in _slots(connection, group, start)]
    return found


def _slots(
    connection: Connection, wanted: Sequence[tuple[_T, str, str | None]], start: datetime
) -> list[tuple[_T, datetime]]:
    """An instant from ``start`` on for each; what is given away is written down in the budget's row."""
    groups: dict[Budget | None, list[_T]] = defaultdict(list)
    for one, lane, tenant_id in wanted:
        groups[budget_of(lane, tenant_id)].append(one)
    found = [(one, start) for one in groups.pop(None, [])]
    for budget in sorted((b for b in groups if b is not None), key=lambda b: b.name):
        ensure_permit(connection, budget.name)
        row = select(permits.c.booked_until).where(permits.c.lane == budget.name).with_for_update()
        booked_until = connection.execute(row).scalar_one() or 0.0
        instants, booked_until = slots(len(groups[budget]), budget, booked_until, start)
        found += zip(groups[budget], instants, strict=True)
        connection.execute(update(permits).where(permits.c.lane == budget.name).values(booked_until=booked_until))
    return found
