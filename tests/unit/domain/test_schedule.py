"""When a rotation is due, and how long a credential lives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.domain.schedule import (
    credential_end_at,
    duration_seconds,
    next_rotation_at,
    overlap,
    revoke_after_limit_seconds,
)
from tests.rows import row
from tests.unit.domain.steady import steady

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("90s", 90),
        ("15m", 900),
        ("24h", 86_400),
        ("7d", 604_800),
        ("007d", 604_800),
        ("999999999s", 999_999_999),
        ("1000000000s", None),
        ("", None),
        ("1", None),
        ("s", None),
        ("1.5h", None),
        ("-1h", None),
        ("1h ", None),
        ("1h\n", None),
        ("1w", None),
        ("1H", None),
        ("1h30m", None),
    ],
)
def test_durations(text: str, seconds: int | None):
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    ("interval", "limit"), [(1, 12 * HOUR), (2, DAY), (7, 6 * DAY), (90, 89 * DAY), (365, 364 * DAY)]
)
def test_revoke_after_may_be_the_interval_less_a_day(interval: int, limit: timedelta):
    assert revoke_after_limit_seconds(interval) == limit.total_seconds()


@row("F28")
@pytest.mark.parametrize(
    ("revoke_after", "interval", "expected"),
    [
        (None, None, 24 * HOUR),
        (None, 2, 24 * HOUR),
        (None, 365, 24 * HOUR),
        (None, 1, 12 * HOUR),
        ("0", 90, timedelta()),
        ("0", None, timedelta()),
        ("2s", 1, timedelta(seconds=2)),
        ("30d", 90, 30 * DAY),
    ],
)
def test_the_previous_secret_outlives_its_replacement(
    revoke_after: str | None, interval: int | None, expected: timedelta
):
    assert overlap(revoke_after, interval) == expected


def test_an_overlap_that_is_no_duration_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="not a duration"):
        overlap("soon", 7)


@row("AK-33")
@pytest.mark.parametrize(
    ("auto_rotate", "interval", "expected"),
    [
        (True, 7, NOW + 7 * DAY),
        (True, 1, NOW + DAY),
        (True, 365, NOW + 365 * DAY),
        (False, 7, None),
        (True, None, None),
        (False, None, None),
    ],
)
def test_the_next_rotation_is_exactly_the_interval_after_the_last(
    auto_rotate: bool, interval: int | None, expected: datetime | None
):
    assert next_rotation_at(auto_rotate=auto_rotate, interval_days=interval, last_at=NOW) == expected


@row("B-30")
@pytest.mark.parametrize(
    ("auto_rotate", "interval", "revoke_after", "days"),
    [
        pytest.param(True, 90, None, 180, id="twice the interval"),
        pytest.param(True, 1, None, 8.5, id="interval 1: the interval, 12 hours and a week"),
        pytest.param(True, 7, None, 15, id="interval 7: the interval, a day and a week"),
        pytest.param(True, 8, None, 16, id="interval 8: both are equal"),
        pytest.param(True, 30, "29d", 66, id="a long overlap"),
        pytest.param(True, 30, "0", 60, id="no overlap"),
        pytest.param(True, 365, "364d", 736, id="the longest of all"),
        pytest.param(False, 30, None, 180, id="without automatic rotation"),
        pytest.param(False, None, None, 180, id="without an interval"),
    ],
)
def test_the_end_that_is_asked_for(auto_rotate: bool, interval: int | None, revoke_after: str | None, days: float):
    end = credential_end_at(
        auto_rotate=auto_rotate, interval_days=interval, overlap_for=overlap(revoke_after, interval), now=NOW
    )
    assert end == NOW + timedelta(days=days)


@row("B-30")
@steady
@given(interval=st.integers(1, 365), share=st.floats(0, 1))
def test_a_credential_never_ends_before_its_interval_and_overlap(interval: int, share: float):
    overlap_for = timedelta(seconds=int(revoke_after_limit_seconds(interval) * share))
    end = credential_end_at(auto_rotate=True, interval_days=interval, overlap_for=overlap_for, now=NOW)
    assert end >= NOW + interval * DAY + overlap_for + 7 * DAY - timedelta(microseconds=1)
