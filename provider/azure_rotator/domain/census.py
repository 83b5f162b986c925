"""What a store tells about itself in numbers, read at one instant: how many items are due, late or parked, and how each
of a bounded number of them stands. Nothing in it is a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from azure_rotator.domain.model import RotatorType

MOST_ITEMS = 1_000
"""Up to so many items each is told by itself; of more only those that are overdue the longest."""

MOST_OVERDUE = 100

MOST_TARGETS = 1_000
"""Up to so many Targets each is told by itself; of more only their sum."""

OK = "ok"
"""The outcome of what succeeded; any other is an error's code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The items of one kind on one Target.

    Args:
        target: Its path; empty: of all Targets, for there are too many.
        items: How many there are.
        due: How many of them have a due instant that has passed.
        overdue: How many of these passed it an hour ago or longer.
        parked: How many wait for a person, or for their next due date, after a failure.
        rotated_at: When the one that waits longest was rotated, or made if it never was.
        next_at: When the next one is due, perhaps long ago; None: never.
        outcomes: How many rotations came to which outcome, since the items exist.
    """

    target: str
    kind: RotatorType
    items: int = 0
    due: int = 0
    overdue: int = 0
    parked: int = 0
    rotated_at: datetime | None = None
    next_at: datetime | None = None
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One item.

    Args:
        last_at: Its last rotation; None: never.
        next_at: When it is due, perhaps long ago; None: never.
        expires_at: The end of its current credential, where it has one.
        outcomes: See ``Group``.
    """

    path: str
    target: str
    kind: RotatorType
    last_at: datetime | None
    next_at: datetime | None
    expires_at: datetime | None
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The numbers.

    Args:
        at: When they were true.
        tallies: Every item, or those that are overdue the longest (``MOST_ITEMS``).
        operations: How many operations are open, by state; ``parked`` is one.
        in_flight: How many of them somebody works on at this moment, whichever process.
        expired: How many current credentials have ended.
        expires_at: When the first current credential ends that has not.
        paused: How many tenants, subscriptions and objects are not asked before some later time, by what they are.
        paused_until: When the last of these pauses ends.
        waiting: How many events somebody still has to be told.
        failing: How many of these were tried, and not taken.
    """

    at: datetime
    groups: tuple[Group, ...]
    tallies: tuple[Tally, ...]
    operations: Mapping[str, int]
    in_flight: int
    expired: int
    expires_at: datetime | None
    paused: Mapping[str, int]
    paused_until: datetime | None
    waiting: int
    failing: int

    def seconds_until(self, instant: datetime) -> float:
        """Negative: it is over."""
        return (instant - self.at) / timedelta(seconds=1)
