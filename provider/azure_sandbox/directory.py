"""The directory: tenants with their applications, service principals, users, storage accounts and vaults.

Everything lives in memory and is written through to the :class:`~azure_sandbox.store.Store`. It is touched by one
thread only (the server's event loop), and no method awaits, so each call is atomic; there are no locks to forget.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from azure_sandbox.accounts import Lock, StorageAccount
from azure_sandbox.behaviour import Behaviour
from azure_sandbox.clouds import Cloud
from azure_sandbox.credential import Secret
from azure_sandbox.objects import (
    Application,
    Contents,
    Item,
    Principal,
    RoleAssignment,
    ServicePrincipal,
    Tenant,
    key_of,
    principal_fields,
    record_of,
)
from azure_sandbox.people import User
from azure_sandbox.policy import AppPolicy
from azure_sandbox.store import Store
from azure_sandbox.vaults import Vault

_Owned = TypeVar("_Owned", User, StorageAccount)


class Unknown(LookupError):
    """No such tenant, application, secret, account, user or fault."""


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
                Application(**principal_fields(record, secrets), policy=AppPolicy.from_record(record["policy"]))
            )
        for record in store.documents("service_principal"):
            self._index(ServicePrincipal(**principal_fields(record, secrets)))
        for record in store.documents("user"):
            self._index(User.from_record(record))
        for record in store.documents("account"):
            self._index(StorageAccount.from_record(record))
        for record in store.documents("role_assignment"):
            self._index(RoleAssignment(**record))
        for record in store.documents("lock"):
            self._index(Lock(**record))
        for record in store.documents("vault"):
            self._index(Vault.from_record(record))

    def _clear(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.users: dict[str, User] = {}
        self._user_by_upn: dict[str, User] = {}
        self.accounts: dict[str, StorageAccount] = {}
        self.role_assignments: dict[str, RoleAssignment] = {}
        self.locks: dict[str, Lock] = {}
        self.vaults: dict[str, Vault] = {}
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

    def within(self, tenant: str | None, items: Iterable[_Owned]) -> list[_Owned]:
        """Those that belong to the tenant of this id or domain; with None all.

        Raises:
            Unknown: no such tenant.
        """
        if not tenant:
            return list(items)
        found = self.find_tenant(tenant)
        if found is None:
            raise Unknown(f"no tenant {tenant!r}")
        return [item for item in items if item.tenant_id == found.tenant_id]

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
        """The application or service principal with this object id, else the application or managed identity with this
        appId."""
        key = id_.lower()
        found = self._applications.get(key) or self._service_principals.get(key) or self._app_by_app_id.get(key)
        return found or next((sp for sp in self._service_principals.values() if sp.managed and sp.app_id == key), None)

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

    def find_vault(self, name: str, cloud: Cloud | None = None) -> Vault | None:
        """The vault of this name in a cloud; names are unique there, in any case. Without a cloud the first one."""
        key = name.lower()
        return next(
            (
                vault
                for vault in self.vaults.values()
                if vault.name.lower() == key and cloud in {None, self.tenants[vault.tenant_id].cloud}
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
        kind, id_ = key_of(item)
        self._store.put(kind, id_, record_of(item))

    def delete(self, item: StorageAccount | RoleAssignment | Lock | User | ServicePrincipal) -> None:
        """Delete one object; what refers to it stays and leads nowhere."""
        kind, id_ = key_of(item)
        if isinstance(item, User):
            self._user_by_upn.pop(item.upn.lower(), None)
        if isinstance(item, ServicePrincipal):
            self._principal_by_app_id.pop((item.tenant_id, item.app_id.lower()), None)
        indexes: dict[str, dict[str, Any]] = {
            "account": self.accounts,
            "user": self.users,
            "role_assignment": self.role_assignments,
            "lock": self.locks,
            "service_principal": self._service_principals,
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
            contents.vaults,
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
                self.role_assignments[key_of(item)[1]] = item
            case Lock():
                self.locks[key_of(item)[1]] = item
            case Vault():
                self.vaults[key_of(item)[1]] = item
