"""Storage accounts: their keys over Resource Manager, who may touch them, and the blob service that takes the keys."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from azure_sandbox.testing import AccountInfo, ApplicationInfo, ControlError, Sandbox
from tests.sandbox.azure import Azure, code
from tests.sandbox.signing import signed

VERSION = "?api-version=2026-09-01"
OPERATOR = "Storage Account Key Operator Service Role"
LIST = "/?comp=list"
PROPERTIES = "/?restype=service&comp=properties"


@pytest.fixture
def operator(azure: Azure) -> ApplicationInfo:
    return azure.app()


@pytest.fixture
def account(azure: Azure, operator: ApplicationInfo) -> AccountInfo:
    return azure.control.create_account(tenant=azure.tenant.tenant_id, operators=[operator.app_id])


def list_keys(azure: Azure, account: AccountInfo, caller: ApplicationInfo, query: str = "") -> httpx.Response:
    return azure.arm("POST", f"{account.resource_id}/listKeys{VERSION}{query}", caller)


def regenerate(azure: Azure, account: AccountInfo, caller: ApplicationInfo, body: object) -> httpx.Response:
    return azure.arm("POST", f"{account.resource_id}/regenerateKey{VERSION}", caller, json=body)


def values(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {key["keyName"]: key["value"] for key in answer.json()["keys"]}


def asked(azure: Azure, account: AccountInfo, key: str, target: str = LIST) -> int:
    return azure.http.send(signed(account.blob_host, target, key)).status_code


# Keys.


def test_the_keys_are_as_azure_makes_them(azure: Azure, account, operator):
    answer = list_keys(azure, account, operator)
    assert [key["keyName"] for key in answer.json()["keys"]] == ["key1", "key2"]
    for key in answer.json()["keys"]:
        assert set(key) == {"creationTime", "keyName", "value", "permissions"}
        assert key["permissions"] == "FULL"
        assert re.fullmatch(r"[A-Za-z0-9+/]{76}\+ASt[A-Za-z0-9+/]{6}==", key["value"])
        assert len(base64.b64decode(key["value"])) == 64
        assert datetime.fromisoformat(key["creationTime"][:26] + "Z").tzinfo


def test_regenerating_changes_the_named_key_and_no_other(azure: Azure, account, operator):
    before = list_keys(azure, account, operator).json()["keys"]
    answer = regenerate(azure, account, operator, {"keyName": "key2"})
    after = answer.json()["keys"]
    assert after[0] == before[0]
    assert after[1]["value"] != before[1]["value"]
    assert after[1]["creationTime"] > before[1]["creationTime"]
    assert list_keys(azure, account, operator).json()["keys"] == after


def test_a_kerberos_key_is_made_on_demand_and_shown_when_asked_for(azure: Azure, account, operator):
    assert set(values(list_keys(azure, account, operator, "&$expand=kerb"))) == {"key1", "key2"}
    made = values(regenerate(azure, account, operator, {"keyName": "kerb1"}))
    assert set(made) == {"key1", "key2", "kerb1"}
    assert set(values(list_keys(azure, account, operator))) == {"key1", "key2"}
    assert values(list_keys(azure, account, operator, "&$expand=kerb")) == made
    assert set(values(regenerate(azure, account, operator, {"keyName": "key1"}))) == {"key1", "key2"}
    again = values(regenerate(azure, account, operator, {"keyName": "kerb1"}))
    assert again["kerb1"] != made["kerb1"]


def test_an_account_of_domain_services_has_kerberos_keys_from_the_start(azure: Azure, operator):
    account = azure.control.create_account(
        tenant=azure.tenant.tenant_id, operators=[operator.app_id], directory_service="AADDS"
    )
    assert set(values(list_keys(azure, account, operator, "&$expand=kerb"))) == {"key1", "key2", "kerb1", "kerb2"}


REFUSED = {
    "an unknown key": ({"keyName": "key3"}, 400, "InvalidValuesForRequestParameters"),
    "no key": ({}, 400, "InvalidValuesForRequestParameters"),
    "no name": ({"keyName": 1}, 400, "InvalidValuesForRequestParameters"),
    "no object": ([], 400, "InvalidRequestContent"),
}


@pytest.mark.parametrize(("body", "status", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_regeneration_changes_nothing(azure: Azure, account, operator, body, status, expected):
    before = values(list_keys(azure, account, operator))
    answer = regenerate(azure, account, operator, body)
    assert (answer.status_code, code(answer)) == (status, expected)
    assert values(list_keys(azure, account, operator)) == before


def test_keys_older_than_the_record_have_no_creation_time(azure: Azure, operator):
    reader = azure.app()
    account = azure.control.create_account(
        tenant=azure.tenant.tenant_id, operators=[operator.app_id], keys_undated=True
    )
    azure.control.grant(reader.app_id, "Storage Account Contributor", account.resource_id)
    path = f"{account.resource_id}{VERSION}"
    shown = azure.arm("GET", path, reader).json()["properties"]["keyCreationTime"]
    assert shown == {"key1": None, "key2": None}
    policy = {"properties": {"keyPolicy": {"keyExpirationPeriodInDays": 90}}}
    assert azure.arm("PATCH", path, reader, json=policy).status_code == 409
    for name in ("key1", "key2"):
        regenerate(azure, account, operator, {"keyName": name})
    changed = azure.arm("PATCH", path, reader, json=policy)
    assert changed.json()["properties"]["keyPolicy"] == {"keyExpirationPeriodInDays": 90}
    listed = list_keys(azure, account, operator).json()["keys"]
    assert changed.json()["properties"]["keyCreationTime"] == {key["keyName"]: key["creationTime"] for key in listed}


def test_an_account_shows_its_settings_and_endpoints(azure: Azure):
    reader = azure.app()
    account = azure.control.create_account(
        tenant=azure.tenant.tenant_id, allow_shared_key=False, directory_service="AD", sas_period="1.00:00:00"
    )
    azure.control.grant(reader.app_id, "Reader", account.resource_id)
    properties = azure.arm("GET", f"{account.resource_id}{VERSION}", reader).json()["properties"]
    assert properties["allowSharedKeyAccess"] is False
    assert properties["azureFilesIdentityBasedAuthentication"] == {"directoryServiceOptions": "AD"}
    assert properties["sasPolicy"] == {"sasExpirationPeriod": "1.00:00:00", "expirationAction": "Log"}
    assert properties["primaryEndpoints"]["blob"] == f"https://{account.blob_host}/"


# Who may.

MAY = {
    OPERATOR: {"listKeys", "regenerateKey"},
    "Reader": {"GET"},
    "Reader and Data Access": {"GET", "listKeys"},
    "Storage Account Contributor": {"GET", "PATCH", "listKeys", "regenerateKey", "locks"},
    "Contributor": {"GET", "PATCH", "listKeys", "regenerateKey", "locks"},
}


@pytest.mark.parametrize("role", MAY)
def test_a_role_opens_exactly_its_actions(azure: Azure, role):
    caller = azure.app()
    account = azure.control.create_account(tenant=azure.tenant.tenant_id)
    azure.control.grant(caller.app_id, role, account.resource_id)
    answers = {
        "GET": azure.arm("GET", f"{account.resource_id}{VERSION}", caller),
        "PATCH": azure.arm("PATCH", f"{account.resource_id}{VERSION}", caller, json={}),
        "listKeys": list_keys(azure, account, caller),
        "regenerateKey": regenerate(azure, account, caller, {"keyName": "key1"}),
        "locks": azure.arm("GET", f"{account.resource_id}/providers/Microsoft.Authorization/locks{VERSION}", caller),
    }
    allowed = {name for name, answer in answers.items() if answer.status_code == 200}
    assert allowed == MAY[role] | ({"locks"} if role == "Reader" else set())
    for name in answers.keys() - allowed:
        assert (answers[name].status_code, code(answers[name])) == (403, "AuthorizationFailed")


def test_the_refusal_names_caller_action_and_scope(azure: Azure, account):
    stranger = azure.app()
    message = regenerate(azure, account, stranger, {"keyName": "key1"}).json()["error"]["message"]
    assert message == (
        f"The client '{stranger.app_id}' with object id '{stranger.service_principal_id}' does not have authorization"
        " to perform action 'Microsoft.Storage/storageAccounts/regenerateKey/action' over scope"
        f" '{account.resource_id}' or the scope is invalid. If access was recently granted, please refresh your"
        " credentials."
    )


def test_a_revoked_role_closes_the_door(azure: Azure, account, operator):
    azure.control.revoke(operator.app_id, OPERATOR, account.resource_id)
    assert list_keys(azure, account, operator).status_code == 403


def test_what_is_not_there(azure: Azure, account, operator):
    subscription = account.resource_id.rpartition("/resourceGroups/")[0]
    azure.control.grant(operator.app_id, OPERATOR, subscription)
    found = {}
    for path in (
        f"{account.resource_id}x",
        account.resource_id.replace("/group/", "/elsewhere/"),
        account.resource_id.replace(account.subscription_id, "99999999-9999-4999-8999-999999999999"),
        account.resource_id.upper(),
    ):
        answer = azure.arm("POST", f"{path}/LISTKEYS{VERSION}", operator)
        found[path] = (answer.status_code, code(answer) if answer.status_code != 200 else None)
    assert list(found.values()) == [
        (404, "ResourceNotFound"),
        (404, "ResourceGroupNotFound"),
        (404, "SubscriptionNotFound"),
        (200, None),
    ]


def test_a_token_of_another_tenant_is_refused(azure: Azure, sandbox: Sandbox, account):
    elsewhere = Azure(sandbox, azure.http, azure.control.create_tenant())
    answer = list_keys(elsewhere, account, elsewhere.app())
    assert (answer.status_code, code(answer)) == (401, "InvalidAuthenticationTokenTenant")


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", "MissingApiVersionParameter"), ("?api-version=latest", "InvalidApiVersionParameter")],
)
def test_an_api_version_is_needed(azure: Azure, account, operator, query, expected):
    answer = azure.arm("POST", f"{account.resource_id}/regenerateKey{query}", operator, json={"keyName": "key1"})
    assert (answer.status_code, code(answer)) == (400, expected)


# Locks.

LOCKS = {
    "read-only on the account": ("account", "ReadOnly", 409),
    "read-only on the group": ("group", "ReadOnly", 409),
    "read-only on the subscription": ("subscription", "ReadOnly", 409),
    "no deletion": ("account", "CanNotDelete", 200),
}


@pytest.mark.parametrize(("where", "level", "status"), LOCKS.values(), ids=LOCKS.keys())
def test_a_read_only_lock_refuses_even_the_list_of_keys(azure: Azure, account, operator, where, level, status):
    reader = azure.app()
    group = account.resource_id.partition("/providers/")[0]
    scopes = {"account": account.resource_id, "group": group, "subscription": group.partition("/resourceGroups/")[0]}
    azure.control.grant(reader.app_id, "Reader", scopes["subscription"])
    azure.control.lock(scopes[where], level)
    for answer in (
        list_keys(azure, account, operator),
        regenerate(azure, account, operator, {"keyName": "key1"}),
    ):
        assert answer.status_code == status
        if status == 409:
            assert code(answer) == "ScopeLocked"
            assert f"are locked: '{scopes[where]}'" in answer.json()["error"]["message"]
    assert azure.arm("GET", f"{account.resource_id}{VERSION}", reader).status_code == 200
    locks = f"{account.resource_id}/providers/Microsoft.Authorization/locks{VERSION}"
    [lock] = azure.arm("GET", locks, reader).json()["value"]
    assert (lock["name"], lock["properties"]) == ("lock", {"level": level})
    assert azure.arm("GET", locks, operator).status_code == 403
    azure.control.unlock(scopes[where])
    assert regenerate(azure, account, operator, {"keyName": "key1"}).status_code == 200


def test_a_list_of_locks_may_be_of_the_scope_alone(azure: Azure, account):
    reader = azure.app()
    group = account.resource_id.partition("/providers/")[0]
    azure.control.grant(reader.app_id, "Reader", group)
    azure.control.lock(account.resource_id, name="below")
    path = f"{group}/providers/Microsoft.Authorization/locks{VERSION}"
    assert len(azure.arm("GET", path, reader).json()["value"]) == 1
    assert azure.arm("GET", f"{path}&$filter=atScope()", reader).json()["value"] == []


# The blob service.


@pytest.mark.parametrize("target", [LIST, PROPERTIES], ids=["containers", "properties"])
def test_a_present_key_opens_the_blob_service(azure: Azure, account, target):
    for value in account.keys.values():
        answer = azure.http.send(signed(account.blob_host, target, value))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/xml"
        assert answer.text.startswith('<?xml version="1.0"')


def test_a_regenerated_key_is_refused_and_its_successor_and_the_other_are_taken(azure: Azure, account, operator):
    new = values(regenerate(azure, account, operator, {"keyName": "key1"}))
    assert asked(azure, account, account.keys["key1"]) == 403
    assert asked(azure, account, new["key1"]) == 200
    assert asked(azure, account, account.keys["key2"]) == 200


def test_a_kerberos_key_opens_nothing(azure: Azure, account, operator):
    made = values(regenerate(azure, account, operator, {"keyName": "kerb1"}))
    assert asked(azure, account, made["kerb1"]) == 403


def old(minutes: int) -> str:
    return format_datetime(datetime.now(UTC) - timedelta(minutes=minutes), usegmt=True)


SIGNATURES = {
    "no authorization": ({"authorization": ""}, 401, "NoAuthenticationInformation"),
    "another scheme": ({"authorization": "Basic abc"}, 403, "AuthenticationFailed"),
    "no signature": ({"authorization": "SharedKey"}, 403, "AuthenticationFailed"),
    "another account's name": ({"account": "somebodyelse"}, 403, "AuthenticationFailed"),
    "a header changed on the way": ({"x_ms_version": "2020-10-02"}, 403, "AuthenticationFailed"),
    "a header added on the way": ({"x_ms_meta_more": "1"}, 403, "AuthenticationFailed"),
    "a date of yesterday": ({"minutes_ago": 1500}, 403, "AuthenticationFailed"),
    "a date of some minutes ago": ({"minutes_ago": 10}, 200, None),
    "no version": ({"x_ms_version": ""}, 400, "MissingRequiredHeader"),
    "a bearer token that is none": ({"authorization": "Bearer abc"}, 401, "InvalidAuthenticationInfo"),
}


@pytest.mark.parametrize(("changes", "status", "expected"), SIGNATURES.values(), ids=SIGNATURES.keys())
def test_what_is_not_signed_right_is_refused_in_xml(azure: Azure, account, changes, status, expected):
    if "minutes_ago" in changes:  # now, not when the table was made: that is minutes ago itself by then
        changes = {"date": old(changes["minutes_ago"])}
    answer = azure.http.send(signed(account.blob_host, LIST, account.keys["key1"], **changes))
    assert answer.status_code == status
    assert answer.headers.get("x-ms-error-code") == expected
    if expected:
        assert f"<Code>{expected}</Code>" in answer.text
        assert account.keys["key1"] not in answer.text


def test_an_account_may_forbid_shared_keys(azure: Azure, account, operator):
    azure.control.update_account(account.name, allow_shared_key=False)
    answer = azure.http.send(signed(account.blob_host, LIST, account.keys["key1"]))
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "KeyBasedAuthenticationNotPermitted")
    assert regenerate(azure, account, operator, {"keyName": "key1"}).status_code == 200


def test_the_data_plane_may_hear_of_a_regeneration_later(alone: Azure):
    azure = alone
    operator = azure.app()
    account = azure.control.create_account(
        tenant=azure.tenant.tenant_id, operators=[operator.app_id], behaviour={"key_lag_seconds": 60}
    )
    new = values(regenerate(azure, account, operator, {"keyName": "key1"}))
    assert [asked(azure, account, value) for value in (account.keys["key1"], new["key1"])] == [200, 403]
    azure.control.advance("61s")
    assert [asked(azure, account, value) for value in (account.keys["key1"], new["key1"])] == [403, 200]


@pytest.mark.parametrize(
    ("cloud", "suffix"),
    [("public", "core.windows.net"), ("usgov", "core.usgovcloudapi.net"), ("china", "core.chinacloudapi.cn")],
)
def test_each_cloud_has_its_own_names(azure: Azure, cloud, suffix):
    tenant = azure.control.create_tenant(cloud=cloud)
    account = azure.control.create_account(tenant=tenant.tenant_id)
    assert account.blob_host == f"{account.name}.blob.{suffix}"
    assert asked(azure, account, account.keys["key2"]) == 200


def test_an_account_that_is_not_there_has_no_host(azure: Azure, account):
    azure.control.delete_account(account.name)
    for host in (account.blob_host, "nobodyhasthis.blob.core.windows.net"):
        with pytest.raises(httpx.ProxyError, match="502"):
            azure.http.get(f"https://{host}/")


# What tests look at.


def test_the_journal_tells_what_became_of_which_key(azure: Azure, account, operator):
    list_keys(azure, account, operator)
    azure.control.add_fault("arm.regenerateKey", account=account.name, when="after", status=504)
    regenerate(azure, account, operator, {"keyName": "key2"})
    regenerate(azure, account, operator, {"keyName": "key2"})
    asked(azure, account, account.keys["key2"])
    told = [
        (entry.operation, entry.status, entry.key_id, entry.committed, entry.delivered, entry.error)
        for entry in azure.control.journal(account=account.name)
    ]
    assert told == [
        ("arm.listKeys", 200, None, False, True, None),
        ("arm.regenerateKey", 504, "key2", True, False, "InternalServerError"),
        ("arm.regenerateKey", 200, "key2", True, True, None),
        ("blob.listContainers", 403, None, False, True, "AuthenticationFailed"),
    ]
    counted = azure.control.counts(account=account.name)
    assert (counted["regenerations"], counted["undelivered"], counted["requests"]) == (2, 1, 4)


def test_the_truth_about_a_key_leaves_no_trace(azure: Azure, account):
    assert azure.control.verify_key(account.name, account.keys["key2"]) == "key2"
    changed = azure.control.regenerate_key(account.name, "key2")
    assert azure.control.verify_key(account.resource_id, account.keys["key2"]) is None
    assert azure.control.account(account.name).keys == changed.keys
    assert azure.control.journal(account=account.name) == []


def test_names_are_unique_in_a_cloud(azure: Azure, account):
    with pytest.raises(ControlError, match="the name is taken"):
        azure.control.create_account(name=account.name)
    other = azure.control.create_tenant(cloud="china")
    assert azure.control.create_account(name=account.name, tenant=other.tenant_id).cloud == "china"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"name": "No_Good"}, "3 to 24 lower-case"),
        ({"colour": "red"}, "unknown key colour"),
        ({"directory_service": "NIS"}, "unknown directory service"),
        ({"keys": {"key9": "x"}}, "keys is a table of"),
        ({"operators": ["nobody-at-all"]}, "nobody is called"),
        ({"tenant": "nowhere"}, "no tenant"),
    ],
)
def test_what_no_account_can_be(azure: Azure, record, message):
    with pytest.raises(ControlError, match=message):
        azure.control.create_account(**record)


def test_keys_outlive_a_restart_and_no_value_is_readable_on_disk(own_sandbox: Sandbox):
    before = own_sandbox.control.create_account()
    own_sandbox.kill()
    for path in own_sandbox.state.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(value.encode() in content for value in before.keys.values()), path.name
    own_sandbox.start()
    assert own_sandbox.control.account(before.name) == before
