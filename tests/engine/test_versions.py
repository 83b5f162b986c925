"""Versions: how many are kept, what is never forgotten, and the deletion of one."""

from __future__ import annotations

from typing import Any

import pytest

from azure_rotator.domain.model import Stage
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.rows import row


def delete(world: World, number: int, **options: Any):
    return world.engine.secrets.delete_version(number, name=ITEM, **options)


# --- how many are kept


@row("B-05")
@pytest.mark.parametrize("revoke_after", ["0", "24h"])
def test_of_five_rotations_the_three_newest_are_kept(world: World, revoke_after: str):
    world.create(max_versions=3, revoke_after=revoke_after)
    for _ in range(5):
        world.rotate()
    assert list(world.versions()) == [4, 5, 6]
    assert world.versions()[6] is Stage.CURRENT
    assert refused(world.value, version=3).code == "VersionNotFound"
    assert world.value(version=4) != world.value()


@row("B-05")
def test_a_lowered_number_forgets_only_when_the_next_version_comes(world: World):
    world.create(max_versions=3, revoke_after="0")
    for _ in range(3):
        world.rotate()
    before = world.versions()
    assert list(before) == [2, 3, 4]
    world.engine.secrets.update({"max_versions": 1}, name=ITEM)
    assert world.versions() == before
    world.rotate()
    # The one before is valid until after the publication, and so is not forgotten by it.
    assert world.versions() == {4: Stage.REVOKED, 5: Stage.CURRENT}


@row("B-05")
def test_what_is_valid_in_azure_is_never_forgotten(world: World):
    world.create(keep_prev_version=False, revoke_after="24h")
    keys = [world.describe().key_id, world.rotate().key_id]
    assert world.versions() == {1: Stage.PREVIOUS, 2: Stage.CURRENT}
    world.clock.advance(hours=25)
    keys.append(world.rotate().key_id)
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.PREVIOUS, 3: Stage.CURRENT}
    assert world.key_ids() == {world.secret_of_boot(), *keys[1:]}
    world.rotate()
    assert 1 not in world.versions()


@row("B-05")
def test_a_number_is_never_given_twice(world: World):
    world.create(keep_prev_version=False, revoke_after="0")
    numbers = [world.rotate().version for _ in range(4)]
    assert numbers == [2, 3, 4, 5]


# --- the deletion of one


@row("B-05")
def test_a_previous_version_is_retired_first_and_then_forgotten(world: World):
    world.create()
    first = world.describe().key_id
    world.rotate()
    world.mark()
    done = delete(world, 1)
    assert (done.facts()["version_deleted"], done.revoked, done.orphans) == (1, (first,), ())
    assert world.writes() == [("removePassword", first)]
    assert world.versions() == {2: Stage.CURRENT}
    assert refused(world.value, version=1).code == "VersionNotFound"
    assert world.logs_in(world.value())
    (line,) = world.audit("delete_item_version")
    assert (line.details["version"], line.details["key_id"]) == (1, first)
    world.clock.advance(hours=25)  # when its rotation would have retired it
    world.rotate()
    assert [r.state for r in world.open_rotations()] == ["published"]


@row("B-05")
def test_a_revoked_version_is_forgotten_without_azure(world: World):
    world.create(revoke_after="0")
    world.rotate()
    world.mark()
    assert delete(world, 1).revoked == ()
    assert world.requests() == []
    assert world.versions() == {2: Stage.CURRENT}


@row("B-05")
@pytest.mark.parametrize(("number", "code", "exit_code"), [(2, "VersionIsCurrent", 5), (7, "VersionNotFound", 4)])
def test_the_current_version_and_one_that_is_not_there_are_refused(
    world: World, number: int, code: str, exit_code: int
):
    world.create()
    world.rotate()
    before = world.tables()
    error = refused(delete, world, number)
    assert (error.code, error.exit_code) == (code, exit_code)
    assert world.tables() == before


@row("AK-53")
def test_of_a_protected_item_no_version_is_deleted(world: World):
    world.create(delete_protection=True)
    world.rotate()
    before = world.tables()
    assert refused(delete, world, 1, force=True).code == "DeleteProtected"
    assert world.tables() == before


def test_if_azure_refuses_the_version_stays_with_its_old_date(world: World, control: Control):
    world.create()
    world.rotate()
    before = world.version(1)
    fault = control.add_fault("graph.removePassword", app=world.workload.app_id, preset="denied", times=None)
    assert refused(delete, world, 1).code == "AzurePermissionMissing"
    assert world.version(1) == before
    assert [r.trigger for r in world.open_rotations()] == ["manual"]
    fault.remove()
    assert delete(world, 1).revoked == (before.key_id,)


def test_by_force_it_goes_and_the_key_that_is_left_is_named(world: World, control: Control):
    world.create()
    world.rotate()
    key_id = world.version(1).key_id
    fault = control.add_fault("graph.removePassword", app=world.workload.app_id, preset="denied", times=None)
    done = delete(world, 1, force=True)
    assert (done.revoked, done.orphans) == ((), (key_id,))
    assert world.versions() == {2: Stage.CURRENT}
    fault.remove()
    assert [o.key_id for o in world.engine.reconcile().orphans] == [key_id]


def test_an_outage_leaves_the_deletion_to_reconcile(world: World, control: Control):
    world.create()
    world.rotate()
    fault = control.add_fault("graph.removePassword", app=world.workload.app_id, preset="unavailable-503", times=None)
    error = refused(delete, world, 1)
    assert error.code == "AzureUnavailable"
    assert "reconcile" in error.hint
    fault.remove()
    world.clock.advance(hours=2)
    world.engine.reconcile()
    assert world.versions() == {2: Stage.CURRENT}
    assert world.key_ids() == {world.secret_of_boot(), world.describe().key_id}
