"""What is seen of rotations: every item's age, end and next run after real rotations, and with few statements."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.model import RotatorStatus
from azure_rotator.engine import watch
from azure_rotator.engine.context import Limits
from azure_rotator.engine.watch import Freshness, Severity
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.rows import row

DAY = timedelta(days=1)
SCHEDULE: dict[str, Any] = {"auto_rotate": True, "rotation_interval": 30}
GRAPH = "graph.getApplication"


def of(world: World, name: str = ITEM) -> Freshness:
    (found,) = world.engine.watch.status(path=name).items
    return found


def codes(one: Freshness) -> list[str]:
    return [reason.code.value for reason in one.chain]


def outage(world: World, control: Control, *, operation: str = GRAPH, preset: str = "unavailable-503") -> None:
    control.add_fault(operation, app=world.workload.app_id, preset=preset, times=None)


def fail(world: World) -> None:
    refused(world.rotate, engine=world.process(limits=Limits(foreground=timedelta())).engine)


# --- given what happened, what is shown


def test_a_rotated_item_is_as_old_as_its_credential(world: World):
    world.create(**SCHEDULE)
    world.clock.advance(days=3)
    world.rotate()
    rotated_at = world.clock.now()
    world.clock.advance(days=12)
    found = of(world)
    assert (found.age and found.age.days, codes(found), found.severity) == (12, ["interval", "not-yet"], Severity.WELL)
    assert (found.next_run_at, found.next_attempt_at) == (rotated_at + 30 * DAY, None)
    assert found.facts()["managed_by"] == "platform"
    assert found.standing.versions == 2


def test_a_failure_that_is_tried_again_shows_when(world: World, control: Control):
    world.create(**SCHEDULE)
    outage(world, control)
    fail(world)
    found = of(world)
    assert codes(found) == ["interval", "not-yet", "backing-off"]
    assert found.severity is Severity.FAILED
    assert found.next_run_at == found.next_attempt_at == world.describe().next_attempt_at
    assert found.facts()["error_code"] == "AzureUnavailable"


def test_a_parked_one_is_never_shown_as_about_to_run(world: World, control: Control):
    world.create(**SCHEDULE)
    control.update_application(world.workload.app_id, owners=[])
    fail(world)
    found = of(world)
    assert (codes(found)[-1], found.parked, found.severity) == ("parked", True, Severity.PARKED)
    assert found.next_attempt_at is None
    assert found.chain[-1].text.startswith("AzurePermissionMissing: not tried again before")
    facts = world.engine.watch.status().facts()
    assert facts["counts"] == {"items": 1, "expired": 0, "overdue": 0, "parked": 1, "failed": 1}


def test_an_old_one_that_cannot_be_removed_is_partial(world: World, control: Control):
    world.create(**SCHEDULE, revoke_after="0")
    outage(world, control, operation="graph.removePassword")
    world.rotate()
    found = of(world)
    assert found.standing.item.rotator_status is RotatorStatus.PARTIAL
    assert (found.severity, codes(found)) == (Severity.PARTIAL, ["interval", "not-yet"])


def test_what_was_missed_is_overdue_then_expired_and_caught_up_with(world: World):
    created_at = world.create(**SCHEDULE).item.created_at
    world.clock.advance(days=30, minutes=59)
    assert codes(of(world))[-1] == "interval-passed"
    world.clock.advance(minutes=2)
    assert (of(world).overdue, of(world).severity) == (True, Severity.OVERDUE)
    dates = world.engine.watch.schedule(name=ITEM, count=3)
    now = world.clock.now()
    assert [one.at for one in dates.dates] == [created_at + 30 * DAY, now + 30 * DAY, now + 60 * DAY]
    assert dates.dates[0].runs_at == now
    assert dates.previous_until == (now + DAY, now + 31 * DAY, now + 61 * DAY)
    world.clock.advance(days=30)
    assert of(world).severity is Severity.EXPIRED
    world.rotate()
    assert of(world).severity is Severity.WELL


@row("B-11")
@pytest.mark.parametrize(
    ("timing", "days"),
    [("before", [(80, 90), (170, 180), (260, 270)]), ("after", [(90, 100), (180, 190), (270, 280)])],
)
def test_a_graceful_schedule_is_the_table_of_both(world: World, timing: str, days: list[tuple[int, int]]):
    grace: dict[str, Any] = {"grace_rotation": True, "grace_rotation_interval": 10, "grace_rotation_timing": timing}
    created_at = world.create(auto_rotate=True, rotation_interval=90, **grace).item.created_at
    found = world.engine.watch.schedule(name=ITEM, count=3)
    pairs = zip(found.dates, found.previous_until, strict=True)
    told = [((one.at - created_at).days, (until - created_at).days if until else None) for one, until in pairs]
    assert told == days
    brought = "grace-before" in [reason.code.value for reason in found.chain]
    assert brought is (timing == "before")


def test_a_grace_ends_at_its_hour_though_the_rotation_is_late_by_hours(world: World):
    grace: dict[str, Any] = {"grace_rotation": True, "grace_rotation_interval": 10}
    due = world.create(**SCHEDULE, rotation_hour=9, **grace).item.next_rotation_at
    assert due is not None
    world.clock.advance(seconds=(due - world.clock.now()).total_seconds() + 7_200)
    found = world.engine.watch.schedule(name=ITEM, count=2)
    assert [one.at for one in found.dates] == [due, due + 30 * DAY]
    assert found.previous_until == (due + 10 * DAY, due + 40 * DAY)


def test_without_a_date_of_its_own_the_old_one_stays_until_the_next(world: World):
    world.create(**SCHEDULE, grace_rotation=True)
    found = world.engine.watch.schedule(name=ITEM, count=2)
    second = found.dates[1]
    assert found.previous_until == (second.runs_at, second.runs_at + 30 * DAY)


def test_the_schedule_is_what_then_happens(world: World):
    """Each date of the forecast is the next due instant once the one before it was rotated at its time."""
    world.create(**SCHEDULE, rotation_hour=9, time_zone="America/New_York")
    forecast = [one.at for one in world.engine.watch.schedule(name=ITEM, count=3).dates]
    for due in forecast:
        assert world.describe().item.next_rotation_at == due
        world.clock.advance(seconds=(due - world.clock.now()).total_seconds())
        world.rotate()


# --- the worst first


def test_the_worst_comes_first_and_the_older_of_two(world: World, control: Control):
    world.create(name="/e/off")
    world.create(name="/d/young", **SCHEDULE)
    world.create(name="/c/old", auto_rotate=True, rotation_interval=2)
    world.clock.advance(days=1)
    world.create(name="/b/empty", api_id=control.secrets(world.workload.app_id)[0].key_id)
    world.create(name="/a/disabled", **SCHEDULE)
    world.engine.secrets.set_state(name="/a/disabled", enabled=False)
    found = world.engine.watch.status().items
    assert [(one.standing.item.name, one.severity) for one in found] == [
        ("/b/empty", Severity.NO_VALUE),
        ("/c/old", Severity.WELL),
        ("/d/young", Severity.WELL),
        ("/e/off", Severity.WELL),
        ("/a/disabled", Severity.DISABLED),
    ]
    assert [codes(one)[-1] for one in found] == ["auto-rotate-off", "not-yet", "not-yet", "auto-rotate-off", "disabled"]


# --- how much is asked of the store


LOOKS: dict[str, Callable[[World], object]] = {
    "status": lambda world: world.engine.watch.status(),
    "load": lambda world: world.engine.watch.load(days=90),
    "overdue": lambda world: world.engine.reports.overdue(),
    "unused": lambda world: world.engine.reports.unused(),
    "rules": lambda world: world.engine.reports.rules(),
    "schedule": lambda world: world.engine.watch.schedule(name="/n/1", count=12),
}


def test_pages_of_items_are_one_question_each(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "PAGE", 2)
    asked: list[str] = []
    for name in ("standings", "versions", "open_rotations", "find_item", "find_target", "list_items"):
        world.main.store.before[name] = lambda *_, name=name, **__: asked.append(name)
    for count in (1, 2, 3):
        while len(world.engine.watch.status().items) < count:
            world.create(name=f"/n/{len(world.engine.watch.status().items) + 1}")
        asked.clear()
        for name, look in LOOKS.items():
            look(world)
            pages = 1 if name == "schedule" else count // 2 + 1
            assert asked == ["standings"] * pages, (name, count)
            asked.clear()


def test_a_load_counts_every_kind_on_its_day(world: World):
    world.create(name="/a", **SCHEDULE)
    world.create(name="/b", auto_rotate=True, rotation_interval=45)
    world.create(name="/c")
    today = world.clock.now().date()
    found = world.engine.watch.load(days=91)
    assert {(day - today).days: kinds.total() for day, kinds in found.days.items()} == {30: 1, 45: 1, 60: 1, 90: 2}
    assert (found.items, found.overdue, found.total) == (2, 0, 5)
    world.clock.advance(days=50)
    late = world.engine.watch.load(days=1)
    assert (late.overdue, late.total, list(late.days)) == (2, 2, [world.clock.now().date()])
