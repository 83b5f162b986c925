"""Answers held against the official descriptions of the calls, in the folder that CONFORMANCE_DIR names.

A path that no description has must be named in UNDESCRIBED, or the test fails.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_core.validation.response.exceptions import InvalidData

from azure_sandbox.exchange import Operation
from azure_sandbox.graph import Graph
from azure_sandbox.permissions import APP_ROLE_IDS, ROLES, SCOPES
from tests.sandbox.azure import NOBODY, OWNED_BY, Azure

FOLDER = Path(os.environ["CONFORMANCE_DIR"])
GRAPH_FILE = "graph-v1.0.subset.openapi.json"
UNDESCRIBED = {
    "/applications/{id}/owners",
    "/servicePrincipals/{id}/owners",
    "/users",
    *(f"/users/{{id}}/{member}" for member in ("memberOf", "transitiveMemberOf")),
    *(f"/users/{{id}}/{member}/microsoft.graph.directoryRole" for member in ("memberOf", "transitiveMemberOf")),
    "/me",
    "/me/changePassword",
}
PREFIX = "https://graph.microsoft.com/v1.0"


@cache
def described(name: str) -> OpenAPI:
    return OpenAPI.from_file_path(str(FOLDER / name))


def check(name: str, answer: httpx.Response) -> None:
    """Hold one exchange against a description; raises what is wrong with it."""
    request = answer.request
    url = httpx.URL(str(request.url))
    mock_request = MockRequest(
        host_url=f"{url.scheme}://{url.host}",
        method=request.method.lower(),
        path=url.path,
        args=dict(url.params),
        headers=dict(request.headers),
        data=request.content or None,
        content_type="application/json",
    )
    mock_answer = MockResponse(
        data=answer.content,
        status_code=answer.status_code,
        headers={},
        content_type=answer.headers.get("content-type", "").partition(";")[0],
    )
    described(name).validate_response(mock_request, mock_answer)


def calls(azure: Azure) -> list[httpx.Response]:
    """Each described call once with success and once with each kind of refusal."""
    rotator, app = azure.rotator_and_workload(policy={"max_lifetime": "P900D", "forbid_passwords": False})
    foreign, powerless = azure.app(), azure.app()
    reader = azure.app("Policy.Read.All", "Application.Read.All")
    answers: list[httpx.Response] = []
    for thing, object_id in (("applications", app.object_id), ("servicePrincipals", app.service_principal_id)):
        addresses = [f"/{thing}/{object_id}", f"/{thing}(appId='{app.app_id}')"]
        answers += [azure.graph("GET", address, rotator) for address in addresses]
        answers += [azure.graph("GET", f"/{thing}?$select=id,appId&$count=true", rotator)]
        answers += [azure.graph("GET", f"/{thing}?$filter=notes eq 'x'", rotator)]
        answers += [azure.graph("GET", f"/{thing}/{NOBODY}", rotator), azure.graph("GET", f"/{thing}", powerless)]
        answers += [azure.graph("GET", f"/{thing}", None)]
        for address in addresses if thing == "applications" else addresses[:1]:
            for body in ({}, {"passwordCredential": {"displayName": "x", "endDateTime": "2027-12-01T00:00:00.5Z"}}):
                made = azure.graph("POST", f"{address}/addPassword", rotator, json=body)
                removed = {"keyId": made.json()["keyId"]}
                answers += [made, azure.graph("POST", f"{address}/removePassword", rotator, json=removed)]
                answers += [azure.graph("POST", f"{address}/removePassword", rotator, json=removed)]
            wrong = {"passwordCredential": {"endDateTime": "2001-12-01T00:00:00Z"}}
            answers += [azure.graph("POST", f"{address}/addPassword", rotator, json=wrong)]
            azure.control.add_fault("graph.add*", app=app.app_id, preset="concurrency-503")
            answers += [azure.graph("POST", f"{address}/addPassword", rotator, json={})]
    patch = {"displayName": "patched"}
    answers += [azure.graph("PATCH", f"/applications/{app.object_id}", rotator, json=patch)]
    answers += [azure.graph("PATCH", f"/applications/{app.object_id}", rotator, json={"passwordCredentials": [{}]})]
    answers += [azure.add(foreign, rotator)]
    answers += [azure.graph("GET", f"/servicePrincipals/{rotator.service_principal_id}/appRoleAssignments", rotator)]
    answers += [azure.graph("GET", "/servicePrincipals(appId='00000003-0000-0000-c000-000000000000')", rotator)]
    answers += [azure.graph("GET", "/policies/defaultAppManagementPolicy", reader)]
    answers += [azure.graph("GET", f"/applications/{app.object_id}/appManagementPolicies", reader)]
    return answers + user_calls(azure)


def user_calls(azure: Azure) -> list[httpx.Response]:
    caller, powerless = azure.app("User.Read.All", "User-PasswordProfile.ReadWrite.All"), azure.app()
    user = azure.control.create_user(tenant=azure.tenant.tenant_id)
    path = f"/users/{user.object_id}"
    everything = "id,accountEnabled,createdDateTime,lastPasswordChangeDateTime,onPremisesSyncEnabled,passwordProfile"
    profiles = ({"password": "Correct-horse-42-battery", "forceChangePasswordNextSignIn": False}, {"password": "weak"})
    return [
        *(azure.graph("GET", place, caller) for place in (path, f"/users/{NOBODY}", f"{path}?$select={everything}")),
        *(azure.graph("PATCH", path, caller, json={"passwordProfile": profile}) for profile in profiles),
        azure.graph("GET", path, powerless),
        azure.graph("PATCH", path, None, json={}),
    ]


def test_graph_answers_as_described(azure: Azure):
    answers = calls(azure)
    for answer in answers:
        check(GRAPH_FILE, answer)
    assert {answer.status_code for answer in answers} >= {200, 204, 400, 401, 403, 404, 503}


def test_the_check_would_notice_a_wrong_answer(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    good = azure.graph("GET", f"/applications/{app.object_id}", rotator)
    body = good.json()
    body["passwordCredentials"][0]["endDateTime"] = "tomorrow"
    bad = httpx.Response(200, json=body, request=good.request)
    with pytest.raises(InvalidData):
        check(GRAPH_FILE, bad)


def described_form(operation: Operation) -> str:
    """An operation's pattern as a description writes its path."""
    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", operation.pattern.pattern)
    return path.replace("\\", "").removeprefix("/v1.0").replace("{app_id}", "{appId}").replace("{user}", "{id}")


def test_every_graph_call_is_described_or_named():
    paths = json.loads((FOLDER / GRAPH_FILE).read_text())["paths"]
    undescribed = set()
    for operation in Graph(None, None).operations:  # type: ignore[arg-type]
        # Graph addresses every entity by key or by alternate key; the file spells out the latter for some calls only.
        form = described_form(operation)
        by_key = form.replace("(appId='{appId}')", "/{id}")
        if not any(operation.method.lower() in paths.get(path, {}) for path in (form, by_key)):
            undescribed.add(by_key)
    assert undescribed == UNDESCRIBED


ROLE_PATHS = {
    "graph.listApplications": "GET /applications",
    "graph.getApplication": "GET /applications/{id}",
    "graph.listApplicationOwners": "GET /applications/{id}/owners",
    "graph.updateApplication": "PATCH /applications/{id}",
    "graph.addPassword": "POST /applications/{id}/addpassword",
    "graph.removePassword": "POST /applications/{id}/removepassword",
    "graph.listServicePrincipals": "GET /serviceprincipals",
    "graph.getServicePrincipal": "GET /serviceprincipals/{id}",
    "graph.listServicePrincipalOwners": "GET /serviceprincipals/{id}/owners",
    "graph.listAppRoleAssignments": "GET /serviceprincipals/{id}/approleassignments",
    "graph.addServicePrincipalPassword": "POST /serviceprincipals/{id}/addpassword",
    "graph.removeServicePrincipalPassword": "POST /serviceprincipals/{id}/removepassword",
    "graph.getDefaultAppManagementPolicy": "GET /policies/defaultappmanagementpolicy",
    "graph.listUsers": "GET /users",
    "graph.getUser": "GET /users/{id}",
    "graph.updateUser": "PATCH /users/{id}",
}
UNPUBLISHED = {"graph.listAppManagementPolicies", "graph.listUserMemberOf", "graph.getMe"}


def test_every_operation_has_its_published_roles():
    published = json.loads((FOLDER / "graph-permissions.subset.json").read_text())["paths"]
    for operation, path in ROLE_PATHS.items():
        for form in {path, path if "users" in path else path.replace("/{id}", "(appid={value})")}:
            roles = {line["permission"] for line in published[form] if "Application" in line["schemes"]}
            assert ROLES[operation] == roles, form
    assert set(ROLES) - set(ROLE_PATHS) == UNPUBLISHED | {"graph.changePassword"}
    changers = published["POST /me/changePassword"]
    assert SCOPES["graph.changePassword"] == {line["permission"] for line in changers}
    assert not any("Application" in line["schemes"] for line in changers)
    assert frozenset().union(*ROLES.values()) <= set(APP_ROLE_IDS)


KEYS_FILE = "storage-2026-09-01.keys.openapi.json"
OLD_FILE = "storage-2021-04-01.subset.openapi.json"


def test_resource_manager_answers_as_described(azure: Azure):
    owner, stranger = azure.app(), azure.app()
    account = azure.control.create_account(
        tenant=azure.tenant.tenant_id, sas_period="1.00:00:00", allow_shared_key=True
    )
    subscription = account.resource_id.partition("/resourceGroups/")[0]
    azure.control.grant(owner.app_id, "Owner", subscription)
    policy = {"properties": {"keyPolicy": {"keyExpirationPeriodInDays": 30}}}
    accounts = "/providers/Microsoft.Storage/storageAccounts"
    for version, file in (("2026-09-01", KEYS_FILE), ("2021-04-01", OLD_FILE)):
        path, query = account.resource_id, f"?api-version={version}"
        good = [
            azure.arm("GET", f"{path}{query}", owner),
            azure.arm("POST", f"{path}/listKeys{query}", owner),
            azure.arm("POST", f"{path}/regenerateKey{query}", owner, json={"keyName": "kerb1"}),
            azure.arm("POST", f"{path}/listKeys{query}&$expand=kerb", owner),
        ]
        bad = [
            azure.arm("POST", f"{path}/regenerateKey{query}", owner, json={"keyName": "key3"}),
            azure.arm("POST", f"{path}/listKeys{query}", stranger),
            azure.arm("POST", f"{path}x/listKeys{query}", owner),
        ]
        if file == OLD_FILE:
            good += [azure.arm("PATCH", f"{path}{query}", owner, json=policy)]
            good += [
                azure.arm("GET", f"{below}{accounts}{query}", owner)
                for below in (subscription, path.partition("/providers/")[0])
            ]
            bad = []  # the file of 2021 describes success only
        assert {answer.status_code for answer in good} == {200}
        for answer in (*good, *bad):
            check(file, as_listed(answer) if file == OLD_FILE else answer)


def as_listed(answer: httpx.Response) -> httpx.Response:
    """The answer with `FULL`, which the service says, in the letters of the description."""
    return httpx.Response(
        answer.status_code,
        content=answer.content.replace(b'"FULL"', b'"Full"'),
        headers={"content-type": "application/json"},
        request=answer.request,
    )


def test_resource_managers_errors_have_the_described_shape(azure: Azure):
    document: dict[str, Any] = json.loads((FOLDER / KEYS_FILE).read_text())
    path = next(path for path in document["paths"] if path.endswith("/listKeys"))
    url = path.format_map({"subscriptionId": NOBODY, "resourceGroupName": "demo", "accountName": "contososandbox"})
    for caller in (None, azure.app(OWNED_BY)):
        answer = azure.arm("POST", f"{url}?api-version=2026-09-01", caller)
        assert answer.status_code >= 400
        check(KEYS_FILE, answer)


# Whatever the descriptions allow, thrown at the sandbox: no answer may be out of shape, and none a 500.

IMPLEMENTED = ["/applications", "/servicePrincipals", "/policies", "/users/{id}"]


@pytest.mark.full
@pytest.mark.timeout(900)
def test_no_described_request_gets_an_undescribed_answer(azure: Azure, tmp_path: Path):
    rotator = azure.app(OWNED_BY, "Policy.Read.All", "User.Read.All")
    app = azure.app(owners=(rotator.app_id,))
    user = azure.control.create_user(tenant=azure.tenant.tenant_id)
    document = json.loads((FOLDER / GRAPH_FILE).read_text())
    document["paths"] = {
        path: {method: call for method, call in calls.items() if method in {"get", "post"}}
        for path, calls in document["paths"].items()
        if path.startswith(tuple(IMPLEMENTED)) and not path.endswith("/resetPassword")
    }
    for path, calls_of_path in document["paths"].items():
        ids = {"/servicePrincipals": app.service_principal_id, "/users": user.object_id}
        id_ = ids.get(path.partition("/{id}")[0], app.object_id)
        known = {"id": [id_, NOBODY, "x"], "appId": [app.app_id, NOBODY, "x"]}
        for parameter in (item for call in calls_of_path.values() for item in call.get("parameters", ())):
            if parameter["in"] == "path":
                parameter["schema"] = {"type": "string", "enum": known[parameter["name"]]}
    narrowed = tmp_path / "graph.json"
    narrowed.write_text(json.dumps(document))
    (tmp_path / "schemathesis.toml").write_text("")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(narrowed), f"--url={azure.sandbox.address}/v1.0"),
        *(f"--header=Authorization: Bearer {azure.token(rotator)}", f"--tls-verify={azure.sandbox.ca_file}"),
        "--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        *("--max-examples=50", "--phases=examples,coverage,fuzzing", "--seed=1", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
