"""addPassword is not idempotent and shows its value once: whatever is lost on the way, one credential remains."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.errors import Unavailable
from azure_rotator.domain.model import RotationState, RotatorStatus, Stage
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control
from tests.engine.world import World, refused
from tests.plugins.azure import OWNED_BY
from tests.rows import row

LOST = [
    pytest.param({"preset": "dropped", "when": "after"}, id="the connection is cut after the commit"),
    pytest.param({"preset": "unavailable-503", "when": "after"}, id="503 after the commit"),
    pytest.param({"preset": "gateway-timeout-504", "when": "after"}, id="504 after the commit"),
    pytest.param({"preset": "internal-500", "when": "after"}, id="500 after the commit"),
    pytest.param({"preset": "html-502", "when": "after"}, id="a proxy's page after the commit"),
    pytest.param({"preset": "html-200", "when": "after"}, id="a proxy's page with 200"),
    pytest.param({"preset": "truncated-json"}, id="half an answer"),
    pytest.param({"preset": "no-secret-text"}, id="an answer without the value"),
]
NEVER_MADE = [
    pytest.param({"preset": "dropped"}, id="the connection is cut before the commit"),
    pytest.param({"preset": "unavailable-503"}, id="503 before the commit"),
    pytest.param({"preset": "concurrency-409"}, id="a collision as 409"),
    pytest.param({"preset": "concurrency-503"}, id="a collision as 503"),
    pytest.param({"preset": "concurrency-400"}, id="a collision as 400"),
]


@row("F04")
@pytest.mark.parametrize("fault", LOST)
def test_a_lost_reply_leaves_exactly_one_managed_credential(world: World, control: Control, fault: dict[str, Any]):
    world.create(revoke_after="0")
    value = world.value()
    control.add_fault("graph.addPassword", app=world.workload.app_id, **fault)
    world.mark()
    world.clock.before_wait = lambda: check_valid(world, value)
    result = world.rotate()
    assert (result.version, result.status) == (2, RotatorStatus.SUCCEEDED)
    added = [key_id for name, key_id in world.writes() if name == "addPassword"]
    assert len(added) == 2, "the first, of which nobody knows the value, and the second"
    assert added[1] == result.key_id
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}
    assert world.logs_in(world.value())
    assert world.engine.reconcile().orphans == ()


def check_valid(world: World, value: str) -> None:
    assert world.value() == value
    assert world.logs_in(value)


@row("F04")
@pytest.mark.parametrize("fault", LOST[:3])
def test_the_same_at_create(world: World, control: Control, fault: dict[str, Any]):
    control.add_fault("graph.addPassword", app=world.workload.app_id, **fault)
    made = world.create()
    assert made.version == 1
    assert world.key_ids() == {world.secret_of_boot(), made.key_id}
    assert world.logs_in(world.value())


@row("F04")
@pytest.mark.parametrize("fault", LOST[:2])
def test_the_same_for_an_application_that_rotates_itself(world: World, control: Control, fault: dict[str, Any]):
    control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
    world.create(authentication_credentials="use-user-creds", api_key=world.workload.secret, revoke_after="0")
    control.add_fault("graph.addPassword", app=world.workload.app_id, **fault)
    result = world.rotate()
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


@row("F13")
@pytest.mark.parametrize("fault", NEVER_MADE)
def test_what_was_never_made_is_made_once(world: World, control: Control, fault: dict[str, Any]):
    world.create(revoke_after="0")
    control.add_fault("graph.addPassword", app=world.workload.app_id, **fault)
    world.mark()
    result = world.rotate()
    assert [name for name, _ in world.writes()] == ["addPassword", "removePassword"]
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


@row("F04")
def test_before_it_mints_again_it_looks_until_reads_agree(world: World, control: Control):
    """Graph may not list the lost secret yet; a single empty read would leave it there for ever."""
    world.create(revoke_after="0")
    control.set_behaviour(world.workload.app_id, read_lag_reads=2)
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="dropped", when="after")
    result = world.rotate()
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


@row("F04", "B-31")
def test_a_lost_secret_that_reads_show_late_is_an_orphan_for_later(world: World, control: Control):
    world.create(revoke_after="0")
    control.set_behaviour(world.workload.app_id, read_lag_seconds=600)
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="dropped", when="after")
    result = world.rotate()
    assert len(world.key_ids() - {world.secret_of_boot(), result.key_id}) >= 1
    world.clock.advance(minutes=11)
    world.engine.reconcile()
    world.clock.advance(minutes=11)
    world.engine.reconcile()
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


@row("F04")
def test_replies_lost_again_and_again_leave_one(world: World, control: Control):
    world.create(revoke_after="0")
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="dropped", when="after", times=3)
    patient = world.process(limits=Limits(foreground=timedelta(hours=1)))
    result = world.rotate(engine=patient.engine)
    assert len([name for name, _ in world.writes() if name == "addPassword"]) == 5
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


@row("F04")
def test_a_create_given_up_after_a_lost_reply_removes_it(world: World, control: Control):
    keys = world.key_ids()
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="dropped", when="after", times=None)
    hasty = world.process(limits=Limits(foreground=timedelta(seconds=30)))
    error = refused(world.create, engine=hasty.engine)
    assert (error.code, error.exit_code) == ("AzureUnavailable", 7)
    assert len([name for name, _ in world.writes() if name == "addPassword"]) == 1
    assert world.key_ids() == keys
    assert world.tables()["items"] == []


# --- the store


@row("F19")
def test_a_store_that_fails_after_the_mint_of_a_rotation(world: World):
    world.create(revoke_after="0")
    value, keys = world.value(), world.key_ids()
    world.main.store.before["store_pending"] = world.locked_store
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("StoreUnavailable", 1)
    assert world.key_ids() == keys
    assert world.value() == value
    assert world.logs_in(value)
    world.main.store.before.clear()
    result = world.rotate()
    assert (result.version, world.key_ids()) == (2, {world.secret_of_boot(), result.key_id})


@row("F19")
def test_store_and_removal_fail_together_and_the_next_run_finds_the_stamp(world: World, control: Control):
    world.create(revoke_after="0")
    keys = world.key_ids()
    world.main.store.before["store_pending"] = world.locked_store
    fault = control.add_fault("graph.removePassword", app=world.workload.app_id, preset="unavailable-503")
    assert refused(world.rotate).code == "StoreUnavailable"
    assert fault.hits == 1
    assert len(world.key_ids() - keys) == 1
    world.main.store.before.clear()
    result = world.rotate()
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


@row("F19")
@pytest.mark.parametrize("method", ["begin_minting", "record_proof", "publish", "begin_retiring", "finish_retiring"])
def test_a_store_that_fails_once_anywhere_costs_nothing(world: World, method: str):
    world.create(revoke_after="0")
    value = world.value()
    failing = [Unavailable("StoreUnavailable", "the store is full", applied="no")]

    def fail(*_: object, **__: object) -> None:
        if failing:
            raise failing.pop()

    world.main.store.before[method] = fail
    assert refused(world.rotate).code == "StoreUnavailable"
    assert world.value() in {value, world.value()}
    assert world.logs_in(world.value())
    world.main.store.before.clear()
    if method in {"begin_retiring", "finish_retiring"}:
        world.engine.reconcile()
    else:
        world.rotate()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.key_ids() == {world.secret_of_boot(), world.describe().key_id}
    assert world.logs_in(world.value())
    assert world.open_rotations() == []


@row("F16")
def test_a_worker_that_lost_its_lease_stops_before_the_next_azure_write(world: World):
    """It slept through its lease; another process has taken the operation over."""
    world.create(revoke_after="0")
    other = world.process(who="bob")
    taken: list[str] = []

    def take_over(*_: object, **__: object) -> None:
        if not taken:
            taken.append(world.open_rotations()[0].rotation_id)
            world.expire_leases()
            other.engine.runner.run(taken[0])

    world.main.directory.before["get_application"] = take_over
    world.mark()
    result = world.rotate()
    assert (result.rotation_id, result.version) == (taken[0], 2)
    assert [name for name, _ in world.writes()] == ["addPassword", "removePassword"]
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}
    assert other.notes.steps()[-1] == "retire"
    assert world.main.store.get_rotation(result.rotation_id).state is RotationState.DONE
