"""Forwarders as rows, and the deliveries of events to them: who sends what, and what became of it.

A parcel is claimed, sent and settled: a lease by the database's clock keeps others from sending it meanwhile, and lets
them do so when its holder is gone. Who claims or postpones locks the forwarder's row first, so that two never lock its
deliveries crosswise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, literal, or_, select, update

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.forwarding import REFUSED, RETRIED_FOR
from azure_rotator.domain.model import AuditLine, Delivery, Event, Forwarder, RunnerType
from azure_rotator.domain.ports import Backlog, Failure, Parcel, Postponement
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.column_types import Instant, by_code_point, database_now
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import RuleBroken
from azure_rotator.store.leases import is_free
from azure_rotator.store.tables import WAITING, deliveries, events, forwarders

MOST_IN_A_LIST = 100

_FORWARDER = tables.columns_of(forwarders, Forwarder)
_DELIVERY = tables.columns_of(deliveries, Delivery)
_EVENT = tables.columns_of(events, Event)
_KEPT = ("forwarder_id", "created_at")
# Made once: it is asked at every poll.
_EARLIEST = (
    select(deliveries.c.next_attempt_at)
    .where(WAITING, is_free(deliveries.c.lease_until))
    .order_by(deliveries.c.next_attempt_at)
    .limit(1)
)
_FREE = {"worker": None, "lease_until": None}


class ForwarderRows:
    """The part of the unit of work about forwarders and deliveries."""

    _db: Database

    def insert_forwarder(self, forwarder: Forwarder, audit: AuditLine) -> None:
        try:
            with self._db.writing() as connection:
                connection.execute(insert(forwarders).values(tables.values_of(forwarder)))
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise _conflict(broken, forwarder.name) from None

    def update_forwarder(self, forwarder: Forwarder, audit: AuditLine, *, take_up: bool = False) -> None:
        values = {name: value for name, value in tables.values_of(forwarder).items() if name not in _KEPT}
        mine = forwarders.c.forwarder_id == forwarder.forwarder_id
        statement = update(forwarders).where(mine, forwarders.c.revision == forwarder.revision - 1).values(values)
        failed = and_(_of(forwarder.forwarder_id), WAITING, deliveries.c.error_code.is_not(None))
        try:
            with self._db.writing() as connection:
                if connection.execute(statement).rowcount != 1:
                    raise _changed_meanwhile(forwarder.name)
                if take_up:
                    connection.execute(update(deliveries).where(failed).values(next_attempt_at=forwarder.modified_at))
                audit_rows.add_line(connection, audit)
        except RuleBroken as broken:
            raise _conflict(broken, forwarder.name) from None

    def delete_forwarder(self, forwarder: Forwarder, audit: AuditLine) -> None:
        mine = and_(forwarders.c.forwarder_id == forwarder.forwarder_id, forwarders.c.revision == forwarder.revision)
        with self._db.writing() as connection:
            # Locked first: who writes an event at this moment has its delivery committed, or sees no forwarder.
            found = connection.execute(select(forwarders.c.forwarder_id).where(mine).with_for_update())
            if found.one_or_none() is None:
                raise _changed_meanwhile(forwarder.name)
            connection.execute(delete(deliveries).where(_of(forwarder.forwarder_id)))
            connection.execute(delete(forwarders).where(mine))
            audit_rows.add_line(connection, audit)

    def find_forwarder(self, name: str) -> Forwarder | None:
        with self._db.reading() as connection:
            row = connection.execute(select(*_FORWARDER).where(forwarders.c.name == name)).mappings().one_or_none()
        return None if row is None else Forwarder(**row)

    def list_forwarders(self) -> Sequence[Forwarder]:
        """By name."""
        with self._db.reading() as connection:
            rows = connection.execute(select(*_FORWARDER).order_by(by_code_point(forwarders.c.name))).mappings()
            return [Forwarder(**row) for row in rows]

    def backlogs(self) -> Mapping[str, Backlog]:
        counted = select(
            deliveries.c.forwarder_id,
            func.count(case((WAITING, 1))).label("pending"),
            func.count(deliveries.c.given_up_at).label("given_up"),
            func.max(deliveries.c.delivered_at).label("delivered_at"),
        ).group_by(deliveries.c.forwarder_id)
        with self._db.reading() as connection:
            return {
                row.forwarder_id: Backlog(
                    pending=row.pending,
                    given_up=row.given_up,
                    delivered_at=row.delivered_at,
                    **_latest_error(connection, row.forwarder_id),
                )
                for row in connection.execute(counted).all()
            }

    def next_delivery_at(self) -> datetime | None:
        """Deliveries that somebody works on are left out: he comes back, or his lease runs out."""
        with self._db.reading() as connection:
            return connection.execute(_EARLIEST).scalar_one_or_none()

    def claim_parcel(self, worker: str, now: datetime) -> Parcel | None:
        due = and_(WAITING, deliveries.c.next_attempt_at <= now, is_free(deliveries.c.lease_until))
        whole = (
            select(*_DELIVERY, events.c.sequence)
            .join_from(deliveries, events, deliveries.c.event_id == events.c.event_id)
            .where(due)
        )
        first = (
            whole.join(forwarders, forwarders.c.forwarder_id == deliveries.c.forwarder_id)
            .order_by(deliveries.c.next_attempt_at, events.c.sequence)
            .limit(1)
            .with_for_update(skip_locked=True, key_share=True, of=[deliveries, forwarders])
        )
        with self._db.writing() as connection:
            found = connection.execute(first).mappings().one_or_none()
            if found is None:
                return None
            mine = forwarders.c.forwarder_id == found["forwarder_id"]
            forwarder = Forwarder(**connection.execute(select(*_FORWARDER).where(mine)).mappings().one())
            rows = [found]
            if forwarder.runner_type is RunnerType.PERIODIC:
                alike, most = deliveries.c.error_code.is_distinct_from(REFUSED), MOST_IN_A_LIST
                if found["error_code"] == REFUSED:
                    # What was refused together comes again in halves, until what cannot be taken is alone.
                    alike = and_(deliveries.c.error_code == REFUSED, deliveries.c.attempts == found["attempts"])
                    most = max(1, MOST_IN_A_LIST >> found["attempts"])
                together = (
                    whole.where(_of(forwarder.forwarder_id), alike)
                    .order_by(events.c.sequence)
                    .limit(most)
                    .with_for_update(skip_locked=True, key_share=True, of=deliveries)
                )
                rows = list(connection.execute(together).mappings())
            claimed = [Delivery(**{column.name: row[column.name] for column in _DELIVERY}) for row in rows]
            ids = [delivery.event_id for delivery in claimed]
            connection.execute(
                update(deliveries)
                .where(_of(forwarder.forwarder_id), deliveries.c.event_id.in_(ids))
                .values(worker=worker, lease_until=database_now() + self._db.lease_seconds)
            )
            told = select(*_EVENT).where(events.c.event_id.in_(ids)).order_by(events.c.sequence)
            return Parcel(
                forwarder=forwarder,
                deliveries=tuple(claimed),
                events=tuple(Event(**row) for row in connection.execute(told).mappings()),
                worker=worker,
            )

    def record_delivered(self, parcel: Parcel, at: datetime) -> None:
        ids = [delivery.event_id for delivery in parcel.deliveries]
        sent: dict[str, Any] = {
            "delivered_at": at,
            "attempted_at": at,
            "error_code": None,
            "error_text": None,
            **_FREE,
        }
        with self._db.writing() as connection:
            connection.execute(update(deliveries).where(_held(parcel), deliveries.c.event_id.in_(ids)).values(sent))

    def record_failed(
        self,
        parcel: Parcel,
        failed: Sequence[Postponement],
        failure: Failure,
        *,
        at: datetime,
        others_at: datetime | None = None,
    ) -> int:
        told = {
            "first_attempt_at": func.coalesce(deliveries.c.first_attempt_at, literal(at, Instant())),
            "error_code": failure.code,
            "error_text": failure.text,
        }
        of_all = _of(parcel.forwarder.forwarder_id)
        mine = forwarders.c.forwarder_id == parcel.forwarder.forwarder_id
        with self._db.writing() as connection:
            connection.execute(select(forwarders.c.forwarder_id).where(mine).with_for_update(key_share=True))
            for one in failed:
                when = {"given_up_at": at} if one.next_attempt_at is None else {"next_attempt_at": one.next_attempt_at}
                connection.execute(
                    update(deliveries)
                    .where(_held(parcel), deliveries.c.event_id == one.event_id)
                    .values(**told, **when, **_FREE, attempts=deliveries.c.attempts + 1, attempted_at=at)
                )
            if others_at is None:
                return 0
            behind = and_(of_all, WAITING, is_free(deliveries.c.lease_until), deliveries.c.next_attempt_at <= at)
            too_long = deliveries.c.first_attempt_at <= at - RETRIED_FOR
            given_up = connection.execute(update(deliveries).where(behind, too_long).values(**told, given_up_at=at))
            connection.execute(update(deliveries).where(behind).values(**told, next_attempt_at=others_at))
            return given_up.rowcount

    def drop_deliveries(self, before: datetime) -> int:
        settled = or_(deliveries.c.delivered_at < before, deliveries.c.given_up_at < before)
        with self._db.writing() as connection:
            return connection.execute(delete(deliveries).where(settled)).rowcount


def _of(forwarder_id: str) -> ColumnElement[bool]:
    return deliveries.c.forwarder_id == forwarder_id


def _held(parcel: Parcel) -> ColumnElement[bool]:
    """Still this parcel's: nobody took it over when the lease had run out."""
    return and_(_of(parcel.forwarder.forwarder_id), WAITING, deliveries.c.worker == parcel.worker)


def _latest_error(connection: Connection, forwarder_id: str) -> dict[str, str]:
    statement = (
        select(deliveries.c.error_code, deliveries.c.error_text)
        .where(_of(forwarder_id), deliveries.c.error_code.is_not(None))
        .order_by(func.coalesce(deliveries.c.attempted_at, deliveries.c.first_attempt_at).desc())
        .limit(1)
    )
    row = connection.execute(statement).mappings().one_or_none()
    return dict(row) if row else {}


def _changed_meanwhile(name: str) -> Conflict:
    return Conflict(
        "ItemLocked",
        f'the event forwarder "{name}" was changed meanwhile',
        hint="look at it again, then repeat the change",
    )


def _conflict(broken: RuleBroken, name: str) -> Exception:
    if broken.rule != tables.FORWARDER_NAME:
        return broken
    return Conflict(
        "NameConflict",
        f'an event forwarder named "{name}" exists already',
        hint="choose another name, or update the one that exists",
        details={"name": name},
    )
