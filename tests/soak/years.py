"""Items with hours in zones, schedulers that are killed, switched off for weeks, replaced; every due date is looked at.

What is expected is counted here by itself, day by day on a wall calendar, and not by the product's own calendar.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from azure_rotator.crypto.envelope import EnvelopeSealer
from azure_rotator.crypto.keyring import Key, make_key
from azure_rotator.dispatch.rows import RowsDispatcher
from azure_rotator.domain.model import (
    AuditLine,
    ConnectionType,
    Origin,
    RotatedSecret,
    RotationState,
    RotatorType,
    Stage,
    Trigger,
)
from azure_rotator.domain.names import ID_BYTES, encode_id
from azure_rotator.domain.ports import Observer, UnitOfWork
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import Context, version_place
from azure_rotator.engine.service import Engine
from azure_rotator.scheduler.loop import Scheduler
from azure_rotator.store import opening
from azure_rotator.wiring import SilentObserver
from tests.soak.rotator import Ledger
from tests.store import samples
from tests.store.inspection import outside_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PUNCTUAL = timedelta(hours=12)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/Lisbon",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Antarctica/Troll",
)
"""Twelve, most with daylight saving: whole, half and double hours, on both halves of the Earth."""
INTERVALS = (90, 120, 180, 365)


_DEADLY = 0.001
"""How likely a process is to be killed before or after each of its transactions and calls to Azure."""


class Killed(BaseException):
    """The process is gone."""


class Danger:
    """Decides when a process is killed; from then on nothing of it has any effect."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.dead = False
        self.kills = 0

    def __call__(self) -> None:
        if not self.dead and self._chance.random() < _DEADLY:
            self.dead = True
            self.kills += 1
        if self.dead:
            raise Killed


class MortalStore:
    """The store as a process has it that may be killed right before and right after each of its transactions."""

    def __init__(self, inner: Any, risk: Callable[[], None]) -> None:
        self._inner = inner
        self._risk = risk

    def take_sweeps(self, *_: Any, **__: Any) -> Sequence[str]:
        """Another process sweeps orphans: here is no Azure to look at."""
        return ()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            self._risk()
            answer = method(*arguments, **named)
            self._risk()
            return answer

        return called


class Calendar:
    """The clock of the simulation."""

    def __init__(self) -> None:
        self._now = BEGIN

    def now(self) -> datetime:
        return self._now

    def wait_until(self, instant: datetime) -> None:
        self._now = max(self._now, instant)


class Chance:
    """Ids and jitter, the same in every run."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def token(self, size: int) -> bytes:
        return self._chance.randbytes(size)

    def jitter(self) -> float:
        return self._chance.random()


@dataclass(slots=True)
class Report:
    """What came of it.

    Args:
        wrong: Each due date that was missed, served twice, early or late, and each credential nobody answers for.
    """

    items: int = 0
    rotations: int = 0
    caught_up: int = 0
    kills: int = 0
    downtimes: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"items {self.items}, rotations {self.rotations}, caught up {self.caught_up}, kills {self.kills}, "
            f"downtimes {self.downtimes}, wrong {len(self.wrong)}"
        )


class Years:
    """One store, and the time that passes over it.

    Args:
        url: Of a store that does not exist yet.
        intervals: In days; each item has one of them.
    """

    def __init__(self, url: str, *, items: int, years: float, seed: int, intervals: Sequence[int] = INTERVALS) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - a plan, and no secret
        self._entropy = Chance(self._chance)
        self._url = url
        self._end = BEGIN + timedelta(days=365.25 * years)
        self._clock = Calendar()
        key: Key = make_key(self._entropy)
        opening.create(url, store_id=self._id(), key_check=key.check_value)
        self._store = opening.open_store(url)
        self._sealer = EnvelopeSealer(key)
        self._danger = Danger(self._chance)
        self._ledger = Ledger(self._risk)
        self._outages = [self._outage(years) for _ in range(round(6 * years))]
        self._items: dict[str, RotatedSecret] = {}
        self._in_danger = True
        for _ in range(items):
            self._add_item(intervals)

    def live(self) -> Report:
        """Let the years pass. Returns: what came of them."""
        report = Report(items=len(self._items))
        while (next_at := self._store.next_due()) is not None and max(next_at, self._clock.now()) < self._end:
            at = max(next_at, self._clock.now())
            down_until = max((end for begin, end in self._outages if begin <= at), default=at)
            self._clock.wait_until(max(at, down_until))
            self._serve()
        self._in_danger = False
        self._serve()
        report.kills = self._danger.kills
        report.downtimes = len(self._outages)
        self._judge(report)
        self._store.close()
        return report

    def _outage(self, years: float) -> tuple[datetime, datetime]:
        begin = BEGIN + timedelta(days=self._chance.random() * 365 * years)
        return begin, begin + timedelta(days=self._chance.choice((0.01, 0.4, 1, 3, 20, 40)))

    # --- processes

    def _risk(self) -> None:
        if self._in_danger:
            self._danger()

    def _serve(self) -> None:
        """A scheduler works until nothing is due; if it is killed, another one comes when its leases have run out."""
        while True:
            self._danger.dead = False
            dispatchers: list[RowsDispatcher] = []

            def dispatcher(run: Any, bell: Any, made: list[RowsDispatcher] = dispatchers) -> RowsDispatcher:
                made.append(RowsDispatcher(run, workers=1, bell=bell))
                return made[-1]

            scheduler = Scheduler(
                self._engine(), dispatcher, clock=self._clock, observer=cast(Observer, SilentObserver())
            )
            with suppress(Killed):
                scheduler.once()
                return
            for one in dispatchers:
                one.close()
            outside_of(self._url).run_out_leases()

    def _engine(self) -> Engine:
        return Engine(
            Context(
                uow=cast(UnitOfWork, MortalStore(self._store, self._risk)),
                sealer=self._sealer,
                references=cast(Any, None),
                clock=self._clock,
                entropy=self._entropy,
                directory=cast(Any, None),
                login=cast(Any, None),
                keys=cast(Any, None),
                observer=cast(Observer, SilentObserver()),
                rotators=dict.fromkeys(RotatorType, self._ledger),
                checkers={},
                notifiers={},
                who="scheduler",
                worker=self._id(),
            )
        )

    # --- given

    def _id(self) -> str:
        return encode_id(self._entropy.token(ID_BYTES))

    def _add_item(self, intervals: Sequence[int]) -> None:
        number = len(self._items)
        interval = self._chance.choice(intervals)
        hour = self._chance.choice((None, *range(24)))
        # Not all on one day, or their due dates would meet for ever.
        created_at = BEGIN + timedelta(hours=self._chance.randrange(90 * 24))
        target = samples.target(
            name=f"/azure/{number}",
            connection_type=ConnectionType.CLOUD_IDENTITY,
            tenant_id=f"00000000-0000-4000-9000-{number % 7:012d}",
            client_id=None,
            sealed_secret=None,
        )
        made = samples.item(
            target.target_id,
            name=f"/soak/{number}",
            app_id=f"00000000-0000-4000-a000-{number:012d}",
            rotation_interval=interval,
            revoke_after=self._chance.choice(("0", "24h")),
            created_at=created_at,
            modified_at=created_at,
            rotation_hour=hour,
            time_zone=ZONES[number % len(ZONES)],
        )
        made_due = _due(made, created_at)
        lane = f"application:{target.tenant_id}:{made.app_id}"
        first = samples.rotation(made.item_id, lane=lane, trigger=Trigger.CREATE, state=RotationState.DONE)
        key_id = f"00000000-0000-4000-b000-{number:012d}"
        version_id = samples.new_id()
        version = samples.version(
            made.item_id,
            first.rotation_id,
            version_id=version_id,
            origin=Origin.ADOPTED,
            key_id=key_id,
            sealed_value=self._sealer.seal(SecretText(key_id), version_place(version_id, 1)),
            created_at=created_at,
        )
        self._ledger.alive[key_id] = (made.item_id, "")
        self._store.insert_target(target, samples.line("create_target", target.name))
        made = replace(made, next_rotation_at=made_due)
        self._store.insert_item(made, version, first, samples.line("create_item", made.name))
        self._items[made.name] = made

    # --- then

    def _judge(self, report: Report) -> None:
        served: dict[str, list[AuditLine]] = {name: [] for name in self._items}
        for line in self._store.audit_lines(action="rotate_item"):
            served[line.path].append(line)
        for name, item in self._items.items():
            report.wrong += self._judged(item, served[name], report)
        report.wrong += self._left_over()

    def _judged(self, item: RotatedSecret, served: Sequence[AuditLine], report: Report) -> list[str]:
        wrong = []
        due = _due(item, item.created_at)
        for line in served:
            report.rotations += 1
            late = line.at - due
            was_down = any(begin <= line.at and due <= end for begin, end in self._outages)
            is_catch_up = line.details["trigger"] == Trigger.CATCH_UP.value
            report.caught_up += is_catch_up
            told = f"{item.name} ({item.rotation_interval} d, {item.rotation_hour}, {item.time_zone}): due {due}"
            if late < timedelta():
                wrong.append(f"{told}, rotated early at {line.at}")
            if late > HOUR and not was_down:
                wrong.append(f"{told}, rotated late at {line.at}")
            if is_catch_up != (late > HOUR):
                wrong.append(f"{told}, {line.details['trigger']} at {line.at}")
            due = _due(item, due if item.rotation_hour is not None and late <= PUNCTUAL else line.at)
        now = self._store.find_item(item_id=item.item_id)
        assert now is not None
        if now.next_rotation_at != due:
            wrong.append(f"{item.name}: is due at {now.next_rotation_at}, and should be at {due}")
        if due <= self._clock.now():
            wrong.append(f"{item.name}: was due at {due}, and nobody rotated it")
        return wrong

    def _left_over(self) -> list[str]:
        held = {
            version.key_id
            for item in self._items.values()
            for version in self._store.versions(item.item_id)
            if version.stage is not Stage.REVOKED
        }
        orphans, lost = self._ledger.alive.keys() - held, held - self._ledger.alive.keys()
        doubled = [mint for mint, count in Counter(self._ledger.mints).items() if count > 1]
        return [
            *(f"orphaned: {key_id}" for key_id in orphans),
            *(f"lost: {key_id}" for key_id in lost),
            *(f"minted twice: {mint}" for mint in doubled),
        ]


def _due(item: RotatedSecret, base: datetime) -> datetime:
    """The due instant that is counted from ``base``: the first wall-clock hour not earlier than so many days later."""
    days = timedelta(days=item.rotation_interval or 0)
    if item.rotation_hour is None:
        return base + days
    zone = ZoneInfo(item.time_zone)
    wall = base.astimezone(zone).replace(tzinfo=None)
    meant = datetime.combine(wall.date(), time(item.rotation_hour))
    if _instant(meant, zone) == base:  # an hour that did not exist that day was meant all the same
        wall = meant
    target = wall + days
    at = datetime.combine(target.date(), time(item.rotation_hour))
    if at < target:
        at += DAY
    return _instant(at, zone)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first minute from this wall-clock time on that the zone's clocks show at all, at its first pass."""
    for minutes in range(26 * 60):
        seen = wall + timedelta(minutes=minutes)
        instant = seen.replace(tzinfo=zone).astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) == seen:
            return instant
    raise AssertionError(wall)
