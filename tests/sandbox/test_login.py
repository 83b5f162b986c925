"""The login endpoint: who gets a token, what it says, and how refusals look."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import jwt
import pytest

from tests.sandbox.azure import ARM, GRAPH, NOBODY, OWNED_BY, Azure, code

LOGIN = "https://login.microsoftonline.com"
GUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"


def test_a_client_secret_buys_a_token_with_the_four_documented_fields(azure: Azure):
    app = azure.app(OWNED_BY)
    answer = azure.login(app, app.secrets["boot"])
    assert answer.status_code == 200
    assert set(answer.json()) == {"token_type", "expires_in", "ext_expires_in", "access_token"}
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["expires_in"] == answer.json()["ext_expires_in"] == 3599
    assert answer.headers["cache-control"] == "no-store, no-cache"


def test_the_token_is_signed_by_the_published_key_and_says_who_may_do_what(azure: Azure):
    app = azure.app(OWNED_BY)
    token = azure.token(app)
    keys = azure.http.get(f"{LOGIN}/{azure.tenant.tenant_id}/discovery/v2.0/keys").json()["keys"]
    key = next(key for key in keys if key["kid"] == jwt.get_unverified_header(token)["kid"])
    claims = jwt.decode(token, jwt.PyJWK(key), algorithms=["RS256"], audience="https://graph.microsoft.com")
    assert claims["iss"] == f"https://sts.windows.net/{azure.tenant.tenant_id}/"
    assert claims["appid"] == app.app_id
    assert claims["oid"] == claims["sub"] == app.service_principal_id
    assert claims["idtyp"] == "app"
    assert claims["roles"] == [OWNED_BY]
    assert claims["tid"] == azure.tenant.tenant_id


def test_without_roles_the_token_has_no_roles_claim(azure: Azure):
    claims = jwt.decode(azure.token(azure.app()), options={"verify_signature": False})
    assert "roles" not in claims


def test_graph_roles_are_not_in_a_token_for_resource_manager(azure: Azure):
    claims = jwt.decode(azure.token(azure.app(OWNED_BY), ARM), options={"verify_signature": False})
    assert claims["aud"] == "https://management.azure.com"
    assert "roles" not in claims


REFUSALS = {
    "a wrong secret": ({"client_secret": "wrong"}, 401, 7000215, "invalid_client"),
    "an empty secret": ({"client_secret": ""}, 401, 7000215, "invalid_client"),
    "the keyId instead of the value": ({"client_secret": NOBODY}, 401, 7000215, "invalid_client"),
    "no secret at all": ({"client_secret": None}, 401, 7000218, "invalid_client"),
    "an assertion that is none": (
        {
            "client_secret": None,
            "client_assertion": "a.b.c",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        },
        401,
        50027,
        "invalid_client",
    ),
    "an unknown application": ({"client_id": NOBODY}, 400, 700016, "unauthorized_client"),
    "the zero application": (
        {"client_id": "00000000-0000-0000-0000-000000000000"},
        400,
        700038,
        "unauthorized_client",
    ),
    "no client_id": ({"client_id": None}, 400, 900144, "invalid_request"),
    "no grant_type": ({"grant_type": None}, 400, 900144, "invalid_request"),
    "another grant": ({"grant_type": "magic"}, 400, 70003, "unsupported_grant_type"),
    "no scope": ({"scope": None}, 400, 900144, "invalid_request"),
    "a scope that is no resource": (
        {"scope": "https://graph.microsoft.com/User.Read"},
        400,
        1002012,
        "invalid_scope",
    ),
    "an unknown resource": ({"scope": "https://nobody.example/.default"}, 400, 500011, "invalid_resource"),
}


@pytest.mark.parametrize(("form", "status", "number", "error"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals_have_entras_status_code_and_shape(azure: Azure, form, status, number, error):
    app = azure.app()
    answer = azure.login(app, **{"secret": app.secrets["boot"], **form})
    body = answer.json()
    assert (answer.status_code, body["error"], body["error_codes"]) == (status, error, [number])
    assert set(body) - {"error_uri"} == {
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", body["timestamp"])
    assert re.fullmatch(GUID, body["trace_id"])
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert body["error_description"].endswith(
        f" Trace ID: {body['trace_id']} Correlation ID: {body['correlation_id']} Timestamp: {body['timestamp']}"
    )
    assert ("error_uri" in body) == (status == 401)


def test_the_correlation_id_is_the_callers_request_id(azure: Azure):
    mine = "12345678-1234-4234-8234-123456789abc"
    url = f"{LOGIN}/{azure.tenant.tenant_id}/oauth2/v2.0/token"
    answer = azure.http.post(url, data={"grant_type": "x"}, headers={"client-request-id": mine})
    assert answer.json()["correlation_id"] == mine


def test_a_body_that_is_no_form_is_a_missing_parameter(azure: Azure):
    url = f"{LOGIN}/{azure.tenant.tenant_id}/oauth2/v2.0/token"
    assert code(azure.http.post(url, json={"grant_type": "client_credentials"})) == "AADSTS900144"


@pytest.mark.parametrize(
    ("path", "error"),
    [("/v2.0/.well-known/openid-configuration", "invalid_tenant"), ("/oauth2/v2.0/token", "invalid_request")],
    ids=["discovery", "token"],
)
def test_an_unknown_tenant_is_90002_everywhere(azure: Azure, path, error):
    method = "GET" if "well-known" in path else "POST"
    answer = azure.http.request(method, f"{LOGIN}/{NOBODY}{path}")
    assert (answer.status_code, code(answer), answer.json()["error"]) == (400, "AADSTS90002", error)


def test_discovery_leads_to_the_token_endpoint_under_the_name_that_was_asked(azure: Azure):
    for name in (azure.tenant.tenant_id, azure.tenant.domain):
        found = azure.http.get(f"{LOGIN}/{name}/v2.0/.well-known/openid-configuration").json()
        assert found["token_endpoint"] == f"{LOGIN}/{name}/oauth2/v2.0/token"
        assert found["authorization_endpoint"].startswith(LOGIN)
        assert found["issuer"] == f"{LOGIN}/{azure.tenant.tenant_id}/v2.0"
        assert azure.http.get(found["jwks_uri"]).status_code == 200


def test_instance_discovery_knows_all_three_clouds(azure: Azure):
    found = azure.http.get(f"{LOGIN}/common/discovery/instance?api-version=1.1").json()
    assert {entry["preferred_network"] for entry in found["metadata"]} == {
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.chinacloudapi.cn",
    }


def test_a_tenant_may_be_named_by_its_domain(azure: Azure):
    app = azure.app()
    form = {"grant_type": "client_credentials", "client_id": app.app_id, "client_secret": app.secrets["boot"]}
    answer = azure.http.post(f"{LOGIN}/{azure.tenant.domain}/oauth2/v2.0/token", data={**form, "scope": GRAPH})
    assert answer.status_code == 200


def test_the_old_token_endpoint_takes_a_resource(azure: Azure):
    app = azure.app()
    form = {"grant_type": "client_credentials", "client_id": app.app_id, "client_secret": app.secrets["boot"]}
    url = f"{LOGIN}/{azure.tenant.tenant_id}/oauth2/token"
    answer = azure.http.post(url, data={**form, "resource": "https://graph.microsoft.com"})
    assert answer.status_code == 200


def test_common_has_no_tenant_for_an_application(azure: Azure):
    app = azure.app()
    form = {"grant_type": "client_credentials", "client_id": app.app_id, "client_secret": app.secrets["boot"]}
    assert code(azure.http.post(f"{LOGIN}/common/oauth2/v2.0/token", data={**form, "scope": GRAPH})) == "AADSTS50059"


def test_an_application_of_another_tenant_is_unknown(azure: Azure):
    stranger = azure.control.create_application(secrets=[{"name": "boot"}])
    answer = azure.login(stranger, stranger.secrets["boot"])
    assert (answer.status_code, code(answer)) == (400, "AADSTS700016")


def test_a_disabled_service_principal_is_told_so_once_its_secret_is_right(azure: Azure):
    app = azure.app(enabled=False)
    assert code(azure.login(app, "wrong")) == "AADSTS7000215"
    answer = azure.login(app, app.secrets["boot"])
    assert (answer.status_code, code(answer)) == (400, "AADSTS7000112")
    assert f"'{app.app_id}'({app.name}) is disabled" in answer.json()["error_description"]


@pytest.mark.parametrize(
    ("cloud", "login", "scope"),
    [
        ("usgov", "login.microsoftonline.us", "https://graph.microsoft.us/.default"),
        ("usgov", "login.microsoftonline.us", "https://dod-graph.microsoft.us/.default"),
        ("usgov", "login.microsoftonline.us", "https://management.core.usgovcloudapi.net/.default"),
        ("china", "login.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn/.default"),
        ("china", "login.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default"),
    ],
)
def test_a_tenant_lives_in_one_cloud(azure: Azure, cloud, login, scope):
    tenant = azure.control.create_tenant(cloud=cloud)
    app = azure.control.create_application(tenant=tenant.tenant_id, secrets=[{"name": "boot"}])
    form = {
        "grant_type": "client_credentials",
        "client_id": app.app_id,
        "client_secret": app.secrets["boot"],
        "scope": scope,
    }
    path = f"/{tenant.tenant_id}/oauth2/v2.0/token"
    assert azure.http.post(f"https://{login}{path}", data=form).status_code == 200
    assert code(azure.http.post(f"{LOGIN}{path}", data=form)) == "AADSTS90002"
    public = azure.http.post(f"https://{login}{path}", data={**form, "scope": GRAPH})
    assert code(public) == "AADSTS500011"


# Secrets over time. Each delay is ended by the sandbox's clock; the tests that move it have a sandbox of their own.


def test_an_expired_secret_is_told_apart_only_when_its_value_is_right(azure: Azure):
    app = azure.app()
    [secret] = azure.control.secrets(app.app_id)
    azure.control.expire_secret(app.app_id, secret.key_id)
    answer = azure.login(app, app.secrets["boot"])
    assert (answer.status_code, code(answer)) == (401, "AADSTS7000222")
    assert f"for app '{app.app_id}' are expired" in answer.json()["error_description"]
    assert code(azure.login(app, "wrong")) == "AADSTS7000215"


def test_a_secret_that_begins_tomorrow_is_refused_today(alone: Azure):
    rotator, app = alone.rotator_and_workload()
    begins = datetime.fromtimestamp(alone.control.now().timestamp() + 3600, UTC)
    made = alone.minted(app, rotator, startDateTime=begins.isoformat())
    assert not alone.accepts(app, made["secretText"])
    alone.control.advance(3601)
    assert alone.accepts(app, made["secretText"])


def test_each_front_end_accepts_a_new_secret_in_its_own_time(alone: Azure):
    rotator, app = alone.rotator_and_workload()
    alone.control.set_behaviour(app.app_id, visible_after=[0, 5, 20])
    value = alone.minted(app, rotator)["secretText"]
    assert [alone.accepts(app, value) for _ in range(6)] == [True, False, False] * 2
    alone.control.advance(6)
    assert [alone.accepts(app, value) for _ in range(6)] == [True, True, False] * 2
    alone.control.advance("15s")
    assert [alone.accepts(app, value) for _ in range(6)] == [True] * 6


def test_an_unpropagated_secret_is_refused_in_the_words_of_a_wrong_one(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    azure.control.set_behaviour(app.app_id, visible_after=[3600])
    value = azure.minted(app, rotator)["secretText"]
    late, wrong = azure.login(app, value), azure.login(app, "wrong")
    cut = [answer.json()["error_description"].partition(" Trace ID")[0] for answer in (late, wrong)]
    assert cut[0] == cut[1]
    assert late.status_code == wrong.status_code == 401


def test_a_removed_secret_dies_at_once_unless_removal_is_late(alone: Azure):
    rotator, app = alone.rotator_and_workload()
    first, second = alone.minted(app, rotator), alone.minted(app, rotator)
    alone.remove(app, rotator, first["keyId"])
    assert code(alone.login(app, first["secretText"])) == "AADSTS7000215"
    alone.control.set_behaviour(app.app_id, removed_after=[30])
    alone.remove(app, rotator, second["keyId"])
    assert alone.accepts(app, second["secretText"])
    alone.control.advance(31)
    assert not alone.accepts(app, second["secretText"])


def test_seeded_secrets_have_long_propagated(azure: Azure):
    app = azure.app(behaviour={"visible_after": [3600]})
    assert azure.accepts(app, app.secrets["boot"])


def test_one_applications_delays_are_no_other_ones(azure: Azure):
    rotator, slow = azure.rotator_and_workload()
    quick = azure.app(owners=(rotator.app_id,))
    azure.control.set_behaviour(slow.app_id, visible_after=[3600])
    assert not azure.accepts(slow, azure.minted(slow, rotator)["secretText"])
    assert azure.accepts(quick, azure.minted(quick, rotator)["secretText"])


def test_a_secret_of_the_service_principal_logs_in_too(azure: Azure):
    app = azure.app(service_principal_secrets=[{"name": "on the principal"}])
    assert azure.accepts(app, app.secrets["on the principal"])


def test_unknown_paths_and_methods(azure: Azure):
    assert azure.http.get(f"{LOGIN}/{azure.tenant.tenant_id}/nothing").status_code == 404
    assert azure.http.get(f"{LOGIN}/{azure.tenant.tenant_id}/oauth2/v2.0/token").status_code == 405
