"""Commands at work: waiting, refusals of Azure, two at once, interruption, deletion, reconcile and the audit log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import PROGRAM, Place, Terminal, offline_item
from tests.cli.test_bad_input import refused, unchanged
from tests.plugins.azure import MakeApplication
from tests.rows import row

VALUE = ("rotated-secret", "get-value", "-n", "s")


def started(terminal: Terminal, *argv: str) -> subprocess.Popen[bytes]:
    env = os.environ | terminal.settings
    return subprocess.Popen([PROGRAM, *argv], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# --- waiting ------------------------------------------------------------------------------------------------------


def test_who_waits_in_the_foreground_is_told_why_and_until_when(place: Place):
    place.control.add_fault("graph.addPassword", app=place.workload.app_id, preset="throttled", times=1)
    process = started(place.terminal, *place.item())
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert re.search(r"429.*; next attempt at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", line), line
    assert process.returncode == 130


def test_beyond_the_limit_a_create_is_undone(place: Place):
    fault = {"preset": "throttled", "headers": {"Retry-After": "3600"}}
    place.control.add_fault("graph.addPassword", app=place.workload.app_id, **fault)
    refused(place.terminal(*place.item("--timeout", "2")), "AzureThrottled", 7, "undone")
    assert place.terminal.told("rotated-secret", "list", "--json").json["items"] == []
    place.control.clear_faults()
    assert [s.display_name for s in place.control.secrets(place.workload.app_id) if s.is_alive] == ["boot"]


def test_beyond_the_limit_a_rotation_is_left_with_its_next_attempt(place: Place):
    place.terminal.told(*place.item())
    value = place.terminal.told(*VALUE).out
    fault = {"preset": "throttled", "headers": {"Retry-After": "3600"}}
    place.control.add_fault("graph.addPassword", app=place.workload.app_id, **fault)
    refused(place.terminal("rotate-secret", "-n", "s", "--timeout", "2"), "AzureThrottled", 7, "next attempt is at 20")
    assert place.terminal.told(*VALUE).out == value
    details = place.terminal.told("describe-item", "-n", "s", "--json").json["rotated_secret_details"]
    assert details["next_attempt_at"] is not None
    assert details["last_rotation_error"].startswith("AzureThrottled: ")


def test_an_interrupted_command_says_how_to_go_on_and_loses_nothing(place: Place):
    place.terminal.told(*place.item("--revoke-after", "0"))
    value = place.terminal.told(*VALUE).json
    held = place.control.add_fault("graph.addPassword", app=place.workload.app_id, preset="held", when="after")
    process = started(place.terminal, "rotate-secret", "-n", "s")
    held.wait_reached()
    process.send_signal(signal.SIGINT)
    held.release()
    out, err = process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert err.decode().strip() == (
        "error: interrupted (InternalError)\n"
        "hint: what was begun is in the journal; azure-rotator reconcile finishes or undoes it"
    )
    assert place.terminal.told(*VALUE).json == value
    place.terminal.told("reconcile")
    after = place.terminal.told(*VALUE, "--json").json
    assert after["version"] == 2
    alive = [s.key_id for s in place.control.secrets(place.workload.app_id) if s.is_alive]
    assert set(alive) <= {place.boot.key_id, value["key_id"], after["value"]["key_id"]}
    assert after["value"]["key_id"] in alive


# --- two at once --------------------------------------------------------------------------------------------------


@row("AK-15")
def test_of_two_racing_creates_exactly_one_wins_and_one_secret_is_made(place: Place):
    processes = [started(place.terminal, *place.item("--json", name="a/s")) for _ in range(2)]
    ended = [(*process.communicate(), process.returncode) for process in processes]
    assert sorted(code for _, _, code in ended) == [0, 5], ended
    lost = next(json.loads(err.splitlines()[-1]) for _, err, code in ended if code)
    won = next(json.loads(out) for out, _, code in ended if not code)
    assert lost["error"]["code"] == "NameConflict"
    alive = [s.key_id for s in place.control.secrets(place.workload.app_id) if s.is_alive]
    assert set(alive) == {place.boot.key_id, won["rotated_secret_details"]["key_id"]}


# --- what Azure allows --------------------------------------------------------------------------------------------


class TestWithoutAnyRight:
    @pytest.fixture
    def place(self, place: Place) -> Place:
        """An item whose Target has lost its grants since."""
        place.terminal.told(*place.item())
        place.control.update_application(place.rotator.app_id, roles=[])
        return place

    @row("AK-10")
    def test_a_create_leaves_no_item(self, place: Place):
        with unchanged(place):
            said = place.terminal(*place.item(name="new"))
        refused(said, "AzurePermissionMissing", 7, "Application.ReadWrite.OwnedBy", "Application.ReadWrite.All")

    @row("AK-10")
    def test_a_rotation_fails_and_keeps_the_value(self, place: Place):
        value = place.terminal.told(*VALUE).out
        refused(
            place.terminal("rotate-secret", "-n", "s"), "AzurePermissionMissing", 7, "Application.ReadWrite.OwnedBy"
        )
        assert place.terminal.told(*VALUE).out == value
        details = place.terminal.told("describe-item", "-n", "s", "--json").json["rotated_secret_details"]
        assert details["rotator_status"] == "RotationFailed"

    @row("AK-10", "B-01")
    def test_a_delete_fails_unless_it_is_forced_and_then_names_the_orphan(self, place: Place):
        key_id = place.terminal.told(*VALUE).json["key_id"]
        refused(place.terminal("delete-item", "-n", "s"), "AzurePermissionMissing", 7)
        assert place.terminal.told(*VALUE).json["key_id"] == key_id
        said = place.terminal.told("delete-item", "-n", "s", "--force-delete", "--json", "--quiet")
        assert (said.json["orphans"], said.json["revoked"], said.json["left_in_azure"]) == ([key_id], [], [])
        assert said.err == f"warning: left in Azure, and nobody's now: {key_id}; remove them by hand\n"
        refused(place.terminal(*VALUE), "ItemNotFound", 4)

    @row("AK-05")
    def test_target_test_names_the_missing_grant(self, place: Place):
        said = place.terminal("target", "test", "-n", "t", "--json")
        assert said.code == 7
        assert [(need["need"], need["result"], need["outcome"]) for need in said.json["needs"]] == [
            ("login", "ok", "ok"),
            ("application secrets", "AzurePermissionMissing", "failed"),
            ("own secret", "AzurePermissionMissing", "warning"),
            ("passwords", "AzurePermissionMissing", "warning"),
            ("storage keys", "TargetIncomplete", "unknown"),
        ]
        assert said.error["code"] == "AzurePermissionMissing"
        assert "Application.ReadWrite.OwnedBy" in said.error["hint"]


@row("AK-05")
def test_target_test_fails_for_what_is_asked_for(place: Place):
    place.terminal.told("target", "test", "-n", "t")
    said = place.terminal("target", "test", "-n", "t", "--for-rotator", "password")
    assert (said.code, said.err.count("User-PasswordProfile.ReadWrite.All")) == (7, 2)
    assert "fix for passwords: grant" in said.out
    refused(place.terminal("target", "test", "-n", "t", "--for-rotator", "nothing"), "RotatorTypeInvalid", 2)


@row("B-01")
def test_deleting_an_item_removes_what_was_minted_for_it_and_nothing_else(place: Place):
    place.terminal.told(*place.item())
    first = place.terminal.told(*VALUE).json["key_id"]
    place.terminal.told("rotate-secret", "-n", "s")
    second = place.terminal.told(*VALUE).json["key_id"]
    deleted = place.terminal.told("delete-item", "-n", "s", "--json").json
    assert (sorted(deleted["revoked"]), deleted["orphans"]) == (sorted([first, second]), [])
    assert [s.key_id for s in place.control.secrets(place.workload.app_id) if s.is_alive] == [place.boot.key_id]


@row("AK-27")
def test_a_rotation_replaces_the_adopted_key_id_only(place: Place):
    other = place.control.add_secret(place.workload.app_id, display_name="other")
    item = place.item("--api-id", place.boot.key_id, "--api-key", "-", "--revoke-after", "0")
    place.terminal.told(*item, stdin=place.workload.secret)
    place.terminal.told("rotate-secret", "-n", "s")
    place.terminal.told("reconcile")
    alive = {s.key_id for s in place.control.secrets(place.workload.app_id) if s.is_alive}
    new = place.terminal.told(*VALUE).json["key_id"]
    assert {other.key_id, new} <= alive
    revoked = place.terminal.told("describe-item", "-n", "s", "--show-versions", "--json").json["item_versions"][0]
    assert (revoked["key_id"], revoked["stage"] == "revoked") == (place.boot.key_id, place.boot.key_id not in alive)


@row("AK-27")
def test_without_the_dry_run_an_unknown_key_id_is_taken(place: Place):
    unknown = "99999999-9999-4999-8999-999999999999"
    place.terminal.told(*place.item("--api-id", unknown, "--skip-dry-run"))
    assert place.terminal.told("describe-item", "-n", "s", "--json").json["last_version"] == 0


@row("AK-02")
def test_a_target_must_be_there_also_for_reconcile(place: Place):
    with unchanged(place):
        refused(place.terminal("reconcile", "--target", "nowhere"), "TargetNotFound", 4, '"/nowhere"')


# --- reconcile ----------------------------------------------------------------------------------------------------


def test_what_cannot_be_reconciled_is_told_and_fails_while_the_rest_is_done(
    place: Place, make_application: MakeApplication
):
    other = make_application("other", owners=[place.rotator.app_id])
    place.terminal.told(*place.item(name="here"))
    argv = ["other" if word == "s" else word for word in place.item()]
    place.terminal.told(*(other.app_id if word == place.workload.app_id else word for word in argv))
    place.control.delete_application(other.app_id)
    said = place.terminal("reconcile", "--json")
    assert said.code == 7
    assert [(problem["where"], problem["code"]) for problem in said.json["problems"]] == [
        (f"application {other.app_id}", "ApplicationNotFound")
    ]
    assert said.error["code"] == "ApplicationNotFound"
    refused_text = place.terminal("reconcile")
    assert "no orphans" in refused_text.out
    assert f"error: application {other.app_id}: " in refused_text.err


# --- the audit log ------------------------------------------------------------------------------------------------


@row("B-24")
def test_every_operation_leaves_one_line_with_who_what_where_and_how_it_ended(place: Place):
    terminal = place.terminal
    terminal.told("target", "update", "azure", "-n", "t", "--description", "x")
    terminal.told(*place.item(name="p/s"))
    terminal.told("get-rotated-secret-value", "-n", "p/s")
    terminal.told("rotate-secret", "-n", "p/s")
    terminal.told("update-rotated-secret", "-n", "p/s", "--description", "x")
    place.control.add_fault("graph.addPassword", app=place.workload.app_id, preset="denied")
    assert terminal("rotate-secret", "-n", "p/s").code == 7
    terminal.told("delete-item", "-n", "p/s")
    terminal.told("target", "delete", "-n", "t")
    lines = terminal.told("audit", "list", "--json").json["lines"]
    assert [(line["action"], line["path"], line["result"]) for line in lines] == [
        ("create_target", "/t", "ok"),
        ("update_target", "/t", "ok"),
        ("begin_create_item", "/p/s", "ok"),
        ("create_item", "/p/s", "ok"),
        ("create_assoc_target_item", "/p/s", "ok"),
        ("get_rotated_secret_value", "/p/s", "ok"),
        ("rotate_item", "/p/s", "ok"),
        ("update_item", "/p/s", "ok"),
        ("rotate_item", "/p/s", "AzurePermissionMissing"),
        ("delete_item", "/p/s", "ok"),
        ("delete_target", "/t", "ok"),
    ]
    now = datetime.now(UTC)
    for line in lines:
        assert set(line) == {"time", "who", "action", "path", "result", "details"}
        assert line["who"] == "ada"
        assert now - timedelta(minutes=5) < datetime.fromisoformat(line["time"]) <= now


@row("B-24")
@pytest.mark.parametrize(
    ("argv", "actions"),
    [
        (("-n", "old"), ["create_assoc_target_item", "create_item", "get_rotated_secret_value"]),
        (("-n", "/t"), ["create_target"]),
        (("-n", "nowhere"), []),
        (("--action", "get_rotated_secret_value"), ["get_rotated_secret_value"]),
        (("-n", "old", "--action", "create_item"), ["create_item"]),
        (("--since", "2999-01-01"), []),
        (("--since", "2000-01-01", "-n", "t"), ["create_target"]),
        (("--since", "2000-01-01T00:00:00Z", "-n", "t"), ["create_target"]),
        (("--since", "2999-01-01T01:00:00+01:00"), []),
        (("--since", "1h", "-n", "t"), ["create_target"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_the_log_is_asked_by_path_action_and_time(stocked: Terminal, argv: tuple[str, ...], actions: list[str]):
    stocked.told("get-rotated-secret-value", "-n", "old")
    lines = stocked.told("audit", "list", "--json", *argv).json["lines"]
    assert sorted(line["action"] for line in lines) == sorted(actions)


@pytest.mark.parametrize("since", ["yesterday", "", "12", "2030-13-01", "5w"])
def test_a_time_that_is_none_is_told(terminal: Terminal, since: str):
    refused(terminal("audit", "list", "--since", since), "ParameterInvalid", 2, "--since")


def test_what_others_wrote_does_nothing_to_the_terminal(stocked: Terminal):
    stocked.told("target", "update", "azure", "-n", "t", "--description", "a\x1b[2Jb\nc\u202ed")
    said = stocked.told("target", "get", "-n", "t")
    assert "description:               a\\x1b[2Jb\\nc\\u202ed\n" in said.out
    assert stocked.told("target", "get", "-n", "t", "--jq-expression", ".description").out == "a\x1b[2Jb\nc\u202ed\n"


def test_an_update_sends_only_what_is_given_and_an_empty_text_resets(stocked: Terminal):
    stocked.told(
        *offline_item("new", "--description", "d", "--tag", "a", "--revoke-after", "1h", key=7), stdin="made-up"
    )

    def update(*argv: str) -> tuple[object, ...]:
        facts = stocked.told("update-rotated-secret", "-n", "new", "--json", *argv).json
        details = facts["rotated_secret_details"]
        return facts["item_metadata"], facts["item_tags"], details["revoke_after"], facts["rotation_interval"]

    assert update("--rotation-interval", "7") == ("d", ["a"], "1h", 7)
    assert update("--description", "", "--tags", "b", "--tags", "c") == ("", ["b", "c"], "1h", 7)
    assert update("--revoke-after", "", "--tag", "", "--rotation-interval", "") == ("", [], None, None)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("--app-id", "77777777-7777-4777-8777-777777777777"), "ParameterImmutable"),
        (("--target-name", "other"), "ParameterImmutable"),
        (("--rotator-type", "target"), "ParameterImmutable"),
        (("--api-key", ""), "ParameterMissing"),
        (("--rotation-interval", "0"), "IntervalOutOfRange"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_update_that_cannot_be_is_refused(stocked: Terminal, argv: tuple[str, ...], code: str):
    before = stocked.rows()
    refused(stocked("rotated-secret", "update", "azure", "-n", "old", *argv), code, 2)
    assert stocked.rows() == before
    assert (
        argv[0] not in stocked.told("rotated-secret", "update", "azure", "--help").out or code != "ParameterImmutable"
    )


def test_a_rename_keeps_id_and_versions(stocked: Terminal):
    before = stocked.told("describe-item", "-n", "old", "--json", "--show-versions").json
    stocked.told("update-rotated-secret", "-n", "old", "--new-name", "x/new")
    after = stocked.told("describe-item", "-n", "x/new", "--json", "--show-versions").json
    assert (after["item_id"], after["item_versions"]) == (before["item_id"], before["item_versions"])
    refused(stocked("describe-item", "-n", "old"), "ItemNotFound", 4)
