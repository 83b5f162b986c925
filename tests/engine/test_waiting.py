"""Throttling and outages: what is waited for, what is left to later, what is parked, and how it is taken up again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.backoff import MAX_ATTEMPTS
from azure_rotator.domain.model import RotationState, RotatorStatus, Stage
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import OWNED_BY
from tests.rows import row

OTHER = "/prod/other"


def throttle(world: World, control: Control, seconds: float, operation: str = "graph.addPassword", **spec: Any) -> None:
    headers = {"Retry-After": str(seconds)}
    control.add_fault(operation, app=world.workload.app_id, preset="throttled", headers=headers, **spec)


# --- Retry-After


@pytest.mark.parametrize(
    ("retry_after", "at_least", "at_most"),
    [
        pytest.param(120, 120, 120, id="as long as asked"),
        pytest.param(5, 60, 66, id="not shorter than the first back-off"),
        pytest.param(90.5, 91, 91, id="a fraction of a second counts as one"),
    ],
)
def test_a_pause_is_waited_for_in_the_foreground_and_said(
    world: World, control: Control, retry_after: float, at_least: int, at_most: int
):
    world.create(revoke_after="0")
    throttle(world, control, retry_after)
    world.mark()
    world.clock.waits.clear()
    result = world.rotate()
    (waited,) = world.clock.waits
    assert at_least <= waited <= at_most
    assert result.version == 2
    assert [name for name, _ in world.writes()] == ["addPassword", "removePassword"]
    assert len(world.requests("graph.addPassword")) == 2
    assert "limits the rate" in world.notes.said[0]
    assert "next attempt at" in world.notes.said[0]


def test_a_pause_beyond_the_limit_leaves_the_rotation_to_later(world: World, control: Control):
    world.create(revoke_after="0")
    value = world.value()
    throttle(world, control, 3_600)
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("AzureThrottled", 7)
    left = world.open_rotations()[0]
    assert (left.state, left.rotation_id) == (RotationState.MINTING, error.details["rotation_id"])
    assert left.next_attempt_at == world.clock.now() + timedelta(hours=1)
    assert str(error.details["next_attempt_at"]) in str(error)
    assert world.describe().next_attempt_at == left.next_attempt_at
    assert world.value() == value
    item = world.describe().item
    assert (item.rotator_status, item.error_code) == (RotatorStatus.FAILED, "AzureThrottled")
    assert world.engine.reconcile().rotations[0]["state_after"] == "minting"
    world.clock.advance(hours=1)
    world.engine.reconcile()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.describe().item.error_code is None


def test_asking_again_before_the_pause_is_over_asks_azure_nothing(world: World, control: Control):
    world.create()
    throttle(world, control, 3_600)
    hasty = world.process(limits=Limits(foreground=timedelta(seconds=30)))
    first = refused(world.rotate, engine=hasty.engine)
    world.mark()
    again = refused(world.rotate, engine=hasty.engine)
    assert (again.code, again.details["rotation_id"]) == (first.code, first.details["rotation_id"])
    assert world.requests() == []


def test_a_pause_beyond_the_limit_undoes_a_create(world: World, control: Control):
    keys = world.key_ids()
    throttle(world, control, 3_600)
    error = refused(world.create)
    assert (error.code, error.exit_code) == ("AzureThrottled", 7)
    assert "undone" in str(error)
    assert world.tables()["items"] == world.tables()["versions"] == []
    assert world.open_rotations() == []
    assert world.key_ids() == keys
    assert world.engine.targets.delete(name=TARGET).items == ()


def test_a_pause_beyond_the_limit_calls_a_delete_off(world: World, control: Control):
    world.create()
    value = world.value()
    throttle(world, control, 3_600, "graph.getApplication")
    error = refused(world.engine.secrets.delete, name=ITEM)
    assert (error.code, error.exit_code) == ("AzureThrottled", 7)
    assert "not deleted" in str(error)
    assert world.value() == value
    assert world.logs_in(value)
    world.clock.advance(hours=1)
    world.engine.secrets.delete(name=ITEM)
    assert world.key_ids() == {world.secret_of_boot()}


@row("F14")
def test_a_create_that_meets_a_pause_of_its_lane_is_undone_too(world: World, control: Control):
    world.create(revoke_after="0")
    throttle(world, control, 3_600)
    refused(world.rotate)
    hasty = world.process(limits=Limits(foreground=timedelta(seconds=30)))
    error = refused(world.create, name=OTHER, skip_dry_run=True, engine=hasty.engine)
    assert (error.code, error.exit_code) == ("AzureThrottled", 7)
    assert "undone" in str(error)
    assert [view.item.name for view in world.engine.secrets.list_all()] == [ITEM]
    assert len(world.tables()["items"]) == 1
    world.clock.advance(hours=1)
    world.engine.reconcile()
    assert [view.item.name for view in world.engine.secrets.list_all()] == [ITEM]


def test_a_lane_that_another_process_holds_is_waited_for(world: World):
    world.create(revoke_after="0")
    other = world.process(who="bob")
    hasty = world.process(limits=Limits(foreground=timedelta(seconds=30)))
    lane = world.main.store.lanes()[0]
    held = other.store.claim_lane(lane, "bob's worker", world.clock.now())
    assert held is not None
    error = refused(world.rotate, engine=hasty.engine)
    assert (error.code, error.exit_code) == ("ItemLocked", 5)
    assert sum(world.clock.waits) == 30
    other.store.release(held)
    assert world.rotate().version == 2


# --- back-off


def test_an_outage_is_retried_after_one_two_and_four_minutes(world: World, control: Control):
    world.create(revoke_after="0")
    control.add_fault("graph.getApplication", app=world.workload.app_id, preset="unavailable-503", times=3)
    world.clock.waits.clear()
    result = world.rotate()
    assert result.version == 2
    assert [round(wait / 60) for wait in world.clock.waits] == [1, 2, 4]
    assert all(60 * 2**n <= wait <= 66 * 2**n for n, wait in enumerate(world.clock.waits))


@row("F62")
def test_when_its_retries_are_exhausted_it_is_parked_with_one_event_and_resumed_by_one_command(
    world: World, control: Control
):
    world.create(revoke_after="0")
    value = world.value()
    fault = control.add_fault("graph.getApplication", app=world.workload.app_id, preset="unavailable-503", times=None)
    hasty = world.process(limits=Limits(foreground=timedelta()))
    assert refused(world.rotate, engine=hasty.engine).exit_code == 7
    operation = world.open_rotations()[0].rotation_id
    while (parked := world.main.store.get_rotation(operation)).state is not RotationState.FAILED:
        world.clock.advance(seconds=(parked.next_attempt_at - world.clock.now()).total_seconds())
        world.engine.runner.run(operation)
    assert fault.hits == MAX_ATTEMPTS
    assert (parked.state, parked.error_code) == (RotationState.FAILED, "AzureUnavailable")
    notices = [event for event in world.engine.events() if event.event_type == "rotation-parked"]
    assert [(event.error_code, event.trigger) for event in notices] == [("AzureUnavailable", "manual")]
    assert world.describe().item.rotator_status is RotatorStatus.FAILED
    assert world.value() == value
    fault.remove()
    world.clock.advance(hours=12)
    world.engine.reconcile()
    assert world.versions() == {1: Stage.CURRENT}, "nobody but an operator takes it up"
    result = world.rotate()
    assert (result.rotation_id, result.version) == (operation, 2)
    assert world.describe().item.error_code is None


# --- parked at once


@row("F34")
@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
def test_an_application_that_is_gone_is_told_and_not_asked_for_again(world: World, control: Control, mode: str):
    if mode == "use-user-creds":
        control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
    key = world.workload.secret if mode == "use-user-creds" else None
    world.create(authentication_credentials=mode, api_key=key)
    value = world.value()
    control.delete_application(world.workload.app_id)
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("ApplicationNotFound", 7)
    parked = world.open_rotations()[0]
    assert (parked.state, parked.error_code) == (RotationState.FAILED, "ApplicationNotFound")
    world.mark()
    for _ in range(10):
        world.clock.advance(hours=6)
        world.engine.secrets.update({"description": str(world.clock.now())}, name=ITEM)
    assert world.requests() == []
    assert world.value() == value
    assert world.describe().item.error_code == "ApplicationNotFound"


@row("F34")
def test_an_application_that_is_gone_closes_what_waits_to_be_retired(world: World, control: Control):
    world.create()
    world.rotate()
    control.delete_application(world.workload.app_id)
    world.clock.advance(hours=24)
    world.engine.reconcile()
    assert world.open_rotations() == []
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    deletion = world.engine.secrets.delete(name=ITEM)
    assert deletion.orphans == ()
    assert world.engine.secrets.list_all() == []


@row("F34")
def test_an_application_that_vanishes_during_a_create_leaves_no_item(world: World, control: Control):
    def vanish(*_: object, **__: object) -> None:
        world.main.store.before.clear()
        control.delete_application(world.workload.app_id)

    world.main.store.before["record_proof"] = vanish
    refused(world.create)
    assert world.tables()["items"] == []
    assert world.open_rotations() == []


@pytest.mark.parametrize(
    ("spoil", "aadsts"),
    [
        pytest.param("removed", 7000215, id="it was removed by hand"),
        pytest.param("expired", 7000222, id="it expired"),
        pytest.param("wrong", 7000215, id="it was wrong from the start"),
    ],
)
@pytest.mark.parametrize("whose", ["the Target's", "the item's own"])
def test_a_secret_that_no_longer_logs_in_parks_the_rotation(
    world: World, control: Control, spoil: str, aadsts: int, whose: str
):
    """A clear state, no hot loop, and a way out: give a secret that works, and rotate."""
    app = world.rotator if whose == "the Target's" else world.workload
    control.update_application(
        world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id, world.rotator.app_id]
    )
    given = "Wro8Q~ng-from-the-start-and-for-ever-wrong" if spoil == "wrong" else app.secret
    known = control.verify(app.app_id, app.secret)
    assert known is not None
    if whose == "the Target's":
        world.create()
        world.engine.targets.update({"client_secret": given}, name=TARGET)
    else:
        mode: dict[str, Any] = {
            "authentication_credentials": "use-user-creds",
            "api_id": known.key_id,
            "api_key": given,
        }
        world.create(**mode, skip_dry_run=True)
    if spoil == "removed":
        control.request("DELETE", f"/applications/{app.app_id}/secrets/{known.key_id}")
    elif spoil == "expired":
        control.request("PATCH", f"/applications/{app.app_id}/secrets/{known.key_id}", {"ends_in_seconds": -1})
    world.mark()
    error = refused(world.rotate)
    assert (error.code, error.exit_code, error.details["aadsts"]) == ("AzureAuthFailed", 7, aadsts)
    assert given not in str(error) + error.hint
    assert len(world.requests("login.token")) == 1
    assert world.writes() == []
    assert world.open_rotations()[0].state is RotationState.FAILED
    made = control.request("POST", f"/applications/{app.app_id}/secrets", {})
    if whose == "the Target's":
        world.engine.targets.update({"client_secret": made["value"]}, name=TARGET)
        version = 2
    else:
        world.engine.secrets.update({"api_id": made["key_id"], "api_key": made["value"]}, name=ITEM)
        assert world.value() == made["value"]
        version = 3
    assert world.rotate().version == version
    assert world.logs_in(world.value())


def test_a_targets_reference_that_leads_nowhere_parks_the_rotation(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROTATOR_SECRET", world.rotator.secret)
    world.engine.targets.update({"client_secret": "env:ROTATOR_SECRET"}, name=TARGET)
    world.create()
    monkeypatch.delenv("ROTATOR_SECRET")
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("ReferenceUnresolved", 2)
    assert "env:ROTATOR_SECRET" in str(error)
    monkeypatch.setenv("ROTATOR_SECRET", world.rotator.secret)
    assert world.rotate().version == 2
