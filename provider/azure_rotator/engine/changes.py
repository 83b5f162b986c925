"""Changing an item: settings, the value of its present credential, or another credential adopted (features 2.3)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import Conflict, Problem, rejection
from azure_rotator.domain.kinds import holdings
from azure_rotator.domain.model import (
    GraceTiming,
    RotatedSecret,
    RotatorType,
    Stage,
    Target,
    Trigger,
)
from azure_rotator.domain.parameters import CREDENTIAL_OF, SECRET_PARAMETERS, applies, validate
from azure_rotator.domain.ports import Adoption
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.account import refuse_characters, refuse_interval
from azure_rotator.engine.arguments import Arguments, optional_text, tags
from azure_rotator.engine.context import Context
from azure_rotator.engine.folders import retagged
from azure_rotator.engine.foreground import Foreground
from azure_rotator.engine.items import Items
from azure_rotator.engine.preflight import Preflight
from azure_rotator.engine.settings import rescheduled, settings
from azure_rotator.engine.views import SecretView

_IMMUTABLE = tuple(row.name for row in SECRET_PARAMETERS if row.immutable)


@dataclass(frozen=True, slots=True, kw_only=True)
class _GivenCredential:
    """The credential that an update's ``api_key`` is the value of.

    Args:
        api_id: What the item remembers as named by its user: ``key_id`` if this update names it, else what it was.
    """

    key_id: str
    expires_at: datetime | None
    api_id: str | None


class Changes:
    """The use case.

    Args:
        rotate: Rotates the item of that id once.
    """

    def __init__(
        self,
        context: Context,
        foreground: Foreground,
        items: Items,
        preflight: Preflight,
        rotate: Callable[[str], object],
    ) -> None:
        self._c = context
        self._foreground = foreground
        self._items = items
        self._preflight = preflight
        self._rotate = rotate

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
        """Change what is given; None resets to the default; credentials change only when given.

        ``api_key`` alone corrects the value of the present keyId; ``api_id`` with ``api_key`` adopts another secret of
        the same application: proven, published as a new version, the replaced one retired as after a rotation.

        Args:
            rotate: Rotate once, after the change.
            add_tags: Tags to add to those that it has, or gets by ``changes``.
            rm_tags: Tags to take away from them.
        """
        item = self._items.find(name=name, item_id=item_id, store_id=store_id)
        view = self._items.view(item)
        current_arguments = view.arguments()
        self._refuse_immutable(item.rotator_type, current_arguments, changes)
        merged = {**current_arguments, **changes}
        named = {"api_id", *CREDENTIAL_OF.values()}
        no_credential = named - {name for name in named if changes.get(name) is not None}
        values, problems = validate("secret", {k: v for k, v in merged.items() if v is not None}, unknown=no_credential)
        if problems:
            raise rejection(problems)
        self._apply_account(item, values, changes)
        values["tags"] = retagged(tags(values), add=add_tags, remove=rm_tags)
        target = self._c.target_of(item)
        given = self._preflight.given(item.rotator_type, values)
        if given is None and changes.get("api_id") is not None:
            self._refuse_adoption_without_value(view, values["api_id"])
        changed = rescheduled(item, replace(item, **settings(values)), view.versions, self._c.clock.now())
        credential = None if given is None else self._checked_credential(changed, target, values, given)
        if changed != item:
            changed = replace(changed, revision=item.revision + 1, modified_at=self._c.clock.now())
            self._c.uow.update_item(
                changed,
                self._c.audit("update_item", changed.name),
                holdings=holdings(changed, target),
                take_up=changed.authentication is not item.authentication,
            )
        if credential is not None and given is not None:
            self._change_credential(changed, target, credential, given)
        if _other_timing(item, changed) and changed.enabled:
            self._mint_afresh(changed, target)
        if rotate:
            self._rotate(item.item_id)
        return self._items.finished(item.item_id)

    def _apply_account(self, item: RotatedSecret, values: dict[str, object], changes: Arguments) -> None:
        """The account's defaults for what is reset, and its bounds for what is new. Raises: Rejected."""
        account = self._c.uow.account()
        values.setdefault("delete_protection", account.items_deletion_protection)
        if changes.get("rotation_interval") is not None and values.get("rotation_interval") != item.rotation_interval:
            refuse_interval(account, values.get("rotation_interval"))
        if values["name"] != item.name:
            refuse_characters(account, str(values["name"]))

    @staticmethod
    def _refuse_immutable(kind: RotatorType, present: Arguments, changes: Arguments) -> None:
        problems = [
            Problem(
                property=name,
                code="ParameterImmutable",
                message=f"{name} identifies the credential and cannot change",
                hint="create another item",
            )
            for name in _IMMUTABLE
            if name in changes and applies("secret", name, kind) and not _same(present.get(name), changes[name])
        ]
        if problems:
            raise rejection(problems)

    @staticmethod
    def _refuse_adoption_without_value(view: SecretView, key_id: object) -> None:
        if str(key_id) != str(view.key_id).lower():
            raise rejection(
                [
                    Problem(
                        property="api_key",
                        code="ParameterMissing",
                        message=f"api_key is missing: secret {key_id} is adopted only with its value",
                        hint="set api_key (--api-key), or leave api_id out",
                    )
                ]
            )

    def _checked_credential(
        self, item: RotatedSecret, target: Target, values: Arguments, given: SecretText
    ) -> _GivenCredential | None:
        """The credential that an update names, checked against Azure before anything is changed."""
        current = machine.current_version(self._c.uow.versions(item.item_id))
        named = optional_text(values.get("api_id"))
        key_id = named or (current.key_id.lower() if current else None)
        if key_id is None:
            return None
        found = None if item.skip_dry_run else self._preflight.check_adoption(item, target, key_id, given)
        return _GivenCredential(
            key_id=key_id, expires_at=found.expires_at if found else None, api_id=named or item.api_id
        )

    def _change_credential(
        self, item: RotatedSecret, target: Target, credential: _GivenCredential, given: SecretText
    ) -> None:
        key_id = credential.key_id
        versions = self._c.uow.versions(item.item_id)
        begun = next((v for v in versions if v.stage is Stage.PENDING and v.key_id.lower() == key_id), None)
        if begun is not None and self._c.version_value(begun) == given:
            # The same update was killed on its way: it is simply repeated.
            self._foreground.drive(begun.rotation_id)
            self._remember(item.item_id, credential)
            return
        current = machine.current_version(versions)
        if current is not None and key_id == current.key_id.lower():
            number = max(current.number, 1)
            if any(v.number == number and v.version_id != current.version_id for v in versions):
                raise Conflict(
                    "ItemLocked",
                    f'the first rotation of "{item.name}" is under way, and gives it its value',
                    hint="wait until it is published",
                )
            corrected = replace(
                current, number=number, sealed_value=self._c.sealed_value(current.version_id, number, given)
            )
            fresh = replace(item, api_id=credential.api_id, revision=item.revision + 1, modified_at=self._c.clock.now())
            self._c.uow.correct_value(fresh, corrected, self._c.audit("update_item", item.name, key_id=key_id))
            return
        adoption = Adoption(key_id=key_id, value=given, expires_at=credential.expires_at)
        rotation, _ = self._items.adopt(item, target, versions, reason="adopt", adoption=adoption)
        self._foreground.drive(rotation.rotation_id)
        self._remember(item.item_id, credential)

    def _mint_afresh(self, item: RotatedSecret, target: Target) -> None:
        """Another timing of the grace begins with one fresh credential; those before keep their dates (3.6, F68)."""
        key = f"{item.item_id}/timing/{item.revision}"
        operation = self._c.uow.insert_rotation(self._items.new_rotation(item, target, Trigger.UPDATE, key=key))
        self._c.uow.hasten(operation.rotation_id, self._c.clock.now())
        self._foreground.drive(operation.rotation_id, resume=True)

    def _remember(self, item_id: str, credential: _GivenCredential) -> None:
        """What was adopted is what the user names from now on: a repeated create names it, too."""
        item = self._c.uow.find_item(item_id=item_id)
        if item is None or item.api_id == credential.api_id:
            return
        fresh = replace(item, api_id=credential.api_id, revision=item.revision + 1, modified_at=self._c.clock.now())
        self._c.uow.update_item(fresh, self._c.audit("update_item", item.name, key_id=credential.key_id))


def _other_timing(before: RotatedSecret, after: RotatedSecret) -> bool:
    """Whether an item that rotates gracefully does so at the other end of the due date."""
    if not (before.grace_rotation and after.grace_rotation):
        return False
    default = GraceTiming.AFTER
    return (before.grace_rotation_timing or default) is not (after.grace_rotation_timing or default)


def _same(present: object, asked: object) -> bool:
    """GUIDs compare without case, paths with or without their leading slash."""
    return str(present).lower().lstrip("/") == str(asked).lower().lstrip("/")
