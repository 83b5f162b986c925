"""Use cases of Targets. No Azure call is made here but in ``test``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypedDict

from azure_rotator.domain.errors import Conflict, Corrupt, NotFound, Rejected, RotatorError, rejection
from azure_rotator.domain.findings import Finding
from azure_rotator.domain.model import ConnectionType, RotatorType, Target
from azure_rotator.domain.names import canonical_path, is_guid
from azure_rotator.domain.parameters import is_reference, literal_text, validate
from azure_rotator.domain.rotation import versions_kept
from azure_rotator.domain.secrettext import SealedBytes, SecretText
from azure_rotator.engine.account import refuse_characters
from azure_rotator.engine.arguments import Arguments, optional_bool, optional_int, optional_text
from azure_rotator.engine.checks import Checks
from azure_rotator.engine.context import Context, target_place
from azure_rotator.engine.folders import folder_path, lies_in
from azure_rotator.engine.preflight import refuse_unfit
from azure_rotator.engine.queries import PAGE, named_like, page_of
from azure_rotator.engine.views import TargetDetails, TargetListing, TargetView


class Targets:
    """Create, update, delete, show and test Targets."""

    def __init__(self, context: Context, checks: Checks) -> None:
        self._c = context
        self._checks = checks

    def create(self, arguments: Arguments, *, owner: str = "") -> TargetView:
        """Store a Target.

        The same non-empty ``owner`` creating it again gets it back, updated: a killed deploy is simply repeated.

        Raises:
            Rejected: Every failed rule at once.
            Conflict: ``NameConflict``.
        """
        taken = self._taken_over(arguments, owner)
        if taken is not None:
            return taken
        values, problems = validate("target", arguments)
        if problems:
            raise rejection(problems)
        values.setdefault("delete_protection", self._c.uow.account().items_deletion_protection)
        name = str(values["name"])
        refuse_characters(self._c.uow.account(), name)
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
        if not kept_secret and "client_secret_id" not in changes:
            merged["client_secret_id"] = None  # it named the secret before
        values, problems = validate("target", merged, unknown={"client_secret"} if kept_secret else ())
        if problems:
            raise rejection(problems)
        values.setdefault("delete_protection", self._c.uow.account().items_deletion_protection)
        if values["name"] != target.name:
            refuse_characters(self._c.uow.account(), str(values["name"]))
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
        self._c.uow.update_target(
            changed,
            self._c.audit("update_target", changed.name),
            keep=keep,
            take_up=_acts_otherwise(target, changed),
        )
        return self._view(changed)

    def delete(
        self,
        *,
        name: str | None = None,
        target_id: str | None = None,
        store_id: str | None = None,
        force: bool = False,
    ) -> TargetView:
        """Forget a Target that no item uses; a tombstone keeps its id known (features 3.16).

        Args:
            force: Although items use it: their values can still be read, and nothing of them is rotated any more.

        Raises:
            NotFound: ``TargetNotFound``; by id: gone already.
            Conflict: ``DeleteProtected``, ``TargetInUse`` with the items.
        """
        target = self._find(name=name, target_id=target_id, store_id=store_id)
        view = self._view(target)
        _refuse_deletion(view, force=force)
        gone = replace(
            target,
            deleted=True,
            sealed_secret=None,
            secret_reference=None,
            modified_at=self._c.clock.now(),
            revision=target.revision + 1,
        )
        audit = self._c.audit("delete_target", target.name, left_without=list(view.items))
        self._c.uow.update_target(gone, audit, although_in_use=force)
        return view

    def delete_many(
        self, *, names: Sequence[str] = (), path: str | None = None, force: bool = False
    ) -> list[TargetView]:
        """Forget Targets by name, or all below a path. Every check passes before the first is forgotten.

        Raises as ``delete``: nothing was changed.
        """
        targets = [self._find(name=name, target_id=None, store_id=None) for name in dict.fromkeys(names)]
        if path is not None:
            root = folder_path(path)
            targets = [target for target in self._c.uow.list_targets() if lies_in(target.name, root)]
            if not targets:
                raise target_not_found(root)
        for target in targets:
            _refuse_deletion(self._view(target), force=force)
        return [self.delete(target_id=target.target_id, force=force) for target in targets]

    def get_details(self, *, name: str, version: int | None = None) -> TargetDetails:
        """A Target with its client secret, or one that it had: the only answer that shows it.

        Raises:
            NotFound: ``TargetNotFound``, ``VersionNotFound``.
            Rejected: ``ReferenceUnresolved``.
        """
        target = self._find(name=name, target_id=None, store_id=None)
        kept = self._c.uow.target_versions(target.target_id)
        number = target.version if version is None else version
        found = next((one for one in kept if one.version == number), None)
        if found is None and (version is not None or target.connection_type is ConnectionType.CREDENTIALS):
            raise NotFound(
                "VersionNotFound",
                f'Target "{target.name}" has no version {number}',
                hint="azure-rotator target get --show-versions lists them",
            )
        secret: SecretText | None = None
        if found is not None and found.secret_reference is not None:
            secret = self._c.references.resolve(found.secret_reference)
        elif found is not None and found.sealed_secret is not None:
            secret = self._c.sealer.open(found.sealed_secret, target_place(target.target_id, found.version))
        self._c.uow.write_audit(self._c.audit("get_target_details", target.name, version=number))
        return TargetDetails(view=self._view(target), version=number, secret=secret)

    def get(self, *, name: str | None = None, target_id: str | None = None, store_id: str | None = None) -> TargetView:
        """Raises: NotFound ``TargetNotFound``, Corrupt ``StoreMismatch``."""
        return self._view(self._find(name=name, target_id=target_id, store_id=store_id))

    def list_all(self) -> list[TargetView]:
        return [self._view(target) for target in self._c.uow.list_targets()]

    def list_page(
        self, *, text: str | None = None, for_rotator: RotatorType | None = None, token: str | None = None
    ) -> TargetListing:
        """Targets by name that fit, 1,000 a page.

        Args:
            text: Only names that contain it, or that it describes with ``*`` and ``?``.
            for_rotator: Only those that can serve this kind, by what is stored about them.
            token: ``next_page`` of the page before.

        Raises:
            Rejected: ``ParameterInvalid``, the token.
        """
        found = [t for t in self._c.uow.list_targets() if named_like(t.name, text) and _serves(t, for_rotator)]
        _, page, after = page_of(found, name=lambda target: target.name, size=PAGE, token=token)
        return TargetListing(targets=tuple(self._view(target) for target in page), next_page=after)

    def test(self, *, name: str, wanted: Collection[RotatorType] = ()) -> list[Finding]:
        """Log in as the Target and say for every kind of credential whether it may rotate it; reads only.

        Args:
            wanted: Kinds that it must be able to rotate, beside those of its items.

        Raises:
            Forbidden: ``AzureAuthFailed`` with the AADSTS code.
        """
        target = self._find(name=name, target_id=None, store_id=None)
        return self._checks.test_target(target, wanted=wanted)

    # --- private --------------------------------------------------------------------------------------------------

    def _taken_over(self, arguments: Arguments, owner: str) -> TargetView | None:
        """With ``adopt`` the Target of that name belongs to this owner from now on, and keeps its credential.

        Returns: None when there is nothing to take over: then it is created.

        Raises:
            Conflict: ``NameConflict``, another program's Target.
        """
        if arguments.get("adopt") is not True or not owner:
            return None
        values, problems = validate("target", arguments, unknown={"client_secret"})
        if problems:
            raise rejection(problems)
        existing = self._c.uow.find_target(name=str(values["name"]))
        if existing is None:
            return None
        if existing.owner not in {"", owner}:
            raise _name_taken(existing.name)
        mine = replace(existing, owner=owner, revision=existing.revision + 1, modified_at=self._c.clock.now())
        if existing.owner != owner:  # else a killed deploy is repeated
            self._c.uow.update_target(mine, self._c.audit("adopt_target", mine.name, owner=owner))
        said = {name: value for name, value in values.items() if arguments.get(name) is not None and name != "adopt"}
        return self.update(said, target_id=mine.target_id)

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
        return TargetView(
            target=target,
            store_id=self._c.uow.store_id(),
            items=tuple(i.name for i in items),
            versions=tuple(self._c.uow.target_versions(target.target_id)),
        )


def _refuse_deletion(view: TargetView, *, force: bool) -> None:
    """Raises: Conflict ``DeleteProtected``, ``TargetInUse``."""
    target = view.target
    if target.delete_protection:
        raise Conflict(
            "DeleteProtected",
            f'Target "{target.name}" is protected against deletion',
            hint="set delete_protection to false first",
        )
    if view.items and not force:
        raise Conflict(
            "TargetInUse",
            f'Target "{target.name}" is used by {", ".join(view.items)}',
            hint="delete these items first",
            details={"items": list(view.items)},
        )


def _acts_otherwise(before: Target, after: Target) -> bool:
    """Whether what failed on a Target may work now: it has another credential, or another place."""
    told = ("version", "connection_type", "tenant_id", "client_id", *_Whereabouts.__annotations__)
    return any(getattr(before, name) != getattr(after, name) for name in told)


def _serves(target: Target, kind: RotatorType | None) -> bool:
    if kind is None:
        return True
    whole = target.subscription_id and target.resource_group_name and target.resource_name
    if kind is RotatorType.STORAGE_ACCOUNT:
        return bool(whole)
    try:
        refuse_unfit(kind, target)
    except Rejected:
        return False
    return True


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
