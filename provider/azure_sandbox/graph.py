"""Microsoft Graph v1.0: applications, service principals, their secrets, owners and role assignments; users next door.

Who may call what follows the roles in the caller's token (:mod:`azure_sandbox.permissions`); with OwnedBy alone a
write needs the caller's service principal among the object's owners.

Source: the Graph v1.0 reference on learn.microsoft.com.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from azure_sandbox import graph_answers as answers
from azure_sandbox import odata
from azure_sandbox.clouds import CLOUDS, GRAPH_APP_ID
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, operation
from azure_sandbox.objects import Application, ServicePrincipal
from azure_sandbox.passwords import Passwords
from azure_sandbox.patching import update_application
from azure_sandbox.permissions import APP_ROLE_IDS, OWNED_BY, ROLES, SCOPES
from azure_sandbox.resources import (
    application_resource,
    assignment_resource,
    default_policy_resource,
    owner_resource,
    policy_resource,
    service_principal_resource,
)
from azure_sandbox.tokens import Caller, TokenMint, TokenRefused
from azure_sandbox.users import Users

_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_FILTERABLE = frozenset({"id", "appId", "displayName"})
_EVERY_AUDIENCE = tuple(audience for cloud in CLOUDS.values() for audience in cloud.graph_audiences)


class Graph:
    """The Graph surface of all clouds."""

    name = "graph"

    def __init__(self, directory: Directory, mint: TokenMint) -> None:
        self._directory = directory
        self._mint = mint
        self._passwords = Passwords(directory)
        self._users = Users(directory, self)
        self.operations: tuple[Operation, ...] = tuple(self._operations())

    def _operations(self) -> Iterator[Operation]:
        for address in ("/v1.0/applications/{id}", "/v1.0/applications(appId='{app_id}')"):
            yield operation("graph.getApplication", "GET", address, self._get_application)
            yield operation("graph.updateApplication", "PATCH", address, self._update_application, writes=True)
            yield operation("graph.addPassword", "POST", f"{address}/addPassword", self._add, writes=True)
            yield operation("graph.removePassword", "POST", f"{address}/removePassword", self._remove, writes=True)
            yield operation("graph.listApplicationOwners", "GET", f"{address}/owners", self._owners)
            yield operation(
                "graph.listAppManagementPolicies", "GET", f"{address}/appManagementPolicies", self._policies
            )
        for address in ("/v1.0/servicePrincipals/{id}", "/v1.0/servicePrincipals(appId='{app_id}')"):
            yield operation("graph.getServicePrincipal", "GET", address, self._get_service_principal)
            yield operation(
                "graph.addServicePrincipalPassword", "POST", f"{address}/addPassword", self._add, writes=True
            )
            yield operation(
                "graph.removeServicePrincipalPassword", "POST", f"{address}/removePassword", self._remove, writes=True
            )
            yield operation("graph.listServicePrincipalOwners", "GET", f"{address}/owners", self._owners)
            yield operation("graph.listAppRoleAssignments", "GET", f"{address}/appRoleAssignments", self._assignments)
        yield operation("graph.listApplications", "GET", "/v1.0/applications", self._list_applications)
        yield operation("graph.listServicePrincipals", "GET", "/v1.0/servicePrincipals", self._list_service_principals)
        yield operation(
            "graph.getDefaultAppManagementPolicy",
            "GET",
            "/v1.0/policies/defaultAppManagementPolicy",
            self._default_policy,
        )
        yield from self._users.operations()

    # The surface.

    def identify(self, call: Call) -> None:
        """Note the caller, if the token is good, and the object that the path names."""
        try:
            call.caller = self._check_token(call)
        except TokenRefused:
            call.caller = None
        else:
            call.entry.principal = call.caller.app_id
            call.entry.tenant_id = call.caller.tenant_id
        self._users.identify(call)
        call.target = self._find_target(call)
        if call.target is not None:
            call.entry.app_id = call.target.app_id
            call.entry.object_id = call.target.object_id
            call.entry.tenant_id = call.target.tenant_id

    def error(self, call: Call, status: int | None, code: str | None, message: str | None) -> Answer:
        """An OData error."""
        return answers.error(call, status or 500, code or "UnknownError", message or "")

    def unknown(self, call: Call, *, path_exists: bool) -> Answer:
        """400 for a path that Graph (or the sandbox) doesn't have, 405 for a method; 401 before either."""
        try:
            self.authenticate(call)
        except Refusal as refusal:
            return refusal.answer
        if path_exists:
            text = "Specified HTTP method is not allowed for the request target."
            return answers.error(call, 405, "Request_BadRequest", text)
        segment = call.path.rstrip("/").rsplit("/", 1)[-1]
        return answers.error(call, 400, "BadRequest", f"Resource not found for the segment '{segment}'.")

    # Who asks, and about what.

    def _check_token(self, call: Call) -> Caller:
        audiences = call.cloud.graph_audiences if call.cloud else _EVERY_AUDIENCE
        return self._mint.check(call.headers.get("authorization", ""), audiences=audiences, now=call.now)

    def authenticate(self, call: Call) -> Caller:
        """The caller.

        Raises:
            Refusal: 401, the token is missing or no good here.
        """
        try:
            return self._check_token(call)
        except TokenRefused as refused:
            login = (call.cloud or CLOUDS["public"]).login
            challenge = (
                f'Bearer realm="", authorization_uri="https://{login}/common/oauth2/authorize",'
                f' client_id="{GRAPH_APP_ID}"'
            )
            made = answers.error(call, 401, "InvalidAuthenticationToken", str(refused))
            headers = {**made.headers, "www-authenticate": challenge}
            raise Refusal(Answer(status=401, body=made.body, headers=headers, error_code=made.error_code)) from None

    def authorize(self, call: Call) -> Caller:
        """The caller, if a role or, where he acts as a user, a delegated permission opens this operation.

        Raises:
            Refusal: 401 or 403.
        """
        caller = self.authenticate(call)
        name = call.entry.operation
        if caller.is_user:
            allowed = caller.scopes & SCOPES.get(name, frozenset())
        elif call.path.lower().startswith("/v1.0/me"):
            text = "/me request is only valid with delegated authentication flow."
            raise answers.bad_request(call, text, "BadRequest")
        else:
            allowed = caller.roles & ROLES[name]
        if not allowed:
            raise answers.denied(call)
        return caller

    def _find_target(self, call: Call) -> Application | ServicePrincipal | None:
        """The object that the path names: in the caller's tenant, or, without a good token, in any."""
        object_id, app_id = call.params.get("id", ""), call.params.get("app_id", "")
        if not object_id and not app_id:
            return None
        find: Callable[..., Application | ServicePrincipal | None] = (
            self._directory.find_service_principal
            if "/serviceprincipals" in call.path.lower()
            else self._directory.find_application
        )
        tenants = [call.caller.tenant_id] if call.caller else list(self._directory.tenants)
        found = (find(tenant_id, object_id=object_id, app_id=app_id) for tenant_id in tenants)
        return next((item for item in found if item is not None), None)

    def _target(self, call: Call) -> Application | ServicePrincipal:
        """Check token and role, then find the object; whoever lacks the role doesn't learn what exists."""
        call.caller = self.authorize(call)
        id_ = call.params.get("id") or call.params["app_id"]
        if not _GUID.fullmatch(id_):
            raise answers.bad_request(call, f"Invalid object identifier '{id_}'.")
        call.target = found = self._find_target(call)
        if found is None:
            raise answers.not_found(call, id_)
        return found

    def _own_target(self, call: Call) -> Application | ServicePrincipal:
        """The target of a write: OwnedBy reaches only what the caller's service principal owns."""
        target = self._target(call)
        caller = self._check_token(call)
        over_all = caller.roles & (ROLES[call.entry.operation] - {OWNED_BY})
        if not over_all and caller.object_id not in target.owners:
            raise answers.denied(call)
        return target

    # Handlers.

    def _add(self, call: Call) -> Answer:
        return self._passwords.add(call, self._own_target(call))

    def _remove(self, call: Call) -> Answer:
        return self._passwords.remove(call, self._own_target(call))

    def _get_application(self, call: Call) -> Answer:
        return answers.entity(call, "applications", self._show(self._target(call), call))

    def _update_application(self, call: Call) -> Answer:
        target = self._own_target(call)
        if not isinstance(target, Application):
            raise answers.not_found(call, target.object_id)
        answer = update_application(call, target)
        if call.entry.committed:
            self._directory.save(target)
        return answer

    def _get_service_principal(self, call: Call) -> Answer:
        return answers.entity(call, "servicePrincipals", self._show(self._target(call), call))

    def _list_applications(self, call: Call) -> Answer:
        return self._list(call, "applications", self._directory.applications)

    def _list_service_principals(self, call: Call) -> Answer:
        return self._list(call, "servicePrincipals", self._directory.service_principals)

    def _owners(self, call: Call) -> Answer:
        target = self._target(call)
        found = [
            self._directory.find_service_principal(target.tenant_id, object_id=owner)
            or self._directory.users.get(owner)
            for owner in target.owners
        ]
        return answers.collection(call, "directoryObjects", [owner_resource(owner) for owner in found if owner])

    def _assignments(self, call: Call) -> Answer:
        target = self._target(call)
        graph = self._directory.find_service_principal(target.tenant_id, app_id=GRAPH_APP_ID)
        if graph is None or not isinstance(target, ServicePrincipal):
            raise answers.not_found(call, target.object_id)
        rows = [assignment_resource(target, graph, role) for role in target.roles if role in APP_ROLE_IDS]
        return answers.collection(call, f"servicePrincipals('{target.object_id}')/appRoleAssignments", rows)

    def _policies(self, call: Call) -> Answer:
        target = self._target(call)
        policy = target.policy if isinstance(target, Application) else None
        return answers.collection(call, "policies/appManagementPolicies", [policy_resource(policy)] if policy else [])

    def _default_policy(self, call: Call) -> Answer:
        tenant = self._directory.tenants[self.authorize(call).tenant_id]
        return answers.entity(call, "policies/defaultAppManagementPolicy", default_policy_resource(tenant.policy))

    def _show(self, item: Application | ServicePrincipal, call: Call) -> dict[str, Any]:
        secrets = self._passwords.shown(item, call.now)
        if isinstance(item, ServicePrincipal):
            return service_principal_resource(item, secrets)
        return application_resource(item, secrets)

    def _list(self, call: Call, kind: str, items: Callable[[str], Iterator[Application | ServicePrincipal]]) -> Answer:
        tenant_id = self.authorize(call).tenant_id
        matches = self._filter(call)
        # Filter and cut on a few names first: only rows that are shown count as reads of their application.
        rows: Sequence[Mapping[str, Any]] = [
            {"id": item.object_id, "appId": item.app_id, "displayName": item.name, "item": item}
            for item in items(tenant_id)
        ]
        shown = answers.page(call, [row for row in rows if matches(row)])
        value = [odata.select(self._show(row["item"], call), call.query) for row in shown.pop("value")]
        context = f"{answers.root(call)}/$metadata#{kind}{odata.context_suffix(call.query)}"
        return Answer(
            status=200, body={"@odata.context": context, **shown, "value": value}, headers=answers.headers(call)
        )

    def _filter(self, call: Call) -> Callable[[Mapping[str, Any]], bool]:
        if refused := sorted(set(call.query) & {"$search", "$expand", "$orderby"}):
            message = f"Unsupported query: the sandbox doesn't know {', '.join(refused)}."
            raise answers.bad_request(call, message, "Request_UnsupportedQuery")
        if "$filter" not in call.query:
            return lambda _row: True
        try:
            return odata.compile_filter(call.query["$filter"], _FILTERABLE)
        except odata.UnsupportedQuery as unsupported:
            raise answers.bad_request(call, str(unsupported), "Request_UnsupportedQuery") from None
        except odata.InvalidQuery as invalid:
            raise answers.bad_request(call, str(invalid)) from None
