"""What a person does with items: off and on, rename, move, folders, lists, deletion of many, the account's settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.model import RotatorType, Stage
from azure_rotator.engine.queries import Query
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import MakeApplication
from tests.rows import row

DAY = timedelta(days=1)


def adopted(world: World, name: str, **changes: Any):
    """An item of a secret that was made by hand; nothing is minted."""
    made = world.control.add_secret(world.workload.app_id, display_name=f"by hand for {name}")
    return world.create(name=name, api_id=made.key_id, skip_dry_run=True, **changes)


# --- off and on


@row("B-22")
def test_a_disabled_item_is_neither_read_nor_rotated(world: World):
    world.create(auto_rotate=True, rotation_interval=30)
    due = world.describe().item.next_rotation_at
    world.engine.secrets.set_state(name=ITEM, enabled=False)
    world.mark()
    for ask in (world.value, world.rotate, lambda: world.value(version=1)):
        error = refused(ask)
        assert (error.code, error.exit_code) == ("ItemDisabled", 5)
    assert world.requests() == []
    facts = world.describe().facts()
    assert (facts["is_enabled"], facts["item_state"], facts["next_rotation_date"]) == (False, "disabled", None)
    world.engine.secrets.update({"rotation_interval": 40, "description": "x"}, name=ITEM)
    assert world.describe().item.next_rotation_at is None, "an update switches nothing on"
    world.engine.secrets.update({"rotation_interval": 30}, name=ITEM)
    world.clock.advance(days=3)
    world.engine.secrets.set_state(name=ITEM, enabled=True)
    assert world.describe().item.next_rotation_at == due, "counted from the last rotation"
    assert world.rotate().version == 2


@row("B-22")
def test_a_previous_secret_is_retired_on_its_day_although_the_item_is_off(world: World):
    world.create()
    world.rotate()
    world.engine.secrets.set_state(name=ITEM, enabled=False)
    world.clock.advance(hours=25)
    world.engine.reconcile()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}


@row("B-22")
def test_the_store_refuses_too(world: World):
    """Whoever read the item before it was switched off asks in vain."""
    world.create()
    other = world.process(who="bob")

    def switch_off(*_: object) -> None:
        world.engine.secrets.set_state(name=ITEM, enabled=False)

    other.store.before["insert_rotation"] = switch_off
    assert refused(world.rotate, engine=other.engine).code == "ItemDisabled"
    assert world.versions() == {1: Stage.CURRENT}


# --- rename and move


@row("B-21")
def test_a_rename_keeps_everything_but_the_name(world: World):
    view = world.create(auto_rotate=True, rotation_interval=30, tags=["a"])
    world.rotate()
    before = world.describe()
    world.mark()
    after = world.engine.secrets.update({"name": "/new/billing"}, name=ITEM)
    assert after.item.item_id == view.item.item_id
    assert (after.versions, after.item.next_rotation_at) == (before.versions, before.item.next_rotation_at)
    assert world.value("/new/billing")
    assert refused(world.describe).code == "ItemNotFound"
    assert world.requests() == []


@row("B-21")
def test_a_folder_moves_with_everything_in_it_or_not_at_all(world: World):
    ids = {name: adopted(world, name).item.item_id for name in ("/a/x", "/a/b/y", "/ab", "/c/b/y")}
    world.engine.folders.create(name="/a/b", description="deep", tags=["t"])
    before = world.tables()
    error = refused(world.engine.folders.move, source="/a", target="/c")
    assert (error.code, error.exit_code) == ("NameConflict", 5)
    assert world.tables() == before
    moved = world.engine.folders.move(source="a", target="d/e").moved
    assert moved == {"/a/x": "/d/e/x", "/a/b/y": "/d/e/b/y", "/a/b": "/d/e/b"}
    assert world.describe("/d/e/b/y").item.item_id == ids["/a/b/y"]
    assert world.describe("/ab").item.item_id == ids["/ab"]
    (folder,) = world.engine.folders.list_all()
    assert (folder.folder.name, folder.folder.description, folder.items) == ("/d/e/b", "deep", 1)
    world.engine.folders.move(source="/d/e/b/y", target="/d/e/b/z")
    assert world.describe("/d/e/b/z").item.item_id == ids["/a/b/y"]


@row("B-21")
@pytest.mark.parametrize(
    ("source", "target", "code"),
    [("/a", "/a/b", "NameInvalid"), ("/a", "/x//y", "NameInvalid"), ("/nowhere", "/b", "ItemNotFound")],
)
def test_a_move_that_cannot_be_is_refused(world: World, source: str, target: str, code: str):
    adopted(world, "/a/x")
    before = world.tables()
    assert refused(world.engine.folders.move, source=source, target=target).code == code
    assert world.tables() == before


def test_a_folder_may_move_up_into_its_parent(world: World):
    """A name is free before the next one takes it."""
    for name in ("/a/a/x", "/a/a/a/x"):
        adopted(world, name)
    moved = world.engine.folders.move(source="/a/a", target="/a").moved
    assert moved == {"/a/a/a/x": "/a/a/x", "/a/a/x": "/a/x"}
    assert listed(world)[0] == ["/a/a/x", "/a/x"]


# --- lists


def listed(world: World, **query: Any) -> tuple[list[str], list[str]]:
    listing = world.engine.secrets.list_page(Query(**query))
    return [view.item.name for view in listing.items], list(listing.folders)


@row("AK-16")
def test_made_folders_are_listed_with_those_of_items(world: World):
    adopted(world, "/x/y/s", tags=["red"])
    world.engine.folders.create(name="/x/empty", tags=["red"])
    world.engine.folders.create(name="/x/y")
    assert listed(world) == (["/x/y/s"], ["/x", "/x/empty", "/x/y"])
    assert listed(world, path="/x", current_folder=True) == ([], ["/x/empty", "/x/y"])
    assert listed(world, tag="red") == (["/x/y/s"], ["/x", "/x/empty", "/x/y"])
    assert listed(world, tag="blue") == ([], [])
    error = refused(world.engine.folders.create, name="x/y")
    assert error.code == "NameConflict"


@row("AK-16")
def test_a_failed_create_leaves_no_folder(world: World, control: Control):
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="denied", times=None)
    assert refused(world.create, name="/x/y/s").code == "AzurePermissionMissing"
    assert listed(world) == ([], [])


@row("B-04")
def test_a_list_shows_what_fits_all_that_is_given(world: World):
    adopted(world, "/prod/a", tags=["red"])
    world.clock.advance(hours=1)
    since = world.clock.now()
    world.clock.advance(hours=1)
    adopted(world, "/prod/b", tags=["red", "blue"])
    adopted(world, "/test/a")
    assert listed(world, text="prod")[0] == ["/prod/a", "/prod/b"]
    assert listed(world, text="*/a")[0] == ["/prod/a", "/test/a"]
    assert listed(world, tag="red", modified_after=since)[0] == ["/prod/b"]
    assert listed(world, rotator_types=frozenset({"password"})) == ([], [])
    assert listed(world, rotator_types=frozenset({"api-key"}), path="/test")[0] == ["/test/a"]


@row("B-04")
def test_pages_follow_one_another_and_lose_nothing(world: World):
    names = [f"/p/{number}" for number in range(5)]
    for name in names:
        adopted(world, name)
    found, token, pages = [], None, 0
    while True:
        listing = world.engine.secrets.list_page(Query(page_size=2, token=token))
        found += [view.item.name for view in listing.items]
        assert listing.folders == (("/p",) if pages == 0 else ())
        token, pages = listing.next_page, pages + 1
        if token is None:
            break
    assert (found, pages) == (names, 3)
    assert refused(world.engine.secrets.list_page, Query(token="%%%")).code == "ParameterInvalid"


# --- metadata


@row("B-04")
@row("B-18")
def test_tags_are_added_and_removed_one_by_one(world: World):
    world.create(tags=["a", "b"])
    world.mark()
    view = world.engine.secrets.update({}, name=ITEM, add_tags=["c", "a"], rm_tags=["b"])
    assert view.item.tags == ("a", "c")
    assert world.versions() == {1: Stage.CURRENT}
    assert world.writes() == []


# --- deletion of many


@row("AK-53")
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("protect", ["an item", "its folder", "a folder inside", "a folder above"])
def test_one_protected_thing_refuses_all(world: World, protect: str, force: bool):
    world.create(name="/prod/team/minted", delete_protection=protect == "an item")
    adopted(world, "/prod/team/sub/other")
    folders = {"its folder": "/prod/team", "a folder inside": "/prod/team/sub", "a folder above": "/prod"}
    if protect in folders:
        world.engine.folders.create(name=folders[protect], delete_protection=True)
    before = world.tables()
    world.mark()
    for given in ({"path": "/prod/team"}, {"names": ["/prod/team/sub/other", "/prod/team/minted"]}):
        error = refused(world.engine.secrets.delete_many, force=force, **given)
        assert (error.code, error.exit_code) == ("DeleteProtected", 5)
    assert world.tables() == before
    assert world.requests() == []


@row("AK-53")
def test_a_protected_folder_protects_what_lies_in_it_until_it_is_switched_off(world: World):
    world.create()
    world.engine.folders.create(name="/prod", delete_protection=True)
    for ask in (
        lambda: world.engine.secrets.delete(name=ITEM, force=True),
        lambda: world.engine.folders.delete(name="/prod"),
    ):
        assert refused(ask).code == "DeleteProtected"
    world.engine.folders.update(name="/prod", delete_protection=False)
    done = world.engine.secrets.delete_many(path="/prod")
    assert (len(done.deletions), done.folders) == (1, ("/prod",))
    assert world.key_ids() == {world.secret_of_boot()}
    assert world.engine.folders.list_all() == []


@row("B-04")
def test_many_are_deleted_and_what_is_missing_stops_all(world: World):
    world.create()
    adopted(world, "/prod/other")
    assert refused(world.engine.secrets.delete_many, names=[ITEM, "/no/such"]).code == "ItemNotFound"
    assert len(world.versions()) == 1
    done = world.engine.secrets.delete_many(names=[ITEM, "/prod/other", ITEM])
    assert [len(one.revoked) for one in done.deletions] == [1, 0]
    assert refused(world.engine.secrets.delete_many, path="/prod").code == "ItemNotFound"


@row("AK-53")
@pytest.mark.parametrize("how", ["no grant", "not an owner", "an outage", "the Target's secret is gone"])
def test_what_azure_would_refuse_for_one_deletes_none(
    world: World, control: Control, make_application: MakeApplication, how: str
):
    """The one that would be refused is the last in the alphabet."""
    world.create(name="/prod/a")
    other = make_application("other", owners=[world.rotator.app_id])
    world.create(name="/prod/z", app_id=other.app_id)
    match how:
        case "no grant":
            control.update_application(world.rotator.app_id, roles=[])
        case "not an owner":
            control.update_application(other.app_id, owners=[])
        case "an outage":
            control.add_fault("graph.getApplication", app=other.app_id, preset="unavailable-503", times=None)
        case _:
            known = control.verify(world.rotator.app_id, world.rotator.secret)
            assert known is not None
            control.remove_secret(world.rotator.app_id, known.key_id)
    before, keys = world.tables(), world.key_ids()
    world.mark()
    error = refused(world.engine.secrets.delete_many, path="/prod")
    assert error.exit_code == 7
    assert error.details["deleted"] == []
    assert error.details["failed"] in {"/prod/a", "/prod/z"}
    assert world.tables() == before
    assert world.key_ids() == keys
    assert world.writes() == []


def test_an_application_that_is_gone_stands_in_nobodys_way(
    world: World, control: Control, make_application: MakeApplication
):
    world.create(name="/prod/a")
    other = make_application("other", owners=[world.rotator.app_id])
    world.create(name="/prod/z", app_id=other.app_id)
    control.delete_application(other.app_id)
    assert len(world.engine.secrets.delete_many(path="/prod").deletions) == 2


def test_what_went_before_a_refusal_is_told(world: World, control: Control):
    adopted(world, "/prod/adopted")
    world.create()
    control.add_fault("graph.removePassword", app=world.workload.app_id, preset="denied", times=None)
    error = refused(world.engine.secrets.delete_many, path="/prod")
    assert (error.code, error.details["deleted"], error.details["failed"]) == (
        "AzurePermissionMissing",
        ["/prod/adopted"],
        ITEM,
    )
    assert world.value()


# --- Targets


@row("AK-04")
def test_only_the_details_show_the_secret_and_each_use_is_noted(world: World):
    assert world.rotator.secret not in repr(world.engine.targets.get(name=TARGET).facts(show_versions=True))
    details = world.engine.targets.get_details(name=TARGET)
    assert details.secret is not None
    assert details.secret.reveal() == world.rotator.secret
    assert world.rotator.secret not in repr(details)
    (line,) = world.audit("get_target_details")
    assert (line.path, line.details) == (TARGET, {"version": 1})


@row("B-05")
def test_a_target_keeps_as_many_secrets_as_it_says(world: World):
    world.engine.targets.update({"max_versions": 2}, name=TARGET)
    for number in (2, 3):
        world.engine.targets.update({"client_secret": f"made-up-{number}"}, name=TARGET)
    facts = world.engine.targets.get(name=TARGET).facts(show_versions=True)
    assert [v["version"] for v in facts["target_versions"]] == [2, 3]  # type: ignore[attr-defined]
    second = world.engine.targets.get_details(name=TARGET, version=2).secret
    assert second is not None
    assert second.reveal() == "made-up-2"
    error = refused(world.engine.targets.get_details, name=TARGET, version=1)
    assert (error.code, error.exit_code) == ("VersionNotFound", 4)


@row("AK-18")
def test_a_target_in_use_goes_by_force_only_and_its_items_can_still_be_read(world: World):
    world.create()
    value = world.value()
    assert refused(world.engine.targets.delete, name=TARGET).code == "TargetInUse"
    assert refused(world.engine.targets.delete_many, path="/azure").code == "TargetInUse"
    view = world.engine.targets.delete(name=TARGET, force=True)
    assert view.items == (ITEM,)
    assert world.value() == value
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("TargetNotFound", 4)
    assert refused(world.engine.secrets.delete, name=ITEM).code == "TargetNotFound"
    done = world.engine.secrets.delete(name=ITEM, force=True)
    assert len(done.orphans) == 1
    assert world.tables()["items"] == []


@row("AK-53")
def test_a_protected_target_goes_not_even_by_force(world: World):
    world.create_target("/azure/other", delete_protection=True)
    before = world.tables()
    for given in ({"path": "/azure"}, {"names": [TARGET, "/azure/other"]}):
        assert refused(world.engine.targets.delete_many, force=True, **given).code == "DeleteProtected"
    assert world.tables() == before
    world.engine.targets.update({"delete_protection": False}, name="/azure/other")
    assert len(world.engine.targets.delete_many(path="/azure")) == 2


@row("B-04")
def test_targets_are_listed_by_name_and_by_what_they_can_serve(world: World):
    world.create_target("/azure/storage", subscription_id=world.rotator.info.tenant_id, resource_group_name="g")
    names = lambda **query: [v.target.name for v in world.engine.targets.list_page(**query).targets]  # noqa: E731
    assert names() == [TARGET, "/azure/storage"]
    assert names(text="stor") == ["/azure/storage"]
    assert names(for_rotator=RotatorType.STORAGE_ACCOUNT) == []
    world.engine.targets.update({"resource_name": "acct"}, name="/azure/storage")
    assert names(for_rotator=RotatorType.STORAGE_ACCOUNT) == ["/azure/storage"]
    assert names(for_rotator=RotatorType.TARGET) == [TARGET, "/azure/storage"]


# --- the account


def account(world: World, **changes: Any):
    return world.engine.account.update(changes)


@row("B-16")
def test_a_cap_refuses_longer_intervals_and_lists_those_there_are(world: World):
    world.create(auto_rotate=True, rotation_interval=90)
    view = account(world, max_rotation_interval_enable=True, max_rotation_interval=60)
    assert view.above_max == (ITEM,)
    before = world.tables()
    for ask in (
        lambda: world.create(name="/other", rotation_interval=61, auto_rotate=True),
        lambda: world.engine.secrets.update({"rotation_interval": 61}, name=ITEM),
    ):
        error = refused(ask)
        assert (error.code, error.exit_code) == ("IntervalAboveAccountMax", 2)
    assert world.tables() == before
    world.engine.secrets.update({"description": "still served"}, name=ITEM)
    world.engine.secrets.update({"rotation_interval": 60}, name=ITEM)
    assert world.engine.account.get().above_max == ()


@row("B-05")
def test_the_account_says_what_items_do_not(world: World):
    account(world, max_versions=2, items_deletion_protection=True, invalid_characters="~+")
    view = world.create(revoke_after="0", max_versions=9)
    assert view.item.delete_protection
    for _ in range(3):
        world.rotate()
    assert list(world.versions()) == [3, 4], "the account's number caps the item's"
    assert refused(world.create, name="/a~b").code == "NameInvalid"
    account(world, default_versioning=False)
    world.rotate()
    world.rotate()
    assert list(world.versions()) == [5, 6]
    world.engine.secrets.update({"keep_prev_version": True}, name=ITEM)
    world.rotate()
    assert list(world.versions()) == [6, 7]
    account(world, items_deletion_protection=None)
    assert not world.engine.secrets.update({"delete_protection": None}, name=ITEM).item.delete_protection


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"max_versions": 0}, "ParameterInvalid"),
        ({"max_versions": 301}, "ParameterInvalid"),
        ({"max_rotation_interval": 366}, "IntervalOutOfRange"),
        ({"password_length": 7}, "PasswordPolicyInvalid"),
        ({"use_numbers": False, "use_lower_letters": False}, "PasswordPolicyInvalid"),
        ({"usage_event_interval": 89}, "ParameterInvalid"),
    ],
)
def test_a_setting_out_of_range_is_refused(world: World, changes: dict[str, Any], code: str):
    before = world.tables()
    error = refused(account, world, **changes)
    assert (error.code, error.exit_code) == (code, 2)
    assert world.tables() == before


def test_two_administrators_do_not_overwrite_each_other(world: World):
    other = world.process(who="bob")

    def faster(*_: object) -> None:
        account(world, max_versions=5)

    other.store.before["update_account"] = faster
    assert refused(other.engine.account.update, {"max_versions": 7}).code == "ItemLocked"
    assert world.engine.account.get().account.max_versions == 5
