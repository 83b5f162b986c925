"""A rotation for each item whose time has come: one row a due instant, whoever looks, however often.

What was missed while nobody looked is caught up once: the next due date is counted when a rotation is published.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from azure_rotator.domain.calendar import forget_zones
from azure_rotator.domain.due import LATE, due_by_present_rules, hour_by_present_rules
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.instants import iso
from azure_rotator.domain.kinds import lane
from azure_rotator.domain.model import RotatedSecret, Rotation, RotationState, Target, Trigger
from azure_rotator.domain.rotation import current_version
from azure_rotator.engine.context import Context
from azure_rotator.engine.notices import Notices

_BATCH = 500
_PAGE = 100
# How often, and how far ahead, due instants are held against the rules of their zones.
_ZONES_EVERY = timedelta(hours=6)
_ZONES_AHEAD = timedelta(days=2)
_SECOND = timedelta(seconds=1)  # the store knows no less


class Planner:
    """The use case."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._notices = Notices(context)
        self._zones_at: datetime | None = None

    def plan_due(self) -> int:
        """Plan what is due now. Returns: how many rotations were planned."""
        planned = 0
        while True:
            now = self._c.clock.now()
            found = [
                (item, self._rotation(item, target, item.next_rotation_at, now))
                for item, target in self._c.uow.unplanned(now, _BATCH)
                if item.next_rotation_at is not None
            ]
            late = [
                self._notices.overdue(rotation, item)
                for item, rotation in found
                if rotation.trigger is Trigger.CATCH_UP
            ]
            inserted = self._c.uow.plan([rotation for _, rotation in found], late) if found else ()
            names = {item.item_id: item.name for item, _ in found}
            for rotation in inserted:
                self._c.observer.tell(
                    "rotation planned",
                    rotation_id=rotation.rotation_id,
                    path=names[rotation.item_id],
                    trigger=rotation.trigger.value,
                    due_at=iso(rotation.due_at),
                    start_at=iso(rotation.next_attempt_at),
                )
            planned += len(inserted)
            if len(found) < _BATCH:
                return planned

    def follow_zones(self) -> int:
        """Move due dates to their hour on the wall clock where the rules of a zone have changed since they were stored.
        What is due already stays. Looks when a process begins, and a few times a day. Returns: how many moved."""
        now = self._c.clock.now()
        if self._zones_at is not None and now < self._zones_at:
            return 0
        forget_zones()
        moved = 0
        for item in self._due_by_hour(now + _SECOND, now + _ZONES_AHEAD):
            try:
                if hour_by_present_rules(item) == item.next_rotation_at:
                    continue
                at = due_by_present_rules(item, current_version(self._c.uow.versions(item.item_id)))
            except Rejected:  # an unknown zone: its rotation says so when it runs
                continue
            if at is None or at == item.next_rotation_at or not self._c.uow.move_due(item, at):
                continue
            moved += 1
            self._c.observer.tell(
                "due date moved",
                path=item.name,
                time_zone=item.time_zone,
                due_at=iso(at),
                was_due_at=iso(item.next_rotation_at),
            )
        self._zones_at = now + _ZONES_EVERY
        return moved

    def _due_by_hour(self, since: datetime, until: datetime) -> Iterator[RotatedSecret]:
        after = ""
        while page := self._c.uow.due_by_hour(since, until, after=after, limit=_PAGE):
            yield from page
            since, after = page[-1].next_rotation_at or since, page[-1].item_id

    def due(self, limit: int) -> Sequence[str]:
        """Operations to run now, the longest due first; whatever is asked to pause waits for the end of its pause."""
        now = self._c.clock.now()
        self._c.uow.postpone_paused(now)
        return self._c.uow.due(now, limit)

    def goes_on_at(self, rotation_ids: Collection[str]) -> datetime | None:
        """When the first of these that are still open goes on; None: none of them does."""
        found = [r for r in map(self._c.uow.get_rotation, rotation_ids) if r is not None]
        going_on = [r.next_attempt_at for r in found if r.state is not RotationState.DONE and not r.closed]
        return min(going_on, default=None)

    def _rotation(self, item: RotatedSecret, target: Target, due_at: datetime, now: datetime) -> Rotation:
        return Rotation(
            rotation_id=self._c.new_id(),
            item_id=item.item_id,
            lane=_lane(item, target),
            trigger=Trigger.AUTOMATIC if now - due_at <= LATE else Trigger.CATCH_UP,
            state=RotationState.PLANNED,
            idempotency_key=f"{item.item_id}/due/{iso(due_at)}",
            created_at=now,
            updated_at=now,
            next_attempt_at=now,
            due_at=due_at,
        )


def _lane(item: RotatedSecret, target: Target) -> str:
    try:
        return lane(item, target)
    except Rejected:  # an account that its Target no longer names: the rotation says so when it runs
        return f"item:{target.target_id}:{item.item_id}"
