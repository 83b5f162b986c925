"""Creating an item with its first credential, minted or adopted (features 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from azure_rotator.domain.due import due_at
from azure_rotator.domain.errors import Conflict, RotatorError, rejection
from azure_rotator.domain.kinds import holdings
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
from azure_rotator.domain.parameters import CREDENTIAL_OF, SECRET_PARAMETERS, Kind, validate
from azure_rotator.domain.ports import Adoption, Failure
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.account import refuse_characters, refuse_interval
from azure_rotator.engine.arguments import Arguments, optional_text
from azure_rotator.engine.context import Context, digest, login_place
from azure_rotator.engine.foreground import Foreground
from azure_rotator.engine.items import Items
from azure_rotator.engine.preflight import Preflight, refuse_unfit
from azure_rotator.engine.settings import settings
from azure_rotator.engine.views import SecretView

Adjust = Callable[[str, Arguments], object]

_NOT_STORED = frozenset({row.name for row in SECRET_PARAMETERS if row.only == "pulumi" or row.kind is Kind.SECRET})
# What a repeated create of the same owner does not bring in line: it identifies the credential, or is one.
_IDENTITY = _NOT_STORED | {row.name for row in SECRET_PARAMETERS if row.immutable} | {"api_id"}


class Creation:
    """The use case.

    Args:
        adjust: Brings an existing item in line with the arguments of a repeated create.
    """

    def __init__(
        self, context: Context, foreground: Foreground, items: Items, preflight: Preflight, adjust: Adjust
    ) -> None:
        self._c = context
        self._foreground = foreground
        self._items = items
        self._preflight = preflight
        self._adjust = adjust

    def create(self, arguments: Arguments, *, owner: str = "") -> SecretView:
        """Store an item and mint or adopt its first credential (features 3.1).

        The same non-empty ``owner`` creating it again resumes it, or gets it back: a killed deploy is simply repeated.

        Raises:
            Rejected: Every failed rule at once; nothing was changed.
            RotatorError: Anything else; no item and no minted credential is left, or reconcile removes it.
        """
        taken = self._taken_over(arguments, owner)
        if taken is not None:
            return taken
        values, problems = validate("secret", arguments)
        if problems:
            raise rejection(problems)
        account = self._c.uow.account()
        values.setdefault("delete_protection", account.items_deletion_protection)
        target = self._items.target_named(str(values["target_name"]))
        kind = RotatorType(str(values["rotator_type"]))
        refuse_unfit(kind, target)
        given = self._preflight.given(kind, values)
        existing = self._c.uow.find_item(name=str(values["name"]))
        if existing is not None:
            mine = self._existing(existing, values, target, given, owner)
            if mine is not None:
                return self._items.finished(mine)
        refuse_interval(account, values.get("rotation_interval"))
        refuse_characters(account, str(values["name"]))
        item = self._new_item(values, target, given, owner)
        held = holdings(item, target)
        look = self._preflight.unchecked if item.skip_dry_run else self._preflight.check
        adoption = look(item, target, given)
        if not item.skip_dry_run:
            self._preflight.warn(item, target)
        if adoption is not None:
            item = replace(item, next_rotation_at=due_at(item, item.created_at, adoption.expires_at, first=True))
        rotation, version = self._first_operation(item, target, adoption, rotate=values.get("rotate_on_create") is True)
        audit = self._c.audit("create_item", item.name)
        if rotation.state is RotationState.DONE:
            item = replace(item, state=ItemState.ACTIVE)
        else:
            audit = replace(audit, action="begin_create_item")
        self._c.uow.insert_item(item, version, rotation, audit, holdings=held)
        if rotation.state is not RotationState.DONE:
            try:
                self._foreground.drive(rotation.rotation_id)
            except RotatorError as failed:
                self._foreground.undo_create(rotation.rotation_id, failed)
                raise
        self._c.uow.write_audit(self._c.audit("create_assoc_target_item", item.name, target=target.name))
        return self._items.finished(item.item_id)

    def _taken_over(self, arguments: Arguments, owner: str) -> SecretView | None:
        """With ``adopt`` the item of that name belongs to this owner from now on, without its secret (features 4).

        Returns: None when there is nothing to take over: then it is created.

        Raises:
            Conflict: ``NameConflict``, another program's item, or one of another type, Target or credential.
        """
        if arguments.get("adopt") is not True or not owner:
            return None
        values, problems = validate("secret", arguments, unknown={"api_id", *CREDENTIAL_OF.values()})
        if problems:
            raise rejection(problems)
        existing = self._c.uow.find_item(name=str(values["name"]))
        if existing is None or (existing.owner == owner and existing.state is not ItemState.ACTIVE):
            return None
        target = self._items.target_named(str(values["target_name"]))
        same = self._same_credential(replace(existing, api_id=None), values, target)
        foreign = existing.owner not in {"", owner}
        if foreign or existing.state is not ItemState.ACTIVE or not same:
            whose = (
                f"belongs to {existing.owner}"
                if existing.owner not in {"", owner}
                else "is of another type, Target or credential"
            )
            raise Conflict(
                "NameConflict",
                f'the item "{existing.name}" {whose}: it is not taken over',
                hint="describe-item shows what it is",
            )
        mine = replace(existing, owner=owner, revision=existing.revision + 1, modified_at=self._c.clock.now())
        if existing.owner != owner:  # else a killed deploy is repeated
            self._c.uow.update_item(mine, self._c.audit("adopt_item", mine.name, owner=owner))
        # What the program does not say stays as it is.
        said = {name: value for name, value in values.items() if arguments.get(name) is not None}
        self._adjust(mine.item_id, {name: value for name, value in said.items() if name not in _IDENTITY})
        return self._items.finished(mine.item_id)

    def _new_item(self, values: Arguments, target: Target, given: SecretText | None, owner: str) -> RotatedSecret:
        now = self._c.clock.now()
        item_id = self._c.new_id()
        chosen = settings(values)
        kind = RotatorType(str(values["rotator_type"]))
        # With use-user-creds and a secret of its own to come the given one is only the first login.
        mints = kind is RotatorType.API_KEY and values.get("api_id") is None
        first_login = given if mints and chosen["authentication"] is AuthMode.USER else None
        item = RotatedSecret(
            item_id=item_id,
            owner=owner,
            state=ItemState.CREATING,
            target_id=target.target_id,
            rotator_type=kind,
            app_id=_application(kind, values, target),
            api_id=optional_text(values.get("api_id")),
            username=optional_text(values.get("username")),
            storage_key_name=optional_text(values.get("storage_account_key_name")),
            resource_group_name=optional_text(values.get("resource_group_name")),
            resource_name=optional_text(values.get("resource_name")),
            created_at=now,
            modified_at=now,
            sealed_login=self._c.sealer.seal(first_login, login_place(item_id)) if first_login else None,
            arguments_digest=_arguments_digest(values, target),
            **chosen,
        )
        return replace(item, next_rotation_at=due_at(item, now, None, first=True))

    def _first_operation(
        self, item: RotatedSecret, target: Target, adoption: Adoption | None, *, rotate: bool
    ) -> tuple[Rotation, Version | None]:
        """The journal's first row of an item. Adopting writes nothing to Azure: the row is ``done`` from the start,
        unless the adopted credential is to be rotated at once."""
        rotation = self._items.new_rotation(item, target, Trigger.CREATE, key=f"{item.item_id}/create")
        if adoption is None:
            return rotation, None
        version_id = self._c.new_id()
        number = 1 if adoption.value else 0
        version = Version(
            version_id=version_id,
            item_id=item.item_id,
            number=number,
            stage=Stage.CURRENT,
            origin=Origin.ADOPTED,
            key_id=adoption.key_id,
            sealed_value=self._c.sealed_value(version_id, number, adoption.value) if adoption.value else None,
            rotation_id=rotation.rotation_id,
            created_at=item.created_at,
            expires_at=adoption.expires_at,
        )
        return rotation if rotate else replace(rotation, state=RotationState.DONE), version

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
            self._adjust(existing.item_id, {k: v for k, v in values.items() if k not in _IDENTITY})
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
            and existing.app_id == _application(existing.rotator_type, values, target)
            and existing.api_id == values.get("api_id")
            and existing.username == values.get("username")
            and existing.storage_key_name == values.get("storage_account_key_name")
            and existing.resource_group_name == values.get("resource_group_name")
            and existing.resource_name == values.get("resource_name")
        )


def _application(kind: RotatorType, values: Arguments, target: Target) -> str:
    """The application whose client secret rotates; empty for other kinds."""
    if kind is RotatorType.TARGET:
        return target.client_id or ""
    return optional_text(values.get("app_id")) or ""


def _arguments_digest(values: Arguments, target: Target) -> str:
    kept = {name: value for name, value in values.items() if name not in _NOT_STORED}
    return digest({**kept, "target_id": target.target_id})
