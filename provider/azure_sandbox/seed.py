"""Seed files: the directory that a sandbox starts with, as TOML that a person reads and edits.

``default_seed.toml``, beside this module, is the default and the reference of every key. A seed names principals by
application name or user principal name; ids that it leaves out are derived from names, so that the same seed gives the
same directory each time.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

from azure_sandbox.accounts import Lock, StorageAccount
from azure_sandbox.clouds import CLOUDS
from azure_sandbox.credential import Secret, make_secret
from azure_sandbox.directory_roles import DIRECTORY_ROLES
from azure_sandbox.objects import AUDIENCES, Application, Contents, RoleAssignment, ServicePrincipal, Tenant, new_tenant
from azure_sandbox.people import User
from azure_sandbox.permissions import APP_ROLE_IDS, DELEGATED
from azure_sandbox.policy import AppPolicy
from azure_sandbox.safe import Safe
from azure_sandbox.seed_identities import read_identity, read_trust, read_vault
from azure_sandbox.seed_reading import BadSeed, check_keys, derived, guid, instant, is_guid, need
from azure_sandbox.seed_storage import read_account, read_assignment, read_lock
from azure_sandbox.seed_users import read_user
from azure_sandbox.vaults import Vault

__all__ = ["BadSeed", "Planted", "Planter", "default_seed", "plant", "read_grants"]

_KEYS: Mapping[str, frozenset[str]] = {
    "seed": frozenset(
        {
            "tenants",
            "applications",
            "users",
            "storage_accounts",
            "role_assignments",
            "locks",
            "managed_identities",
            "vaults",
        }
    ),
    "tenant": frozenset({"id", "name", "domain", "cloud", "policy", "banned_passwords"}),
    "application": frozenset(
        {
            "tenant",
            "name",
            "app_id",
            "object_id",
            "service_principal_id",
            "audience",
            "identifier_uris",
            "owners",
            "roles",
            "delegated",
            "directory_roles",
            "enabled",
            "policy",
            "secrets",
            "certificates",
            "federated_credentials",
            "service_principal_secrets",
            "behaviour",
        }
    ),
    "secret": frozenset({"name", "key_id", "value", "days", "starts_at", "ends_at", "hand_over"}),
    "policy": frozenset({"policy_id", "max_lifetime", "forbid_passwords", "enabled"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What a seed stands for: the directory, and the clear values that it names.

    Attributes:
        contents: the directory, hashed.
        values: (application name, secret name) to value, for every secret made: known from the seed or generated.
        hand_over: application name to the value that goes into ``<state>/secrets/<name>``.
    """

    contents: Contents
    values: Mapping[tuple[str, str | None], str] = field(repr=False)
    hand_over: Mapping[str, str] = field(repr=False)


def default_seed() -> str:
    """The text of the default seed."""
    return files("azure_sandbox").joinpath("default_seed.toml").read_text(encoding="utf-8")


def plant(text: str, now: datetime, safe: Safe) -> Planted:
    """Read a seed; secrets without dates of their own begin at ``now``.

    Raises:
        BadSeed: not TOML, an unknown or missing key, or a name that leads nowhere.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSeed(f"seed is not TOML: {error}") from None
    return Planter(now, safe).plant(document)


class Planter:
    """Turns seed records into directory objects; ``known`` are principals that exist already, by name."""

    def __init__(self, now: datetime, safe: Safe, known: Mapping[str, str] | None = None) -> None:
        self._now = now
        self._safe = safe
        self._principals: dict[str, str] = dict(known or {})
        self._values: dict[tuple[str, str | None], str] = {}
        self._hand_over: dict[str, str] = {}

    def plant(self, document: Mapping[str, Any]) -> Planted:
        """Read a whole seed.

        Raises:
            BadSeed: an unknown or missing key, or a name that leads nowhere.
        """
        _check("seed", document)
        tenants: list[Tenant] = []
        principals: list[ServicePrincipal] = []
        for record in document.get("tenants", ()):
            tenant, built_in = self.tenant(record)
            tenants.append(tenant)
            principals.extend(built_in)
        if not tenants:
            raise BadSeed("seed has no [[tenants]]")
        home = tenants[0].tenant_id
        users = [read_user(record, home, self._now) for record in document.get("users", ())]
        self._principals |= {user.upn: user.object_id for user in users}
        for record in document.get("applications", ()):
            _check("application", record)
            name, tenant_id = need("application", record, "name"), record.get("tenant", home)
            self._principals[name] = record.get("service_principal_id") or derived(tenant_id, "principal", name)
        for record in document.get("managed_identities", ()):
            grants = read_grants(str(record.get("name", "managed identity")), record)
            identity = read_identity(record, home, self._now, grants)
            self._principals[identity.name] = identity.object_id
            principals.append(identity)
        applications: list[Application] = []
        for record in document.get("applications", ()):
            application, principal = self.application(record, home)
            applications.append(application)
            principals.append(principal)
        accounts = [
            read_account(record, home, self._safe, self._now) for record in document.get("storage_accounts", ())
        ]
        home_of = {item.object_id: item.tenant_id for item in principals} | {
            user.object_id: user.tenant_id for user in users
        }
        assignments = [self._assignment(record, home, home_of) for record in document.get("role_assignments", ())]
        vaults = [read_vault(record, home, self._safe, self._now) for record in document.get("vaults", ())]
        locks = [read_lock(record, home) for record in document.get("locks", ())]
        known = {tenant.tenant_id: tenant for tenant in tenants}
        named: list[Application | ServicePrincipal | User | StorageAccount | Vault | Lock] = [
            *applications,
            *principals,
            *users,
            *accounts,
            *vaults,
            *locks,
        ]
        for item in named:
            if item.tenant_id not in known:
                raise BadSeed(f"{item.name}: no tenant {item.tenant_id} in this seed")
        hosted: list[StorageAccount | Vault] = [*accounts, *vaults]
        places = [(type(item), known[item.tenant_id].cloud_name, item.name.lower()) for item in hosted]
        if twice := [place[2] for place in places if places.count(place) > 1]:
            raise BadSeed(f"{twice[0]}: the name is taken; names of accounts and vaults are unique in a cloud")
        contents = Contents(
            tenants=tuple(tenants),
            applications=tuple(applications),
            service_principals=tuple(principals),
            users=tuple(users),
            accounts=tuple(accounts),
            role_assignments=tuple(assignments),
            locks=tuple(locks),
            vaults=tuple(vaults),
        )
        return self.planted(contents)

    def planted(self, contents: Contents) -> Planted:
        """``contents`` with the values met so far."""
        return Planted(contents=contents, values=dict(self._values), hand_over=dict(self._hand_over))

    def tenant(self, record: Mapping[str, Any]) -> tuple[Tenant, tuple[ServicePrincipal, ...]]:
        """Read one tenant."""
        _check("tenant", record)
        cloud = record.get("cloud", "public")
        if cloud not in CLOUDS:
            raise BadSeed(f"tenant: unknown cloud {cloud!r}; known: {', '.join(CLOUDS)}")
        tenant, built_in = new_tenant(
            tenant_id=guid("tenant", record.get("id")),
            name=need("tenant", record, "name"),
            domain=record.get("domain"),
            cloud=cloud,
            created_at=self._now,
        )
        tenant.policy = _policy(record.get("policy"), tenant.tenant_id)
        tenant.banned_passwords = tuple(str(word) for word in record.get("banned_passwords", ()))
        return tenant, built_in

    def application(self, record: Mapping[str, Any], home: str) -> tuple[Application, ServicePrincipal]:
        """Read one application with its service principal."""
        _check("application", record)
        name = need("application", record, "name")
        tenant_id = str(record.get("tenant", home)).lower()
        audience = record.get("audience", "AzureADMyOrg")
        if audience not in AUDIENCES:
            raise BadSeed(f"{name}: unknown audience {audience!r}; known: {', '.join(sorted(AUDIENCES))}")
        principal_id = guid(name, record.get("service_principal_id")) or derived(tenant_id, "principal", name)
        self._principals[name] = principal_id
        app_id = guid(name, record.get("app_id")) or derived(tenant_id, "app", name)
        owners = tuple(self._principal(name, owner) for owner in record.get("owners", ()))
        certificates, federated = read_trust(name, record)
        object_id = guid(name, record.get("object_id")) or derived(tenant_id, "application", name)
        application = Application(
            object_id=object_id,
            app_id=app_id,
            tenant_id=tenant_id,
            name=name,
            created_at=self._now,
            owners=owners,
            secrets=self._secrets(name, object_id, record.get("secrets", ())),
            audience=audience,
            certificates=certificates,
            federated=federated,
            identifier_uris=tuple(record.get("identifier_uris", ())),
            policy=_policy(record.get("policy"), object_id),
            behaviour=dict(record.get("behaviour", {})),
        )
        principal = ServicePrincipal(
            object_id=principal_id,
            app_id=app_id,
            tenant_id=tenant_id,
            name=name,
            created_at=self._now,
            owners=owners,
            secrets=self._secrets(name, principal_id, record.get("service_principal_secrets", ())),
            enabled=bool(record.get("enabled", True)),
            **read_grants(name, record),
        )
        return application, principal

    def secret(self, owner: str, holder_id: str, record: Mapping[str, Any]) -> Secret:
        """Read one secret of the application named ``owner``."""
        _check("secret", record)
        starts_at = instant(owner, record.get("starts_at")) or self._now
        ends_at = instant(owner, record.get("ends_at"))
        if ends_at is None and "days" in record:
            ends_at = starts_at + timedelta(days=float(record["days"]))
        name = record.get("name")
        made = make_secret(
            origin="seed",
            added_at=self._now,
            display_name=name,
            starts_at=starts_at,
            ends_at=ends_at,
            value=record.get("value"),
            key_id=guid(owner, record.get("key_id")) or derived(holder_id, "secret", name or ""),
        )
        self._values[owner, name] = made.value
        if record.get("hand_over"):
            self._hand_over[owner] = made.value
        return made.secret

    def _secrets(self, owner: str, holder_id: str, records: Any) -> tuple[Secret, ...]:
        return tuple(self.secret(owner, holder_id, record) for record in records)

    def _assignment(self, record: Mapping[str, Any], home: str, home_of: Mapping[str, str]) -> RoleAssignment:
        principal_id = self._principal("role assignment", need("role assignment", record, "principal"))
        return read_assignment(record, home_of.get(principal_id, home), principal_id)

    def _principal(self, where: str, name: str) -> str:
        if name in self._principals:
            return self._principals[name]
        if is_guid(name):
            return name.lower()
        raise BadSeed(f"{where}: nobody is called {name!r}")


def read_grants(where: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record grants a service principal: those of ``roles``, ``delegated``, ``directory_roles`` that it has.

    Raises:
        BadSeed: an unknown role or permission.
    """
    grants: dict[str, Any] = {}
    for key, known in (("roles", APP_ROLE_IDS), ("delegated", sorted(DELEGATED)), ("directory_roles", DIRECTORY_ROLES)):
        if key not in record:
            continue
        grants[key] = tuple(record[key])
        if unknown := [name for name in grants[key] if name not in known]:
            raise BadSeed(f"{where}: unknown role {unknown[0]!r}; known: {', '.join(known)}")
    return grants


def _check(kind: str, record: Mapping[str, Any]) -> None:
    check_keys(kind, record, _KEYS[kind])


def _policy(record: Mapping[str, Any] | None, holder_id: str) -> AppPolicy | None:
    if record is None:
        return None
    _check("policy", record)
    try:
        return AppPolicy(**{"policy_id": derived(holder_id, "policy", ""), **record})
    except ValueError as error:
        raise BadSeed(f"policy: {error}") from None
