"""Intervals of days on wall clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.domain.calendar import Cadence, at_hour, zone_named
from azure_rotator.domain.errors import Rejected
from tests.rows import row
from tests.unit.domain.steady import steady

DAY = timedelta(days=1)
ZONES = sorted(zone for zone in available_timezones() if "/" in zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@row("AK-50", "F58")
@pytest.mark.parametrize(
    ("zone", "day", "hour", "expected"),
    [
        pytest.param("America/New_York", "2026-01-15", 9, "2026-01-15 14:00", id="a winter day"),
        pytest.param("America/New_York", "2026-07-15", 9, "2026-07-15 13:00", id="a summer day"),
        pytest.param("America/New_York", "2026-03-08", 2, "2026-03-08 07:00", id="an hour that is left out"),
        pytest.param("America/New_York", "2026-11-01", 1, "2026-11-01 05:00", id="an hour that comes twice"),
        pytest.param("Europe/Berlin", "2026-03-29", 2, "2026-03-29 01:00", id="left out in Berlin"),
        pytest.param("Europe/Berlin", "2026-10-25", 2, "2026-10-25 00:00", id="twice in Berlin"),
        pytest.param("Australia/Lord_Howe", "2026-10-04", 2, "2026-10-03 15:30", id="half an hour is left out"),
        pytest.param("Australia/Lord_Howe", "2026-04-05", 2, "2026-04-04 15:30", id="half an hour comes twice"),
        pytest.param("America/Sao_Paulo", "2018-11-04", 0, "2018-11-04 03:00", id="midnight is left out"),
        pytest.param("Pacific/Apia", "2011-12-30", 9, "2011-12-30 10:00", id="a day that never was"),
        pytest.param("America/Toronto", "1945-08-14", 0, "1945-08-14 04:00", id="war time"),
        pytest.param("Asia/Kolkata", "2026-06-01", 0, "2026-05-31 18:30", id="half hours from UTC"),
        pytest.param("UTC", "2028-02-29", 23, "2028-02-29 23:00", id="a leap day"),
    ],
)
def test_an_hour_of_a_day(zone: str, day: str, hour: int, expected: str):
    assert at_hour(date.fromisoformat(day), hour, ZoneInfo(zone)) == utc(expected)


@row("F58")
@steady
@given(
    zone=st.sampled_from(ZONES),
    day=st.dates(date(1972, 1, 1), date(2060, 1, 1)),
    hour=st.integers(0, 23),
)
def test_every_hour_of_every_day_is_one_instant_and_they_come_in_order(zone: str, day: date, hour: int):
    where = ZoneInfo(zone)
    at = at_hour(day, hour, where)
    wall = at.astimezone(where).replace(tzinfo=None, fold=0)
    nominal = datetime.combine(day, datetime.min.time()).replace(hour=hour)
    assert at <= at_hour(day + DAY, hour, where)
    if wall == nominal:
        earlier = at - timedelta(hours=3)
        assert all(
            (earlier + timedelta(minutes=15 * n)).astimezone(where).replace(tzinfo=None, fold=0) != nominal
            for n in range(12)
        ), "the first pass"
    else:
        before = (at - timedelta(seconds=1)).astimezone(where).replace(tzinfo=None)
        assert before < nominal < wall, "the first instant after the gap"


@row("AK-33")
def test_without_an_hour_it_is_exactly_the_interval():
    base = utc("2026-03-07 10:17:23")
    assert Cadence(interval_days=30, zone="America/New_York").after(base) == base + 30 * DAY


@row("AK-33", "AK-50", "AK-51")
@pytest.mark.parametrize(
    ("base", "hour", "zone", "expected"),
    [
        pytest.param("2026-01-01 10:00", 14, "UTC", "2026-01-31 14:00", id="later on the day"),
        pytest.param("2026-01-01 14:00", 14, "UTC", "2026-01-31 14:00", id="at the hour itself"),
        pytest.param("2026-01-01 14:01", 14, "UTC", "2026-02-01 14:00", id="past the hour: the day after"),
        pytest.param("2026-01-01 10:00", 0, "UTC", "2026-02-01 00:00", id="midnight is an hour"),
        pytest.param("2026-02-10 14:00", 9, "America/New_York", "2026-03-12 13:00", id="over the change to summer"),
        pytest.param(
            "2026-10-20 13:00", 9, "America/New_York", "2026-11-19 14:00", id="over the change to winter time"
        ),
        pytest.param("2028-01-30 10:00", 10, "UTC", "2028-02-29 10:00", id="a leap day"),
        pytest.param(
            "2026-03-08 07:00", 2, "America/New_York", "2026-04-07 06:00", id="after an hour that was left out"
        ),
        pytest.param("2026-11-01 05:00", 1, "America/New_York", "2026-12-01 06:00", id="after the first of two"),
        pytest.param("2026-11-01 06:00", 1, "America/New_York", "2026-12-01 06:00", id="after the second of two"),
        pytest.param("2011-12-01 19:00", 9, "Pacific/Apia", "2011-12-30 19:00", id="a day that never was counts"),
    ],
)
def test_with_an_hour_it_is_its_first_occurrence_not_before_the_interval(
    base: str, hour: int, zone: str, expected: str
):
    assert Cadence(interval_days=30, hour=hour, zone=zone).after(utc(base)) == utc(expected)


@row("AK-51", "F58")
@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "UTC"]
)
@pytest.mark.parametrize("hour", [0, 1, 2, 3, 12, 23])
@pytest.mark.parametrize("interval", [1, 7, 30])
def test_a_cadence_does_not_drift_in_ten_years(zone: str, hour: int, interval: int):
    where = ZoneInfo(zone)
    cadence = Cadence(interval_days=interval, hour=hour, zone=zone)
    first = at_hour(date(2026, 1, 1), hour, where)
    for number, at in enumerate(cadence.dates(first, 3650 // interval)):
        assert at == at_hour(date(2026, 1, 1) + number * interval * DAY, hour, where)


@row("F61")
@pytest.mark.parametrize(
    ("after", "offset", "expected"),
    [
        # 2026-01-01 is day 20,454: it leaves 24 when divided by 30.
        pytest.param("2026-01-01 09:00", 24, "2026-01-01 10:00", id="later that day"),
        pytest.param("2026-01-01 10:00", 24, "2026-01-31 10:00", id="the instant itself is past"),
        pytest.param("2026-01-01 10:00", 25, "2026-01-02 10:00", id="the next day's phase"),
        pytest.param("2026-01-01 10:00", 9, "2026-01-16 10:00", id="the opposite phase"),
        pytest.param("2026-01-14 03:00", 24, "2026-01-31 10:00", id="a rotation by hand does not move it"),
    ],
)
def test_a_phase_has_its_days(after: str, offset: int, expected: str):
    assert Cadence(interval_days=30, hour=10, offset=offset).after(utc(after)) == utc(expected)


@row("F61")
@steady
@given(
    by_hand=st.integers(0, 4 * 365 * 24 * 60),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Auckland"]),
    hour=st.integers(0, 23),
)
def test_a_pair_stays_half_an_interval_apart_whatever_is_rotated_by_hand(by_hand: int, zone: str, hour: int):
    one, other = (Cadence(interval_days=30, hour=hour, zone=zone, offset=offset) for offset in (0, 15))
    first = one.after(utc("2026-01-01") + timedelta(minutes=by_hand))
    second = other.after(utc("2026-01-01"))
    dates = sorted([*one.dates(first, 10), *other.dates(second, 60)])
    apart = [late - early for early, late in pairwise(dates) if late != early]
    assert min(apart) >= 15 * DAY - timedelta(hours=1)
    assert not set(one.dates(first, 10)) & set(other.dates(second, 60))


@row("F56")
@pytest.mark.parametrize(
    ("cadence", "expected"),
    [
        pytest.param(Cadence(interval_days=30), "2026-03-01 09:30", id="without an hour at once"),
        pytest.param(Cadence(interval_days=30, hour=12), "2026-03-01 12:00", id="at its hour today"),
        pytest.param(Cadence(interval_days=30, hour=9), "2026-03-02 09:00", id="at its hour tomorrow"),
        pytest.param(Cadence(interval_days=30, hour=12, offset=0), "2026-03-08 12:00", id="on its phase's next day"),
    ],
)
def test_what_is_overdue_when_the_schedule_changes_has_a_next_chance(cadence: Cadence, expected: str):
    assert cadence.from_now(utc("2026-03-01 09:30")) == utc(expected)


def test_zones_that_there_are():
    assert all(zone_named(zone).key == zone for zone in ZONES)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berlln", "Europe/Berlin"),
        ("europe", "Europe/Berlin"),
        ("", "Europe/Berlin"),
        ("+02:00", "Europe/Berlin"),
        ("../../etc/passwd", "Europe/Berlin"),
        ("/etc/localtime", "Europe/Berlin"),
        ("posix/Europe/Berlin", "Europe/Berlin"),
        ("right/UTC", "UTC"),
        ("localtime", "UTC"),
        ("Europe", "Europe/Berlin"),
        ("Europe/Berlin\0", "Europe/Berlin"),
        ("x" * 10_000, "Europe/Berlin"),
    ],
)
def test_what_is_no_zone(name: str, hint: str):
    with pytest.raises(Rejected) as refused:
        zone_named(name)
    assert refused.value.code == "TimeZoneInvalid"
    assert len(refused.value.message) < 100
    assert hint.partition("/")[0] in refused.value.hint or "did you mean" in refused.value.hint
