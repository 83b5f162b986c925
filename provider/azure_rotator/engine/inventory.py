"""What credentials there are: every client secret of an application and every key of an account, with its age, its end
and who answers for it; for what nobody manages the command that adopts it. Reads only, and no value is kept."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial

from azure_rotator.domain.errors import NotFound, Rejected, RotatorError
from azure_rotator.domain.instants import iso
from azure_rotator.domain.kinds import CLIENT_SECRETS, key_holding, storage_account
from azure_rotator.domain.model import ItemState, RotatedSecret, RotatorType, Target
from azure_rotator.domain.names import MAX_PATH_LENGTH, canonical_path, parse_stamp
from azure_rotator.domain.ports import Application, Identity, PasswordCredential, StorageAccount
from azure_rotator.engine.context import Context
from azure_rotator.engine.targets import target_not_found
from azure_rotator.engine.views import Facts
from azure_rotator.rotators.app_secret import begins_with, orphans_of

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.@+=~-]+")
_MOST_OF_A_NAME = 100
_CREATE = ("azure-rotator", "rotated-secret", "create", "azure")


class Manager(StrEnum):
    """Who answers for a credential."""

    ITEM = "item"
    TARGET = "target"  # a Target of this store logs in with it, and no item rotates it
    OPERATION = "operation"  # one of this store's is about to store it
    ORPHAN = "orphan"  # minted by this store, and held by no version: reconcile removes it
    OTHER_STORE = "other store"  # by its stamp; or of an operation that this store does not know
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A credential as it is in Azure.

    Args:
        place: The application or account, as people know it.
        holder: ``application``, ``service principal`` or ``storage account``.
        key_id: keyId, or the key's name.
        created_at: None where Azure does not know.
        manager: The item's or Target's path, the other store's id.
        stage: Of the item's version.
        command: What puts it under this store's care, or what cleans it up; no secret is in it.
    """

    place: str
    holder: str
    key_id: str
    display_name: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    managed_by: Manager = Manager.NOBODY
    manager: str | None = None
    stage: str | None = None
    command: str | None = None

    def facts(self, now: datetime) -> Facts:
        return {
            "place": self.place,
            "holder": self.holder,
            "key_id": self.key_id,
            "display_name": self.display_name,
            "creation_date": iso(self.created_at),
            "age_days": (now - self.created_at).days if self.created_at else None,
            "expires_at": iso(self.expires_at),
            "expired": self.expires_at is not None and self.expires_at <= now,
            "managed_by": self.managed_by.value,
            "manager": self.manager,
            "stage": self.stage,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What was found, and what could not be looked at: where, code, message, hint."""

    target: str
    now: datetime
    holdings: tuple[Holding, ...]
    problems: tuple[Facts, ...] = field(default=())

    def facts(self) -> Facts:
        return {
            "target_name": self.target,
            "credentials": [one.facts(self.now) for one in self.holdings],
            "problems": list(self.problems),
        }


class Inventory:
    """The use case."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def run(self, *, target: str, app_id: str | None = None, resource_name: str | None = None) -> Stock:
        """List what is at this application or account; with neither, at every one that the Target or its items name.

        A place that cannot be looked at hides nothing of the others.

        Raises:
            NotFound: ``TargetNotFound``.
            Rejected: ``TargetIncomplete``: where the account is nobody says.
            Forbidden: The login failed.
        """
        path = canonical_path(target)
        found = self._c.uow.find_target(name=path)
        if found is None:
            raise target_not_found(path)
        applications, accounts = self._places(found, app_id, resource_name)
        acting = self._c.target_identity(found)
        holdings: list[Holding] = []
        problems: list[Facts] = []
        for one in applications:
            try:
                holdings += self._of_application(found, acting, one)
            except RotatorError as refused:
                problems.append(_problem(f"application {one}", refused))
        for account in accounts:
            try:
                holdings += self._of_account(found, acting, account)
            except RotatorError as refused:
                problems.append(_problem(f"storage account {account.name}", refused))
        return Stock(target=path, now=self._c.clock.now(), holdings=_named(holdings), problems=tuple(problems))

    def _places(
        self, target: Target, app_id: str | None, resource_name: str | None
    ) -> tuple[Sequence[str], Sequence[StorageAccount]]:
        items = [i for i in self._c.uow.list_items(target_id=target.target_id) if i.state is ItemState.ACTIVE]
        accounts = _accounts(target, items)
        if resource_name is not None:
            accounts = [one for one in accounts if one.name == resource_name] or [_guessed(target, resource_name)]
        if app_id is not None or resource_name is not None:
            return [app_id.lower()] if app_id else [], accounts if resource_name else []
        own = [target.client_id] if target.client_id is not None else []
        used = [item.app_id for item in items if item.rotator_type in CLIENT_SECRETS]
        return list(dict.fromkeys([*own, *used])), accounts

    # --- applications

    def _of_application(self, target: Target, acting: Identity, app_id: str) -> list[Holding]:
        application = self._c.directory.get_application(acting, app_id)
        found = self._of_holder(target, application, "application")
        try:
            principal = self._c.directory.get_service_principal(acting, app_id)
        except NotFound:
            return found  # it has none, and so no secrets there
        return found + self._of_holder(target, replace(application, passwords=principal.passwords), "service principal")

    def _of_holder(self, target: Target, application: Application, holder: str) -> list[Holding]:
        passwords = application.passwords
        held = {key.lower(): item for key, item in self._c.uow.held_key_ids([p.key_id for p in passwords]).items()}
        orphans = {p.key_id for p in orphans_of(self._c.uow, application, store_id=self._c.uow.store_id())}
        targets = self._targets_with(application)
        return [
            replace(
                self._managed(target, application, one, held.get(one.key_id.lower()), targets, one.key_id in orphans),
                place=f"{application.display_name} ({application.app_id})",
                holder=holder,
                display_name=one.display_name,
                created_at=one.start_at,
                expires_at=one.end_at,
            )
            for one in passwords
        ]

    def _managed(
        self,
        target: Target,
        application: Application,
        one: PasswordCredential,
        item_id: str | None,
        targets: Sequence[tuple[Target, Identity]],
        is_orphan: bool,
    ) -> Holding:
        bare = Holding(place="", holder="", key_id=one.key_id)
        if item_id is not None:
            return self._with_item(bare, item_id)
        stamp = parse_stamp(one.display_name)
        if is_orphan:
            command = shlex.join(("azure-rotator", "reconcile", "--target", target.name))
            return replace(bare, managed_by=Manager.ORPHAN, command=command)
        if stamp is not None:
            ours = stamp.store_id == self._c.uow.store_id()
            running = self._c.uow.operations([stamp.operation_id]).get(stamp.operation_id) if ours else None
            if running is not None:
                return replace(bare, managed_by=Manager.OPERATION, manager=running.rotation_id)
            return replace(bare, managed_by=Manager.OTHER_STORE, manager=stamp.store_id)
        for other, identity in targets:
            if _works_with(other, identity, one):
                words = ("--target-name", other.name, "--rotator-type", "target")
                command = shlex.join((*_CREATE, "--name", f"{other.name}-secret", *words))
                return replace(bare, managed_by=Manager.TARGET, manager=other.name, command=command)
        if one.end_at is not None and one.end_at <= self._c.clock.now():
            return bare  # nobody gains by adopting what has expired
        words = ("--target-name", target.name, "--rotator-type", "api-key")
        which = ("--app-id", application.app_id, "--api-id", one.key_id)
        mode = ("--authentication-credentials", "use-target-creds")
        name = _path(application.display_name or application.app_id, one.display_name or one.key_id)
        return replace(bare, command=shlex.join((*_CREATE, "--name", name, *words, *mode, *which)))

    def _with_item(self, bare: Holding, item_id: str) -> Holding:
        item = self._c.uow.find_item(item_id=item_id)
        versions = self._c.uow.versions(item_id)
        stage = next((v.stage.value for v in versions if v.key_id.lower() == bare.key_id.lower() and v.in_azure), None)
        return replace(bare, managed_by=Manager.ITEM, manager=item.name if item else item_id, stage=stage)

    def _targets_with(self, application: Application) -> list[tuple[Target, Identity]]:
        """The Targets that log in as this application, with what they log in with, as far as that can be had here."""
        found = []
        for target in self._c.uow.list_targets():
            if (target.client_id or "").lower() != application.app_id:
                continue
            try:
                found.append((target, self._c.target_identity(target)))
            except RotatorError:
                continue  # a reference that only another machine can resolve
        return found

    # --- storage accounts

    def _of_account(self, target: Target, acting: Identity, account: StorageAccount) -> list[Holding]:
        named = (target.resource_group_name, target.resource_name) == (account.resource_group, account.name)
        where = ("--resource-group-name", account.resource_group, "--resource-name", account.name)
        explicit = () if named else ("--explicitly-set-sa", "true", *where)
        found = []
        for key in self._c.keys.list_keys(acting, account):
            bare = Holding(place=account.name, holder="storage account", key_id=key.name, created_at=key.created_at)
            item_id = self._c.uow.holder(key_holding(account, target, key.name))
            if item_id is not None:
                found.append(self._with_item(bare, item_id))
                continue
            kind = ("--target-name", target.name, "--rotator-type", RotatorType.STORAGE_ACCOUNT.value)
            words = (*kind, "--storage-account-key-name", key.name.lower(), *explicit)
            command = shlex.join((*_CREATE, "--name", _path(account.name, key.name), *words))
            found.append(replace(bare, command=command))
        return found


def _accounts(target: Target, items: Iterable[RotatedSecret]) -> list[StorageAccount]:
    """Those that the items name, and the Target's own."""
    found = {}
    for item in items:
        if item.rotator_type is RotatorType.STORAGE_ACCOUNT:
            account = storage_account(item, target)
            found[_place_of(account)] = account
    own = (target.subscription_id, target.resource_group_name, target.resource_name)
    if own[0] is not None and own[1] is not None and own[2] is not None:
        account = StorageAccount(subscription_id=own[0], resource_group=own[1], name=own[2])
        found.setdefault(_place_of(account), account)
    return list(found.values())


def _guessed(target: Target, name: str) -> StorageAccount:
    """An account that nothing names yet: in the Target's subscription and group.

    Raises:
        Rejected: ``TargetIncomplete``.
    """
    subscription, group = target.subscription_id, target.resource_group_name
    if subscription is None or group is None:
        raise Rejected(
            "TargetIncomplete",
            f'where storage account {name} is neither Target "{target.name}" nor an item on it says',
            hint="set subscription_id and resource_group_name on the Target",
        )
    return StorageAccount(subscription_id=subscription, resource_group=group, name=name)


def _place_of(account: StorageAccount) -> tuple[str, str, str]:
    """Azure compares the parts of a resource id without case."""
    return account.subscription_id.lower(), account.resource_group.lower(), account.name.lower()


def _works_with(target: Target, identity: Identity, one: PasswordCredential) -> bool:
    if target.client_secret_id is not None:
        return one.key_id.lower() == target.client_secret_id.lower()
    secret = identity.secret
    return secret is not None and bool(one.hint) and secret.satisfies(partial(begins_with, one.hint or ""))


def _path(place: str, name: str) -> str:
    """A path for an item: what people call both, as far as a name may hold it."""
    segments = [_NOT_IN_NAMES.sub("-", text)[:_MOST_OF_A_NAME].strip("-.") or "unnamed" for text in (place, name)]
    return "/" + "/".join(segments)[: MAX_PATH_LENGTH - 1]


def _named(holdings: Sequence[Holding]) -> tuple[Holding, ...]:
    """Secrets of one name would become items of one name: then the keyId tells them apart."""
    commands = [one.command for one in holdings]
    names = [_name_in(command) for command in commands if command]
    return tuple(
        replace(one, command=one.command.replace(name, f"{name}-{one.key_id[:8]}", 1))
        if one.command and (name := _name_in(one.command)) and names.count(name) > 1
        else one
        for one in holdings
    )


def _name_in(command: str) -> str:
    _, _, rest = command.partition(" --name ")
    return rest.partition(" ")[0]


def _problem(where: str, error: RotatorError) -> Facts:
    return {"where": where, "code": error.code, "message": error.message, "hint": error.hint}
