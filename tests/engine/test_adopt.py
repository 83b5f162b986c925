"""``adopt``: a program takes over what the command line made, without its credential."""

from __future__ import annotations

import pytest

from azure_rotator.domain.model import Stage
from tests.engine.world import ITEM, TARGET, World, refused
from tests.rows import row

OWNER = "shop/prod/billing"


@row("AK-66")
def test_an_item_is_taken_over_as_it_is_and_what_differs_is_applied(world: World):
    made = world.create(description="by hand", tags=["a"])
    key_id, value = made.key_id, world.value()
    world.mark()
    view = world.create(owner=OWNER, adopt=True, tags=["b"], rotation_interval=30, auto_rotate=True)
    assert (view.item.item_id, view.key_id, view.item.owner) == (made.item.item_id, key_id, OWNER)
    assert (view.item.tags, view.item.description, view.item.rotation_interval) == (("b",), "by hand", 30)
    assert world.value() == value
    assert world.writes() == []
    assert world.versions() == {1: Stage.CURRENT}
    again = world.create(owner=OWNER, adopt=True, tags=["b"], rotation_interval=30, auto_rotate=True)
    assert again.item.item_id == made.item.item_id


@row("AK-66")
def test_one_that_acts_as_itself_is_taken_over_without_its_secret(world: World):
    world.create(
        authentication_credentials="use-user-creds",
        api_id=world.secret_of_boot(),
        api_key=world.workload.secret,
        skip_dry_run=True,
    )
    view = world.create(owner=OWNER, adopt=True, authentication_credentials="use-user-creds")
    assert view.item.owner == OWNER
    assert world.value() == world.workload.secret
    again = world.create(owner=OWNER, adopt=True, authentication_credentials="use-user-creds")
    assert again.item.item_id == view.item.item_id, "a killed deploy is repeated"


@row("AK-66")
@pytest.mark.parametrize("changes", [{"app_id": "another"}, {"target_name": "/azure/other"}, {"owner": "shop/test/x"}])
def test_what_is_another_thing_or_somebody_elses_is_not_taken_over(world: World, changes: dict[str, str]):
    world.create_target("/azure/other")
    world.create(owner="shop/prod/first" if "owner" in changes else "")
    if "app_id" in changes:
        changes = {"app_id": world.rotator.app_id}
    before = world.tables()
    error = refused(world.create, **({"owner": OWNER, "adopt": True} | changes))
    assert (error.code, error.exit_code) == ("NameConflict", 5)
    assert world.tables() == before


@row("AK-66")
def test_where_there_is_nothing_to_take_over_it_is_created(world: World):
    assert world.create(owner=OWNER, adopt=True).version == 1
    error = refused(world.create, name="/other", owner=OWNER, adopt=True, authentication_credentials="use-user-creds")
    assert error.code == "ParameterMissing"


@row("AK-66")
def test_a_target_is_taken_over_with_its_secret(world: World):
    view = world.engine.targets.create(
        {
            "name": TARGET,
            "tenant_id": world.rotator.info.tenant_id,
            "client_id": world.rotator.app_id,
            "adopt": True,
            "description": "from now on in the program",
        },
        owner=OWNER,
    )
    assert (view.target.owner, view.target.description, view.target.version) == (OWNER, "from now on in the program", 1)
    world.create()
    assert world.describe(ITEM).version == 1
