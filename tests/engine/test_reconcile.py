"""Reconcile: what was left unfinished is finished, this store's orphans go, and nobody else's secret is touched."""

from __future__ import annotations

from typing import Any

import pytest

from azure_rotator.domain.model import Stage
from azure_rotator.domain.names import Stamp, encode_id, parse_stamp
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import OWNED_BY, MakeApplication
from tests.rows import row


class Killed(BaseException):
    """The process is gone."""


def orphan(world: World, name: str = ITEM, **changes: Any) -> str:
    """A secret that a killed rotation minted and nobody stored; its keyId."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    before = world.key_ids()
    dying = world.process(who="bob")
    dying.store.before["store_pending"] = kill
    with pytest.raises(Killed):
        world.rotate(name, engine=dying.engine)
    (made,) = world.key_ids() - before
    return made


def plant(world: World, display_name: str | None) -> str:
    """A secret of that name, made past us."""
    made = world.control.request(
        "POST", f"/applications/{world.workload.app_id}/secrets", {"display_name": display_name}
    )
    return str(made["key_id"])


@row("B-31", "F05")
def test_a_killed_rotation_is_finished_and_its_orphan_removed(world: World):
    world.create(revoke_after="0")
    value = world.value()
    lost = orphan(world)
    assert world.value() == value
    result = world.engine.reconcile()
    assert result.problems == ()
    assert [one["state_after"] for one in result.rotations] == ["done"]
    assert lost not in world.key_ids()
    assert world.key_ids() == {world.secret_of_boot(), world.describe().key_id}
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.open_rotations() == []


@row("B-31")
def test_a_dry_run_lists_and_touches_nothing(world: World, control: Control):
    made = world.create()
    control.update_application(world.workload.app_id, owners=[])
    world.engine.secrets.delete(name=ITEM, force=True)
    control.update_application(world.workload.app_id, owners=[world.rotator.app_id])
    before = world.tables(without=["permits"])
    world.mark()
    listed = world.engine.reconcile(dry_run=True)
    assert [(one.app_id, one.key_id) for one in listed.orphans] == [(world.workload.app_id, made.key_id)]
    assert listed.orphans[0].display_name is not None
    assert world.writes() == []
    assert world.tables(without=["permits"]) == before
    removed = world.engine.reconcile()
    assert [one.facts() for one in removed.orphans] == [one.facts() for one in listed.orphans]
    assert world.key_ids() == {world.secret_of_boot()}
    assert [line.details["key_id"] for line in world.audit("remove_orphan")] == [made.key_id]
    assert world.engine.reconcile().orphans == ()


@row("B-31", "F30")
@pytest.mark.parametrize(
    "whose",
    ["made by hand", "without a name", "another store's", "an unknown operation's", "another item's", "like a stamp"],
)
def test_what_is_not_ours_is_never_removed(world: World, whose: str):
    made = world.create(revoke_after="0")
    stamp = parse_stamp(world.secret_of(str(made.key_id)).display_name)
    assert stamp is not None
    ours, item, done = stamp.store_id, stamp.item_id, stamp.operation_id
    other = encode_id(b"0123456789")
    names: dict[str, str | None] = {
        "made by hand": "by hand",
        "without a name": None,
        "another store's": str(Stamp(other, item, done)),
        "an unknown operation's": str(Stamp(ours, item, other)),
        "another item's": str(Stamp(ours, other, done)),
        "like a stamp": f"{Stamp(ours, item, done)} copy",
    }
    planted = plant(world, names[whose])
    world.rotate()
    assert world.engine.reconcile().orphans == ()
    orphan(world)
    world.engine.reconcile()
    assert planted in world.key_ids()
    world.engine.secrets.delete(name=ITEM)
    assert world.engine.reconcile().orphans == ()
    assert world.key_ids() == {world.secret_of_boot(), planted}


@row("B-31", "F30")
def test_two_stores_on_one_application_keep_their_hands_off_each_other(world: World):
    other = world.process(store="other")
    world.create_target(engine=other.engine)
    world.create(revoke_after="0")
    theirs = world.create(engine=other.engine, revoke_after="0")
    lost = orphan(world)
    for _ in range(2):
        other.engine.reconcile()
        world.rotate(engine=other.engine)
    assert lost in world.key_ids()
    world.engine.reconcile()
    world.rotate()
    assert lost not in world.key_ids()
    value = other.engine.secrets.get_value(name=ITEM)
    assert value.fields["key_id"] != theirs.key_id
    assert world.logs_in(value.secret.reveal())
    world.engine.secrets.delete(name=ITEM)
    world.engine.reconcile()
    assert world.key_ids() == {world.secret_of_boot(), value.fields["key_id"]}


@row("B-31")
def test_a_rotation_on_the_same_application_removes_orphans_too(world: World):
    world.create(revoke_after="0")
    world.create(name="/prod/other", revoke_after="0")
    lost = orphan(world)
    world.engine.secrets.delete(name=ITEM)
    assert lost not in world.key_ids()
    world.rotate("/prod/other")
    assert world.key_ids() == {world.secret_of_boot(), world.describe("/prod/other").key_id}


@row("B-31")
def test_orphans_of_a_deleted_item_are_found_on_the_application_that_the_journal_remembers(
    world: World, control: Control
):
    made = world.create()
    control.add_fault("graph.removePassword", app=world.workload.app_id, preset="denied")
    world.engine.secrets.delete(name=ITEM, force=True)
    assert [one.key_id for one in world.engine.reconcile(target=TARGET).orphans] == [made.key_id]
    assert world.key_ids() == {world.secret_of_boot()}


def test_one_failure_stops_nobody_and_is_told(world: World, control: Control, make_application: MakeApplication):
    gone = make_application("gone", owners=[world.rotator.app_id])
    world.create(name="/prod/gone", app_id=gone.app_id)
    world.create(revoke_after="0")
    lost = orphan(world)
    control.delete_application(gone.app_id)
    result = world.engine.reconcile()
    assert [(one["code"], gone.app_id in str(one["where"])) for one in result.problems] == [
        ("ApplicationNotFound", True)
    ]
    assert lost not in world.key_ids()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}


def test_an_unknown_target_is_told(world: World):
    error = refused(world.engine.reconcile, target="/azure/none")
    assert (error.code, error.exit_code) == ("TargetNotFound", 4)


def test_only_the_named_target_is_looked_at(world: World, make_application: MakeApplication):
    second = make_application("second-rotator", roles=[OWNED_BY])
    world.control.update_application(world.workload.app_id, owners=[world.rotator.app_id, second.app_id])
    world.create_target("/azure/two", client_id=second.app_id, client_secret=second.secret)
    world.create(revoke_after="0")
    world.create(name="/prod/two", target_name="/azure/two", revoke_after="0")
    orphan(world)
    orphan(world, "/prod/two")
    result = world.engine.reconcile(target="/azure/two")
    assert [one["path"] for one in result.rotations] == ["/prod/two"]
    assert world.versions("/prod/two")[2] is Stage.CURRENT
    assert world.versions() == {1: Stage.CURRENT}
    assert [one["path"] for one in world.engine.reconcile().rotations] == [ITEM]


def test_a_failed_create_that_could_not_be_undone_is_undone_without_a_complaint(world: World, control: Control):
    keys = world.key_ids()
    control.set_behaviour(world.workload.app_id, visible_after=[600])
    fault = control.add_fault("graph.removePassword", app=world.workload.app_id, preset="unavailable-503", times=None)
    assert refused(world.create).code == "VerificationTimeout"
    assert len(world.key_ids() - keys) == 1
    assert world.engine.secrets.list_all() == []
    fault.remove()
    world.clock.advance(hours=1)
    result = world.engine.reconcile()
    assert result.problems == ()
    assert world.key_ids() == keys
    assert world.tables()["items"] == []


def test_a_parked_rotation_is_left_to_an_operator(world: World, control: Control):
    world.create()
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="denied")
    refused(world.rotate)
    for _ in range(3):
        world.clock.advance(hours=6)
        result = world.engine.reconcile()
        assert [one["state_after"] for one in result.rotations] == ["failed"]
        assert result.problems == ()
    assert world.versions() == {1: Stage.CURRENT}


def test_a_second_run_has_nothing_to_do(world: World):
    world.create()
    world.rotate()
    orphan(world)
    world.engine.reconcile()
    world.clock.advance(hours=25)
    world.engine.reconcile()
    world.mark()
    result = world.engine.reconcile()
    assert (result.rotations, result.orphans, result.problems) == ((), (), ())
    assert world.writes() == []
