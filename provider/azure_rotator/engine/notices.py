"""What people are told when rotations fail, and when they work again: rows of the outbox (features 3.8).

    due ── nobody looked for longer than the window ──> rotation-overdue, and one catch-up
    works ── fails ──> rotated-secret-failure, once a day while it lasts ── works ──> rotation-recovered, …-success
                            └── parked ──> rotation-parked, once a day rotated-secret-failure

Each row is written by the transaction that records what it tells about. A failed create and a refused deletion have
somebody who waits for their end, and raise no notice but the one of the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import Event, RotatedSecret, Rotation, RotatorStatus, Standing, Trigger
from azure_rotator.domain.names import ID_BYTES, encode_id
from azure_rotator.engine.context import Context

SUCCESS = "rotated-secret-success"
FAILURE = "rotated-secret-failure"
PARKED = "rotation-parked"
RECOVERED = "rotation-recovered"
OVERDUE = "rotation-overdue"

_OUTCOMES = (SUCCESS, FAILURE, RECOVERED)
_AGAIN_AFTER = timedelta(days=1)
_QUIET = frozenset({Trigger.CREATE, Trigger.DELETE, Trigger.DELETE_VERSION})


class Notices:
    """Decides which are due."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def failed(self, rotation: Rotation, item: RotatedSecret, error: RotatorError) -> tuple[Event, ...]:
        """Of a failure that is tried again: the first since the item last worked, then one a day."""
        if rotation.trigger in _QUIET:
            return ()
        latest = self._c.uow.latest_events([item.item_id], _OUTCOMES).get(item.item_id)
        told = latest is not None and latest.event_type == FAILURE
        if told and latest is not None and self._c.clock.now() - latest.occurred_at < _AGAIN_AFTER:
            return ()
        return (self._c.event(rotation, item, FAILURE, error.message, None, error.code),)

    def parked(self, rotation: Rotation, item: RotatedSecret, error: RotatorError) -> tuple[Event, ...]:
        """Of a failure that nobody tries again by himself."""
        if rotation.trigger is Trigger.CREATE:
            return (self._c.event(rotation, item, FAILURE, error.message, None, error.code),)
        hint = f"; {error.hint}" if error.hint else ""
        text = (
            f"{error.message}; it is not tried again until the item or its Target changes, or somebody rotates it{hint}"
        )
        return (
            *self.failed(rotation, item, error),
            self._c.event(rotation, item, PARKED, text, None, error.code),
        )

    def lasting(self, standings: Sequence[Standing]) -> tuple[Event, ...]:
        """Of rotations that are parked for a day, and of each day more. None of disabled items: nobody waits for them.

        Who tries again by himself tells it at an attempt (``failed``).
        """
        parked = [
            (one.rotation, one.item)
            for one in standings
            if one.rotation is not None and one.rotation.parked and one.rotation.trigger not in _QUIET
        ]
        waited_for = {item.item_id: (rotation, item) for rotation, item in parked if item.enabled}
        latest = self._c.uow.latest_events(waited_for, _OUTCOMES) if waited_for else {}
        since = self._c.clock.now() - _AGAIN_AFTER
        return tuple(
            self._still_fails(rotation, item, latest.get(item_id))
            for item_id, (rotation, item) in waited_for.items()
            if item_id not in latest or latest[item_id].occurred_at <= since
        )

    def _still_fails(self, rotation: Rotation, item: RotatedSecret, latest: Event | None) -> Event:
        text = f"it still fails, and is parked: {rotation.error_text or rotation.error_code}"
        event = self._c.event(rotation, item, FAILURE, text, None, rotation.error_code)
        # The same for whoever looks at this moment, another one for the next day.
        return replace(event, event_id=id_of(FAILURE, rotation.rotation_id, latest.event_id if latest else ""))

    def overdue(self, rotation: Rotation, item: RotatedSecret) -> Event:
        """Of a rotation that begins late, because nobody looked when it was due."""
        text = f"it was due at {iso(rotation.due_at)}, and no scheduler ran; it is caught up now"
        return self._c.event(rotation, item, OVERDUE, text, None)

    def published(self, rotation: Rotation, item: RotatedSecret, version: int) -> tuple[Event, ...]:
        """Of a publication."""
        success = self._c.event(rotation, item, SUCCESS, "rotated", version)
        if item.rotator_status is not RotatorStatus.FAILED or rotation.trigger is Trigger.CREATE:
            return (success,)
        return (self._recovered(rotation, item, version), success)

    def retired(self, rotation: Rotation, item: RotatedSecret) -> tuple[Event, ...]:
        """Of a replaced credential that is gone, after it could not be removed for a while."""
        if item.rotator_status is not RotatorStatus.PARTIAL or rotation.trigger in _QUIET:
            return ()
        return (self._recovered(rotation, item, None),)

    def _recovered(self, rotation: Rotation, item: RotatedSecret, version: int | None) -> Event:
        failed = f" ({item.error_code})" if item.error_code else ""
        return self._c.event(rotation, item, RECOVERED, f"it works again after failures{failed}", version)


def id_of(*about: str) -> str:
    """The id of a notice that is told once, made of what it is about: whoever tells it, finds it told."""
    return encode_id(hashlib.sha256("\n".join(about).encode()).digest()[:ID_BYTES])
