"""``target``: the privileged application's own client secret, on which everything on the Target hangs."""

from __future__ import annotations

from typing import Any

import pytest

from azure_rotator.domain.model import RotationState, Stage
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import OWNED_BY, MakeApplication
from tests.rows import row

OWN = "/azure/own"


def create_own(world: World, **changes: Any) -> Any:
    given = {"name": OWN, "rotator_type": "target", "app_id": None, "authentication_credentials": None}
    return world.create(**(given | changes))


def own_value(world: World) -> str:
    return world.value(OWN)


@row("AK-01", "AK-24")
def test_it_begins_with_the_secret_that_the_target_has(world: World):
    view = create_own(world)
    boot = world.control.verify(world.rotator.app_id, world.rotator.secret)
    assert boot is not None
    assert (view.version, view.key_id) == (1, boot.key_id)
    assert own_value(world) == world.rotator.secret
    assert view.facts()["rotated_secret_details"]["managed_by"] == "user"
    assert world.writes() == []


@row("AK-24", "F37")
def test_a_rotation_switches_the_target_and_everything_on_it(world: World):
    create_own(world, revoke_after="0")
    world.create(revoke_after="0")
    before = world.engine.targets.get(name=TARGET).target
    done = world.rotate(OWN)
    after = world.engine.targets.get(name=TARGET).target
    assert (after.version, after.client_secret_id) == (before.version + 1, done.key_id)
    assert not world.logs_in(world.rotator.secret, world.rotator)
    assert world.logs_in(own_value(world), world.rotator)
    world.mark()
    world.rotate()  # unedited
    assert set(world.logins()[world.rotator.app_id]) == {done.key_id}
    assert world.key_ids(world.rotator) == {done.key_id}


@row("AK-24")
def test_the_one_before_stays_valid_for_revoke_after(world: World):
    create_own(world, revoke_after="2h")
    world.rotate(OWN)
    assert world.versions(OWN) == {1: Stage.PREVIOUS, 2: Stage.CURRENT}
    assert world.logs_in(world.rotator.secret, world.rotator)
    world.clock.advance(hours=2)
    world.engine.reconcile()
    assert world.versions(OWN) == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert not world.logs_in(world.rotator.secret, world.rotator)


@row("F37")
def test_where_the_new_one_is_not_known_yet_the_one_before_does_the_work(world: World):
    create_own(world, revoke_after="24h")
    world.rotate(OWN)
    world.control.add_fault(
        "login.token", app=world.rotator.app_id, preset="wrong-secret", path="*/v2.0/token", times=1
    )
    made = world.create()
    assert world.logs_in(world.value(), world.workload)
    assert made.version == 1


@row("F39")
def test_a_secret_without_the_grant_is_not_published(world: World):
    create_own(world)

    def take_consent_back(*_: object, **__: object) -> None:
        world.control.update_application(world.rotator.app_id, roles=[])

    world.main.store.before["store_pending"] = take_consent_back
    error = refused(world.rotate, OWN)
    assert error.code == "AzurePermissionMissing"
    assert "new secret" in error.message
    assert own_value(world) == world.rotator.secret
    assert world.logs_in(world.rotator.secret, world.rotator)
    assert world.engine.targets.get(name=TARGET).target.version == 1
    world.control.update_application(world.rotator.app_id, roles=[OWNED_BY])
    world.clock.advance(hours=7)
    world.engine.reconcile()
    assert len(world.key_ids(world.rotator)) == 1, "what was minted and not published is gone"


@row("AK-24", "F19")
def test_a_failure_after_the_mint_leaves_the_target_on_the_old_one(world: World):
    create_own(world)
    world.main.store.before["publish"] = world.locked_store
    refused(world.rotate, OWN)
    target = world.engine.targets.get(name=TARGET).target
    assert target.version == 1
    assert world.logs_in(world.rotator.secret, world.rotator)
    del world.main.store.before["publish"]
    world.expire_leases()
    world.engine.reconcile()
    assert world.engine.targets.get(name=TARGET).target.version == 2
    assert world.logs_in(own_value(world), world.rotator)


def test_a_target_that_got_another_secret_meanwhile_keeps_it(world: World):
    create_own(world)
    other = world.control.add_secret(world.rotator.app_id)

    def give_another(*_: object, **__: object) -> None:
        del world.main.store.before["publish"]
        world.engine.targets.update({"client_secret": other.value}, name=TARGET)

    world.main.store.before["publish"] = give_another
    assert refused(world.rotate, OWN).code == "ItemLocked"
    target = world.engine.targets.get(name=TARGET).target
    assert target.version == 2
    world.create()  # and it works with it
    assert other.key_id in world.key_ids(world.rotator)
    rotations = world.open_rotations()
    assert [r.state for r in rotations] == [RotationState.FAILED]
    assert len(world.key_ids(world.rotator)) == 2, "what was minted and not published is gone"


@row("AK-24", "B-13")
@pytest.mark.parametrize(
    ("target", "code"),
    [
        pytest.param(
            {"connection_type": "cloud-identity", "client_id": None, "client_secret": None},
            "TargetHasNoClientSecret",
            id="a cloud identity has none",
        ),
        pytest.param({"client_secret": "env:ROTATOR"}, "TargetSecretExternal", id="a reference is kept elsewhere"),
    ],
)
def test_a_target_without_a_secret_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, target: dict[str, Any], code: str
):
    monkeypatch.setenv("ROTATOR", world.rotator.secret)
    world.create_target("/azure/other", **target)
    world.mark()
    error = refused(create_own, world, target_name="/azure/other")
    assert (error.code, error.exit_code) == (code, 2)
    assert error.hint
    assert world.requests() == []


@row("F38")
def test_a_reference_that_would_override_the_rotated_secret_is_refused_before_anything_is_minted(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    create_own(world)
    monkeypatch.setenv("ROTATOR", world.rotator.secret)
    world.engine.targets.update({"client_secret": "env:ROTATOR"}, name=TARGET)
    error = refused(world.rotate, OWN)
    assert (error.code, error.exit_code) == ("TargetSecretExternal", 2)
    assert "env:ROTATOR" in error.message
    assert world.writes() == []
    assert world.logs_in(world.rotator.secret, world.rotator)


def test_one_item_a_target(world: World):
    create_own(world)
    before = world.tables()
    error = refused(create_own, world, name="/azure/again")
    assert (error.code, error.exit_code, error.details["holder"]) == ("TargetAlreadyRotated", 5, OWN)
    assert world.tables() == before


def test_which_secret_it_is_when_several_begin_alike(world: World, make_application: MakeApplication):
    hint = world.rotator.secret[:3]
    twin = world.control.add_secret(world.rotator.app_id, value=hint + world.rotator.secret[3:][::-1])
    error = refused(create_own, world)
    assert (error.code, error.exit_code) == ("CredentialAmbiguous", 7)
    assert twin.key_id in error.hint
    boot = world.control.verify(world.rotator.app_id, world.rotator.secret)
    assert boot is not None
    world.engine.targets.update({"client_secret_id": boot.key_id}, name=TARGET)
    assert create_own(world).key_id == boot.key_id


def test_deleting_the_item_leaves_the_target_its_secret(world: World):
    create_own(world, revoke_after="24h")
    current = world.rotate(OWN).key_id
    done = world.engine.secrets.delete(name=OWN)
    assert done.left_in_azure == (current,)
    assert len(done.revoked) == 1, "the one it replaced"
    assert world.key_ids(world.rotator) == {current}
    world.create(name=ITEM)  # the Target works on
    assert create_own(world).key_id == current, "and its secret may be taken up again"


# --- another secret, given by hand


def test_a_key_id_that_does_not_belong_to_the_targets_secret_is_not_taken_for_it(world: World):
    """Or the first rotation would remove a secret of somebody else."""
    foreign = world.control.add_secret(world.rotator.app_id, value="zzz8Q~somebody-else-made-this-one")
    world.engine.targets.update({"client_secret_id": foreign.key_id}, name=TARGET)
    error = refused(create_own, world)
    assert (error.code, error.exit_code) == ("IdentifierMixedUp", 2)
    assert error.hint


def test_a_new_secret_without_its_key_id_forgets_the_key_id_of_the_one_before(world: World):
    create_own(world)
    world.rotate(OWN)
    other = world.control.add_secret(world.rotator.app_id)
    changed = world.engine.targets.update({"client_secret": other.value}, name=TARGET)
    assert changed.target.client_secret_id is None
    both = {"client_secret": other.value, "client_secret_id": other.key_id}
    assert world.engine.targets.update(both, name=TARGET).target.client_secret_id == other.key_id


@row("F41")
def test_a_secret_that_the_target_was_given_by_hand_is_taken_over_by_its_item(world: World):
    create_own(world, revoke_after="24h")
    world.rotate(OWN)
    other = world.control.add_secret(world.rotator.app_id)
    world.engine.targets.update({"client_secret": other.value}, name=TARGET)
    planned = world.engine.reconcile(dry_run=True)
    assert [(d["path"], d["key_id"], d["version"]) for d in planned.drifted] == [(OWN, other.key_id, None)]
    done = world.engine.reconcile()
    assert [(d["path"], d["key_id"], d["version"]) for d in done.drifted] == [(OWN, other.key_id, 3)]
    assert own_value(world) == other.value
    assert world.engine.targets.get(name=TARGET).target.client_secret_id == other.key_id
    assert not world.engine.reconcile().drifted
    assert world.logs_in(world.engine.secrets.get_value(name=OWN, version=2).secret.reveal(), world.rotator)
    world.rotate(OWN)
    assert world.logs_in(own_value(world), world.rotator)


def test_a_reference_given_by_hand_is_not_taken_over(world: World, monkeypatch: pytest.MonkeyPatch):
    create_own(world)
    monkeypatch.setenv("ROTATOR", world.control.add_secret(world.rotator.app_id).value or "")
    world.engine.targets.update({"client_secret": "env:ROTATOR"}, name=TARGET)
    assert not world.engine.reconcile().drifted
