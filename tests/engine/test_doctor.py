"""Doctor: what keeps, or will keep, rotations from working; each check alone, with its fix, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from azure_rotator.domain.findings import Finding, Outcome
from azure_rotator.domain.grants import KEY_OPERATOR, PASSWORDS
from azure_sandbox.testing import AccountInfo, UserInfo
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import OWNED_BY, App, MakeApplication
from tests.rows import row

READER = [OWNED_BY, "Application.Read.All", "Policy.Read.All"]
DAY_SECONDS = 86_400.0


def findings(world: World, subject: str) -> dict[str, Finding]:
    """By check; nothing is changed by looking."""
    before = world.tables(without=["audit"])
    found = world.engine.doctor()
    assert world.tables(without=["audit"]) == before
    assert all(one.fix and one.code for one in found if one.outcome is Outcome.FAILED)
    assert all(one.fix for one in found if one.outcome is Outcome.WARNING)
    return {one.check: one for one in found if one.subject.endswith(f'"{subject}"')}


def troubles(world: World, subject: str = ITEM) -> dict[str, tuple[str, str]]:
    """What is not well, by check: outcome and code."""
    return {
        check: (one.outcome.value, one.code)
        for check, one in findings(world, subject).items()
        if one.outcome is not Outcome.OK
    }


def test_what_the_least_grants_may_not_read_is_unknown_and_no_failure(world: World):
    world.create()
    assert troubles(world) == {"policy": ("unknown", "")}
    assert "Policy.Read.All" in findings(world, ITEM)["policy"].fix
    assert troubles(world, TARGET) == {}
    world.mark()
    world.engine.doctor()
    assert {entry.operation for entry in world.requests()} == {
        "login.token",
        "graph.getApplication",
        "graph.getServicePrincipal",
        "graph.listApplicationOwners",
        "graph.listAppManagementPolicies",
    }


def test_only_the_target_that_was_asked_for(world: World):
    world.create()
    world.create_target("/azure/other")
    assert {one.subject for one in world.engine.doctor(target="azure/other")} == {'Target "/azure/other"'}
    assert refused(world.engine.doctor, target="nowhere").code == "TargetNotFound"


# --- the Target


def test_a_target_that_cannot_log_in_hides_nothing_of_the_others(world: World):
    world.create()
    world.create_target("/azure/wrong", client_secret="Wro8Q~ng-for-ever")
    assert troubles(world, "/azure/wrong") == {"login": ("failed", "AzureAuthFailed")}
    assert "AADSTS7000215" in findings(world, "/azure/wrong")["login"].message
    assert "credential" in findings(world, ITEM)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, {}),
        (120, {"clock": ("warning", "")}),
        pytest.param(-120, {"clock": ("warning", "")}, marks=pytest.mark.full),
        pytest.param(1_800, {"clock": ("failed", "AzureUnavailable")}, marks=pytest.mark.full),
        (-1_800, {"clock": ("failed", "AzureUnavailable")}),
    ],
)
@row("F10")
def test_a_clock_that_is_off_is_measured_and_no_mint_minds(
    empty_world: World, make_application: MakeApplication, seconds: int, expected: Any
):
    world = empty_world
    world.control.advance(seconds)  # Azure's alone; what is made from here on is not from the future there
    world.rotator = make_application("acting", roles=[OWNED_BY], owners=["self"])
    world.workload = make_application("acted on", owners=[world.rotator.app_id])
    world.create_target()
    world.create(revoke_after="0")
    found = findings(world, TARGET)["clock"]
    assert troubles(world, TARGET) == expected
    assert not expected or ("behind" if seconds > 0 else "ahead of") in found.message
    assert not expected or "NTP" in found.fix
    result = world.rotate()
    assert (result.version, result.status) == (2, "RotationSucceeded")
    assert result.key_id is not None
    made = world.secret_of(result.key_id)
    began_at = datetime.fromisoformat(made.starts_at)
    assert abs((began_at - world.control.now()).total_seconds()) < 60, "Entra's own clock says when it begins"


def test_the_end_of_the_targets_own_secret_is_told_in_time(world: World):
    assert troubles(world, TARGET) == {}
    boot = next(s for s in world.control.secrets(world.rotator.app_id) if s.display_name == "boot")
    world.control.expire_secret(world.rotator.app_id, boot.key_id, ends_in_seconds=3 * DAY_SECONDS)
    found = findings(world, TARGET)["own secret's end"]
    assert (found.outcome, boot.key_id in found.message) == (Outcome.WARNING, True)
    assert "--rotator-type target" in found.fix
    world.create(rotator_type="target", app_id=None, authentication_credentials=None, name="/azure/own")
    assert troubles(world, TARGET) == {}


def test_which_secret_is_the_targets_own_may_not_be_clear(world: World):
    world.control.add_secret(world.rotator.app_id, value=world.rotator.secret[:3] + "another-one-of-that-beginning")
    assert troubles(world, TARGET) == {"own secret's end": ("unknown", "")}


def test_an_item_whose_target_is_gone_is_told(world: World):
    world.create()
    world.engine.targets.delete(name=TARGET, force=True)
    assert troubles(world) == {"target": ("failed", "TargetNotFound")}


# --- client secrets


def without_grants(world: World) -> None:
    world.control.update_application(world.rotator.app_id, roles=[])


def without_owner(world: World) -> None:
    world.control.update_application(world.workload.app_id, owners=[])


def without_application(world: World) -> None:
    world.control.delete_application(world.workload.app_id)


def disabled(world: World) -> None:
    world.control.update_application(world.workload.app_id, enabled=False)


def current_key(world: World) -> str:
    key_id = world.describe().key_id
    assert key_id is not None
    return key_id


def without_secret(world: World) -> None:
    world.control.remove_secret(world.workload.app_id, current_key(world))


def expired(world: World) -> None:
    world.control.expire_secret(world.workload.app_id, current_key(world))
    world.clock.advance(minutes=1)  # the sandbox's clock goes on by itself as well


def ending(world: World) -> None:
    world.control.expire_secret(world.workload.app_id, current_key(world), ends_in_seconds=3 * DAY_SECONDS)


def crowded(world: World) -> None:
    world.control.update_application(world.workload.app_id, audience="AzureADandPersonalMicrosoftAccount")


def unreadable(world: World) -> None:
    world.control.add_fault("graph.getServicePrincipal", app=world.workload.app_id, preset="denied", times=None)


def silent(world: World) -> None:
    world.control.add_fault("graph.getApplication", app=world.workload.app_id, preset="unavailable-503", times=None)


@pytest.mark.parametrize(
    ("change", "expected", "fix"),
    [
        (without_grants, {"grant": ("failed", "AzurePermissionMissing")}, OWNED_BY),
        (without_owner, {"ownership": ("failed", "AzurePermissionMissing")}, "an owner"),
        (without_application, {"application": ("failed", "ApplicationNotFound")}, "application (client) id"),
        (disabled, {"service principal": ("failed", "AzureAuthFailed")}, "az ad sp update --id"),
        (without_secret, {"credential": ("failed", "CredentialNotFound")}, f"rotate-secret --name {ITEM}"),
        (expired, {"credential": ("failed", "AzureAuthFailed")}, f"rotate-secret --name {ITEM}"),
        (ending, {"credential": ("warning", "")}, f"rotate-secret --name {ITEM}"),
        (crowded, {"room": ("warning", "CredentialLimitReached")}, "azure-rotator inventory"),
        (unreadable, {"service principal": ("unknown", "AzurePermissionMissing")}, OWNED_BY),
        (silent, {"application": ("failed", "AzureUnavailable")}, "tried again"),
    ],
)
def test_each_thing_that_a_client_secret_needs(world: World, change: Callable[[World], None], expected: Any, fix: str):
    world.create()
    change(world)
    found = troubles(world)
    found.pop("policy", None)
    assert found == expected
    (check,) = expected
    assert fix in findings(world, ITEM)[check].fix


def test_an_application_that_is_nearly_full_is_told_before_a_rotation_meets_it(
    world: World, make_application: MakeApplication
):
    many = [{"name": f"by hand {number}"} for number in range(480)]
    app = make_application("many", owners=[world.rotator.app_id], secrets=many)
    world.create(app_id=app.app_id)
    found = findings(world, ITEM)["room"]
    assert (found.outcome, found.code) == (Outcome.WARNING, "CredentialLimitReached")
    assert "481 client secrets" in found.message
    assert f"inventory --target {TARGET} --app-id {app.app_id}" in found.fix


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"max_lifetime": "P365D"}, {}),
        ({"max_lifetime": "P90D"}, {}),
        ({"max_lifetime": "P30D"}, {"policy": ("failed", "LifetimeNotAllowed")}),
        ({"forbid_passwords": True}, {"policy": ("failed", "CredentialTypeNotAllowed")}),
    ],
    ids=str,
)
def test_what_the_tenants_policy_says_where_it_may_be_read(world: World, policy: dict[str, Any], expected: Any):
    world.create(auto_rotate=True, rotation_interval=60)
    world.control.update_application(world.rotator.app_id, roles=READER)
    world.control.update_application(world.workload.app_id, policy=policy)
    assert troubles(world) == expected


def test_a_rotation_that_failed_and_one_that_is_overdue(world: World):
    world.create(auto_rotate=True, rotation_interval=30)
    world.clock.advance(days=31)
    assert troubles(world)["last rotation"] == ("warning", "")
    without_owner(world)
    refused(world.rotate)
    assert troubles(world)["last rotation"] == ("failed", "AzurePermissionMissing")


def test_an_item_that_is_switched_off_is_left_alone(world: World):
    world.create()
    world.engine.secrets.set_state(name=ITEM, enabled=False)
    without_owner(world)
    assert set(findings(world, ITEM)) == {"state"}


def test_an_application_that_rotates_itself_is_pointed_to_the_target(world: World):
    app_id = world.workload.app_id
    world.control.update_application(app_id, roles=[OWNED_BY], owners=[world.workload.info.service_principal_id])
    world.create(authentication_credentials="use-user-creds", api_key=world.workload.secret)
    world.control.update_application(world.workload.app_id, roles=[])
    assert troubles(world) == {"grant": ("failed", "AzurePermissionMissing")}
    assert "use-target-creds" in findings(world, ITEM)["grant"].fix


# --- storage keys


STORE = "/prod/blobs"


@pytest.fixture
def account(world: World) -> AccountInfo:
    """What the world's Target names, with the least role."""
    info = world.control.create_account(tenant=world.rotator.info.tenant_id, operators=[world.rotator.app_id])
    where = {"resource_group_name": info.resource_group, "resource_name": info.name}
    world.engine.targets.update({"subscription_id": info.subscription_id, **where}, name=TARGET)
    return info


def store(world: World, **changes: Any) -> None:
    given = {"rotator_type": "azure-storage-account", "storage_account_key_name": "key1", "name": STORE}
    world.create(**(given | {"app_id": None, "authentication_credentials": None} | changes))


def may_read(world: World, account: AccountInfo) -> None:
    world.control.grant(world.rotator.app_id, "Reader", account.resource_id)


def test_the_role_that_operates_keys_reads_no_account(world: World, account: AccountInfo):
    store(world)
    assert troubles(world, STORE) == {"account": ("unknown", "")}
    assert '"Reader"' in findings(world, STORE)["account"].fix


@pytest.mark.parametrize("reader", [True, False])
def test_a_lock_is_named_with_the_command_that_removes_it(world: World, account: AccountInfo, reader: bool):
    store(world)
    world.control.lock(account.resource_id, name="keep out")
    world.control.lock(account.resource_id, "CanNotDelete", name="harmless")
    if reader:
        may_read(world, account)
    found = findings(world, STORE)["locks"]
    assert (found.outcome, found.code) == (Outcome.FAILED, "ResourceLocked")
    assert ("az lock delete --ids" in found.fix, "keep out" in found.fix) == (reader, reader)
    assert "harmless" not in found.fix
    assert "CanNotDelete" in found.fix


def test_the_role_that_is_missing_is_named(world: World, account: AccountInfo):
    store(world)
    may_read(world, account)
    world.control.revoke(world.rotator.app_id, KEY_OPERATOR, account.resource_id)
    found = findings(world, STORE)["keys"]
    assert (found.outcome, found.code) == (Outcome.FAILED, "AzurePermissionMissing")
    assert KEY_OPERATOR in found.fix


def test_a_key_that_somebody_else_regenerated_is_told(world: World, account: AccountInfo):
    store(world)
    world.control.regenerate_key(account.name, "key1")
    assert troubles(world, STORE)["credential"] == ("failed", "AzureAuthFailed")
    assert "azure-rotator reconcile" in findings(world, STORE)["credential"].fix


@row("F46")
def test_an_account_without_shared_key_access(world: World, account: AccountInfo):
    may_read(world, account)
    store(world)
    world.control.update_account(account.name, allow_shared_key=False)
    assert troubles(world, STORE) == {"shared key access": ("warning", "")}
    found = findings(world, STORE)["shared key access"]
    assert "Function App" in found.message
    assert "--allow-shared-key-access true" in found.fix


PAIR = {"storage_key_mode": "alternate", "storage_account_key_name": None}
MONTHLY = {"auto_rotate": True, "rotation_interval": 30}


@row("F44")
@pytest.mark.parametrize(
    ("item", "period", "outcome", "says"),
    [
        ({}, None, Outcome.WARNING, "no policy"),
        ({}, "1.00:00:00", Outcome.WARNING, "up to 1 day"),
        (PAIR, "1.00:00:00", Outcome.WARNING, "up to 1 day"),
        (PAIR | MONTHLY, None, Outcome.WARNING, "no policy"),
        (PAIR | MONTHLY, "45.00:00:00", Outcome.WARNING, "45 days"),
        (PAIR | MONTHLY, "30.00:00:00", Outcome.OK, "30 days"),
        (PAIR | MONTHLY, "12:30:00", Outcome.OK, "12:30:00"),
    ],
)
def test_how_long_shared_access_signatures_outlive_their_key(
    world: World, account: AccountInfo, item: Any, period: str | None, outcome: Outcome, says: str
):
    may_read(world, account)
    if period is not None:
        world.control.update_account(account.name, sas_period=period)
    store(world, **item)
    found = findings(world, STORE)["shared access signatures"]
    assert found.outcome is outcome
    assert says in found.message


@row("F47")
@pytest.mark.parametrize(("service", "expected"), [("AADDS", ("warning", "")), ("AADKERB", ("warning", ""))])
def test_a_kerberos_key_is_its_directorys_business(world: World, service: str, expected: Any):
    info = world.control.create_account(
        tenant=world.rotator.info.tenant_id, operators=[world.rotator.app_id], directory_service="AADDS"
    )
    where = {"resource_group_name": info.resource_group, "resource_name": info.name}
    world.engine.targets.update({"subscription_id": info.subscription_id, **where}, name=TARGET)
    may_read(world, info)
    store(world, storage_account_key_name="kerb1")
    world.control.update_account(info.name, directory_service=service)
    assert troubles(world, STORE) == {"directory": expected}
    world.control.update_account(info.name, directory_service="None")
    assert troubles(world, STORE) == {"directory": ("failed", "StorageKeyMissing")}


# --- passwords


ROBOT, PEOPLE = "/prod/robot", "/azure/people"


class Office:
    """A user and the application that sets, or on his behalf changes, his password."""

    def __init__(self, world: World, client: App, user: UserInfo) -> None:
        self.world, self.client, self.user = world, client, user

    def employ(self, **changes: Any) -> None:
        given = {"rotator_type": "password", "name": ROBOT, "target_name": PEOPLE, "app_id": None}
        password = {"username": self.user.upn, "password": self.user.password}
        self.world.create(**(given | password | changes))

    def may_read(self) -> None:
        self.world.control.update_application(self.client.app_id, roles=[PASSWORDS, "Directory.Read.All"])

    def change(self, **changes: Any) -> None:
        self.world.control.update_user(self.user.object_id, **changes)


@pytest.fixture
def office(world: World, make_application: MakeApplication) -> Office:
    client = make_application("people", roles=[PASSWORDS], delegated=[PASSWORDS])
    world.create_target(PEOPLE, client_id=client.app_id, client_secret=client.secret)
    return Office(world, client, world.control.create_user(tenant=world.rotator.info.tenant_id))


def test_the_least_permission_reads_no_user(office: Office):
    office.employ()
    unread = ("unknown", "")
    assert troubles(office.world, ROBOT) == {"mastered in Entra": unread, "administrator": unread}
    office.may_read()
    assert troubles(office.world, ROBOT) == {}


@pytest.mark.parametrize(
    ("changes", "expected", "fix"),
    [
        ({"synchronised": True}, {"mastered in Entra": ("failed", "AzureRefused")}, "mastered"),
        ({"federated": True}, {"domain": ("failed", "AzureRefused")}, "onmicrosoft.com"),
        (
            {"roles": ["User Administrator"]},
            {"administrator": ("warning", "AzurePermissionMissing")},
            "Privileged Authentication Administrator",
        ),
    ],
)
def test_each_thing_that_a_users_password_needs(office: Office, changes: dict[str, Any], expected: Any, fix: str):
    office.employ()
    office.may_read()
    office.change(**changes)
    assert troubles(office.world, ROBOT) == expected
    (check,) = expected
    assert fix in findings(office.world, ROBOT)[check].fix


def test_the_permission_to_set_passwords_is_missing(office: Office):
    office.employ()
    office.world.control.update_application(office.client.app_id, roles=["Directory.Read.All"])
    assert troubles(office.world, ROBOT) == {"grant": ("failed", "AzurePermissionMissing")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"mfa": True}, {"sign-in": ("failed", "AzureAuthFailed")}),
        ({"password": "Some-Body-Else-Set-1t"}, {"sign-in": ("failed", "AzureAuthFailed")}),
    ],
    ids=str,
)
def test_a_user_who_changes_his_own_password_signs_in(office: Office, changes: dict[str, Any], expected: Any):
    office.employ(authentication_credentials="use-user-creds")
    office.change(**changes)
    found = troubles(office.world, ROBOT)
    found.pop("mastered in Entra")
    assert found == expected
