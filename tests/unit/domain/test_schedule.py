"""When a rotation is due, and how long a credential lives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.domain.calendar import Cadence
from azure_rotator.domain.errors import Forbidden
from azure_rotator.domain.schedule import (
    credential_life,
    duration_seconds,
    next_rotation_at,
    overlap,
    revoke_after_limit_seconds,
    shortened,
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


@row("AK-33", "AK-51")
@pytest.mark.parametrize(
    ("cadence", "expected"),
    [
        pytest.param(Cadence(interval_days=7), NOW + 7 * DAY, id="exactly the interval after the last one"),
        pytest.param(
            Cadence(interval_days=7, hour=9), NOW + 7 * DAY - HOUR / 2, id="an hour counts from the due instant"
        ),
        pytest.param(Cadence(interval_days=7, hour=11), NOW + 7 * DAY + 1.5 * HOUR, id="another hour of that day"),
        pytest.param(Cadence(interval_days=7, hour=8), NOW + 8 * DAY - 1.5 * HOUR, id="an hour that was past by then"),
        # 2026-03-03, the first day after the overlap of two, is day 20,515, which leaves 5 when divided by 7.
        pytest.param(
            Cadence(interval_days=7, hour=12, offset=5), NOW + 2 * DAY + 2.5 * HOUR, id="a phase after overlap"
        ),
        pytest.param(Cadence(interval_days=7, hour=9, offset=5), NOW + 9 * DAY - HOUR / 2, id="a phase just missed"),
    ],
)
def test_the_next_rotation(cadence: Cadence, expected: datetime):
    """The last one was due at nine and published at half past."""
    due_at = next_rotation_at(cadence, last_at=NOW, counted_from=NOW - HOUR / 2, overlap_for=2 * DAY)
    assert due_at == expected


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
    life = credential_life(auto_rotate=auto_rotate, interval_days=interval, overlap_for=overlap(revoke_after, interval))
    assert (life.span, life.note) == (timedelta(days=days), None)


@row("B-30")
@steady
@given(interval=st.integers(1, 365), share=st.floats(0, 1))
def test_a_credential_never_ends_before_its_interval_and_overlap(interval: int, share: float):
    overlap_for = timedelta(seconds=int(revoke_after_limit_seconds(interval) * share))
    life = credential_life(auto_rotate=True, interval_days=interval, overlap_for=overlap_for)
    assert life.span >= interval * DAY + overlap_for + 7 * DAY - timedelta(microseconds=1)


@row("B-30", "F08")
@pytest.mark.parametrize(
    ("wanted", "limit", "span", "noted"),
    [
        pytest.param(None, None, 60, False, id="no limit is known"),
        pytest.param(None, 60, 60, False, id="a limit that is not in the way"),
        pytest.param(None, 45, 45, True, id="a limit below what is wanted"),
        pytest.param(None, 31, 31, True, id="a limit that just lets the successor take over"),
        pytest.param(40, None, 40, False, id="a life that was asked for"),
        pytest.param(40, 35, 35, True, id="a life that was asked for, and a limit below it"),
        pytest.param(40, 50, 40, False, id="a limit is no wish"),
    ],
)
def test_a_limit_of_the_tenant_clamps(wanted: int | None, limit: int | None, span: int, noted: bool):
    life = credential_life(auto_rotate=True, interval_days=30, overlap_for=DAY, wanted_days=wanted, limit_days=limit)
    assert (life.span, life.note is not None) == (span * DAY, noted)


@row("B-30", "F08")
def test_a_limit_that_ends_a_secret_before_its_successor_is_refused():
    with pytest.raises(Forbidden) as refused:
        credential_life(auto_rotate=True, interval_days=30, overlap_for=DAY, limit_days=30)
    assert (refused.value.code, refused.value.exit_code) == ("LifetimeNotAllowed", 7)
    assert refused.value.hint
    without = credential_life(auto_rotate=False, interval_days=30, overlap_for=DAY, limit_days=3)
    assert without.span == 3 * DAY


@row("F12")
@pytest.mark.parametrize(
    ("expires_after", "due_after"),
    [
        pytest.param(60, 30, id="it lives long enough"),
        pytest.param(31, 30, id="just long enough"),
        pytest.param(20, 19, id="Azure gave less than was asked for"),
        pytest.param(0.5, 0, id="it ends before an overlap is over"),
    ],
)
def test_the_next_rotation_is_due_an_overlap_before_the_end_that_azure_gave(expires_after: float, due_after: float):
    due_at = next_rotation_at(
        Cadence(interval_days=30), last_at=NOW, expires_at=NOW + expires_after * DAY, overlap_for=DAY
    )
    assert due_at == NOW + due_after * DAY


@row("F57", "F12")
@pytest.mark.parametrize(
    ("expires_after", "due_after"),
    [
        pytest.param(60 * DAY, 30 * DAY, id="it lives long enough"),
        pytest.param(360 * DAY, 30 * DAY, id="it lives for years: its interval decides"),
        pytest.param(20 * DAY, 18 * DAY, id="Azure gave less than was asked for"),
        pytest.param(4 * DAY, 2 * DAY, id="just twice the overlap"),
        pytest.param(3 * DAY, 1.5 * DAY, id="hardly more than an overlap: half its life"),
        pytest.param(DAY, DAY / 2, id="less than an overlap: half its life"),
        pytest.param(timedelta(minutes=10), timedelta(hours=1), id="minutes: an hour, whatever it costs"),
        pytest.param(-DAY, timedelta(hours=1), id="it has ended already: an hour"),
    ],
)
def test_a_minted_secret_is_never_replaced_as_soon_as_it_is_made(expires_after: timedelta, due_after: timedelta):
    """Whatever end Azure gives, there is no loop: the next one would end as soon."""
    due_at = next_rotation_at(
        Cadence(interval_days=30),
        last_at=NOW,
        expires_at=NOW + expires_after,
        overlap_for=2 * DAY,
        minted=True,
    )
    assert due_at == NOW + due_after


@row("F57", "F12")
@pytest.mark.parametrize(
    ("life", "words"),
    [
        pytest.param(60 * DAY, None, id="as asked for"),
        pytest.param(60 * DAY - timedelta(seconds=30), None, id="but for the seconds that asking took"),
        pytest.param(20 * DAY, ["20 days", "60 days"], id="less"),
        pytest.param(30 * timedelta(hours=1), ["30 hours", "half its life"], id="less than an overlap"),
    ],
)
def test_an_end_earlier_than_asked_for_is_noted(life: timedelta, words: list[str] | None):
    note = shortened(60 * DAY, life, 2 * DAY)
    assert (note is None) == (words is None)
    assert all(word in str(note) for word in words or ())
