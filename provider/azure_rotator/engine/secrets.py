"""Use cases of Rotated Secrets: create, update, rotate, delete, show, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import Conflict, NotFound
from azure_rotator.domain.kinds import KERBEROS_KEYS, STORAGE_SUFFIXES, storage_account
from azure_rotator.domain.model import (
    ItemState,
    RotatedSecret,
    Rotation,
    RotatorType,
    Stage,
    Target,
    Trigger,
    Version,
)
from azure_rotator.domain.names import canonical_path
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.arguments import Arguments
from azure_rotator.engine.changes import Changes
from azure_rotator.engine.context import Context
from azure_rotator.engine.creation import Creation
from azure_rotator.engine.foreground import Foreground, when_locked
from azure_rotator.engine.items import Items
from azure_rotator.engine.preflight import Preflight
from azure_rotator.engine.steps import removable
from azure_rotator.engine.views import Deletion, Field, RotationResult, SecretView, Value, iso


class Secrets:
    """The use cases; each returns a view and raises only ``RotatorError``."""

    def __init__(self, context: Context, foreground: Foreground) -> None:
        self._c = context
        self._foreground = foreground
        self._items = Items(context, foreground)
        preflight = Preflight(context)
        self._changes = Changes(
            context, foreground, self._items, preflight, rotate=lambda item_id: self.rotate(item_id=item_id)
        )
        self._creation = Creation(
            context,
            foreground,
            self._items,
            preflight,
            adjust=lambda item_id, values: self._changes.update(values, item_id=item_id),
        )

    def create(self, arguments: Arguments, *, owner: str = "") -> SecretView:
        """See ``Creation.create``."""
        return self._creation.create(arguments, owner=owner)

    def update(
        self,
        changes: Arguments,
        *,
        name: str | None = None,
        item_id: str | None = None,
        store_id: str | None = None,
        rotate: bool = False,
    ) -> SecretView:
        """See ``Changes.update``."""
        return self._changes.update(changes, name=name, item_id=item_id, store_id=store_id, rotate=rotate)

    def rotate(
        self, *, name: str | None = None, item_id: str | None = None, request_id: str | None = None
    ) -> RotationResult:
        """Rotate now, or attach to the rotation that runs; a parked one is resumed with the same operation.

        Raises:
            RotatorError: The stored current value is unchanged and valid.
        """
        item = self._items.find(name=name, item_id=item_id)
        target = self._c.target_of(item)
        before, started_at = self._c.uow.versions(item.item_id), self._c.clock.now()
        rotation = self._requested(item, target, request_id or self._c.new_id())
        if rotation.closed:  # the same request once failed for good, and is asked again
            rotation = self._requested(item, target, self._c.new_id())
        self._c.uow.hasten(rotation.rotation_id, self._c.clock.now())
        rotation = self._foreground.drive(rotation.rotation_id, resume=True)
        view = self._items.finished(item.item_id)
        return RotationResult(
            name=view.item.name,
            version=view.version,
            rotation_id=rotation.rotation_id,
            status=view.item.rotator_status.value if view.item.rotator_status else None,
            key_id=view.key_id,
            notes=_notes(before, view.versions, started_at),
        )

    def _requested(self, item: RotatedSecret, target: Target, request: str) -> Rotation:
        return self._c.uow.insert_rotation(
            self._items.new_rotation(item, target, Trigger.MANUAL, key=f"{item.item_id}/request/{request}")
        )

    def delete(
        self, *, name: str | None = None, item_id: str | None = None, store_id: str | None = None, force: bool = False
    ) -> Deletion:
        """Delete an item with every secret minted for it; an adopted one that was never rotated stays (features 3.10).

        Args:
            force: Drop the item although Azure refuses, and name the keyIds it leaves behind.

        Raises:
            Conflict: ``DeleteProtected``, ``ItemLocked``: nothing was changed.
            NotFound: ``ItemNotFound``; by id: gone already.
            RotatorError: Azure refused: the item stays.
        """
        item = self._items.find(name=name, item_id=item_id, store_id=store_id, deleting=True)
        _refuse_protected(item)
        begin = self._items.new_rotation(
            item, self._c.target_of(item), Trigger.DELETE, key=f"{item.item_id}/delete/{self._c.new_id()}"
        )
        operation = when_locked(self._c, lambda: self._begin_delete(item.item_id, begin))
        # Not before: a rotation may have been published while this waited, and from here on nothing is.
        versions = self._c.uow.versions(item.item_id)
        self._c.uow.hasten(operation.rotation_id, self._c.clock.now())
        self._foreground.drive(operation.rotation_id, force=force)
        removed = [v for v in versions if v.in_azure and removable(item, v)]
        left = [v.key_id for v in versions if v.stage is Stage.CURRENT and not removable(item, v)]
        orphaned = self._orphaned(item.name, operation)
        return Deletion(
            item_id=item.item_id,
            item_name=item.name,
            revoked=tuple(v.key_id for v in removed if v.key_id not in orphaned),
            left_in_azure=tuple(left),
            orphans=orphaned,
        )

    def _begin_delete(self, item_id: str, begin: Rotation) -> Rotation:
        item = self._c.uow.find_item(item_id=item_id)
        if item is None:
            raise NotFound("ItemNotFound", "the item was deleted by another process", details={"gone": True})
        _refuse_protected(item)  # again, on the row whose revision is named: it may have changed while we waited
        return self._c.uow.begin_delete(begin, revision=item.revision)

    def _orphaned(self, path: str, operation: Rotation) -> tuple[str, ...]:
        """What a forced delete left behind, from its own audit line."""
        lines = self._c.uow.audit_lines(path=path, action="delete_item", since=operation.created_at)
        for line in reversed(lines):
            orphans = line.details.get("orphans")
            if isinstance(orphans, list):
                return tuple(str(key_id) for key_id in orphans)
        return ()

    def describe(
        self, *, name: str | None = None, item_id: str | None = None, store_id: str | None = None
    ) -> SecretView:
        """Everything but the value; no Azure call, ``access_date`` unchanged."""
        return self._items.view(self._items.find(name=name, item_id=item_id, store_id=store_id, deleting=True))

    def list_all(self, *, path: str | None = None) -> list[SecretView]:
        """Items by path; with ``path`` those below that folder."""
        prefix = canonical_path(path).rstrip("/") + "/" if path and path != "/" else "/"
        shown = {ItemState.ACTIVE, ItemState.DELETING}
        return [
            self._items.view(item)
            for item in self._c.uow.list_items()
            if item.state in shown and item.name.startswith(prefix)
        ]

    def get_value(self, *, name: str | None = None, item_id: str | None = None, version: int | None = None) -> Value:
        """The stored value of the current version, or of another one by number; no Azure call.

        Raises:
            NotFound: ``ItemNotFound``, ``NoValueYet``, ``VersionNotFound`` (pending ones are never handed out).
        """
        item = self._items.find(name=name, item_id=item_id)
        versions = self._c.uow.versions(item.item_id)
        chosen = _version(item, versions, version)
        value = self._c.version_value(chosen)
        if value is None:
            raise no_value_yet(item)
        target = self._c.target_of(item)
        audit = self._c.audit("get_rotated_secret_value", item.name, version=chosen.number)
        self._c.uow.record_read(item.item_id, audit)
        return Value(
            name=item.name,
            item_id=item.item_id,
            version=chosen.number,
            stage=chosen.stage.value,
            rotator_type=item.rotator_type.value,
            secret=value,
            fields=_fields(item, target, chosen, value),
        )


def _refuse_protected(item: RotatedSecret) -> None:
    if item.delete_protection:
        raise Conflict(
            "DeleteProtected",
            f'"{item.name}" is protected against deletion',
            hint="set delete_protection to false first",
        )


def no_value_yet(item: RotatedSecret) -> NotFound:
    return NotFound(
        "NoValueYet",
        f'"{item.name}" has no value before its first rotation',
        hint=f"azure-rotator rotate-secret --name {item.name}",
    )


def _version(item: RotatedSecret, rows: Sequence[Version], number: int | None) -> Version:
    if number is None:
        current = machine.current_version(rows)
        if current is None or current.number == 0:
            raise no_value_yet(item)
        return current
    readable = {Stage.CURRENT, Stage.PREVIOUS, Stage.REVOKED}
    for version in rows:
        if version.number == number and number > 0 and version.stage in readable:
            return version
    raise NotFound(
        "VersionNotFound",
        f'"{item.name}" has no version {number}',
        hint="azure-rotator rotated-secret describe --show-versions lists them",
    )


def _fields(item: RotatedSecret, target: Target, version: Version, value: SecretText) -> Mapping[str, Field]:
    """The named form of a value (features 3.3)."""
    if item.rotator_type is RotatorType.PASSWORD:
        return {"username": item.username, "password": value}
    if item.rotator_type is RotatorType.STORAGE_ACCOUNT:
        account = storage_account(item, target).name
        return {
            "account_name": account,
            "key_name": version.key_id,
            "key": value,
            "connection_string": _connection_string(account, target.azure_cloud, version.key_id, value),
        }
    return {
        "tenant_id": target.tenant_id,
        "client_id": item.app_id,
        "client_secret": value,
        "key_id": version.key_id,
        "expires_at": iso(version.expires_at),
    }


def _connection_string(account: str, cloud: str, key_name: str, value: SecretText) -> SecretText | None:
    if key_name in KERBEROS_KEYS:
        return None  # it opens no data plane
    suffix = STORAGE_SUFFIXES[cloud]
    return value.derived(
        lambda key: f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey={key};EndpointSuffix={suffix}"
    )


def _notes(before: Sequence[Version], after: tuple[Version, ...], started_at: datetime) -> tuple[str, ...]:
    earlier = {v.key_id: v.retire_at for v in before if v.stage is Stage.PREVIOUS}
    cut_short = {key_id for key_id, retire_at in earlier.items() if retire_at is None or retire_at > started_at}
    notes = [
        f"secret {v.key_id} was retired early: at most two secrets of an item stay valid"
        for v in after
        if v.key_id in cut_short
    ]
    notes += [
        f"the previous secret {v.key_id} stays valid until {iso(v.retire_at)}"
        for v in after
        if v.stage is Stage.PREVIOUS and v.key_id not in earlier
    ]
    return tuple(notes)
