"""A stored value that Azure no longer has: a key that somebody else regenerated, or a write of ours that came late.

A storage key has no guard against another writer (design/azure, trap 10). Whoever regenerates a published key outside
leaves every reader with a dead value, and so does a regeneration of a process that died, which arrives after another
one has taken over. What Azure has now can be read, so it is taken over as a new version.
"""

from __future__ import annotations

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.kinds import lane
from azure_rotator.domain.model import (
    ItemState,
    RotatedSecret,
    RotatorType,
    Target,
)
from azure_rotator.domain.ports import LaneClaim, Subject
from azure_rotator.engine.context import Context
from azure_rotator.engine.foreground import Foreground
from azure_rotator.engine.items import Items
from azure_rotator.engine.views import Facts


class Drift:
    """Finds and repairs it, item by item."""

    def __init__(self, context: Context, foreground: Foreground, items: Items) -> None:
        self._c = context
        self._foreground = foreground
        self._items = items

    def repair(self, item: RotatedSecret, target: Target, *, dry_run: bool) -> Facts | None:
        """Take over the value that Azure has now, if it is another one than the current version's.

        Returns: The item's path, the credential and the new version's number (None with ``dry_run``), when there was
        something to repair.

        Raises:
            RotatorError: Azure could not be asked, or the new value was not accepted.
        """
        if item.rotator_type is not RotatorType.STORAGE_ACCOUNT or item.state is not ItemState.ACTIVE:
            return None  # of no other kind can the value be read
        if not item.enabled:
            return None  # nobody reads it; found again when it is switched on
        claim = self._c.uow.claim_lane(lane(item, target), self._c.worker, self._c.clock.now())
        if claim is None:
            return None  # a rotation works on it now
        try:
            found = self._begin(item, target, claim, dry_run=dry_run)
        finally:
            self._c.uow.release(claim)
        if found is None or dry_run:
            return found
        self._foreground.drive(str(found["rotation_id"]))
        return found

    def _begin(self, item: RotatedSecret, target: Target, claim: LaneClaim, *, dry_run: bool) -> Facts | None:
        """With the object's permit, so that what was read is still true when it is stored."""
        versions = self._c.uow.versions(item.item_id)
        current = machine.current_version(versions)
        stored = self._c.version_value(current) if current else None
        busy = any(r.state in machine.UNPUBLISHED for r in self._c.uow.open_rotations(item_id=item.item_id))
        if current is None or stored is None or busy:
            return None
        subject = Subject(item=item, target=target, acting=self._c.identity_for(item, target), given=None)
        value = self._c.rotators[item.rotator_type].observe(subject, current.key_id)
        if value is None or value == stored:
            return None
        self._c.uow.extend(claim)
        found: Facts = {"path": item.name, "key_id": current.key_id, "version": None}
        if dry_run:
            return found
        rotation, version = self._items.adopt(
            item, target, versions, reason="drift", key_id=current.key_id, value=value, expires_at=None
        )
        self._c.observer.note("drift", path=item.name, key_id=current.key_id)
        return {**found, "version": version.number, "rotation_id": rotation.rotation_id}
