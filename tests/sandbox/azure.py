"""A small HTTP client for the sandbox's tests: what a caller of Azure does, without any SDK between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from azure_sandbox.testing import ApplicationInfo, Control, Sandbox, TenantInfo

GRAPH = "https://graph.microsoft.com/.default"
ARM = "https://management.azure.com/.default"
OWNED_BY = "Application.ReadWrite.OwnedBy"
NOBODY = "99999999-9999-4999-8999-999999999999"


@dataclass(slots=True)
class Azure:
    """One test's corner of the shared sandbox: a tenant of its own, and calls as one of its applications."""

    sandbox: Sandbox
    http: httpx.Client
    tenant: TenantInfo
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def control(self) -> Control:
        return self.sandbox.control

    def app(self, *roles: str, owners: tuple[str, ...] = (), **record: Any) -> ApplicationInfo:
        """An application of the test's tenant with one known secret, `boot`."""
        record = {"secrets": [{"name": "boot"}], **record}
        return self.control.create_application(
            tenant=self.tenant.tenant_id, roles=list(roles), owners=list(owners), **record
        )

    def rotator_and_workload(self, **record: Any) -> tuple[ApplicationInfo, ApplicationInfo]:
        """A caller with OwnedBy, and an application that it owns."""
        rotator = self.app(OWNED_BY)
        return rotator, self.app(owners=(rotator.app_id,), **record)

    def login(
        self, app: ApplicationInfo | str, secret: str | None, *, scope: str = GRAPH, **form: str | None
    ) -> httpx.Response:
        """POST the token request; form fields that are None are left out."""
        fields: dict[str, str | None] = {
            "grant_type": "client_credentials",
            "client_id": app if isinstance(app, str) else app.app_id,
            "client_secret": secret,
            "scope": scope,
            **form,
        }
        url = f"https://login.microsoftonline.com/{self.tenant.tenant_id}/oauth2/v2.0/token"
        return self.http.post(url, data={name: value for name, value in fields.items() if value is not None})

    def accepts(self, app: ApplicationInfo, secret: str) -> bool:
        return self.login(app, secret).status_code == 200

    def token(self, app: ApplicationInfo, scope: str = GRAPH) -> str:
        """A token for an application whose `boot` secret is known."""
        key = (app.app_id, scope)
        if key not in self.tokens:
            answer = self.login(app, app.secrets["boot"], scope=scope)
            assert answer.status_code == 200, answer.text
            self.tokens[key] = answer.json()["access_token"]
        return self.tokens[key]

    def graph(self, method: str, path: str, caller: ApplicationInfo | None, **request: Any) -> httpx.Response:
        """Call Graph as an application; None sends no token."""
        headers = request.pop("headers", {})
        if caller is not None:
            headers = {"authorization": f"Bearer {self.token(caller)}", **headers}
        return self.http.request(method, f"https://graph.microsoft.com/v1.0{path}", headers=headers, **request)

    def arm(self, method: str, path: str, caller: ApplicationInfo | None, **request: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token(caller, ARM)}"} if caller is not None else {}
        return self.http.request(method, f"https://management.azure.com{path}", headers=headers, **request)

    def add(self, app: ApplicationInfo, caller: ApplicationInfo, **credential: Any) -> httpx.Response:
        body = {"passwordCredential": credential} if credential else {}
        return self.graph("POST", f"/applications/{app.object_id}/addPassword", caller, json=body)

    def minted(self, app: ApplicationInfo, caller: ApplicationInfo, **credential: Any) -> dict[str, Any]:
        """addPassword that must succeed."""
        answer = self.add(app, caller, **credential)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def remove(self, app: ApplicationInfo, caller: ApplicationInfo, key_id: str) -> httpx.Response:
        return self.graph("POST", f"/applications/{app.object_id}/removePassword", caller, json={"keyId": key_id})

    def listed(self, app: ApplicationInfo, caller: ApplicationInfo) -> list[str]:
        """The keyIds that a read of the application shows."""
        answer = self.graph("GET", f"/applications/{app.object_id}", caller)
        return [secret["keyId"] for secret in answer.json()["passwordCredentials"]]


def code(answer: httpx.Response) -> str:
    """The error code of a Graph or ARM answer, or `AADSTS...` of a login."""
    error = answer.json()["error"]
    return error["code"] if isinstance(error, dict) else f"AADSTS{answer.json()['error_codes'][0]}"
