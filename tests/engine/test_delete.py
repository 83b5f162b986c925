"""Deleting an item: what was minted goes, what was adopted stays, and when Azure refuses the item stays."""

from __future__ import annotations

from typing import Any

import pytest

from azure_rotator.domain.model import ItemState, Stage
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.plugins.azure import OWNED_BY
from tests.rows import row


def delete(world: World, **options: Any):
    return world.engine.secrets.delete(name=ITEM, **options)


@pytest.fixture(params=["use-target-creds", "use-user-creds"])
def mode(request: pytest.FixtureRequest, world: World) -> dict[str, Any]:
    """Both ways of acting: by the Target, and by the application with the very secret that goes last."""
    if request.param == "use-user-creds":
        world.control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
        return {"authentication_credentials": "use-user-creds", "api_key": world.workload.secret}
    return {}


@row("B-01", "F36", "F30")
def test_a_delete_removes_every_minted_secret_and_nothing_else(world: World, mode: dict[str, Any]):
    world.create(**mode)
    first = world.describe().key_id
    world.rotate()
    second = world.describe().key_id
    assert world.versions() == {1: Stage.PREVIOUS, 2: Stage.CURRENT}
    deletion = delete(world)
    assert set(deletion.revoked) == {first, second}
    assert deletion.left_in_azure == deletion.orphans == ()
    assert world.key_ids() == {world.secret_of_boot()}
    assert world.tables()["items"] == world.tables()["versions"] == []
    assert world.open_rotations() == []
    assert refused(world.describe).code == "ItemNotFound"
    assert [name for name, _ in world.writes()].count("removePassword") == 2


@row("B-01", "F36")
@pytest.mark.parametrize("value", [True, False], ids=["with its value", "without a value"])
def test_an_adopted_one_that_was_never_rotated_stays(world: World, value: bool):
    key_id = world.secret_of_boot()
    world.create(api_id=key_id, api_key=world.workload.secret if value else None)
    deletion = delete(world)
    assert (deletion.left_in_azure, deletion.revoked, deletion.orphans) == ((key_id,), (), ())
    assert world.key_ids() == {key_id}
    assert world.writes() == []


@row("B-01")
def test_an_adopted_one_that_was_rotated_goes_with_the_rest(world: World):
    key_id = world.secret_of_boot()
    world.create(api_id=key_id, api_key=world.workload.secret)
    minted = world.rotate().key_id
    deletion = delete(world)
    assert set(deletion.revoked) == {key_id, minted}
    assert world.key_ids() == set()


@row("B-01")
def test_the_name_is_free_again_and_the_id_is_known_to_be_gone(world: World):
    first = world.create()
    delete(world)
    error = refused(world.engine.secrets.describe, item_id=first.item.item_id)
    assert (error.code, error.details["gone"]) == ("ItemNotFound", True)
    error = refused(world.engine.secrets.delete, item_id=first.item.item_id)
    assert (error.code, error.details["gone"]) == ("ItemNotFound", True)
    second = world.create()
    assert second.item.item_id != first.item.item_id


@row("B-01", "F36")
def test_a_half_done_rotation_goes_too(world: World, control: Control):
    """A secret that was minted, is not proven, and whose rotation waits."""
    world.create()
    control.add_fault("login.token", app=world.workload.app_id, status=503, times=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.clock, "wait_until", lambda instant: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            world.rotate()
    assert len(world.key_ids()) == 3
    control.clear_faults()
    delete(world)
    assert world.key_ids() == {world.secret_of_boot()}
    assert world.open_rotations() == []


@row("B-01", "F04")
def test_a_secret_whose_reply_was_lost_goes_too(world: World, control: Control):
    world.create()
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="dropped", when="after")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.clock, "wait_until", lambda instant: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            world.rotate()
    assert len(world.key_ids()) == 3
    delete(world)
    assert world.key_ids() == {world.secret_of_boot()}


# --- protected


@row("AK-53")
@pytest.mark.parametrize("force", [False, True])
def test_protection_refuses_every_deletion_until_it_is_switched_off(world: World, force: bool):
    world.create(delete_protection=True)
    before = world.tables()
    world.mark()
    error = refused(delete, world, force=force)
    assert (error.code, error.exit_code) == ("DeleteProtected", 5)
    assert world.tables() == before
    assert world.requests() == []
    world.engine.secrets.update({"delete_protection": None}, name=ITEM)
    delete(world)
    assert world.key_ids() == {world.secret_of_boot()}


@row("AK-53")
def test_protection_that_comes_while_a_delete_waits_is_heeded(world: World):
    """The item changed under the delete, which looks again: at its protection, too."""
    world.create()
    other = world.process(who="bob")
    protected: list[object] = []

    def protect(*_: object, **__: object) -> None:
        if not protected:
            protected.append(other.engine.secrets.update({"delete_protection": True}, name=ITEM))

    world.main.store.before["begin_delete"] = protect
    assert refused(delete, world).code == "DeleteProtected"
    assert world.describe().item.state is ItemState.ACTIVE
    assert world.logs_in(world.value())


# --- refused by Azure


@row("AK-10", "B-01")
def test_without_the_right_the_item_stays_unless_forced_and_the_orphan_is_named(world: World, control: Control):
    made = world.create()
    value = world.value()
    control.update_application(world.workload.app_id, owners=[])
    error = refused(delete, world)
    assert (error.code, error.exit_code) == ("AzurePermissionMissing", 7)
    assert world.value() == value
    assert world.logs_in(value)
    assert world.describe().item.state is ItemState.ACTIVE
    assert world.open_rotations() == []
    deletion = delete(world, force=True)
    assert (deletion.orphans, deletion.revoked) == ((made.key_id,), ())
    assert made.key_id in world.key_ids()
    assert world.engine.secrets.list_all() == []
    line = world.audit("delete_item")[-1]
    assert line.details["orphans"] == [made.key_id]
    assert line.details["forced_over"] == "AzurePermissionMissing"


@row("AK-10")
def test_what_could_be_removed_before_the_refusal_is_not_named_as_an_orphan(world: World, control: Control):
    world.create()
    first = world.describe().key_id
    second = world.rotate().key_id
    control.add_fault("graph.removePassword", app=world.workload.app_id, preset="denied", skip=1, times=None)
    deletion = delete(world, force=True)
    assert (deletion.revoked, deletion.orphans) == ((first,), (second,))
    assert world.key_ids() == {world.secret_of_boot(), second}


@row("AK-10")
def test_a_refused_delete_gives_a_waiting_retirement_back(world: World, control: Control):
    world.create()
    old = world.describe().key_id
    world.rotate()
    control.add_fault("graph.removePassword", app=world.workload.app_id, preset="denied")
    assert refused(delete, world).code == "AzurePermissionMissing"
    assert world.versions() == {1: Stage.PREVIOUS, 2: Stage.CURRENT}
    world.clock.advance(hours=24)
    world.engine.reconcile()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert old not in world.key_ids()


@row("AK-10")
def test_an_orphan_that_was_left_by_force_is_found_when_the_right_comes_back(world: World, control: Control):
    made = world.create()
    control.update_application(world.workload.app_id, owners=[])
    delete(world, force=True)
    control.update_application(world.workload.app_id, owners=[world.rotator.app_id])
    assert [o.key_id for o in world.engine.reconcile().orphans] == [made.key_id]
    assert world.key_ids() == {world.secret_of_boot()}


# --- Azure answers late or not


def test_an_outage_during_a_delete_is_waited_for(world: World, control: Control, mode: dict[str, Any]):
    world.create(**mode)
    control.add_fault("graph.removePassword", app=world.workload.app_id, preset="unavailable-503", times=2)
    delete(world)
    assert world.key_ids() == {world.secret_of_boot()}
    assert world.engine.secrets.list_all() == []


@row("B-01")
@pytest.mark.parametrize("fault", ["dropped", "gateway-timeout-504"])
def test_a_removal_whose_reply_is_lost_is_found_out(world: World, control: Control, mode: dict[str, Any], fault: str):
    """With use-user-creds the application cannot even log in any more to ask."""
    world.create(**mode)
    control.add_fault("graph.removePassword", app=world.workload.app_id, preset=fault, when="after")
    deletion = delete(world)
    assert deletion.orphans == ()
    assert world.key_ids() == {world.secret_of_boot()}
    assert world.engine.secrets.list_all() == []
    assert world.open_rotations() == []


def test_a_disabled_application_does_not_pass_for_a_removed_secret(world: World, control: Control):
    """Its login is refused as well, and its secret is alive: enabled again, it would log in for ever."""
    control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
    made = world.create(authentication_credentials="use-user-creds", api_key=world.workload.secret)
    control.add_fault("graph.removePassword", app=world.workload.app_id, preset="unavailable-503")

    def disable() -> None:
        control.update_application(world.workload.app_id, enabled=False)

    world.clock.before_wait = disable
    error = refused(delete, world)
    assert error.code == "AzureAuthFailed"
    assert made.key_id in world.key_ids()
    world.clock.before_wait = lambda: None
    control.update_application(world.workload.app_id, enabled=True)
    world.clock.advance(hours=12)
    delete(world)
    assert world.key_ids() == {world.secret_of_boot()}


def test_a_delete_that_a_kill_cut_short_is_finished_by_asking_again(world: World):
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    world.create()
    world.rotate()
    dying = world.process(who="bob")
    dying.store.before["drop_item"] = kill
    with pytest.raises(Killed):
        dying.engine.secrets.delete(name=ITEM)
    error = refused(world.value)
    assert (error.code, error.exit_code) == ("ItemLocked", 5)
    assert "being deleted" in str(error)
    assert world.describe().item.state is ItemState.DELETING
    delete(world)
    assert world.engine.secrets.list_all() == []
    assert world.key_ids() == {world.secret_of_boot()}


def test_what_a_rotation_published_while_the_delete_waited_is_told(world: World):
    world.create(revoke_after="0")
    other = world.process(who="bob")
    first = world.describe().key_id
    runs: list[str | None] = []

    def rotate_meanwhile(*_: object, **__: object) -> None:
        if not runs:
            runs.append(world.rotate(engine=other.engine).key_id)

    world.main.store.before["begin_delete"] = rotate_meanwhile
    deletion = delete(world)
    assert deletion.revoked == tuple(runs)
    assert first not in world.key_ids()
    assert world.key_ids() == {world.secret_of_boot()}
