"""Reports on every item: what was not rotated, what was not read, and every rule at once. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import Standing
from azure_rotator.domain.neglect import NOT_READ, NOT_ROTATED, STALE_DAYS, UNUSED_DAYS, Neglect, Rule, neglects
from azure_rotator.engine.context import Context
from azure_rotator.engine.views import Facts
from azure_rotator.engine.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An item of a report, with everything that is neglected about it."""

    standing: Standing
    neglects: tuple[Neglect, ...]

    @property
    def rules(self) -> frozenset[Rule]:
        return frozenset(one.rule for one in self.neglects)

    @property
    def rotated_or_created_at(self) -> datetime:
        return self.standing.item.last_rotation_at or self.standing.item.created_at

    @property
    def read_or_created_at(self) -> datetime:
        return self.standing.item.accessed_at or self.standing.item.created_at

    def facts(self, now: datetime) -> Facts:
        i = self.standing.item
        return {
            "item_name": i.name,
            "item_id": i.item_id,
            "rotator_type": i.rotator_type.value,
            "is_enabled": i.enabled,
            "auto_rotate": i.auto_rotate,
            "creation_date": iso(i.created_at),
            "last_rotation_date": iso(i.last_rotation_at),
            "next_rotation_date": iso(i.next_rotation_at),
            "access_date": iso(i.accessed_at),
            "days_since_rotation": (now - self.rotated_or_created_at).days,
            "days_since_read": (now - self.read_or_created_at).days,
            "versions": self.standing.versions,
            "findings": [{"code": one.rule.value, "text": one.text} for one in self.neglects],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found; the longest neglected first.

    Args:
        days: What the report was asked for; None: each rule has its own.
        looked_at: How many items there are.
    """

    now: datetime
    days: int | None
    looked_at: int
    entries: tuple[Entry, ...]

    def facts(self) -> Facts:
        counts = Counter(rule.value for entry in self.entries for rule in entry.rules)
        return {
            "days": self.days,
            "looked_at": self.looked_at,
            "counts": {rule.value: counts[rule.value] for rule in Rule},
            "items": [entry.facts(self.now) for entry in self.entries],
        }


class Reports:
    """The use cases."""

    def __init__(self, context: Context, watch: Watch) -> None:
        self._c = context
        self._watch = watch

    def overdue(self, *, days: int = STALE_DAYS, path: str | None = None) -> Report:
        """Items that were never rotated, not for ``days`` days, or not when they were due.

        Raises:
            Rejected: ``NameInvalid``, the path.
        """
        return self._report(NOT_ROTATED, path, days=days, stale_days=days)

    def unused(self, *, days: int = STALE_DAYS, path: str | None = None) -> Report:
        """Items that nobody has read for ``days`` days. Raises as ``overdue``."""
        return self._report(NOT_READ, path, days=days, unused_days=days)

    def rules(self, *, path: str | None = None) -> Report:
        """Items that break a rule, each with its own number of days. Not merely new ones that were never rotated: they
        may be well. Raises as ``overdue``."""
        return self._report(frozenset(Rule) - {Rule.NEVER_ROTATED}, path, days=None)

    def _report(
        self,
        wanted: Collection[Rule],
        path: str | None,
        *,
        days: int | None,
        stale_days: int = STALE_DAYS,
        unused_days: int = UNUSED_DAYS,
    ) -> Report:
        now = self._c.clock.now()
        looked_at, found = 0, []
        for one in self._watch.standings(path):
            looked_at += 1
            broken = neglects(one, now, stale_days=stale_days, unused_days=unused_days)
            entry = Entry(standing=one, neglects=broken)
            if entry.rules & frozenset(wanted):
                found.append(entry)
        read = frozenset(wanted) == NOT_READ
        found.sort(key=lambda one: one.read_or_created_at if read else one.rotated_or_created_at)
        return Report(now=now, days=days, looked_at=looked_at, entries=tuple(found))
