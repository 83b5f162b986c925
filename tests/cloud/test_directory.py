"""``GraphDirectory`` through msgraph-sdk against the sandbox: reads, writes, refusals, and answers that are lost."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from azure_rotator.cloud import GraphDirectory
from azure_rotator.cloud.endpoints import CLOUDS as CLOUDS_TABLE
from azure_rotator.cloud.endpoints import Endpoints
from azure_rotator.domain.errors import Forbidden, NotFound, Rejected, RotatorError, Unavailable
from azure_rotator.domain.ports import SecretPolicy
from azure_rotator.domain.secrettext import SecretText
from tests.plugins.azure import App
from tests.rows import row

END = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)
STAMP = "azure-rotator/1/aaaaaaaaaaaaaaaa/bbbbbbbbbbbbbbbb/cccccccccccccccc"
NOBODY = "0c0fee00-1111-4222-8333-444455556666"


def mint(directory: GraphDirectory, rotator: App, workload: App):
    return directory.add_password(rotator.identity(), workload.object_id, STAMP, END)


def refused(call) -> RotatorError:
    with pytest.raises(RotatorError) as caught:
        call()
    assert caught.value.__context__ is None
    return caught.value


# --- what works ---------------------------------------------------------------------------------------------------


def test_a_minted_secret_logs_in_and_is_listed_under_its_stamp(directory, login, rotator, workload):
    new = mint(directory, rotator, workload)
    login.prove(workload.identity(new.value.reveal()))
    application = directory.get_application(rotator.identity(), workload.app_id)
    assert (application.object_id, application.app_id) == (workload.object_id, workload.app_id)
    assert application.display_name == "workload"
    (listed,) = [password for password in application.passwords if password.key_id == new.key_id]
    assert listed.display_name == STAMP
    assert listed.hint == new.hint == new.value.reveal()[:3]
    assert listed.end_at == new.end_at == END
    assert len(application.passwords) == 2


def test_a_mint_is_one_login_and_one_post(directory, rotator, workload):
    mint(directory, rotator, workload)
    assert len(rotator.requests("login.token")) == 1
    assert len(workload.requests("graph.addPassword")) == 1


def test_the_end_that_counts_is_the_one_azure_gave(directory, control, rotator, workload):
    control.set_behaviour(workload.app_id, shorten_to_seconds=3600)
    new = mint(directory, rotator, workload)
    assert new.end_at - new.start_at == timedelta(hours=1)


def test_no_start_is_sent_and_the_end_has_an_offset(azure):
    from azure_rotator.cloud import wire
    from azure_rotator.cloud.loop import Kept, shared
    from azure_rotator.domain.secrettext import SecretText

    async def build(kept: Kept) -> bytes:
        async with wire.connect(kept, CLOUDS_TABLE["AzureCloud"], SecretText("t"), 1) as client:
            return wire.add_password(client, NOBODY, STAMP, END).content or b""

    sent = json.loads(shared.run(build, limit_seconds=5))
    assert sent == {"passwordCredential": {"displayName": STAMP, "endDateTime": END.isoformat()}}
    assert sent["passwordCredential"]["endDateTime"].endswith("+00:00")


def test_an_end_without_a_zone_is_a_mistake_of_ours(directory, rotator, workload):
    with pytest.raises(ValueError, match="zone"):
        directory.add_password(rotator.identity(), workload.object_id, STAMP, END.replace(tzinfo=None))
    assert not workload.requests("graph.addPassword")


def test_a_removed_secret_is_gone_and_the_others_stay(directory, rotator, workload):
    before = workload.live_key_ids()
    new = mint(directory, rotator, workload)
    assert directory.remove_password(rotator.identity(), workload.object_id, new.key_id) is True
    assert workload.live_key_ids() == before
    assert len(workload.requests("graph.removePassword")) == 1


def test_a_secret_that_is_not_there_is_told_not_raised(directory, rotator, workload):
    assert directory.remove_password(rotator.identity(), workload.object_id, NOBODY) is False


def test_soon_after_a_mint_graph_may_not_find_it_yet(directory, control, rotator, workload):
    control.set_behaviour(workload.app_id, remove_lag_seconds=60)
    new = mint(directory, rotator, workload)
    assert directory.remove_password(rotator.identity(), workload.object_id, new.key_id) is False
    control.advance(61)
    assert directory.remove_password(rotator.identity(), workload.object_id, new.key_id) is True


def test_owners_are_object_ids(directory, control, rotator, workload):
    assert directory.owner_ids(rotator.identity(), workload.object_id) == {rotator.info.service_principal_id}


def test_owners_are_read_to_the_last_page(directory, control, rotator, make_application):
    owners = [make_application(f"owner-{n}", secrets=[]) for n in range(3)]
    app = make_application("owned", owners=[rotator.app_id, *(owner.app_id for owner in owners)])
    pages = {
        "value": [{"id": "A-1"}],
        "@odata.nextLink": f"https://graph.microsoft.com/v1.0/applications/{app.object_id}/owners",
    }
    control.add_fault("*", method="GET", path="*/owners", app=app.app_id, status=200, body=json.dumps(pages))
    expected = {rotator.info.service_principal_id, *(owner.info.service_principal_id for owner in owners)}
    assert directory.owner_ids(rotator.identity(), app.object_id) == {"a-1", *expected}


def test_a_next_page_elsewhere_does_not_get_the_token(directory, control, rotator, workload):
    page = {"value": [{"id": "A-1"}], "@odata.nextLink": "https://login.microsoftonline.com/collect"}
    control.add_fault("*", method="GET", path="*/owners", app=workload.app_id, status=200, body=json.dumps(page))
    error = refused(lambda: directory.owner_ids(rotator.identity(), workload.object_id))
    assert isinstance(error, Unavailable)


def test_a_token_is_given_to_its_own_host_only():
    from azure_rotator.cloud.wire import _Bearer

    async def given(url: str) -> str:
        return await _Bearer("token", "graph.microsoft.com").get_authorization_token(url)

    assert asyncio.run(given("https://graph.microsoft.com/v1.0/applications")) == "token"
    for url in ("https://graph.microsoft.us/v1.0", "https://graph.microsoft.com.example.com/", "https://example.com/"):
        assert asyncio.run(given(url)) == ""


def test_an_application_may_act_on_itself_with_its_own_secret(directory, control, make_application):
    app = make_application("self", roles=["Application.ReadWrite.OwnedBy"], owners=["self"])
    directory.add_password(app.identity(), app.object_id, STAMP, END)
    (entry,) = app.requests("graph.addPassword")
    assert entry.principal == app.app_id


def test_a_replaced_secret_logs_in_where_the_new_one_is_not_known_yet(directory, control, rotator, workload):
    control.set_behaviour(rotator.app_id, visible_after=[3600])
    new = control.add_secret(rotator.app_id)
    acting = replace(rotator.identity(new.value), older=SecretText(rotator.secret))
    made = directory.add_password(acting, workload.object_id, STAMP, END)
    assert made.key_id in workload.live_key_ids()
    assert [entry.accepted for entry in rotator.requests("login.token")] == [False, True]
    assert len(workload.requests("graph.addPassword")) == 1


def test_a_secret_that_logs_in_leaves_the_older_one_alone(directory, rotator, workload):
    acting = replace(rotator.identity(), older=SecretText("nonsense"))
    directory.get_application(acting, workload.app_id)
    assert len(rotator.requests("login.token")) == 1


def test_an_older_secret_is_tried_once(directory, rotator, workload):
    acting = replace(rotator.identity("nonsense"), older=SecretText("no sense either"))
    error = refused(lambda: directory.get_application(acting, workload.app_id))
    assert error.details["aadsts"] == 7000215
    assert len(rotator.requests("login.token")) == 2


def test_only_a_wrong_secret_brings_in_the_older_one(directory, control, rotator, workload):
    (held,) = control.secrets(rotator.app_id)
    control.expire_secret(rotator.app_id, held.key_id)
    good = control.add_secret(rotator.app_id)
    acting = replace(rotator.identity(), older=SecretText(good.value))
    assert refused(lambda: directory.get_application(acting, workload.app_id)).details["aadsts"] == 7000222
    control.add_fault("login.token", app=rotator.app_id, preset="unavailable-503")
    assert isinstance(refused(lambda: directory.get_application(acting, workload.app_id)), Unavailable)
    assert len(rotator.requests("login.token")) == 2


ADDRESSES = [
    ("public", "AzureCloud", "graph.microsoft.com"),
    ("usgov", "AzureUSGovernment", "graph.microsoft.us"),
    ("china", "AzureChinaCloud", "microsoftgraph.chinacloudapi.cn"),
]


@row("B-14")
@pytest.mark.parametrize(("cloud", "name", "host"), ADDRESSES)
def test_each_cloud_has_its_own_graph(directory, control, make_application, cloud, name, host):
    tenant = control.create_tenant(cloud=cloud).tenant_id
    app = make_application("self", tenant=tenant, roles=["Application.ReadWrite.OwnedBy"], owners=["self"])
    acting = replace(app.identity(), azure_cloud=name)
    new = directory.add_password(acting, app.object_id, STAMP, END)
    assert new.key_id in {one.key_id for one in directory.get_application(acting, app.app_id).passwords}
    assert directory.remove_password(acting, app.object_id, new.key_id)
    assert {entry.host for entry in app.requests("graph.*") + app.requests("graph.addPassword")} == {host}


# --- what a preflight wants to know -------------------------------------------------------------------------------


@row("F35")
def test_a_service_principals_own_secrets_are_told_apart(directory, login, rotator, make_application):
    app = make_application("app", owners=[rotator.app_id], service_principal_secrets=[{"name": "its own"}])
    principal = directory.get_service_principal(rotator.identity(), app.app_id)
    assert (principal.object_id, principal.app_id) == (app.info.service_principal_id, app.app_id)
    assert (principal.display_name, principal.enabled) == ("app", True)
    (held,) = principal.passwords
    assert held.display_name == "its own"
    assert directory.principal_owner_ids(rotator.identity(), principal.object_id) == {rotator.info.service_principal_id}
    listed = directory.get_application(rotator.identity(), app.app_id).passwords
    assert held.key_id not in {one.key_id for one in listed}


def test_a_service_principals_secret_is_made_and_removed_there(directory, login, rotator, workload):
    acting, principal_id = rotator.identity(), workload.info.service_principal_id
    new = directory.add_principal_password(acting, principal_id, STAMP, END)
    login.prove(workload.identity(new.value.reveal()))
    (held,) = directory.get_service_principal(acting, workload.app_id).passwords
    assert (held.key_id, held.display_name, held.end_at) == (new.key_id, STAMP, END)
    assert directory.remove_password(acting, workload.object_id, new.key_id) is False  # the wrong place (F35)
    assert directory.remove_principal_password(acting, principal_id, new.key_id) is True
    assert directory.remove_principal_password(acting, principal_id, new.key_id) is False
    assert directory.get_service_principal(acting, workload.app_id).passwords == ()
    assert len(workload.requests("graph.addServicePrincipalPassword")) == 1


def test_a_mint_on_a_service_principal_is_sent_once_and_unknown_when_its_answer_is_lost(
    directory, control, rotator, workload
):
    control.add_fault(
        "graph.addServicePrincipalPassword", app=workload.app_id, times=None, preset="dropped", when="after"
    )
    principal_id = workload.info.service_principal_id
    error = refused(lambda: directory.add_principal_password(rotator.identity(), principal_id, STAMP, END))
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert len(workload.requests("graph.addServicePrincipalPassword")) == 1
    assert len(directory.get_service_principal(rotator.identity(), workload.app_id).passwords) == 1
    with pytest.raises(ValueError, match="zone"):
        directory.add_principal_password(rotator.identity(), principal_id, STAMP, END.replace(tzinfo=None))


def test_a_disabled_service_principal_and_a_missing_one_are_told(directory, control, rotator, workload):
    control.update_application(workload.app_id, enabled=False)
    assert directory.get_service_principal(rotator.identity(), workload.app_id).enabled is False
    error = refused(lambda: directory.get_service_principal(rotator.identity(), NOBODY))
    assert error.code == "ApplicationNotFound"


READER = ["Application.ReadWrite.OwnedBy", "Application.Read.All", "Policy.Read.All"]


@pytest.fixture
def reader(make_application) -> App:
    """A privileged application that may also read policies."""
    return make_application("reader", roles=READER, owners=["self"])


def test_the_policy_of_an_application_is_its_own_else_the_tenants(directory, control, make_application):
    tenant = control.create_tenant(policy={"policy_id": NOBODY, "max_lifetime": "P180D"}).tenant_id
    reader = make_application("reader", tenant=tenant, roles=READER)
    plain = make_application("plain", tenant=tenant)
    strict = make_application("strict", tenant=tenant, policy={"max_lifetime": "P30D", "forbid_passwords": True})
    found = directory.secret_policy(reader.identity(), plain.object_id)
    assert found == SecretPolicy(may_add=True, max_lifetime_days=180, policy_id=NOBODY)
    own = directory.secret_policy(reader.identity(), strict.object_id)
    assert (own.may_add, own.max_lifetime_days) == (False, 30)
    assert own.policy_id != NOBODY


def test_a_tenant_without_policies_limits_nothing(directory, reader, workload):
    found = directory.secret_policy(reader.identity(), workload.object_id)
    assert found == SecretPolicy(may_add=True, max_lifetime_days=None)


def test_policies_that_the_least_role_may_not_read_are_unknown(directory, rotator, make_application, workload):
    assert directory.secret_policy(rotator.identity(), workload.object_id) is None
    half = make_application("half", roles=["Application.Read.All"])
    assert directory.secret_policy(half.identity(), workload.object_id) is None


@pytest.mark.parametrize(
    "fault", [{"preset": "unavailable-503"}, {"preset": "html-200"}, {"status": 403, "body": "<html>"}], ids=str
)
def test_policies_that_cannot_be_read_now_are_an_outage(directory, control, reader, workload, fault):
    control.add_fault("graph.listAppManagementPolicies", app=workload.app_id, times=None, **fault)
    error = refused(lambda: directory.secret_policy(reader.identity(), workload.object_id))
    assert isinstance(error, Unavailable)


def test_how_full_an_application_is(directory, rotator, make_application):
    app = make_application("app", owners=[rotator.app_id], secrets=[{"name": f"{n}"} for n in range(7)])
    load = directory.credential_load(rotator.identity(), app.object_id)
    assert (load.passwords, load.certificates, load.most_passwords) == (7, 0, None)
    directory.add_password(rotator.identity(), app.object_id, STAMP, END)
    more = directory.credential_load(rotator.identity(), app.object_id)
    assert more.passwords == 8
    assert more.size_bytes > load.size_bytes > 0


def test_an_application_for_personal_accounts_has_room_for_two(directory, rotator, make_application):
    app = make_application("personal", owners=[rotator.app_id], audience="AzureADandPersonalMicrosoftAccount")
    assert directory.credential_load(rotator.identity(), app.object_id).most_passwords == 2


@row("F10")
@pytest.mark.parametrize("minutes", [0, 7, -30])
def test_the_clocks_are_compared_and_a_mint_needs_neither(directory, control, make_application, minutes):
    control.set_clock(datetime.now(UTC) + timedelta(minutes=minutes))
    rotator = make_application("rotator", roles=["Application.ReadWrite.OwnedBy"], owners=["self"])
    workload = make_application("workload", owners=[rotator.app_id])
    skew = directory.clock_skew(rotator.identity(), workload.app_id)
    assert abs(skew - timedelta(minutes=minutes)) < timedelta(seconds=3)
    new = mint(directory, rotator, workload)
    assert abs(new.start_at - control.now()) < timedelta(seconds=5)


def test_a_refusal_tells_the_time_as_well(directory, rotator):
    assert directory.clock_skew(rotator.identity(), NOBODY) is not None


# --- refusals -----------------------------------------------------------------------------------------------------


def test_an_application_that_is_not_there(directory, rotator):
    error = refused(lambda: directory.get_application(rotator.identity(), NOBODY))
    assert isinstance(error, NotFound)
    assert error.code == "ApplicationNotFound"
    assert NOBODY in error.message
    for call in (
        lambda: directory.add_password(rotator.identity(), NOBODY, STAMP, END),
        lambda: directory.remove_password(rotator.identity(), NOBODY, NOBODY),
        lambda: directory.owner_ids(rotator.identity(), NOBODY),
    ):
        assert isinstance(refused(call), NotFound)


def test_an_application_of_somebody_else_names_the_grant(directory, rotator, make_application):
    other = make_application("other")
    error = refused(lambda: mint(directory, rotator, other))
    assert isinstance(error, Forbidden)
    assert error.code == "AzurePermissionMissing"
    assert error.details["permission"] == "Application.ReadWrite.OwnedBy"
    assert "owner of the application" in error.hint
    assert 'target "/rotator"' in error.message


def test_an_owner_without_the_permission_is_refused_too(directory, make_application):
    app = make_application("self", owners=["self"])
    error = refused(lambda: directory.add_password(app.identity(), app.object_id, STAMP, END))
    assert error.code == "AzurePermissionMissing"


def test_a_login_that_is_refused_writes_nothing(directory, rotator, workload):
    error = refused(lambda: directory.add_password(rotator.identity("nonsense"), workload.object_id, STAMP, END))
    assert error.code == "AzureAuthFailed"
    assert error.details["aadsts"] == 7000215
    assert not workload.requests("graph.addPassword")


def test_a_policy_on_the_lifetime_is_named(directory, control, rotator, workload):
    control.update_application(workload.app_id, policy={"policy_id": NOBODY, "max_lifetime": "P30D"})
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Rejected)
    assert error.code == "LifetimeNotAllowed"
    assert error.details["policy_id"] == NOBODY


def test_a_policy_against_passwords_is_named(directory, control, rotator, workload):
    control.update_application(workload.app_id, policy={"policy_id": NOBODY, "forbid_passwords": True})
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Rejected)
    assert error.code == "CredentialTypeNotAllowed"
    assert NOBODY in error.message


def test_a_full_application_is_told_with_what_to_do(directory, control, rotator, workload):
    control.set_behaviour(workload.app_id, max_secrets=1)
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Forbidden)
    assert error.code == "CredentialLimitReached"
    assert workload.object_id in error.message
    assert "prune" in error.hint


def test_two_secrets_are_the_limit_where_personal_accounts_may_sign_in(directory, rotator, make_application):
    app = make_application("personal", owners=[rotator.app_id], audience="AzureADandPersonalMicrosoftAccount")
    mint(directory, rotator, app)
    error = refused(lambda: mint(directory, rotator, app))
    assert isinstance(error, Forbidden)
    assert error.code == "CredentialLimitReached"
    assert "--revoke-now" in error.hint
    assert len(app.requests("graph.addPassword")) == 2


@pytest.mark.parametrize(
    ("audience", "secrets"), [("AzureADMyOrg", 2), ("AzureADandPersonalMicrosoftAccount", 1)], ids=["many", "room"]
)
def test_another_bad_request_is_not_taken_for_the_limit(
    directory, control, rotator, make_application, audience, secrets
):
    held = [{"name": f"{number}"} for number in range(secrets)]
    app = make_application("app", owners=[rotator.app_id], audience=audience, secrets=held)
    control.add_fault("graph.addPassword", app=app.app_id, status=400, code="Request_BadRequest")
    error = refused(lambda: mint(directory, rotator, app))
    assert isinstance(error, Rejected)
    assert error.code == "AzureRefused"


# --- outages: what a write has done is told, and it is sent once --------------------------------------------------

BEFORE = {
    "500": ({"preset": "internal-500"}, "AzureUnavailable", "unknown"),
    "502, a page": ({"preset": "html-502"}, "AzureUnavailable", "unknown"),
    "503": ({"preset": "unavailable-503"}, "AzureUnavailable", "unknown"),
    "503 with Retry-After": (
        {"preset": "unavailable-503", "headers": {"Retry-After": "1"}},
        "AzureUnavailable",
        "unknown",
    ),
    "504": ({"preset": "gateway-timeout-504"}, "AzureUnavailable", "unknown"),
    "429": ({"preset": "throttled"}, "AzureThrottled", "no"),
    "429 without Retry-After": ({"preset": "throttled-without-retry-after"}, "AzureThrottled", "no"),
    "429 with a decimal": ({"preset": "throttled", "headers": {"Retry-After": "0.249"}}, "AzureThrottled", "no"),
    "429 with garbage": ({"preset": "throttled", "headers": {"Retry-After": "soon"}}, "AzureThrottled", "no"),
    "collision, 400": ({"preset": "concurrency-400"}, "AzureUnavailable", "unknown"),
    "collision, 409": ({"preset": "concurrency-409"}, "AzureUnavailable", "unknown"),
    "collision, 503": ({"preset": "concurrency-503"}, "AzureUnavailable", "unknown"),
    "dropped": ({"preset": "dropped"}, "AzureUnavailable", "unknown"),
    "200, a page": ({"preset": "html-200"}, "AzureUnavailable", "unknown"),
    "200, nothing": ({"status": 200, "body": ""}, "AzureUnavailable", "unknown"),
    "307 to somewhere else": (
        {"status": 307, "body": "", "headers": {"Location": "https://graph.microsoft.us/v1.0/x"}},
        "AzureUnavailable",
        "unknown",
    ),
    "a proxy's 403": ({"status": 403, "body": "<html>", "content_type": "text/html"}, "AzureUnavailable", "unknown"),
}


@pytest.mark.parametrize(("fault", "code", "applied"), BEFORE.values(), ids=BEFORE)
def test_a_mint_without_a_usable_answer_is_sent_once(directory, control, rotator, workload, fault, code, applied):
    control.add_fault("graph.addPassword", app=workload.app_id, times=None, **fault)
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Unavailable)
    assert (error.code, error.applied) == (code, applied)
    assert len(workload.requests("graph.addPassword")) == 1
    wait = {"1": 1.0, "0.249": 0.249}.get(str(fault.get("headers", {}).get("Retry-After")))
    if fault.get("preset") == "throttled" and "headers" not in fault:
        wait = 1.0
    assert error.retry_after_seconds == wait


LOST = {
    "dropped": {"preset": "dropped", "when": "after"},
    "500": {"preset": "internal-500", "when": "after"},
    "503": {"preset": "unavailable-503", "when": "after"},
    "504": {"preset": "gateway-timeout-504", "when": "after"},
    "a page": {"preset": "html-200", "when": "after"},
    "cut off": {"preset": "truncated-json"},
    "cut off at once": {"preset": "truncated-json", "cut": 0.0},
    "without the secret": {"preset": "no-secret-text"},
    "without the keyId": {"when": "after", "without": ["keyId"]},
    "without the end": {"when": "after", "without": ["endDateTime"]},
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_a_mint_whose_answer_is_lost_is_unknown_and_never_repeated(directory, control, rotator, workload, fault):
    before = workload.live_key_ids()
    control.add_fault("graph.addPassword", app=workload.app_id, times=None, **fault)
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Unavailable)
    assert (error.code, error.applied) == ("AzureUnavailable", "unknown")
    assert len(workload.live_key_ids() - before) == 1
    assert len(workload.requests("graph.addPassword")) == 1
    listed = directory.get_application(rotator.identity(), workload.app_id).passwords
    assert [one.display_name for one in listed].count(STAMP) == 1


def test_a_mint_that_takes_too_long_is_given_up_as_unknown(azure, control, rotator, workload):
    fault = control.add_fault("graph.addPassword", app=workload.app_id, when="after", hold=True)
    started = time.monotonic()
    error = refused(lambda: mint(GraphDirectory(request_seconds=0.5), rotator, workload))
    assert time.monotonic() - started < 8
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert "within 0.5 s" in error.message
    fault.release()


def test_a_call_ends_within_twice_the_limit_of_a_request(azure, control, rotator, workload):
    directory = GraphDirectory(request_seconds=0.5)
    assert directory.call_seconds == 1.0
    control.add_fault("login.token", app=rotator.app_id, delay_seconds=0.4)
    fault = control.add_fault("graph.addPassword", app=workload.app_id, hold=True)
    started = time.monotonic()
    refused(lambda: mint(directory, rotator, workload))
    assert time.monotonic() - started < 8
    fault.release()


@pytest.mark.parametrize("fault", [*BEFORE.values()], ids=BEFORE)
def test_a_removal_without_a_usable_answer_is_sent_once(directory, control, rotator, workload, fault):
    settings, code, applied = fault
    new = mint(directory, rotator, workload)
    control.add_fault("graph.removePassword", app=workload.app_id, times=None, **settings)
    # 204 without a body is what Graph answers; another success is a proxy's, and nothing was done.
    error = refused(lambda: directory.remove_password(rotator.identity(), workload.object_id, new.key_id))
    assert isinstance(error, Unavailable)
    assert (error.code, error.applied) == (code, applied)
    assert len(workload.requests("graph.removePassword")) == 1


READS = {
    "503": {"preset": "unavailable-503"},
    "429": {"preset": "throttled"},
    "dropped": {"preset": "dropped"},
    "a page": {"preset": "html-200"},
    "cut off": {"preset": "truncated-json"},
    "without the secrets": {"when": "after", "without": ["passwordCredentials"]},
    "without the id": {"when": "after", "without": ["id"]},
}


@pytest.mark.parametrize("fault", READS.values(), ids=READS)
def test_a_read_is_whole_or_an_outage(directory, control, rotator, workload, fault):
    control.add_fault("*", method="GET", path="*/applications*", app=workload.app_id, times=None, **fault)
    error = refused(lambda: directory.get_application(rotator.identity(), workload.app_id))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"


def test_an_outage_of_the_login_host_is_told_before_anything_is_written(directory, control, rotator, workload):
    control.add_fault("login.token", app=rotator.app_id, preset="dropped", times=None)
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"
    assert "login.microsoftonline.com" in error.message
    assert not workload.requests("graph.addPassword")


# --- the network --------------------------------------------------------------------------------------------------


def test_no_proxy_answers(directory, login, rotator, workload, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for call in (lambda: login.prove(rotator.identity()), lambda: mint(directory, rotator, workload)):
        error = refused(call)
        assert isinstance(error, Unavailable)
        assert error.applied == "no"
        assert "login.microsoftonline.com" in error.message
        assert "HTTPS_PROXY" in error.hint


class _OneHostElsewhere(Endpoints):
    """The public cloud with a Graph that nobody lets through; its tokens are the usual ones."""

    graph_scope = "https://graph.microsoft.com/.default"


def test_a_graph_host_that_the_proxy_refuses_was_never_written_to(directory, rotator, workload, monkeypatch):
    there = {one.name: getattr(CLOUDS_TABLE["AzureCloud"], one.name) for one in fields(Endpoints)}
    elsewhere = _OneHostElsewhere(**there | {"graph_host": "graph.example.com"})
    monkeypatch.setitem(CLOUDS_TABLE, "AzureCloud", elsewhere)
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"
    assert "graph.example.com" in error.message
    assert len(rotator.requests("login.token")) == 1


def test_a_ca_file_that_is_missing_is_told_before_anything_is_written(directory, rotator, workload, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"
    assert "SSL_CERT_FILE" in error.hint


def test_a_surprise_in_reading_the_answer_does_not_pass(directory, rotator, workload, monkeypatch):
    def surprise(body: dict[str, str]) -> None:
        raise LookupError(body["secretText"])

    monkeypatch.setattr("azure_rotator.cloud.payloads.new_password", surprise)
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert "LookupError" in error.message
    assert "8Q~" not in repr(error)


def test_a_graph_host_that_takes_no_connection_was_never_written_to(directory, rotator, workload, monkeypatch):
    async def refuse(*_args: object, **_more: object) -> None:
        raise httpx.ConnectTimeout("no")

    monkeypatch.setattr("azure_rotator.cloud.wire.send", refuse)
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"


@pytest.mark.parametrize("kind", [httpx.ReadTimeout, httpx.WriteError, httpx.RemoteProtocolError, KeyError, TypeError])
def test_whatever_breaks_after_the_connection_stands_is_unknown(directory, rotator, workload, monkeypatch, kind):
    async def fail(*_args: object, **_more: object) -> None:
        raise kind("canary")

    monkeypatch.setattr("azure_rotator.cloud.wire.send", fail)
    error = refused(lambda: mint(directory, rotator, workload))
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert error.details["exception"] == kind.__name__
    assert "canary" not in error.message
