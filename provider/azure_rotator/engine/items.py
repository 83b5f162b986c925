"""What every use case of items needs: find one, view one, begin an operation on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import Conflict, NotFound, Rejected
from azure_rotator.domain.kinds import lane
from azure_rotator.domain.model import (
    ItemState,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    Stage,
    Target,
    Trigger,
    Version,
)
from azure_rotator.domain.names import canonical_path
from azure_rotator.domain.ports import Adoption
from azure_rotator.domain.rotation import NEVER
from azure_rotator.engine.context import Context
from azure_rotator.engine.foreground import Foreground
from azure_rotator.engine.targets import expect_store, target_not_found, unknown_to_this_store
from azure_rotator.engine.views import SecretView


class Items:
    """Shared by creation, changes and the other use cases."""

    def __init__(self, context: Context, foreground: Foreground) -> None:
        self._c = context
        self._foreground = foreground

    def finished(self, item_id: str) -> SecretView:
        """The view a writing command ends with; what is due by now is finished on the way."""
        self._foreground.finish_due()
        item = self._c.uow.find_item(item_id=item_id)
        if item is None:
            raise NotFound("ItemNotFound", "the item was deleted by another process", details={"gone": True})
        return self.view(item)

    def view(self, item: RotatedSecret) -> SecretView:
        target = self._c.uow.find_target(target_id=item.target_id)
        pending = [r.next_attempt_at for r in self._c.uow.open_rotations(item_id=item.item_id)]
        pending = [at for at in pending if at != NEVER]
        return SecretView(
            item=item,
            target_name=target.name if target else "",
            versions=tuple(self._c.uow.versions(item.item_id)),
            store_id=self._c.uow.store_id(),
            next_attempt_at=min(pending, default=None),
        )

    def target_named(self, path: str) -> Target:
        """The Target an item shall work with.

        Raises:
            NotFound: ``TargetNotFound``.
            Rejected: ``TargetTypeMismatch``, the path is an item's.
        """
        target = self._c.uow.find_target(name=path)
        if target is None and (item := self._c.uow.find_item(name=path)) is not None:
            raise Rejected(
                "TargetTypeMismatch",
                f'"{path}" is a Rotated Secret and no Azure Target',
                hint=f'that item works with Target "{self._c.keeper_of(item).name}"; name a Target',
            )
        if target is None:
            raise target_not_found(path)
        return target

    def find(
        self,
        *,
        name: str | None = None,
        item_id: str | None = None,
        store_id: str | None = None,
        deleting: bool = False,
    ) -> RotatedSecret:
        expect_store(self._c, store_id)
        if item_id is not None:
            item = self._c.uow.find_item(item_id=item_id)
            if item is None and not self._c.uow.item_known(item_id):
                raise unknown_to_this_store("item", item_id, self._c.uow.store_id())
            label = item_id
        else:
            label = canonical_path(name or "")
            item = self._c.uow.find_item(name=label)
        if item is None or item.state in {ItemState.CREATING, ItemState.UNDOING}:
            raise NotFound(
                "ItemNotFound",
                f'there is no item "{label}"',
                hint="azure-rotator rotated-secret list shows them",
                details={"gone": True},
            )
        if item.state is ItemState.DELETING and not deleting:
            raise Conflict("ItemLocked", f'"{item.name}" is being deleted', hint="delete it again to finish")
        return item

    def adopt(
        self,
        item: RotatedSecret,
        target: Target,
        versions: Sequence[Version],
        *,
        reason: str,
        adoption: Adoption,
    ) -> tuple[Rotation, Version]:
        """Store a value that Azure has already as the item's next version: the rotation that proves and publishes it.

        Args:
            reason: Why, as part of the operation's idempotency key.

        Raises:
            Conflict: ``ItemDisabled``, ``ItemLocked``, ``CredentialAlreadyManaged``.
        """
        rotation = self.new_rotation(item, target, Trigger.UPDATE, key=f"{item.item_id}/{reason}/{self._c.new_id()}")
        version_id, number = self._c.new_id(), machine.next_number(versions)
        version = Version(
            version_id=version_id,
            item_id=item.item_id,
            number=number,
            stage=Stage.PENDING,
            origin=Origin.ADOPTED,
            key_id=adoption.key_id,
            sealed_value=None if adoption.value is None else self._c.sealed_value(version_id, number, adoption.value),
            rotation_id=rotation.rotation_id,
            created_at=rotation.created_at,
            expires_at=adoption.expires_at,
        )
        deadline = rotation.created_at + self._c.limits.proof_deadline
        rotation = replace(rotation, state=RotationState.MINTED, proof_deadline_at=deadline)
        self._c.uow.insert_adoption(rotation, version)
        return rotation, version

    def new_rotation(self, item: RotatedSecret, target: Target, trigger: Trigger, *, key: str) -> Rotation:
        now = self._c.clock.now()
        return Rotation(
            rotation_id=self._c.new_id(),
            item_id=item.item_id,
            lane=lane(item, target),
            trigger=trigger,
            state=RotationState.PLANNED,
            idempotency_key=key,
            created_at=now,
            updated_at=now,
            next_attempt_at=now,
        )
