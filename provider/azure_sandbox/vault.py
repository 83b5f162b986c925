"""Key Vault: ``GET /secrets/{name}`` and ``/secrets/{name}/{version}`` of every vault, for callers with a role.

A request without a token is told by a challenge where to get one. Roles on the vault or above it open it; those of
Resource Manager (Owner, Contributor) do not.

Sources: "Get Secret", "Authentication, requests and responses" and "Provide access with Azure role-based access
control" for Key Vault on learn.microsoft.com.
"""

from __future__ import annotations

from typing import Any

from azure_sandbox.clouds import CLOUDS, PUBLIC, data_host
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, operation
from azure_sandbox.permissions import VAULT_READERS
from azure_sandbox.safe import Safe
from azure_sandbox.tokens import TokenMint, TokenRefused
from azure_sandbox.vaults import Vault


class KeyVault:
    """The surface of all vaults in all clouds."""

    name = "vault"

    def __init__(self, directory: Directory, mint: TokenMint, safe: Safe) -> None:
        self._directory = directory
        self._mint = mint
        self._safe = safe
        secret = "/secrets/{secret}"  # noqa: S105 (a path)
        self.operations: tuple[Operation, ...] = (
            operation("vault.getSecret", "GET", secret, self._get),
            operation("vault.getSecret", "GET", secret + "/{version}", self._get),
        )

    def identify(self, call: Call) -> None:
        """Note the caller, if the token is good."""
        vault = self._find(call)
        if vault is not None:
            call.entry.tenant_id = vault.tenant_id
        try:
            call.caller = self._mint.check(
                call.headers.get("authorization", ""), audiences=self._audiences(call), now=call.now
            )
        except TokenRefused:
            return
        call.entry.principal = call.caller.app_id

    def error(self, call: Call, status: int | None, code: str | None, message: str | None) -> Answer:
        """An error in the service's shape."""
        return _error(call, status or 500, code or "InternalServerError", message or "")

    def unknown(self, call: Call, *, path_exists: bool) -> Answer:
        """401 as everywhere, then 405 for a method and 404 for a path."""
        try:
            self._authorize(call)
        except Refusal as refusal:
            return refusal.answer
        if path_exists:
            return _error(call, 405, "MethodNotAllowed", f"The HTTP method '{call.method}' is not supported here.")
        return _error(call, 404, "ResourceNotFound", f"The sandbox has nothing at '{call.path}'.")

    def _get(self, call: Call) -> Answer:
        vault = self._authorize(call)
        name = call.params["secret"]
        found = vault.find(name, call.params.get("version"))
        if found is None:
            text = (
                f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret"
                " you may be able to recover it using the correct recovery command. For help resolving this issue,"
                " please see https://go.microsoft.com/fwlink/?linkid=2125182"
            )
            raise Refusal(_error(call, 404, "SecretNotFound", text))
        if not found.enabled:
            text = "Operation get is not allowed on a disabled secret."
            raise Refusal(_error(call, 403, "Forbidden", text, inner="SecretDisabled"))
        host = self._directory.tenants[vault.tenant_id].cloud.vault_host(vault.name)
        at = int(found.created_at.timestamp())
        body = {
            "value": self._safe.open(found.sealed_value),
            "id": f"https://{host}/secrets/{found.name}/{found.version}",
            "attributes": {
                "enabled": True,
                "created": at,
                "updated": at,
                "recoveryLevel": "Recoverable+Purgeable",
                "recoverableDays": 90,
            },
            "tags": {},
        }
        return Answer(status=200, body=body, headers=_headers(call))

    # Who asks.

    def _find(self, call: Call) -> Vault | None:
        found = data_host(call.host)
        return self._directory.find_vault(found[2], found[0]) if found else None

    def _audiences(self, call: Call) -> tuple[str, ...]:
        return (f"https://{(call.cloud or PUBLIC).vault_suffix}",)

    def _authorize(self, call: Call) -> Vault:
        """The vault, for a caller with a role on it or above it.

        Raises:
            Refusal: 401 with a challenge, 400 without an api-version, 403 without a role.
        """
        vault = self._find(call)
        if vault is None:
            raise Refusal(_error(call, 404, "VaultNotFound", f"There is no vault at '{call.host}'."))
        try:
            authorization = call.headers.get("authorization", "")
            caller = self._mint.check(authorization, audiences=self._audiences(call), now=call.now)
        except TokenRefused as refused:
            missing = not call.headers.get("authorization")
            text = "AKV10000: Request is missing a Bearer or PoP token." if missing else f"AKV10022: {refused}"
            raise Refusal(self._challenged(call, vault, text)) from None
        if caller.tenant_id != vault.tenant_id:
            text = "AKV10032: Invalid issuer. The token is of another tenant than the vault's."
            raise Refusal(self._challenged(call, vault, text))
        if not call.query.get("api-version"):
            raise Refusal(_error(call, 400, "BadParameter", "api-version must be specified"))
        below = f"{vault.resource_id}/".lower()
        for assignment in self._directory.role_assignments.values():
            covers = below.startswith(f"{assignment.scope.rstrip('/')}/".lower())
            if covers and assignment.principal_id == caller.object_id and assignment.role in VAULT_READERS:
                return vault
        text = (
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role"
            f" definitions were changed recently, please observe propagation time.\r\nCaller: appid={caller.app_id};"
            f"oid={caller.object_id};iss=https://sts.windows.net/{caller.tenant_id}/\r\nAction:"
            f" 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\nResource: '{vault.resource_id}"
            f"{call.path}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null"
        )
        raise Refusal(_error(call, 403, "Forbidden", text, inner="ForbiddenByRbac"))

    def _challenged(self, call: Call, vault: Vault, text: str) -> Answer:
        cloud = call.cloud or CLOUDS["public"]
        made = _error(call, 401, "Unauthorized", text)
        challenge = (
            f'Bearer authorization="https://{cloud.login}/{vault.tenant_id}", resource="https://{cloud.vault_suffix}"'
        )
        headers = {**made.headers, "www-authenticate": challenge}
        return Answer(status=401, body=made.body, headers=headers, error_code=made.error_code)


def _headers(call: Call) -> dict[str, str]:
    return {
        "content-type": "application/json; charset=utf-8",
        "x-ms-keyvault-region": "westeurope",
        "x-ms-keyvault-service-version": "1.9.0.0",
        "x-ms-request-id": call.request_id,
        "x-ms-client-request-id": call.client_request_id,
    }


def _error(call: Call, status: int, code: str, message: str, *, inner: str | None = None) -> Answer:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return Answer(status=status, body={"error": error}, headers=_headers(call), error_code=inner or code)
