"""The directory: tenants with their applications, service principals, users and storage accounts.

Everything lives in memory and is written through to the :class:`~azure_sandbox.store.Store`. It is touched by one
thread only (the server's event loop), and no method awaits, so each call is atomic; there are no locks to forget.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from azure_sandbox.accounts import Lock, StorageAccount
from azure_sandbox.behaviour import Behaviour
from azure_sandbox.clouds import ARM_APP_ID, CLOUDS, GRAPH_APP_ID, Cloud
from azure_sandbox.credential import Secret
from azure_sandbox.people import User
from azure_sandbox.policy import AppPolicy
from azure_sandbox.store import Store

PERSONAL_AUDIENCES = frozenset({"AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"})
AUDIENCES = frozenset({"AzureADMyOrg", "AzureADMultipleOrgs"}) | PERSONAL_AUDIENCES


class Unknown(LookupError):
    """No such tenant, application, secret, account, user or fault."""


@dataclass(slots=True, kw_only=True)
class Tenant:
    """A tenant of one cloud; ``domain`` (``contoso.onmicrosoft.com``) names it as well as its id does.

    ``banned_passwords``: words that count as weak in its users' passwords, besides those that are weak everywhere.
    """

    tenant_id: str
    name: str
    domain: str
    cloud_name: str = "public"
    policy: AppPolicy | None = None
    banned_passwords: tuple[str, ...] = ()

    @property
    def cloud(self) -> Cloud:
        """The cloud that the tenant lives in; the other clouds don't know it."""
        return CLOUDS[self.cloud_name]


@dataclass(slots=True, kw_only=True)
class Principal:
    """What applications and service principals share: ids, owners and secrets, tombstones included."""

    object_id: str
    app_id: str
    tenant_id: str
    name: str
    created_at: datetime
    owners: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()

    def live_secrets(self) -> list[Secret]:
        """The secrets that were not removed, oldest first."""
        return [secret for secret in self.secrets if not secret.is_removed]

    def find_secret(self, key_id: str) -> Secret | None:
        """The live secret with this keyId, in any case; None when there is none."""
        wanted = key_id.lower()
        return next((secret for secret in self.live_secrets() if secret.key_id.lower() == wanted), None)


@dataclass(slots=True, kw_only=True)
class Application(Principal):
    """An application object. ``behaviour`` holds its own settings, on top of the global ones."""

    audience: str = "AzureADMyOrg"
    identifier_uris: tuple[str, ...] = ()
    policy: AppPolicy | None = None
    behaviour: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ServicePrincipal(Principal):
    """A service principal.

    Attributes:
        roles: Microsoft Graph app roles that were granted to it.
        delegated: Microsoft Graph permissions that an administrator consented to, for acting as any user.
        directory_roles: directory roles by display name.
    """

    enabled: bool = True
    roles: tuple[str, ...] = ()
    delegated: tuple[str, ...] = ()
    directory_roles: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class RoleAssignment:
    """A Resource Manager role, by its name, granted to a principal's object id on a scope and all below it."""

    tenant_id: str
    principal_id: str
    role: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All documents of a directory, for loading a seed in one step."""

    tenants: tuple[Tenant, ...] = ()
    applications: tuple[Application, ...] = ()
    service_principals: tuple[ServicePrincipal, ...] = ()
    users: tuple[User, ...] = ()
    accounts: tuple[StorageAccount, ...] = ()
    role_assignments: tuple[RoleAssignment, ...] = ()
    locks: tuple[Lock, ...] = ()


Item = Tenant | Application | ServicePrincipal | User | StorageAccount | RoleAssignment | Lock


class Directory:
    """Look-ups and write-through changes. ``find_x`` may return None; nothing here knows HTTP."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.behaviour = Behaviour().merged(store.setting("behaviour") or {})
        self._clear()
        for tenant in store.documents("tenant"):
            self._index(Tenant(**tenant | {"policy": AppPolicy.from_record(tenant["policy"])}))
        secrets: dict[str, list[Secret]] = defaultdict(list)
        for record in store.documents("secret"):
            secrets[record.pop("holder_id")].append(Secret.from_record(record))
        for record in store.documents("application"):
            self._index(
                Application(**_principal_fields(record, secrets), policy=AppPolicy.from_record(record["policy"]))
            )
        for record in store.documents("service_principal"):
            self._index(ServicePrincipal(**_principal_fields(record, secrets)))
        for record in store.documents("user"):
            self._index(User.from_record(record))
        for record in store.documents("account"):
            self._index(StorageAccount.from_record(record))
        for record in store.documents("role_assignment"):
            self._index(RoleAssignment(**record))
        for record in store.documents("lock"):
            self._index(Lock(**record))

    def _clear(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.users: dict[str, User] = {}
        self._user_by_upn: dict[str, User] = {}
        self.accounts: dict[str, StorageAccount] = {}
        self.role_assignments: dict[str, RoleAssignment] = {}
        self.locks: dict[str, Lock] = {}
        self._applications: dict[str, Application] = {}
        self._service_principals: dict[str, ServicePrincipal] = {}
        self._app_by_app_id: dict[str, Application] = {}
        self._principal_by_app_id: dict[tuple[str, str], ServicePrincipal] = {}
        self._domains: dict[str, Tenant] = {}

    # Look-ups. Ids compare without case, as Azure's do.

    def find_tenant(self, id_or_domain: str) -> Tenant | None:
        """The tenant with this id or domain name."""
        key = id_or_domain.lower()
        return self.tenants.get(key) or self._domains.get(key)

    def find_application(self, tenant_id: str, *, object_id: str = "", app_id: str = "") -> Application | None:
        """The tenant's application with this object id, or with this appId."""
        found = self._applications.get(object_id.lower()) if object_id else self._app_by_app_id.get(app_id.lower())
        return found if found is not None and found.tenant_id == tenant_id else None

    def find_service_principal(
        self, tenant_id: str, *, object_id: str = "", app_id: str = ""
    ) -> ServicePrincipal | None:
        """The tenant's service principal with this object id, or with this appId."""
        if not object_id:
            return self._principal_by_app_id.get((tenant_id, app_id.lower()))
        found = self._service_principals.get(object_id.lower())
        return found if found is not None and found.tenant_id == tenant_id else None

    def find_any(self, id_: str) -> Principal | None:
        """The application or service principal with this object id, else the application with this appId."""
        key = id_.lower()
        return self._applications.get(key) or self._service_principals.get(key) or self._app_by_app_id.get(key)

    def applications(self, tenant_id: str | None = None) -> Iterator[Application]:
        """The applications of one tenant, or all, oldest first."""
        return (app for app in self._applications.values() if tenant_id in {None, app.tenant_id})

    def service_principals(self, tenant_id: str | None = None) -> Iterator[ServicePrincipal]:
        """The service principals of one tenant, or all, oldest first."""
        return (sp for sp in self._service_principals.values() if tenant_id in {None, sp.tenant_id})

    def find_user(self, id_: str) -> User | None:
        """The user with this object id or user principal name, in any tenant: principal names are unique."""
        key = id_.lower()
        return self.users.get(key) or self._user_by_upn.get(key)

    def find_account(self, name: str, cloud: Cloud | None = None) -> StorageAccount | None:
        """The account of this name in a cloud; names are unique there. Without a cloud the first one anywhere."""
        key = name.lower()
        return next(
            (
                account
                for account in self.accounts.values()
                if account.name == key and cloud in {None, self.tenants[account.tenant_id].cloud}
            ),
            None,
        )

    def behaviour_of(self, item: Principal | StorageAccount | User) -> Behaviour:
        """The settings in force for an application, its service principal, a storage account or a user."""
        own = item if isinstance(item, StorageAccount | User) else self._app_by_app_id.get(item.app_id.lower())
        return self.behaviour.merged(own.behaviour) if own is not None and own.behaviour else self.behaviour

    def policy_of(self, application: Application) -> AppPolicy | None:
        """The policy in force: the application's own, else its tenant's."""
        return application.policy or self.tenants[application.tenant_id].policy

    # Changes. Each is written through; callers group them with ``Store.transaction``.

    def save(self, item: Item) -> None:
        """Add or update one object; of an application or service principal all but its secrets."""
        self._index(item)
        kind, id_ = _key(item)
        self._store.put(kind, id_, _record(item))

    def delete(self, item: StorageAccount | RoleAssignment | Lock | User) -> None:
        """Delete one object; what refers to it stays and leads nowhere."""
        kind, id_ = _key(item)
        if isinstance(item, User):
            self._user_by_upn.pop(item.upn.lower(), None)
        indexes: dict[str, dict[str, Any]] = {
            "account": self.accounts,
            "user": self.users,
            "role_assignment": self.role_assignments,
            "lock": self.locks,
        }
        indexes[kind].pop(id_, None)
        self._store.delete(kind, id_)

    def delete_application(self, application: Application) -> None:
        """Delete an application and its service principal, as a tenant's administrator would."""
        self._applications.pop(application.object_id.lower(), None)
        self._app_by_app_id.pop(application.app_id.lower(), None)
        self._store.delete("application", application.object_id)
        self._delete_secrets(application)
        principal = self._principal_by_app_id.pop((application.tenant_id, application.app_id.lower()), None)
        if principal is not None:
            self._service_principals.pop(principal.object_id.lower(), None)
            self._store.delete("service_principal", principal.object_id)
            self._delete_secrets(principal)

    def _delete_secrets(self, principal: Principal) -> None:
        for secret in principal.secrets:
            self._store.delete("secret", f"{principal.object_id} {secret.key_id}")

    def replace_secret(self, principal: Principal, secret: Secret) -> None:
        """Write a changed secret (removed, delivered) in the place of the one with its keyId."""
        principal.secrets = tuple(secret if old.key_id == secret.key_id else old for old in principal.secrets)
        self._put_secret(principal, secret)

    def add_secret(self, principal: Principal, secret: Secret) -> None:
        """Append a secret."""
        principal.secrets = (*principal.secrets, secret)
        self._put_secret(principal, secret)

    def set_behaviour(
        self, changes: Mapping[str, Any], item: Application | StorageAccount | User | None = None
    ) -> None:
        """Change the global settings, or an application's, account's or user's own.

        Raises:
            ValueError: an unknown name or a value of the wrong kind; nothing was changed.
        """
        if item is None:
            self.behaviour = self.behaviour.merged(changes)
            self._store.set_setting("behaviour", self.behaviour.to_record())
            return
        self.behaviour.merged(changes)
        item.behaviour = item.behaviour | dict(changes)
        self.save(item)

    def load(self, contents: Contents) -> None:
        """Replace everything by ``contents``; settings go back to their defaults. One transaction."""
        with self._store.transaction():
            self._store.clear_documents()
            self._clear()
            self.behaviour = Behaviour()
            self._store.set_setting("behaviour", {})
            self.merge(contents)

    def merge(self, contents: Contents) -> None:
        """Add ``contents`` to what there is."""
        items: Iterable[Iterable[Any]] = (
            contents.tenants,
            contents.applications,
            contents.service_principals,
            contents.users,
            contents.accounts,
            contents.role_assignments,
            contents.locks,
        )
        with self._store.transaction():
            for group in items:
                for item in group:
                    self.save(item)
            for principal in (*contents.applications, *contents.service_principals):
                for secret in principal.secrets:
                    self._put_secret(principal, secret)

    def _put_secret(self, principal: Principal, secret: Secret) -> None:
        # A document for each: an application that was rotated a thousand times costs no more than a fresh one.
        record = {"holder_id": principal.object_id, **secret.to_record()}
        self._store.put("secret", f"{principal.object_id} {secret.key_id}", record)

    def _index(self, item: Item) -> None:
        match item:
            case Tenant():
                self.tenants[item.tenant_id] = item
                self._domains[item.domain.lower()] = item
            case Application():
                self._applications[item.object_id.lower()] = item
                self._app_by_app_id[item.app_id.lower()] = item
            case ServicePrincipal():
                self._service_principals[item.object_id.lower()] = item
                self._principal_by_app_id[item.tenant_id, item.app_id.lower()] = item
            case User():
                self.users[item.object_id.lower()] = item
                self._user_by_upn[item.upn.lower()] = item
            case StorageAccount():
                self.accounts[item.resource_id.lower()] = item
            case RoleAssignment():
                self.role_assignments[_key(item)[1]] = item
            case Lock():
                self.locks[_key(item)[1]] = item


def new_tenant(
    *, tenant_id: str | None, name: str, domain: str | None, cloud: str, created_at: datetime
) -> tuple[Tenant, tuple[ServicePrincipal, ...]]:
    """A tenant and the service principals of Graph and Resource Manager, which every tenant has."""
    identity = (tenant_id or str(uuid.uuid4())).lower()
    tenant = Tenant(
        tenant_id=identity,
        name=name,
        domain=(domain or f"{name.lower().replace(' ', '')}-{identity[:8]}.onmicrosoft.com"),
        cloud_name=cloud,
    )
    built_in = (("Microsoft Graph", GRAPH_APP_ID), ("Windows Azure Service Management API", ARM_APP_ID))
    principals = tuple(
        ServicePrincipal(
            object_id=str(uuid.uuid5(uuid.UUID(identity), app_id)),
            app_id=app_id,
            tenant_id=identity,
            name=title,
            created_at=created_at,
        )
        for title, app_id in built_in
    )
    return tenant, principals


def _key(item: object) -> tuple[str, str]:
    match item:
        case Tenant():
            return "tenant", item.tenant_id
        case Application():
            return "application", item.object_id
        case ServicePrincipal():
            return "service_principal", item.object_id
        case User():
            return "user", item.object_id
        case StorageAccount():
            return "account", item.resource_id.lower()
        case RoleAssignment():
            return "role_assignment", f"{item.principal_id} {item.role} {item.scope}".lower()
        case Lock():
            return "lock", item.lock_id.lower()
    raise TypeError(type(item).__name__)


def _record(item: Item) -> dict[str, Any]:
    if isinstance(item, StorageAccount | User):
        return item.to_record()
    if not isinstance(item, Application | ServicePrincipal):
        return asdict(item)
    record = {item_field.name: getattr(item, item_field.name) for item_field in fields(item)}
    del record["secrets"]
    record["created_at"] = item.created_at.isoformat()
    if isinstance(item, Application):
        record["policy"] = item.policy.to_record() if item.policy else None
    return record


def _principal_fields(record: Mapping[str, Any], secrets: Mapping[str, list[Secret]]) -> dict[str, Any]:
    """Constructor arguments of an application or service principal, but for the application's policy."""
    arguments = {name: value for name, value in record.items() if name != "policy"}
    arguments["created_at"] = datetime.fromisoformat(record["created_at"])
    arguments["secrets"] = tuple(secrets.get(record["object_id"], ()))
    for name in ("owners", "identifier_uris", "roles", "delegated", "directory_roles"):
        if name in record:
            arguments[name] = tuple(record[name])
    return arguments
