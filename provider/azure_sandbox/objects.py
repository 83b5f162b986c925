"""What a directory is made of: tenants, applications, service principals and role assignments; users, storage accounts
and vaults have modules of their own. How each becomes a document of the store, and comes back.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from azure_sandbox.accounts import Lock, StorageAccount
from azure_sandbox.clouds import ARM_APP_ID, CLOUDS, GRAPH_APP_ID, Cloud
from azure_sandbox.credential import Secret
from azure_sandbox.people import User
from azure_sandbox.policy import AppPolicy
from azure_sandbox.trust import FederatedCredential
from azure_sandbox.vaults import Vault

PERSONAL_AUDIENCES = frozenset({"AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"})
AUDIENCES = frozenset({"AzureADMyOrg", "AzureADMultipleOrgs"}) | PERSONAL_AUDIENCES


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
    """An application object.

    Attributes:
        certificates: in PEM, for signing in without a secret.
        federated: tokens of others that it signs in with.
        behaviour: settings of its own, on top of the global ones.
    """

    audience: str = "AzureADMyOrg"
    identifier_uris: tuple[str, ...] = ()
    policy: AppPolicy | None = None
    certificates: tuple[str, ...] = ()
    federated: tuple[FederatedCredential, ...] = ()
    behaviour: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ServicePrincipal(Principal):
    """A service principal.

    Attributes:
        roles: Microsoft Graph app roles that were granted to it.
        delegated: Microsoft Graph permissions that an administrator consented to, for acting as any user.
        directory_roles: directory roles by display name.
        managed: ``system`` or ``user`` for a managed identity, assigned by the one or the other; empty otherwise.
    """

    enabled: bool = True
    roles: tuple[str, ...] = ()
    delegated: tuple[str, ...] = ()
    directory_roles: tuple[str, ...] = ()
    managed: str = ""


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
    vaults: tuple[Vault, ...] = ()


Item = Tenant | Application | ServicePrincipal | User | StorageAccount | RoleAssignment | Lock | Vault


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


def key_of(item: object) -> tuple[str, str]:
    """The kind and id under which the store keeps an object."""
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
        case Vault():
            return "vault", item.resource_id.lower()
    raise TypeError(type(item).__name__)


def record_of(item: Item) -> dict[str, Any]:
    """A JSON-able form of an object; of an application or service principal all but its secrets."""
    if isinstance(item, StorageAccount | User | Vault):
        return item.to_record()
    if not isinstance(item, Application | ServicePrincipal):
        return asdict(item)
    record = {item_field.name: getattr(item, item_field.name) for item_field in fields(item)}
    del record["secrets"]
    record["created_at"] = item.created_at.isoformat()
    if isinstance(item, Application):
        record["policy"] = item.policy.to_record() if item.policy else None
        record["federated"] = [asdict(trusted) for trusted in item.federated]
    return record


def principal_fields(record: Mapping[str, Any], secrets: Mapping[str, list[Secret]]) -> dict[str, Any]:
    """Constructor arguments of an application or service principal, but for the application's policy."""
    arguments = {name: value for name, value in record.items() if name != "policy"}
    arguments["created_at"] = datetime.fromisoformat(record["created_at"])
    arguments["secrets"] = tuple(secrets.get(record["object_id"], ()))
    for name in ("owners", "identifier_uris", "roles", "delegated", "directory_roles", "certificates"):
        if name in record:
            arguments[name] = tuple(record[name])
    if "federated" in record:
        arguments["federated"] = tuple(FederatedCredential(**trusted) for trusted in record["federated"])
    return arguments
