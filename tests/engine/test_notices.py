"""What people are told of failures: rows of the outbox, each once, each with its code, none with a secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from azure_rotator.domain.model import Event, RotationState, RotatorStatus
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.plugins.azure import OWNED_BY
from tests.rows import row

SUCCESS, FAILURE = "rotated-secret-success", "rotated-secret-failure"
PARKED, RECOVERED = "rotation-parked", "rotation-recovered"


def told(world: World, *kinds: str) -> list[Event]:
    """Since the item was created."""
    events = [event for event in world.engine.events() if event.trigger != "create"]
    return [event for event in events if not kinds or event.event_type in kinds]


def kinds_of(events: list[Event]) -> list[str]:
    return [event.event_type for event in events]


def break_graph(world: World, control: Control, operation: str = "graph.getApplication", **spec: Any) -> Any:
    given = {"preset": "unavailable-503", "times": None} | spec
    return control.add_fault(operation, app=world.workload.app_id, **given)


def hasty(world: World) -> Any:
    return world.process(limits=Limits(foreground=timedelta())).engine


def go_on(world: World, **duration: float) -> None:
    """Time passes, and whatever is due is run, as a scheduler would."""
    until = world.clock.now() + timedelta(**duration)
    while world.clock.now() < until:
        world.clock.advance(hours=1)
        for rotation in world.open_rotations():
            if rotation.next_attempt_at <= world.clock.now():
                world.engine.runner.run(rotation.rotation_id)


# --- failures


@row("F62")
def test_an_outage_is_told_when_it_begins_and_once_a_day_then_parked_then_recovered(world: World, control: Control):
    world.create(revoke_after="0")
    fault = break_graph(world, control)
    refused(world.rotate, engine=hasty(world))
    (first,) = told(world)
    assert (first.event_type, first.error_code, first.trigger, first.item_name) == (
        FAILURE,
        "AzureUnavailable",
        "manual",
        ITEM,
    )
    go_on(world, hours=23)
    assert kinds_of(told(world)) == [FAILURE], "retries of a day are one matter"
    go_on(world, hours=55)
    failures = told(world, FAILURE)
    assert len(failures) == 4
    gaps = [later.occurred_at - sooner.occurred_at for sooner, later in pairwise(failures)]
    assert all(timedelta(hours=24) <= gap <= timedelta(hours=31) for gap in gaps)
    go_on(world, hours=72)
    assert world.open_rotations()[0].state is RotationState.FAILED
    (parked,) = told(world, PARKED)
    assert (parked.error_code, parked.version) == ("AzureUnavailable", None)
    assert "until the item or its Target changes, or somebody rotates it" in parked.message
    before = len(told(world))
    fault.remove()
    world.rotate()
    assert kinds_of(told(world)[before:]) == [RECOVERED, SUCCESS]
    recovered, success = told(world)[before:]
    assert (recovered.error_code, recovered.version, success.version) == (None, 2, 2)
    assert "AzureUnavailable" in recovered.message
    assert len({event.event_id for event in world.engine.events()}) == len(world.engine.events())


def test_a_rotation_that_meets_no_failure_tells_only_its_success(world: World):
    world.create(revoke_after="0")
    world.rotate()
    world.rotate()
    assert kinds_of(told(world)) == [SUCCESS, SUCCESS]


def test_a_new_cycle_tells_its_failure_anew(world: World, control: Control):
    """Failed, recovered and failed again within one day: two matters."""
    world.create(revoke_after="0")
    for _ in range(2):
        fault = break_graph(world, control)
        refused(world.rotate, engine=hasty(world))
        fault.remove()
        world.clock.advance(minutes=5)
        world.rotate()
    assert kinds_of(told(world)) == [FAILURE, RECOVERED, SUCCESS] * 2


def test_asking_again_and_again_within_a_day_tells_it_once(world: World, control: Control):
    world.create(revoke_after="0")
    break_graph(world, control)
    for _ in range(5):
        refused(world.rotate, engine=hasty(world))
        world.clock.advance(minutes=30)
    assert kinds_of(told(world)) == [FAILURE]


# --- parked at once


def forbid_secrets(world: World) -> None:
    world.control.update_application(world.workload.app_id, policy={"forbid_passwords": True})


def forbid_secrets_readably(world: World) -> None:
    world.control.update_application(world.rotator.app_id, roles=[OWNED_BY, "Policy.Read.All"])
    forbid_secrets(world)


def take_the_application_away(world: World) -> None:
    world.control.delete_application(world.workload.app_id)


def take_the_grant_away(world: World) -> None:
    world.control.update_application(world.rotator.app_id, roles=[])


def let_the_target_expire(world: World) -> None:
    known = world.control.verify(world.rotator.app_id, world.rotator.secret)
    assert known is not None
    world.control.expire_secret(world.rotator.app_id, known.key_id, ends_in_seconds=-1)


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        pytest.param(forbid_secrets, "CredentialTypeNotAllowed", ["policy"], marks=row("F09"), id="forbidden"),
        pytest.param(
            forbid_secrets_readably,
            "CredentialTypeNotAllowed",
            ["policy", "exempt"],
            marks=row("F09"),
            id="forbidden, by a policy that may be read",
        ),
        pytest.param(take_the_application_away, "ApplicationNotFound", ["no such"], marks=row("F34"), id="gone"),
        pytest.param(take_the_grant_away, "AzurePermissionMissing", ["Application.ReadWrite"], id="no grant"),
        pytest.param(
            let_the_target_expire,
            "AzureAuthFailed",
            ["expired", "target update azure --name"],
            marks=row("F41"),
            id="the Target's secret expired",
        ),
    ],
)
def test_what_nobody_tries_again_is_told_as_parked(
    world: World, spoil: Callable[[World], None], code: str, words: list[str]
):
    world.create()
    spoil(world)
    refused(world.rotate)
    failure, parked = told(world)
    assert (failure.event_type, parked.event_type) == (FAILURE, PARKED)
    assert failure.error_code == parked.error_code == code
    assert all(word in parked.message for word in words)
    assert world.open_rotations()[0].state is RotationState.FAILED
    go_on(world, hours=48)
    assert len(told(world)) == 2


@row("F09")
def test_the_notice_names_the_policy(world: World):
    forbidden = "a1b2c3d4-0000-4000-8000-00000000beef"
    world.create()
    text = f"Credential type not allowed as per assigned policy '{forbidden}'."
    world.control.add_fault(
        "graph.addPassword", app=world.workload.app_id, preset="policy-addition", message=text, times=None
    )
    refused(world.rotate)
    assert [forbidden in event.message for event in told(world)] == [True, True]


# --- the old one stays


@row("F32")
def test_a_removal_that_fails_for_days_is_told_daily_and_recovers(world: World, control: Control):
    world.create(revoke_after="0")
    fault = break_graph(world, control, "graph.removePassword")
    world.rotate()
    assert kinds_of(told(world)) == [SUCCESS, FAILURE]
    go_on(world, hours=72)
    assert kinds_of(told(world))[:4] == [SUCCESS, FAILURE, FAILURE, FAILURE]
    assert {event.error_code for event in told(world, FAILURE)} == {"AzureUnavailable"}
    assert world.describe().item.rotator_status is RotatorStatus.PARTIAL
    assert told(world, PARKED) == [], "it is tried on and on"
    fault.remove()
    go_on(world, hours=7)
    assert kinds_of(told(world))[-1] == RECOVERED
    assert world.describe().item.rotator_status is RotatorStatus.SUCCEEDED


# --- who waits for the end hears it there


def test_a_create_that_fails_tells_its_end_alone(world: World, control: Control):
    break_graph(world, control, "graph.addPassword")
    refused(world.create, engine=world.process(limits=Limits(foreground=timedelta(seconds=5))).engine)
    assert kinds_of(list(world.engine.events())) == []
    control.clear_faults()
    control.update_application(world.rotator.app_id, roles=[OWNED_BY])
    world.control.set_behaviour(world.workload.app_id, visible_after=[1e9])
    refused(world.create)
    (event,) = world.engine.events()
    assert (event.event_type, event.trigger, event.error_code) == (FAILURE, "create", "VerificationTimeout")


def test_a_deletion_that_azure_refuses_raises_none(world: World, control: Control):
    world.create()
    take_the_grant_away(world)
    refused(world.engine.secrets.delete, name=ITEM)
    assert told(world) == []


def test_no_notice_holds_a_secret(world: World, control: Control):
    world.create(revoke_after="0")
    secrets = {world.value(), world.rotator.secret}
    break_graph(world, control, times=1)
    refused(world.rotate, engine=hasty(world))
    let_the_target_expire(world)
    world.clock.advance(minutes=5)
    refused(world.rotate)
    assert {PARKED, FAILURE} <= set(kinds_of(told(world)))
    for event in world.engine.events():
        assert not any(secret in repr(event) for secret in secrets)
