"""Audit lines and the outbox of events: rows that are only ever added."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select

from azure_rotator.domain.forwarding import due_at, wants
from azure_rotator.domain.model import AuditLine, Delivery, Event, Forwarder
from azure_rotator.store import tables
from azure_rotator.store.connect import Database

_LINE = tables.columns_of(tables.audit, AuditLine)
_EVENT = tables.columns_of(tables.events, Event)
_FORWARDER = tables.columns_of(tables.forwarders, Forwarder)


def _latest() -> Select[Any]:
    # One after the other from the end of each item's events: there may be years of them.
    every = tables.events.alias()
    latest = (
        select(every.c.sequence)
        .where(every.c.item_id == tables.items.c.item_id, every.c.event_type.in_(bindparam("kinds", expanding=True)))
        .order_by(every.c.sequence.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(*_EVENT)
        .join_from(tables.items, tables.events, tables.events.c.sequence == latest)
        .where(tables.items.c.item_id.in_(bindparam("ids", expanding=True)))
    )


_LATEST = _latest()


def add_line(connection: Connection, line: AuditLine) -> None:
    """Write the line in the transaction of what it tells about."""
    connection.execute(insert(tables.audit).values(tables.values_of(line)))


def add_events(connection: Connection, events: Sequence[Event]) -> None:
    """Put events into the outbox in the transaction of what they tell about, each with its deliveries."""
    if not events:
        return
    # Locked, for who deletes one waits for this transaction, and a delivery without a forwarder would end it. Only
    # against that: who changes or sends meanwhile does not wait.
    shared = select(*_FORWARDER).order_by(tables.forwarders.c.forwarder_id).with_for_update(read=True, key_share=True)
    forwarders = [Forwarder(**row) for row in connection.execute(shared).mappings()]
    for event in events:
        connection.execute(insert(tables.events).values(tables.values_of(event)))
        target_name = _target_name(connection, event.item_id) if forwarders else ""
        for forwarder in forwarders:
            if wants(forwarder, event_type=event.event_type, item_name=event.item_name, target_name=target_name):
                delivery = Delivery(
                    forwarder_id=forwarder.forwarder_id,
                    event_id=event.event_id,
                    next_attempt_at=due_at(forwarder, event.occurred_at),
                )
                connection.execute(insert(tables.deliveries).values(tables.values_of(delivery)))


def _target_name(connection: Connection, item_id: str) -> str:
    of_item = (
        select(tables.targets.c.name)
        .join_from(tables.items, tables.targets, tables.items.c.target_id == tables.targets.c.target_id)
        .where(tables.items.c.item_id == item_id)
    )
    return connection.execute(of_item).scalar_one_or_none() or ""


class AuditRows:
    """The part of the unit of work about audit and events."""

    _db: Database

    def write_audit(self, audit: AuditLine) -> None:
        with self._db.writing() as connection:
            add_line(connection, audit)

    def audit_lines(
        self, *, path: str | None = None, since: datetime | None = None, action: str | None = None
    ) -> Sequence[AuditLine]:
        """Lines in the order they were written; ``since`` is inclusive, path and action are exact."""
        statement = select(*_LINE).order_by(tables.audit.c.sequence)
        if path is not None:
            statement = statement.where(tables.audit.c.path == path)
        if since is not None:
            statement = statement.where(tables.audit.c.at >= since)
        if action is not None:
            statement = statement.where(tables.audit.c.action == action)
        with self._db.reading() as connection:
            return [AuditLine(**row) for row in connection.execute(statement).mappings()]

    def events(self) -> Sequence[Event]:
        """The outbox in the order it was written."""
        statement = select(*_EVENT).order_by(tables.events.c.sequence)
        with self._db.reading() as connection:
            return [Event(**row) for row in connection.execute(statement).mappings()]

    def latest_events(self, item_ids: Collection[str], kinds: Collection[str]) -> Mapping[str, Event]:
        with self._db.reading() as connection:
            rows = connection.execute(_LATEST, {"ids": list(item_ids), "kinds": list(kinds)}).mappings()
            found = [Event(**row) for row in rows]
        return {event.item_id: event for event in found}
