"""``EntraLogin`` through azure-identity against the sandbox: proofs, refusals, outages."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from azure_rotator.cloud import EntraLogin
from azure_rotator.domain.errors import Forbidden, Rejected, RotatorError, Unavailable
from azure_rotator.domain.ports import Identity
from azure_rotator.domain.secrettext import SecretText


def refusal(login: EntraLogin, identity: Identity) -> RotatorError:
    with pytest.raises(RotatorError) as caught:
        login.prove(identity)
    assert caught.value.__context__ is None
    return caught.value


def test_a_secret_that_logs_in_is_proven_by_one_token_request(login, workload):
    login.prove(workload.identity())
    (request,) = workload.requests("login.token")
    assert request.accepted
    assert request.principal == workload.app_id
    assert request.host == "login.microsoftonline.com"


def test_each_proof_asks_anew_and_forgets_the_last_answer(login, control, workload):
    control.set_behaviour(workload.app_id, visible_after=[3600, 0])  # two front ends, in turn; one is late
    new = control.add_secret(workload.app_id)
    answers: list[object] = []
    for _ in range(4):
        try:
            login.prove(workload.identity(new.value))
            answers.append("yes")
        except Forbidden as error:
            answers.append(error.details["aadsts"])
    assert answers == [7000215, "yes", 7000215, "yes"]
    assert len(workload.requests("login.token")) == 4


def test_grants_are_the_permissions_in_the_token_and_who_it_is(login, rotator, workload):
    grants = login.grants(rotator.identity())
    assert grants.roles == {"Application.ReadWrite.OwnedBy"}
    assert grants.principal_id == rotator.info.service_principal_id
    assert login.grants(workload.identity()).roles == frozenset()


REFUSALS = {
    "a wrong secret": (lambda app, control: app.identity("nonsense"), 7000215),
    "the secret's id": (lambda app, control: app.identity(control.secrets(app.app_id)[0].key_id), 7000215),
    "an application of no tenant": (
        lambda app, control: replace(app.identity(), client_id="0c0fee00-1111-4222-8333-444455556666"),
        700016,
    ),
    "an empty id": (
        lambda app, control: replace(app.identity(), client_id="00000000-" + "0000-" * 3 + "0" * 12),
        700038,
    ),
    "no such tenant": (
        lambda app, control: replace(app.identity(), tenant_id="0c0fee00-1111-4222-8333-444455556666"),
        90002,
    ),
}


@pytest.mark.parametrize(("wrong", "number"), REFUSALS.values(), ids=REFUSALS)
def test_a_refused_login_says_what_entra_said(login, control, workload, wrong, number):
    error = refusal(login, wrong(workload, control))
    assert isinstance(error, Forbidden)
    assert error.code == "AzureAuthFailed"
    assert error.details["aadsts"] == number
    assert f"AADSTS{number}" in error.message
    assert 'target "/workload"' in error.message
    assert error.hint


def test_an_expired_secret_is_told_from_a_wrong_one(login, control, workload):
    (secret,) = control.secrets(workload.app_id)
    control.expire_secret(workload.app_id, secret.key_id)
    error = refusal(login, workload.identity())
    assert error.details["aadsts"] == 7000222
    assert "expired" in error.message


def test_a_disabled_application_is_told(login, control, workload):
    control.update_application(workload.app_id, enabled=False)
    assert refusal(login, workload.identity()).details["aadsts"] == 7000112


def test_a_removed_secret_is_refused_though_its_tokens_live_on(login, control, workload):
    login.prove(workload.identity())
    control.remove_secret(workload.app_id, control.secrets(workload.app_id)[0].key_id)
    assert refusal(login, workload.identity()).details["aadsts"] == 7000215


def test_a_proof_never_falls_back_on_an_older_secret(login, workload):
    error = refusal(login, replace(workload.identity("nonsense"), older=SecretText(workload.secret)))
    assert error.details["aadsts"] == 7000215
    assert len(workload.requests("login.token")) == 1


def test_who_asks_for_grants_acts_and_may_fall_back(login, rotator):
    acting = replace(rotator.identity("nonsense"), older=SecretText(rotator.secret))
    assert login.grants(acting).principal_id == rotator.info.service_principal_id


OUTAGES = {
    "500": ({"preset": "internal-500"}, "AzureUnavailable"),
    "503": ({"preset": "unavailable-503"}, "AzureUnavailable"),
    "503 with Retry-After": ({"preset": "unavailable-503", "headers": {"Retry-After": "1"}}, "AzureUnavailable"),
    "504": ({"preset": "gateway-timeout-504"}, "AzureUnavailable"),
    "429": ({"preset": "throttled"}, "AzureThrottled"),
    "429 without Retry-After": ({"preset": "throttled-without-retry-after"}, "AzureThrottled"),
    "dropped": ({"preset": "dropped"}, "AzureUnavailable"),
    "dropped after the token was made": ({"preset": "dropped", "when": "after"}, "AzureUnavailable"),
    "a page of a proxy, 200": ({"preset": "html-200"}, "AzureUnavailable"),
    "a page of a proxy, 502": ({"preset": "html-502"}, "AzureUnavailable"),
    "a page of a proxy, 403": ({"status": 403, "body": "<html>", "content_type": "text/html"}, "AzureUnavailable"),
    "a page that says it is JSON": ({"status": 200, "body": "<html>"}, "AzureUnavailable"),
    "a redirect": ({"status": 302, "body": "", "headers": {"Location": "https://elsewhere/"}}, "AzureUnavailable"),
    "half an answer": ({"preset": "truncated-json"}, "AzureUnavailable"),
    "an answer without a token": ({"when": "after", "without": ["access_token"]}, "AzureUnavailable"),
    "an answer without an end": ({"when": "after", "without": ["expires_in"]}, "AzureUnavailable"),
    "JSON of another kind": ({"status": 200, "body": "[1]"}, "AzureUnavailable"),
    "nothing": ({"status": 200, "body": ""}, "AzureUnavailable"),
}


@pytest.mark.parametrize(("fault", "code"), OUTAGES.values(), ids=OUTAGES)
def test_an_answer_that_is_none_is_an_outage_and_is_asked_for_once(login, control, workload, fault, code):
    control.add_fault("login.token", app=workload.app_id, times=None, **fault)
    error = refusal(login, workload.identity())
    assert isinstance(error, Unavailable)
    assert error.code == code
    assert error.applied == "no"
    assert "login.microsoftonline.com" in error.message
    assert error.retry_after_seconds == (
        1.0 if "Retry-After" in str(fault) or fault.get("preset") == "throttled" else None
    )
    assert len(workload.requests("login.token")) == 1


def test_a_login_that_is_not_answered_is_given_up(azure, control, workload):
    fault = control.add_fault("login.token", app=workload.app_id, hold=True)
    started = time.monotonic()
    error = refusal(EntraLogin(request_seconds=0.3), workload.identity())
    assert time.monotonic() - started < 8
    assert isinstance(error, Unavailable)
    assert "within 0.3 s" in error.message
    fault.release()


@pytest.mark.parametrize(
    ("cloud", "name", "host"),
    [
        ("public", "AzureCloud", "login.microsoftonline.com"),
        ("usgov", "AzureUSGovernment", "login.microsoftonline.us"),
        ("china", "AzureChinaCloud", "login.chinacloudapi.cn"),
    ],
)
def test_each_cloud_has_its_own_login_host(login, control, make_application, cloud, name, host):
    app = make_application("workload", tenant=control.create_tenant(cloud=cloud).tenant_id)
    identity = replace(app.identity(), azure_cloud=name)
    login.prove(identity)
    assert login.grants(identity).principal_id == app.info.service_principal_id
    assert {request.host for request in app.requests("login.token")} == {host}


def test_a_tenant_of_another_cloud_is_told(login, control, make_application):
    app = make_application("workload", tenant=control.create_tenant(cloud="usgov").tenant_id)
    error = refusal(login, app.identity())
    assert error.details["aadsts"] == 90002
    assert "azure-cloud" in error.hint


def test_an_unknown_cloud_is_refused_before_anything_is_sent(login, workload):
    with pytest.raises(Rejected):
        login.prove(replace(workload.identity(), azure_cloud="AzureMoonCloud"))
    assert not workload.requests("login.token")


@pytest.mark.parametrize("change", [{"tenant_id": "a tenant"}, {"tenant_id": None}, {"client_id": None}])
def test_an_identity_that_cannot_log_in_is_the_users_to_mend(login, workload, change):
    error = refusal(login, replace(workload.identity(), **change))
    assert isinstance(error, Rejected)
    assert 'target "/workload"' in error.message
    assert not workload.requests("login.token")


def test_an_empty_secret_is_the_users_to_mend(login, workload):
    assert isinstance(refusal(login, workload.identity("")), Rejected)


def test_a_token_that_is_no_jwt_grants_nothing(login, control, workload):
    body = '{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "canary"}'
    control.add_fault("login.token", app=workload.app_id, status=200, body=body)
    with pytest.raises(Unavailable) as caught:
        login.grants(workload.identity())
    assert caught.value.__context__ is None
    assert "canary" not in caught.value.message


def test_a_secret_shows_its_end_by_the_services_clock(login, control, workload):
    control.set_clock(datetime.now(UTC) + timedelta(days=3650))
    assert refusal(login, workload.identity()).details["aadsts"] == 7000222
