"""Use cases of Targets. No Azure call is made here but in ``test``."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

from azure_rotator.domain.errors import Conflict, Corrupt, NotFound, Rejected, RotatorError, rejection
from azure_rotator.domain.grants import OWNED_APPLICATIONS, may_change_applications, may_change_every_application
from azure_rotator.domain.model import ConnectionType, RotatorType, Target
from azure_rotator.domain.names import canonical_path, is_guid
from azure_rotator.domain.parameters import is_reference, literal_text, validate
from azure_rotator.domain.ports import Grants
from azure_rotator.domain.rotation import versions_kept
from azure_rotator.domain.secrettext import SealedBytes, SecretText
from azure_rotator.engine.arguments import Arguments, optional_bool, optional_int, optional_text
from azure_rotator.engine.context import Context, target_place
from azure_rotator.engine.views import Finding, TargetView


class Targets:
    """Create, update, delete, show and test Targets."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def create(self, arguments: Arguments, *, owner: str = "") -> TargetView:
        """Store a Target.

        The same non-empty ``owner`` creating it again gets it back, updated: a killed deploy is simply repeated.

        Raises:
            Rejected: Every failed rule at once.
            Conflict: ``NameConflict``.
        """
        values, problems = validate("target", arguments)
        if problems:
            raise rejection(problems)
        name = str(values["name"])
        existing = self._c.uow.find_target(name=name)
        if existing is not None:
            if owner and existing.owner == owner:
                return self.update(values, target_id=existing.target_id)
            raise _name_taken(name)
        target_id = self._c.new_id()
        now = self._c.clock.now()
        connection = ConnectionType(str(values["connection_type"]))
        version = 1 if connection is ConnectionType.CREDENTIALS else 0
        reference, sealed = self._credential(values.get("client_secret"), target_id, version)
        target = Target(
            target_id=target_id,
            name=name,
            owner=owner,
            connection_type=connection,
            tenant_id=optional_text(values.get("tenant_id")),
            client_id=optional_text(values.get("client_id")),
            secret_reference=reference,
            sealed_secret=sealed,
            description=str(values["description"]),
            delete_protection=bool(values["delete_protection"]),
            version=version,
            created_at=now,
            modified_at=now,
            max_versions=optional_int(values.get("max_versions")),
            keep_prev_version=optional_bool(values.get("keep_prev_version")),
            **_whereabouts(values),
        )
        self._c.uow.insert_target(target, self._c.audit("create_target", name))
        return self._view(target)

    def update(
        self, changes: Arguments, *, name: str | None = None, target_id: str | None = None, store_id: str | None = None
    ) -> TargetView:
        """Change what is given; None resets to the default; an omitted credential stays.

        Raises:
            Rejected, NotFound, Conflict: Nothing was changed.
        """
        target = self._find(name=name, target_id=target_id, store_id=store_id)
        view = self._view(target)
        merged = {**view.arguments(), **changes}
        switched = target.connection_type.value != merged.get("connection_type")
        kept_secret = "client_secret" not in changes and not switched
        values, problems = validate("target", merged, unknown={"client_secret"} if kept_secret else ())
        if problems:
            raise rejection(problems)
        connection = ConnectionType(str(values["connection_type"]))
        tenant_id = optional_text(values.get("tenant_id"))
        whereabouts = _whereabouts(values)
        self._refuse_move(target, view, values)
        version, reference, sealed = target.version, target.secret_reference, target.sealed_secret
        if connection is ConnectionType.CLOUD_IDENTITY:
            version, reference, sealed = 0, None, None
        elif not kept_secret:
            version += 1
            reference, sealed = self._credential(values.get("client_secret"), target.target_id, version)
        changed = replace(
            target,
            name=str(values["name"]),
            connection_type=connection,
            tenant_id=tenant_id,
            client_id=optional_text(values.get("client_id")),
            secret_reference=reference,
            sealed_secret=sealed,
            description=str(values["description"]),
            delete_protection=bool(values["delete_protection"]),
            version=version,
            modified_at=self._c.clock.now(),
            max_versions=optional_int(values.get("max_versions")),
            keep_prev_version=optional_bool(values.get("keep_prev_version")),
            revision=target.revision + 1,
            **whereabouts,
        )
        keep = versions_kept(changed, self._c.uow.account())
        self._c.uow.update_target(changed, self._c.audit("update_target", changed.name), keep=keep)
        return self._view(changed)

    def delete(
        self, *, name: str | None = None, target_id: str | None = None, store_id: str | None = None
    ) -> TargetView:
        """Forget a Target that no item uses; a tombstone keeps its id known (features 3.16).

        Raises:
            NotFound: ``TargetNotFound``; by id: gone already.
            Conflict: ``DeleteProtected``, ``TargetInUse`` with the items.
        """
        target = self._find(name=name, target_id=target_id, store_id=store_id)
        view = self._view(target)
        if target.delete_protection:
            raise Conflict(
                "DeleteProtected",
                f'Target "{target.name}" is protected against deletion',
                hint="set delete_protection to false first",
            )
        if view.items:
            raise Conflict(
                "TargetInUse",
                f'Target "{target.name}" is used by {", ".join(view.items)}',
                hint="delete these items first",
                details={"items": list(view.items)},
            )
        gone = replace(
            target,
            deleted=True,
            sealed_secret=None,
            secret_reference=None,
            modified_at=self._c.clock.now(),
            revision=target.revision + 1,
        )
        self._c.uow.update_target(gone, self._c.audit("delete_target", target.name))
        return view

    def get(self, *, name: str | None = None, target_id: str | None = None, store_id: str | None = None) -> TargetView:
        """Raises: NotFound ``TargetNotFound``, Corrupt ``StoreMismatch``."""
        return self._view(self._find(name=name, target_id=target_id, store_id=store_id))

    def list_all(self) -> list[TargetView]:
        return [self._view(target) for target in self._c.uow.list_targets()]

    def test(self, *, name: str) -> list[Finding]:
        """Log in as the Target and say what its grants allow; reads only.

        Raises:
            Forbidden: ``AzureAuthFailed`` with the AADSTS code.
        """
        target = self._find(name=name, target_id=None, store_id=None)
        grants = self._c.login.grants(self._c.target_identity(target))
        return [Finding(need="login", result="ok"), _application_secrets(grants)]

    # --- private --------------------------------------------------------------------------------------------------

    def _refuse_move(self, target: Target, view: TargetView, values: Arguments) -> None:
        """What tells an item's credential from another one stays while items use the Target. Raises: Conflict."""
        moved = [name for name in _IDENTIFYING if optional_text(values.get(name)) != getattr(target, name)]
        if not moved or not view.items:
            return
        kinds = {item.rotator_type for item in self._c.uow.list_items(target_id=target.target_id)}
        matters = [name for name in moved if kinds & _IDENTIFYING[name]]
        if matters:
            raise Conflict(
                "TargetInUse",
                f'{", ".join(matters)} of Target "{target.name}" cannot change while items use it: '
                f"{', '.join(view.items)}",
                hint="create a second Target for the other place",
            )

    def _credential(self, argument: object, target_id: str, version: int) -> tuple[str | None, SealedBytes | None]:
        """A reference is stored as such and resolved at each use; a literal is sealed."""
        if argument is None:
            return None, None
        text = str(argument)
        if is_reference(text):
            if self._c.references.resolve(text).satisfies(is_guid):
                raise Rejected(
                    "IdentifierMixedUp",
                    f"client_secret: the reference {text} leads to a GUID, which looks like the secret's id",
                    hint="client_secret is the secret's value, shown once when it was made",
                )
            return text, None
        return None, self._c.sealer.seal(SecretText(literal_text(text)), target_place(target_id, version))

    def _find(self, *, name: str | None, target_id: str | None, store_id: str | None) -> Target:
        expect_store(self._c, store_id)
        if target_id is not None:
            target = self._c.uow.find_target(target_id=target_id)
            if target is None:
                raise unknown_to_this_store("Target", target_id, self._c.uow.store_id())
            if target.deleted:
                raise NotFound("TargetNotFound", f'Target "{target.name}" was deleted', details={"gone": True})
            return target
        path = canonical_path(name or "")
        target = self._c.uow.find_target(name=path)
        if target is None:
            raise target_not_found(path)
        return target

    def _view(self, target: Target) -> TargetView:
        items = self._c.uow.list_items(target_id=target.target_id)
        return TargetView(target=target, store_id=self._c.uow.store_id(), items=tuple(i.name for i in items))


# By parameter the kinds of items for which it says which credential is meant.
_IDENTIFYING = {
    "tenant_id": frozenset({RotatorType.API_KEY, RotatorType.TARGET, RotatorType.PASSWORD}),
    "client_id": frozenset({RotatorType.TARGET}),
    "azure_cloud": frozenset(RotatorType),
    "subscription_id": frozenset({RotatorType.STORAGE_ACCOUNT}),
    "resource_group_name": frozenset({RotatorType.STORAGE_ACCOUNT}),
    "resource_name": frozenset({RotatorType.STORAGE_ACCOUNT}),
}


class _Whereabouts(TypedDict):
    client_secret_id: str | None
    azure_cloud: str
    subscription_id: str | None
    resource_group_name: str | None
    resource_name: str | None


def _whereabouts(values: Arguments) -> _Whereabouts:
    return _Whereabouts(
        client_secret_id=optional_text(values.get("client_secret_id")),
        azure_cloud=str(values["azure_cloud"]),
        subscription_id=optional_text(values.get("subscription_id")),
        resource_group_name=optional_text(values.get("resource_group_name")),
        resource_name=optional_text(values.get("resource_name")),
    )


def target_not_found(path: str) -> NotFound:
    return NotFound("TargetNotFound", f'there is no Target "{path}"', hint="azure-rotator target list shows them")


def expect_store(context: Context, store_id: str | None) -> None:
    """Refuse to work for a resource that another store made (features 3.16)."""
    ours = context.uow.store_id()
    if store_id is not None and store_id != ours:
        raise Corrupt(
            "StoreMismatch",
            f"this resource was made in store {store_id}, and the store in use is {ours}",
            hint="look at azure-rotator:store (or AZURE_ROTATOR_STORE): it leads to another store than before",
            details={"expected": store_id, "actual": ours},
        )


def unknown_to_this_store(noun: str, identifier: str, store_id: str) -> RotatorError:
    return Corrupt(
        "StoreMismatch",
        f"{noun} {identifier} is unknown to store {store_id}: neither its rows nor its journal ever held it",
        hint="restored from a backup? look at azure-rotator:store (or AZURE_ROTATOR_STORE)",
        details={"id": identifier, "actual": store_id},
    )


def _name_taken(name: str) -> Conflict:
    return Conflict("NameConflict", f'there is a Target "{name}" already', hint="choose another name")


def _application_secrets(grants: Grants) -> Finding:
    need = "application secrets"
    if may_change_every_application(grants.roles):
        return Finding(need=need, result="ok", message="may change every application")
    if may_change_applications(grants.roles):
        return Finding(need=need, result="ok", message="may change the applications it is an owner of")
    return Finding(
        need=need,
        result="AzurePermissionMissing",
        message=f"neither {OWNED_APPLICATIONS} nor Application.ReadWrite.All is granted",
        hint=f"grant {OWNED_APPLICATIONS} and make the application's service principal an owner of what it rotates",
    )
