"""Reminders as columns of their items, notices that are told once, and turns: whose it is to look at everything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, Select, bindparam, or_, select, union_all, update

from azure_rotator.domain.model import Event, RotatedSecret
from azure_rotator.domain.ports import Reminded, Reminder
from azure_rotator.store import audit as audit_rows
from azure_rotator.store.column_types import Instant
from azure_rotator.store.connect import Database
from azure_rotator.store.leases import ensure_permit
from azure_rotator.store.tables import TO_REMIND, UNREMINDED, columns_of, events, items, permits

_ITEM = columns_of(items, RotatedSecret)
_ONE_BY_ONE = "turn:telling"


def _found() -> Select[Any]:
    now, most = bindparam("now", type_=Instant()), bindparam("most", type_=Integer())
    # Each half by its own index: nothing is read where nothing is to be done. In an order, for PostgreSQL expects
    # that almost all items fit, and would read the first ones of all.
    unplanned = select(items.c.item_id).where(UNREMINDED).order_by(items.c.next_rotation_at).limit(most).subquery()
    due = (
        select(items.c.item_id)
        .where(TO_REMIND, items.c.remind_at <= now)
        .order_by(items.c.remind_at)
        .limit(most)
        .subquery()
    )
    which = union_all(select(unplanned.c.item_id), select(due.c.item_id)).subquery()
    return (
        select(*_ITEM, items.c.reminded_for, items.c.remind_at)
        .where(items.c.item_id.in_(select(which.c.item_id)))
        .order_by(items.c.item_id)
    )


_FOUND = _found()  # once: see ``planning``


class ReminderRows:
    """The part of the unit of work about what time brings."""

    _db: Database

    def reminders(self, now: datetime, limit: int) -> Sequence[Reminder]:
        with self._db.reading() as connection:
            found = connection.execute(_FOUND, {"now": now, "most": limit})
            rows = [dict(row) for row in found.mappings()]
        return [
            Reminder(planned_for=row.pop("reminded_for"), at=row.pop("remind_at"), item=RotatedSecret(**row))
            for row in rows
        ]

    def remind(self, reminded: Sequence[Reminded]) -> Sequence[Reminded]:
        by_item = {one.found.item.item_id: one for one in reminded}
        # In one order, and nobody waits: see ``plan``.
        locked = (
            select(
                items.c.item_id,
                items.c.revision,
                items.c.next_rotation_at,
                items.c.reminded_for,
                items.c.remind_at,
            )
            .where(items.c.item_id.in_(by_item))
            .order_by(items.c.item_id)
            .with_for_update(skip_locked=True)
        )
        with self._db.writing() as connection:
            mine = []
            for row in connection.execute(locked):
                one = by_item[row.item_id]
                item, found = one.found.item, one.found
                if tuple(row) == (item.item_id, item.revision, item.next_rotation_at, found.planned_for, found.at):
                    mine.append(one)
            if mine:
                connection.execute(
                    update(items)
                    .where(items.c.item_id == bindparam("which"))
                    .values(reminded_for=bindparam("planned_for"), remind_at=bindparam("next_at")),
                    [
                        {
                            "which": one.found.item.item_id,
                            "planned_for": one.found.item.next_rotation_at,
                            "next_at": one.next_at,
                        }
                        for one in mine
                    ],
                )
                audit_rows.add_events(connection, [event for one in mine for event in one.events])
        return mine

    def tell_once(self, told: Sequence[Event]) -> Sequence[Event]:
        ids = [event.event_id for event in told]
        with self._db.writing() as connection:
            _lock(connection, _ONE_BY_ONE)
            known = set(connection.execute(select(events.c.event_id).where(events.c.event_id.in_(ids))).scalars())
            fresh = [event for event in told if event.event_id not in known]
            audit_rows.add_events(connection, fresh)
        return fresh

    def take_turn(self, name: str, now: datetime, every: timedelta) -> bool:
        next_at = (now + every).timestamp()
        # One that lies too far ahead was taken by a clock that was wrong.
        free = or_(
            permits.c.booked_until.is_(None),
            permits.c.booked_until <= now.timestamp(),
            permits.c.booked_until > next_at,
        )
        with self._db.writing() as connection:
            ensure_permit(connection, f"turn:{name}")
            statement = update(permits).where(permits.c.lane == f"turn:{name}", free).values(booked_until=next_at)
            return connection.execute(statement).rowcount == 1


def _lock(connection: Connection, name: str) -> None:
    ensure_permit(connection, name)
    connection.execute(select(permits.c.lane).where(permits.c.lane == name).with_for_update())
