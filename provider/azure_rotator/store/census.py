"""Numbers for those who watch, in a few statements however many items there are; and how outcomes are counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, case, func, literal, select

from azure_rotator.domain.census import MOST_ITEMS, MOST_OVERDUE, MOST_TARGETS, Census, Group, Tally
from azure_rotator.domain.due import LATE
from azure_rotator.domain.model import ItemState, RotatorType
from azure_rotator.store.column_types import Instant, by_code_point, database_now
from azure_rotator.store.connect import Database, insert_into
from azure_rotator.store.tables import (
    EXPIRES,
    IS_CURRENT,
    OPEN,
    PAUSED,
    SCHEDULED,
    WAITING,
    deliveries,
    items,
    outcomes,
    permits,
    rotations,
    targets,
    versions,
)

PARKED = "parked"

_NOW, _LATE = bindparam("now", type_=Instant()), bindparam("late", type_=Instant())
_SEEN = items.c.state.in_([ItemState.ACTIVE, ItemState.DELETING])
_NAMES = select(targets.c.target_id, targets.c.name).where(targets.c.deleted.is_(False)).limit(MOST_TARGETS + 1)
_next_at = case((SCHEDULED, items.c.next_rotation_at))
_GROUPS = (
    select(
        func.count().label("items"),
        func.count(case((_next_at <= _NOW, 1))).label("due"),
        func.count(case((_next_at <= _LATE, 1))).label("overdue"),
        func.min(func.coalesce(items.c.last_rotation_at, items.c.created_at), type_=Instant()).label("rotated_at"),
        func.min(_next_at, type_=Instant()).label("next_at"),
    )
    .where(_SEEN)
    .group_by(items.c.rotator_type)
    .add_columns(items.c.rotator_type.label("kind"))
)
_OUTCOMES = (
    select(outcomes.c.code, func.sum(outcomes.c.count).label("number"), outcomes.c.rotator_type.label("kind"))
    .group_by(outcomes.c.rotator_type, outcomes.c.code)
)  # fmt: skip
# An open rotation whose item has gone is cleaned up after; it has no Target any more.
_OPERATIONS = (
    select(
        rotations.c.state,
        rotations.c.parked,
        func.count().label("number"),
        func.count(case((rotations.c.lease_until >= database_now(), 1))).label("in_flight"),
        items.c.rotator_type.label("kind"),
    )
    .join_from(rotations, items, items.c.item_id == rotations.c.item_id, isouter=True)
    .where(OPEN)
    .group_by(rotations.c.state, rotations.c.parked, items.c.rotator_type)
)
_TALLIES = (
    select(
        items.c.item_id,
        items.c.name.label("path"),
        targets.c.name.label("target"),
        items.c.rotator_type.label("kind"),
        items.c.last_rotation_at.label("last_at"),
        _next_at.label("next_at"),
        versions.c.expires_at,
    )
    .join_from(items, targets, targets.c.target_id == items.c.target_id)
    .outerjoin(versions, and_(versions.c.item_id == items.c.item_id, IS_CURRENT))
)
_EVERY = _TALLIES.where(_SEEN).order_by(by_code_point(items.c.name))
_LATEST = (
    _TALLIES.where(SCHEDULED, items.c.next_rotation_at <= _LATE)
    .order_by(items.c.next_rotation_at, items.c.item_id)
    .limit(MOST_OVERDUE)
)
_OUTCOMES_OF = select(outcomes.c.item_id, outcomes.c.code, outcomes.c.count.label("number")).where(
    outcomes.c.item_id.in_(bindparam("ids", expanding=True))
)
_ENDS = (
    select(versions.c.expires_at)
    .join_from(versions, items, items.c.item_id == versions.c.item_id)
    .where(EXPIRES, items.c.enabled.is_(True))
)
_EXPIRED = _ENDS.with_only_columns(func.count()).where(versions.c.expires_at <= _NOW)
_EXPIRES_NEXT = _ENDS.where(versions.c.expires_at > _NOW).order_by(versions.c.expires_at).limit(1)
_reach = case(
    *((permits.c.lane.startswith(f"{kind}:"), literal(kind)) for kind in ("tenant", "subscription")),
    else_=literal("object"),
)
_PAUSES = (
    select(_reach.label("reach"), func.count().label("number"), func.max(permits.c.not_before).label("until"))
    .where(PAUSED, permits.c.not_before > _NOW)
    .group_by(_reach)
)
_WAITING = select(
    func.count().label("waiting"), func.count(case((deliveries.c.attempts > 0, 1))).label("failing")
).where(WAITING)  # fmt: skip


def count_outcome(connection: Connection, item_id: str, code: str) -> None:
    """One more of these for the item, in the transaction of what it tells about."""
    first = select(items.c.item_id, literal(code), items.c.target_id, items.c.rotator_type, literal(1)).where(
        items.c.item_id == item_id
    )
    connection.execute(
        insert_into(connection, outcomes)
        .from_select(["item_id", "code", "target_id", "rotator_type", "count"], first)
        .on_conflict_do_update(index_elements=["item_id", "code"], set_={"count": outcomes.c.count + 1})
    )


class CensusRows:
    """The part of the unit of work about numbers."""

    _db: Database

    def census(self, now: datetime) -> Census:
        at = {"now": now, "late": now - LATE}
        with self._db.reading() as connection:
            operations = _Operations()
            groups = _Groups(connection)
            groups.add_items(connection, at)
            groups.add_operations(connection, operations)
            groups.add_outcomes(connection)
            found = groups.made()
            few = sum(group.items for group in found) <= MOST_ITEMS
            pauses = connection.execute(_PAUSES, at).all()
            deliveries_open = connection.execute(_WAITING).one()
            return Census(
                at=now,
                groups=found,
                tallies=_tallies(connection, _EVERY if few else _LATEST, at),
                operations=operations.by_state,
                in_flight=operations.in_flight,
                expired=connection.execute(_EXPIRED, at).scalar_one(),
                expires_at=connection.execute(_EXPIRES_NEXT, at).scalar_one_or_none(),
                paused={row.reach: row.number for row in pauses},
                paused_until=max((row.until for row in pauses), default=None),
                waiting=deliveries_open.waiting,
                failing=deliveries_open.failing,
            )


class _Operations:
    """Open operations, counted."""

    def __init__(self) -> None:
        self.by_state: Counter[str] = Counter()
        self.in_flight = 0


class _Groups:
    """Items of one kind on one Target, counted together; of all Targets, where there are too many."""

    def __init__(self, connection: Connection) -> None:
        names = {row.target_id: row.name for row in connection.execute(_NAMES)}
        self._names = names if len(names) <= MOST_TARGETS else None
        self._facts: defaultdict[tuple[str, RotatorType], dict[str, Any]] = defaultdict(lambda: {"outcomes": Counter()})

    def add_items(self, connection: Connection, at: Mapping[str, datetime]) -> None:
        for target, row in self._rows(connection, _GROUPS, items.c.target_id, at):
            facts = self._facts[target, row["kind"]]
            for name in ("items", "due", "overdue"):
                facts[name] = facts.get(name, 0) + row[name]
            for name in ("rotated_at", "next_at"):
                facts[name] = min((one for one in (facts.get(name), row[name]) if one is not None), default=None)

    def add_operations(self, connection: Connection, found: _Operations) -> None:
        for target, row in self._rows(connection, _OPERATIONS, items.c.target_id, {}):
            found.by_state[PARKED if row["parked"] else row["state"].value] += row["number"]
            found.in_flight += row["in_flight"]
            if row["parked"] and (target, row["kind"]) in self._facts:
                facts = self._facts[target, row["kind"]]
                facts["parked"] = facts.get("parked", 0) + row["number"]

    def add_outcomes(self, connection: Connection) -> None:
        for target, row in self._rows(connection, _OUTCOMES, outcomes.c.target_id, {}):
            # Of a Target that was deleted with its items there is nothing left to watch.
            if target or (target, row["kind"]) in self._facts or self._names is None:
                self._facts[target, row["kind"]]["outcomes"][row["code"]] += row["number"]

    def made(self) -> tuple[Group, ...]:
        return tuple(
            Group(target=target, kind=kind, **facts)
            for (target, kind), facts in sorted(self._facts.items(), key=lambda one: one[0])
        )

    def _rows(
        self, connection: Connection, statement: Select[Any], target_id: Any, at: Mapping[str, datetime]
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Rows, each with its Target's path: empty for one that was deleted, and where all are told together."""
        if self._names is None:
            return [("", dict(row)) for row in connection.execute(statement, at).mappings()]
        each = statement.add_columns(target_id.label("target_id")).group_by(target_id)
        return [(self._names.get(row["target_id"], ""), dict(row)) for row in connection.execute(each, at).mappings()]


def _tallies(connection: Connection, statement: Select[Any], at: Mapping[str, datetime]) -> tuple[Tally, ...]:
    rows = [dict(row) for row in connection.execute(statement, at).mappings()]
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(_OUTCOMES_OF, {"ids": [row["item_id"] for row in rows]}) if rows else ():
        counts[row.item_id][row.code] = row.number
    return tuple(Tally(outcomes=counts[row.pop("item_id")], **row) for row in rows)
