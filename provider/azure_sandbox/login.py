"""Entra's login endpoint: discovery documents, signing keys, and tokens for client secrets.

What it checks, in Entra's order: tenant, parameters, application, secret (its *value* against the stored hashes, as the
front end that serves the request sees them), whether the service principal is enabled, the resource. A wrong secret,
one that has not propagated yet and one that was removed are answered alike (AADSTS7000215), as Entra does.

Sources: "Microsoft Entra authentication and authorization error codes" on learn.microsoft.com; texts and statuses as
recorded by users (haystack-editor 41, psoxy 74, ChannelSurf 38).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from azure_sandbox.clouds import CLOUDS, HOSTS, PUBLIC, Cloud
from azure_sandbox.credential import Secret
from azure_sandbox.directory import Application, Directory, ServicePrincipal, Tenant
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, operation
from azure_sandbox.tokens import LIFETIME_SECONDS, TokenMint

_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_ANY_TENANT = frozenset({"common", "organizations", "consumers"})
_NO_APP = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class _Aadsts:
    status: int
    error: str
    text: str
    with_uri: bool = False


_ERRORS: Mapping[int, _Aadsts] = {
    50059: _Aadsts(
        400,
        "invalid_request",
        "No tenant-identifying information found in either the request or implied by any provided credentials.",
    ),
    70003: _Aadsts(400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant}'."),
    90002: _Aadsts(
        400,
        "invalid_request",
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the"
        " correct cloud. Check with your subscription administrator, this may happen if there are no active"
        " subscriptions for the tenant.",
    ),
    500011: _Aadsts(
        400,
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the"
        " tenant. You might have sent your authentication request to the wrong tenant.",
    ),
    700016: _Aadsts(
        400,
        "unauthorized_client",
        "Application with identifier '{app}' was not found in the directory '{tenant}'. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the"
        " tenant. You may have sent your authentication request to the wrong tenant.",
    ),
    700027: _Aadsts(
        401,
        "invalid_client",
        "The certificate with identifier used to sign the client assertion is not registered on application."
        " [Reason - The key was not found.]",
        with_uri=True,
    ),
    700038: _Aadsts(400, "unauthorized_client", "{app} is not a valid application identifier."),
    900144: _Aadsts(400, "invalid_request", "The request body must contain the following parameter: '{parameter}'."),
    1002012: _Aadsts(
        400,
        "invalid_scope",
        "The provided value for scope {resource} is not valid. Client credential flows must have a scope value with"
        " /.default suffixed to the resource identifier (application ID URI).",
    ),
    7000112: _Aadsts(400, "unauthorized_client", "Application '{app}'({name}) is disabled."),
    7000215: _Aadsts(
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not"
        " the client secret ID, for a secret added to app '{app}'.",
        with_uri=True,
    ),
    7000218: _Aadsts(
        401,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        with_uri=True,
    ),
    7000222: _Aadsts(
        401,
        "invalid_client",
        "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for"
        " your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security:"
        " https://aka.ms/certCreds.",
        with_uri=True,
    ),
}


class Login:
    """The login surface of all clouds."""

    name = "login"

    def __init__(self, directory: Directory, mint: TokenMint) -> None:
        self._directory = directory
        self._mint = mint
        self._turns: dict[str, int] = {}
        discovery = "/.well-known/openid-configuration"
        self.operations: tuple[Operation, ...] = (
            operation("login.instanceDiscovery", "GET", "/common/discovery/instance", self._instance_discovery),
            operation("login.discovery", "GET", "/{tenant}/v2.0" + discovery, self._discovery),
            operation("login.discovery", "GET", "/{tenant}" + discovery, self._discovery),
            operation("login.keys", "GET", "/{tenant}/discovery/v2.0/keys", self._keys),
            operation("login.keys", "GET", "/{tenant}/discovery/keys", self._keys),
            operation("login.token", "POST", "/{tenant}/oauth2/v2.0/token", self._token),
            operation("login.token", "POST", "/{tenant}/oauth2/token", self._token),
        )

    def identify(self, call: Call) -> None:
        """Note tenant and client_id."""
        tenant = self._directory.find_tenant(call.params.get("tenant", ""))
        call.entry.tenant_id = tenant.tenant_id if tenant else None
        if call.entry.operation == "login.token":
            client_id = call.form().get("client_id", "")
            if _GUID.fullmatch(client_id):
                call.entry.app_id = call.entry.principal = client_id.lower()
            call.entry.accepted = False

    def error(self, call: Call, status: int | None, code: str | None, message: str | None) -> Answer:
        """An error answer; ``code`` is ``AADSTS<number>`` or an OAuth error name."""
        number = int(code.removeprefix("AADSTS")) if code and re.fullmatch(r"AADSTS\d+", code) else None
        if number is not None and number in _ERRORS:
            known = _ERRORS[number]
            facts = _facts(call, app=call.entry.app_id or "", name="", resource="", grant="", parameter="")
            text = message or known.text.format_map(facts)
            return _answer(call, number, status or known.status, known.error, text, with_uri=known.with_uri)
        return _answer(
            call, number, status or 400, "temporarily_unavailable", message or code or "Service unavailable."
        )

    def unknown(self, call: Call, *, path_exists: bool) -> Answer:
        """404 for a path, 405 for a method."""
        status = 405 if path_exists else 404
        return Answer(status=status, body=b"", headers=_headers(call), error_code=f"HTTP {status}")

    # Handlers.

    def _instance_discovery(self, call: Call) -> Answer:
        host = self._cloud(call).login
        return Answer(
            status=200,
            body={
                "tenant_discovery_endpoint": f"https://{host}/common/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [
                    {"preferred_network": cloud.login, "preferred_cache": cloud.login, "aliases": [cloud.login]}
                    for cloud in CLOUDS.values()
                ],
            },
            headers=_headers(call),
        )

    def _discovery(self, call: Call) -> Answer:
        name = call.params["tenant"]
        tenant_id = "{tenantid}" if name.lower() in _ANY_TENANT else self._tenant(call, discovery=True).tenant_id
        base = f"https://{call.headers.get('host', call.host)}/{name}"
        return Answer(
            status=200,
            body={
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": f"https://{self._cloud(call).login}/{tenant_id}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "tenant_region_scope": "EU",
                "cloud_instance_name": self._cloud(call).login.partition(".")[2],
                "msgraph_host": self._cloud(call).graph[0],
            },
            headers=_headers(call),
        )

    def _keys(self, call: Call) -> Answer:
        if call.params["tenant"].lower() not in _ANY_TENANT:
            self._tenant(call, discovery=True)
        return Answer(status=200, body=self._mint.jwks(), headers=_headers(call))

    def _token(self, call: Call) -> Answer:
        tenant = self._tenant(call)
        form = call.form()
        for parameter in ("grant_type", "client_id"):
            if not form.get(parameter):
                raise self._refusal(call, 900144, parameter=parameter)
        if form["grant_type"] != "client_credentials":
            raise self._refusal(call, 70003, grant=form["grant_type"])
        client_id = form["client_id"].lower()
        if client_id == _NO_APP:
            raise self._refusal(call, 700038, app=client_id)
        application = self._directory.find_application(tenant.tenant_id, app_id=client_id)
        principal = self._directory.find_service_principal(tenant.tenant_id, app_id=client_id)
        if application is None or principal is None:
            raise self._refusal(call, 700016, app=form["client_id"], tenant=tenant.name)
        call.target = application
        call.entry.object_id = application.object_id
        resource = self._resource(call, form)
        self._check_secret(call, form, application, principal)
        if not principal.enabled:
            raise self._refusal(call, 7000112, app=client_id, name=application.name)
        audience, roles = self._audience(call, tenant, principal, resource)
        token = self._mint.issue(
            tenant_id=tenant.tenant_id,
            app_id=application.app_id,
            object_id=principal.object_id,
            roles=roles,
            audience=audience,
            now=call.now,
        )
        call.entry.accepted = True
        body: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "ext_expires_in": LIFETIME_SECONDS,
            "access_token": token,
        }
        return Answer(status=200, body=body, headers=_headers(call))

    # Checks.

    def _cloud(self, call: Call) -> Cloud:
        tenant = self._directory.find_tenant(call.params.get("tenant", ""))
        return call.cloud or (tenant.cloud if tenant else PUBLIC)

    def _tenant(self, call: Call, *, discovery: bool = False) -> Tenant:
        name = call.params["tenant"]
        if name.lower() in _ANY_TENANT:
            raise self._refusal(call, 50059)
        tenant = self._directory.find_tenant(name)
        if tenant is None or (call.cloud is not None and tenant.cloud is not call.cloud):
            raise self._refusal(call, 90002, tenant=name, error="invalid_tenant" if discovery else None)
        return tenant

    def _resource(self, call: Call, form: Mapping[str, str]) -> str:
        """The resource that is asked for: v2 names it by scope, v1 by resource."""
        if "scope" not in form and form.get("resource"):
            return form["resource"]
        if not form.get("scope"):
            raise self._refusal(call, 900144, parameter="scope")
        scopes = [scope for scope in form["scope"].split() if scope not in {"openid", "profile", "offline_access"}]
        if len(scopes) != 1 or not scopes[0].endswith("/.default") or scopes[0] == "/.default":
            raise self._refusal(call, 1002012, resource=form["scope"])
        return scopes[0].removesuffix("/.default")

    def _check_secret(
        self, call: Call, form: Mapping[str, str], application: Application, principal: ServicePrincipal
    ) -> None:
        if "client_secret" not in form:
            # Certificates and federated credentials are not in the directory yet, so no assertion can be right.
            raise self._refusal(call, 700027 if form.get("client_assertion") else 7000218, app=application.app_id)
        turn = self._turns.get(application.object_id, 0)
        self._turns[application.object_id] = turn + 1
        behaviour = self._directory.behaviour_of(application)
        front_end = turn % len(behaviour.visible_after)
        call.entry.front_end = front_end
        visible_after = timedelta(seconds=behaviour.visible_after[front_end])
        removed_after = timedelta(seconds=behaviour.removed_after[front_end % len(behaviour.removed_after)])
        expired: Secret | None = None
        for secret in (*application.secrets, *principal.secrets):
            if not _is_seen(secret, call.now, visible_after, removed_after):
                continue
            if not secret.matches(form["client_secret"]):
                continue
            if secret.is_current(call.now):
                call.entry.key_id = secret.key_id
                return
            if call.now >= secret.ends_at:
                expired = secret
        if expired is not None:
            call.entry.key_id = expired.key_id
            raise self._refusal(call, 7000222, app=application.app_id)
        raise self._refusal(call, 7000215, app=application.app_id)

    def _audience(
        self, call: Call, tenant: Tenant, principal: ServicePrincipal, resource: str
    ) -> tuple[str, tuple[str, ...]]:
        """The token's audience as asked for, and the roles that it carries there."""
        bare = resource.rstrip("/").lower()
        cloud = tenant.cloud
        if bare in cloud.graph_audiences:
            return resource, principal.roles
        if bare in cloud.arm_audiences or bare in cloud.data_plane:
            return resource, ()
        for application in self._directory.applications(tenant.tenant_id):
            names = {application.app_id.lower(), f"api://{application.app_id}".lower()}
            if bare in names or resource in application.identifier_uris:
                return application.app_id, ()
        raise self._refusal(call, 500011, resource=resource, tenant=tenant.name)

    def _refusal(self, call: Call, number: int, *, error: str | None = None, **facts: str) -> Refusal:
        known = _ERRORS[number]
        text = known.text.format_map(_facts(call, **facts))
        return Refusal(_answer(call, number, known.status, error or known.error, text, with_uri=known.with_uri))


def _is_seen(secret: Secret, now: datetime, visible_after: timedelta, removed_after: timedelta) -> bool:
    """Whether a front end with these delays knows of a secret now. What the seed made has long propagated."""
    if secret.origin != "seed" and now < secret.added_at + visible_after:
        return False
    return secret.removed_at is None or now < secret.removed_at + removed_after


def _facts(call: Call, **facts: str) -> dict[str, str]:
    return {"tenant": call.params.get("tenant", ""), **facts}


def _headers(call: Call) -> dict[str, str]:
    return {
        "content-type": "application/json; charset=utf-8",
        "cache-control": "no-store, no-cache",
        "pragma": "no-cache",
        "x-ms-request-id": call.request_id,
        "x-ms-ests-server": "2.1.0 - SANDBOX ProdSlices",
        "client-request-id": call.client_request_id,
    }


def _answer(call: Call, number: int | None, status: int, error: str, text: str, *, with_uri: bool = False) -> Answer:
    timestamp = call.now.strftime("%Y-%m-%d %H:%M:%SZ")
    correlation_id = call.headers.get("client-request-id") or str(uuid.uuid4())
    code = f"AADSTS{number}: " if number is not None else ""
    description = f"{code}{text} Trace ID: {call.request_id} Correlation ID: {correlation_id} Timestamp: {timestamp}"
    body: dict[str, Any] = {
        "error": error,
        "error_description": description,
        "error_codes": [number] if number is not None else [],
        "timestamp": timestamp,
        "trace_id": call.request_id,
        "correlation_id": correlation_id,
    }
    if with_uri:
        host = call.host if call.host in HOSTS else PUBLIC.login
        body["error_uri"] = f"https://{host}/error?code={number}"
    name = f"AADSTS{number}" if number is not None else error
    return Answer(status=status, body=body, headers=_headers(call), error_code=name)
