"""When an item is due, why it is or is not, and its due dates to come (features 3.5). Pure.

Why is a chain of named reasons: where the due instant comes from, whether it has come, and what an operation makes of
it. The last one decides::

    interval -> hour -> not-yet
    interval -> expires-first -> overdue -> backing-off
    auto-rotate-off

The codes are the same wherever they are told: on the command line, in logs and in events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from azure_rotator.domain.calendar import Cadence, is_zone, nearest_hour, zone_named
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.instants import iso
from azure_rotator.domain.kinds import CLIENT_SECRETS, overlap_of
from azure_rotator.domain.model import (
    GraceTiming,
    ItemState,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    Version,
)
from azure_rotator.domain.rotation import UNPUBLISHED
from azure_rotator.domain.schedule import PUNCTUAL, credential_life, next_rotation_at

LATE = timedelta(hours=1)
"""A rotation starts within the hour after its due instant (features 3.5); one that has not is overdue."""


class DueCode(StrEnum):
    """The names of the reasons."""

    # It has no due instant.
    DELETING = "deleting"
    DISABLED = "disabled"
    AUTO_ROTATE_OFF = "auto-rotate-off"
    NO_INTERVAL = "no-interval"
    # Where its due instant comes from.
    INTERVAL = "interval"
    GRACE_BEFORE = "grace-before"  # the first rotation is earlier by the grace
    HOUR = "hour"
    PHASE = "phase"
    EXPIRES_FIRST = "expires-first"  # the present credential ends before the interval does
    NEXT_CHANCE = "next-chance"  # an earlier one passed without a rotation
    ZONE_UNKNOWN = "zone-unknown"
    # Whether it has come.
    NOT_YET = "not-yet"
    INTERVAL_PASSED = "interval-passed"
    OVERDUE = "overdue"
    # What an operation makes of it.
    ROTATION_RUNS = "rotation-runs"
    BACKING_OFF = "backing-off"
    PARKED = "parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A link of the chain.

    Args:
        text: For people: lower case, instants in UTC.
    """

    code: DueCode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDate:
    """A due instant to come.

    Args:
        runs_at: When it is rotated: then, or now if that was missed.
        codes: Where it comes from; the first of all may be overdue.
    """

    at: datetime
    runs_at: datetime
    codes: tuple[DueCode, ...]

    @property
    def counted_from(self) -> datetime:
        """Where an interval with an hour begins that follows."""
        return self.at if self.runs_at - self.at <= PUNCTUAL else self.runs_at


def cadence_of(item: RotatedSecret, *, first: bool = False) -> Cadence | None:
    """How often the item rotates by itself; None: not at all.

    Args:
        first: It has not been rotated yet: a grace that lies before the due date brings this one forward (3.6).
    """
    if item.rotation_interval is None or not (item.auto_rotate and item.enabled):
        return None
    forward = _brought_forward_days(item) if first else 0
    return Cadence(
        interval_days=item.rotation_interval - forward,
        hour=item.rotation_hour,
        zone=item.time_zone,
        offset=None if forward else item.rotation_offset,
    )


def due_at(
    item: RotatedSecret, last_at: datetime, expires_at: datetime | None, *, first: bool, minted: bool = False
) -> datetime | None:
    """The next due instant of an item whose present credential ends at ``expires_at``; None: it has none.

    Args:
        first: See ``cadence_of``.
        minted: The present credential was minted, at ``last_at``.

    Raises:
        Rejected: ``TimeZoneInvalid``: this machine does not know the item's zone.
    """
    cadence = cadence_of(item, first=first)
    if cadence is None:
        return None
    return next_rotation_at(
        cadence,
        last_at=last_at,
        counted_from=item.counted_from,
        expires_at=expires_at,
        overlap_for=overlap_of(item),
        minted=minted,
    )


def hour_by_present_rules(item: RotatedSecret) -> datetime | None:
    """The item's hour of the wall clock that is nearest to its due instant: another instant where the rules of its zone
    are others than when it was stored, and where no hour decided it.

    Raises:
        Rejected: ``TimeZoneInvalid``: this machine does not know the item's zone.
    """
    due = item.next_rotation_at
    if due is None or item.rotation_hour is None:
        return due
    return nearest_hour(due, item.rotation_hour, zone_named(item.time_zone))


def due_by_present_rules(item: RotatedSecret, current: Version | None) -> datetime | None:
    """Where the item's due instant lies if the rules of its zone are others than when it was stored: at the same hour
    of the wall clock. One that no hour decided stays.

    Raises:
        Rejected: ``TimeZoneInvalid``: this machine does not know the item's zone.
    """
    due, near = item.next_rotation_at, hour_by_present_rules(item)
    if due is None or near == due:
        return due
    counted = due_at(
        item,
        item.last_rotation_at or item.created_at,
        current.expires_at if current else None,
        first=current is None or current.number <= 1,
        minted=current is not None and current.origin is Origin.MINTED,
    )
    return due if counted == due else near


def parked_until(item: RotatedSecret, now: datetime) -> datetime | None:
    """The first due date after ``now`` of an item whose rotation failed for good; None: it has none.

    Where this machine does not know the item's zone, which may be the very failure, the interval is counted in UTC.
    """
    cadence, at = cadence_of(item), item.next_rotation_at
    if cadence is None or at is None:
        return None
    if not is_zone(cadence.zone):
        cadence = replace(cadence, zone="UTC")
    while at <= now:
        at = cadence.after(at)
    return at


def reasons(
    item: RotatedSecret, current: Version | None, rotation: Rotation | None, now: datetime
) -> tuple[Reason, ...]:
    """Why the item is due at ``now``, or is not; the last reason decides.

    Args:
        current: Its current version, if it has one.
        rotation: Its operation that is not published yet. One that is published already stands in nobody's way, and is
            no reason.
    """
    chain = _origin(item, current)
    if item.next_rotation_at is not None:
        chain.append(_come(item.next_rotation_at, now))
    if rotation is not None and rotation.state in UNPUBLISHED and not rotation.closed:
        chain.append(_begun(rotation, now))
    return tuple(chain)


def coming(item: RotatedSecret, current: Version | None, now: datetime) -> Iterator[DueDate]:
    """The due dates from now on, without an end, if every rotation runs at its time: one that was missed is caught up
    with at ``now``. None for an item without a due instant.

    Raises:
        Rejected: ``TimeZoneInvalid``, from the second on: this machine does not know the item's zone.
    """
    at = item.next_rotation_at
    if at is None:
        return
    passed = [_come(at, now).code] if at <= now else []
    codes = (*(reason.code for reason in _origin(item, current)), *passed)
    life = _life(item, current)
    while True:
        date = DueDate(at=at, runs_at=max(at, now), codes=codes)
        yield date
        item = replace(item, last_rotation_at=date.runs_at, counted_from=date.counted_from)
        plain = due_at(item, date.runs_at, None, first=False)
        ends_at = None if life is None else date.runs_at + life
        following = due_at(item, date.runs_at, ends_at, first=False, minted=life is not None)
        if plain is None or following is None:
            return
        at, codes = following, _codes_of(item, expires_first=following < plain)


def _origin(item: RotatedSecret, current: Version | None) -> list[Reason]:
    """Where the due instant comes from, or why there is none."""
    if item.state is ItemState.DELETING:
        return [Reason(code=DueCode.DELETING, text="it is being deleted")]
    if not item.enabled:
        return [Reason(code=DueCode.DISABLED, text="it is disabled: neither read nor rotated")]
    if not item.auto_rotate:
        return [Reason(code=DueCode.AUTO_ROTATE_OFF, text="auto_rotate is off: it rotates only when asked to")]
    if item.rotation_interval is None:
        return [Reason(code=DueCode.NO_INTERVAL, text="it has no rotation_interval")]
    first = current is None or current.number <= 1
    last_at = item.last_rotation_at or item.created_at
    since = f"the last rotation at {iso(last_at)}" if item.last_rotation_at else f"its creation at {iso(last_at)}"
    days = "every day" if item.rotation_interval == 1 else f"every {item.rotation_interval} days"
    chain = [Reason(code=DueCode.INTERVAL, text=f"{days}, since {since}")]
    if first and (forward := _brought_forward_days(item)):
        text = f"the first rotation is {forward} days earlier, so that both are valid before the due date"
        chain.append(Reason(code=DueCode.GRACE_BEFORE, text=text))
    if item.rotation_hour is not None:
        chain.append(Reason(code=DueCode.HOUR, text=f"at {item.rotation_hour:02}:00 in {item.time_zone}"))
    if item.rotation_hour is not None and item.rotation_offset is not None:
        text = f"on the days since 1970-01-01 that leave {item.rotation_offset} of {item.rotation_interval}"
        chain.append(Reason(code=DueCode.PHASE, text=text))
    try:
        plain = due_at(item, last_at, None, first=first)
    except Rejected:
        text = f"this machine does not know the time zone {item.time_zone!r}, and rotates nothing in it"
        return [*chain, Reason(code=DueCode.ZONE_UNKNOWN, text=text)]
    due = item.next_rotation_at
    if due is not None and plain is not None and due != plain:
        chain.append(_moved(due, plain, current))
    return chain


def _moved(due: datetime, plain: datetime, current: Version | None) -> Reason:
    """Why it is not due when interval, hour and phase say so."""
    if due < plain and current is not None and current.expires_at is not None:
        text = f"the present credential ends at {iso(current.expires_at)}, and is replaced in time"
        return Reason(code=DueCode.EXPIRES_FIRST, text=text)
    return Reason(code=DueCode.NEXT_CHANCE, text="an earlier date passed without a rotation: this is the next chance")


def _come(due: datetime, now: datetime) -> Reason:
    if now < due:
        return Reason(code=DueCode.NOT_YET, text=f"it is due at {iso(due)}")
    if now - due < LATE:
        return Reason(code=DueCode.INTERVAL_PASSED, text=f"it is due since {iso(due)}")
    return Reason(code=DueCode.OVERDUE, text=f"it was due at {iso(due)}, and has not been rotated since")


def _begun(rotation: Rotation, now: datetime) -> Reason:
    why = rotation.error_code or "it failed"
    if rotation.state is RotationState.FAILED:
        text = f"{why}: not tried again before somebody rotates it, it or its Target changes, or it is due again"
        return Reason(code=DueCode.PARKED, text=text)
    # A refused proof is kept as an error, too, and asked again in seconds: that is a rotation that runs.
    if rotation.next_attempt_at > now and rotation.error_code and rotation.state is not RotationState.PROVING:
        return Reason(code=DueCode.BACKING_OFF, text=f"{why}: tried again at {iso(rotation.next_attempt_at)}")
    text = f"its {rotation.trigger.value} rotation {rotation.rotation_id} is {rotation.state.value}"
    if rotation.next_attempt_at > now:
        text += f", and goes on at {iso(rotation.next_attempt_at)}"
    return Reason(code=DueCode.ROTATION_RUNS, text=text)


def _codes_of(item: RotatedSecret, *, expires_first: bool) -> tuple[DueCode, ...]:
    """Where a later due date comes from."""
    timed = item.rotation_hour is not None
    parts = {
        DueCode.INTERVAL: True,
        DueCode.HOUR: timed,
        DueCode.PHASE: timed and item.rotation_offset is not None,
        DueCode.EXPIRES_FIRST: expires_first,
    }
    return tuple(code for code, so in parts.items() if so)


def _life(item: RotatedSecret, current: Version | None) -> timedelta | None:
    """How long the next credentials will live: as asked for, or as Azure cut the present one; None: without an end."""
    if item.rotator_type not in CLIENT_SECRETS:
        return None
    life = credential_life(
        auto_rotate=item.auto_rotate,
        interval_days=item.rotation_interval,
        overlap_for=overlap_of(item),
        wanted_days=item.credential_lifetime,
    ).span
    if current is None or current.origin is not Origin.MINTED or not current.expires_note or not current.expires_at:
        return life
    return min(life, current.expires_at - current.created_at)


def _brought_forward_days(item: RotatedSecret) -> int:
    before = item.grace_rotation and item.grace_rotation_timing is GraceTiming.BEFORE
    return (item.grace_rotation_interval or 0) if before else 0
