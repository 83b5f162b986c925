"""Use cases of Rotated Secrets: create, update, rotate, delete, show, read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import Conflict, NotFound, RotatorError, item_disabled
from azure_rotator.domain.instants import iso
from azure_rotator.domain.kinds import KERBEROS_KEYS, STORAGE_SUFFIXES, Retention, retention_of, storage_account
from azure_rotator.domain.model import (
    ItemState,
    RotatedSecret,
    Rotation,
    RotationState,
    RotatorType,
    Stage,
    Target,
    Trigger,
    Version,
)
from azure_rotator.domain.names import canonical_path
from azure_rotator.domain.ports import Subject
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.arguments import Arguments
from azure_rotator.engine.changes import Changes
from azure_rotator.engine.context import Context, explained
from azure_rotator.engine.creation import Creation
from azure_rotator.engine.folders import folder_path, lies_in, refuse_protected_folder
from azure_rotator.engine.foreground import Foreground, when_locked
from azure_rotator.engine.items import Items
from azure_rotator.engine.preflight import Preflight
from azure_rotator.engine.queries import Query, folders_above
from azure_rotator.engine.settings import rescheduled
from azure_rotator.engine.steps import removable, version_deleted
from azure_rotator.engine.views import (
    BulkDeletion,
    Deletion,
    Dependents,
    Field,
    Listing,
    RotationResult,
    SecretView,
    Value,
)


class Secrets:
    """The use cases; each returns a view and raises only ``RotatorError``."""

    def __init__(self, context: Context, foreground: Foreground) -> None:
        self._c = context
        self._foreground = foreground
        self._items = Items(context, foreground)
        preflight = self._preflight = Preflight(context)
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
        add_tags: Collection[str] = (),
        rm_tags: Collection[str] = (),
    ) -> SecretView:
        """See ``Changes.update``."""
        return self._changes.update(
            changes,
            name=name,
            item_id=item_id,
            store_id=store_id,
            rotate=rotate,
            add_tags=add_tags,
            rm_tags=rm_tags,
        )

    def set_state(self, *, name: str, enabled: bool) -> SecretView:
        """Switch an item off, or on again: then its next rotation counts from the last one, and may be due at once.

        Disabled it is neither read nor rotated. What was begun is finished: a previous secret is retired on its day.

        Raises:
            NotFound: ``ItemNotFound``.
            Conflict: ``ItemLocked``.
        """
        item = self._items.find(name=name)
        if item.enabled is enabled:
            return self._items.view(item)
        changed = replace(item, enabled=enabled, modified_at=self._c.clock.now(), revision=item.revision + 1)
        changed = rescheduled(item, changed, self._c.uow.versions(item.item_id), self._c.clock.now())
        state = "Enabled" if enabled else "Disabled"
        self._c.uow.update_item(changed, self._c.audit("set_item_state", item.name, state=state))
        return self._items.view(changed)

    def rotate(
        self,
        *,
        name: str | None = None,
        item_id: str | None = None,
        request_id: str | None = None,
        revoke_now: bool = False,
    ) -> RotationResult:
        """Rotate now, or attach to the rotation that runs; a parked one is resumed with the same operation.

        Args:
            revoke_now: Retire the replaced client secret at its publication, not after ``revoke_after``; where Azure
                allows two secrets in all, the one before it already before the mint.

        Raises:
            Conflict: ``ItemDisabled``.
            RotatorError: The stored current value is unchanged and valid.
        """
        item = self._items.find(name=name, item_id=item_id)
        _refuse_disabled(item)
        target = self._c.target_of(item)
        self._preflight.warn(item, target)
        before, started_at = self._c.uow.versions(item.item_id), self._c.clock.now()
        rotation = self._requested(item, target, request_id or self._c.new_id(), revoke_now=revoke_now)
        if rotation.closed:  # the same request once failed for good, and is asked again
            rotation = self._requested(item, target, self._c.new_id(), revoke_now=revoke_now)
        self._c.uow.hasten(rotation.rotation_id, self._c.clock.now())
        rotation = self._foreground.drive(rotation.rotation_id, resume=True)
        view = self._items.finished(item.item_id)
        return RotationResult(
            name=view.item.name,
            version=view.version,
            rotation_id=rotation.rotation_id,
            status=view.item.rotator_status.value if view.item.rotator_status else None,
            key_id=view.key_id,
            notes=_notes(before, view.versions, started_at, revoke_now=revoke_now),
        )

    def _requested(self, item: RotatedSecret, target: Target, request: str, *, revoke_now: bool) -> Rotation:
        rotation = self._items.new_rotation(item, target, Trigger.MANUAL, key=f"{item.item_id}/request/{request}")
        return self._c.uow.insert_rotation(replace(rotation, revoke_now=revoke_now))

    def dependents(self, *, name: str) -> Dependents:
        """Who may hold the present value: what a person looks at before it is retired at once.

        Raises:
            NotFound: ``ItemNotFound``.
        """
        item = self._items.find(name=name)
        reads = self._c.uow.audit_lines(path=item.name, action="get_rotated_secret_value")
        readers = {line.who: line.at for line in reads}  # oldest first: the last one stays
        beside: tuple[str, ...] = ()
        if item.rotator_type is RotatorType.TARGET:
            on_target = self._c.uow.list_items(target_id=item.target_id)
            beside = tuple(other.name for other in on_target if other.item_id != item.item_id)
        versions = [v for v in self._c.uow.versions(item.item_id) if v.stage in {Stage.CURRENT, Stage.PREVIOUS}]
        return Dependents(name=item.name, owner=item.owner, versions=tuple(versions), readers=readers, items=beside)

    def delete(
        self, *, name: str | None = None, item_id: str | None = None, store_id: str | None = None, force: bool = False
    ) -> Deletion:
        """Delete an item with every secret minted for it; an adopted one that was never rotated stays (features 3.10).

        Args:
            force: Drop the item although Azure refuses, and name the keyIds it leaves behind; or although a rotation
                holds the only valid value of a password or named key, and has not published it.

        Raises:
            Conflict: ``DeleteProtected``, ``ItemLocked``: nothing was changed.
            NotFound: ``ItemNotFound``; by id: gone already.
            RotatorError: Azure refused: the item stays.
        """
        item = self._items.find(name=name, item_id=item_id, store_id=store_id, deleting=True)
        self._refuse_protected(item)
        begin = self._items.new_rotation(
            item, self._c.keeper_of(item), Trigger.DELETE, key=f"{item.item_id}/delete/{self._c.new_id()}"
        )
        for rotation in self._only_copies(item):
            self._c.uow.hasten(rotation.rotation_id, self._c.clock.now())
        operation = when_locked(self._c, lambda: self._begin_delete(item.item_id, begin, force=force))
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

    def delete_version(self, number: int, *, name: str, force: bool = False) -> Deletion:
        """Forget one version that is not current; a credential of it that is still valid is retired first.

        Args:
            force: Forget it although Azure refuses, and name the keyId it leaves behind.

        Raises:
            Conflict: ``VersionIsCurrent``, ``DeleteProtected``, ``ItemLocked``: nothing was changed.
            NotFound: ``ItemNotFound``, ``VersionNotFound``.
            RotatorError: Azure refused: the version stays.
        """
        item = self._items.find(name=name)
        self._refuse_protected(item)
        version = _version(item, self._c.uow.versions(item.item_id), number)
        if version.stage is Stage.CURRENT:
            raise Conflict(
                "VersionIsCurrent",
                f'version {number} of "{item.name}" is the current one',
                hint="rotate first, or delete the whole item",
            )
        done = Deletion(item_id=item.item_id, item_name=item.name, version=number)
        if version.stage is Stage.REVOKED or not removable(item, version):
            self._c.uow.drop_version(version, version_deleted(self._c, item, version))
            return replace(done, left_in_azure=(version.key_id,) if version.in_azure else ())
        operation = self._c.uow.begin_version_delete(self._doom(item, version), revision=item.revision)
        self._c.uow.hasten(operation.rotation_id, self._c.clock.now())
        self._foreground.drive(operation.rotation_id, force=force)
        orphaned = self._orphaned(item.name, operation, action="delete_item_version")
        gone = tuple(key_id for key_id in (version.key_id,) if key_id not in orphaned)
        return replace(done, revoked=gone, orphans=orphaned)

    def _doom(self, item: RotatedSecret, version: Version) -> Rotation:
        """The operation that ends a version. It begins with its intent: there is nothing to plan."""
        key = f"{item.item_id}/delete-version/{self._c.new_id()}"
        operation = self._items.new_rotation(item, self._c.keeper_of(item), Trigger.DELETE_VERSION, key=key)
        return replace(operation, state=RotationState.RETIRING, replaced_version_id=version.version_id)

    def _only_copies(self, item: RotatedSecret) -> list[Rotation]:
        """Rotations that may have revoked the stored value: they are finished before their item goes."""
        if retention_of(item) is not Retention.REPLACED:
            return []
        made = {RotationState.MINTED, RotationState.PROVING}
        return [r for r in self._c.uow.open_rotations(item_id=item.item_id) if r.mint_uncertain or r.state in made]

    def _begin_delete(self, item_id: str, begin: Rotation, *, force: bool) -> Rotation:
        item = self._c.uow.find_item(item_id=item_id)
        if item is None:
            raise NotFound("ItemNotFound", "the item was deleted by another process", details={"gone": True})
        self._refuse_protected(item)  # again, on the row whose revision is named: it may have changed while we waited
        only_copy = not force and retention_of(item) is Retention.REPLACED
        if only_copy and (doubtful := self._only_copies(item)):
            for rotation in doubtful:
                self._foreground.run_quietly(rotation.rotation_id)
            item = self._c.uow.find_item(item_id=item_id) or item
        return self._c.uow.begin_delete(begin, revision=item.revision, keep_only_copy=only_copy)

    def _orphaned(self, path: str, operation: Rotation, *, action: str = "delete_item") -> tuple[str, ...]:
        """What a forced delete left behind, from its own audit line."""
        lines = self._c.uow.audit_lines(path=path, action=action, since=operation.created_at)
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

    def list_page(self, query: Query) -> Listing:
        """Items by path that fit every part of the query, and the folders they lie in, made ones included.

        Raises:
            Rejected: ``NameInvalid``, the path; ``ParameterInvalid``, the token.
        """
        shown = {ItemState.ACTIVE, ItemState.DELETING}
        fitting = [item for item in self._c.uow.list_items() if item.state in shown and query.fits_item(item)]
        items = [item for item in fitting if query.lies_here(item.name)]
        folders = {folder.name for folder in self._c.uow.list_folders() if query.fits_folder(folder)}
        folders |= {folder for item in fitting for folder in folders_above(item.name)}
        first, page, token = query.page(items)
        return Listing(
            items=tuple(self._items.view(item) for item in page),
            folders=tuple(sorted(f for f in folders if query.shows_folder(f))) if first else (),
            next_page=token,
        )

    def delete_many(self, *, names: Sequence[str] = (), path: str | None = None, force: bool = False) -> BulkDeletion:
        """Delete items, or a folder with everything in it. Every check passes before the first deletion.

        Raises:
            Conflict: ``DeleteProtected``: nothing was changed anywhere.
            NotFound: ``ItemNotFound``, alike.
            RotatorError: Azure would refuse one, alike; or did refuse it although it would not have: what was deleted
                before it is in the details.
        """
        root = folder_path(path) if path is not None else None
        items = [self._items.find(name=name, deleting=True) for name in dict.fromkeys(names)]
        folders = []
        if root is not None:
            items += [view.item for view in self.list_all(path=root) if view.item not in items]
            items += [i for i in (self._c.uow.find_item(name=root),) if i and i.state is ItemState.ACTIVE]
            folders = [folder for folder in self._c.uow.list_folders() if lies_in(folder.name, root)]
        if not items and not folders:
            raise NotFound("ItemNotFound", f'nothing lies in "{root}"', hint="azure-rotator list-items shows what is")
        for item in items:
            self._refuse_protected(item)
        for folder in folders:
            refuse_protected_folder(self._c, folder.name)
        if not force:
            for item in items:
                self._check_removal(item)
        done: list[Deletion] = []
        for item in items:
            try:
                done.append(self.delete(item_id=item.item_id, force=force))
            except RotatorError as refused:
                refused.details = {**refused.details, "deleted": [one.item_name for one in done], "failed": item.name}
                raise
        for folder in folders:
            self._c.uow.delete_folder(folder, self._c.audit("delete_folder", folder.name))
        return BulkDeletion(deletions=tuple(done), folders=tuple(folder.name for folder in folders))

    def _check_removal(self, item: RotatedSecret) -> None:
        """That whoever acts for the item may remove its credentials, by reads only. Raises: RotatorError, naming it."""
        doomed = [v.key_id for v in self._c.uow.versions(item.item_id) if v.in_azure and removable(item, v)]
        if not doomed:
            return
        target = self._c.target_of(item)
        try:
            acting = self._c.identity_for(item, target)
            subject = Subject(item=item, target=target, acting=acting, given=None)
            self._c.rotators[item.rotator_type].check_removal(subject, doomed)
        except RotatorError as refused:
            told = explained(refused, item, target)
            told.details = {**told.details, "deleted": [], "failed": item.name}
            raise told from None

    def get_value(
        self,
        *,
        name: str | None = None,
        item_id: str | None = None,
        version: int | None = None,
        rotate_on_read: bool = True,
    ) -> Value:
        """The stored value of the current version, or of another one by number.

        No Azure call, unless the item has ``rotate_on_read``: then the current version is replaced first. A version
        that is asked for by its number is read as it is.

        Args:
            rotate_on_read: False reads as if the item had it not: a preview changes nothing.

        Raises:
            Conflict: ``ItemDisabled``.
            NotFound: ``ItemNotFound``, ``NoValueYet``, ``VersionNotFound`` (pending ones are never handed out).
            RotatorError: The rotation failed; the stored value is unchanged.
        """
        item = self._items.find(name=name, item_id=item_id)
        _refuse_disabled(item)
        if item.rotate_on_read and rotate_on_read and version is None:
            self._rotate_for_a_read(item)
            item = self._items.find(item_id=item.item_id)
        versions = self._c.uow.versions(item.item_id)
        chosen = _version(item, versions, version)
        value = self._c.version_value(chosen)
        if value is None:
            raise no_value_yet(item)
        target = self._c.keeper_of(item)
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

    def _refuse_protected(self, item: RotatedSecret) -> None:
        if item.delete_protection:
            raise Conflict(
                "DeleteProtected",
                f'"{item.name}" is protected against deletion',
                hint="set delete_protection to false first",
            )
        refuse_protected_folder(self._c, item.name)

    def _rotate_for_a_read(self, item: RotatedSecret) -> None:
        """A rotation of this read's own: one that runs already was somebody else's, and is only waited for. A parked
        one runs for nobody; it is taken up."""
        limit_at = self._foreground.limit_at()
        key = f"{item.item_id}/read/{self._c.new_id()}"
        own = self._items.new_rotation(item, self._c.target_of(item), Trigger.READ, key=key)
        while True:
            found = self._c.uow.insert_rotation(own)
            self._c.uow.hasten(found.rotation_id, self._c.clock.now())
            self._foreground.drive(found.rotation_id, resume=True, limit_at=limit_at)
            if found.rotation_id == own.rotation_id or found.state is RotationState.FAILED:
                break
        self._foreground.finish_due(item_id=item.item_id)


def _refuse_disabled(item: RotatedSecret) -> None:
    if not item.enabled:
        raise item_disabled(item.name)


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


def _notes(
    before: Sequence[Version], after: tuple[Version, ...], started_at: datetime, *, revoke_now: bool
) -> tuple[str, ...]:
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
    if revoke_now:
        was_current = {v.key_id for v in before if v.stage is Stage.CURRENT}
        notes += [
            f"the replaced secret {v.key_id} was retired at once"
            for v in after
            if v.key_id in was_current and v.stage is Stage.REVOKED
        ]
    return tuple(notes)
