"""When a rotation is due and how long a credential lives (features 3.5, 3.7). Pure: instants in, instants out.

Durations are written as users write them (``"24h"``); ``…_seconds`` are their values.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

DAY_SECONDS = 86_400
MIN_INTERVAL_DAYS = 1
MAX_INTERVAL_DAYS = 365
DEFAULT_LIFETIME_WITHOUT_ROTATION = timedelta(days=180)

_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": DAY_SECONDS}


def duration_seconds(text: str) -> int | None:
    """Seconds of ``"0"`` or a whole number with ``s``, ``m``, ``h`` or ``d``; None when it is neither."""
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNIT_SECONDS[match[2]] if match else None


def revoke_after_limit_seconds(interval_days: int) -> int:
    """The longest ``revoke_after`` an interval allows: the interval less a day, 12 hours for an interval of one day."""
    return 12 * 3_600 if interval_days == 1 else (interval_days - 1) * DAY_SECONDS


def overlap(revoke_after: str | None, interval_days: int | None) -> timedelta:
    """How long a replaced client secret outlives its publication; the default is 24 hours (interval 1: 12 hours)."""
    if revoke_after is None:
        return timedelta(hours=12 if interval_days == 1 else 24)
    seconds = duration_seconds(revoke_after)
    if seconds is None:
        raise ValueError(f"not a duration: {revoke_after!r}")
    return timedelta(seconds=seconds)


def next_rotation_at(*, auto_rotate: bool, interval_days: int | None, last_at: datetime) -> datetime | None:
    """The next due instant, ``interval_days`` x 24 hours after the last rotation; None without auto-rotation."""
    if not auto_rotate or interval_days is None:
        return None
    return last_at + timedelta(days=interval_days)


def credential_end_at(
    *, auto_rotate: bool, interval_days: int | None, overlap_for: timedelta, now: datetime
) -> datetime:
    """The endDateTime to ask for: always sent, because Azure's own default of two years trips tenant policies.

    Source: design/azure 2.2; features 3.7 (the larger of twice the interval and interval + overlap + 7 days).
    """
    if not auto_rotate or interval_days is None:
        return now + DEFAULT_LIFETIME_WITHOUT_ROTATION
    interval = timedelta(days=interval_days)
    return now + max(2 * interval, interval + overlap_for + timedelta(days=7))
