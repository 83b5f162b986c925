"""Throttles, overlapping writes, what a PATCH of an application does, and how big one may get."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from azure_sandbox.testing import AccountInfo, ApplicationInfo, ControlError
from tests.sandbox.azure import OWNED_BY, Azure, code

READ = "Application.Read.All"
VERSION = "?api-version=2026-09-01"


def until_throttled(ask, most: int = 60) -> tuple[list[httpx.Response], httpx.Response]:
    """The answers before the first 429, and that one."""
    passed: list[httpx.Response] = []
    for _ in range(most):
        answer = ask()
        if answer.status_code == 429:
            return passed, answer
        passed.append(answer)
    raise AssertionError(f"{most} requests passed")


@pytest.fixture
def account(alone: Azure) -> tuple[AccountInfo, ApplicationInfo]:
    operator = alone.app()
    made = alone.control.create_account(tenant=alone.tenant.tenant_id)
    alone.control.grant(operator.app_id, "Contributor", made.resource_id.partition("/resourceGroups/")[0])
    return made, operator


# Graph.


def test_graph_counts_resource_units_in_windows(alone: Azure):
    azure = alone
    reader = azure.app(READ)
    azure.control.set_behaviour(reader.app_id, throttle_scale=0.002)  # 7 units in 10 seconds
    path = "/applications?$select=id"
    passed, refused = until_throttled(lambda: azure.graph("GET", path, reader))
    assert len(passed) == 7
    assert [answer.headers.get("x-ms-throttle-limit-percentage") for answer in passed] == [None] * 5 + ["0.9", "1.0"]
    assert code(refused) == "TooManyRequests"
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert refused.headers["x-ms-throttle-scope"] == (
        f"Tenant_Application/ReadWrite/{reader.app_id}/{azure.tenant.tenant_id}"
    )
    assert refused.json()["error"]["message"].startswith(f"Too many requests from Identifier:{reader.app_id} under")
    azure.control.advance("11s")
    assert azure.graph("GET", path, reader).status_code == 200


def test_a_list_that_selects_nothing_costs_double(alone: Azure):
    azure = alone
    reader = azure.app(READ)
    azure.control.set_behaviour(reader.app_id, throttle_scale=0.002)
    passed, _ = until_throttled(lambda: azure.graph("GET", "/applications", reader))
    assert len(passed) == 3
    assert passed[0].headers["x-ms-resource-unit"] == "2"


def test_writes_have_a_limit_of_their_own_and_others_go_on(alone: Azure):
    azure = alone
    rotator, app = azure.rotator_and_workload()
    other = azure.app(READ)
    azure.control.set_behaviour(rotator.app_id, throttle_scale=0.001)  # 3 writes in 150 seconds, 3 units in 10
    made = []
    for _ in range(3):
        made.append(azure.add(app, rotator).status_code)
        azure.control.advance("11s")
    refused = azure.add(app, rotator)
    assert (made, refused.status_code) == ([200, 200, 200], 429)
    assert refused.headers["x-ms-throttle-scope"].startswith("Tenant_Application/Write/")
    assert 30 < int(refused.headers["retry-after"]) <= 150
    assert azure.control.counts(app=app.app_id)["creations"] == 3
    assert azure.graph("GET", "/applications", other).status_code == 200
    azure.control.set_behaviour(rotator.app_id, throttle_scale=None)
    assert azure.add(app, rotator).status_code == 200


def test_applications_for_personal_accounts_take_sixty_writes_a_minute(alone: Azure):
    azure = alone
    rotator, app = azure.rotator_and_workload(audience="AzureADandPersonalMicrosoftAccount")
    azure.control.set_behaviour(rotator.app_id, throttle_scale=1)
    body = {"displayName": "again"}
    ask = lambda: azure.graph("PATCH", f"/applications/{app.object_id}", rotator, json=body)  # noqa: E731
    passed, refused = until_throttled(ask, most=61)
    assert len(passed) == 60
    assert refused.headers["x-ms-throttle-scope"] == f"Resource/Write/{app.app_id}"


# Resource Manager and the storage provider.


def test_resource_manager_fills_its_buckets_again(alone: Azure, account):
    azure, (made, operator) = alone, account
    azure.control.set_behaviour(operator.app_id, throttle_scale=0.02)  # 5 reads, one more each 2 seconds
    path = f"{made.resource_id}/providers/Microsoft.Authorization/locks{VERSION}"
    passed, refused = until_throttled(lambda: azure.arm("GET", path, operator))
    assert len(passed) == 5
    left = [int(answer.headers["x-ms-ratelimit-remaining-subscription-reads"]) for answer in passed]
    assert left == [4, 3, 2, 1, 0]
    assert code(refused) == "SubscriptionRequestsThrottled"
    assert refused.headers["x-ms-ratelimit-remaining-subscription-reads"] == "0"
    azure.control.advance(float(refused.headers["retry-after"]))
    assert azure.arm("GET", path, operator).status_code == 200


def test_the_storage_provider_takes_ten_writes_a_second(alone: Azure, account):
    azure, (made, operator) = alone, account
    azure.control.set_behaviour(operator.app_id, throttle_scale=0.2)  # 2 a second
    body = {"keyName": "key1"}
    path = f"{made.resource_id}/regenerateKey{VERSION}"
    passed, refused = until_throttled(lambda: azure.arm("POST", path, operator, json=body))
    assert len(passed) == 2
    assert passed[0].headers["x-ms-ratelimit-remaining-subscription-writes"] == "39"
    assert (code(refused), refused.headers["retry-after"]) == ("TooManyRequests", "1")
    assert "Write_ObservationWindow_00:00:01" in refused.json()["error"]["message"]
    assert azure.control.counts(account=made.name)["regenerations"] == 2


def test_the_storage_provider_counts_reads_in_five_minutes(alone: Azure, account):
    azure, (made, operator) = alone, account
    azure.control.set_behaviour(operator.app_id, throttle_scale=0.005)  # 4 reads
    refused = None
    for number in range(5):
        refused = azure.arm("POST", f"{made.resource_id}/listKeys{VERSION}", operator)
        azure.control.advance("30s")
        assert refused.status_code == (429 if number == 4 else 200)
    assert refused is not None
    assert "Read_ObservationWindow_00:05:00" in refused.json()["error"]["message"]
    assert refused.headers["retry-after"] == "30"


@pytest.mark.parametrize("scale", [0, -1, "many"])
def test_a_scale_is_above_nothing(azure: Azure, scale):
    with pytest.raises(ControlError, match="throttle_scale"):
        azure.control.set_behaviour(azure.app().app_id, throttle_scale=scale)


def test_without_a_scale_nothing_is_counted(azure: Azure):
    reader = azure.app(READ)
    answers = [azure.graph("GET", "/applications?$top=1", reader) for _ in range(10)]
    assert all("x-ms-throttle-limit-percentage" not in answer.headers for answer in answers)


# Overlapping writes.


def test_two_overlapping_regenerations_collide(azure: Azure):
    operator = azure.app()
    made = azure.control.create_account(
        tenant=azure.tenant.tenant_id, operators=[operator.app_id], behaviour={"write_seconds": 0.3}
    )
    azure.token(operator, "https://management.azure.com/.default")
    path = f"{made.resource_id}/regenerateKey{VERSION}"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda key: azure.arm("POST", path, operator, json={"keyName": key}), ("key1", "key2")))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    [refused] = [answer for answer in answers if answer.status_code == 409]
    assert code(refused) == "StorageAccountOperationInProgress"
    assert azure.control.counts(account=made.name)["regenerations"] == 1


def test_two_overlapping_changes_of_a_user_collide(azure: Azure):
    setter = azure.app("User-PasswordProfile.ReadWrite.All")
    user = azure.control.create_user(tenant=azure.tenant.tenant_id, behaviour={"write_seconds": 0.3})
    azure.token(setter)
    profiles = [{"passwordProfile": {"password": f"Correct-horse-{number}-battery"}} for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda body: azure.graph("PATCH", f"/users/{user.object_id}", setter, json=body), profiles)
        )
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert azure.control.user(user.upn).passwords_set == 2


# PATCH of an application, and its size.


def test_an_application_is_changed(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    body = {"@odata.type": "#microsoft.graph.application", "displayName": "new name", "identifierUris": ["api://x"]}
    answer = azure.graph("PATCH", f"/applications(appId='{app.app_id}')", rotator, json=body)
    assert (answer.status_code, answer.content) == (204, b"")
    shown = azure.graph("GET", f"/applications/{app.object_id}", rotator).json()
    assert (shown["displayName"], shown["identifierUris"]) == ("new name", ["api://x"])


PATCHES = {
    "secrets": {"passwordCredentials": [{"displayName": "mine", "secretText": "chosen"}]},
    "no secrets": {"passwordCredentials": []},
    "an unknown property": {"nonsense": 1},
    "no name": {"displayName": ""},
    "an unknown audience": {"signInAudience": "Everybody"},
    "uris that are none": {"identifierUris": "api://x"},
    "no object": [],
}


@pytest.mark.parametrize("body", PATCHES.values(), ids=PATCHES.keys())
def test_a_patch_that_is_refused_changes_nothing(azure: Azure, body):
    rotator, app = azure.rotator_and_workload()
    before = azure.graph("GET", f"/applications/{app.object_id}", rotator).json()
    assert azure.graph("PATCH", f"/applications/{app.object_id}", rotator, json=body).status_code == 400
    assert azure.graph("GET", f"/applications/{app.object_id}", rotator).json() == before


def test_the_secrets_as_they_are_may_stand_in_a_patch(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    shown = azure.graph("GET", f"/applications/{app.object_id}", rotator).json()
    body = {"displayName": "new", "passwordCredentials": shown["passwordCredentials"]}
    assert azure.graph("PATCH", f"/applications/{app.object_id}", rotator, json=body).status_code == 204


def test_patching_takes_the_right_to_write(azure: Azure):
    owner = azure.app(OWNED_BY)
    for caller in (owner, azure.app(READ), azure.app("Directory.ReadWrite.All")):
        answer = azure.graph("PATCH", f"/applications/{azure.app().object_id}", caller, json={})
        assert (answer.status_code, code(answer)) == (403, "Authorization_RequestDenied")


def test_an_application_holds_so_much_and_no_more(azure: Azure):
    rotator, app = azure.rotator_and_workload(identifier_uris=[f"api://{number}" for number in range(1198)])
    assert azure.add(app, rotator).status_code == 200
    answer = azure.add(app, rotator)
    assert (answer.status_code, code(answer)) == (403, "Directory_ResourceSizeExceeded")
