"""Entra's login endpoint: discovery documents, signing keys, and tokens for applications and users.

What it checks, in Entra's order: tenant, parameters, application, secret (its *value* against the stored hashes, as the
front end that serves the request sees them), whether the service principal is enabled, the user, the resource. A wrong
secret, one that has not propagated yet and one that was removed are answered alike (AADSTS7000215), as Entra does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azure_sandbox.clientauth import ClientAuth
from azure_sandbox.clouds import CLOUDS, PUBLIC, Cloud
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Operation, operation
from azure_sandbox.login_answers import ERRORS, answer, headers, named, refusal
from azure_sandbox.objects import Application, ServicePrincipal, Tenant
from azure_sandbox.signin import OIDC_SCOPES, SignIn, token_claims
from azure_sandbox.tokens import LIFETIME_SECONDS, TokenMint

_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_ANY_TENANT = frozenset({"common", "organizations", "consumers"})
_NO_APP = "00000000-0000-0000-0000-000000000000"


class Login:
    """The login surface of all clouds."""

    name = "login"

    def __init__(self, directory: Directory, mint: TokenMint) -> None:
        self._directory = directory
        self._mint = mint
        self._clients = ClientAuth(directory, mint.public_key)
        self._users = SignIn(directory)
        discovery = "/.well-known/openid-configuration"
        self.operations: tuple[Operation, ...] = (
            operation("login.instanceDiscovery", "GET", "/common/discovery/instance", self._instance_discovery),
            operation("login.userRealm", "GET", "/common/userrealm/{upn}", self._users.realm),
            operation("login.discovery", "GET", "/{tenant}/v2.0" + discovery, self._discovery),
            operation("login.discovery", "GET", "/{tenant}" + discovery, self._discovery),
            operation("login.keys", "GET", "/{tenant}/discovery/v2.0/keys", self._keys),
            operation("login.keys", "GET", "/{tenant}/discovery/keys", self._keys),
            operation("login.token", "POST", "/{tenant}/oauth2/v2.0/token", self._token),
            operation("login.token", "POST", "/{tenant}/oauth2/token", self._token),
        )

    def identify(self, call: Call) -> None:
        """Note tenant, client_id and user name."""
        tenant = self._directory.find_tenant(call.params.get("tenant", ""))
        call.entry.tenant_id = tenant.tenant_id if tenant else None
        name = call.params.get("upn") or call.form().get("username")
        if name:
            user = self._directory.find_user(name)
            call.entry.user = user.upn if user else name
        if call.entry.operation == "login.token":
            client_id = call.form().get("client_id", "")
            if _GUID.fullmatch(client_id):
                call.entry.app_id = call.entry.principal = client_id.lower()
            call.entry.accepted = False

    def error(self, call: Call, status: int | None, code: str | None, message: str | None) -> Answer:
        """An error answer; ``code`` is ``AADSTS<number>`` or an OAuth error name."""
        number = int(code.removeprefix("AADSTS")) if code and re.fullmatch(r"AADSTS\d+", code) else None
        if number is not None and number in ERRORS:
            return named(call, number, status, message)
        return answer(call, number, status or 400, "temporarily_unavailable", message or code or "Service unavailable.")

    def unknown(self, call: Call, *, path_exists: bool) -> Answer:
        """404 for a path, 405 for a method."""
        status = 405 if path_exists else 404
        return Answer(status=status, body=b"", headers=headers(call), error_code=f"HTTP {status}")

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
            headers=headers(call),
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
            headers=headers(call),
        )

    def _keys(self, call: Call) -> Answer:
        if call.params["tenant"].lower() not in _ANY_TENANT:
            self._tenant(call, discovery=True)
        return Answer(status=200, body=self._mint.jwks(), headers=headers(call))

    def _token(self, call: Call) -> Answer:
        tenant = self._tenant(call)
        form = call.form()
        for parameter in ("grant_type", "client_id"):
            if not form.get(parameter):
                raise refusal(call, 900144, parameter=parameter)
        if form["grant_type"] not in {"client_credentials", "password"}:
            raise refusal(call, 70003, grant=form["grant_type"])
        client_id = form["client_id"].lower()
        if client_id == _NO_APP:
            raise refusal(call, 700038, app=client_id)
        application = self._directory.find_application(tenant.tenant_id, app_id=client_id)
        principal = self._directory.find_service_principal(tenant.tenant_id, app_id=client_id)
        if application is None or principal is None:
            raise refusal(call, 700016, app=form["client_id"], tenant=tenant.name)
        call.target = application
        call.entry.object_id = application.object_id
        as_user = form["grant_type"] == "password"
        resource = self._user_resource(call, form, tenant) if as_user else self._resource(call, form)
        self._clients.check(call, form, application, principal)
        if not principal.enabled:
            raise refusal(call, 7000112, app=client_id, name=application.name)
        body = self._user_token if as_user else self._app_token
        answered = body(call, tenant, application, principal, resource)
        call.entry.accepted = True
        return Answer(status=200, body=answered, headers=headers(call))

    def _app_token(
        self, call: Call, tenant: Tenant, application: Application, principal: ServicePrincipal, resource: str
    ) -> dict[str, Any]:
        audience, roles = self._audience(call, tenant, principal, resource)
        token = self._mint.issue(
            tenant_id=tenant.tenant_id,
            app_id=application.app_id,
            object_id=principal.object_id,
            roles=roles,
            audience=audience,
            now=call.now,
        )
        return {
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "ext_expires_in": LIFETIME_SECONDS,
            "access_token": token,
        }

    def _user_token(
        self, call: Call, tenant: Tenant, application: Application, principal: ServicePrincipal, resource: str
    ) -> dict[str, Any]:
        form = call.form()
        user = self._users.check(call, tenant, form, resource)
        audience, _ = self._audience(call, tenant, principal, resource)
        is_graph = audience.rstrip("/").lower() in tenant.cloud.graph_audiences
        scopes = self._users.granted(call, form, application, principal) if is_graph else ()
        token = self._mint.issue_for_user(
            tenant_id=tenant.tenant_id,
            app_id=application.app_id,
            claims=token_claims(user, scopes),
            audience=audience,
            now=call.now,
        )
        body: dict[str, Any] = {
            "token_type": "Bearer",
            "scope": " ".join((*(f"{audience.rstrip('/')}/{scope}" for scope in scopes), "openid", "profile")),
            "expires_in": LIFETIME_SECONDS,
            "ext_expires_in": LIFETIME_SECONDS,
            "access_token": token,
        }
        if "openid" in form.get("scope", "").split():
            body["id_token"] = self._mint.issue_identity(
                tenant_id=tenant.tenant_id,
                app_id=application.app_id,
                object_id=user.object_id,
                name=user.name,
                upn=user.upn,
                login=tenant.cloud.login,
                now=call.now,
            )
        return body

    # Checks.

    def _cloud(self, call: Call) -> Cloud:
        tenant = self._directory.find_tenant(call.params.get("tenant", ""))
        return call.cloud or (tenant.cloud if tenant else PUBLIC)

    def _tenant(self, call: Call, *, discovery: bool = False) -> Tenant:
        name = call.params["tenant"]
        if name.lower() in _ANY_TENANT:
            raise refusal(call, 50059)
        tenant = self._directory.find_tenant(name)
        if tenant is None or (call.cloud is not None and tenant.cloud is not call.cloud):
            raise refusal(call, 90002, tenant=name, error="invalid_tenant" if discovery else None)
        return tenant

    def _resource(self, call: Call, form: Mapping[str, str]) -> str:
        """The resource that is asked for: v2 names it by scope, v1 by resource."""
        if "scope" not in form and form.get("resource"):
            return form["resource"]
        if not form.get("scope"):
            raise refusal(call, 900144, parameter="scope")
        scopes = [scope for scope in form["scope"].split() if scope not in {"openid", "profile", "offline_access"}]
        if len(scopes) != 1 or not scopes[0].endswith("/.default") or scopes[0] == "/.default":
            raise refusal(call, 1002012, resource=form["scope"])
        return scopes[0].removesuffix("/.default")

    def _user_resource(self, call: Call, form: Mapping[str, str], tenant: Tenant) -> str:
        """The resource of a password grant: permissions of one resource, Graph's where they name none."""
        scopes = [scope for scope in form.get("scope", "").split() if scope not in OIDC_SCOPES]
        resources = {scope.rpartition("/")[0] for scope in scopes}
        if len(resources) > 1:
            raise refusal(call, 70011, resource=form["scope"])
        return next(iter(resources), "") or f"https://{tenant.cloud.graph[0]}"

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
        raise refusal(call, 500011, resource=resource, tenant=tenant.name)
