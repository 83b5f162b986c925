"""The store in numbers: what counts as due, late and parked; outcomes that are never forgotten; and never too much."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from azure_rotator.domain.census import MOST_ITEMS, MOST_OVERDUE, MOST_TARGETS, OK, Census, Group
from azure_rotator.domain.model import ItemState, RotatorType, Trigger
from azure_rotator.store.tables import targets, values_of
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.rows import row
from tests.store import samples
from tests.store.conftest import Opened, postgresql_in_full
from tests.store.inspection import Inspection
from tests.store.samples import DAY, FAILURE, LATER, NOW

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)

pytestmark = postgresql_in_full


def only(census: Census) -> Group:
    (found,) = census.groups
    return found


@pytest.mark.parametrize(
    ("changes", "items", "due", "overdue"),
    [
        pytest.param({"next_rotation_at": NOW + SECOND}, 1, 0, 0, id="not yet"),
        pytest.param({"next_rotation_at": NOW}, 1, 1, 0, id="due"),
        pytest.param({"next_rotation_at": NOW - HOUR + SECOND}, 1, 1, 0, id="within its hour"),
        pytest.param({"next_rotation_at": NOW - HOUR}, 1, 1, 1, id="overdue"),
        pytest.param({"next_rotation_at": None}, 1, 0, 0, id="without a schedule"),
        pytest.param({"next_rotation_at": NOW - DAY, "enabled": False}, 1, 0, 0, id="disabled"),
        pytest.param({"next_rotation_at": NOW - DAY, "state": ItemState.DELETING}, 1, 0, 0, id="being deleted"),
        pytest.param({"next_rotation_at": NOW - DAY, "state": ItemState.CREATING}, 0, 0, 0, id="being made"),
    ],
)
def test_what_is_due_and_what_is_overdue(
    store: SqlUnitOfWork, changes: dict[str, Any], items: int, due: int, overdue: int
):
    samples.add_crowd(store, 1, samples.add_target(store), **changes)
    found = store.census(NOW)
    assert sum(group.items for group in found.groups) == items
    assert sum(group.due for group in found.groups) == due
    assert sum(group.overdue for group in found.groups) == overdue
    assert len(found.tallies) == items


@row("B-28")
def test_outcomes_are_counted_with_the_commit_that_they_tell_about(store: SqlUnitOfWork):
    item, first = samples.add_item(store, name="/prod/billing")
    samples.published(store, item, first)
    _, claim = samples.started(store, item.item_id, trigger=Trigger.AUTOMATIC)
    for attempt in (1, 2):
        store.defer(claim, FAILURE, attempts=attempt, next_attempt_at=LATER, status="RotationFailed", at=NOW)
    store.defer(claim, FAILURE, attempts=3, next_attempt_at=LATER, status=None, at=NOW)
    denied = replace(FAILURE, code="AzurePermissionMissing")
    store.fail(claim, denied, audit=samples.line(), undo_item=False, at=NOW)
    store.park(claim, LATER + DAY, NOW)
    census = store.census(NOW)
    expected = {OK: 1, "AzureThrottled": 2, "AzurePermissionMissing": 1}
    assert only(census).outcomes == expected, "what cleans up after a failure is none"
    (tally,) = census.tallies
    assert (tally.path, tally.outcomes) == ("/prod/billing", expected)
    assert only(census).parked == 1
    assert census.operations == {"parked": 1, "published": 1}


def test_outcomes_outlive_their_item_and_its_number_of_them_never_falls(store: SqlUnitOfWork):
    target = samples.add_target(store)
    kept, _ = samples.add_item(store, target_id=target.target_id)
    gone, first = samples.add_item(store, target_id=target.target_id)
    samples.published(store, gone, first)
    assert only(store.census(NOW)).outcomes == {OK: 1}
    _, claim = samples.started(store, gone.item_id, trigger=Trigger.DELETE)
    store.drop_item(claim, samples.line("delete_item"), NOW)
    census = store.census(NOW)
    assert (only(census).items, only(census).outcomes) == (1, {OK: 1})
    assert [tally.path for tally in census.tallies] == [kept.name]


@row("B-28")
@pytest.mark.parametrize(
    ("count", "told"), [(MOST_ITEMS - 1, MOST_ITEMS - 1), (MOST_ITEMS, MOST_ITEMS), (MOST_ITEMS + 1, MOST_OVERDUE)]
)
def test_up_to_a_thousand_items_by_themselves_of_more_the_most_overdue(store: SqlUnitOfWork, count: int, told: int):
    one, other = samples.add_target(store, name="/azure/a"), samples.add_target(store, name="/azure/b")
    # Each is due an hour later than the one before it; the first 500 are overdue.
    samples.add_crowd(
        store, count, one, other, name=lambda n: f"/x/{n:04}", next_rotation_at=lambda n: NOW + (n - 500) * HOUR
    )
    census = store.census(NOW)
    assert len(census.tallies) == told
    assert [tally.path for tally in census.tallies][:100] == [f"/x/{n:04}" for n in range(100)], "the latest first"
    assert [group.target for group in census.groups] == ["/azure/a", "/azure/b"]
    assert [group.items for group in census.groups] == [(count + 1) // 2, count // 2]
    assert [group.overdue for group in census.groups] == [250, 250]


def test_of_too_many_targets_only_their_sum(store: SqlUnitOfWork):
    first, last = samples.add_target(store), samples.add_target(store)
    samples.add_crowd(store, 2, first, last, rotator_type=lambda n: [RotatorType.API_KEY, RotatorType.PASSWORD][n])
    assert {group.target for group in store.census(NOW).groups} == {first.name, last.name}
    more = [values_of(samples.target(name=f"/more/{number}")) for number in range(MOST_TARGETS - 1)]
    with store._db.writing() as connection:
        connection.execute(insert(targets), more)
    census = store.census(NOW)
    assert [(group.target, group.kind.value, group.items) for group in census.groups] == [
        ("", "api-key", 1),
        ("", "password", 1),
    ]
    assert {tally.target for tally in census.tallies} == {first.name, last.name}


def test_what_somebody_works_on_whoever_it_is(store: SqlUnitOfWork, open_again: Opened, outside: Inspection):
    item, _ = samples.add_item(store)
    other, _ = samples.add_item(store)
    samples.started(store, item.item_id)
    store.insert_rotation(samples.rotation(other.item_id, lane="application:tenant-1:app-2"))
    seen = open_again().census(NOW)
    assert (seen.operations, seen.in_flight) == ({"planned": 2}, 1)
    outside.run_out_leases()
    assert store.census(NOW).in_flight == 0


def test_credentials_that_have_ended_and_the_one_that_ends_first(store: SqlUnitOfWork):
    ends = [NOW - DAY, NOW + 3 * DAY, NOW + 2 * DAY, NOW + DAY, None]
    samples.add_crowd(
        store,
        5,
        samples.add_target(store),
        name=lambda n: f"/{n}",
        enabled=lambda n: n != 3,
        expires_at=ends.__getitem__,
    )
    census = store.census(NOW)
    assert (census.expired, census.expires_at) == (1, NOW + 2 * DAY), "nobody reads one that is disabled"
    assert [tally.expires_at for tally in census.tallies] == ends


def test_pauses_by_whom_azure_limits(store: SqlUnitOfWork):
    for lane, hours in (("tenant:t1", 2), ("tenant:t2", -1), ("subscription:s1", 1), ("application:t1:a", 3)):
        store.hold_lane(lane, NOW + hours * HOUR)
    census = store.census(NOW)
    assert census.paused == {"tenant": 1, "subscription": 1, "object": 1}
    assert census.paused_until == NOW + 3 * HOUR


def test_events_that_wait_for_their_receiver(store: SqlUnitOfWork, outside: Inspection):
    store.insert_forwarder(samples.forwarder(), samples.line())
    item, first = samples.add_item(store)
    samples.published(store, item, first)
    census = store.census(NOW)
    assert (census.waiting, census.failing) == (1, 0)
    outside.execute("UPDATE deliveries SET attempts = 1")
    assert store.census(NOW).failing == 1


def test_the_item_that_waits_longest_and_the_next_one(store: SqlUnitOfWork):
    target = samples.add_target(store)
    samples.add_crowd(
        store,
        3,
        target,
        last_rotation_at=lambda n: [None, NOW - 9 * DAY, NOW][n],
        created_at=lambda n: NOW - (3 - n) * DAY,
        next_rotation_at=lambda n: [NOW + DAY, None, NOW - DAY][n],
    )
    group = only(store.census(NOW))
    assert (group.rotated_at, group.next_at) == (NOW - 9 * DAY, NOW - DAY)
    assert (group.items, group.due, group.parked) == (3, 1, 0)


def test_an_empty_store(store: SqlUnitOfWork):
    census = store.census(NOW)
    assert (census.groups, census.tallies, census.operations, census.paused_until) == ((), (), {}, None)
