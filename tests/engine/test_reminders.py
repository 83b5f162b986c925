"""What time brings: each notice at its time, once, whoever looks, and none for what is well."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import Event
from azure_rotator.engine.service import Engine
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.rows import row

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
REMINDER, EXPIRING, FAILURE = "next-automatic-rotation", "credential-expiring", "rotated-secret-failure"
FULL = pytest.mark.full
TWICE: dict[str, Any] = {"auto_rotate": True, "rotation_interval": 30, "rotation_event_in": [5, 1]}


def told(world: World, *kinds: str) -> list[Event]:
    return [event for event in world.engine.events() if event.event_type in kinds]


def day_by_day(world: World, days: int, *, engine: Engine | None = None) -> None:
    """As a scheduler does that looks each second, at the few moments that may matter."""
    for _ in range(days):
        (engine or world.engine).reminders.tell_due()
        world.clock.advance(days=1)
    (engine or world.engine).reminders.tell_due()


def on_days(world: World, begin: datetime, kind: str = REMINDER) -> list[float]:
    return [(event.occurred_at - begin) / DAY for event in told(world, kind)]


# --- reminders


@row("AK-52")
def test_on_days_25_and_29_with_name_and_due_date_in_each_cycle(world: World):
    begin = world.create(**TWICE).item.created_at
    world.tick()
    world.clock.advance(days=23)
    for _ in range(6):
        world.days_later(1)
    assert on_days(world, begin) == [25, 29]
    for event, days in zip(told(world, REMINDER), ["5 days", "1 day"], strict=True):
        assert (event.item_name, event.trigger, event.version) == (ITEM, "automatic", None)
        assert event.message == f"it rotates by itself at {iso(begin + 30 * DAY)}: a reminder {days} ahead"
    world.days_later(1)
    (rotated_at,) = world.published_at()
    world.clock.advance(days=24)
    day_by_day(world, 5)
    assert [round(day) for day in on_days(world, rotated_at)[2:]] == [25, 29]


@row("AK-52")
def test_a_minute_before_its_time_nobody_is_reminded(world: World):
    world.create(**TWICE)
    world.tick()
    world.clock.advance(days=24, hours=23, minutes=59)
    world.tick()
    assert told(world, REMINDER) == []
    world.clock.advance(minutes=1)
    world.tick()
    assert len(told(world, REMINDER)) == 1


@row("AK-52")
@pytest.mark.parametrize(
    "silence",
    [
        pytest.param(lambda w: w.engine.secrets.update({"auto_rotate": False}, name=ITEM), id="auto-rotate off"),
        pytest.param(lambda w: w.engine.secrets.set_state(name=ITEM, enabled=False), id="disabled", marks=FULL),
        pytest.param(
            lambda w: w.engine.secrets.update({"rotation_event_in": []}, name=ITEM),
            id="none asked for",
            marks=FULL,
        ),
    ],
)
def test_none_of_what_does_not_rotate_by_itself(world: World, silence: Callable[[World], object]):
    world.create(**TWICE)
    world.tick()
    silence(world)
    day_by_day(world, 29)
    assert told(world, REMINDER) == []


@row("AK-52")
@pytest.mark.parametrize(
    ("day", "change", "expected"),
    [
        pytest.param(10, {}, [35, 39], id="rotated by hand", marks=FULL),
        pytest.param(27, {}, [25, 52, 56], id="rotated by hand after a reminder"),
        pytest.param(10, {"rotation_interval": 20}, [15, 19], id="a shorter interval", marks=FULL),
        pytest.param(26, {"rotation_interval": 40}, [25, 35, 39], id="a longer interval, reminded again", marks=FULL),
        pytest.param(17, {"rotation_interval": 20}, [19], id="what would have been on day 15 is skipped"),
        pytest.param(26, {"rotation_event_in": [8, 2]}, [25, 28], id="other days: one is past, one comes"),
        pytest.param(26, {"description": "x"}, [25, 29], id="a change that has nothing to do with it", marks=FULL),
    ],
)
def test_planned_anew_when_the_due_date_moves(world: World, day: int, change: dict[str, Any], expected: list[float]):
    begin = world.create(**TWICE).item.created_at
    day_by_day(world, day)
    if change:
        world.engine.secrets.update(change, name=ITEM)
    else:
        world.rotate()
    for _ in range(58 - day):
        due = world.describe().item.next_rotation_at
        if due is not None and world.clock.now() >= due:
            break
        world.clock.advance(days=1)
        world.engine.reminders.tell_due()
    assert [round(at, 2) for at in on_days(world, begin)] == pytest.approx(expected, abs=0.01)


@row("AK-52")
def test_no_repeats_after_a_restart_nor_by_a_second_process(world: World):
    world.create(**TWICE)
    world.tick()
    world.clock.advance(days=25)
    others = [world.process(who=f"replica {number}").engine for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda engine: engine.reminders.tell_due(), others))
    assert len(told(world, REMINDER)) == 1
    assert world.process(who="restarted").engine.reminders.tell_due() == 0
    assert len(told(world, REMINDER)) == 1


@row("AK-52")
@pytest.mark.parametrize(
    ("planned", "back_on_day", "expected"),
    [
        pytest.param(True, 26, [26], id="late"),
        pytest.param(False, 26, [26], id="first seen late", marks=FULL),
        pytest.param(False, 29.5, [29.5, 29.5], id="both late"),
        pytest.param(True, 30, [], id="when it is due"),
        pytest.param(False, 31, [], id="first seen too late", marks=FULL),
    ],
)
def test_a_scheduler_that_was_down_reminds_late_but_not_when_it_is_due(
    world: World, planned: bool, back_on_day: float, expected: list[float]
):
    begin = world.create(**TWICE).item.created_at
    if planned:
        world.engine.reminders.tell_due()
    world.clock.advance(days=back_on_day)
    world.engine.reminders.tell_due()
    assert on_days(world, begin) == expected
    assert world.engine.reminders.tell_due() == 0


# --- credentials that end


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [166], id="180 days without a rotation"),
        pytest.param({"auto_rotate": True, "rotation_interval": 90}, [], id="a rotation comes before"),
    ],
)
def test_a_credential_that_ends_is_told_14_days_ahead_once(world: World, changes: dict[str, Any], expected: list[int]):
    begin = world.create(**changes).item.created_at
    world.clock.advance(days=160)
    if expected:
        day_by_day(world, 25)
    else:
        for _ in range(5):
            world.days_later(5)
    assert [int(day) for day in on_days(world, begin, EXPIRING)] == expected
    for event in told(world, EXPIRING):
        assert event.version == 1
        ends_at = world.version(1).expires_at
        assert event.message == f"its credential ends at {iso(ends_at)}, and no rotation is due before"


def test_the_next_credential_is_told_of_its_own(world: World):
    world.create()
    day_by_day(world, 0)
    world.clock.advance(days=170)
    world.engine.reminders.tell_due()
    world.rotate()
    world.clock.advance(days=170)
    world.engine.reminders.tell_due()
    assert [event.version for event in told(world, EXPIRING)] == [1, 2]


def test_of_one_that_is_parked_until_it_ends_people_hear(world: World, control: Control):
    """It lives for twice its interval: the next due date comes when it is over."""
    begin = world.create(auto_rotate=True, rotation_interval=30).item.created_at
    control.update_application(world.workload.app_id, owners=[])
    world.days_later(30)
    world.clock.advance(days=15)
    world.engine.reminders.tell_due()
    assert told(world, EXPIRING) == []
    day_by_day(world, 3)
    assert [int(day) for day in on_days(world, begin, EXPIRING)] == [46]


# --- neglected


@row("B-17")
def test_not_rotated_and_not_read_for_90_days_is_told_once_a_period(world: World):
    world.engine.account.update({"usage_event_enable": True})
    begin = world.create(credential_lifetime=700).item.created_at
    world.clock.advance(days=89)
    day_by_day(world, 0)
    assert told(world, "rotation-usage", "usage") == []
    day_by_day(world, 3)
    assert on_days(world, begin, "rotation-usage") == on_days(world, begin, "usage") == [90]
    world.clock.advance(days=88)
    day_by_day(world, 2)
    assert on_days(world, begin, "rotation-usage") == on_days(world, begin, "usage") == [90, 180]
    (event,) = told(world, "rotation-usage")[1:]
    assert event.message == "not rotated for 180 days, 90 or more"
    assert told(world, "usage")[-1].message == "never read, and 180 days old, 90 or more"


@row("B-17")
def test_what_is_read_or_rotated_begins_anew(world: World):
    world.engine.account.update({"usage_event_enable": True, "usage_event_interval": 100})
    begin = world.create(credential_lifetime=700).item.created_at
    world.clock.advance(days=50)
    world.value()
    world.clock.advance(days=50)
    world.engine.reminders.tell_due()
    assert (on_days(world, begin, "rotation-usage"), told(world, "usage")) == ([100], [])
    world.rotate()
    world.clock.advance(days=50)
    world.engine.reminders.tell_due()
    assert [int(day) for day in on_days(world, begin, "usage")] == [150]
    assert len(told(world, "rotation-usage")) == 1


@row("B-17")
def test_unless_the_account_says_so_nobody_hears_of_it(world: World):
    world.create(credential_lifetime=700)
    world.clock.advance(days=400)
    world.engine.reminders.tell_due()
    assert told(world, "rotation-usage", "usage") == []


# --- failures that last


@row("F62")
def test_what_is_parked_is_told_once_a_day_until_it_works(world: World, control: Control):
    world.create(auto_rotate=True, rotation_interval=30)
    fault = control.add_fault(
        "graph.addPassword", app=world.workload.app_id, status=403, code="Authorization_RequestDenied"
    )
    world.days_later(30)
    parked_at = world.clock.now()
    for _ in range(3 * 8 + 1):
        world.clock.advance(hours=3)
        world.tick()
    assert on_days(world, parked_at, FAILURE) == [0, 1, 2, 3]
    last = told(world, FAILURE)[-1]
    assert last.error_code == "AzurePermissionMissing"
    assert last.message.startswith("it still fails, and is parked: ")
    fault.remove()
    world.rotate()
    world.clock.advance(days=2)
    world.tick()
    assert len(told(world, FAILURE)) == 4


def test_a_disabled_item_that_is_parked_is_quiet(world: World, control: Control):
    world.create()
    control.update_application(world.workload.app_id, owners=[])
    refused(world.rotate)
    world.engine.secrets.set_state(name=ITEM, enabled=False)
    day_by_day(world, 3)
    assert len(told(world, FAILURE)) == 1


# --- who looks


def test_everything_is_looked_at_once_an_hour_by_one_of_all_processes(world: World):
    """What is due each second is asked by an index; what else there is to tell, by one process once in an hour."""
    world.create()
    looked: list[str] = []
    replicas = [world.process(who=name) for name in ("one", "two")]
    for replica in replicas:
        replica.store.before["to_tell"] = lambda *_, **__: looked.append("looked")
    for _ in range(24):
        for replica in replicas:
            replica.engine.reminders.tell_due()
        world.clock.advance(minutes=5)
    assert len(looked) == 2
