"""Reminders, notices and turns as rows: what is found, what is written with what, and by whom."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.dialects import sqlite

from azure_rotator.domain.model import RotatedSecret
from azure_rotator.domain.ports import Reminded, Reminder
from azure_rotator.store.faults import RuleBroken
from azure_rotator.store.tables import TO_REMIND, UNREMINDED, items
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.conftest import Opened, on_sqlite
from tests.store.inspection import Inspection
from tests.store.samples import DAY, LATER, NOW

HOUR = timedelta(hours=1)


def added(store: SqlUnitOfWork, **changes: Any) -> RotatedSecret:
    made, _ = samples.add_item(store, **{"next_rotation_at": NOW + 30 * DAY, "rotation_event_in": (5, 1), **changes})
    return made


def found(store: SqlUnitOfWork) -> Reminder:
    (one,) = store.reminders(NOW + 100 * DAY, 10)
    return one


def planned(store: SqlUnitOfWork, item: RotatedSecret) -> None:
    assert store.remind([Reminded(found=found(store), next_at=NOW + 25 * DAY, events=())])


@pytest.mark.parametrize(
    ("changes", "is_found"),
    [
        ({}, True),
        ({"next_rotation_at": None}, False),
        ({"enabled": False}, False),
    ],
    ids=["with a due date", "without one", "disabled"],
)
def test_what_is_not_planned_is_found(store: SqlUnitOfWork, changes: dict[str, Any], is_found: bool):
    item = added(store, **changes)
    expected = [Reminder(item=item, planned_for=None, at=None)] if is_found else []
    assert store.reminders(NOW, 10) == expected


def test_planned_it_is_found_again_when_the_reminder_is_due(store: SqlUnitOfWork):
    item = added(store)
    planned(store, item)
    at = NOW + 25 * DAY
    assert store.reminders(at - timedelta(seconds=1), 10) == []
    assert store.reminders(at, 10) == [Reminder(item=item, planned_for=item.next_rotation_at, at=at)]
    assert store.remind([Reminded(found=found(store), next_at=None, events=(samples.event(item),))])
    assert store.reminders(NOW + 100 * DAY, 10) == []
    assert len(store.events()) == 1


@pytest.mark.parametrize("change", [{"next_rotation_at": NOW + 31 * DAY}, {"rotation_event_in": (3,)}])
def test_a_changed_item_is_found_anew(store: SqlUnitOfWork, change: dict[str, Any]):
    item = added(store)
    planned(store, item)
    store.update_item(replace(item, revision=2, **change), samples.line("update_item"))
    (one,) = store.reminders(NOW, 10)
    assert one.planned_for is None


def test_of_one_that_was_changed_meanwhile_nothing_is_told(store: SqlUnitOfWork):
    item = added(store)
    stale = found(store)
    store.update_item(replace(item, revision=2, rotation_event_in=()), samples.line("update_item"))
    told = Reminded(found=stale, next_at=None, events=(samples.event(item),))
    assert store.remind([told]) == []
    assert store.events() == []


def test_an_event_and_what_comes_next_are_one_transaction(store: SqlUnitOfWork):
    item = added(store)
    event = samples.event(item)
    store.tell_once([event])
    before = found(store)
    with pytest.raises(RuleBroken):
        store.remind([Reminded(found=before, next_at=LATER, events=(event,))])
    assert found(store) == before


def test_no_more_than_asked_for_of_each(store: SqlUnitOfWork):
    for _ in range(5):
        added(store)
    assert len(store.reminders(NOW, 3)) == 3


def test_replicas_that_remind_at_once_tell_it_once(open_again: Opened):
    stores = [open_again() for _ in range(3)]
    made = [added(stores[0]) for _ in range(20)]
    seen = [store.reminders(NOW, 50) for store in stores]

    def tell(number: int) -> int:
        events = {item.item_id: samples.event(item) for item in made}
        return len(
            stores[number].remind(
                [Reminded(found=one, next_at=None, events=(events[one.item.item_id],)) for one in seen[number]]
            )
        )

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(tell, range(3))) == 20
    assert len(stores[0].events()) == 20


@on_sqlite
@pytest.mark.parametrize("condition", [UNREMINDED, and_(TO_REMIND, items.c.remind_at <= NOW)], ids=["plan", "remind"])
def test_an_idle_look_reads_an_index_and_no_items(
    store: SqlUnitOfWork, outside: Inspection, condition: ColumnElement[bool]
):
    look = select(items.c.item_id).where(condition).compile(dialect=sqlite.dialect())
    values = [NOW.isoformat(" ")] if look.params else []
    plan = outside.execute(f"EXPLAIN QUERY PLAN {look}", *values)
    assert "USING INDEX ix_items_" in str(plan)


def test_a_notice_is_told_once_whoever_tells_it(open_again: Opened):
    stores = [open_again() for _ in range(3)]
    item = added(stores[0])
    notices = [samples.event(item) for _ in range(20)]
    with ThreadPoolExecutor(3) as pool:
        fresh = list(pool.map(lambda store: store.tell_once(notices), stores))
    assert sorted(map(len, fresh)) == [0, 0, 20]
    assert [event.event_id for event in stores[0].events()] == [event.event_id for event in notices]


def test_a_turn_is_one_process_s_and_comes_again(open_again: Opened):
    one, other = open_again(), open_again()
    assert one.take_turn("notices", NOW, HOUR)
    assert not other.take_turn("notices", NOW, HOUR)
    assert other.take_turn("something else", NOW, HOUR)
    assert not one.take_turn("notices", NOW + HOUR - timedelta(seconds=1), HOUR)
    assert other.take_turn("notices", NOW + HOUR, HOUR)


def test_a_turn_that_a_wrong_clock_took_is_free(store: SqlUnitOfWork):
    assert store.take_turn("notices", NOW + 1_000 * DAY, HOUR)
    assert store.take_turn("notices", NOW, HOUR)
