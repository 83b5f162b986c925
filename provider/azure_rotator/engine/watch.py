"""What is there to see of rotations without asking Azure: how fresh every item is, when one is due next and why, and
how many rotations a day are to come. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from fnmatch import fnmatchcase
from itertools import islice, takewhile

from azure_rotator.domain.calendar import zone_named
from azure_rotator.domain.census import Census
from azure_rotator.domain.due import DueCode, DueDate, Reason, coming, reasons
from azure_rotator.domain.errors import NotFound, Rejected
from azure_rotator.domain.instants import iso
from azure_rotator.domain.kinds import CLIENT_SECRETS
from azure_rotator.domain.model import Origin, RotatorStatus, RotatorType, Standing
from azure_rotator.domain.names import canonical_path
from azure_rotator.engine.context import Context
from azure_rotator.engine.folders import folder_path, lies_in
from azure_rotator.engine.settings import both_valid_for
from azure_rotator.engine.views import Facts

PAGE = 1_000
_DAY = timedelta(days=1)
_WILD = "*?"


class Severity(IntEnum):
    """How bad it is; the worst first."""

    EXPIRED = 0
    PARKED = 1
    OVERDUE = 2
    FAILED = 3
    PARTIAL = 4
    NO_VALUE = 5
    WELL = 6
    DISABLED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How old an item's credential is, and what comes of it.

    Args:
        chain: Why it is due or not (``domain.due``).
    """

    standing: Standing
    now: datetime
    chain: tuple[Reason, ...]

    @property
    def age(self) -> timedelta | None:
        """Of the current credential, since the store has it; an adopted one may be older in Azure."""
        current = self.standing.current
        return None if current is None or current.number == 0 else self.now - current.created_at

    @property
    def adopted(self) -> bool:
        """Whether the current credential is one that the user named."""
        return self.standing.current is not None and self.standing.current.origin is Origin.ADOPTED

    @property
    def codes(self) -> frozenset[DueCode]:
        return frozenset(reason.code for reason in self.chain)

    @property
    def overdue(self) -> bool:
        return DueCode.OVERDUE in self.codes

    @property
    def parked(self) -> bool:
        return DueCode.PARKED in self.codes

    @property
    def expired(self) -> bool:
        current = self.standing.current
        return current is not None and current.expires_at is not None and current.expires_at <= self.now

    @property
    def next_attempt_at(self) -> datetime | None:
        """When its operation goes on; None: none runs, or it is parked."""
        rotation = self.standing.rotation
        return None if rotation is None or self.parked else rotation.next_attempt_at

    @property
    def next_run_at(self) -> datetime | None:
        """When it is rotated next; past: as soon as somebody comes to it."""
        return self.next_attempt_at or self.standing.item.next_rotation_at

    @property
    def severity(self) -> Severity:
        status = self.standing.item.rotator_status
        found = {
            Severity.DISABLED: not self.standing.item.enabled,
            Severity.EXPIRED: self.expired,
            Severity.PARKED: self.parked,
            Severity.OVERDUE: self.overdue,
            Severity.FAILED: status is RotatorStatus.FAILED,
            Severity.PARTIAL: status is RotatorStatus.PARTIAL,
            Severity.NO_VALUE: self.age is None,
        }
        return next((severity for severity, so in found.items() if so), Severity.WELL)

    @property
    def worst_first(self) -> tuple[int, float, str]:
        """By severity, then by how much of its interval is over; without one, of a year."""
        item, age = self.standing.item, self.age or timedelta()
        return self.severity, -(age / (_DAY * (item.rotation_interval or 365))), item.name

    def facts(self) -> Facts:
        i, current = self.standing.item, self.standing.current
        return {
            "item_name": i.name,
            "item_id": i.item_id,
            "rotator_type": i.rotator_type.value,
            "is_enabled": i.enabled,
            "auto_rotate": i.auto_rotate,
            "managed_by": ("user" if self.adopted else "platform") if current else None,
            "age_days": None if self.age is None else self.age.days,
            "rotation_interval": i.rotation_interval,
            "rotation_hour": i.rotation_hour,
            "time_zone": i.time_zone,
            "expires_at": iso(current.expires_at) if current else None,
            "expired": self.expired,
            "overdue": self.overdue,
            "parked": self.parked,
            "last_rotation_date": iso(i.last_rotation_at),
            "next_rotation_date": iso(i.next_rotation_at),
            "next_attempt_at": iso(self.next_attempt_at),
            "next_run": iso(self.next_run_at),
            "rotator_status": i.rotator_status.value if i.rotator_status else None,
            "error_code": i.error_code,
            "last_rotation_error": f"{i.error_code}: {i.error_text}" if i.error_code else None,
            "reasons": told(self.chain),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Every item, the worst first."""

    items: tuple[Freshness, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many there are, and how many are not well; one may count twice."""
        return {
            "items": len(self.items),
            "expired": sum(one.expired for one in self.items),
            "overdue": sum(one.overdue for one in self.items),
            "parked": sum(one.parked for one in self.items),
            "failed": sum(one.standing.item.rotator_status is RotatorStatus.FAILED for one in self.items),
        }

    def facts(self) -> Facts:
        return {"counts": self.counts, "items": [one.facts() for one in self.items]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The due dates of one item.

    Args:
        previous_until: Of each date, until when the client secret that it replaces stays valid; None: other kinds.
        problem: Why there are no more dates.
    """

    standing: Standing
    chain: tuple[Reason, ...]
    dates: tuple[DueDate, ...]
    previous_until: tuple[datetime | None, ...]
    problem: Rejected | None = None

    def facts(self) -> Facts:
        i = self.standing.item
        return {
            "item_name": i.name,
            "item_id": i.item_id,
            "is_enabled": i.enabled,
            "auto_rotate": i.auto_rotate,
            "rotation_interval": i.rotation_interval,
            "rotation_hour": i.rotation_hour,
            "time_zone": i.time_zone,
            "rotation_offset": i.rotation_offset,
            "next_rotation_date": iso(i.next_rotation_at),
            "reasons": told(self.chain),
            "dates": [
                {
                    "due_at": iso(one.at),
                    "wall_clock": self._wall(one.at),
                    "runs_at": iso(one.runs_at),
                    "previous_until": iso(until),
                    "reasons": [code.value for code in one.codes],
                }
                for one, until in zip(self.dates, self.previous_until, strict=True)
            ],
        }

    def _wall(self, at: datetime) -> str | None:
        """ISO 8601 with the offset that the zone has then; None where this machine does not know the zone."""
        try:
            return at.astimezone(zone_named(self.standing.item.time_zone)).isoformat()
        except Rejected:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many rotations are due on the days to come, in UTC, if every rotation runs at its time.

    Args:
        first: Today: what is overdue is due on it.
        days: Of each day with a rotation, how many of which kind.
        items: How many items have a due date at all.
        overdue: How many of them are overdue.
        problems: Items whose later dates cannot be told: name, code, message, hint.
    """

    first: date
    count: int
    days: dict[date, Counter[RotatorType]]
    items: int
    overdue: int
    problems: tuple[Facts, ...] = field(default=())

    @property
    def total(self) -> int:
        return sum(day.total() for day in self.days.values())

    def facts(self) -> Facts:
        return {
            "first_day": self.first.isoformat(),
            "days": self.count,
            "items": self.items,
            "overdue": self.overdue,
            "total": self.total,
            "load": [
                {"date": day.isoformat(), "total": kinds.total(), **{kind.value: kinds[kind] for kind in RotatorType}}
                for day, kinds in sorted(self.days.items())
            ],
            "problems": list(self.problems),
        }


class Watch:
    """The use cases."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def census(self) -> Census:
        """The store in numbers, as they are now."""
        return self._c.uow.census(self._c.clock.now())

    def ask_store(self) -> None:
        """Read one row. Raises: RotatorError, the store could not be used."""
        self._c.uow.account()

    def status(self, *, path: str | None = None) -> Status:
        """How fresh every item is.

        Args:
            path: Only this item, what lies below this folder, or what fits this with ``*`` and ``?``.

        Raises:
            Rejected: ``NameInvalid``, the path.
        """
        now = self._c.clock.now()
        found = [
            Freshness(standing=one, now=now, chain=reasons(one.item, one.current, one.rotation, now))
            for one in self.standings(path)
        ]
        return Status(items=tuple(sorted(found, key=lambda one: one.worst_first)))

    def schedule(self, *, name: str, count: int) -> Schedule:
        """The next ``count`` due dates of an item, if every rotation runs at its time; none if it does not rotate by
        itself.

        Raises:
            NotFound: ``ItemNotFound``.
        """
        label, now = canonical_path(name), self._c.clock.now()
        # Of what begins with a name the name itself comes first.
        standing = next(iter(self._c.uow.standings(prefix=label, limit=1)), None)
        if standing is None or standing.item.name != label:
            raise NotFound(
                "ItemNotFound",
                f'there is no item "{label}"',
                hint="azure-rotator rotated-secret list shows them",
                details={"gone": True},
            )
        dates: list[DueDate] = []
        problem: Rejected | None = None
        until: list[datetime | None] = []
        try:
            # One more: what the last one replaces may stay valid until then.
            for due in islice(coming(standing.item, standing.current, now), count + 1):
                dates.append(due)  # noqa: PERF402 - what came before a problem is told
            until = [_previous_until(standing, dates, index) for index in range(len(dates))]
        except Rejected as unknown:
            problem, until = unknown, [None] * len(dates)
        return Schedule(
            standing=standing,
            chain=reasons(standing.item, standing.current, standing.rotation, now),
            dates=tuple(dates[:count]),
            previous_until=tuple(until[:count]),
            problem=problem,
        )

    def load(self, *, days: int, path: str | None = None) -> Load:
        """How many rotations are due on each of the next ``days`` days, today among them.

        Args:
            path: As of ``status``.

        Raises:
            Rejected: ``NameInvalid``, the path.
        """
        now = self._c.clock.now()
        end_at = datetime.combine(now.date() + timedelta(days=days), time(), UTC)
        found: dict[date, Counter[RotatorType]] = {}
        items = overdue = 0
        problems: list[Facts] = []
        for one in self.standings(path):
            items += one.item.next_rotation_at is not None
            try:
                for due in takewhile(lambda due: due.runs_at < end_at, coming(one.item, one.current, now)):
                    found.setdefault(due.runs_at.date(), Counter())[one.item.rotator_type] += 1
                    overdue += DueCode.OVERDUE in due.codes
            except Rejected as unknown:
                problems.append(
                    {"item_name": one.item.name, "code": unknown.code, "message": unknown.message, "hint": unknown.hint}
                )
        return Load(first=now.date(), count=days, days=found, items=items, overdue=overdue, problems=tuple(problems))

    def standings(self, path: str | None) -> Iterator[Standing]:
        """Items by name, page by page: one statement each."""
        prefix, fits = _scope(path)
        after = ""
        full = True
        while full:
            page = self._c.uow.standings(prefix=prefix, after=after, limit=PAGE)
            yield from (one for one in page if fits(one.item.name))
            full = len(page) == PAGE
            after = page[-1].item.name if full else after


def told(chain: Sequence[Reason]) -> list[Facts]:
    """Reasons for programs."""
    return [{"code": reason.code.value, "text": reason.text} for reason in chain]


def _scope(path: str | None) -> tuple[str, Callable[[str], bool]]:
    """What the names begin with that a path means, and which of those it does mean."""
    if path is not None and any(sign in path for sign in _WILD):
        pattern = "/" + path.lstrip("/")
        known = min(pattern.find(sign) for sign in _WILD if sign in pattern)
        return pattern[:known], lambda name: fnmatchcase(name, pattern)
    root = folder_path(path)
    return root, lambda name: lies_in(name, root)


def _previous_until(standing: Standing, dates: Sequence[DueDate], index: int) -> datetime | None:
    """Until when the client secret stays valid that the rotation of this date replaces."""
    if standing.item.rotator_type not in CLIENT_SECRETS or (index == 0 and standing.current is None):
        return None
    due = dates[index]
    both = both_valid_for(replace(standing.item, counted_from=due.counted_from), due.runs_at)
    if both is not None:
        return due.runs_at + both
    return dates[index + 1].runs_at if index + 1 < len(dates) else None
