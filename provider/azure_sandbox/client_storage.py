"""The control API's client, as far as it is about storage accounts, Resource Manager roles and locks."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from azure_sandbox.told import AccountInfo, read


class StorageControl:
    """A part of :class:`azure_sandbox.client.Control`. Accounts are named by their name or resource id."""

    def request(self, method: str, path: str, body: Any = None, *, timeout_seconds: float = 30.0) -> Any:
        """Make one call."""
        raise NotImplementedError

    def create_account(self, **record: Any) -> AccountInfo:
        """Make a storage account: ``name``, ``tenant``, ``subscription``, ``resource_group``, ``allow_shared_key``,
        ``directory_service``, ``keys``, ``keys_undated``, ``behaviour``, each optional, as in a seed; ``operators`` are
        applications that get the role of a key operator on it."""
        return read(AccountInfo, self.request("POST", "/accounts", record))

    def accounts(self, tenant: str | None = None) -> list[AccountInfo]:
        """All storage accounts, or a tenant's."""
        path = "/accounts" + (f"?{urlencode({'tenant': tenant})}" if tenant else "")
        return [read(AccountInfo, record) for record in self.request("GET", path)["accounts"]]

    def account(self, id_: str) -> AccountInfo:
        """One account, with the present values of its keys."""
        return read(AccountInfo, self.request("GET", _path(id_)))

    def update_account(self, id_: str, **changes: Any) -> AccountInfo:
        """Change ``allow_shared_key``, ``directory_service``, ``key_policy_days``, ``sas_period`` or ``behaviour``."""
        return read(AccountInfo, self.request("PATCH", _path(id_), changes))

    def delete_account(self, id_: str) -> None:
        """Delete an account."""
        self.request("DELETE", _path(id_))

    def regenerate_key(self, id_: str, key_name: str) -> AccountInfo:
        """Regenerate a key as a person in the portal would."""
        return read(AccountInfo, self.request("POST", f"{_path(id_)}/regenerate", {"key": key_name}))

    def verify_key(self, id_: str, value: str) -> str | None:
        """The name of the key that has this value now; None when none has. The journal doesn't see it."""
        found = self.request("POST", f"{_path(id_)}/verify", {"value": value})["key"]
        return str(found) if found is not None else None

    def grant(self, principal: str, role: str, scope: str) -> None:
        """Assign a Resource Manager role to an application (appId, object id or name) on a scope."""
        self.request("POST", "/role-assignments", {"principal": principal, "role": role, "scope": scope})

    def revoke(self, principal: str, role: str, scope: str) -> None:
        """Take a role assignment away."""
        self.request("DELETE", "/role-assignments", {"principal": principal, "role": role, "scope": scope})

    def lock(self, scope: str, level: str = "ReadOnly", *, name: str = "lock") -> None:
        """Set a management lock on a subscription, a group or a resource."""
        self.request("POST", "/locks", {"scope": scope, "level": level, "name": name})

    def unlock(self, scope: str) -> None:
        """Take the locks away that lie exactly on a scope."""
        self.request("DELETE", "/locks", {"scope": scope})


def _path(id_: str) -> str:
    # A resource id has slashes, which a path segment has not.
    return f"/accounts/{quote(id_.rstrip('/').rsplit('/', 1)[-1], safe='')}"
