"""What every use case of items needs: find one, view one, begin an operation on one."""

from __future__ import annotations

from azure_rotator.domain.errors import Conflict, NotFound
from azure_rotator.domain.kinds import lane
from azure_rotator.domain.model import ItemState, RotatedSecret, Rotation, RotationState, Target, Trigger
from azure_rotator.domain.names import canonical_path
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
        return SecretView(
            item=item,
            target_name=target.name if target else "",
            versions=tuple(self._c.uow.versions(item.item_id)),
            store_id=self._c.uow.store_id(),
            next_attempt_at=min(pending, default=None),
        )

    def target_named(self, path: str) -> Target:
        target = self._c.uow.find_target(name=path)
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
