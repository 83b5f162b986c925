"""Microsoft Graph: who may do what, and how answers and refusals look."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.sandbox.azure import ARM, NOBODY, OWNED_BY, Azure, code

READ = "Application.Read.All"
WRITE = "Application.ReadWrite.All"
KEY_ID = "12121212-1212-4212-8212-121212121212"


# Tokens, roles, ownership.


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "Access token is empty."),
        ("Basic abc", "Access token is empty."),
        ("Bearer nonsense", "IDX14100: JWT is not well formed, there are no dots (.)."),
        ("Bearer a.b.c", "CompactToken parsing failed."),
    ],
    ids=["no token", "no bearer", "no JWT", "a broken JWT"],
)
def test_a_bad_token_is_401_with_a_challenge(azure: Azure, header, message):
    headers = {"authorization": header} if header else {}
    answer = azure.graph("GET", "/applications", None, headers=headers)
    assert (answer.status_code, code(answer)) == (401, "InvalidAuthenticationToken")
    assert answer.json()["error"]["message"] == message
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_token_for_resource_manager_opens_nothing_here(azure: Azure):
    token = azure.token(azure.app(WRITE), ARM)
    answer = azure.graph("GET", "/applications", None, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert "audience" in answer.json()["error"]["message"]


def test_a_forged_token_is_refused(azure: Azure):
    head, body, signature = azure.token(azure.app(WRITE)).split(".")
    forged = ".".join((head, body, signature[::-1]))
    answer = azure.graph("GET", "/applications", None, headers={"authorization": f"Bearer {forged}"})
    assert answer.status_code == 401


def test_a_token_that_the_clock_has_outlived_is_401(alone: Azure):
    azure = alone
    app = azure.app(READ)
    azure.token(app)
    azure.control.advance("59m")
    assert azure.graph("GET", "/applications", app).status_code == 200
    azure.control.advance("1m")
    answer = azure.graph("GET", "/applications", app)
    assert (answer.status_code, code(answer)) == (401, "InvalidAuthenticationToken")
    assert answer.json()["error"]["message"] == "Lifetime validation failed, the token is expired."


READERS = {READ, WRITE, OWNED_BY, "Directory.Read.All"}
ROLES = [
    "Application.Read.All",
    "Application.ReadWrite.All",
    "Application.ReadWrite.OwnedBy",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "User.ReadWrite.All",
]
MAY = {
    "GET /applications": READERS,
    "GET /applications/{object}": READERS | {"Directory.ReadWrite.All"},
    "GET /applications(appId='{app}')": READERS | {"Directory.ReadWrite.All"},
    "GET /applications/{object}/owners": READERS | {"Directory.ReadWrite.All"},
    "GET /servicePrincipals": READERS,
    "GET /servicePrincipals/{principal}": READERS | {"Directory.ReadWrite.All"},
    "GET /servicePrincipals/{principal}/appRoleAssignments": READERS | {"Directory.ReadWrite.All"},
    # OwnedBy is not enough: nobody here owns the application.
    "POST /applications/{object}/addPassword": {WRITE, "Directory.ReadWrite.All"},
    "POST /applications(appId='{app}')/addPassword": {WRITE, "Directory.ReadWrite.All"},
    "POST /servicePrincipals/{principal}/addPassword": {WRITE, "Directory.ReadWrite.All"},
}


@pytest.mark.parametrize("call", MAY)
def test_each_call_takes_one_of_its_roles(azure: Azure, call):
    app = azure.app()
    method, _, path = call.partition(" ")
    path = path.format(object=app.object_id, app=app.app_id, principal=app.service_principal_id)
    allowed = set()
    for role in ROLES:
        answer = azure.graph(method, path, azure.app(role), **({"json": {}} if method == "POST" else {}))
        assert answer.status_code in {200, 403}
        if answer.status_code == 200:
            allowed.add(role)
        else:
            assert code(answer) == "Authorization_RequestDenied"
            assert answer.json()["error"]["message"] == "Insufficient privileges to complete the operation."
    assert allowed == MAY[call]


def test_owned_by_writes_to_what_the_callers_service_principal_owns(azure: Azure):
    rotator, own = azure.rotator_and_workload()
    foreign = azure.app()
    assert azure.add(own, rotator).status_code == 200
    assert azure.add(foreign, rotator).status_code == 403
    [secret] = azure.control.secrets(foreign.app_id)
    assert azure.remove(foreign, rotator, secret.key_id).status_code == 403
    assert [secret.state for secret in azure.control.secrets(foreign.app_id)] == ["valid"]


def test_ownership_without_the_role_is_nothing(azure: Azure):
    powerless = azure.app()
    own = azure.app(owners=(powerless.app_id,))
    assert azure.add(own, powerless).status_code == 403


def test_an_application_that_owns_itself_may_rotate_itself(azure: Azure):
    app = azure.app(OWNED_BY, owners=("self",))
    assert azure.accepts(app, azure.minted(app, app)["secretText"])


def test_a_lost_role_counts_from_the_next_token(azure: Azure):
    app = azure.app(READ)
    azure.token(app)
    azure.control.update_application(app.app_id, roles=[])
    assert azure.graph("GET", "/applications", app).status_code == 200
    azure.tokens.clear()
    assert azure.graph("GET", "/applications", app).status_code == 403


def test_another_tenants_applications_do_not_exist(azure: Azure):
    stranger = azure.control.create_application()
    reader = azure.app(READ)
    for path in (f"/applications/{stranger.object_id}", f"/applications(appId='{stranger.app_id}')"):
        assert azure.graph("GET", path, reader).status_code == 404
    listed = azure.graph("GET", "/applications", reader).json()["value"]
    assert [item["id"] for item in listed] == [reader.object_id]


# Reading.


def test_all_addresses_show_the_same_application(azure: Azure):
    reader, app = azure.app(READ), azure.app()
    for address in (
        f"/applications/{app.object_id}",
        f"/applications/{app.object_id.upper()}",
        f"/applications(appId='{app.app_id}')",
        f"//applications/{app.object_id}",
        f"/Applications(AppId='{app.app_id.upper()}')",
        f"/applications(appId%3D%27{app.app_id}%27)",
    ):
        answer = azure.graph("GET", address, reader)
        assert answer.status_code == 200, address
        assert answer.json()["id"] == app.object_id
    found = azure.graph("GET", f"/applications?$filter=appId eq '{app.app_id}'", reader).json()
    assert [item["id"] for item in found["value"]] == [app.object_id]


def test_a_read_shows_secrets_without_their_values(azure: Azure):
    reader, app = azure.app(READ), azure.app()
    body = azure.graph("GET", f"/applications/{app.object_id}", reader).json()
    assert body["@odata.context"] == "https://graph.microsoft.com/v1.0/$metadata#applications/$entity"
    [secret] = body["passwordCredentials"]
    assert secret["secretText"] is None
    assert secret["hint"] == app.secrets["boot"][:3]
    assert secret["displayName"] == "boot"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{7})?Z", secret["startDateTime"])


def test_select_cuts_the_answer_and_its_context(azure: Azure):
    reader, app = azure.app(READ), azure.app()
    body = azure.graph("GET", f"/applications/{app.object_id}?$select=id,appId", reader).json()
    assert set(body) == {"@odata.context", "id", "appId"}
    assert body["@odata.context"].endswith("#applications(id,appId)/$entity")


FILTERS = {
    "appId eq": ("appId eq '{app}'", 200, 1),
    "another appId": (f"appId eq '{NOBODY}'", 200, 0),
    "id eq": ("id eq '{object}'", 200, 1),
    "displayName eq, without case": ("displayName eq 'MINE'", 200, 1),
    "quoted quote": ("displayName eq 'it''s'", 200, 0),
    "in": ("appId in ('{app}', '" + NOBODY + "')", 200, 1),
    "startsWith": ("startsWith(displayName,'mi')", 200, 1),
    "a property that can't be filtered": ("notes eq 'x'", 400, "Request_UnsupportedQuery"),
    "no filter at all": ("appId is mine", 400, "Request_BadRequest"),
}


@pytest.mark.parametrize(("text", "status", "expected"), FILTERS.values(), ids=FILTERS.keys())
def test_filters(azure: Azure, text, status, expected):
    reader, app = azure.app(READ), azure.app(name="mine")
    query = {"$filter": text.format(app=app.app_id, object=app.object_id), "$count": "true"}
    answer = azure.graph("GET", "/applications", reader, params=query, headers={"ConsistencyLevel": "eventual"})
    assert answer.status_code == status
    if status == 200:
        assert len(answer.json()["value"]) == answer.json()["@odata.count"] == expected
    else:
        assert code(answer) == expected


def test_long_lists_come_in_pages(azure: Azure):
    reader = azure.app(READ)
    names = {reader.object_id} | {azure.app().object_id for _ in range(4)}
    seen: list[str] = []
    url = "/applications?$top=2"
    while url:
        body = azure.graph("GET", url, reader).json()
        assert len(body["value"]) <= 2
        seen += [item["id"] for item in body["value"]]
        url = body.get("@odata.nextLink", "").removeprefix("https://graph.microsoft.com/v1.0")
    assert len(seen) == 5
    assert set(seen) == names


@pytest.mark.parametrize("top", ["0", "1000", "x", "-1"])
def test_a_page_size_out_of_bounds_is_refused(azure: Azure, top):
    answer = azure.graph("GET", f"/applications?$top={top}", azure.app(READ))
    assert (answer.status_code, code(answer)) == (400, "Request_BadRequest")


def test_owners_are_shown_with_their_kind(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    for address in (f"/applications/{app.object_id}", f"/applications(appId='{app.app_id}')"):
        [owner] = azure.graph("GET", f"{address}/owners", rotator).json()["value"]
        assert owner["@odata.type"] == "#microsoft.graph.servicePrincipal"
        assert (owner["id"], owner["appId"]) == (rotator.service_principal_id, rotator.app_id)


def test_a_user_may_own_an_application(azure: Azure):
    app = azure.control.create_application(owners=["ada@contoso-sandbox.onmicrosoft.com"])
    admin = azure.control.create_application(roles=[READ], secrets=[{"name": "boot"}])
    home = Azure(azure.sandbox, azure.http, azure.tenant)
    home.tenant = next(
        azure.tenant.__class__(tenant_id=item["tenant_id"], name=item["name"], domain="", cloud=item["cloud"])
        for item in azure.control.status()["tenants"]
        if item["tenant_id"] == app.tenant_id
    )
    [owner] = home.graph("GET", f"/applications/{app.object_id}/owners", admin).json()["value"]
    assert owner["@odata.type"] == "#microsoft.graph.user"
    assert owner["userPrincipalName"] == "ada@contoso-sandbox.onmicrosoft.com"


def test_role_assignments_lead_to_microsoft_graphs_own_roles(azure: Azure):
    reader = azure.app(READ, OWNED_BY)
    address = f"/servicePrincipals/{reader.service_principal_id}/appRoleAssignments"
    assigned = azure.graph("GET", address, reader).json()["value"]
    graph = azure.graph("GET", "/servicePrincipals(appId='00000003-0000-0000-c000-000000000000')", reader).json()
    names = {role["id"]: role["value"] for role in graph["appRoles"]}
    assert {names[item["appRoleId"]] for item in assigned} == {READ, OWNED_BY}
    assert {item["resourceId"] for item in assigned} == {graph["id"]}
    assert {item["principalId"] for item in assigned} == {reader.service_principal_id}


def test_a_service_principal_is_found_by_both_ids(azure: Azure):
    reader, app = azure.app(READ), azure.app(enabled=False)
    for address in (f"/servicePrincipals/{app.service_principal_id}", f"/servicePrincipals(appId='{app.app_id}')"):
        body = azure.graph("GET", address, reader).json()
        assert (body["id"], body["appId"], body["accountEnabled"]) == (app.service_principal_id, app.app_id, False)


UNKNOWN = {
    "an unknown application": ("GET", f"/applications/{NOBODY}", 404, "Request_ResourceNotFound"),
    "an unknown appId": ("GET", f"/applications(appId='{NOBODY}')", 404, "Request_ResourceNotFound"),
    "an unknown application's secret": ("POST", f"/applications/{NOBODY}/addPassword", 404, "Request_ResourceNotFound"),
    "an id that is no GUID": ("GET", "/applications/abc", 400, "Request_BadRequest"),
    "an unknown segment": ("GET", "/nothing", 400, "BadRequest"),
    "an unknown method": ("PUT", "/applications", 405, "Request_BadRequest"),
}


@pytest.mark.parametrize(("method", "path", "status", "expected"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_is_not_there(azure: Azure, method, path, status, expected):
    answer = azure.graph(method, path, azure.app(WRITE))
    assert (answer.status_code, code(answer)) == (status, expected)
    if status == 404:
        assert answer.json()["error"]["message"] == (
            f"Resource '{NOBODY}' does not exist or one of its queried reference-property objects are not present."
        )


def test_an_error_carries_graphs_inner_error_and_headers(azure: Azure):
    mine = "12345678-1234-4234-8234-123456789abc"
    answer = azure.graph("GET", f"/applications/{NOBODY}", azure.app(READ), headers={"client-request-id": mine})
    inner = answer.json()["error"]["innerError"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", inner["date"])
    assert inner["client-request-id"] == answer.headers["client-request-id"] == mine
    assert inner["request-id"] == answer.headers["request-id"]


# Adding and removing.


def test_add_password_answers_once_with_the_value(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    answer = azure.add(app, rotator, displayName="mine", endDateTime="2099-01-02T03:04:05.6789012Z")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json;odata.metadata=minimal")
    assert answer.headers["odata-version"] == "4.0"
    assert answer.headers["location"] == "https://graph.microsoft.com"
    assert answer.headers["x-ms-resource-unit"] == "1"
    body = answer.json()
    assert body["@odata.context"] == "https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.passwordCredential"
    assert re.fullmatch(r"[A-Za-z0-9_.~-]{3}8Q~[A-Za-z0-9_.~-]{34}", body["secretText"])
    assert body["hint"] == body["secretText"][:3]
    assert body["displayName"] == "mine"
    assert body["endDateTime"] == "2099-01-02T03:04:05.6789010Z"
    assert azure.accepts(app, body["secretText"])
    assert body["keyId"] in azure.listed(app, rotator)


@pytest.mark.parametrize("body", [None, b"", b"{}", b'{"passwordCredential": null}', b'{"passwordCredential": {}}'])
def test_an_empty_request_makes_a_secret_of_two_years(azure: Azure, body):
    rotator, app = azure.rotator_and_workload()
    made = azure.graph("POST", f"/applications/{app.object_id}/addPassword", rotator, content=body).json()
    assert int(made["endDateTime"][:4]) - int(made["startDateTime"][:4]) == 2
    assert made["displayName"] is None


DATES = {
    "Z": ("2099-01-02T03:04:05Z", 200),
    "an offset of zero": ("2099-01-02T03:04:05+00:00", 200),
    "another offset": ("2099-01-02T03:04:05.5+02:00", 200),
    "seven digits": ("2099-01-02T03:04:05.1234567Z", 200),
    "no offset": ("2099-01-02T03:04:05", 400),
    "a date": ("2099-01-02", 400),
    "no date": ("tomorrow", 400),
    "a number": (4102444800, 400),
    "the thirteenth month": ("2099-13-02T03:04:05Z", 400),
    "in the past": ("2001-01-02T03:04:05Z", 400),
}


@pytest.mark.parametrize(("text", "status"), DATES.values(), ids=DATES.keys())
def test_dates_need_an_offset_and_a_future(azure: Azure, text, status):
    rotator, app = azure.rotator_and_workload()
    assert azure.add(app, rotator, endDateTime=text).status_code == status
    made = [secret for secret in azure.control.secrets(app.app_id) if secret.origin == "minted"]
    assert len(made) == (1 if status == 200 else 0)


def test_an_end_before_the_start_is_refused(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    answer = azure.add(app, rotator, startDateTime="2099-01-02T00:00:00Z", endDateTime="2099-01-01T00:00:00Z")
    assert (answer.status_code, code(answer)) == (400, "KeyCredentialsInvalidEndDate")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"x"', b"\xff", b'{"passwordCredential": []}', b'{"passwordCredential": {"displayName": 1}}']
)
def test_a_body_that_makes_no_sense_is_400(azure: Azure, body):
    rotator, app = azure.rotator_and_workload()
    answer = azure.graph("POST", f"/applications/{app.object_id}/addPassword", rotator, content=body)
    assert answer.status_code == 400
    assert len(azure.control.secrets(app.app_id)) == 1


def test_remove_password_is_204_and_then_unknown(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    made = azure.minted(app, rotator)
    answer = azure.remove(app, rotator, made["keyId"].upper())
    assert (answer.status_code, answer.content) == (204, b"")
    assert made["keyId"] not in azure.listed(app, rotator)
    again = azure.remove(app, rotator, made["keyId"])
    assert (again.status_code, code(again)) == (400, "Request_BadRequest")
    assert again.json()["error"]["message"] == f"No password credential found with keyId {made['keyId']}."


@pytest.mark.parametrize("body", [{}, {"keyId": None}, {"keyId": "abc"}, {"keyId": 1}])
def test_remove_password_needs_a_key_id(azure: Azure, body):
    rotator, app = azure.rotator_and_workload()
    path = f"/applications/{app.object_id}/removePassword"
    assert azure.graph("POST", path, rotator, json=body).status_code == 400


def test_both_address_forms_add_and_remove(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    address = f"/applications(appId='{app.app_id}')"
    made = azure.graph("POST", f"{address}/addPassword", rotator, json={}).json()
    removed = azure.graph("POST", f"{address}/removePassword", rotator, json={"keyId": made["keyId"]})
    assert removed.status_code == 204


def test_a_service_principals_secrets_are_its_own(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    address = f"/servicePrincipals/{app.service_principal_id}"
    made = azure.graph("POST", f"{address}/addPassword", rotator, json={}).json()
    assert azure.accepts(app, made["secretText"])
    assert made["keyId"] not in azure.listed(app, rotator)
    assert azure.remove(app, rotator, made["keyId"]).status_code == 400
    removed = azure.graph("POST", f"{address}/removePassword", rotator, json={"keyId": made["keyId"]})
    assert removed.status_code == 204
    assert not azure.accepts(app, made["secretText"])


def test_a_personal_audience_holds_two_secrets(azure: Azure):
    rotator, app = azure.rotator_and_workload(audience="AzureADandPersonalMicrosoftAccount")
    azure.minted(app, rotator)
    answer = azure.add(app, rotator)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "Not allowed to add 3 passwords. You can only add a maximum of 2 passwords."
    )


def test_a_full_object_says_so(azure: Azure):
    rotator, app = azure.rotator_and_workload(behaviour={"max_secrets": 2})
    azure.minted(app, rotator)
    answer = azure.add(app, rotator)
    assert (answer.status_code, code(answer)) == (403, "Directory_ResourceSizeExceeded")


POLICIES = {
    "a life within": ({"max_lifetime": "P90D"}, 80, None),
    "a life beyond": ({"max_lifetime": "P90D"}, 91, "CredentialInvalidLifetimeAsPerAppPolicy"),
    "no end, which means two years": ({"max_lifetime": "P90D"}, None, "CredentialInvalidLifetimeAsPerAppPolicy"),
    "no passwords at all": ({"forbid_passwords": True}, 1, "CredentialTypeNotAllowedAsPerAppPolicy"),
    "a policy that is off": ({"forbid_passwords": True, "enabled": False}, 1, None),
}


@pytest.mark.parametrize("of", ["application", "tenant"])
@pytest.mark.parametrize(("policy", "days", "expected"), POLICIES.values(), ids=POLICIES.keys())
def test_policies_bound_new_secrets(azure: Azure, of, policy, days, expected):
    if of == "tenant":
        azure.tenant = azure.control.create_tenant(policy=policy)
        rotator, app = azure.rotator_and_workload()
    else:
        rotator, app = azure.rotator_and_workload(policy=policy)
    end = {"endDateTime": (azure.control.now() + timedelta(days=days)).isoformat()} if days else {}
    answer = azure.add(app, rotator, **end)
    if expected is None:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, code(answer)) == (400, expected)
        assert [secret.origin for secret in azure.control.secrets(app.app_id)] == ["seed"]


def test_policies_are_shown_to_those_who_may_read_them(azure: Azure):
    azure.tenant = azure.control.create_tenant(policy={"max_lifetime": "P180D"})
    reader = azure.app("Policy.Read.All")
    app = azure.app(policy={"forbid_passwords": True})
    default = azure.graph("GET", "/policies/defaultAppManagementPolicy", reader).json()
    [restriction] = default["applicationRestrictions"]["passwordCredentials"]
    assert (restriction["restrictionType"], restriction["maxLifetime"]) == ("passwordLifetime", "P180D")
    [own] = azure.graph("GET", f"/applications/{app.object_id}/appManagementPolicies", reader).json()["value"]
    assert own["restrictions"]["passwordCredentials"][0]["restrictionType"] == "passwordAddition"
    assert azure.graph("GET", "/policies/defaultAppManagementPolicy", azure.app(READ)).status_code == 403


def test_the_service_may_cut_a_longer_life(azure: Azure):
    rotator, app = azure.rotator_and_workload(behaviour={"shorten_to_seconds": 86400})
    made = azure.minted(app, rotator, endDateTime="2099-01-01T00:00:00Z")
    assert not made["endDateTime"].startswith("2099")


# Lateness.


def test_reads_miss_a_new_secret_for_a_number_of_reads(azure: Azure):
    rotator, app = azure.rotator_and_workload(behaviour={"read_lag_reads": 2})
    made = azure.minted(app, rotator)
    seen = [made["keyId"] in azure.listed(app, rotator) for _ in range(4)]
    assert seen == [False, False, True, True]


def test_reads_are_late_both_ways_for_a_number_of_seconds(alone: Azure):
    azure = alone
    rotator, app = azure.rotator_and_workload(behaviour={"read_lag_seconds": 10})
    made = azure.minted(app, rotator)["keyId"]
    assert made not in azure.listed(app, rotator)
    azure.control.advance(11)
    assert made in azure.listed(app, rotator)
    assert azure.remove(app, rotator, made).status_code == 204
    assert made in azure.listed(app, rotator)
    azure.control.advance(11)
    assert made not in azure.listed(app, rotator)


def test_a_removal_too_soon_finds_nothing_yet(alone: Azure):
    azure = alone
    rotator, app = azure.rotator_and_workload(behaviour={"remove_lag_seconds": 10})
    made = azure.minted(app, rotator)["keyId"]
    assert azure.remove(app, rotator, made).status_code == 400
    azure.control.advance(11)
    assert azure.remove(app, rotator, made).status_code == 204


def test_a_deleted_application_is_gone_everywhere(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    azure.control.delete_application(app.app_id)
    assert azure.add(app, rotator).status_code == 404
    assert code(azure.login(app, app.secrets["boot"])) == "AADSTS700016"
