"""Graceful rotation: the table of features 3.6 day by day, and what a change of the mode keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.calendar import Cadence
from azure_rotator.domain.model import Stage
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.rows import row

DAY = timedelta(days=1)


def graceful(world: World, **changes: Any):
    given = {"auto_rotate": True, "rotation_interval": 90, "grace_rotation": True, "grace_rotation_interval": 10}
    return world.create(**(given | changes))


class Days:
    """The life of an item by days since its creation; a rotation is asked for when it is due, as a scheduler does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.began_at = world.clock.now()

    def go_to(self, day: int) -> None:
        self.world.clock.advance(seconds=(self.began_at + day * DAY - self.world.clock.now()).total_seconds())
        due = self.world.describe().item.next_rotation_at
        if due is not None and due <= self.world.clock.now():
            self.world.rotate()
        self.world.engine.reconcile()

    def due(self) -> int:
        due = self.world.describe().item.next_rotation_at
        assert due is not None
        return (due - self.began_at).days

    def valid(self) -> list[int]:
        """Versions that log in."""
        kept = [v.number for v in self.world.describe().versions if v.number > 0]
        return [n for n in kept if self.world.logs_in(self.world.value(version=n))]

    def comes_first(self) -> object:
        return self.world.describe().facts()["rotated_secret_details"]["next_auto_rotate_type"]  # type: ignore[index]


@row("B-11")
@pytest.mark.parametrize(
    ("hours", "at"),
    [
        pytest.param({"grace_rotation_hour": 5}, 5, id="an hour of its own"),
        pytest.param({"rotation_hour": 7}, 7, id="else the rotation's"),
        pytest.param({"rotation_hour": 7, "grace_rotation_hour": 0}, 0, id="midnight is an hour"),
    ],
)
def test_a_grace_of_days_ends_at_an_hour(world: World, hours: dict[str, int], at: int):
    graceful(world, time_zone="Asia/Tokyo", **hours)
    world.clock.advance(days=3)
    world.rotate()
    expected = Cadence(interval_days=10, hour=at, zone="Asia/Tokyo").after(world.clock.now())
    assert world.version(1).retire_at == expected


@row("B-11")
def test_after_the_old_one_outlives_the_rotation_by_the_grace(world: World):
    graceful(world)
    days = Days(world)
    assert (days.due(), days.valid(), days.comes_first()) == (90, [1], "rotation")
    days.go_to(89)
    assert days.valid() == [1]
    days.go_to(90)
    assert (days.valid(), days.due(), days.comes_first()) == ([1, 2], 180, "grace")
    days.go_to(99)
    assert days.valid() == [1, 2]
    days.go_to(100)
    assert (days.valid(), days.comes_first()) == ([2], "rotation")
    days.go_to(180)
    assert (days.valid(), days.due()) == ([2, 3], 270)


@row("B-11")
def test_before_the_first_rotation_comes_earlier_and_the_cadence_stays(world: World):
    graceful(world, grace_rotation_timing="before")
    days = Days(world)
    assert days.due() == 80
    days.go_to(80)
    assert (days.valid(), days.due()) == ([1, 2], 170)
    days.go_to(89)
    assert days.valid() == [1, 2]
    days.go_to(90)
    assert days.valid() == [2]
    days.go_to(170)
    assert (days.valid(), days.due()) == ([2, 3], 260)
    days.go_to(180)
    assert days.valid() == [3]


@row("B-11")
def test_without_a_grace_interval_two_are_always_valid(world: World):
    graceful(world, grace_rotation_interval=None)
    days = Days(world)
    days.go_to(90)
    assert (days.valid(), days.comes_first()) == ([1, 2], "rotation")
    assert world.version(1).retire_at is None
    days.go_to(179)
    assert days.valid() == [1, 2]
    days.go_to(180)
    assert days.valid() == [2, 3]
    assert world.versions()[1] is Stage.REVOKED
    assert len(world.key_ids()) == 3


@row("B-11")
def test_a_manual_rotation_keeps_the_previous_one_for_the_grace(world: World):
    graceful(world)
    world.rotate()
    assert world.version(1).retire_at == world.clock.now() + 10 * DAY
    world.rotate()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.PREVIOUS, 3: Stage.CURRENT}


@row("B-11", "F68")
def test_another_timing_ends_with_one_fresh_credential_and_takes_nothing_away_early(world: World):
    graceful(world)
    world.rotate()
    first = world.version(1).retire_at
    world.clock.advance(days=4)
    before = world.key_ids()
    world.engine.secrets.update({"grace_rotation_timing": "before"}, name=ITEM)
    assert before < world.key_ids(), "nothing that is valid goes"
    assert world.version(1).retire_at == first
    assert world.version(2).retire_at == world.clock.now() + 10 * DAY
    assert world.describe().version == 3
    days = Days(world)
    days.go_to(6)
    assert days.valid() == [2, 3]
    days.go_to(10)
    assert days.valid() == [3]
    world.engine.secrets.update({"grace_rotation_timing": "before", "description": "x"}, name=ITEM)
    assert world.describe().version == 3, "no other timing, no other secret"


@row("F68")
@pytest.mark.parametrize(
    "change",
    [{"grace_rotation": None, "grace_rotation_interval": None}, {"grace_rotation_interval": 20}],
    ids=["off", "another interval"],
)
def test_switching_the_mode_keeps_what_is_valid_and_its_date(world: World, change: dict[str, Any]):
    graceful(world)
    world.rotate()
    before, keys = world.version(1), world.key_ids()
    world.mark()
    world.engine.secrets.update(change, name=ITEM)
    assert world.writes() == []
    assert (world.version(1), world.key_ids()) == (before, keys)
    world.rotate()
    at = world.clock.now()
    assert world.version(2).retire_at == at + (20 * DAY if "grace_rotation" not in change else DAY)


@row("F68")
def test_grace_that_is_switched_off_leaves_no_undated_secret_for_ever(world: World, control: Control):
    graceful(world, grace_rotation_interval=None)
    world.rotate()
    world.engine.secrets.update({"grace_rotation": False}, name=ITEM)
    assert len(world.key_ids()) == 3
    world.rotate()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.PREVIOUS, 3: Stage.CURRENT}


def test_the_new_secret_outlives_the_grace(world: World):
    view = graceful(world, rotation_interval=30, grace_rotation_interval=29)
    assert view.current is not None
    assert view.current.expires_at is not None
    assert view.current.expires_at - world.clock.now() >= 59 * DAY


@row("B-11")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grace_rotation_interval": 90}, "GraceIntervalInvalid"),
        ({"grace_rotation_interval": 0}, "GraceIntervalInvalid"),
        ({"grace_rotation_interval": 45, "grace_rotation_timing": "before"}, "GraceIntervalInvalid"),
        ({"grace_rotation_interval": None, "grace_rotation_timing": "before"}, "GraceIntervalInvalid"),
        ({"revoke_after": "2h"}, "ParameterIrrelevant"),
        ({"grace_rotation_hour": 24}, "HourOutOfRange"),
        ({"credential_lifetime": 99}, "LifetimeTooShort"),
        (
            {"rotator_type": "password", "app_id": None, "username": "a@b.example", "authentication_credentials": None},
            "ParameterIrrelevant",
        ),
        (
            {"rotator_type": "azure-storage-account", "app_id": None, "storage_account_key_name": "key1"},
            "ParameterIrrelevant",
        ),
    ],
)
def test_a_grace_that_cannot_be_is_refused(world: World, changes: dict[str, Any], code: str):
    error = refused(graceful, world, **changes)
    assert code in {error.code, *(p["code"] for p in error.details.get("problems", []))}  # type: ignore[attr-defined]
    assert error.exit_code == 2
    assert world.tables()["items"] == []
