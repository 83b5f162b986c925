"""Targets: where and as whom to work. No Azure call is made but in ``test``."""

from __future__ import annotations

from typing import Any

import pytest

from azure_rotator.domain.findings import Outcome
from azure_rotator.domain.grants import KEY_OPERATOR, PASSWORDS
from azure_rotator.domain.model import RotatorType
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, TARGET, WRITES, World, refused
from tests.plugins.azure import OWNED_BY, MakeApplication
from tests.rows import row

ABSENT = "99999999-9999-4999-8999-999999999999"


def update(world: World, **changes: Any):
    return world.engine.targets.update(changes, name=TARGET)


def test_a_target_is_stored_without_a_call_to_azure(empty_world: World):
    world = empty_world
    world.create_target(description="production", delete_protection="true")
    view = world.engine.targets.get(name=TARGET)
    facts = view.facts()
    assert (facts["target_name"], facts["azure_client_id"], facts["last_version"]) == (TARGET, world.rotator.app_id, 1)
    assert (facts["description"], facts["delete_protection"]) == ("production", True)
    assert world.rotator.secret not in repr(view) + repr(facts) + repr(view.arguments())
    assert world.requests() == []
    assert [line.action for line in world.audit()] == ["create_target"]
    assert [one.target.name for one in world.engine.targets.list_all()] == [TARGET]


@row("AK-04")
def test_every_missing_field_is_told_at_once(empty_world: World):
    error = refused(empty_world.engine.targets.create, {"name": TARGET})
    assert (error.code, error.exit_code) == ("ParameterMissing", 2)
    problems: Any = error.details["problems"]
    assert [one["property"] for one in problems] == ["tenant_id", "client_id", "client_secret"]


@row("AK-15")
@pytest.mark.parametrize("name", [TARGET, TARGET.removeprefix("/")])
def test_a_taken_name_is_refused(world: World, name: str):
    before = world.tables()
    assert refused(world.create_target, name).code == "NameConflict"
    assert world.tables() == before


def test_the_same_owner_gets_its_target_back_in_line_with_the_arguments(empty_world: World):
    world = empty_world
    given = {
        "name": TARGET,
        "tenant_id": world.rotator.info.tenant_id,
        "client_id": world.rotator.app_id,
        "client_secret": world.rotator.secret,
    }
    first = world.engine.targets.create(given | {"description": "old"}, owner="shop/prod/contoso")
    again = world.engine.targets.create(given | {"description": "new"}, owner="shop/prod/contoso")
    assert (again.target.target_id, again.target.description) == (first.target.target_id, "new")
    for owner in ("", "shop/prod/other"):
        assert refused(world.engine.targets.create, given, owner=owner).code == "NameConflict"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"description": "new"}, {"description": "new"}),
        ({"description": None}, {"description": ""}),
        ({"delete_protection": True}, {"delete_protection": True}),
        ({"name": "azure/renamed"}, {"name": "/azure/renamed"}),
        ({"client_id": ABSENT.upper()}, {"client_id": ABSENT}),
        ({}, {}),
    ],
)
def test_what_is_omitted_stays_and_none_resets(world: World, changes: dict[str, Any], expected: dict[str, Any]):
    update(world, description="old")
    before = world.engine.targets.get(name=TARGET)
    after = update(world, **changes)
    assert after.arguments() == before.arguments() | expected
    assert after.target.target_id == before.target.target_id
    assert after.target.version == 1, "the secret was not given anew"
    assert world.requests() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_secret": ABSENT}, "IdentifierMixedUp"),
        ({"client_secret": ""}, "ParameterMissing"),
        ({"client_secret": "env:NOT_SET_ANYWHERE"}, "ReferenceUnresolved"),
        ({"tenant_id": None}, "ParameterMissing"),
        ({"connection_type": "cloud-identity", "client_secret": "x"}, "ParameterIrrelevant"),
        ({"name": "a b"}, "NameInvalid"),
    ],
)
def test_what_is_refused_changes_nothing(world: World, changes: dict[str, Any], code: str):
    before = world.tables()
    assert refused(update, world, **changes).code == code
    assert world.tables() == before


def test_a_rename_keeps_the_items(world: World):
    world.create()
    update(world, name="/azure/renamed")
    assert world.describe().target_name == "/azure/renamed"
    assert world.rotate().version == 2


def test_the_tenant_of_a_target_in_use_stays(world: World):
    world.create()
    error = refused(update, world, tenant_id=ABSENT)
    assert (error.code, error.exit_code) == ("TargetInUse", 5)
    assert ITEM in str(error)
    world.engine.secrets.delete(name=ITEM)
    assert update(world, tenant_id=ABSENT).target.tenant_id == ABSENT


@row("AK-18")
def test_a_target_in_use_is_kept(world: World):
    world.create()
    assert world.engine.targets.get(name=TARGET).items == (ITEM,)
    error = refused(world.engine.targets.delete, name=TARGET)
    assert (error.code, error.exit_code, error.details["items"]) == ("TargetInUse", 5, [ITEM])
    assert world.rotate().version == 2
    world.engine.secrets.delete(name=ITEM)
    world.engine.targets.delete(name=TARGET)
    assert refused(world.engine.targets.get, name=TARGET).code == "TargetNotFound"
    assert world.engine.targets.list_all() == []


@row("AK-53")
def test_a_protected_target_is_kept_until_the_protection_is_switched_off(world: World):
    update(world, delete_protection=True)
    error = refused(world.engine.targets.delete, name=TARGET)
    assert (error.code, error.exit_code) == ("DeleteProtected", 5)
    update(world, delete_protection=False)
    world.engine.targets.delete(name=TARGET)


def test_a_deleted_target_leaves_its_name_and_no_secret(world: World):
    world.engine.targets.delete(name=TARGET)
    columns = world.tables()["targets"][0]
    assert not any(isinstance(column, bytes) for column in columns)
    second = world.create_target()
    assert world.engine.targets.get(name=TARGET).target.target_id == second
    assert world.create().version == 1


def test_a_new_secret_is_used_from_the_next_login_on(world: World, control: Control):
    world.create(revoke_after="0")
    made = control.request("POST", f"/applications/{world.rotator.app_id}/secrets", {})
    assert update(world, client_secret=made["value"]).target.version == 2
    world.mark()
    world.rotate()
    assert set(world.logins()[world.rotator.app_id]) == {made["key_id"]}


@pytest.mark.parametrize("kind", ["env", "file"])
def test_a_reference_is_kept_as_such_and_read_at_each_use(
    world: World, control: Control, kind: str, monkeypatch: pytest.MonkeyPatch
):
    file = world.folder / "secret"

    def give(value: str) -> None:
        monkeypatch.setenv("ROTATOR_SECRET", value)
        file.write_text(value + "\n")

    give(world.rotator.secret)
    update(world, client_secret="env:ROTATOR_SECRET" if kind == "env" else f"file:{file}")
    assert not any(isinstance(column, bytes) for column in world.tables()["targets"][0])
    world.create(revoke_after="0")
    made = control.request("POST", f"/applications/{world.rotator.app_id}/secrets", {})
    give(made["value"])
    world.mark()
    world.rotate()
    assert set(world.logins()[world.rotator.app_id]) == {made["key_id"]}


def test_a_switch_to_a_cloud_identity_and_back_asks_for_a_secret(world: World):
    view = update(world, connection_type="cloud-identity")
    assert (view.target.version, view.target.sealed_secret) == (0, None)
    error = refused(update, world, connection_type="credentials")
    assert (error.code, error.details["property"]) == ("ParameterMissing", "client_secret")
    update(world, connection_type="credentials", client_secret=world.rotator.secret)
    assert world.create().version == 1


# --- test


def needs_of(world: World, name: str = TARGET, **more: Any) -> dict[str, tuple[str, str]]:
    """Outcome and code by need."""
    found = world.engine.targets.test(name=name, **more)
    assert all(one.fix for one in found if one.outcome is Outcome.FAILED), "each with its fix"
    return {one.check: (one.outcome.value, one.code) for one in found}


OK, MISSING, UNNEEDED = ("ok", ""), ("failed", "AzurePermissionMissing"), ("warning", "AzurePermissionMissing")


@row("AK-05")
@pytest.mark.parametrize(
    ("roles", "owners", "expected"),
    [
        pytest.param([OWNED_BY], ["self"], (OK, OK, UNNEEDED), id="owner of itself"),
        pytest.param([OWNED_BY], [], (OK, UNNEEDED, UNNEEDED), id="not of itself"),
        pytest.param(["Application.ReadWrite.All"], [], (OK, OK, UNNEEDED), id="all applications"),
        pytest.param([PASSWORDS], [], (UNNEEDED, UNNEEDED, OK), id="passwords"),
        pytest.param(["User.ReadWrite.All"], [], (MISSING, MISSING, MISSING), id="not enough for passwords"),
        pytest.param([], [], (MISSING, MISSING, MISSING), id="nothing"),
    ],
)
def test_a_target_is_tested_need_by_need(
    empty_world: World, make_application: MakeApplication, roles: list[str], owners: list[str], expected: Any
):
    world = empty_world
    acting = make_application("acting", roles=roles, owners=owners)
    world.create_target(client_id=acting.app_id, client_secret=acting.secret)
    found = needs_of(world)
    assert found.pop("login") == OK
    assert found.pop("storage keys") == ("unknown", "TargetIncomplete")
    assert (found["application secrets"], found["own secret"], found["passwords"]) == expected
    assert world.requests(*WRITES) == []


@row("AK-05")
@pytest.mark.parametrize("operator", [True, False])
def test_the_role_on_storage_keys_is_tried_on_the_account(world: World, operator: bool):
    operators = [world.rotator.app_id] if operator else []
    info = world.control.create_account(tenant=world.rotator.info.tenant_id, operators=operators)
    where = {"resource_group_name": info.resource_group, "resource_name": info.name}
    update(world, subscription_id=info.subscription_id, **where)
    if not operator:  # else nobody of the tenant has anything in the subscription
        world.control.grant(world.rotator.app_id, "Reader", info.resource_id)
    assert needs_of(world)["storage keys"] == (OK if operator else UNNEEDED)
    found = {one.check: one for one in world.engine.targets.test(name=TARGET)}["storage keys"]
    assert operator or KEY_OPERATOR in found.fix
    assert not any(value in repr(found) for value in info.keys.values())


@row("AK-05")
def test_what_an_item_or_who_asks_needs_must_be_met(world: World):
    assert needs_of(world)["passwords"] == UNNEEDED
    assert needs_of(world, wanted=[RotatorType.PASSWORD])["passwords"] == MISSING
    world.create()
    assert needs_of(world)["application secrets"] == OK
    world.control.update_application(world.rotator.app_id, roles=[PASSWORDS])
    found = needs_of(world)
    assert (found["application secrets"], found["passwords"]) == (MISSING, OK)


@row("AK-05")
def test_a_wrong_secret_is_told_with_its_number_and_never_shown(world: World):
    wrong = "Wro8Q~ng-from-the-start-and-for-ever-wrong"
    update(world, client_secret=wrong)
    error = refused(world.engine.targets.test, name=TARGET)
    assert (error.code, error.exit_code, error.details["aadsts"]) == ("AzureAuthFailed", 7, 7000215)
    assert "AADSTS7000215" in str(error)
    assert wrong not in repr(error) + str(error) + error.hint + repr(error.details)
