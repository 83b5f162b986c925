"""Azure Resource Manager: who may come in, and the refusals; storage accounts are looked at, not yet operated.

Every request needs an api-version and a token for Resource Manager. What is behind is
``Microsoft.Storage/storageAccounts`` (get, list), for callers with a role that allows it there or above.

Sources: the storage resource provider reference on learn.microsoft.com; refusals as recorded (cloudquery 6626).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from azure_sandbox.clouds import CLOUDS
from azure_sandbox.directory import Directory, StorageAccount
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, operation
from azure_sandbox.permissions import ARM_ROLES
from azure_sandbox.tokens import Caller, TokenMint, TokenRefused

_ACCOUNTS = "/providers/Microsoft.Storage/storageAccounts"
_EVERY_AUDIENCE = tuple(audience for cloud in CLOUDS.values() for audience in cloud.arm_audiences)


class Arm:
    """The Resource Manager surface of all clouds."""

    name = "arm"

    def __init__(self, directory: Directory, mint: TokenMint) -> None:
        self._directory = directory
        self._mint = mint
        group = "/subscriptions/{subscription}/resourceGroups/{group}" + _ACCOUNTS
        self.operations: tuple[Operation, ...] = (
            operation("arm.getStorageAccount", "GET", group + "/{account}", self._get),
            operation("arm.listStorageAccountsByGroup", "GET", group, self._list),
            operation("arm.listStorageAccounts", "GET", "/subscriptions/{subscription}" + _ACCOUNTS, self._list),
        )

    def identify(self, call: Call) -> None:
        """Note the caller, if the token is good."""
        try:
            call.caller = self._check_token(call)
        except TokenRefused:
            return
        call.entry.principal = call.caller.app_id
        call.entry.tenant_id = call.caller.tenant_id

    def error(self, call: Call, status: int | None, code: str | None, message: str | None) -> Answer:
        """A Resource Manager error."""
        return _error(call, status or 500, code or "InternalServerError", message or "")

    def unknown(self, call: Call, *, path_exists: bool) -> Answer:
        """401 and 400 as everywhere, then 405 for a method and 404 for a path."""
        try:
            self._authenticate(call)
        except Refusal as refusal:
            return refusal.answer
        if path_exists:
            text = f"The requested resource does not support http method '{call.method}'."
            return _error(call, 405, "UnsupportedHttpVerb", text)
        text = f"The sandbox has nothing at '{call.path}'."
        return _error(call, 404, "InvalidResourceType", text)

    def _check_token(self, call: Call) -> Caller:
        audiences = call.cloud.arm_audiences if call.cloud else _EVERY_AUDIENCE
        return self._mint.check(call.headers.get("authorization", ""), audiences=audiences, now=call.now)

    def _authenticate(self, call: Call) -> Caller:
        if not call.headers.get("authorization"):
            text = "Authentication failed. The 'Authorization' header is missing."
            raise Refusal(_challenged(call, "AuthenticationFailed", text))
        try:
            caller = self._check_token(call)
        except TokenRefused as refused:
            code = "ExpiredAuthenticationToken" if "expired" in str(refused) else "InvalidAuthenticationToken"
            raise Refusal(_challenged(call, code, str(refused))) from None
        if not call.query.get("api-version"):
            text = "The api-version query parameter (?api-version=) is required for all requests."
            raise Refusal(_error(call, 400, "MissingApiVersionParameter", text))
        return caller

    def _get(self, call: Call) -> Answer:
        caller = self._authenticate(call)
        self._require_role(call, caller, call.path, "Microsoft.Storage/storageAccounts/read")
        account = self._directory.accounts.get(call.path.rstrip("/").lower())
        if account is None or account.tenant_id != caller.tenant_id:
            text = (
                f"The Resource 'Microsoft.Storage/storageAccounts/{call.params['account']}' under resource group"
                f" '{call.params['group']}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            )
            raise Refusal(_error(call, 404, "ResourceNotFound", text))
        return Answer(status=200, body=_account(account), headers=_headers(call))

    def _list(self, call: Call) -> Answer:
        caller = self._authenticate(call)
        scope = call.path.lower().partition(_ACCOUNTS.lower())[0]
        self._require_role(call, caller, scope, "Microsoft.Storage/storageAccounts/read")
        rows = [
            _account(account)
            for account in self._directory.accounts.values()
            if account.tenant_id == caller.tenant_id and account.resource_id.lower().startswith(f"{scope}/")
        ]
        return Answer(status=200, body={"value": rows}, headers=_headers(call))

    def _require_role(self, call: Call, caller: Caller, scope: str, action: str) -> None:
        """A role with this action, on the scope or above it."""
        below = f"{scope.rstrip('/')}/".lower()
        for assignment in self._directory.role_assignments:
            if (
                assignment.principal_id == caller.object_id
                and below.startswith(f"{assignment.scope.rstrip('/')}/".lower())
                and any(fnmatchcase(action.lower(), granted.lower()) for granted in ARM_ROLES[assignment.role])
            ):
                return
        text = (
            f"The client '{caller.object_id}' with object id '{caller.object_id}' does not have authorization to"
            f" perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted,"
            " please refresh your credentials."
        )
        raise Refusal(_error(call, 403, "AuthorizationFailed", text))


def _account(account: StorageAccount) -> dict[str, Any]:
    return {
        "sku": {"name": "Standard_LRS", "tier": "Standard"},
        "kind": "StorageV2",
        "id": account.resource_id,
        "name": account.name,
        "type": "Microsoft.Storage/storageAccounts",
        "location": account.location,
        "tags": {},
        "properties": {"provisioningState": "Succeeded", "supportsHttpsTrafficOnly": True},
    }


def _headers(call: Call) -> dict[str, str]:
    correlation = call.headers.get("x-ms-correlation-request-id", call.request_id)
    return {
        "content-type": "application/json; charset=utf-8",
        "x-ms-request-id": call.request_id,
        "x-ms-client-request-id": call.client_request_id,
        "x-ms-correlation-request-id": correlation,
        "x-ms-routing-request-id": f"SANDBOX:{call.now.strftime('%Y%m%dT%H%M%SZ')}:{call.request_id}",
    }


def _error(call: Call, status: int, code: str, message: str) -> Answer:
    headers = {**_headers(call), "x-ms-failure-cause": "gateway"}
    return Answer(status=status, body={"error": {"code": code, "message": message}}, headers=headers, error_code=code)


def _challenged(call: Call, code: str, message: str) -> Answer:
    login = (call.cloud or CLOUDS["public"]).login
    made = _error(call, 401, code, message)
    challenge = f'Bearer authorization_uri="https://{login}/common", error="invalid_token"'
    headers = {**made.headers, "www-authenticate": challenge}
    return Answer(status=401, body=made.body, headers=headers, error_code=code)
