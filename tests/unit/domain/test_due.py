"""Why an item is due or not: named reasons in order, of which the last decides; and the due dates to come."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.domain.due import DueCode, Reason, coming, due_at, due_by_present_rules, reasons
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.model import (
    GraceTiming,
    ItemState,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    RotatorType,
    Stage,
    Trigger,
    Version,
)
from tests.rows import row
from tests.unit.domain import samples
from tests.unit.domain.samples import NOW
from tests.unit.domain.steady import steady

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
NEW_YORK = "America/New_York"


def scheduled(**changes: Any) -> RotatedSecret:
    """An item that was rotated at ``NOW``, with the due instant that follows."""
    made = samples.item(**{"auto_rotate": True, "rotation_interval": 30, "last_rotation_at": NOW, **changes})
    if "next_rotation_at" in changes:
        return made
    return replace(made, next_rotation_at=due_at(made, NOW, None, first=False))


def current(number: int = 2, **changes: Any) -> Version:
    return samples.version(number, Stage.CURRENT, **changes)


def codes(item: RotatedSecret, rotation: Rotation | None = None, *, now: datetime = NOW + DAY) -> list[str]:
    return [reason.code.value for reason in reasons(item, current(), rotation, now)]


def running(state: RotationState, **changes: Any) -> Rotation:
    return samples.rotation(state=state, trigger=Trigger.AUTOMATIC, **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, ["interval", "not-yet"], id="an interval"),
        pytest.param({"rotation_hour": 0}, ["interval", "hour", "not-yet"], id="midnight is an hour"),
        pytest.param(
            {"rotation_hour": 9, "rotation_offset": 0}, ["interval", "hour", "phase", "not-yet"], id="the first phase"
        ),
        pytest.param({"enabled": False, "next_rotation_at": None}, ["disabled"], id="disabled"),
        pytest.param({"auto_rotate": False, "next_rotation_at": None}, ["auto-rotate-off"], id="not by itself"),
        pytest.param({"rotation_interval": None, "next_rotation_at": None}, ["no-interval"], id="without an interval"),
        pytest.param({"state": ItemState.DELETING, "next_rotation_at": None}, ["deleting"], id="being deleted"),
        pytest.param(
            {"next_rotation_at": NOW + 31 * DAY}, ["interval", "next-chance", "not-yet"], id="one passed without it"
        ),
        pytest.param(
            {"rotation_hour": 9, "time_zone": "Europe/Newtown", "next_rotation_at": NOW + 9 * DAY},
            ["interval", "hour", "zone-unknown", "not-yet"],
            id="a zone that this machine does not know",
        ),
    ],
)
def test_where_the_due_instant_comes_from(changes: dict[str, Any], expected: list[str]):
    assert codes(scheduled(**changes)) == expected


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        pytest.param(current(expires_at=NOW + 9 * DAY), "expires-first", id="it ends before the interval does"),
        pytest.param(current(), "next-chance", id="it has no end"),
    ],
)
def test_what_ends_early_is_replaced_early(present: Version, expected: str):
    item = scheduled(next_rotation_at=NOW + 8 * DAY)
    chain = reasons(item, present, None, NOW)
    assert [reason.code for reason in chain] == ["interval", expected, "not-yet"]


@pytest.mark.parametrize(
    ("number", "brought"),
    [(0, True), (1, True), (2, False)],
    ids=["it has no value yet", "the first version", "a later one"],
)
def test_a_grace_before_the_due_date_brings_the_first_one_forward(number: int, brought: bool):
    grace = {"grace_rotation": True, "grace_rotation_interval": 10, "grace_rotation_timing": GraceTiming.BEFORE}
    item = samples.item(auto_rotate=True, rotation_interval=90, **grace)
    item = scheduled(**grace, rotation_interval=90, next_rotation_at=due_at(item, NOW, None, first=brought))
    found = [reason.code.value for reason in reasons(item, current(number), None, NOW)]
    assert found == (["interval", "grace-before", "not-yet"] if brought else ["interval", "not-yet"])


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(-SECOND, "not-yet", id="a second before"),
        pytest.param(timedelta(), "interval-passed", id="at that instant"),
        pytest.param(HOUR - SECOND, "interval-passed", id="within its hour"),
        pytest.param(HOUR, "overdue", id="an hour later"),
    ],
)
def test_whether_it_has_come(after: timedelta, expected: str):
    assert codes(scheduled(), now=NOW + 30 * DAY + after) == ["interval", expected]


LATER = NOW + 2 * DAY


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        pytest.param(running(RotationState.PLANNED), "rotation-runs", id="planned"),
        pytest.param(running(RotationState.PLANNED, next_attempt_at=LATER), "rotation-runs", id="its place in a crowd"),
        pytest.param(
            running(RotationState.PLANNED, next_attempt_at=LATER, error_code="AzureThrottled"),
            "backing-off",
            id="waits",
        ),
        pytest.param(
            running(RotationState.MINTING, next_attempt_at=NOW, error_code="AzureThrottled"),
            "rotation-runs",
            id="its time to try again has come",
        ),
        pytest.param(
            running(RotationState.PROVING, next_attempt_at=LATER, error_code="AzureAuthFailed"),
            "rotation-runs",
            id="a refused proof is no failure yet",
        ),
        pytest.param(running(RotationState.FAILED, error_code="AzurePermissionMissing"), "parked", id="parked"),
        pytest.param(running(RotationState.FAILED, closed=True), "not-yet", id="over and done with"),
        pytest.param(running(RotationState.PUBLISHED), "not-yet", id="published: it only retires the old one"),
        pytest.param(running(RotationState.RETIRING), "not-yet", id="retiring"),
        pytest.param(running(RotationState.DONE), "not-yet", id="done"),
    ],
)
def test_what_an_operation_makes_of_it(rotation: Rotation, expected: str):
    assert codes(scheduled(), rotation)[-1] == expected


def test_what_was_begun_is_told_of_a_disabled_item_too():
    off = scheduled(enabled=False, next_rotation_at=None)
    assert codes(off, running(RotationState.PROVING)) == ["disabled", "rotation-runs"]


@row("AK-34", "AK-50")
def test_texts_name_instants_hours_and_zones_and_never_what_azure_said():
    item = scheduled(rotation_hour=0, time_zone=NEW_YORK, rotation_offset=3)
    waits = running(
        RotationState.MINTING, next_attempt_at=LATER, error_code="AzureThrottled", error_text="what Azure said"
    )
    texts = [reason.text for reason in reasons(item, current(), waits, NOW)]
    assert texts == [
        "every 30 days, since the last rotation at 2026-03-01T09:30:00Z",
        "at 00:00 in America/New_York",
        "on the days since 1970-01-01 that leave 3 of 30",
        f"it is due at {item.next_rotation_at:%Y-%m-%dT%H:%M:%SZ}",
        "AzureThrottled: tried again at 2026-03-03T09:30:00Z",
    ]


def test_every_reason_has_a_code_and_a_text():
    for reason in reasons(scheduled(rotation_interval=1), current(), None, NOW):
        assert isinstance(reason, Reason)
        assert reason.text.startswith(("every day, since", "it is due at"))


# --- due dates to come


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def dates(item: RotatedSecret, count: int, *, present: Version | None = None, now: datetime = NOW) -> list[str]:
    return [f"{date.at:%Y-%m-%d %H:%M}" for date in islice(coming(item, present or current(), now), count)]


GRACEFUL = {"grace_rotation": True, "grace_rotation_interval": 10, "grace_rotation_timing": GraceTiming.BEFORE}


@row("AK-51")
@pytest.mark.parametrize(
    ("changes", "now", "expected"),
    [
        pytest.param({}, NOW, ["2026-03-31 09:30", "2026-04-30 09:30", "2026-05-30 09:30"], id="an interval"),
        pytest.param(
            {"rotation_hour": 9, "time_zone": NEW_YORK, "rotation_interval": 7},
            NOW,
            ["2026-03-08 13:00", "2026-03-15 13:00", "2026-03-22 13:00"],
            id="an hour of a zone, over the change of its clocks",
            marks=row("AK-50"),
        ),
        pytest.param(
            {"rotation_hour": 9, "rotation_offset": 15},
            NOW,
            ["2026-03-23 09:00", "2026-04-22 09:00", "2026-05-22 09:00"],
            id="days of a phase",
        ),
        pytest.param(
            {},
            NOW + 75 * DAY,
            ["2026-03-31 09:30", "2026-06-14 09:30", "2026-07-14 09:30"],
            id="two were missed: one catch-up, and the interval from there",
        ),
        pytest.param(
            {"rotation_hour": 14},
            utc("2026-05-15 20:00"),
            ["2026-03-31 14:00", "2026-06-15 14:00", "2026-07-15 14:00"],
            id="missed with an hour: the hour stays",
        ),
        pytest.param(
            {"rotation_hour": 14},
            utc("2026-03-31 18:00"),
            ["2026-03-31 14:00", "2026-04-30 14:00", "2026-05-30 14:00"],
            id="late by hours: the cadence does not drift",
        ),
        pytest.param(
            {**GRACEFUL, "rotation_interval": 90, "next_rotation_at": NOW + 80 * DAY},
            NOW,
            ["2026-05-20 09:30", "2026-08-18 09:30", "2026-11-16 09:30"],
            id="a grace before: the first is earlier, then the interval",
            marks=row("B-11"),
        ),
    ],
)
def test_due_dates_to_come(changes: dict[str, Any], now: datetime, expected: list[str]):
    assert dates(scheduled(**changes), 3, now=now) == expected


@row("F12")
def test_secrets_that_azure_cuts_short_go_on_being_replaced_early():
    short = current(expires_at=NOW + 20 * DAY, expires_note="the tenant's policy limits client secrets to 20 days")
    item = scheduled(next_rotation_at=NOW + 19 * DAY)
    assert dates(item, 3, present=short) == ["2026-03-20 09:30", "2026-04-08 09:30", "2026-04-27 09:30"]
    assert [date.codes for date in islice(coming(item, short, NOW), 2)] == [
        (DueCode.INTERVAL, DueCode.EXPIRES_FIRST),
        (DueCode.INTERVAL, DueCode.EXPIRES_FIRST),
    ]
    adopted = current(origin=Origin.ADOPTED, expires_at=NOW + 20 * DAY)
    assert dates(item, 3, present=adopted) == ["2026-03-20 09:30", "2026-04-19 09:30", "2026-05-19 09:30"]


def test_a_date_says_where_it_comes_from():
    item = scheduled(rotation_hour=9, rotation_offset=15)
    first, second = islice(coming(item, current(), utc("2026-03-24 09:00")), 2)
    assert first.codes == (DueCode.INTERVAL, DueCode.HOUR, DueCode.PHASE, DueCode.OVERDUE)
    assert second.codes == (DueCode.INTERVAL, DueCode.HOUR, DueCode.PHASE)


def test_what_rotates_never_by_itself_has_no_dates():
    assert dates(scheduled(auto_rotate=False, next_rotation_at=None), 3) == []


def test_of_an_unknown_zone_the_stored_date_is_all_there_is():
    item = scheduled(rotation_hour=9, time_zone="Europe/Newtown", next_rotation_at=NOW + 9 * DAY)
    found = coming(item, current(), NOW)
    assert next(found).at == NOW + 9 * DAY
    with pytest.raises(Rejected, match="Europe/Newtown"):
        next(found)


@row("AK-50", "AK-51")
@steady
@given(
    interval=st.integers(1, 365),
    hour=st.none() | st.integers(0, 23),
    zone=st.sampled_from(["UTC", NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"]),
    offset=st.none() | st.integers(0, 364),
    late=st.timedeltas(timedelta(), 500 * DAY).map(lambda late: timedelta(seconds=int(late.total_seconds()))),
    kind=st.sampled_from(RotatorType),
)
def test_dates_come_in_order_at_their_hour_and_never_twice(
    interval: int, hour: int | None, zone: str, offset: int | None, late: timedelta, kind: RotatorType
):
    phase = offset % interval if offset is not None and hour is not None else None
    item = scheduled(
        rotation_interval=interval, rotation_hour=hour, time_zone=zone, rotation_offset=phase, rotator_type=kind
    )
    now = NOW + late
    found = [date.at for date in islice(coming(item, current(), now), 8)]
    assert found[0] == item.next_rotation_at
    assert all(later > now for later in found[1:])
    for earlier, later in pairwise(found[1:]):
        if hour is None:
            assert later - earlier == interval * DAY
            continue
        wall = [at.astimezone(ZoneInfo(zone)).date() for at in (earlier, later)]
        between = (wall[1] - wall[0]).days
        # A phase leaves out a day on which the replaced secret would still be valid.
        assert between == interval if phase is None else between % interval == 0


# --- zones that change their rules

NEW_YORK_AT_NINE: dict[str, Any] = {"rotation_hour": 9, "time_zone": NEW_YORK}
APRIL = datetime(2026, 4, 1, 13, tzinfo=UTC)  # 09:00 there


@pytest.mark.parametrize(
    ("changes", "ends_at", "expected"),
    [
        pytest.param({"next_rotation_at": APRIL}, None, APRIL, id="it is that hour there"),
        pytest.param({"next_rotation_at": APRIL + HOUR}, None, APRIL, id="an hour late"),
        pytest.param({"next_rotation_at": APRIL - HOUR}, None, APRIL, id="an hour early"),
        pytest.param({"next_rotation_at": APRIL + 3 * DAY}, None, APRIL + 3 * DAY, id="another day, counted anew"),
        pytest.param(
            {"next_rotation_at": NOW + 10 * DAY}, NOW + 11 * DAY, NOW + 10 * DAY, id="before its credential ends"
        ),
        pytest.param({"next_rotation_at": None, "auto_rotate": False}, None, None, id="it has none"),
        pytest.param(
            {"next_rotation_at": NOW + SECOND, "rotation_hour": None}, None, NOW + SECOND, id="no hour decides it"
        ),
        pytest.param(
            {"next_rotation_at": datetime(2027, 3, 14, 6, tzinfo=UTC), "rotation_hour": 2},
            None,
            datetime(2027, 3, 14, 7, tzinfo=UTC),
            id="the hour is left out on that day",
        ),
    ],
)
def test_a_due_instant_by_the_present_rules_of_its_zone(
    changes: dict[str, Any], ends_at: datetime | None, expected: datetime | None
):
    item = scheduled(**{**NEW_YORK_AT_NINE, **changes})
    assert due_by_present_rules(item, current(expires_at=ends_at)) == expected
