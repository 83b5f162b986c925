"""Seed files: the directory that a sandbox starts with, as TOML that a person reads and edits.

``default_seed.toml``, beside this module, is the default and the reference of every key. A seed names principals by
application name or user principal name; ids that it leaves out are derived from names, so that the same seed gives the
same directory each time.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

from azure_sandbox.clouds import CLOUDS
from azure_sandbox.credential import Secret, make_secret
from azure_sandbox.directory import (
    AUDIENCES,
    Application,
    Contents,
    RoleAssignment,
    ServicePrincipal,
    StorageAccount,
    Tenant,
    User,
    new_tenant,
)
from azure_sandbox.permissions import APP_ROLE_IDS, ARM_ROLES
from azure_sandbox.policy import AppPolicy

_NAMESPACE = uuid.UUID("6f1c1a52-3f0e-4d6b-9d1c-5a6e0e3f7a10")
_KEYS: Mapping[str, frozenset[str]] = {
    "seed": frozenset({"tenants", "applications", "users", "storage_accounts", "role_assignments"}),
    "tenant": frozenset({"id", "name", "domain", "cloud", "policy"}),
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
            "enabled",
            "policy",
            "secrets",
            "service_principal_secrets",
            "behaviour",
        }
    ),
    "secret": frozenset({"name", "key_id", "value", "days", "starts_at", "ends_at", "hand_over"}),
    "user": frozenset({"tenant", "upn", "name", "object_id", "password"}),
    "storage account": frozenset({"tenant", "subscription", "resource_group", "name", "location"}),
    "role assignment": frozenset({"principal", "role", "scope"}),
    "policy": frozenset({"policy_id", "max_lifetime", "forbid_passwords", "enabled"}),
}


class BadSeed(ValueError):
    """A seed that can't be loaded; the message says where and why. Nothing was changed."""


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


def plant(text: str, now: datetime) -> Planted:
    """Read a seed; secrets without dates of their own begin at ``now``.

    Raises:
        BadSeed: not TOML, an unknown or missing key, or a name that leads nowhere.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSeed(f"seed is not TOML: {error}") from None
    return Planter(now).plant(document)


class Planter:
    """Turns seed records into directory objects; ``known`` are principals that exist already, by name."""

    def __init__(self, now: datetime, known: Mapping[str, str] | None = None) -> None:
        self._now = now
        self._principals: dict[str, str] = dict(known or {})
        self._values: dict[tuple[str, str | None], str] = {}
        self._hand_over: dict[str, str] = {}

    def plant(self, document: Mapping[str, Any]) -> Planted:
        """Read a whole seed.

        Raises:
            BadSeed: an unknown or missing key, or a name that leads nowhere.
        """
        _check_keys("seed", document)
        tenants: list[Tenant] = []
        principals: list[ServicePrincipal] = []
        for record in document.get("tenants", ()):
            tenant, built_in = self.tenant(record)
            tenants.append(tenant)
            principals.extend(built_in)
        if not tenants:
            raise BadSeed("seed has no [[tenants]]")
        home = tenants[0].tenant_id
        users = [self.user(record, home) for record in document.get("users", ())]
        for record in document.get("applications", ()):
            _check_keys("application", record)
            name, tenant_id = _need("application", record, "name"), record.get("tenant", home)
            self._principals[name] = record.get("service_principal_id") or _derived(tenant_id, "principal", name)
        applications: list[Application] = []
        for record in document.get("applications", ()):
            application, principal = self.application(record, home)
            applications.append(application)
            principals.append(principal)
        accounts = [self._account(record, home) for record in document.get("storage_accounts", ())]
        assignments = [self._assignment(record, home) for record in document.get("role_assignments", ())]
        known = {tenant.tenant_id for tenant in tenants}
        named: list[Application | User | StorageAccount] = [*applications, *users, *accounts]
        for item in named:
            if item.tenant_id not in known:
                raise BadSeed(f"{item.name}: no tenant {item.tenant_id} in this seed")
        contents = Contents(
            tenants=tuple(tenants),
            applications=tuple(applications),
            service_principals=tuple(principals),
            users=tuple(users),
            accounts=tuple(accounts),
            role_assignments=tuple(assignments),
        )
        return self.planted(contents)

    def planted(self, contents: Contents) -> Planted:
        """``contents`` with the values met so far."""
        return Planted(contents=contents, values=dict(self._values), hand_over=dict(self._hand_over))

    def tenant(self, record: Mapping[str, Any]) -> tuple[Tenant, tuple[ServicePrincipal, ...]]:
        """Read one tenant."""
        _check_keys("tenant", record)
        cloud = record.get("cloud", "public")
        if cloud not in CLOUDS:
            raise BadSeed(f"tenant: unknown cloud {cloud!r}; known: {', '.join(CLOUDS)}")
        tenant, built_in = new_tenant(
            tenant_id=_guid("tenant", record.get("id")),
            name=_need("tenant", record, "name"),
            domain=record.get("domain"),
            cloud=cloud,
            created_at=self._now,
        )
        tenant.policy = _policy(record.get("policy"), tenant.tenant_id)
        return tenant, built_in

    def application(self, record: Mapping[str, Any], home: str) -> tuple[Application, ServicePrincipal]:
        """Read one application with its service principal."""
        _check_keys("application", record)
        name = _need("application", record, "name")
        tenant_id = str(record.get("tenant", home)).lower()
        audience = record.get("audience", "AzureADMyOrg")
        if audience not in AUDIENCES:
            raise BadSeed(f"{name}: unknown audience {audience!r}; known: {', '.join(sorted(AUDIENCES))}")
        roles = tuple(record.get("roles", ()))
        if unknown := [role for role in roles if role not in APP_ROLE_IDS]:
            raise BadSeed(f"{name}: unknown role {unknown[0]!r}; known: {', '.join(APP_ROLE_IDS)}")
        principal_id = _guid(name, record.get("service_principal_id")) or _derived(tenant_id, "principal", name)
        self._principals[name] = principal_id
        app_id = _guid(name, record.get("app_id")) or _derived(tenant_id, "app", name)
        owners = tuple(self._principal(name, owner) for owner in record.get("owners", ()))
        object_id = _guid(name, record.get("object_id")) or _derived(tenant_id, "application", name)
        application = Application(
            object_id=object_id,
            app_id=app_id,
            tenant_id=tenant_id,
            name=name,
            created_at=self._now,
            owners=owners,
            secrets=self._secrets(name, object_id, record.get("secrets", ())),
            audience=audience,
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
            roles=roles,
        )
        return application, principal

    def user(self, record: Mapping[str, Any], home: str) -> User:
        """Read one user."""
        _check_keys("user", record)
        upn = _need("user", record, "upn")
        tenant_id = str(record.get("tenant", home)).lower()
        salt = os.urandom(16)
        user = User(
            object_id=_guid(upn, record.get("object_id")) or _derived(tenant_id, "user", upn),
            tenant_id=tenant_id,
            upn=upn,
            name=record.get("name", upn),
            salt=salt.hex(),
            # People choose short passwords, so this hash is a slow one.
            digest=hashlib.scrypt(record.get("password", "").encode(), salt=salt, n=2**12, r=8, p=1).hex(),
        )
        self._principals[upn] = user.object_id
        return user

    def secret(self, owner: str, holder_id: str, record: Mapping[str, Any]) -> Secret:
        """Read one secret of the application named ``owner``."""
        _check_keys("secret", record)
        starts_at = _instant(owner, record.get("starts_at")) or self._now
        ends_at = _instant(owner, record.get("ends_at"))
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
            key_id=_guid(owner, record.get("key_id")) or _derived(holder_id, "secret", name or ""),
        )
        self._values[owner, name] = made.value
        if record.get("hand_over"):
            self._hand_over[owner] = made.value
        return made.secret

    def _secrets(self, owner: str, holder_id: str, records: Any) -> tuple[Secret, ...]:
        return tuple(self.secret(owner, holder_id, record) for record in records)

    def _principal(self, where: str, name: str) -> str:
        if name in self._principals:
            return self._principals[name]
        if _is_guid(name):
            return name.lower()
        raise BadSeed(f"{where}: nobody is called {name!r}")

    def _account(self, record: Mapping[str, Any], home: str) -> StorageAccount:
        _check_keys("storage account", record)
        return StorageAccount(
            tenant_id=str(record.get("tenant", home)).lower(),
            subscription_id=_need("storage account", record, "subscription"),
            resource_group=_need("storage account", record, "resource_group"),
            name=_need("storage account", record, "name"),
            location=record.get("location", "westeurope"),
        )

    def _assignment(self, record: Mapping[str, Any], home: str) -> RoleAssignment:
        _check_keys("role assignment", record)
        if record.get("role") not in ARM_ROLES:
            raise BadSeed(f"role assignment: unknown role {record.get('role')!r}; known: {', '.join(ARM_ROLES)}")
        return RoleAssignment(
            tenant_id=home,
            principal_id=self._principal("role assignment", _need("role assignment", record, "principal")),
            role=_need("role assignment", record, "role"),
            scope=_need("role assignment", record, "scope"),
        )


def _check_keys(kind: str, record: Mapping[str, Any]) -> None:
    if not isinstance(record, Mapping):
        raise BadSeed(f"{kind}: expected a table, not {record!r}")
    if unknown := sorted(set(record) - _KEYS[kind]):
        raise BadSeed(f"{kind}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(_KEYS[kind]))}")


def _need(kind: str, record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise BadSeed(f"{kind}: {key} is missing")
    return value


def _policy(record: Mapping[str, Any] | None, holder_id: str) -> AppPolicy | None:
    if record is None:
        return None
    _check_keys("policy", record)
    try:
        return AppPolicy(**{"policy_id": _derived(holder_id, "policy", ""), **record})
    except ValueError as error:
        raise BadSeed(f"policy: {error}") from None


def _instant(where: str, value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise BadSeed(f"{where}: not an instant: {value!r}") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise BadSeed(f"{where}: an instant needs a date, a time and an offset, as 2030-01-31T12:00:00Z")
    return value


def _is_guid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", text) is not None


def _guid(where: str, text: str | None) -> str | None:
    if text is None:
        return None
    if not _is_guid(text):
        raise BadSeed(f"{where}: {text!r} is no GUID")
    return text.lower()


def _derived(scope: str, kind: str, name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{scope} {kind} {name}"))
