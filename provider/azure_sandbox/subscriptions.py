"""What a test may do to subscriptions: make accounts, grant roles, set locks, regenerate keys as a person would."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from azure_sandbox.accounts import StorageAccount
from azure_sandbox.clock import Clock
from azure_sandbox.directory import Directory, Unknown
from azure_sandbox.objects import Contents, RoleAssignment
from azure_sandbox.permissions import ARM_ROLES, KEY_OPERATOR
from azure_sandbox.safe import Safe
from azure_sandbox.seed_reading import BadSeed, check_keys
from azure_sandbox.seed_storage import read_account, read_lock

_SETTINGS = frozenset({"allow_shared_key", "directory_service", "key_policy_days", "sas_period"})


class Subscriptions:
    """Storage accounts, role assignments and locks of one world; reached over the control API only."""

    def __init__(self, directory: Directory, safe: Safe, clock: Clock) -> None:
        self._directory = directory
        self._safe = safe
        self._clock = clock

    def furnish(self) -> None:
        """Give keys to the accounts that an earlier release kept without any."""
        for account in self._directory.accounts.values():
            if not account.keys:
                account.furnish(self._safe, at=account.created_at)
                self._directory.save(account)

    def create(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make a storage account (keys as in a seed; all may be left out).

        ``operators`` are appIds or names of applications that get the role of a key operator on it.

        Returns:
            What :meth:`describe` tells.

        Raises:
            BadSeed: an unknown key or operator, or a name that is taken in its cloud.
        """
        given = dict(record)
        operators = given.pop("operators", ())
        home = next(iter(self._directory.tenants))
        tenant = self._directory.find_tenant(str(given.get("tenant", home)))
        if tenant is None:
            raise BadSeed(f"storage account: no tenant {given.get('tenant')!r}")
        made_up = {
            "name": f"account{uuid.uuid4().hex[:12]}",
            "subscription": str(uuid.uuid4()),
            "resource_group": "group",
        }
        given = {**made_up, **given, "tenant": tenant.tenant_id}
        account = read_account(given, tenant.tenant_id, self._safe, self._clock.now())
        if self._directory.find_account(account.name, tenant.cloud) is not None:
            raise BadSeed(f"storage account {account.name}: the name is taken; names are unique in a cloud")
        roles = [
            self._assignment({"principal": operator, "role": KEY_OPERATOR, "scope": account.resource_id})
            for operator in operators
        ]
        self._directory.merge(Contents(accounts=(account,), role_assignments=tuple(roles)))
        return self.describe(account)

    def list(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """All accounts, or a tenant's.

        Raises:
            Unknown: no such tenant.
        """
        return [self.describe(one) for one in self._directory.within(tenant, self._directory.accounts.values())]

    def get(self, id_: str) -> StorageAccount:
        """The account of this name or resource id.

        Raises:
            Unknown: there is none.
        """
        account = self._directory.accounts.get(id_.lower()) or self._directory.find_account(id_)
        if account is None:
            raise Unknown(f"no storage account {id_!r}")
        return account

    def update(self, id_: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings of an account as a person would in the portal, or its ``behaviour``.

        Raises:
            Unknown: no such account.
            ValueError: an unknown setting, or a value of the wrong kind.
        """
        account = self.get(id_)
        check_keys("storage account", changes, _SETTINGS | {"behaviour"})
        changed = account.changed(**{name: value for name, value in changes.items() if name in _SETTINGS})
        self._directory.save(changed)
        if "behaviour" in changes:
            self._directory.set_behaviour(changes["behaviour"], changed)
        return self.describe(changed)

    def delete(self, id_: str) -> None:
        """Delete an account; roles and locks on it stay and lead nowhere.

        Raises:
            Unknown: no such account.
        """
        self._directory.delete(self.get(id_))

    def regenerate(self, id_: str, key_name: str) -> dict[str, Any]:
        """Regenerate a key as a person would in the portal.

        Raises:
            Unknown: no such account.
            ValueError: no key has this name.
        """
        account = self.get(id_)
        account.regenerate(key_name, self._safe, self._clock.now())
        self._directory.save(account)
        return self.describe(account)

    def verify(self, id_: str, value: str) -> str | None:
        """The name of the key that has this value now; None when none has.

        Raises:
            Unknown: no such account.
        """
        account = self.get(id_)
        return next((key.name for key in account.keys if self._safe.open(key.sealed_value) == value), None)

    # Roles and locks.

    def grant(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Assign a Resource Manager role: ``principal`` (appId, name or object id), ``role``, ``scope``.

        Raises:
            BadSeed: an unknown principal or role.
        """
        assignment = self._assignment(record)
        self._directory.save(assignment)
        return {"principal_id": assignment.principal_id, "role": assignment.role, "scope": assignment.scope}

    def revoke(self, record: Mapping[str, Any]) -> None:
        """Take a role assignment away, named as for :meth:`grant`; one that is not there is no error."""
        self._directory.delete(self._assignment(record))

    def lock(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Set a lock: ``scope``, and ``level``, ``name``, ``notes`` where they matter.

        Raises:
            BadSeed: an unknown level.
        """
        lock = read_lock(record, self._tenant_of(str(record.get("scope", ""))))
        self._directory.save(lock)
        return {"scope": lock.scope, "name": lock.name, "level": lock.level}

    def unlock(self, record: Mapping[str, Any]) -> None:
        """Take the locks away that lie exactly on ``scope``.

        Raises:
            Unknown: there are none.
        """
        scope = str(record.get("scope", "")).rstrip("/").lower()
        found = [lock for lock in self._directory.locks.values() if lock.scope.rstrip("/").lower() == scope]
        if not found:
            raise Unknown(f"no lock on {record.get('scope')!r}")
        for lock in found:
            self._directory.delete(lock)

    def describe(self, account: StorageAccount) -> dict[str, Any]:
        """An account, with the present values of its keys."""
        cloud = self._directory.tenants[account.tenant_id].cloud
        return {
            "name": account.name,
            "tenant_id": account.tenant_id,
            "cloud": cloud.name,
            "subscription_id": account.subscription_id,
            "resource_group": account.resource_group,
            "resource_id": account.resource_id,
            "blob_host": cloud.blob_host(account.name),
            "allow_shared_key": account.allow_shared_key,
            "keys": {key.name: self._safe.open(key.sealed_value) for key in account.keys},
            "key_created_at": {
                key.name: key.created_at.isoformat() if key.created_at else None for key in account.keys
            },
        }

    def _assignment(self, record: Mapping[str, Any]) -> RoleAssignment:
        check_keys("role assignment", record, frozenset({"principal", "role", "scope"}))
        name = str(record.get("principal", ""))
        if record.get("role") not in ARM_ROLES:
            raise BadSeed(f"role assignment: unknown role {record.get('role')!r}; known: {', '.join(ARM_ROLES)}")
        named = self._directory.find_any(name) or next(
            (item for item in self._directory.applications() if item.name == name), None
        )
        if named is None:
            raise BadSeed(f"role assignment: nobody is called {name!r}")
        principal = self._directory.find_service_principal(named.tenant_id, app_id=named.app_id)
        return RoleAssignment(
            tenant_id=named.tenant_id,
            principal_id=principal.object_id if principal else named.object_id,
            role=record["role"],
            scope=str(record.get("scope", "")),
        )

    def _tenant_of(self, scope: str) -> str:
        """The tenant of the subscription that a scope lies in, as its accounts tell; else the first tenant."""
        subscription = "/".join(scope.split("/")[:3]).lower() + "/"
        owner = (item.tenant_id for key, item in self._directory.accounts.items() if key.startswith(subscription))
        return next(owner, next(iter(self._directory.tenants)))
