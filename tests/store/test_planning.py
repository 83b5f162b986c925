"""What the scheduler plans: one rotation a due instant, at the pace that Azure allows, and one a lane at a time."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from typing import Any

import pytest

from azure_rotator.domain.budget import budget_of, slots
from azure_rotator.domain.model import RotatedSecret, Rotation, RotationState, Trigger
from azure_rotator.domain.rotation import NEVER
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.rows import row
from tests.store import samples
from tests.store.conftest import postgresql_in_full
from tests.store.inspection import Inspection
from tests.store.samples import DAY, LATER, NOW

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"


def due_item(store: SqlUnitOfWork, due: datetime | None = NOW, **changes: Any) -> RotatedSecret:
    made, _ = samples.add_item(store, next_rotation_at=due, **changes)
    return made


def planned(item: RotatedSecret, due: datetime = NOW, **changes: Any) -> Rotation:
    facts = {
        "trigger": Trigger.AUTOMATIC,
        "idempotency_key": f"{item.item_id}/due/{due.isoformat()}",
        "due_at": due,
        "lane": f"application:{TENANT}:{item.item_id}",
    }
    return samples.rotation(item.item_id, **(facts | changes))


def names(found: Any) -> list[str]:
    return [item.name for item, _ in found]


# --- what is due


@pytest.mark.parametrize(
    ("changes", "due", "is_found"),
    [
        ({}, NOW, True),
        ({}, NOW - 30 * DAY, True),
        ({}, NOW + SECOND, False),
        ({}, None, False),
        ({"enabled": False}, NOW, False),
    ],
    ids=["due", "long due", "not yet", "without a schedule", "disabled"],
)
def test_items_whose_time_has_come(store: SqlUnitOfWork, changes: dict[str, Any], due: datetime | None, is_found: bool):
    item = due_item(store, due, **changes)
    found = store.unplanned(NOW, 10)
    assert [one for one, _ in found] == ([item] if is_found else [])
    assert all(target.target_id == item.target_id for _, target in found)


def test_the_longest_due_come_first_and_no_more_than_asked_for(store: SqlUnitOfWork):
    made = [due_item(store, NOW - days * DAY) for days in (1, 3, 2)]
    assert names(store.unplanned(NOW, 2)) == [made[1].name, made[2].name]


# --- one rotation a due instant


@row("F55")
def test_a_due_instant_is_planned_once_whoever_looks(store: SqlUnitOfWork):
    item = due_item(store)
    told = samples.event(item, event_type="rotation-overdue")
    assert len(store.plan([planned(item)], [told])) == 1
    assert store.unplanned(NOW, 10) == []
    assert store.plan([planned(item)], [samples.event(item)]) == []
    assert list(store.events()) == [told], "told by whoever planned it"


@pytest.mark.parametrize("change", ["moved", "gone", "disabled"])
def test_what_changed_since_it_was_read_is_not_planned(store: SqlUnitOfWork, outside: Inspection, change: str):
    item = due_item(store)
    moved = {"moved": "next_rotation_at = '2027-01-01 00:00:00'", "gone": "next_rotation_at = NULL"}
    outside.execute(f"UPDATE items SET {moved.get(change, 'enabled = false')}")  # noqa: S608
    assert store.plan([planned(item)], []) == []
    assert store.open_rotations(item_id=item.item_id) == []


def test_a_rotation_that_is_under_way_serves_the_due_instant(store: SqlUnitOfWork):
    item = due_item(store)
    by_hand = store.insert_rotation(samples.rotation(item.item_id))
    assert store.plan([planned(item)], []) == []
    assert [r.rotation_id for r in store.open_rotations()] == [by_hand.rotation_id]
    assert store.unplanned(NOW, 10) == [], "and nobody looks at it again"


def test_what_is_withdrawn_may_be_asked_for_again(store: SqlUnitOfWork):
    item = due_item(store)
    (first,) = store.plan([planned(item)], [])
    store.withdraw(samples.claimed(store, first), NOW)
    assert store.open_rotations() == []
    assert names(store.unplanned(NOW, 10)) == [item.name]
    assert len(store.plan([planned(item)], [])) == 1


def test_parked_it_waits_for_its_instant(store: SqlUnitOfWork):
    item = due_item(store)
    made, claim = samples.started(store, item.item_id)
    store.fail(claim, samples.FAILURE, audit=samples.line(), undo_item=False, at=NOW)
    store.park(claim, LATER, NOW)
    store.release(claim)
    parked = store.get_rotation(made.rotation_id)
    assert parked is not None
    assert (parked.parked, parked.next_attempt_at, parked.state) == (True, LATER, RotationState.FAILED)
    assert store.due(LATER - SECOND, 10) == []
    assert store.due(LATER, 10) == [made.rotation_id]


# --- at the pace that Azure allows


@row("F15")
@postgresql_in_full
def test_a_thousand_due_at_once_are_spread_within_the_budget_and_none_is_missed(store: SqlUnitOfWork):
    """3,000 writes in 150 seconds, by whatever window one looks at, and all of them within the hour."""
    target = samples.add_target(store, tenant_id=TENANT)
    items = [due_item(store, target_id=target.target_id) for _ in range(1_000)]
    starts = []
    for half in (items[:400], items[400:]):  # two replicas
        starts += [r.next_attempt_at for r in store.plan([planned(item) for item in half], [])]
    assert len(starts) == 1_000
    starts.sort()
    assert starts[0] == NOW
    assert starts[-1] < NOW + timedelta(hours=1)
    for number, begin in enumerate(starts):
        assert bisect_left(starts, begin + timedelta(seconds=150)) - number <= 3_000
    seconds = (starts[-1] - starts[0]).total_seconds()
    assert 0.9 * 20 <= (len(starts) - 150) / seconds <= 20, "at least nine tenths of twenty a second"


@row("F15")
@pytest.mark.parametrize(
    ("lane", "limit", "window"),
    [
        pytest.param(f"application:{TENANT}:app", 3_000, 150, id="Graph: 3,000 writes in 150 seconds"),
        pytest.param("storage:azurecloud:sub/group/name", 50, 300, id="storage: 100 lists in 300 seconds, 2 each"),
    ],
)
def test_no_window_sees_more_than_its_limit_and_a_crowd_uses_it(lane: str, limit: int, window: int):
    budget = budget_of(lane, TENANT)
    assert budget is not None
    wanted = 4 * limit
    found, _ = slots(wanted, budget, 0.0, NOW)
    at = [(instant - NOW).total_seconds() for instant in found]
    for number, begin in enumerate(at):
        assert bisect_left(at, begin + window) - number <= limit
    assert wanted / at[-1] >= 0.9 * limit / window


def test_slots_go_on_where_the_row_says_and_a_quiet_time_gives_the_burst_back():
    budget = budget_of("storage:azurecloud:sub/group/name", None)
    assert budget is not None
    first, booked = slots(3, budget, 0.0, NOW)
    second, _ = slots(1, budget, booked, NOW)
    assert list(first) == sorted(first)
    assert second[0] > first[-1]
    assert slots(1, budget, booked, NOW + DAY)[0] == [NOW + DAY]


def test_a_lane_of_nobody_has_no_budget():
    assert budget_of("item:target:item", None) is None


# --- what runs next


def test_one_a_lane_and_none_that_somebody_holds(store: SqlUnitOfWork):
    lanes = ["application:t:a", "application:t:a", "application:t:b", "application:t:c"]
    waiting = [
        samples.rotation(due_item(store).item_id, lane=lane, next_attempt_at=NOW - number * MINUTE)
        for number, lane in enumerate(lanes)
    ]
    made = [store.insert_rotation(rotation) for rotation in waiting]
    assert store.due(NOW, 10) == [made[number].rotation_id for number in (3, 2, 1)]
    assert store.due(NOW, 1) == [made[3].rotation_id]
    samples.claimed(store, made[1])
    assert store.due(NOW, 10) == [made[3].rotation_id, made[2].rotation_id], "the lane is held"


def test_what_is_asked_to_pause_comes_after_the_pause_and_not_at_once(store: SqlUnitOfWork):
    target = samples.add_target(store, tenant_id=TENANT.upper())
    other = samples.add_target(store, tenant_id="another")
    crowd = [due_item(store, target_id=target.target_id) for _ in range(300)]
    bystander = due_item(store, target_id=other.target_id)
    waiting = [store.insert_rotation(planned(item)) for item in crowd]
    free = store.insert_rotation(planned(bystander, lane="application:another:app"))
    store.hold_lane(f"tenant:{TENANT}", LATER)
    assert store.postpone_paused(NOW) == 300
    assert store.due(NOW, 1_000) == [free.rotation_id]
    again = sorted(store.get_rotation(r.rotation_id).next_attempt_at for r in waiting)  # type: ignore[union-attr]
    assert again[0] >= LATER
    assert again[-1] - again[0] >= 7 * SECOND, "150 at once, then 19 a second"
    assert store.postpone_paused(NOW) == 0


@pytest.mark.parametrize(
    ("pause", "lane", "concerns"),
    [
        ("subscription:azurecloud:sub-1", "storage:azurecloud:sub-1/group/name", True),
        ("subscription:azurecloud:sub-1", "storage:azurecloud:sub-11/group/name", False),
        ("subscription:azurecloud:sub_1", "storage:azurecloud:subx1/group/name", False),
        ("application:t:a", "application:t:a", True),
        ("application:t:a", "application:t:b", False),
    ],
)
def test_whom_a_pause_concerns(store: SqlUnitOfWork, pause: str, lane: str, concerns: bool):
    store.insert_rotation(samples.rotation(due_item(store).item_id, lane=lane))
    store.hold_lane(pause, LATER)
    assert store.postpone_paused(NOW) == int(concerns)


def test_when_something_is_due_next(store: SqlUnitOfWork):
    assert store.next_due() is None
    item = due_item(store, NOW + 3 * DAY)
    assert store.next_due() == NOW + 3 * DAY
    other = due_item(store, None)
    _, claim = samples.started(store, other.item_id)
    assert store.next_due() == NOW
    store.fail(claim, samples.FAILURE, audit=samples.line(), undo_item=False, at=NOW)
    store.park(claim, NEVER, NOW)
    assert store.next_due() == item.next_rotation_at
