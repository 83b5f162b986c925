"""When a rotation is due and how long a credential lives (features 3.5, 3.7). Pure: instants in, instants out.

Durations are written as users write them (``"24h"``); ``…_seconds`` are their values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from azure_rotator.domain.calendar import Cadence
from azure_rotator.domain.errors import Forbidden

DAY_SECONDS = 86_400
MIN_INTERVAL_DAYS = 1
MAX_INTERVAL_DAYS = 365
DEFAULT_LIFETIME_WITHOUT_ROTATION = timedelta(days=180)
MIN_REPLACEMENT = timedelta(hours=1)
PUNCTUAL = timedelta(hours=12)
"""An automatic rotation that began no later than this after it was due keeps the cadence (features 3.5)."""

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


def next_rotation_at(
    cadence: Cadence,
    *,
    last_at: datetime,
    counted_from: datetime | None = None,
    expires_at: datetime | None = None,
    overlap_for: timedelta = timedelta(),
    minted: bool = False,
) -> datetime:
    """The next due instant.

    Args:
        last_at: When the present credential was published: an interval without an hour begins there.
        counted_from: Where one with an hour begins, if somewhere else; a phase begins when the last rotation's overlap
            is over.
        expires_at: When the present credential ends by Azure's word, which may be earlier than what was asked for
            (F12): it has to be replaced an overlap before.
        minted: It was minted by the last rotation. One that Azure lets live for hardly more than an overlap is then
            replaced after half its life: another one at once would end as soon, and so on without an end (F57).
    """
    base_at = last_at if cadence.hour is None else counted_from or last_at
    due_at = cadence.after(base_at if cadence.offset is None else last_at + overlap_for)
    if expires_at is None:
        return due_at
    ends_at = expires_at - overlap_for
    soonest_at = last_at + soonest_replacement(expires_at - last_at) if minted else last_at
    return min(due_at, max(ends_at, soonest_at))


def soonest_replacement(life: timedelta) -> timedelta:
    """After what time a credential of this life is replaced at the earliest: half of it, and not less than an hour."""
    return max(timedelta(seconds=life // timedelta(seconds=2)), MIN_REPLACEMENT)


def shortened(asked_for: timedelta, life: timedelta, overlap_for: timedelta) -> str | None:
    """What is to be known about a credential that Azure ends earlier than was asked for; None if it does not."""
    if asked_for - life < timedelta(minutes=1):
        return None
    told = f"Azure ends it after {_told(life)}, {_told(asked_for)} were asked for"
    if life - overlap_for < soonest_replacement(life):
        told += (
            f"; that is short of the {_told(overlap_for)} in which both are valid: it is replaced after half its life"
        )
    return told


def _told(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:.0f} days" if days >= 2 else f"{span / timedelta(hours=1):.0f} hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How long a new client secret is to live.

    Args:
        span: What is asked for.
        note: Why it is shorter than what was wanted; None if it is not.
    """

    span: timedelta
    note: str | None = None


def credential_life(
    *,
    auto_rotate: bool,
    interval_days: int | None,
    overlap_for: timedelta,
    wanted_days: int | None = None,
    limit_days: int | None = None,
) -> Life:
    """The life to ask for: always sent, because Azure's own default of two years trips tenant policies.

    Args:
        wanted_days: ``credential_lifetime``.
        limit_days: The tenant's limit, where it is known.

    Raises:
        Forbidden: ``LifetimeNotAllowed``: under that limit a secret ends before its successor has taken over.

    Source: design/azure 2.2; features 3.7 (the larger of twice the interval and interval + overlap + 7 days).
    """
    rotates = auto_rotate and interval_days is not None
    interval = timedelta(days=interval_days or 0) if rotates else timedelta()
    needed = interval + overlap_for if rotates else timedelta()
    span = max(2 * interval, needed + timedelta(days=7)) if rotates else DEFAULT_LIFETIME_WITHOUT_ROTATION
    if wanted_days is not None:
        span = timedelta(days=wanted_days)
    limit = timedelta(days=limit_days) if limit_days is not None else None
    if limit is None or span <= limit:
        return Life(span=span)
    if limit < needed:
        raise Forbidden(
            "LifetimeNotAllowed",
            f"the tenant lets client secrets live {limit_days} days, and this one would have to live "
            f"{-(-needed // timedelta(days=1))}: the interval and the time both are valid",
            hint="shorten rotation_interval or revoke_after, or have an administrator exempt the application from the "
            "app management policy",
            details={"limit_days": limit_days},
        )
    return Life(span=limit, note=f"the tenant's policy limits client secrets to {limit_days} days")
