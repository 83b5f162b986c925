"""A new secret is published when it has logged in, three times in a row, and not before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from azure_rotator.domain.model import RotatorStatus, Stage
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.rows import row


def proofs(world: World, key_id: str | None) -> list[bool | None]:
    """The token requests with this new secret, accepted or not; refused ones are known by their application."""
    return [
        entry.accepted
        for entry in world.requests("login.token")
        if entry.app_id == world.workload.app_id and entry.key_id in {key_id, None}
    ]


@row("B-09", "F01")
@pytest.mark.parametrize("delay", [5, 20, 60])
def test_a_secret_that_is_refused_for_a_while_is_published_when_it_logs_in(world: World, control: Control, delay: int):
    world.create(revoke_after="0")
    old = world.describe().key_id
    control.set_behaviour(world.workload.app_id, visible_after=[delay])
    world.mark()
    began = world.clock.now()
    result = world.rotate()
    assert (result.version, result.status) == (2, RotatorStatus.SUCCEEDED)
    assert timedelta(seconds=delay - 1) <= world.clock.now() - began <= timedelta(seconds=delay + 16)
    tried = proofs(world, result.key_id)
    assert tried[-3:] == [True] * 3
    assert set(tried[:-3]) == {False}
    assert len(tried) < 15, "a refusal does not make a storm of logins"
    last_login = max(e.seq for e in world.requests("login.token") if e.key_id == result.key_id)
    removed = next(e for e in world.requests("graph.removePassword") if e.committed)
    assert (removed.key_id, removed.seq > last_login) == (old, True)


@row("F01", "F03")
@pytest.mark.parametrize(
    ("visible_after", "accepted"),
    [
        pytest.param([0, 12], {True, False}, id="one of two front ends is late"),
        pytest.param([0, 0, 8], {True, False}, id="one of three front ends is late"),
    ],
)
def test_a_refusal_in_between_begins_the_count_anew(
    world: World, control: Control, visible_after: list[float], accepted: set[bool]
):
    world.create()
    control.set_behaviour(world.workload.app_id, visible_after=visible_after)
    world.mark()
    result = world.rotate()
    tried = proofs(world, result.key_id)
    assert set(tried) == accepted
    assert tried[-4:] == [False, True, True, True]
    assert [True, True, True] not in [tried[n : n + 3] for n in range(len(tried) - 3)]


@row("F01", "F03")
@pytest.mark.parametrize("delay", [600, 1e9], ids=["10 minutes", "never"])
def test_a_secret_that_does_not_log_in_by_the_deadline_is_given_up(world: World, control: Control, delay: float):
    """It is on the application all the time: what Graph lists is no proof."""
    world.create()
    value, keys = world.value(), world.key_ids()
    control.set_behaviour(world.workload.app_id, visible_after=[delay])
    world.control.set_behaviour(world.workload.app_id, read_lag_seconds=0)
    world.mark()
    began = world.clock.now()
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("VerificationTimeout", 7)
    assert error.details["aadsts"] == 7000215
    assert timedelta(minutes=5) <= world.clock.now() - began < timedelta(minutes=6)
    assert [name for name, _ in world.writes()] == ["addPassword", "removePassword"]
    assert world.key_ids() == keys
    assert world.versions() == {1: Stage.CURRENT}
    assert world.value() == value
    assert world.logs_in(value)
    assert not any(
        event.event_type == "rotated-secret-success" and event.version == 2 for event in world.engine.events()
    )
    item = world.describe().item
    assert (item.rotator_status, item.error_code) == (RotatorStatus.FAILED, "VerificationTimeout")
    assert refused(world.value, version=2).code == "VersionNotFound"


@row("F01")
def test_after_a_timeout_the_same_operation_is_rotated_again(world: World, control: Control):
    world.create(revoke_after="0")
    control.set_behaviour(world.workload.app_id, visible_after=[600])
    refused(world.rotate)
    parked = world.open_rotations()[0]
    control.set_behaviour(world.workload.app_id, visible_after=[0])
    result = world.rotate()
    assert (result.rotation_id, result.version, result.status) == (parked.rotation_id, 2, RotatorStatus.SUCCEEDED)
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


@row("F01")
def test_a_create_whose_secret_never_logs_in_leaves_nothing(world: World, control: Control):
    keys = world.key_ids()
    control.set_behaviour(world.workload.app_id, visible_after=[600])
    error = refused(world.create)
    assert error.code == "VerificationTimeout"
    assert world.key_ids() == keys
    assert world.tables()["items"] == world.tables()["versions"] == []
    assert refused(world.describe).code == "ItemNotFound"


@row("F03")
def test_a_pending_version_is_never_handed_out(world: World, control: Control):
    world.create()
    control.set_behaviour(world.workload.app_id, visible_after=[10])
    seen: list[tuple[int, str, list[int]]] = []

    def look() -> None:
        value = world.engine.secrets.get_value(name=ITEM)
        shown = world.describe().facts(show_versions=True)["item_versions"]
        assert isinstance(shown, list)
        seen.append(
            (
                value.version,
                refused(world.value, version=2).code,
                [one["version"] for one in shown if one["stage"] == "current"],
            )
        )

    world.clock.before_wait = look
    world.rotate()
    assert len(seen) >= 3
    assert set(map(str, seen)) == {str((1, "VersionNotFound", [1]))}


def test_an_outage_of_the_login_is_waited_for_and_does_not_count_as_a_refusal(world: World, control: Control):
    world.create(revoke_after="0")
    control.add_fault("login.token", app=world.workload.app_id, status=503, times=2)
    result = world.rotate()
    assert result.version == 2
    assert any("next attempt at" in line for line in world.notes.said)
    assert len([name for name, _ in world.writes() if name == "addPassword"]) == 2
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


def test_each_proof_is_on_a_connection_of_its_own(world: World, control: Control):
    """A kept connection would always meet the same front end."""
    control.set_behaviour(world.workload.app_id, visible_after=[0, 0, 0])
    world.mark()
    made = world.create()
    fronts = [e.front_end for e in world.requests("login.token") if e.key_id == made.key_id]
    assert sorted(f for f in fronts if f is not None) == [0, 1, 2]
