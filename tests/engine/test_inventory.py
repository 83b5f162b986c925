"""Inventory: every secret and key with its age, its end, who answers for it, and the command that adopts the rest."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from azure_rotator.domain.names import Stamp, encode_id
from azure_rotator.engine.inventory import Holding, Manager, Stock
from tests.engine.test_reconcile import orphan, plant
from tests.engine.world import ITEM, TARGET, WRITES, World, refused
from tests.plugins.azure import MakeApplication


def stock(world: World, **where: Any) -> Stock:
    """What is there; nothing is changed by looking."""
    before, writes = world.tables(without=["audit"]), world.requests(*WRITES)
    found = world.engine.inventory(target=TARGET, **where)
    assert world.tables(without=["audit"]) == before
    assert world.requests(*WRITES) == writes
    return found


def holdings(world: World, **where: Any) -> dict[str, Holding]:
    found = stock(world, **where)
    assert found.problems == ()
    return {one.key_id: one for one in found.holdings}


def of_workload(world: World) -> dict[str, Holding]:
    return holdings(world, app_id=world.workload.app_id)


def told(one: Holding) -> tuple[Manager, str | None, str | None]:
    return one.managed_by, one.manager, one.stage


def arguments_of(words: list[str]) -> dict[str, Any]:
    """A command's options as arguments."""
    flags, values = words[4::2], words[5::2]
    return {flag.removeprefix("--").replace("-", "_"): value for flag, value in zip(flags, values, strict=True)}


def test_what_an_item_manages_is_told_with_its_stage(world: World):
    world.create()
    first = world.describe().key_id
    second = world.rotate().key_id
    assert first is not None
    assert second is not None
    found = of_workload(world)
    assert told(found[first]) == (Manager.ITEM, ITEM, "previous")
    assert told(found[second]) == (Manager.ITEM, ITEM, "current")
    assert (found[first].command, found[second].command) == (None, None)


def test_age_and_end_are_azures(world: World):
    world.control.add_secret(world.workload.app_id, display_name="by hand", days=10)
    world.clock.advance(days=12, minutes=1)  # the sandbox's clock goes on by itself as well
    now = world.clock.now()
    rows: dict[Any, Any] = {one.display_name: one.facts(now) for one in of_workload(world).values()}
    assert (rows["by hand"]["age_days"], rows["by hand"]["expired"], rows["by hand"]["command"]) == (12, True, None)
    assert (rows["boot"]["age_days"], rows["boot"]["expired"], rows["boot"]["holder"]) == (12, False, "application")


def test_what_nobody_manages_comes_with_the_command_that_adopts_it(world: World):
    (one,) = of_workload(world).values()
    assert told(one) == (Manager.NOBODY, None, None)
    assert one.command is not None
    words = shlex.split(one.command)
    assert words[:4] == ["azure-rotator", "rotated-secret", "create", "azure"]
    given = arguments_of(words)
    world.engine.secrets.create(given)
    assert told(of_workload(world)[one.key_id]) == (Manager.ITEM, given["name"], "current")
    world.rotate(given["name"])
    assert world.logs_in(world.value(given["name"]))


def test_two_secrets_of_one_name_become_two_items(world: World):
    for _ in range(2):
        world.control.add_secret(world.workload.app_id, display_name="by hand/../it's a mess")
    names = set()
    for one in of_workload(world).values():
        words = shlex.split(one.command or "")
        names.add(words[words.index("--name") + 1])
    assert len(names) == 3
    assert all(name.startswith("/workload/") and name.count("/") == 2 for name in names), names


def test_what_other_stores_made_is_theirs(world: World):
    nobody = encode_id(bytes(10))
    theirs = plant(world, str(Stamp(nobody, nobody, nobody)))
    forgotten = plant(world, str(Stamp(world.engine.store_id, nobody, nobody)))
    found = of_workload(world)
    assert told(found[theirs]) == (Manager.OTHER_STORE, nobody, None)
    assert told(found[forgotten]) == (Manager.OTHER_STORE, world.engine.store_id, None)
    assert {found[theirs].command, found[forgotten].command} == {None}


def test_an_orphan_is_pointed_to_reconcile_and_what_is_being_made_is_not(world: World):
    world.create()
    current = world.describe().key_id
    assert current is not None
    late = plant(world, world.secret_of(current).display_name)  # a mint that arrived twice, long after its operation
    one = of_workload(world)[late]
    assert (one.managed_by, one.command) == (Manager.ORPHAN, f"azure-rotator reconcile --target {TARGET}")
    being_made = orphan(world)  # of an operation that is not over: it decides
    one = of_workload(world)[being_made]
    assert (one.managed_by, one.command) == (Manager.OPERATION, None)
    assert one.manager == world.open_rotations()[-1].rotation_id


@pytest.mark.parametrize("named", [True, False])
def test_what_a_target_works_with_is_told(world: World, named: bool):
    boot = next(s for s in world.control.secrets(world.rotator.app_id) if s.display_name == "boot")
    if named:
        world.engine.targets.update({"client_secret_id": boot.key_id}, name=TARGET)
    other = world.control.add_secret(world.rotator.app_id, display_name="another", value="zzz-begins-otherwise")
    found = holdings(world)
    assert told(found[boot.key_id]) == (Manager.TARGET, TARGET, None)
    assert "--rotator-type target" in (found[boot.key_id].command or "")
    assert told(found[other.key_id]) == (Manager.NOBODY, None, None)


def test_without_a_place_everything_that_the_target_and_its_items_name(world: World, make_application: MakeApplication):
    world.create()
    make_application("unused", owners=[world.rotator.app_id])
    places = {one.place.partition(" ")[0] for one in stock(world).holdings}
    assert places == {"rotator", "workload"}


def test_secrets_of_the_service_principal_are_listed_as_such(world: World, make_application: MakeApplication):
    app = make_application("app", owners=[world.rotator.app_id], service_principal_secrets=[{"name": "its own"}])
    found = {one.display_name: one.holder for one in stock(world, app_id=app.app_id).holdings}
    assert found == {"boot": "application", "its own": "service principal"}


def test_a_place_that_cannot_be_looked_at_hides_nothing_of_the_others(world: World, make_application: MakeApplication):
    gone = make_application("gone", owners=[world.rotator.app_id])
    world.create(app_id=gone.app_id)
    world.control.delete_application(gone.app_id)
    found = stock(world)
    assert [(one["where"], one["code"]) for one in found.problems] == [
        (f"application {gone.app_id}", "ApplicationNotFound")
    ]
    assert [one.place.partition(" ")[0] for one in found.holdings] == ["rotator"]


def test_refusals(world: World):
    assert refused(world.engine.inventory, target="nowhere").code == "TargetNotFound"
    assert refused(world.engine.inventory, target=TARGET, resource_name="blobs").code == "TargetIncomplete"


# --- storage keys


def test_keys_of_an_account_by_the_items_that_manage_them(world: World):
    tenant = world.rotator.info.tenant_id
    info = world.control.create_account(tenant=tenant, operators=[world.rotator.app_id], directory_service="AADDS")
    where = {"resource_group_name": info.resource_group, "resource_name": info.name}
    world.engine.targets.update({"subscription_id": info.subscription_id, **where}, name=TARGET)
    storage: dict[str, Any] = {
        "rotator_type": "azure-storage-account",
        "app_id": None,
        "authentication_credentials": None,
    }
    world.create(**storage, name="/prod/pair", storage_key_mode="alternate")
    world.create(**storage, name="/prod/kerb", storage_account_key_name="kerb1")
    world.clock.advance(days=3, minutes=1)
    found = holdings(world, resource_name=info.name)
    assert {name: one.manager for name, one in found.items()} == {
        "key1": "/prod/pair",
        "key2": "/prod/pair",
        "kerb1": "/prod/kerb",
        "kerb2": None,
    }
    assert (found["key1"].stage, found["key2"].stage) == ("current", None)
    assert found["key1"].facts(world.clock.now())["age_days"] == 3
    words = shlex.split(found["kerb2"].command or "")
    assert words[-2:] == ["--storage-account-key-name", "kerb2"]
    assert not any(value in repr(found) for value in info.keys.values())


def test_an_account_that_only_the_group_leads_to_is_adopted_by_its_name(world: World):
    tenant = world.rotator.info.tenant_id
    info = world.control.create_account(tenant=tenant, operators=[world.rotator.app_id])
    where = {"subscription_id": info.subscription_id, "resource_group_name": info.resource_group}
    world.engine.targets.update({**where, "resource_name": "another"}, name=TARGET)
    found = holdings(world, resource_name=info.name)
    words = shlex.split(found["key2"].command or "")
    given = arguments_of(words)
    world.engine.secrets.create(given)
    assert told(holdings(world, resource_name=info.name)["key2"]) == (Manager.ITEM, given["name"], "current")
    assert world.value(given["name"]) == info.keys["key2"]
