"""Storage accounts, Resource Manager roles and locks as a seed writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azure_sandbox.accounts import KEY_NAMES, Lock, StorageAccount
from azure_sandbox.objects import RoleAssignment
from azure_sandbox.permissions import ARM_ROLES
from azure_sandbox.safe import Safe
from azure_sandbox.seed_reading import BadSeed, check_keys, instant, need

_ACCOUNT = frozenset(
    {
        "tenant",
        "subscription",
        "resource_group",
        "name",
        "location",
        "created_at",
        "keys",
        "keys_undated",
        "allow_shared_key",
        "directory_service",
        "key_policy_days",
        "sas_period",
        "behaviour",
    }
)
_SETTINGS = ("allow_shared_key", "directory_service", "key_policy_days", "sas_period")


def read_account(record: Mapping[str, Any], home: str, safe: Safe, now: datetime) -> StorageAccount:
    """Read a storage account; keys whose values it doesn't give are made up.

    Raises:
        BadSeed: an unknown or missing key, or a setting that no account has.
    """
    check_keys("storage account", record, _ACCOUNT)
    name = need("storage account", record, "name")
    values = record.get("keys", {})
    if not isinstance(values, Mapping) or set(values) - set(KEY_NAMES):
        raise BadSeed(f"{name}: keys is a table of {', '.join(KEY_NAMES)}")
    created_at = instant(name, record.get("created_at")) or now
    try:
        account = StorageAccount(
            tenant_id=str(record.get("tenant", home)).lower(),
            subscription_id=need("storage account", record, "subscription"),
            resource_group=need("storage account", record, "resource_group"),
            name=name,
            created_at=created_at,
            location=record.get("location", "westeurope"),
            behaviour=dict(record.get("behaviour", {})),
            **{setting: record[setting] for setting in _SETTINGS if setting in record},
        )
    except ValueError as error:
        raise BadSeed(str(error)) from None
    account.furnish(safe, at=None if record.get("keys_undated") else created_at, values=values)
    return account


def read_assignment(record: Mapping[str, Any], tenant_id: str, principal_id: str) -> RoleAssignment:
    """Read a role assignment to a principal that was found already.

    Raises:
        BadSeed: an unknown or missing key, or an unknown role.
    """
    check_keys("role assignment", record, frozenset({"principal", "role", "scope"}))
    if record.get("role") not in ARM_ROLES:
        raise BadSeed(f"role assignment: unknown role {record.get('role')!r}; known: {', '.join(ARM_ROLES)}")
    return RoleAssignment(
        tenant_id=tenant_id,
        principal_id=principal_id,
        role=need("role assignment", record, "role"),
        scope=need("role assignment", record, "scope"),
    )


def read_lock(record: Mapping[str, Any], home: str) -> Lock:
    """Read a management lock.

    Raises:
        BadSeed: an unknown or missing key, or an unknown level.
    """
    check_keys("lock", record, frozenset({"tenant", "scope", "name", "level", "notes"}))
    try:
        return Lock(
            tenant_id=str(record.get("tenant", home)).lower(),
            scope=need("lock", record, "scope"),
            name=record.get("name", "lock"),
            level=record.get("level", "ReadOnly"),
            notes=record.get("notes"),
        )
    except ValueError as error:
        raise BadSeed(str(error)) from None
