"""Use cases of Rotated Secrets: create, update, delete, show, read, rotate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import Conflict, Forbidden, NotFound, Problem, Rejected, RotatorError, rejection
from azure_rotator.domain.model import (
    AuthMode,
    ItemState,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    RotatorType,
    Stage,
    Target,
    Trigger,
    Version,
)
from azure_rotator.domain.names import canonical_path, is_guid
from azure_rotator.domain.parameters import SECRET_PARAMETERS, Kind, validate
from azure_rotator.domain.ports import Application, Failure, Identity, PasswordCredential
from azure_rotator.domain.schedule import next_rotation_at
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import (
    Context,
    digest,
    explained,
    login_place,
    refuse_cloud_identity_without_tenant,
)
from azure_rotator.engine.foreground import Foreground, when_locked
from azure_rotator.engine.targets import (
    ALL_APPLICATIONS,
    OWNED_APPLICATIONS,
    expect_store,
    target_not_found,
    unknown_to_this_store,
)
from azure_rotator.engine.views import Deletion, RotationResult, SecretView, Value, iso

Arguments = Mapping[str, object]

_NOT_STORED = frozenset({row.name for row in SECRET_PARAMETERS if row.only == "pulumi" or row.kind is Kind.SECRET})
_IMMUTABLE = tuple(row.name for row in SECRET_PARAMETERS if row.immutable)


@dataclass(frozen=True, slots=True, kw_only=True)
class _GivenCredential:
    """The credential that an update's ``api_key`` is the value of."""

    key_id: str
    expires_at: datetime | None


class Secrets:
    """The use cases; each returns a view and raises only ``RotatorError``."""

    def __init__(self, context: Context, foreground: Foreground) -> None:
        self._c = context
        self._foreground = foreground

    # --- create ---------------------------------------------------------------------------------------------------

    def create(self, arguments: Arguments, *, owner: str = "") -> SecretView:
        """Store an item and mint or adopt its first credential (features 3.1).

        The same non-empty ``owner`` creating it again resumes it, or gets it back: a killed deploy is simply repeated.

        Raises:
            Rejected: Every failed rule at once; nothing was changed.
            RotatorError: Anything else; no item and no minted credential is left, or reconcile removes it.
        """
        values, problems = validate("secret", arguments)
        if problems:
            raise rejection(problems)
        target = self._named_target(str(values["target_name"]))
        refuse_cloud_identity_without_tenant(target)
        given = self._given(values)
        existing = self._c.uow.find_item(name=str(values["name"]))
        if existing is not None:
            mine = self._existing(existing, values, target, given, owner)
            if mine is not None:
                return self._done(mine)
        item = self._new_item(values, target, given, owner)
        listed = None if item.skip_dry_run else self._dry_run(item, target, given)
        rotation, version = self._first_operation(item, target, given, listed)
        audit = self._c.audit("create_item", item.name)
        if rotation.state is RotationState.DONE:
            item = replace(item, state=ItemState.ACTIVE)
        else:
            audit = replace(audit, action="begin_create_item")
        self._c.uow.insert_item(item, version, rotation, audit)
        if rotation.state is not RotationState.DONE:
            self._foreground.drive(rotation.rotation_id)
        return self._done(item.item_id)

    def _given(self, values: Arguments) -> SecretText | None:
        argument = values.get("api_key")
        if argument is None:
            return None
        secret = self._c.given_secret(str(argument))
        if is_guid(secret.reveal()):
            raise Rejected(
                "IdentifierMixedUp",
                "api_key is a GUID: it looks like the secret's id, not its value",
                hint="api-key is the secret's value, api-id its keyId",
            )
        return secret

    def _new_item(self, values: Arguments, target: Target, given: SecretText | None, owner: str) -> RotatedSecret:
        now = self._c.clock.now()
        item_id = self._c.new_id()
        interval = values.get("rotation_interval")
        auto_rotate = bool(values["auto_rotate"])
        days = int(str(interval)) if interval is not None else None
        mode = AuthMode(str(values["authentication_credentials"]))
        first_login = given if mode is AuthMode.USER and values.get("api_id") is None else None
        return RotatedSecret(
            item_id=item_id,
            name=str(values["name"]),
            owner=owner,
            state=ItemState.CREATING,
            target_id=target.target_id,
            rotator_type=RotatorType(str(values["rotator_type"])),
            authentication=mode,
            app_id=str(values["app_id"]),
            api_id=_optional(values.get("api_id")),
            auto_rotate=auto_rotate,
            rotation_interval=days,
            revoke_after=_optional(values.get("revoke_after")),
            description=str(values["description"]),
            tags=_tags(values),
            delete_protection=bool(values["delete_protection"]),
            skip_dry_run=bool(values["skip_dry_run"]),
            created_at=now,
            modified_at=now,
            next_rotation_at=next_rotation_at(auto_rotate=auto_rotate, interval_days=days, last_at=now),
            sealed_login=self._c.sealer.seal(first_login, login_place(item_id)) if first_login else None,
            arguments_digest=_arguments_digest(values, target),
        )

    def _first_operation(
        self,
        item: RotatedSecret,
        target: Target,
        given: SecretText | None,
        listed: PasswordCredential | None,
    ) -> tuple[Rotation, Version | None]:
        """The journal's first row of an item. Adopting writes nothing to Azure: the row is ``done`` from the start."""
        rotation = self._new_rotation(item, target, Trigger.CREATE, key=f"{item.item_id}/create")
        if item.api_id is None:
            return rotation, None
        version_id = self._c.new_id()
        number = 1 if given else 0
        version = Version(
            version_id=version_id,
            item_id=item.item_id,
            number=number,
            stage=Stage.CURRENT,
            origin=Origin.ADOPTED,
            key_id=item.api_id,
            sealed_value=self._c.sealed_value(version_id, number, given) if given else None,
            rotation_id=rotation.rotation_id,
            created_at=item.created_at,
            expires_at=listed.end_at if listed else None,
        )
        return replace(rotation, state=RotationState.DONE), version

    def _existing(
        self, existing: RotatedSecret, values: Arguments, target: Target, given: SecretText | None, owner: str
    ) -> str | None:
        """What a create does about an item of that name: the id of the item to answer with, or None to go on.

        Raises:
            Conflict: ``NameConflict``.
        """
        taken = Conflict("NameConflict", f'there is an item "{existing.name}" already', hint="choose another name")
        same_owner = bool(owner) and existing.owner == owner
        if existing.state is ItemState.CREATING and (same_owner or not existing.owner):
            operation = next(iter(self._c.uow.open_rotations(item_id=existing.item_id)), None)
            if operation is None:
                raise taken
            if same_owner and self._same_request(existing, values, target, given):
                self._foreground.drive(operation.rotation_id)
                return existing.item_id
            replaced = Failure(code="NameConflict", text="another create of the same name replaced it")
            if not self._foreground.give_up(operation, replaced):
                raise taken
            return None
        if existing.state is ItemState.ACTIVE and same_owner and self._same_credential(existing, values, target):
            self.update(
                {k: v for k, v in values.items() if k not in _NOT_STORED and k not in _IMMUTABLE and k != "api_id"},
                item_id=existing.item_id,
            )
            return existing.item_id
        raise taken

    def _same_request(
        self, existing: RotatedSecret, values: Arguments, target: Target, given: SecretText | None
    ) -> bool:
        if existing.arguments_digest != _arguments_digest(values, target):
            return False
        if existing.sealed_login is None or given is None:
            return True
        return self._c.sealer.open(existing.sealed_login, login_place(existing.item_id)) == given

    @staticmethod
    def _same_credential(existing: RotatedSecret, values: Arguments, target: Target) -> bool:
        return (
            existing.target_id == target.target_id
            and existing.rotator_type == values["rotator_type"]
            and existing.app_id == values["app_id"]
            and existing.api_id == values.get("api_id")
        )

    # --- the dry run ----------------------------------------------------------------------------------------------

    def _dry_run(self, item: RotatedSecret, target: Target, given: SecretText | None) -> PasswordCredential | None:
        """Reads only: login, grants, ownership, the application, the adopted keyId and its value.

        Returns:
            The credential to adopt as Entra lists it, if there is one to adopt.

        Raises:
            Forbidden, NotFound, Rejected, Unavailable: Nothing was changed.
        """
        if item.authentication is AuthMode.TARGET or given is None:
            acting = self._c.acting_identity(item, target, self._c.uow.versions(item.item_id))
        else:
            acting = self._c.item_identity(item, target, given)
        try:
            application = self._may_rotate(item, acting)
        except RotatorError as refused:
            raise explained(refused, item) from None
        return None if item.api_id is None else self._adoptable(item, target, application, item.api_id, given)

    def _may_rotate(self, item: RotatedSecret, acting: Identity) -> Application:
        grants = self._c.login.grants(acting)
        if not grants.roles & (ALL_APPLICATIONS | {OWNED_APPLICATIONS}):
            raise Forbidden(
                "AzurePermissionMissing",
                f"{acting.label} has neither {OWNED_APPLICATIONS} nor Application.ReadWrite.All",
                hint=f"grant {OWNED_APPLICATIONS} and make its service principal an owner of application {item.app_id}",
            )
        application = self._c.directory.get_application(acting, item.app_id)
        if grants.roles & ALL_APPLICATIONS:
            return application
        if grants.principal_id not in self._c.directory.owner_ids(acting, application.object_id):
            raise Forbidden(
                "AzurePermissionMissing",
                f"{acting.label} is not an owner of application {item.app_id}, which {OWNED_APPLICATIONS} needs",
                hint=f"make service principal {grants.principal_id} an owner of it, or grant Application.ReadWrite.All",
            )
        return application

    def _adoptable(
        self, item: RotatedSecret, target: Target, application: Application, key_id: str, given: SecretText | None
    ) -> PasswordCredential:
        listed = next((p for p in application.passwords if p.key_id.lower() == key_id), None)
        if listed is None:
            raise NotFound(
                "CredentialNotFound",
                f"application {item.app_id} has no client secret with keyId {key_id}",
                hint="api-id is the secret's keyId (Secret ID in the portal); leave it out to have one minted",
            )
        if given is None:
            return listed
        if listed.hint and not given.reveal().startswith(listed.hint):
            raise Rejected(
                "IdentifierMixedUp",
                f"api_key is not the value of keyId {key_id}: its beginning differs from Entra's hint",
                hint="give the value that belongs to this api-id",
            )
        self._c.login.prove(self._c.item_identity(item, target, given))
        return listed

    # --- update ---------------------------------------------------------------------------------------------------

    def update(
        self,
        changes: Arguments,
        *,
        name: str | None = None,
        item_id: str | None = None,
        store_id: str | None = None,
        rotate: bool = False,
    ) -> SecretView:
        """Change what is given; None resets to the default; credentials change only when given.

        ``api_key`` alone corrects the value of the present keyId; ``api_id`` with ``api_key`` adopts another secret of
        the same application: proven, published as a new version, the replaced one retired as after a rotation.

        Args:
            rotate: Rotate once, after the change.
        """
        item = self._find(name=name, item_id=item_id, store_id=store_id)
        view = self._view(item)
        current_arguments = view.arguments()
        self._refuse_immutable(current_arguments, changes)
        merged = {**current_arguments, **changes}
        no_credential = {"api_id", "api_key"} - {k for k in ("api_id", "api_key") if changes.get(k) is not None}
        values, problems = validate("secret", {k: v for k, v in merged.items() if v is not None}, unknown=no_credential)
        if problems:
            raise rejection(problems)
        target = self._c.target_of(item)
        given = self._given(values)
        changed = self._changed_item(item, values)
        credential = None if given is None else self._checked_credential(changed, target, values, given)
        if changed != item:
            changed = replace(changed, revision=item.revision + 1, modified_at=self._c.clock.now())
            self._c.uow.update_item(changed, self._c.audit("update_item", changed.name))
        if credential is not None and given is not None:
            self._change_credential(changed, target, credential, given)
        if rotate:
            self.rotate(item_id=item.item_id)
        return self._done(item.item_id)

    @staticmethod
    def _refuse_immutable(present: Arguments, changes: Arguments) -> None:
        problems = [
            Problem(
                property=name,
                code="ParameterImmutable",
                message=f"{name} identifies the credential and cannot change",
                hint="create another item",
            )
            for name in _IMMUTABLE
            if name in changes and not _same(present.get(name), changes[name])
        ]
        if problems:
            raise rejection(problems)

    @staticmethod
    def _changed_item(item: RotatedSecret, values: Arguments) -> RotatedSecret:
        interval = values.get("rotation_interval")
        days = int(str(interval)) if interval is not None else None
        auto_rotate = bool(values["auto_rotate"])
        return replace(
            item,
            name=str(values["name"]),
            authentication=AuthMode(str(values["authentication_credentials"])),
            auto_rotate=auto_rotate,
            rotation_interval=days,
            revoke_after=_optional(values.get("revoke_after")),
            description=str(values["description"]),
            tags=_tags(values),
            delete_protection=bool(values["delete_protection"]),
            skip_dry_run=bool(values["skip_dry_run"]),
            next_rotation_at=next_rotation_at(
                auto_rotate=auto_rotate, interval_days=days, last_at=item.last_rotation_at or item.created_at
            ),
        )

    def _checked_credential(
        self, item: RotatedSecret, target: Target, values: Arguments, given: SecretText
    ) -> _GivenCredential | None:
        """The credential that an update names, checked against Azure before anything is changed."""
        current = machine.current_version(self._c.uow.versions(item.item_id))
        key_id = _optional(values.get("api_id")) or (current.key_id.lower() if current else None)
        if key_id is None:
            return None
        if item.skip_dry_run:
            return _GivenCredential(key_id=key_id, expires_at=None)
        acting = (
            self._c.target_identity(target)
            if item.authentication is AuthMode.TARGET
            else self._c.item_identity(item, target, given)
        )
        application = self._c.directory.get_application(acting, item.app_id)
        listed = self._adoptable(item, target, application, key_id, given)
        return _GivenCredential(key_id=key_id, expires_at=listed.end_at)

    def _change_credential(
        self, item: RotatedSecret, target: Target, credential: _GivenCredential, given: SecretText
    ) -> None:
        key_id = credential.key_id
        current = machine.current_version(self._c.uow.versions(item.item_id))
        if current is not None and key_id == current.key_id.lower():
            number = max(current.number, 1)
            corrected = replace(
                current, number=number, sealed_value=self._c.sealed_value(current.version_id, number, given)
            )
            fresh = replace(item, revision=item.revision + 1, modified_at=self._c.clock.now())
            self._c.uow.correct_value(fresh, corrected, self._c.audit("update_item", item.name, key_id=key_id))
            return
        rotation = self._new_rotation(item, target, Trigger.UPDATE, key=f"{item.item_id}/adopt/{self._c.new_id()}")
        version_id = self._c.new_id()
        number = machine.next_number(self._c.uow.versions(item.item_id))
        version = Version(
            version_id=version_id,
            item_id=item.item_id,
            number=number,
            stage=Stage.PENDING,
            origin=Origin.ADOPTED,
            key_id=key_id,
            sealed_value=self._c.sealed_value(version_id, number, given),
            rotation_id=rotation.rotation_id,
            created_at=self._c.clock.now(),
            expires_at=credential.expires_at,
        )
        rotation = replace(
            rotation,
            state=RotationState.MINTED,
            proof_deadline_at=rotation.created_at + self._c.limits.proof_deadline,
        )
        self._c.uow.insert_adoption(rotation, version)
        self._foreground.drive(rotation.rotation_id)

    # --- rotate ---------------------------------------------------------------------------------------------------

    def rotate(
        self, *, name: str | None = None, item_id: str | None = None, request_id: str | None = None
    ) -> RotationResult:
        """Rotate now, or attach to the rotation that runs; a parked one is resumed with the same operation.

        Raises:
            RotatorError: The stored current value is unchanged and valid.
        """
        item = self._find(name=name, item_id=item_id)
        target = self._c.target_of(item)
        before = self._c.uow.versions(item.item_id)
        request = request_id or self._c.new_id()
        rotation = self._c.uow.insert_rotation(
            self._new_rotation(item, target, Trigger.MANUAL, key=f"{item.item_id}/request/{request}")
        )
        rotation = self._foreground.drive(rotation.rotation_id, resume=True)
        view = self._done(item.item_id)
        return RotationResult(
            name=view.item.name,
            version=view.version,
            rotation_id=rotation.rotation_id,
            status=view.item.rotator_status.value if view.item.rotator_status else None,
            key_id=view.key_id,
            notes=_notes(before, view.versions),
        )

    # --- delete ---------------------------------------------------------------------------------------------------

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
        item = self._find(name=name, item_id=item_id, store_id=store_id, deleting=True)
        if item.delete_protection:
            raise Conflict(
                "DeleteProtected",
                f'"{item.name}" is protected against deletion',
                hint="set delete_protection to false first",
            )
        versions = self._c.uow.versions(item.item_id)
        target = self._c.uow.find_target(target_id=item.target_id)
        lane = self._c.lane(target, item.app_id) if target else f"application:?:{item.app_id}"
        begin = replace(
            self._new_rotation(item, None, Trigger.DELETE, key=f"{item.item_id}/delete/{self._c.new_id()}"), lane=lane
        )
        operation = when_locked(self._c, lambda: self._begin_delete(item.item_id, begin))
        self._foreground.drive(operation.rotation_id, force=force)
        ours = [v for v in versions if v.in_azure and (v.origin is Origin.MINTED or v.stage is Stage.PREVIOUS)]
        left = [v.key_id for v in versions if v.origin is Origin.ADOPTED and v.stage is Stage.CURRENT]
        orphaned = self._orphaned(item.name, operation)
        return Deletion(
            item_id=item.item_id,
            item_name=item.name,
            revoked=tuple(v.key_id for v in ours if v.key_id not in orphaned),
            left_in_azure=tuple(left),
            orphans=orphaned,
        )

    def _begin_delete(self, item_id: str, begin: Rotation) -> Rotation:
        item = self._c.uow.find_item(item_id=item_id)
        if item is None:
            raise NotFound("ItemNotFound", "the item was deleted by another process", details={"gone": True})
        return self._c.uow.begin_delete(begin, revision=item.revision)

    def _orphaned(self, path: str, operation: Rotation) -> tuple[str, ...]:
        """What a forced delete left behind, from its own audit line."""
        lines = self._c.uow.audit_lines(path=path, action="delete_item", since=operation.created_at)
        for line in reversed(lines):
            orphans = line.details.get("orphans")
            if isinstance(orphans, list):
                return tuple(str(key_id) for key_id in orphans)
        return ()

    # --- read -----------------------------------------------------------------------------------------------------

    def describe(
        self, *, name: str | None = None, item_id: str | None = None, store_id: str | None = None
    ) -> SecretView:
        """Everything but the value; no Azure call, ``access_date`` unchanged."""
        return self._view(self._find(name=name, item_id=item_id, store_id=store_id, deleting=True))

    def list_all(self, *, path: str | None = None) -> list[SecretView]:
        """Items by path; with ``path`` those below that folder."""
        prefix = canonical_path(path).rstrip("/") + "/" if path and path != "/" else "/"
        shown = {ItemState.ACTIVE, ItemState.DELETING}
        return [
            self._view(item)
            for item in self._c.uow.list_items()
            if item.state in shown and item.name.startswith(prefix)
        ]

    def get_value(self, *, name: str | None = None, item_id: str | None = None, version: int | None = None) -> Value:
        """The stored value of the current version, or of another one by number; no Azure call.

        Raises:
            NotFound: ``ItemNotFound``, ``NoValueYet``, ``VersionNotFound`` (pending ones are never handed out).
        """
        item = self._find(name=name, item_id=item_id)
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
            tenant_id=target.tenant_id,
            client_id=item.app_id,
            client_secret=value,
            key_id=chosen.key_id,
            expires_at=iso(chosen.expires_at),
        )

    # --- private --------------------------------------------------------------------------------------------------

    def _done(self, item_id: str) -> SecretView:
        """The view a writing command ends with; what is due by now is finished on the way."""
        self._foreground.finish_due()
        item = self._c.uow.find_item(item_id=item_id)
        if item is None:
            raise NotFound("ItemNotFound", "the item was deleted by another process", details={"gone": True})
        return self._view(item)

    def _view(self, item: RotatedSecret) -> SecretView:
        target = self._c.uow.find_target(target_id=item.target_id)
        pending = [r.next_attempt_at for r in self._c.uow.open_rotations(item_id=item.item_id)]
        return SecretView(
            item=item,
            target_name=target.name if target else "",
            versions=tuple(self._c.uow.versions(item.item_id)),
            store_id=self._c.uow.store_id(),
            next_attempt_at=min(pending, default=None),
        )

    def _named_target(self, path: str) -> Target:
        target = self._c.uow.find_target(name=path)
        if target is None:
            raise target_not_found(path)
        return target

    def _find(
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

    def _new_rotation(self, item: RotatedSecret, target: Target | None, trigger: Trigger, *, key: str) -> Rotation:
        now = self._c.clock.now()
        return Rotation(
            rotation_id=self._c.new_id(),
            item_id=item.item_id,
            lane=self._c.lane(target, item.app_id) if target else "",
            trigger=trigger,
            state=RotationState.PLANNED,
            idempotency_key=key,
            created_at=now,
            updated_at=now,
            next_attempt_at=now,
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


def _notes(before: Sequence[Version], after: tuple[Version, ...]) -> tuple[str, ...]:
    earlier = {v.key_id for v in before if v.stage is Stage.PREVIOUS}
    notes = [
        f"secret {v.key_id} was retired early: at most two secrets of an item stay valid"
        for v in after
        if v.key_id in earlier
    ]
    notes += [
        f"the previous secret {v.key_id} stays valid until {iso(v.retire_at)}"
        for v in after
        if v.stage is Stage.PREVIOUS and v.key_id not in earlier
    ]
    return tuple(notes)


def _arguments_digest(values: Arguments, target: Target) -> str:
    kept = {name: value for name, value in values.items() if name not in _NOT_STORED}
    return digest({**kept, "target_id": target.target_id})


def _tags(values: Arguments) -> tuple[str, ...]:
    tags = values.get("tags")
    return tuple(str(tag) for tag in tags) if isinstance(tags, list | tuple) else ()


def _same(present: object, asked: object) -> bool:
    """GUIDs compare without case, paths with or without their leading slash."""
    return str(present).lower().lstrip("/") == str(asked).lower().lstrip("/")


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
