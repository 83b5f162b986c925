"""Managed identities: the instance metadata service (IMDS) and App Service's endpoint, over plain http on loopback.

Who asks without naming an identity gets the system-assigned one, else the only one there is, as on a machine. No host
name of Azure leads here; the environment of ``azure-sandbox run`` does.

Sources: "How to use managed identities on a virtual machine to acquire an access token" and "Use managed identities for
App Service" on learn.microsoft.com.
"""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any

from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, operation
from azure_sandbox.objects import ServicePrincipal
from azure_sandbox.tokens import MANAGED_LIFETIME_SECONDS, TokenMint

IMDS_PATH = "/metadata/identity/oauth2/token"
APP_SERVICE_PATH = "/msi/token"


class Identities:
    """The surface of one machine whose identities are all managed ones of all tenants."""

    name = "identity"

    def __init__(self, directory: Directory, mint: TokenMint, header: str) -> None:
        """``header`` is what App Service's callers must show in X-IDENTITY-HEADER."""
        self._directory = directory
        self._mint = mint
        self._header = header
        self.operations: tuple[Operation, ...] = (
            operation("identity.imds", "GET", IMDS_PATH, self._imds),
            operation("identity.appService", "GET", APP_SERVICE_PATH, self._app_service),
        )

    def identify(self, call: Call) -> None:
        """Note the identity that is asked for."""
        call.entry.accepted = False
        found = self._named(call)
        if len(found) == 1:
            call.entry.app_id = call.entry.principal = found[0].app_id
            call.entry.object_id = found[0].object_id
            call.entry.tenant_id = found[0].tenant_id

    def error(self, call: Call, status: int | None, code: str | None, message: str | None) -> Answer:
        """An error in the shape of IMDS."""
        return _imds_error(status or 500, code or "internal_error", message or "")

    def unknown(self, call: Call, *, path_exists: bool) -> Answer:
        """405 for a method, 404 for a path."""
        return _imds_error(405 if path_exists else 404, "not_found", f"Nothing is at '{call.path}'.")

    def _imds(self, call: Call) -> Answer:
        if call.headers.get("metadata", "").lower() != "true":
            raise Refusal(_imds_error(400, "invalid_request", "Required metadata header not specified"))
        for name in ("api-version", "resource"):
            if not call.query.get(name):
                raise Refusal(_imds_error(400, "invalid_request", f"Required query variable '{name}' is missing"))
        found = self._named(call)
        if len(found) > 1:
            text = (
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in"
                " the token request"
            )
            raise Refusal(_imds_error(400, "invalid_request", text))
        if not found:
            raise Refusal(_imds_error(400, "invalid_request", "Identity not found"))
        return self._token(call, found[0])

    def _app_service(self, call: Call) -> Answer:
        if not hmac.compare_digest(call.headers.get("x-identity-header", "").encode(), self._header.encode()):
            raise Refusal(_app_service_error(401, "Unauthorized"))
        if not call.query.get("api-version") or not call.query.get("resource"):
            raise Refusal(_app_service_error(400, "The query must have api-version and resource."))
        found = self._named(call)
        if len(found) != 1:
            text = "No Managed Identity found for specified ClientId/ResourceId/PrincipalId."
            raise Refusal(_app_service_error(400, text))
        return self._token(call, found[0])

    def _named(self, call: Call) -> list[ServicePrincipal]:
        """The identities that a request may mean."""
        managed = [item for item in self._directory.service_principals() if item.managed]
        if client_id := call.query.get("client_id"):
            return [item for item in managed if item.app_id == client_id.lower()]
        for name in ("object_id", "principal_id"):
            if wanted := call.query.get(name):
                return [item for item in managed if item.object_id == wanted.lower()]
        system = [item for item in managed if item.managed == "system"]
        return system[:1] or managed

    def _token(self, call: Call, identity: ServicePrincipal) -> Answer:
        resource = call.query["resource"]
        cloud = self._directory.tenants[identity.tenant_id].cloud
        bare = resource.rstrip("/").lower()
        if bare not in {*cloud.graph_audiences, *cloud.arm_audiences, *cloud.data_plane}:
            text = (
                f"AADSTS500011: The resource principal named {resource} was not found in the tenant named"
                f" {identity.tenant_id}."
            )
            raise Refusal(_imds_error(400, "invalid_resource", text))
        token = self._mint.issue(
            tenant_id=identity.tenant_id,
            app_id=identity.app_id,
            object_id=identity.object_id,
            roles=identity.roles if bare in cloud.graph_audiences else (),
            audience=resource,
            now=call.now,
            lifetime_seconds=MANAGED_LIFETIME_SECONDS,
        )
        call.entry.accepted = True
        starts = int((call.now - timedelta(minutes=5)).timestamp())
        ends = int(call.now.timestamp()) + MANAGED_LIFETIME_SECONDS
        body: dict[str, Any] = {
            "access_token": token,
            "client_id": identity.app_id,
            "expires_in": str(MANAGED_LIFETIME_SECONDS),
            "expires_on": str(ends),
            "ext_expires_in": str(MANAGED_LIFETIME_SECONDS),
            "not_before": str(starts),
            "resource": resource,
            "token_type": "Bearer",
        }
        return Answer(status=200, body=body)


def _imds_error(status: int, error: str, text: str) -> Answer:
    return Answer(status=status, body={"error": error, "error_description": text}, error_code=error)


def _app_service_error(status: int, text: str) -> Answer:
    return Answer(status=status, body={"statusCode": status, "message": text}, error_code=f"HTTP {status}")
