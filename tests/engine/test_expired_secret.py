"""A Target's secret that expired while nobody was there: one refusal an item, one command, and all goes on (F41)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.model import RotationState, Stage
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import App, MakeApplication
from tests.rows import row

OWN, OTHER, BLOBS = "/azure/own", "/prod/other", "/prod/blobs"
ON_TARGET = [ITEM, OTHER, BLOBS]


def expire(control: Control, app: App, value: str) -> None:
    known = control.verify(app.app_id, value)
    assert known is not None
    control.expire_secret(app.app_id, known.key_id, ends_in_seconds=-1)


@pytest.fixture
def stranded(world: World, control: Control, make_application: MakeApplication) -> World:
    """Three items on a Target whose secret has expired, each asked once to rotate."""
    other = make_application("other", owners=[world.rotator.app_id])
    account = control.create_account(tenant=world.rotator.info.tenant_id, operators=[world.rotator.app_id])
    world.engine.targets.update(
        {
            "subscription_id": account.subscription_id,
            "resource_group_name": account.resource_group,
            "resource_name": account.name,
        },
        name=TARGET,
    )
    world.create(revoke_after="0")
    world.create(name=OTHER, app_id=other.app_id, revoke_after="0")
    storage: dict[str, Any] = {"rotator_type": "azure-storage-account", "storage_account_key_name": "key1"}
    world.create(name=BLOBS, app_id=None, authentication_credentials=None, **storage)
    expire(control, world.rotator, world.rotator.secret)
    world.mark()
    for name in ON_TARGET:
        error = refused(world.rotate, name)
        assert (error.code, error.exit_code, error.details["aadsts"]) == ("AzureAuthFailed", 7, 7000222)
        assert "expired" in error.message
        assert f"azure-rotator target update azure --name {TARGET} --client-secret" in error.hint
    return world


def new_secret(control: Control, app: App) -> str:
    made = control.add_secret(app.app_id)
    assert made.value is not None
    return made.value


@row("F41")
def test_each_item_asks_once_and_is_parked(stranded: World):
    world = stranded
    # One refused login each, and one more before a storage key, where the account is looked at first.
    assert len(world.requests("login.token")) == len(ON_TARGET) + 1
    assert {r.state for r in world.open_rotations()} == {RotationState.FAILED}
    for name in ON_TARGET:
        item = world.describe(name).item
        assert (item.error_code, world.versions(name)) == ("AzureAuthFailed", {1: Stage.CURRENT})
        assert "expired" in (item.error_text or "")
        assert world.value(name)
    world.mark()
    for rotation in world.open_rotations():
        for _ in range(20):
            world.clock.advance(hours=6)
            world.engine.runner.run(rotation.rotation_id)
    assert world.requests() == [], "parked: nobody knocks at the door again"


@row("F41")
def test_after_one_command_everything_goes_on(stranded: World, control: Control):
    world = stranded
    operations = {rotation.rotation_id for rotation in world.open_rotations()}
    before = {name: world.value(name) for name in ON_TARGET}
    world.mark()
    world.engine.targets.update({"client_secret": new_secret(control, world.rotator)}, name=TARGET)
    assert world.requests() == [], "the command itself asks Azure nothing"
    assert {rotation.state for rotation in world.open_rotations()} == {RotationState.PLANNED}
    done = world.engine.reconcile()
    assert {facts["rotation_id"] for facts in done.rotations} == operations, "the same operations, taken up"
    for name in ON_TARGET:
        assert world.versions(name) == {1: Stage.REVOKED, 2: Stage.CURRENT}
        assert world.value(name) != before[name]
        assert world.describe(name).item.error_code is None
    assert world.logs_in(world.value())


@row("F41")
def test_a_retirement_that_waits_for_its_next_try_goes_on_at_once(world: World, control: Control):
    world.create(revoke_after="1h")
    world.rotate()
    old = world.version(1).key_id
    world.clock.advance(hours=1)
    expire(control, world.rotator, world.rotator.secret)
    for _ in range(8):
        world.engine.reconcile()
        world.clock.advance(hours=2)
    assert old in world.key_ids()
    world.engine.targets.update({"client_secret": new_secret(control, world.rotator)}, name=TARGET)
    world.engine.reconcile()
    assert old not in world.key_ids()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}


@row("F41")
def test_the_targets_own_item_goes_on_with_the_secret_given_by_hand(world: World, control: Control):
    given: dict[str, Any] = {"name": OWN, "rotator_type": "target", "app_id": None, "authentication_credentials": None}
    world.create(**given, revoke_after="0")
    expire(control, world.rotator, world.rotator.secret)
    error = refused(world.rotate, OWN)
    assert (error.code, error.details["aadsts"]) == ("AzureAuthFailed", 7000222)
    assert TARGET in error.hint
    by_hand = new_secret(control, world.rotator)
    world.engine.targets.update({"client_secret": by_hand}, name=TARGET)
    world.engine.reconcile()
    assert world.logs_in(world.value(OWN), world.rotator)
    world.rotate(OWN)
    world.create()
    assert world.logs_in(world.value(OWN), world.rotator)
    assert world.logs_in(world.value())


@row("F41")
def test_an_application_whose_own_secret_expired_is_told_the_ways_out(world: World, control: Control):
    control.update_application(world.workload.app_id, roles=["Application.ReadWrite.OwnedBy"])
    known = control.verify(world.workload.app_id, world.workload.secret)
    assert known is not None
    own: dict[str, Any] = {"authentication_credentials": "use-user-creds", "api_key": world.workload.secret}
    world.create(**own, api_id=known.key_id, skip_dry_run=True)
    expire(control, world.workload, world.workload.secret)
    error = refused(world.rotate)
    assert (error.code, error.details["aadsts"]) == ("AzureAuthFailed", 7000222)
    assert f"rotated-secret update azure --name {ITEM} --api-id" in error.hint
    assert "use-target-creds" in error.hint
    world.engine.secrets.update({"authentication_credentials": "use-target-creds"}, name=ITEM)
    control.update_application(world.workload.app_id, owners=[world.rotator.app_id])
    world.engine.reconcile()
    assert world.versions()[2] is Stage.CURRENT
    assert world.describe().item.error_code is None


@row("F41")
@pytest.mark.parametrize("change", [{"description": "the same as before"}, {"delete_protection": True}])
def test_a_change_that_helps_nobody_wakes_nobody(stranded: World, change: dict[str, Any]):
    world = stranded
    world.engine.targets.update(change, name=TARGET)
    for name in ON_TARGET:
        world.engine.secrets.update(change, name=name)
    world.mark()
    world.clock.advance(hours=1)
    assert {rotation.state for rotation in world.open_rotations()} == {RotationState.FAILED}
    assert world.requests() == []
    assert world.clock.now() - world.open_rotations()[0].created_at >= timedelta(hours=1)
