"""When an interval of days ends on a wall clock: at an hour, in a zone, on the days of a phase (features 3.5). Pure.

    >>> from datetime import UTC, datetime
    >>> monthly = Cadence(interval_days=30, hour=9, zone="America/New_York")
    >>> monthly.after(datetime(2026, 2, 10, 14, tzinfo=UTC))
    datetime.datetime(2026, 3, 12, 13, 0, tzinfo=datetime.timezone.utc)

An hour that daylight saving leaves out is the first instant after the gap; one that comes twice is its first pass. So
every day has each hour exactly once, and a cadence neither loses nor doubles a day (F58). Zones come from the system's
database, or else from the package ``tzdata``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from azure_rotator.domain.errors import Rejected

LAST_HOUR = 23
_DAY = timedelta(days=1)
_EPOCH = date(1970, 1, 1)
# The database's own folders and files beside the zones: "posix/Europe/Berlin" is no IANA name, and "localtime" is
# another zone on every machine.
_NO_ZONES = re.compile(r"(posix|right)/|localtime$|posixrules$|Factory$", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+)*")


def zone_named(name: str) -> ZoneInfo:
    """The IANA time zone of this name.

    Raises:
        Rejected: ``TimeZoneInvalid``.
    """
    if _NAME.fullmatch(name) and not _NO_ZONES.match(name):
        try:
            return ZoneInfo(name)
        except (LookupError, OSError, ValueError):
            pass
    near = get_close_matches(name, available_timezones(), n=3)
    raise Rejected(
        "TimeZoneInvalid",
        f"{name[:40]!r} is no IANA time zone",
        hint=f"did you mean {' or '.join(near)}?" if near else "a name such as Europe/Berlin; UTC is the default",
    )


def is_zone(name: str) -> bool:
    """Whether this machine knows the zone."""
    try:
        zone_named(name)
    except Rejected:
        return False
    return True


def forget_zones() -> None:
    """What was read of zones is read again when it is needed: the system's database may be another one by now."""
    ZoneInfo.clear_cache()


def nearest_hour(at: datetime, hour: int, zone: ZoneInfo) -> datetime:
    """The instant nearest to ``at`` at which the clocks of a zone show a full hour."""
    day = _wall(at, zone).date()
    return min((at_hour(day + days * _DAY, hour, zone) for days in (-1, 0, 1)), key=lambda found: abs(found - at))


def at_hour(day: date, hour: int, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the clocks of a zone show a full hour of a day; see the module for the odd ones."""
    wall = datetime.combine(day, time(hour), tzinfo=zone)
    instant = wall.astimezone(UTC)
    if _wall(instant, zone) == wall.replace(tzinfo=None):
        return instant
    # In a gap: the offset before it leads to an instant after it, the one after it to an instant before.
    low, high = wall.replace(fold=1).astimezone(UTC), instant
    ahead = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if middle.astimezone(zone).utcoffset() == ahead else (middle, high)
    return high


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """Every so many days.

    Args:
        interval_days: From 1.
        hour: 0-23 on the wall clock of ``zone``; None: at no hour in particular.
        offset: The phase: due days are those whose number since 1970-01-01 leaves this when divided by the interval.
            Needs an hour.
    """

    interval_days: int
    hour: int | None = None
    zone: str = "UTC"
    offset: int | None = None

    def after(self, base_at: datetime) -> datetime:
        """The due instant that is counted from ``base_at``, the last rotation.

        Without an hour exactly the interval x 24 hours later; else the first time that the wall clock shows the hour,
        not earlier than the interval in calendar days later; with a phase its first day after ``base_at``.
        """
        if self.hour is None:
            return base_at + timedelta(days=self.interval_days)
        zone = zone_named(self.zone)
        if self.offset is not None:
            every = self.interval_days
            return _first_day_of_phase(base_at, every=every, offset=self.offset, hour=self.hour, zone=zone)
        wall = _nominal(base_at, self.hour, zone) + timedelta(days=self.interval_days)
        day = wall.date() if wall.time() <= time(self.hour) else wall.date() + _DAY
        return at_hour(day, self.hour, zone)

    def from_now(self, now: datetime) -> datetime:
        """The next chance of what is overdue at a change of the schedule: at once, at the hour, or on the phase's day,
        which keeps paired items apart (F61)."""
        if self.hour is None:
            return now
        every, offset = (1, 0) if self.offset is None else (self.interval_days, self.offset)
        before, zone = now - timedelta(microseconds=1), zone_named(self.zone)
        return _first_day_of_phase(before, every=every, offset=offset, hour=self.hour, zone=zone)

    def dates(self, first: datetime, count: int) -> list[datetime]:
        """``count`` due instants of which this is the first, if every rotation runs at its time."""
        found = [first]
        while len(found) < count:
            found.append(self.after(found[-1]))
        return found


def _first_day_of_phase(after: datetime, *, every: int, offset: int, hour: int, zone: ZoneInfo) -> datetime:
    # A day before: where clocks are put forward over midnight, the hour of a day lies in the next one.
    day = _wall(after, zone).date() - _DAY
    number = (day - _EPOCH).days
    day += timedelta(days=(offset - number) % every)
    while (at := at_hour(day, hour, zone)) <= after:
        day += timedelta(days=every)
    return at


def _nominal(base_at: datetime, hour: int, zone: ZoneInfo) -> datetime:
    """What the wall clock showed, or would have shown had daylight saving not left the hour out: a cadence that met a
    gap once goes on at its hour, and not a day later."""
    wall = _wall(base_at, zone)
    for day in (wall.date(), wall.date() - _DAY):
        if at_hour(day, hour, zone) == base_at:
            return datetime.combine(day, time(hour))
    return wall


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)
