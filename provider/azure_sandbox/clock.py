"""The sandbox's clock: wall time plus an offset that only moves on request.

Everything that Azure would time (secret validity, token lifetime, propagation delays, journal entries) reads this
clock, so ``azure-sandbox clock advance 2h`` outlives tokens and secrets without waiting. Delays and holds of faults
are wall time: they slow a caller down, they don't age the directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
_ISO_PERIOD = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)
_OFFSET = re.compile(r"(?:[zZ]|[+-]\d\d:\d\d)$")
_FRACTION = re.compile(r"\.(\d+)")


class Clock:
    """Wall time plus an offset in seconds; ``save`` is told each new offset so that it survives a restart."""

    def __init__(self, offset_seconds: float, save: Callable[[float], None]) -> None:
        self._offset = timedelta(seconds=offset_seconds)
        self._save = save

    def now(self) -> datetime:
        """The sandbox's instant, aware, UTC."""
        return datetime.now(UTC) + self._offset

    @property
    def offset_seconds(self) -> float:
        """How far the clock is ahead of wall time; negative when it is behind."""
        return self._offset.total_seconds()

    def advance(self, by: timedelta) -> datetime:
        """Move the clock by ``by`` (negative moves it back) and return the new instant."""
        self._offset += by
        self._save(self.offset_seconds)
        return self.now()

    def set(self, to: datetime) -> datetime:
        """Make the clock show ``to`` (aware) now; it goes on from there at wall speed."""
        return self.advance(to - self.now())


def parse_duration(text: str) -> timedelta:
    """Read ``90s``, ``2h``, ``1d12h30m`` or plain seconds; a leading minus goes back.

    Raises:
        ValueError: the text is none of these.
    """
    stripped = text.strip()
    sign = -1.0 if stripped.startswith("-") else 1.0
    body = stripped.lstrip("+-")
    if re.fullmatch(r"\d+(?:\.\d+)?", body):
        return timedelta(seconds=sign * float(body))
    if not _DURATION.fullmatch(body):
        raise ValueError(f"not a duration: {text!r} (write 90s, 15m, 2h or 1d12h)")
    return timedelta(seconds=sign * sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(body)))


def parse_period(text: str) -> timedelta:
    """Read an ISO 8601 period as app management policies write it (``P90D``, ``P4DT3H``); years and months not.

    Raises:
        ValueError: the text is no such period.
    """
    match = _ISO_PERIOD.fullmatch(text)
    if match is None or text in {"P", "PT"}:
        raise ValueError(f"not an ISO 8601 period of weeks, days and times: {text!r}")
    return timedelta(**{unit: int(value) for unit, value in match.groupdict(default="0").items()})


def parse_instant(text: str) -> datetime:
    """Read an Edm.DateTimeOffset: RFC 3339 with an offset and up to twelve digits of fraction (kept to microseconds).

    Raises:
        ValueError: no instant, or one without an offset, which Graph refuses.
    """
    if not _OFFSET.search(text) or "T" not in text:
        raise ValueError(f"not an instant with an offset: {text!r}")
    trimmed = _FRACTION.sub(lambda match: "." + match.group(1)[:6].ljust(6, "0"), text, count=1)
    try:
        return datetime.fromisoformat(trimmed.replace("z", "Z")).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"instant out of range: {text!r}") from error


def format_instant(at: datetime) -> str:
    """Write an instant as Graph does: UTC, ``Z``, seven digits of fraction unless there is none."""
    text = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at.microsecond:06d}0Z" if at.microsecond else f"{text}Z"
