"""Lists, folders, moves, switches and the account at the terminal: each flag does what it says."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Terminal, offline_item, offline_target
from tests.rows import row


@pytest.fixture
def shelf(stocked: Terminal) -> Terminal:
    for number, (name, *more) in enumerate([("x/a", "-t", "red"), ("x/y/b", "-t", "red"), ("z",)]):
        stocked.told(*offline_item(name, *more, key=number), stdin="made-up")
    return stocked


def names(terminal: Terminal, *argv: str) -> list[str]:
    return [item["item_name"] for item in terminal.told("list-items", "--json", *argv).json["items"]]


@row("B-04")
def test_lists_are_filtered(shelf: Terminal):
    assert names(shelf) == ["/old", "/x/a", "/x/y/b", "/z"]
    assert names(shelf, "--type", "rotated-secret", "--sub-types", "api-key", "--tag", "red") == ["/x/a", "/x/y/b"]
    assert names(shelf, "--sub-types", "password") == []
    assert names(shelf, "--filter", "y/") == ["/x/y/b"]
    assert names(shelf, "--modified-after", "99999999999") == []
    assert names(shelf, "--modified-after", "0", "--path", "x", "--current-folder") == ["/x/a"]
    brief = shelf.told("list-items", "--json", "--minimal-view", "--filter", "/z").json["items"]
    assert [set(item) for item in brief] == [
        {"item_name", "item_id", "item_type", "item_state", "is_enabled", "modification_date", "rotator_type"}
    ]
    paged = shelf.told("list-items", "--json", "--auto-pagination", "disabled").json
    assert (len(paged["items"]), paged["has_next"], paged["next_page"]) == (4, False, None)


@row("B-04")
@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("--type", "static-secret"), "ParameterInvalid"),
        (("--sub-types", "ssh"), "RotatorTypeInvalid"),
        (("--auto-pagination", "maybe"), "ParameterInvalid"),
        (("--pagination-token", "%"), "ParameterInvalid"),
        (("--modified-after", "yesterday"), "ParameterInvalid"),
    ],
)
def test_a_filter_that_is_none_is_refused(shelf: Terminal, argv: tuple[str, ...], code: str):
    said = shelf("list-items", "--json", *argv)
    assert (said.code, said.error["code"]) == (2, code)


@row("B-21", "B-04")
def test_items_are_changed_moved_and_switched(shelf: Terminal):
    done = shelf.told(
        *("update-item", "-n", "z", "--new-name", "w", "--description", "d", "--add-tag", "t1", "--add-tag", "t2"),
        *("--rm-tag", "t1", "--max-versions", "4", "--delete-protection", "--json"),
    ).json
    assert (done["item_name"], done["item_metadata"], done["delete_protection"]) == ("/w", "d", True)
    assert sorted(done["item_tags"]) == ["t1", "t2"]
    assert done["rotated_secret_details"]["max_versions"] == 4
    assert shelf("update-item", "-n", "w").code == 2
    moved = shelf.told("move-objects", "-s", "x", "-t", "q/r", "--json").json["moved"]
    assert moved == [{"from": "/x/a", "to": "/q/r/a"}, {"from": "/x/y/b", "to": "/q/r/y/b"}]
    assert shelf.told("set-item-state", "-n", "w", "-s", "Disabled", "--json").json["is_enabled"] is False
    said = shelf("get-rotated-secret-value", "-n", "w", "--json")
    assert (said.code, said.error["code"]) == (5, "ItemDisabled")
    assert "disabled" in shelf.told("list-items", "--filter", "/w").out
    assert shelf.told("set-item-state", "-n", "w", "-s", "enabled", "--json").json["is_enabled"] is True
    assert shelf("set-item-state", "-n", "w", "-s", "off").code == 2
    shelf.told("rotated-secret", "update", "azure", "-n", "w", "--rm-tag", "t2")


@row("AK-16", "AK-53", "B-04")
def test_folders_are_made_protected_and_emptied(shelf: Terminal):
    made = shelf.told(
        "folder", "create", "-n", "x", "--description", "d", "--tags", "t", "--delete-protection", "--json"
    )
    assert (made.json["folder_name"], made.json["items"], made.json["delete_protection"]) == ("/x", 2, True)
    for argv in (("delete-items", "-p", "x"), ("delete-items", "--item", "z", "--item", "x/a", "--force-delete")):
        said = shelf(*argv, "--json")
        assert (said.code, said.error["code"]) == (5, "DeleteProtected")
    assert shelf("folder", "delete", "-n", "x").code == 5
    shelf.told("folder", "update", "-n", "x", "--delete-protection", "false", "--add-tag", "u", "--rm-tag", "t")
    (folder,) = shelf.told("folder", "list", "--path", "/", "--json").json["folders"]
    assert (folder["tags"], folder["description"]) == (["u"], "d")
    done = shelf.told("delete-items", "--path", "x", "--json").json
    assert [item["item_name"] for item in done["items"]] == ["/x/a", "/x/y/b"]
    assert done["folders"] == ["/x"]
    assert shelf("delete-items").code == 2
    assert shelf("folder", "delete", "-n", "x").code == 4


@row("AK-04", "B-04")
def test_only_the_details_of_a_target_show_its_secret(shelf: Terminal):
    shown = shelf.told("target", "get", "-n", "t", "--show-versions").out
    assert "VERSION" in shown
    assert "made-up" not in shown
    details = shelf.told("target", "get-details", "-n", "t", "--target-version", "1", "--show-versions", "--json").json
    assert details["azure_client_secret"] == "made-up"
    assert shelf("target", "get-details", "-n", "t", "--target-version", "7").code == 4
    shelf.told(*offline_target("other"))
    assert (
        len(shelf.told("target", "list", "--filter", "oth", "--for-rotator", "api-key", "--json").json["targets"]) == 1
    )
    assert shelf("target", "list", "--for-rotator", "ssh").code == 2
    said = shelf("delete-targets", "-p", "/", "--json")
    assert (said.code, said.error["code"]) == (5, "TargetInUse")
    shelf.told("delete-targets", "-n", "other")
    forced = shelf.told("target", "delete", "-n", "t", "--force-deletion")
    assert "/x/a" in forced.err


@row("B-16", "B-04")
def test_the_account_has_settings(shelf: Terminal):
    shelf.told("update-item", "-n", "z", "--description", "d")
    shelf.told("rotated-secret", "update", "azure", "-n", "z", "--rotation-interval", "90")
    said = shelf.told(
        "update-account-settings", "--max-rotation-interval-enable", "--max-rotation-interval", "60", "--json"
    )
    assert said.json["items_above_max_rotation_interval"] == ["/z"]
    assert "/z" in said.err
    said = shelf("rotated-secret", "update", "azure", "-n", "old", "--rotation-interval", "61", "--json")
    assert (said.code, said.error["code"]) == (2, "IntervalAboveAccountMax")
    changed = [
        *("--default-versioning", "false", "--max-versions", "7", "--items-deletion-protection", "true"),
        *("--password-length", "30", "--use-special-characters", "false", "--use-capital-letters", "--use-numbers"),
        *("--use-lower-letters", "--invalid-characters", "~", "--usage-event-enable", "--usage-event-interval", "120"),
    ]
    shelf.told("update-account-settings", *changed)
    facts = shelf.told("get-account-settings", "--json").json
    assert (facts["max_versions"], facts["password_length"], facts["usage_event_interval"]) == (7, 30, 120)
    assert (facts["default_versioning"], facts["invalid_characters"]) == (False, "~")
    shelf.told("update-account-settings", "--invalid-characters", "", "--max-versions", "")
    assert shelf.told("get-account-settings", "--json").json["max_versions"] == 10
    assert shelf("update-account-settings").code == 2
