"""Azure Resource Manager: who may come in, locks, and how refusals look; the resource providers are behind it.

The order is Azure's: token, api-version, subscription, role assignments, locks, and only then what exists.

Sources: "Azure Resource Manager" errors and "Lock your Azure resources" on learn.microsoft.com; refusals as recorded
(cloudquery 6626, azure-docs 50746).
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from azure_sandbox.clouds import CLOUDS
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, operation
from azure_sandbox.permissions import ARM_ROLES
from azure_sandbox.safe import Safe
from azure_sandbox.storage import StorageProvider
from azure_sandbox.tokens import Caller, TokenMint, TokenRefused

_EVERY_AUDIENCE = tuple(audience for cloud in CLOUDS.values() for audience in cloud.arm_audiences)
_VERSION = re.compile(r"\d{4}-\d\d-\d\d(-\w+)?")
_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)
_LOCKS = "/providers/Microsoft.Authorization/locks"


class Arm:
    """The Resource Manager surface of all clouds."""

    name = "arm"

    def __init__(self, directory: Directory, mint: TokenMint, safe: Safe) -> None:
        self._directory = directory
        self._mint = mint
        self._storage = StorageProvider(directory, safe, self)
        group = "/subscriptions/{subscription}/resourceGroups/{group}"
        scopes = ("/subscriptions/{subscription}", group, group + "/providers/{provider}/{kind}/{resource}")
        self.operations: tuple[Operation, ...] = (
            *self._storage.operations(group),
            *(operation("arm.listLocks", "GET", scope + _LOCKS, self._list_locks) for scope in scopes),
        )

    def identify(self, call: Call) -> None:
        """Note the caller, if the token is good, and the account that the path names."""
        self._storage.identify(call)
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

    # What the resource providers ask.

    def authorize(self, call: Call, scope: str, action: str, *, writes: bool = False) -> Caller:
        """Let a caller in who has the action on the scope or above it.

        Args:
            call: the request.
            scope: the resource id that the action is about.
            action: ``Microsoft.Storage/storageAccounts/read``, ...
            writes: whether a ReadOnly lock on the scope or above it is in the way; every POST is such a write.

        Raises:
            Refusal: 401, 400, 403 or 404 before anything was looked at, 409 ScopeLocked.
        """
        caller = self._authenticate(call)
        self._check_subscription(call, caller)
        self._require_role(call, caller, scope, action)
        if writes:
            self._check_locks(call, scope)
        return caller

    def answer(self, call: Call, body: dict[str, Any]) -> Answer:
        """200 with a body."""
        return Answer(status=200, body=body, headers=_headers(call))

    def refuse(self, call: Call, status: int, code: str, message: str) -> NoReturn:
        """Refuse the request.

        Raises:
            Refusal: always.
        """
        raise Refusal(_error(call, status, code, message))

    # Who asks, and whether he may.

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
        version = call.query.get("api-version")
        if not version:
            text = "The api-version query parameter (?api-version=) is required for all requests."
            raise Refusal(_error(call, 400, "MissingApiVersionParameter", text))
        if not _VERSION.fullmatch(version):
            raise Refusal(_error(call, 400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid."))
        return caller

    def _check_subscription(self, call: Call, caller: Caller) -> None:
        """A subscription belongs to one tenant, and is known by the accounts in it and by who has a role there."""
        match = _SUBSCRIPTION.match(call.path)
        if match is None:
            return
        prefix = f"/subscriptions/{match[1]}/".lower()
        tenants = {item.tenant_id for key, item in self._directory.accounts.items() if key.startswith(prefix)}
        tenants |= {item.tenant_id for key, item in self._directory.vaults.items() if key.startswith(prefix)}
        tenants |= {
            item.tenant_id
            for item in self._directory.role_assignments.values()
            if f"{item.scope.rstrip('/')}/".lower().startswith(prefix)
        }
        if not tenants:
            text = f"The subscription '{match[1]}' could not be found."
            raise Refusal(_error(call, 404, "SubscriptionNotFound", text))
        if caller.tenant_id not in tenants:
            text = (
                f"The access token is from the wrong issuer 'https://sts.windows.net/{caller.tenant_id}/'. It must"
                f" match the tenant 'https://sts.windows.net/{min(tenants)}/' associated with this subscription."
            )
            raise Refusal(_challenged(call, "InvalidAuthenticationTokenTenant", text))

    def _require_role(self, call: Call, caller: Caller, scope: str, action: str) -> None:
        """A role with this action, on the scope or above it."""
        below = f"{scope.rstrip('/')}/".lower()
        for assignment in self._directory.role_assignments.values():
            if (
                assignment.principal_id == caller.object_id
                and below.startswith(f"{assignment.scope.rstrip('/')}/".lower())
                and any(fnmatchcase(action.lower(), granted.lower()) for granted in ARM_ROLES[assignment.role])
            ):
                return
        text = (
            f"The client '{caller.app_id}' with object id '{caller.object_id}' does not have authorization to"
            f" perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted,"
            " please refresh your credentials."
        )
        raise Refusal(_error(call, 403, "AuthorizationFailed", text))

    def _check_locks(self, call: Call, scope: str) -> None:
        locks = self._directory.locks.values()
        locked = [lock.scope for lock in locks if lock.level == "ReadOnly" and lock.covers(scope)]
        if locked:
            text = (
                f"The scope '{scope}' cannot perform write operation because following scope(s) are locked:"
                f" '{','.join(locked)}'. Please remove the lock and try again."
            )
            raise Refusal(_error(call, 409, "ScopeLocked", text))

    def _list_locks(self, call: Call) -> Answer:
        """The locks that hold at a scope, and, unless only those were asked for, the ones below it."""
        scope = call.path.rstrip("/")[: -len(_LOCKS)]
        caller = self.authorize(call, scope, "Microsoft.Authorization/locks/read")
        below = call.query.get("$filter", "").replace(" ", "").lower() != "atscope()"
        rows = [
            {
                "id": lock.lock_id,
                "type": "Microsoft.Authorization/locks",
                "name": lock.name,
                "properties": {"level": lock.level, **({"notes": lock.notes} if lock.notes else {})},
            }
            for lock in self._directory.locks.values()
            if lock.tenant_id == caller.tenant_id
            and (lock.covers(scope) or (below and f"{lock.scope}/".lower().startswith(f"{scope}/".lower())))
        ]
        return self.answer(call, {"value": rows})


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
