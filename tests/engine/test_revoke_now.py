"""``--revoke-now``: the replaced secret goes with its publication, the second of two before the mint."""

from __future__ import annotations

import pytest

from azure_rotator.domain.model import Stage
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused, worlds
from tests.plugins.azure import MakeApplication
from tests.rows import row


@row("B-03")
def test_the_replaced_secret_is_retired_at_once(world: World):
    world.create()
    first = world.describe().key_id
    done = world.rotate(revoke_now=True)
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.key_ids() == {world.secret_of_boot(), done.key_id}
    assert done.notes == (f"the replaced secret {first} was retired at once",)
    world.rotate()
    assert world.versions()[2] is Stage.PREVIOUS, "it is cut short once"


@row("B-03")
def test_an_older_one_goes_too(world: World):
    world.create()
    world.rotate()
    done = world.rotate(revoke_now=True)
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.REVOKED, 3: Stage.CURRENT}
    assert world.key_ids() == {world.secret_of_boot(), done.key_id}
    assert world.open_rotations() == []


@row("B-03")
def test_a_rotation_that_runs_already_takes_the_wish_on(world: World):
    """Somebody else's request runs, and is about to publish with an overlap, when this one attaches to it."""
    world.create()
    other = world.process(who="bob")

    def attach(*_: object, **__: object) -> None:
        found = world.main.store.open_rotations()[0]
        wish = world.engine.secrets._requested  # the part of the use case before it waits
        item = world.describe().item
        attached = wish(item, world.engine.targets.get(name="/azure/prod").target, "second", revoke_now=True)
        assert attached.rotation_id == found.rotation_id

    other.store.before["publish"] = attach
    world.rotate(engine=other.engine)
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert len(world.key_ids()) == 2


def test_who_depends_on_it_is_told(world: World):
    world.create(owner="shop/prod/billing")
    world.value()
    who = world.engine.secrets.dependents(name=ITEM)
    assert (who.owner, set(who.readers), who.items) == ("shop/prod/billing", {"ann"}, ())
    assert [v.number for v in who.versions] == [1]


@pytest.fixture
def small(request, azure, tmp_path, control: Control, rotator, make_application: MakeApplication):
    """An application that people with personal accounts may use: two secrets in all."""
    workload = make_application(
        "small", owners=[rotator.app_id], audience="AzureADandPersonalMicrosoftAccount", secrets=[]
    )
    for world in worlds(tmp_path, control, rotator, workload, seed=request.node.nodeid):
        world.create_target()
        yield world


@row("B-03")
def test_where_two_secrets_are_all_there_may_be_the_previous_one_is_retired_first(small: World):
    small.create()
    keys = [small.describe().key_id, small.rotate().key_id]
    retire_at = small.version(1).retire_at
    assert retire_at is not None
    error = refused(small.rotate)
    assert (error.code, error.exit_code) == ("CredentialLimitReached", 7)
    assert retire_at.strftime("%Y-%m-%dT%H:%M:%SZ") in error.hint
    assert "--revoke-now" in error.hint
    assert small.key_ids() == set(keys)
    assert small.logs_in(small.value())
    small.mark()
    done = small.rotate(revoke_now=True)
    assert [name for name, _ in small.writes()] == ["removePassword", "addPassword", "removePassword"]
    assert small.writes()[0] == ("removePassword", keys[0])
    assert small.key_ids() == {done.key_id}
    assert small.versions() == {1: Stage.REVOKED, 2: Stage.REVOKED, 3: Stage.CURRENT}
    assert small.open_rotations() == []


def test_with_nothing_to_retire_the_limit_is_told(small: World, control: Control):
    small.create()
    control.add_secret(small.workload.app_id, display_name="by hand")
    assert refused(small.rotate, revoke_now=True).code == "CredentialLimitReached"
    assert small.logs_in(small.value())
