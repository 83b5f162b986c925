"""Notices that time brings, as rows of the outbox: of what is to come, and of what is left undone (features 3.8).

    five days before a rotation ──> next-automatic-rotation
    14 days before a credential ends that nothing replaces ──> credential-expiring
    not rotated, or not read, for as long as the account says ──> rotation-usage, usage
    a day after a rotation was parked, and each day of it ──> rotated-secret-failure

Each is told once, whoever looks. A reminder is told together with the change of the columns that made it due. The
others are found by a look around, which one process does once in an hour; the id of each is made of what it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import Account, Event, ItemState, RotatedSecret, Standing, Trigger
from azure_rotator.domain.neglect import NOT_READ, Neglect, Rule, neglects
from azure_rotator.domain.ports import Reminded, Reminder
from azure_rotator.domain.reminders import EXPIRES_SOON, expires_unrotated, next_reminder, periods, scheduled_at
from azure_rotator.engine.context import Context
from azure_rotator.engine.notices import Notices, id_of

REMINDER = "next-automatic-rotation"
EXPIRING = "credential-expiring"
NOT_ROTATED_EVENT = "rotation-usage"
NOT_READ_EVENT = "usage"

_LOOK_EVERY = timedelta(hours=1)
_ASK_EVERY = timedelta(minutes=1)
_BATCH = 500
# Ids, and items with all that belongs to them: what is read at once is memory that the process keeps.
_IDS, _PAGE = 10_000, 100


class Reminders:
    """The use case."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._notices = Notices(context)
        self._asks_at: datetime | None = None

    def tell_due(self) -> int:
        """Tell what is due now. Cheap where nothing is: it may be called each second. Returns: how many events."""
        now = self._c.clock.now()
        return self._remind(now) + self._look_around(now)

    def _remind(self, now: datetime) -> int:
        told = 0
        while True:
            found = self._c.uow.reminders(now, _BATCH)
            reminded = [self._reminded(one, now) for one in found]
            done = self._c.uow.remind(reminded) if reminded else ()
            told += sum(len(one.events) for one in done)
            if len(found) < _BATCH or not done:
                return told

    def _reminded(self, found: Reminder, now: datetime) -> Reminded:
        item = found.item
        at, events = found.at, []
        if found.planned_for is None or found.planned_for != item.next_rotation_at:
            at = next_reminder(item, scheduled_at(item))
        while at is not None and at <= now:
            if item.state is ItemState.ACTIVE and item.next_rotation_at is not None and now < item.next_rotation_at:
                events.append(self._reminder(item, item.next_rotation_at, at))
            at = next_reminder(item, at)
        return Reminded(found=found, next_at=at, events=tuple(events))

    def _reminder(self, item: RotatedSecret, due: datetime, at: datetime) -> Event:
        days = (due - at).days
        text = f"it rotates by itself at {iso(due)}: a reminder {days} {'day' if days == 1 else 'days'} ahead"
        return self._event(item, REMINDER, text, None, self._c.new_id())

    def _look_around(self, now: datetime) -> int:
        if self._asks_at is not None and now < self._asks_at:
            return 0
        mine = self._c.uow.take_turn("notices", now, _LOOK_EVERY)
        self._asks_at = now + (_LOOK_EVERY if mine else _ASK_EVERY)
        if not mine:
            return 0
        account = self._c.uow.account()
        neglected_since = now - timedelta(days=account.usage_event_interval) if account.usage_event_enable else None
        told, after = 0, ""
        while True:
            ids = self._c.uow.to_tell(
                ends_until=now + EXPIRES_SOON, neglected_since=neglected_since, after=after, limit=_IDS
            )
            for begin in range(0, len(ids), _PAGE):
                found = self._c.uow.standings_of(ids[begin : begin + _PAGE])
                active = [one for one in found if one.item.state is ItemState.ACTIVE]
                lasting = self._notices.lasting(active)
                events = [*(event for one in active for event in self._about(one, account, now)), *lasting]
                told += len(self._c.uow.tell_once(events)) if events else 0
            if len(ids) < _IDS:
                return told
            after = ids[-1]

    def _about(self, standing: Standing, account: Account, now: datetime) -> Iterator[Event]:
        item, current = standing.item, standing.current
        if current is not None and current.expires_at is not None and expires_unrotated(standing, now):
            verb = "ends" if current.expires_at > now else "ended"
            text = f"its credential {verb} at {iso(current.expires_at)}, and no rotation is due before"
            yield self._event(item, EXPIRING, text, current.number or None, id_of(EXPIRING, current.version_id))
        if account.usage_event_enable:
            days = account.usage_event_interval
            found = {one.rule: one for one in neglects(standing, now, stale_days=days, unused_days=days)}
            last_at = item.last_rotation_at or item.created_at
            yield from self._neglected(item, NOT_ROTATED_EVENT, found.get(Rule.STALE), last_at, now, days)
            unread = next((one for rule, one in found.items() if rule in NOT_READ), None)
            yield from self._neglected(item, NOT_READ_EVENT, unread, item.accessed_at or item.created_at, now, days)

    def _neglected(
        self, item: RotatedSecret, kind: str, why: Neglect | None, since: datetime, now: datetime, days: int
    ) -> Iterator[Event]:
        if why is not None:
            once = id_of(kind, item.item_id, since.isoformat(), str(periods(since, now, days)))
            yield self._event(item, kind, why.text, None, once)

    def _event(self, item: RotatedSecret, kind: str, text: str, version: int | None, event_id: str) -> Event:
        return Event(
            event_id=event_id,
            event_type=kind,
            item_id=item.item_id,
            item_name=item.name,
            occurred_at=self._c.clock.now(),
            trigger=Trigger.AUTOMATIC.value,
            version=version,
            message=text,
        )
