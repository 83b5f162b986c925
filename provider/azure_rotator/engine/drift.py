"""A stored value that Azure no longer has: a key that somebody else regenerated, or a write of ours that came late.

A storage key has no guard against another writer (design/azure, trap 10). Whoever regenerates a published key outside
leaves every reader with a dead value, and so does a regeneration of a process that died, which arrives after another
one has taken over. What Azure has now can be read, so it is taken over as a new version. So is the secret that
somebody gave a Target by hand whose own secret an item rotates: the item's value is an old one since then.
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
from azure_rotator.domain.ports import Adoption, LaneClaim, Subject
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import Context
from azure_rotator.engine.foreground import Foreground
from azure_rotator.engine.items import Items
from azure_rotator.engine.views import Facts

# Of these what is valid now can be learned: a storage key from its account, a Target's secret from the Target.
_READABLE = frozenset({RotatorType.STORAGE_ACCOUNT, RotatorType.TARGET})


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
        if item.rotator_type not in _READABLE or item.state is not ItemState.ACTIVE:
            return None
        if not item.enabled:
            return None  # nobody reads it; found again when it is switched on
        place, now = lane(item, target), self._c.clock.now()
        claim = self._c.uow.claim_lane(place, self._c.worker, now, tenant_id=target.tenant_id)
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
        other = self._other(subject, current.key_id, stored)
        if other is None:
            return None
        self._c.uow.extend(claim)
        found: Facts = {"path": item.name, "key_id": other.key_id, "version": None}
        if dry_run:
            return found
        rotation, version = self._items.adopt(item, target, versions, reason="drift", adoption=other)
        self._c.observer.note("drift", path=item.name, key_id=other.key_id)
        return {**found, "version": version.number, "rotation_id": rotation.rotation_id}

    def _other(self, subject: Subject, key_id: str, stored: SecretText) -> Adoption | None:
        """What is valid instead of the stored value; None: nothing is."""
        rotator = self._c.rotators[subject.item.rotator_type]
        if subject.item.rotator_type is RotatorType.TARGET:
            given = subject.acting.secret
            unchanged = given is None or given == stored or subject.target.secret_reference is not None
            return None if unchanged else rotator.examine(subject)
        value = rotator.observe(subject, key_id)
        return None if value is None or value == stored else Adoption(key_id=key_id, value=value)
