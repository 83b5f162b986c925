"""Zones whose rules change between a rotation and the next: it runs at its hour on the wall clock all the same."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from tests.engine.world import ITEM, World

CITY = "Testland/City"
# Neither has daylight saving: four and five hours ahead of UTC.
FOUR, FIVE = "Asia/Dubai", "Asia/Karachi"

Rules = Callable[[str], None]


@pytest.fixture
def rules(tmp_path: Path) -> Iterator[Rules]:
    """Another edition of the system's time zone database, in which the city has the rules of this zone."""

    def publish(like: str) -> None:
        content = files("tzdata").joinpath("zoneinfo", *like.split("/")).read_bytes()
        folder = tmp_path / like
        (folder / CITY).parent.mkdir(parents=True, exist_ok=True)
        (folder / CITY).write_bytes(content)
        zoneinfo.reset_tzpath(to=[str(folder)])

    yield publish
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache(only_keys=[CITY])


@pytest.fixture
def due(world: World, rules: Rules) -> datetime:
    """The item rotates every 7 days at 14:00 in the city, which is 10:00 in UTC, with a reminder the day before."""
    rules(FOUR)
    world.create(auto_rotate=True, rotation_interval=7, rotation_hour=14, time_zone=CITY, rotation_event_in=[1])
    at = world.describe().item.next_rotation_at
    assert at is not None
    assert at.hour == 10
    world.clock.advance(seconds=(at - world.clock.now()).total_seconds() - 1.5 * 86_400)
    world.tick()
    return at


def shift(world: World, due: datetime) -> float:
    """Hours by which it is due at another time than before."""
    at = world.describe().item.next_rotation_at
    assert at is not None
    return (at - due) / timedelta(hours=1)


def test_a_scheduler_that_starts_with_other_rules_moves_the_due_date(world: World, rules: Rules, due: datetime):
    rules(FIVE)
    world.tick(engine=world.process(who="restarted").engine)
    assert shift(world, due) == -1
    world.clock.advance(days=1.5, hours=-1)
    assert world.tick().planned == 1
    assert shift(world, due) == 7 * 24 - 1


def test_one_that_runs_sees_them_within_six_hours(world: World, rules: Rules, due: datetime):
    rules(FIVE)
    world.clock.advance(hours=5, minutes=59)
    world.tick()
    assert shift(world, due) == 0
    world.clock.advance(minutes=1)
    world.tick()
    assert shift(world, due) == -1


def test_a_reminder_that_was_sent_is_not_sent_again(world: World, rules: Rules, due: datetime):
    world.clock.advance(hours=18)
    world.tick()
    rules(FIVE)
    other = world.process().engine
    world.tick(engine=other)
    assert shift(world, due) == -1
    world.clock.advance(hours=2)
    world.tick(engine=other)
    assert [event.event_type for event in world.engine.events()].count("next-automatic-rotation") == 1


def test_what_is_due_already_stays_and_runs(world: World, rules: Rules, due: datetime):
    world.clock.advance(days=1.5)
    rules(FIVE)
    other = world.process().engine
    assert other.planner.follow_zones() == 0
    assert shift(world, due) == 0
    assert world.tick(engine=other).planned == 1


def test_with_the_same_rules_nothing_moves(world: World, due: datetime):
    assert world.process().engine.planner.follow_zones() == 0
    assert shift(world, due) == 0


def test_a_zone_that_is_gone_moves_nothing(world: World, due: datetime):
    world.forget_zone(ITEM)
    assert world.process().engine.planner.follow_zones() == 0
    assert shift(world, due) == 0
