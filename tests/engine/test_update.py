"""Updating: what is omitted stays, None resets, credentials change only when given, and a rename keeps everything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.calendar import Cadence
from azure_rotator.domain.model import Origin, RotatorStatus, Stage
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import OWNED_BY
from tests.rows import row

ABSENT = "99999999-9999-4999-8999-999999999999"
DAY = timedelta(days=1)
SETTINGS: dict[str, Any] = {
    "auto_rotate": True,
    "rotation_interval": 30,
    "revoke_after": "3h",
    "description": "the billing application",
    "tags": ["blue", "team-a"],
    "delete_protection": True,
    "skip_dry_run": True,
}


def update(world: World, **changes: Any):
    return world.engine.secrets.update(changes, name=ITEM)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"description": "new"}, {"description": "new"}, id="a text"),
        pytest.param({"tags": ["red"]}, {"tags": ["red"]}, id="tags are replaced as a whole"),
        pytest.param({"rotation_interval": 60}, {"rotation_interval": 60}, id="the interval"),
        pytest.param({"auto_rotate": False}, {"auto_rotate": False}, id="switched off: the interval stays"),
        pytest.param({"revoke_after": "0"}, {"revoke_after": "0"}, id="revoke at once"),
        pytest.param({"description": None}, {"description": ""}, id="None resets a text"),
        pytest.param({"tags": None}, {"tags": []}, id="None resets tags"),
        pytest.param({"revoke_after": None}, {"revoke_after": None}, id="None resets the overlap"),
        pytest.param({"delete_protection": None}, {"delete_protection": False}, id="None resets a switch"),
        pytest.param(
            {"auto_rotate": None, "rotation_interval": None},
            {"auto_rotate": False, "rotation_interval": None},
            id="None resets the schedule",
        ),
        pytest.param(
            {"authentication_credentials": "use-self-creds"},
            {"authentication_credentials": "use-user-creds"},
            id="an alias",
        ),
        pytest.param(
            {"authentication_credentials": None},
            {"authentication_credentials": "use-user-creds"},
            id="the default mode",
        ),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_what_is_omitted_stays_and_none_resets(world: World, changes: dict[str, Any], expected: dict[str, Any]):
    before = world.create(**SETTINGS)
    world.mark()
    after = update(world, **changes)
    assert after.arguments() == before.arguments() | expected
    assert (after.versions, after.item.item_id) == (before.versions, before.item.item_id)
    assert world.requests() == []
    assert len(world.audit("update_item")) == (1 if changes else 0)


@pytest.mark.parametrize(
    ("changes", "code", "property_"),
    [
        ({"target_name": "/azure/other"}, "ParameterImmutable", "target_name"),
        ({"app_id": ABSENT}, "ParameterImmutable", "app_id"),
        ({"rotator_type": "password"}, "ParameterImmutable", "rotator_type"),
        ({"target_name": None}, "ParameterImmutable", "target_name"),
        ({"rotation_interval": 0}, "IntervalOutOfRange", "rotation_interval"),
        ({"rotation_interval": None}, "ParameterMissing", "rotation_interval"),
        ({"revoke_after": "30d"}, "ParameterInvalid", "revoke_after"),
        ({"rotation_interval": 1, "auto_rotate": True}, None, None),
        ({"name": "a//b"}, "NameInvalid", "name"),
        ({"name": None}, "ParameterMissing", "name"),
        ({"api_id": "the secret's value"}, "IdentifierMixedUp", "api_id"),
        ({"api_key": ABSENT}, "IdentifierMixedUp", "api_key"),
        ({"username": "ada@contoso"}, "ParameterIrrelevant", "username"),
    ],
)
def test_what_is_refused_changes_nothing(
    world: World, changes: dict[str, Any], code: str | None, property_: str | None
):
    world.create(**SETTINGS)
    before = world.tables()
    if code is None:
        assert update(world, **changes).item.rotation_interval == 1
        return
    error = refused(update, world, **changes)
    assert (error.code, error.exit_code) == (code, 2)
    assert error.details.get("property", property_) == property_
    assert world.tables() == before


def test_identifying_arguments_may_be_repeated_in_another_spelling(world: World):
    world.create()
    same = {"target_name": TARGET.removeprefix("/"), "app_id": world.workload.app_id.upper(), "rotator_type": "api-key"}
    assert update(world, **same).arguments() == world.describe().arguments()


# --- rename


@row("B-21")
def test_a_rename_keeps_id_versions_schedule_and_what_waits(world: World):
    before = world.create(auto_rotate=True, rotation_interval=30)
    world.rotate()
    before = world.describe()
    renamed = update(world, name="/prod/renamed")
    assert renamed.item.item_id == before.item.item_id
    assert renamed.versions == before.versions
    assert renamed.item.next_rotation_at == before.item.next_rotation_at
    assert refused(world.describe).code == "ItemNotFound"
    world.clock.advance(hours=24)
    world.engine.reconcile()
    assert world.versions("/prod/renamed") == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.engine.events()[0].item_name == ITEM
    assert world.rotate("/prod/renamed").version == 3


@row("B-21", "AK-15")
def test_a_rename_to_a_taken_path_is_refused(world: World):
    world.create()
    world.create(name="/prod/taken")
    before = world.tables()
    error = refused(update, world, name="prod/taken", description="x")
    assert (error.code, error.exit_code) == ("NameConflict", 5)
    assert world.tables() == before


# --- schedule


@row("F56", "AK-33")
@pytest.mark.parametrize(
    ("changes", "due"),
    [
        pytest.param({"rotation_interval": 7}, 10 * DAY, id="shorter, already past: at once"),
        pytest.param({"rotation_interval": 12}, 12 * DAY, id="shorter"),
        pytest.param({"rotation_interval": 45}, 45 * DAY, id="longer"),
        pytest.param(
            {"rotation_interval": 60}, 59 * DAY, id="longer than its secret lives: an overlap before", marks=row("F12")
        ),
        pytest.param({"auto_rotate": False}, None, id="switched off"),
        pytest.param({"description": "x"}, 30 * DAY, id="something else"),
    ],
)
def test_a_changed_interval_counts_from_the_last_rotation(world: World, changes: dict[str, Any], due: timedelta | None):
    world.create(auto_rotate=True, rotation_interval=30)
    world.clock.advance(days=3)
    world.rotate()
    rotated_at = world.clock.now()
    world.clock.advance(days=10)
    after = update(world, **changes).item
    assert after.next_rotation_at == (None if due is None else rotated_at + due)
    assert after.last_rotation_at == rotated_at


@row("F56")
def test_switched_on_it_counts_from_creation_or_the_last_rotation(world: World):
    created = world.create(rotation_interval=7).item.created_at
    world.clock.advance(days=2)
    assert update(world, auto_rotate=True).item.next_rotation_at == created + 7 * DAY


@row("F56", "AK-50", "F61")
@pytest.mark.parametrize(
    ("changes", "cadence", "past"),
    [
        ({"rotation_hour": 9}, Cadence(interval_days=30, hour=9), False),
        ({"rotation_hour": 0}, Cadence(interval_days=30, hour=0), False),
        (
            {"rotation_hour": 14, "time_zone": "Europe/Berlin"},
            Cadence(interval_days=30, hour=14, zone="Europe/Berlin"),
            False,
        ),
        ({"rotation_hour": 9, "rotation_interval": 7}, Cadence(interval_days=7, hour=9), True),
        ({"rotation_hour": 9, "rotation_offset": 3}, Cadence(interval_days=30, hour=9, offset=3), False),
    ],
    ids=["an hour", "midnight", "an hour elsewhere", "an hour, past: its next occurrence", "a phase"],
)
def test_a_changed_hour_counts_from_the_last_rotation(
    world: World, changes: dict[str, Any], cadence: Cadence, past: bool
):
    world.create(auto_rotate=True, rotation_interval=30)
    world.clock.advance(days=3)
    world.rotate()
    rotated_at = world.clock.now()
    world.clock.advance(days=10)
    after = update(world, **changes)
    begin_at = rotated_at + DAY if cadence.offset is not None else rotated_at
    due_at = cadence.from_now(world.clock.now()) if past else cadence.after(begin_at)
    if due_at < world.clock.now():  # the phase's day may have been in between
        due_at = cadence.from_now(world.clock.now())
    assert after.item.next_rotation_at == due_at
    told = after.facts()["rotated_secret_details"]
    assert {name: told[name] for name in changes if name != "rotation_interval"} == {
        name: value for name, value in changes.items() if name != "rotation_interval"
    }
    assert update(world, description="x").item.next_rotation_at == due_at, "nothing else moves it"


def test_what_is_overdue_stays_so_when_something_else_changes(world: World):
    due_at = world.create(auto_rotate=True, rotation_interval=30).item.next_rotation_at
    world.clock.advance(days=40)
    assert update(world, description="x").item.next_rotation_at == due_at


# --- modes


@row("AK-22")
def test_a_switch_of_the_mode_needs_no_secret_anew(world: World):
    world.control.update_application(
        world.workload.app_id, roles=[OWNED_BY], owners=[world.rotator.app_id, world.workload.app_id]
    )
    world.create(revoke_after="0")
    update(world, authentication_credentials="use-user-creds")
    world.mark()
    assert world.rotate().version == 2
    assert world.logins().keys() == {world.workload.app_id}
    update(world, authentication_credentials="use-target-creds")
    world.mark()
    assert world.rotate().version == 3
    assert world.rotator.app_id in world.logins()


@row("AK-29")
def test_an_item_without_a_value_cannot_log_in_as_itself(world: World):
    world.create(api_id=world.secret_of_boot())
    update(world, authentication_credentials="use-user-creds")
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("NoValueYet", 4)
    assert "use-target-creds" in error.hint
    update(world, authentication_credentials="use-target-creds")
    assert world.rotate().version == 1


# --- credentials


def adopted(world: World, **changes: Any) -> str:
    key_id = world.secret_of_boot()
    world.create(api_id=key_id, api_key=world.workload.secret, **changes)
    return key_id


def another_secret(world: World) -> tuple[str, str]:
    made = world.control.request("POST", f"/applications/{world.workload.app_id}/secrets", {"days": 90})
    return made["key_id"], made["value"]


@row("B-08")
@pytest.mark.parametrize("given", ["api_key", "api_id and api_key"])
def test_a_value_alone_corrects_the_present_key_id(world: World, given: str):
    key_id = world.secret_of_boot()
    world.create(api_id=key_id, api_key="a slip of the pen", skip_dry_run=True)
    changes = {"api_key": world.workload.secret} | ({"api_id": key_id.upper()} if " and " in given else {})
    after = update(world, **changes)
    assert (after.version, after.key_id, world.value()) == (1, key_id, world.workload.secret)
    assert [version.stage for version in after.versions] == [Stage.CURRENT]
    assert world.writes() == []
    line = world.audit("update_item")[-1]
    assert line.details == {"key_id": key_id}


def test_a_value_for_an_item_that_had_none_is_version_1(world: World):
    key_id = world.secret_of_boot()
    world.create(api_id=key_id)
    after = update(world, api_key=world.workload.secret)
    assert (after.version, after.key_id, world.value()) == (1, key_id, world.workload.secret)


@row("B-08")
@pytest.mark.parametrize("other_change", [{}, {"description": "new", "name": "/prod/renamed"}])
def test_a_wrong_value_is_caught_before_anything_is_changed(world: World, other_change: dict[str, Any]):
    adopted(world)
    before = world.tables()
    wrong = world.workload.secret[:3] + "8Q~something-else-altogether-and-wrong"
    error = refused(update, world, api_key=wrong, **other_change)
    assert error.code == "AzureAuthFailed"
    assert wrong not in str(error)
    assert world.tables() == before
    assert refused(update, world, api_key="no8Q~t-even-the-beginning-is-the-same").code == "IdentifierMixedUp"
    assert refused(update, world, api_id=ABSENT, api_key=wrong).code == "CredentialNotFound"
    assert world.tables() == before


@row("B-08")
def test_skip_dry_run_lets_a_wrong_value_pass(world: World):
    adopted(world, skip_dry_run=True)
    assert update(world, api_key="wrong").version == 1
    assert world.value() == "wrong"


def test_an_id_without_its_value_is_refused(world: World):
    adopted(world)
    key_id, _ = another_secret(world)
    before = world.tables()
    error = refused(update, world, api_id=key_id)
    assert (error.code, error.details["property"]) == ("ParameterMissing", "api_key")
    assert world.tables() == before
    assert update(world, api_id=world.secret_of_boot().upper()).version == 1


@pytest.mark.parametrize("revoke_after", ["0", "24h"])
@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
def test_another_secret_of_the_application_is_adopted_as_a_new_version(world: World, mode: str, revoke_after: str):
    if mode == "use-user-creds":
        world.control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
    old = adopted(world, authentication_credentials=mode, revoke_after=revoke_after)
    key_id, value = another_secret(world)
    world.mark()
    after = update(world, api_id=key_id, api_key=value)
    assert (after.version, after.key_id, world.value()) == (2, key_id, value)
    assert after.current is not None
    assert after.current.origin is Origin.ADOPTED
    assert after.current.expires_at is not None
    assert world.logins()[world.workload.app_id].count(key_id) >= 4, "once for the dry run, three times for the proof"
    assert world.writes() == ([("removePassword", old)] if revoke_after == "0" else [])
    assert world.versions()[1] is (Stage.REVOKED if revoke_after == "0" else Stage.PREVIOUS)
    assert after.arguments()["api_id"] == key_id
    assert [e.trigger for e in world.engine.events()] == ["update"]
    assert world.engine.secrets.delete(name=ITEM).left_in_azure == (key_id,)
    assert world.key_ids() == {key_id}


def test_what_was_adopted_by_an_update_is_what_a_repeated_create_names(world: World):
    """The program now names the second one; a deploy that is simply repeated gets its item back."""
    key_id = world.secret_of_boot()
    world.create(owner="shop/prod/x", api_id=key_id, api_key=world.workload.secret)
    second, value = another_secret(world)
    first = update(world, api_id=second, api_key=value)
    again = world.create(owner="shop/prod/x", api_id=second, api_key=value)
    assert (again.item.item_id, again.version) == (first.item.item_id, 2)


def test_an_adoption_that_is_never_accepted_changes_nothing_and_may_be_repeated(world: World, control: Control):
    old = adopted(world)
    key_id, value = another_secret(world)
    update(world, skip_dry_run=True)
    control.set_behaviour(world.workload.app_id, visible_after=[600])
    error = refused(update, world, api_id=key_id, api_key=value)
    assert error.code == "VerificationTimeout"
    assert world.versions() == {1: Stage.CURRENT}
    assert world.key_ids() == {old, key_id}, "the user's own secret is not removed"
    item = world.describe().item
    assert (item.rotator_status, item.error_code) == (RotatorStatus.FAILED, "VerificationTimeout")
    control.set_behaviour(world.workload.app_id, visible_after=[0])
    after = update(world, api_id=key_id, api_key=value)
    assert (after.version, after.key_id) == (2, key_id)
    assert after.item.error_code is None


def test_a_rotation_that_was_left_half_way_is_finished_before_another_secret_is_adopted(world: World, control: Control):
    adopted(world)
    key_id, value = another_secret(world)
    fault = control.add_fault("graph.addPassword", app=world.workload.app_id, preset="unavailable-503", times=None)
    hasty = world.process(limits=Limits(foreground=timedelta()))
    refused(world.rotate, engine=hasty.engine)
    error = refused(update, world, api_id=key_id, api_key=value)
    assert (error.code, error.exit_code) == ("ItemLocked", 5)
    assert "azure-rotator reconcile" in error.hint
    assert world.versions() == {1: Stage.CURRENT}
    fault.remove()
    world.clock.advance(hours=1)
    world.engine.reconcile()
    after = update(world, api_id=key_id, api_key=value)
    assert (after.version, after.key_id, world.value()) == (3, key_id, value)


def test_a_credential_of_another_item_is_not_adopted(world: World):
    adopted(world)
    other = world.create(name="/prod/other")
    error = refused(update, world, api_id=other.key_id, api_key=world.value("/prod/other"))
    assert (error.code, error.exit_code) == ("CredentialAlreadyManaged", 5)
    assert "/prod/other" in str(error)
    assert world.versions() == {1: Stage.CURRENT}
    assert world.rotate().version == 2


def test_rotate_after_the_change(world: World):
    world.create(revoke_after="0")
    after = world.engine.secrets.update({"description": "x"}, name=ITEM, rotate=True)
    assert (after.version, after.item.description) == (2, "x")


def test_an_update_that_read_an_older_row_is_refused(world: World):
    world.create()
    other = world.process(who="bob")
    changed: list[object] = []

    def meanwhile(*_: object, **__: object) -> None:
        if not changed:
            changed.append(other.engine.secrets.update({"description": "bob's"}, name=ITEM))

    world.main.store.before["update_item"] = meanwhile
    error = refused(update, world, description="ann's")
    assert (error.code, error.exit_code) == ("ItemLocked", 5)
    assert world.describe().item.description == "bob's"
