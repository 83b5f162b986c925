"""``ArmStorageKeys`` through azure-mgmt-storage against the sandbox: keys, proofs, refusals, answers that are lost."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from azure_rotator.cloud import ArmStorageKeys
from azure_rotator.cloud.endpoints import CLOUDS
from azure_rotator.domain.errors import Forbidden, NotFound, Rejected, RotatorError, Unavailable
from azure_rotator.domain.ports import AccountSettings, Identity, StorageAccount, StorageKey
from azure_rotator.domain.secrettext import SecretText
from azure_sandbox.testing import Control
from tests.plugins.azure import App
from tests.rows import row

ROLE = "Storage Account Key Operator Service Role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A storage account in the sandbox, and who operates its keys."""

    where: StorageAccount
    operator: App
    control: Control
    scope: str
    cloud: str = "AzureCloud"

    @property
    def acting(self) -> Identity:
        return replace(self.operator.identity(), azure_cloud=self.cloud)

    def values(self) -> dict[str, str]:
        """The truth about its keys."""
        return dict(self.control.account(self.where.name).keys)

    def count(self, operation: str) -> int:
        """How many requests were made about it, e.g. ``arm.regenerateKey``, or ``arm.`` for all of Resource Manager."""
        return sum(one.operation.startswith(operation) for one in self.control.journal(account=self.where.name))


@pytest.fixture
def keys(azure) -> ArmStorageKeys:
    return ArmStorageKeys()


@pytest.fixture
def make_account(control, make_application):
    """Make an account, and an application that may operate its keys."""

    def make(*, cloud: str = "AzureCloud", operates: bool = True, tenant: str | None = None, **record) -> Account:
        app = make_application("operator", **({"tenant": tenant} if tenant else {}))
        info = control.create_account(tenant=app.info.tenant_id, operators=[app.app_id] if operates else [], **record)
        where = StorageAccount(subscription_id=info.subscription_id, resource_group=info.resource_group, name=info.name)
        return Account(where=where, operator=app, control=control, scope=info.resource_id, cloud=cloud)

    return make


@pytest.fixture
def account(make_account) -> Account:
    return make_account()


def refused(call) -> RotatorError:
    with pytest.raises(RotatorError) as caught:
        call()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    return caught.value


def named(listed: tuple[StorageKey, ...], name: str) -> StorageKey:
    return next(key for key in listed if key.name == name)


# --- what a preflight wants to know -------------------------------------------------------------------------------


@pytest.fixture
def readable(account) -> Account:
    """An account whose operator may read it, too."""
    account.control.grant(account.operator.app_id, "Reader", account.scope)
    return account


def test_what_an_account_was_never_told(keys, readable):
    assert keys.settings(readable.acting, readable.where) == AccountSettings(shared_key=True)
    assert keys.lock_ids(readable.acting, readable.where) == ()


@row("F44", "F46", "F47")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"allow_shared_key": False}, AccountSettings(shared_key=False)),
        ({"allow_shared_key": True}, AccountSettings(shared_key=True)),
        ({"directory_service": "AD"}, AccountSettings(shared_key=True, directory="AD")),
        ({"sas_period": "1.02:03:04"}, AccountSettings(shared_key=True, sas_period=timedelta(hours=26, seconds=184))),
        ({"sas_period": "12:30:00"}, AccountSettings(shared_key=True, sas_period=timedelta(hours=12.5))),
        ({"key_policy_days": 90}, AccountSettings(shared_key=True, key_days=90)),
    ],
    ids=str,
)
def test_what_an_account_says_about_its_keys(keys, control, readable, changes, expected):
    control.update_account(readable.where.name, **changes)
    assert keys.settings(readable.acting, readable.where) == expected


@row("F44")
def test_the_role_that_operates_keys_reads_neither_settings_nor_locks(keys, account):
    assert keys.settings(account.acting, account.where) is None
    assert keys.lock_ids(account.acting, account.where) is None


def test_locks_that_refuse_writes_are_named_wherever_they_lie(keys, control, readable):
    group = readable.scope.partition("/providers/")[0]
    control.lock(group, name="on the group")
    control.lock(readable.scope, name="on it")
    control.lock(readable.scope, "CanNotDelete", name="harmless")
    found = keys.lock_ids(readable.acting, readable.where)
    assert sorted(one.rpartition("/")[2] for one in found) == ["on it", "on the group"]
    assert all("/providers/Microsoft.Authorization/locks/" in one for one in found)


@pytest.mark.parametrize("what", ["settings", "lock_ids"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"preset": "unavailable-503"}, "AzureUnavailable"),
        ({"preset": "html-200"}, "AzureUnavailable"),
        ({"status": 403, "body": "<html>"}, "AzureUnavailable"),
        ({"status": 200, "body": "{}"}, "AzureUnavailable"),
        ({"status": 404, "code": "ResourceNotFound"}, "ResourceNotFound"),
    ],
    ids=str,
)
def test_what_cannot_be_read_now_is_not_what_may_not_be_read(keys, control, readable, what, fault, code):
    control.add_fault("arm.*", account=readable.where.name, times=None, **fault)
    control.add_fault("arm.listLocks", times=None, **fault)
    assert refused(lambda: getattr(keys, what)(readable.acting, readable.where)).code == code


# --- what works ---------------------------------------------------------------------------------------------------


def test_the_list_is_what_the_account_has(keys, account):
    listed = keys.list_keys(account.acting, account.where)
    assert {key.name: key.value.reveal() for key in listed} == account.values()
    assert account.count("arm.listKeys") == 1
    assert len(account.operator.requests("login.token")) == 1


def test_kerberos_keys_are_in_the_list_where_there_are_any(keys, make_account):
    account = make_account(directory_service="AADDS")
    assert [key.name for key in keys.list_keys(account.acting, account.where)] == ["key1", "key2", "kerb1", "kerb2"]


def test_a_key_older_than_azures_record_has_no_date(keys, make_account):
    account = make_account(keys_undated=True)
    listed = keys.list_keys(account.acting, account.where)
    assert {key.created_at for key in listed} == {None}
    made = keys.regenerate(account.acting, account.where, "key2")
    assert made.created_at is not None
    assert abs(made.created_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_new_key_is_the_named_one_and_the_other_stays(keys, account):
    before = account.values()
    made = keys.regenerate(account.acting, account.where, "key1")
    after = account.values()
    assert (made.name, made.value.reveal()) == ("key1", after["key1"])
    assert after["key1"] != before["key1"]
    assert after["key2"] == before["key2"]
    assert made == named(keys.list_keys(account.acting, account.where), "key1")
    assert account.count("arm.regenerateKey") == 1


def test_a_kerberos_key_is_regenerated_beside_the_others(keys, account):
    before = account.values()
    made = keys.regenerate(account.acting, account.where, "kerb1")
    assert made.value.reveal() == account.values()["kerb1"]
    assert {name: account.values()[name] for name in before} == before


def test_a_key_is_proven_by_one_signed_request_and_an_old_one_refused(keys, account):
    old = named(keys.list_keys(account.acting, account.where), "key1")
    made = keys.regenerate(account.acting, account.where, "key1")
    assert keys.prove(account.acting, account.where, made) is True
    assert account.count("blob.") == 1
    error = refused(lambda: keys.prove(account.acting, account.where, old))
    assert isinstance(error, Forbidden)
    assert error.code == "AzureAuthFailed"
    assert error.hint
    assert account.where.name in error.message
    assert len(account.operator.requests("login.token")) == 2  # a proof is the key's, it needs no login


def test_a_key_that_signs_nothing_is_refused_without_a_request(keys, account):
    for value in ("non-sense", "", "====", "kö"):
        key = StorageKey(name="key1", value=SecretText(value), created_at=None)
        error = refused(lambda key=key: keys.prove(account.acting, account.where, key))
        assert error.code == "AzureAuthFailed"
    assert account.count("blob.") == 0


@row("B-14")
@pytest.mark.parametrize(
    ("cloud", "name"), [("public", "AzureCloud"), ("usgov", "AzureUSGovernment"), ("china", "AzureChinaCloud")]
)
def test_each_cloud_has_its_own_resource_manager_and_storage(keys, control, make_account, cloud, name):
    tenant = control.create_tenant(cloud=cloud).tenant_id
    account = make_account(cloud=name, tenant=tenant)
    made = keys.regenerate(account.acting, account.where, "key2")
    assert made in keys.list_keys(account.acting, account.where)
    assert keys.prove(account.acting, account.where, made) is True
    there = CLOUDS[name]
    hosts = [entry.host for entry in control.journal(account=account.where.name)]
    assert hosts == [there.arm_host, there.arm_host, there.blob_host(account.where.name)]


def test_a_replaced_secret_of_the_target_logs_in_here_too(keys, account):
    acting = replace(account.acting, secret=SecretText("nonsense"), older=account.acting.secret)
    assert keys.list_keys(acting, account.where)
    assert len(account.operator.requests("login.token")) == 2


def test_the_cloud_identity_renews_a_token_that_is_refused_once(keys, control, account, monkeypatch):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("AZURE_TENANT_ID", account.operator.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", account.operator.app_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", account.operator.secret)
    acting = Identity(tenant_id=None, client_id=None, secret=None, label='target "/cloud"')
    keys.list_keys(acting, account.where)
    keys.list_keys(acting, account.where)
    assert len(account.operator.requests("login.token")) == 1
    control.advance("2h")
    made = keys.regenerate(acting, account.where, "key1")
    assert made.value.reveal() == account.values()["key1"]
    answers = [entry.status for entry in control.journal(account=account.where.name, operation="arm.regenerateKey")]
    assert answers == [401, 200]


# --- refusals -----------------------------------------------------------------------------------------------------


def both(keys, account, where=None):
    """A read and a write; both are refused alike."""
    where = where or account.where
    return (
        lambda: keys.list_keys(account.acting, where),
        lambda: keys.regenerate(account.acting, where, "key1"),
    )


def test_the_missing_role_is_named(keys, make_account):
    account = make_account(operates=False)
    before = account.values()
    for call in both(keys, account):
        error = refused(call)
        assert isinstance(error, Forbidden)
        assert error.code == "AzurePermissionMissing"
        assert error.details["permission"] == ROLE
        assert ROLE in error.hint
        assert f"storage account {account.where.name}" in error.hint
        assert 'target "/operator"' in error.message
    assert account.values() == before


@row("F45")
def test_a_readonly_lock_refuses_the_list_too_and_says_what_to_do(keys, control, account):
    control.lock(account.scope)
    before = account.values()
    for call in both(keys, account):
        error = refused(call)
        assert isinstance(error, Forbidden)
        assert error.code == "ResourceLocked"
        assert "lock" in error.hint
        assert account.where.name in error.message
    assert account.values() == before
    control.unlock(account.scope)
    assert keys.list_keys(account.acting, account.where)


MISSING = {
    "account": {"name": "nosuchaccount"},
    "resource group": {"resource_group": "no-such-group"},
    "subscription": {"subscription_id": "0c0fee00-1111-4222-8333-444455556666"},
}


@pytest.mark.parametrize("change", MISSING.values(), ids=MISSING)
def test_what_is_not_there_is_told(keys, control, account, change):
    control.grant(account.operator.app_id, ROLE, f"/subscriptions/{account.where.subscription_id}")
    if "subscription_id" in change:
        control.grant(account.operator.app_id, ROLE, f"/subscriptions/{change['subscription_id']}")
    for call in both(keys, account, replace(account.where, **change)):
        error = refused(call)
        assert isinstance(error, NotFound)
        assert error.code == "ResourceNotFound"
        assert "resource-group-name" in error.hint


def test_a_key_name_that_azure_does_not_know_is_refused(keys, account):
    before = account.values()
    error = refused(lambda: keys.regenerate(account.acting, account.where, "key3"))
    assert isinstance(error, Rejected)
    assert error.code == "AzureRefused"
    assert account.values() == before


@pytest.mark.parametrize("name", ["", "ab", "Account", "a.example.com", "a/b", "a@b", "a" * 25, "konto\n"])
def test_a_name_that_could_lead_elsewhere_is_not_sent(keys, account, name):
    where = replace(account.where, name=name)
    key = StorageKey(name="key1", value=SecretText("bm9uZQ=="), created_at=None)
    for call in (*both(keys, account, where), lambda: keys.prove(account.acting, where, key)):
        assert isinstance(refused(call), Rejected)
    assert not account.operator.requests("login.token")


def test_a_login_that_is_refused_writes_nothing(keys, account):
    acting = replace(account.acting, secret=SecretText("nonsense"))
    error = refused(lambda: keys.regenerate(acting, account.where, "key1"))
    assert error.details["aadsts"] == 7000215
    assert account.count("arm.regenerateKey") == 0


# --- proofs that prove nothing ------------------------------------------------------------------------------------

SILENT = [
    "KeyBasedAuthenticationNotPermitted",
    "AuthorizationFailure",
    "AuthorizationPermissionMismatch",
    "FeatureNotSupportedForAccount",
]


def key1(keys, account):
    return named(keys.list_keys(account.acting, account.where), "key1")


@pytest.mark.parametrize("code", SILENT)
def test_an_answer_that_does_not_speak_of_the_key_proves_nothing(keys, control, account, code):
    key = key1(keys, account)
    control.add_fault("*", host=f"{account.where.name}.blob.*", status=403, code=code)
    assert keys.prove(account.acting, account.where, key) is False


@row("F46")
def test_an_account_that_permits_no_shared_key_proves_nothing_and_rotates_all_the_same(keys, control, account):
    control.update_account(account.where.name, allow_shared_key=False)
    made = keys.regenerate(account.acting, account.where, "key1")
    assert keys.prove(account.acting, account.where, made) is False


def test_an_account_without_a_blob_service_proves_nothing(keys, account, monkeypatch):
    key = key1(keys, account)

    async def unknown_name(*_args: object, **_more: object) -> None:
        error = httpx.ConnectError("no")
        error.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        raise error

    monkeypatch.setattr("httpx.AsyncClient.get", unknown_name)
    assert keys.prove(account.acting, account.where, key) is False


PROOF_OUTAGES = {
    "500": {"preset": "internal-500"},
    "503, busy": {"status": 503, "code": "ServerBusy"},
    "dropped": {"preset": "dropped"},
    "a page": {"preset": "html-200"},
    "a page, 502": {"preset": "html-502"},
    "a proxy's 403": {"status": 403, "body": "<html>", "content_type": "text/html"},
    "a redirect": {"status": 302, "body": "", "headers": {"Location": "https://elsewhere/"}},
}


@pytest.mark.parametrize("fault", PROOF_OUTAGES.values(), ids=PROOF_OUTAGES)
def test_a_proof_without_a_usable_answer_is_neither_yes_nor_no(keys, control, account, fault):
    key = key1(keys, account)
    control.add_fault("*", host=f"{account.where.name}.blob.*", times=None, **fault)
    error = refused(lambda: keys.prove(account.acting, account.where, key))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"
    assert account.count("blob.") == 1


def test_a_clock_that_is_off_is_not_the_keys_fault(keys, account, monkeypatch):
    key = key1(keys, account)
    monkeypatch.setattr("azure_rotator.cloud.storage.formatdate", lambda **_: "Sun, 22 Nov 2015 09:00:00 GMT")
    error = refused(lambda: keys.prove(account.acting, account.where, key))
    assert error.code == "AzureAuthFailed"  # by the answer's Date this machine's clock is right, so it is the key's


def test_a_skewed_clock_is_told_from_a_wrong_key(keys, control, account):
    key = key1(keys, account)
    then = "Sun, 22 Nov 2015 09:00:00 GMT"
    fault = {"status": 403, "code": "AuthenticationFailed", "headers": {"Date": then}}
    control.add_fault("*", host=f"{account.where.name}.blob.*", **fault)
    error = refused(lambda: keys.prove(account.acting, account.where, key))
    assert isinstance(error, Unavailable)
    assert "clock" in error.hint


# --- outages: what a write has done is told, and it is sent once --------------------------------------------------

BEFORE = {
    "500": ({"preset": "internal-500"}, "AzureUnavailable", "unknown", None),
    "500 with Retry-After": (
        {"preset": "internal-500", "headers": {"Retry-After": "1"}},
        "AzureUnavailable",
        "unknown",
        1.0,
    ),
    "502, a page": ({"preset": "html-502"}, "AzureUnavailable", "unknown", None),
    "503": ({"preset": "unavailable-503"}, "AzureUnavailable", "unknown", None),
    "503 with garbage": (
        {"preset": "unavailable-503", "headers": {"Retry-After": "soon"}},
        "AzureUnavailable",
        "unknown",
        None,
    ),
    "504": ({"preset": "gateway-timeout-504"}, "AzureUnavailable", "unknown", None),
    "429": ({"preset": "throttled"}, "AzureThrottled", "no", 1.0),
    "429 without Retry-After": ({"preset": "throttled-without-retry-after"}, "AzureThrottled", "no", None),
    "429 with a decimal": ({"preset": "throttled", "headers": {"Retry-After": "0.5"}}, "AzureThrottled", "no", 0.5),
    "429 with garbage": ({"preset": "throttled", "headers": {"Retry-After": "soon"}}, "AzureThrottled", "no", None),
    "429 in milliseconds": (
        {"preset": "throttled-without-retry-after", "headers": {"x-ms-retry-after-ms": "1500"}},
        "AzureThrottled",
        "no",
        1.5,
    ),
    "busy": ({"status": 409, "code": "StorageAccountOperationInProgress"}, "AzureUnavailable", "no", None),
    "another 409": ({"status": 409, "code": "Conflict"}, "AzureUnavailable", "unknown", None),
    "dropped": ({"preset": "dropped"}, "AzureUnavailable", "unknown", None),
    "200, a page": ({"preset": "html-200"}, "AzureUnavailable", "unknown", None),
    "200, nothing": ({"status": 200, "body": ""}, "AzureUnavailable", "unknown", None),
    "202": ({"status": 202, "body": ""}, "AzureUnavailable", "unknown", None),
    "307 to somewhere else": (
        {"status": 307, "body": "", "headers": {"Location": "https://management.usgovcloudapi.net/x"}},
        "AzureUnavailable",
        "unknown",
        None,
    ),
    "a proxy's 403": (
        {"status": 403, "body": "<html>", "content_type": "text/html"},
        "AzureUnavailable",
        "unknown",
        None,
    ),
}


@pytest.mark.parametrize(("fault", "code", "applied", "wait"), BEFORE.values(), ids=BEFORE)
def test_a_regeneration_without_a_usable_answer_is_sent_once(keys, control, account, fault, code, applied, wait):
    before = account.values()
    control.add_fault("arm.regenerateKey", path=f"*{account.where.name}*", times=None, **fault)
    error = refused(lambda: keys.regenerate(account.acting, account.where, "key1"))
    assert isinstance(error, Unavailable)
    assert (error.code, error.applied, error.retry_after_seconds) == (code, applied, wait)
    assert account.count("arm.") == 1
    assert account.values() == before


def test_an_unregistered_provider_is_not_registered_on_the_quiet(keys, control, account):
    fault = {"status": 409, "code": "MissingSubscriptionRegistration"}
    seen = control.journal(limit=1)[-1].seq
    control.add_fault("arm.regenerateKey", path=f"*{account.where.name}*", times=None, **fault)
    error = refused(lambda: keys.regenerate(account.acting, account.where, "key1"))
    assert isinstance(error, Forbidden)
    assert "Microsoft.Storage" in error.hint
    assert account.count("arm.") == 1
    assert not [one for one in control.journal(after=seen) if "register" in one.path]


LOST = {
    "dropped": {"preset": "dropped", "when": "after"},
    "500": {"preset": "internal-500", "when": "after"},
    "503": {"preset": "unavailable-503", "when": "after"},
    "503 with Retry-After": {"preset": "unavailable-503", "when": "after", "headers": {"Retry-After": "1"}},
    "504": {"preset": "gateway-timeout-504", "when": "after"},
    "a page": {"preset": "html-200", "when": "after"},
    "cut off": {"preset": "truncated-json"},
    "cut off at once": {"preset": "truncated-json", "cut": 0.0},
    "without the keys": {"when": "after", "without": ["keys"]},
}


@row("F18")
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_a_regeneration_whose_answer_is_lost_is_unknown_and_the_list_tells(keys, control, account, fault):
    before = account.values()
    control.add_fault("arm.regenerateKey", path=f"*{account.where.name}*", times=None, **fault)
    error = refused(lambda: keys.regenerate(account.acting, account.where, "key1"))
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert account.count("arm.regenerateKey") == 1
    found = key1(keys, account)
    assert found.value.reveal() == account.values()["key1"] != before["key1"]


BODIES = {
    "no list": {"keys": {}},
    "no object": {"keys": [None]},
    "another key only": {"keys": [{"keyName": "key2", "value": "canary"}]},
    "no value": {"keys": [{"keyName": "key1", "value": ""}]},
    "a value that is none": {"keys": [{"keyName": "key1", "value": 5}]},
    "no name": {"keys": [{"value": "canary"}]},
    "a date that is none": {"keys": [{"keyName": "key1", "value": "canary", "creationTime": "canary"}]},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_success_that_does_not_hold_the_key_is_unknown(keys, control, account, body):
    control.add_fault("arm.regenerateKey", path=f"*{account.where.name}*", status=200, body=json.dumps(body))
    error = refused(lambda: keys.regenerate(account.acting, account.where, "key1"))
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert "canary" not in error.message


def test_a_regeneration_that_is_not_answered_is_given_up_and_unknown(azure, control, account):
    keys = ArmStorageKeys(request_seconds=0.5)
    fault = control.add_fault("arm.regenerateKey", path=f"*{account.where.name}*", hold=True)
    started = time.monotonic()
    error = refused(lambda: keys.regenerate(account.acting, account.where, "key1"))
    assert time.monotonic() - started < 8
    assert keys.call_seconds == 1.0
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    fault.release()


READS = {
    "503": {"preset": "unavailable-503"},
    "429": {"preset": "throttled"},
    "dropped": {"preset": "dropped"},
    "a page": {"preset": "html-200"},
    "cut off": {"preset": "truncated-json"},
    "without the keys": {"when": "after", "without": ["keys"]},
}


@pytest.mark.parametrize("fault", READS.values(), ids=READS)
def test_a_list_is_whole_or_an_outage(keys, control, account, fault):
    control.add_fault("arm.listKeys", path=f"*{account.where.name}*", times=None, **fault)
    error = refused(lambda: keys.list_keys(account.acting, account.where))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"
    assert account.count("arm.listKeys") == 1


# --- the network --------------------------------------------------------------------------------------------------


def test_a_host_that_the_proxy_refuses_was_never_written_to(keys, account, monkeypatch):
    elsewhere = replace(CLOUDS["AzureCloud"], arm_host="management.example.com")
    monkeypatch.setitem(CLOUDS, "AzureCloud", elsewhere)
    error = refused(lambda: keys.regenerate(account.acting, account.where, "key1"))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"
    assert "management.example.com" in error.message


def test_no_proxy_answers(keys, account, monkeypatch):
    key = key1(keys, account)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for call in (*both(keys, account), lambda: keys.prove(account.acting, account.where, key)):
        error = refused(call)
        assert isinstance(error, Unavailable)
        assert error.applied == "no"
        assert "HTTPS_PROXY" in error.hint


def test_a_surprise_in_reading_the_answer_does_not_pass(keys, account, monkeypatch):
    def surprise(body: dict[str, list[dict[str, str]]], _name: str) -> None:
        raise LookupError(body["keys"][0]["value"])

    monkeypatch.setattr("azure_rotator.cloud.payloads.storage_key", surprise)
    error = refused(lambda: keys.regenerate(account.acting, account.where, "key1"))
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert "LookupError" in error.message
    assert account.values()["key1"] not in repr(error)
