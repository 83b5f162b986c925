"""The storage resource provider: accounts, their keys, and what may be changed about them.

regenerateKey gives the named key a new value and leaves the others alone; a Kerberos key is made when it is first
regenerated. There is no way to say "only if it is still the value I saw".

Sources: "Storage Accounts - List Keys", "- Regenerate Key", "- Get Properties" and "- Update" (2026-09-01) on
learn.microsoft.com; answers as recorded by the Azure SDKs' tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

from azure_sandbox.accounts import ACCESS_KEYS, KERBEROS_KEYS, KEY_NAMES, StorageAccount
from azure_sandbox.clock import format_instant
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Operation, operation
from azure_sandbox.safe import Safe
from azure_sandbox.tokens import Caller

_ACCOUNTS = "/providers/Microsoft.Storage/storageAccounts"
_KIND = "Microsoft.Storage/storageAccounts"
_SAS_PERIOD = re.compile(r"(?:\d{1,5}\.)?[0-2]\d:[0-5]\d:[0-5]\d")


class ResourceManager(Protocol):
    """What a resource provider asks of Resource Manager; see :class:`azure_sandbox.arm.Arm`."""

    def authorize(self, call: Call, scope: str, action: str, *, writes: bool = False) -> Caller: ...

    def answer(self, call: Call, body: dict[str, Any]) -> Answer: ...

    def refuse(self, call: Call, status: int, code: str, message: str) -> NoReturn: ...


class StorageProvider:
    """``Microsoft.Storage`` behind Resource Manager."""

    def __init__(self, directory: Directory, safe: Safe, manager: ResourceManager) -> None:
        self._directory = directory
        self._safe = safe
        self._manager = manager

    def operations(self, group: str) -> Iterator[Operation]:
        """Its part of the table; ``group`` is the path of a resource group."""
        accounts = group + _ACCOUNTS
        account = accounts + "/{account}"
        yield operation("arm.listKeys", "POST", account + "/listKeys", self._list_keys)
        yield operation("arm.regenerateKey", "POST", account + "/regenerateKey", self._regenerate, writes=True)
        yield operation("arm.getStorageAccount", "GET", account, self._get)
        yield operation("arm.updateStorageAccount", "PATCH", account, self._update, writes=True)
        yield operation("arm.listStorageAccountsByGroup", "GET", accounts, self._list)
        yield operation("arm.listStorageAccounts", "GET", "/subscriptions/{subscription}" + _ACCOUNTS, self._list)

    def identify(self, call: Call) -> None:
        """Note the account that the path names, whether or not there is one."""
        if "account" in call.params:
            call.entry.account = call.params["account"].lower()
            call.account = self._directory.accounts.get(_scope(call).lower())

    # Handlers.

    def _get(self, call: Call) -> Answer:
        return self._manager.answer(call, self._resource(self._account(call, "read")))

    def _list(self, call: Call) -> Answer:
        scope = call.path.lower().partition(_ACCOUNTS.lower())[0]
        caller = self._manager.authorize(call, scope, f"{_KIND}/read")
        rows = [
            self._resource(account)
            for account in self._directory.accounts.values()
            if account.tenant_id == caller.tenant_id and account.resource_id.lower().startswith(f"{scope}/")
        ]
        return self._manager.answer(call, {"value": rows})

    def _list_keys(self, call: Call) -> Answer:
        account = self._account(call, "listKeys/action", writes=True)
        expand = call.query.get("$expand", "").lower()
        if expand not in {"", "kerb"}:
            self._invalid(call, "$expand")
        return self._manager.answer(call, self._keys(account, KEY_NAMES if expand else ACCESS_KEYS))

    def _regenerate(self, call: Call) -> Answer:
        account = self._account(call, "regenerateKey/action", writes=True)
        name = self._body(call).get("keyName")
        if not isinstance(name, str) or name.lower() not in KEY_NAMES:
            self._invalid(call, "keyName")
        made = account.regenerate(name.lower(), self._safe, call.now)
        self._directory.save(account)
        call.entry.committed = True
        call.entry.key_id = made.name
        call.handed_out = made
        return self._manager.answer(call, self._keys(account, KEY_NAMES if made.name in KERBEROS_KEYS else ACCESS_KEYS))

    def _update(self, call: Call) -> Answer:
        account = self._account(call, "write", writes=True)
        asked = self._body(call).get("properties", {})
        if not isinstance(asked, dict):
            self._invalid(call, "properties")
        changed = account.changed()
        shared = asked.get("allowSharedKeyAccess", account.allow_shared_key)
        if not isinstance(shared, bool | None):
            self._invalid(call, "allowSharedKeyAccess")
        changed.allow_shared_key = shared
        if asked.get("keyPolicy") is not None:
            changed.key_policy_days = self._key_policy(call, account, asked["keyPolicy"])
        if asked.get("sasPolicy") is not None:
            period = asked["sasPolicy"].get("sasExpirationPeriod") if isinstance(asked["sasPolicy"], dict) else None
            if not isinstance(period, str) or not _SAS_PERIOD.fullmatch(period):
                self._invalid(call, "sasPolicy.sasExpirationPeriod")
            changed.sas_period = period
        self._directory.save(changed)
        call.entry.committed = True
        return self._manager.answer(call, self._resource(changed))

    # Parts.

    def _account(self, call: Call, action: str, *, writes: bool = False) -> StorageAccount:
        """The account that the path names, for callers who may do this to it."""
        scope = _scope(call)
        caller = self._manager.authorize(call, scope, f"{_KIND}/{action}", writes=writes)
        account = self._directory.accounts.get(scope.lower())
        if account is None or account.tenant_id != caller.tenant_id:
            group = scope.lower().partition(_ACCOUNTS.lower())[0]
            if not any(key.startswith(f"{group}/") for key in self._directory.accounts):
                text = f"Resource group '{call.params['group']}' could not be found."
                self._manager.refuse(call, 404, "ResourceGroupNotFound", text)
            text = (
                f"The Resource '{_KIND}/{call.params['account']}' under resource group"
                f" '{call.params['group']}' was not found. For more details please go to"
                " https://aka.ms/ARMResourceNotFoundFix"
            )
            self._manager.refuse(call, 404, "ResourceNotFound", text)
        return account

    def _key_policy(self, call: Call, account: StorageAccount, policy: Any) -> int:
        days = policy.get("keyExpirationPeriodInDays") if isinstance(policy, dict) else None
        if isinstance(days, bool) or not isinstance(days, int) or days < 0:
            self._invalid(call, "keyPolicy.keyExpirationPeriodInDays")
        if any((key := account.find_key(name)) is None or key.created_at is None for name in ACCESS_KEYS):
            # The creation time is what the period counts from ("Manage account access keys" on learn.microsoft.com).
            text = "The key expiration period cannot be set until the access keys have been rotated at least once."
            self._manager.refuse(call, 409, "KeyCreationTimeNotSet", text)
        return days

    def _body(self, call: Call) -> dict[str, Any]:
        try:
            return call.json_object()
        except ValueError:
            text = "The request content was invalid and could not be deserialized."
            self._manager.refuse(call, 400, "InvalidRequestContent", text)

    def _invalid(self, call: Call, name: str) -> NoReturn:
        text = f"Values for request parameters are invalid: {name}."
        self._manager.refuse(call, 400, "InvalidValuesForRequestParameters", text)

    def _keys(self, account: StorageAccount, names: tuple[str, ...]) -> dict[str, Any]:
        return {
            "keys": [
                {
                    "creationTime": format_instant(key.created_at) if key.created_at else None,
                    "keyName": key.name,
                    "value": self._safe.open(key.sealed_value),
                    "permissions": "FULL",
                }
                for key in account.keys
                if key.name in names
            ]
        }

    def _resource(self, account: StorageAccount) -> dict[str, Any]:
        suffix = self._directory.tenants[account.tenant_id].cloud.storage_suffix
        names = ("blob", "dfs", "file", "queue", "table")
        services = {name: f"https://{account.name}.{name}.{suffix}/" for name in names}
        written = {key.name: key.created_at for key in account.keys if key.name in ACCESS_KEYS}
        properties: dict[str, Any] = {
            "keyCreationTime": {name: format_instant(at) if at else None for name, at in written.items()},
            "minimumTlsVersion": "TLS1_2",
            "allowBlobPublicAccess": False,
            "supportsHttpsTrafficOnly": True,
            "provisioningState": "Succeeded",
            "creationTime": format_instant(account.created_at),
            "primaryEndpoints": services,
            "primaryLocation": account.location,
            "statusOfPrimary": "available",
        }
        if account.allow_shared_key is not None:
            properties["allowSharedKeyAccess"] = account.allow_shared_key
        if account.directory_service != "None":
            properties["azureFilesIdentityBasedAuthentication"] = {"directoryServiceOptions": account.directory_service}
        if account.key_policy_days is not None:
            properties["keyPolicy"] = {"keyExpirationPeriodInDays": account.key_policy_days}
        if account.sas_period is not None:
            properties["sasPolicy"] = {"sasExpirationPeriod": account.sas_period, "expirationAction": "Log"}
        return {
            "sku": {"name": "Standard_LRS", "tier": "Standard"},
            "kind": "StorageV2",
            "id": account.resource_id,
            "name": account.name,
            "type": _KIND,
            "location": account.location,
            "tags": {},
            "properties": properties,
        }


def _scope(call: Call) -> str:
    """The resource id of the account that a path is about."""
    return re.split(r"/(?:listKeys|regenerateKey)$", call.path.rstrip("/"), flags=re.IGNORECASE)[0]
