"""Resource Manager: who comes in, what is there, how refusals look."""

from __future__ import annotations

import pytest

from azure_sandbox.testing import Sandbox
from tests.sandbox.azure import Azure, code

SUBSCRIPTION = "88888888-8888-4888-8888-888888888801"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/demo"
ACCOUNTS = "/providers/Microsoft.Storage/storageAccounts"
VERSION = "?api-version=2026-09-01"
SEED = f"""
[[tenants]]
name = "Mine"

[[applications]]
name = "reader"
secrets = [{{ name = "boot", value = "made-up" }}]

[[applications]]
name = "operator"
secrets = [{{ name = "boot", value = "made-up" }}]

[[applications]]
name = "nobody"
secrets = [{{ name = "boot", value = "made-up" }}]

[[storage_accounts]]
subscription = "{SUBSCRIPTION}"
resource_group = "demo"
name = "first"

[[storage_accounts]]
subscription = "{SUBSCRIPTION}"
resource_group = "other"
name = "second"

[[role_assignments]]
principal = "reader"
role = "Reader"
scope = "{GROUP}"

[[role_assignments]]
principal = "operator"
role = "Storage Account Key Operator Service Role"
scope = "/subscriptions/{SUBSCRIPTION}"
"""


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    seed = tmp_path_factory.mktemp("seed") / "seed.toml"
    seed.write_text(SEED)
    with Sandbox(seed=seed) as sandbox:
        yield sandbox


@pytest.fixture
def arm(seeded: Sandbox, http_for):
    from azure_sandbox.testing import TenantInfo

    tenant = seeded.control.status()["tenants"][0]
    return Azure(seeded, http_for(seeded), TenantInfo(domain="", **tenant))


def caller(azure: Azure, name: str):
    [app] = [item for item in azure.control.applications() if item.name == name]
    azure.tokens[app.app_id, "https://management.azure.com/.default"] = azure.login(
        app, "made-up", scope="https://management.azure.com/.default"
    ).json()["access_token"]
    return app


READS = {
    "an account": ("reader", f"{GROUP}{ACCOUNTS}/first{VERSION}", 200, None),
    "an account in other letters": ("reader", f"{GROUP.upper()}{ACCOUNTS.lower()}/FIRST{VERSION}", 200, None),
    "an account that is not there": ("reader", f"{GROUP}{ACCOUNTS}/third{VERSION}", 404, "ResourceNotFound"),
    "a group": ("reader", f"{GROUP}{ACCOUNTS}{VERSION}", 200, None),
    "outside of the role's scope": (
        "reader",
        f"/subscriptions/{SUBSCRIPTION}{ACCOUNTS}{VERSION}",
        403,
        "AuthorizationFailed",
    ),
    "a role without the action": ("operator", f"{GROUP}{ACCOUNTS}/first{VERSION}", 403, "AuthorizationFailed"),
    "no role": ("nobody", f"{GROUP}{ACCOUNTS}/first{VERSION}", 403, "AuthorizationFailed"),
    "no api-version": ("reader", f"{GROUP}{ACCOUNTS}/first", 400, "MissingApiVersionParameter"),
    "an unknown path": ("reader", f"{GROUP}/providers/Microsoft.Nothing/things{VERSION}", 404, "InvalidResourceType"),
}


@pytest.mark.parametrize(("who", "path", "status", "expected"), READS.values(), ids=READS.keys())
def test_reads(arm: Azure, who, path, status, expected):
    answer = arm.arm("GET", path, caller(arm, who))
    assert answer.status_code == status
    assert answer.headers["x-ms-request-id"]
    if expected:
        assert code(answer) == expected
        assert answer.headers["x-ms-failure-cause"] == "gateway"


def test_an_account_says_what_it_is(arm: Azure):
    body = arm.arm("GET", f"{GROUP}{ACCOUNTS}/first{VERSION}", caller(arm, "reader")).json()
    assert (body["name"], body["type"]) == ("first", "Microsoft.Storage/storageAccounts")
    assert body["id"] == f"{GROUP}{ACCOUNTS}/first"


def test_a_list_is_of_what_lies_below(arm: Azure):
    body = arm.arm("GET", f"{GROUP}{ACCOUNTS}{VERSION}", caller(arm, "reader")).json()
    assert [item["name"] for item in body["value"]] == ["first"]


def test_the_refusal_names_caller_action_and_scope(arm: Azure):
    app = caller(arm, "nobody")
    message = arm.arm("GET", f"{GROUP}{ACCOUNTS}/first{VERSION}", app).json()["error"]["message"]
    assert f"with object id '{app.service_principal_id}'" in message
    assert "'Microsoft.Storage/storageAccounts/read'" in message


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, "AuthenticationFailed"), ("Bearer nonsense", "InvalidAuthenticationToken")],
)
def test_without_a_good_token_everything_is_401(arm: Azure, header, expected):
    headers = {"authorization": header} if header else {}
    for path in (f"{GROUP}{ACCOUNTS}/first{VERSION}", "/nothing"):
        answer = arm.http.get(f"https://management.azure.com{path}", headers=headers)
        assert (answer.status_code, code(answer)) == (401, expected)
        assert answer.headers["www-authenticate"].startswith("Bearer authorization_uri=")


def test_a_token_for_graph_opens_nothing_here(azure: Azure):
    token = azure.token(azure.app())
    answer = azure.http.get(
        f"https://management.azure.com{GROUP}{VERSION}", headers={"authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, code(answer)) == (401, "InvalidAuthenticationToken")


def test_an_unknown_method_is_405(arm: Azure):
    answer = arm.arm("PUT", f"{GROUP}{ACCOUNTS}/first{VERSION}", caller(arm, "reader"))
    assert (answer.status_code, code(answer)) == (405, "UnsupportedHttpVerb")
