"""A rotation: who logs in, what is written and in which order, what becomes of the old secret, and what is told."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import RotationState, RotatorStatus, Stage
from azure_rotator.engine.context import Limits
from azure_rotator.engine.views import RotationResult
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.plugins.azure import OWNED_BY, MakeApplication
from tests.rows import row

HOUR = timedelta(hours=1)


@pytest.fixture
def own(world: World) -> World:
    """The workload may rotate itself."""
    world.control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
    return world


def create_own(world: World, **changes: Any) -> None:
    world.create(authentication_credentials="use-user-creds", api_key=world.workload.secret, **changes)


# --- who logs in


@row("AK-20")
def test_the_application_rotates_itself_and_the_targets_secret_is_never_sent(own: World):
    create_own(own, revoke_after="0")
    assert own.logins().keys() == {own.workload.app_id}
    first = own.describe().key_id
    own.mark()
    second = own.rotate().key_id
    logins = own.logins()
    assert logins.keys() == {own.workload.app_id}, "only the application itself logs in"
    assert set(logins[own.workload.app_id]) == {first, second}
    tenants = {entry.path.split("/")[1] for entry in own.requests("login.token")}
    assert tenants == {own.rotator.info.tenant_id}
    assert own.key_ids(own.workload) == {own.secret_of_boot(), second}


@row("AK-21")
def test_the_target_rotates_and_the_items_secret_only_proves_itself(world: World):
    world.create(revoke_after="0")
    world.mark()
    minted = world.rotate().key_id
    logins = world.logins()
    assert logins.keys() == {world.rotator.app_id, world.workload.app_id}
    assert logins[world.workload.app_id] == [minted] * 3
    writers = {entry.principal for entry in world.requests() if entry.operation.startswith("graph.")}
    assert writers == {world.rotator.app_id}


@row("AK-20")
def test_the_first_login_of_a_use_user_creds_item_is_the_given_secret(own: World):
    create_own(own)
    sent = own.logins()[own.workload.app_id]
    assert sent[0] == own.secret_of_boot()
    assert sent[-3:] == [own.describe().key_id] * 3


# --- without the right


@row("AK-08", "AK-10")
@pytest.mark.parametrize("lost", [{"owners": []}, {"roles": []}], ids=["no longer an owner", "no longer granted"])
def test_a_right_that_was_lost_is_named_and_the_value_stays(world: World, lost: dict[str, Any]):
    world.create()
    value, keys = world.value(), world.key_ids()
    app = world.workload if "owners" in lost else world.rotator
    world.control.update_application(app.app_id, **lost)
    world.mark()
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("AzurePermissionMissing", 7)
    assert len(world.requests("graph.getApplication")) == 1, "a certain refusal needs no look for a stamp"
    assert "owner" in error.hint
    assert "Application.ReadWrite.All" in error.hint
    assert world.value() == value
    assert world.key_ids() == keys
    assert world.versions() == {1: Stage.CURRENT}
    item = world.describe().item
    assert (item.rotator_status, item.error_code) == (RotatorStatus.FAILED, "AzurePermissionMissing")


@row("B-06")
def test_what_describe_says_of_a_failure_until_the_next_success(world: World):
    def told() -> dict[str, Any]:
        facts: dict[str, Any] = world.describe().facts()
        return {**facts, **facts["rotated_secret_details"]}

    world.create(auto_rotate=True, rotation_interval=30)
    made = told()
    assert (made["rotator_status"], made["last_rotation_error"]) == ("RotationSucceeded", None)
    assert made["last_rotation_date"] == made["creation_date"]
    assert made["next_rotation_date"] == iso(world.clock.now() + timedelta(days=30))
    value = world.value()

    world.clock.advance(days=1)
    world.control.update_application(world.workload.app_id, owners=[])
    refused(world.rotate)
    failed = told()
    assert failed["rotator_status"] == "RotationFailed"
    assert failed["last_rotation_error"].startswith("AzurePermissionMissing: ")
    assert value not in str(failed)
    assert world.rotator.secret not in str(failed)
    assert (failed["last_rotation_date"], failed["next_rotation_date"]) == (
        made["last_rotation_date"],
        made["next_rotation_date"],
    )

    world.control.update_application(world.workload.app_id, owners=[world.rotator.app_id])
    world.rotate()
    after = told()
    assert (after["rotator_status"], after["last_rotation_error"]) == ("RotationSucceeded", None)
    assert after["last_rotation_date"] == iso(world.clock.now())
    assert after["expires_at"] > made["expires_at"]


@row("AK-22")
def test_an_application_without_the_right_is_pointed_to_the_target(world: World):
    world.create(
        authentication_credentials="use-user-creds",
        api_id=world.secret_of_boot(),
        api_key=world.workload.secret,
        skip_dry_run=True,
    )
    error = refused(world.rotate)
    assert error.code == "AzurePermissionMissing"
    assert "use-target-creds" in str(error)
    item = world.describe().item
    assert (item.rotator_status, item.error_code) == (RotatorStatus.FAILED, "AzurePermissionMissing")
    assert "use-target-creds" in (item.error_text or "")
    assert world.value() == world.workload.secret
    assert world.logs_in(world.value())
    world.engine.secrets.update({"authentication_credentials": "use-target-creds"}, name=ITEM)
    assert world.rotate().version == 2
    assert world.logs_in(world.value())
    assert world.describe().item.error_code is None


@row("AK-22")
def test_the_dry_run_says_so_at_create(world: World):
    create = {"authentication_credentials": "use-user-creds", "api_key": world.workload.secret}
    error = refused(world.create, **create)
    assert error.code == "AzurePermissionMissing"
    assert "use-target-creds" in str(error)
    assert world.engine.secrets.list_all() == []


# --- what is written, and when


@row("AK-23", "F30")
@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
def test_the_new_one_is_added_stored_and_proven_before_the_old_one_goes(own: World, mode: str):
    world = own
    if mode == "use-target-creds":
        world.control.update_application(world.workload.app_id, roles=[], owners=[world.rotator.app_id])
        world.create(revoke_after="0")
    else:
        create_own(world, revoke_after="0")
    old = world.describe().key_id
    world.mark()
    world.notes.noted.clear()
    result = world.rotate()
    assert (result.version, result.status) == (2, RotatorStatus.SUCCEEDED)
    assert world.writes() == [("addPassword", result.key_id), ("removePassword", old)]
    operations = [
        (entry.operation.removeprefix("graph."), entry.key_id)
        for entry in world.requests("graph.addPassword", "graph.removePassword", "login.token")
        if entry.app_id == world.workload.app_id and (entry.operation != "login.token" or entry.key_id == result.key_id)
    ]
    assert operations[:4] == [("addPassword", result.key_id), *[("login.token", result.key_id)] * 3]
    assert world.notes.steps() == ["mint", "prove", "prove", "prove", "publish", "begin-retiring", "retire"]
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}
    assert world.logs_in(world.value())
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.open_rotations() == []


@row("AK-23")
def test_the_stored_value_is_readable_and_valid_at_every_step(world: World):
    world.create(revoke_after="0")
    seen: list[tuple[int, bool]] = []

    def look(*_: object, **__: object) -> None:
        value = world.engine.secrets.get_value(name=ITEM)
        seen.append((value.version, world.logs_in(value.secret.reveal())))

    for step in ("begin_minting", "store_pending", "record_proof", "publish", "begin_retiring", "finish_retiring"):
        world.main.store.before[step] = look
    world.rotate()
    assert seen == [(1, True)] * 6 + [(2, True)] * 2


@row("AK-27")
def test_a_rotation_replaces_the_adopted_key_id_only(world: World):
    made = world.control.request("POST", f"/applications/{world.workload.app_id}/secrets", {"display_name": "another"})
    world.create(api_id=world.secret_of_boot(), api_key=world.workload.secret, revoke_after="0")
    assert world.rotate().key_id is not None
    assert world.key_ids() == {made["key_id"], world.describe().key_id}


# --- the old one


@row("F28")
@pytest.mark.parametrize(
    ("changes", "lives_for"),
    [
        pytest.param({}, 24 * HOUR, id="a day unless set"),
        pytest.param({"rotation_interval": 1}, 12 * HOUR, id="half a day with an interval of one day"),
        pytest.param({"revoke_after": "3h"}, 3 * HOUR, id="as long as set"),
    ],
)
def test_the_previous_secret_stays_valid_for_a_while(world: World, changes: dict[str, Any], lives_for: timedelta):
    world.create(**changes)
    old, published = world.value(), world.clock.now()
    result = world.rotate()
    assert world.version(1).retire_at == published + lives_for
    assert any("stays valid until" in note for note in result.notes)
    world.clock.advance(seconds=lives_for.total_seconds() - 1)
    world.engine.reconcile()
    assert world.logs_in(old)
    assert world.value(version=1) == old
    world.clock.advance(seconds=1)
    world.engine.reconcile()
    assert not world.logs_in(old)
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.version(1).revoked_at == world.clock.now()
    assert world.open_rotations() == []


@row("F28")
def test_any_writing_command_retires_what_is_due(world: World):
    world.create()
    world.rotate()
    world.create(name="/prod/other")
    assert world.versions()[1] is Stage.PREVIOUS
    world.clock.advance(hours=24)
    world.engine.secrets.update({"description": "x"}, name="/prod/other")
    assert world.versions()[1] is Stage.REVOKED


def test_a_third_secret_retires_the_oldest_at_its_publication_and_says_so(world: World):
    world.create()
    keys = [world.describe().key_id, world.rotate().key_id]
    world.clock.advance(hours=1)
    result = world.rotate()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.PREVIOUS, 3: Stage.CURRENT}
    assert world.key_ids() == {world.secret_of_boot(), keys[1], result.key_id}
    assert result.notes[0] == f"secret {keys[0]} was retired early: at most two secrets of an item stay valid"
    assert str(keys[1]) in result.notes[1]
    assert world.version(2).retire_at == world.clock.now() + 24 * HOUR


def test_an_overdue_secret_is_not_said_to_be_retired_early(world: World):
    world.create()
    world.rotate()
    world.clock.advance(hours=25)
    result = world.rotate()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.PREVIOUS, 3: Stage.CURRENT}
    assert not [note for note in result.notes if "early" in note]


def test_with_revoke_after_0_the_result_says_nothing_of_old_ones(world: World):
    world.create(revoke_after="0")
    assert world.rotate().notes == ()


# --- the old one cannot be removed


@row("F32")
def test_a_removal_that_fails_for_days_never_rolls_the_new_one_back(world: World, control: Control):
    world.create(revoke_after="0")
    old = world.describe().key_id
    fault = control.add_fault("graph.removePassword", app=world.workload.app_id, preset="unavailable-503", times=None)
    result = world.rotate()
    assert (result.version, result.status) == (2, RotatorStatus.PARTIAL)
    new = world.value()
    for _ in range(4):
        world.clock.advance(hours=18)
        world.engine.reconcile()
        item = world.describe().item
        assert (item.rotator_status, item.error_code) == (RotatorStatus.PARTIAL, "AzureUnavailable")
        assert world.versions() == {1: Stage.PREVIOUS, 2: Stage.CURRENT}
        assert world.value() == new
    fault.remove()
    world.clock.advance(hours=7)
    world.engine.reconcile()
    item = world.describe().item
    assert (item.rotator_status, item.error_code) == (RotatorStatus.SUCCEEDED, None)
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert old not in world.key_ids()


def test_a_rotation_while_an_old_one_cannot_be_removed_goes_on(world: World, control: Control):
    world.create(revoke_after="0")
    fault = control.add_fault("graph.removePassword", app=world.workload.app_id, preset="denied", times=None)
    assert world.rotate().status == RotatorStatus.PARTIAL
    fault.remove()
    world.clock.advance(hours=1)
    result = world.rotate()
    assert (result.version, result.status) == (3, RotatorStatus.SUCCEEDED)
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.REVOKED, 3: Stage.CURRENT}


@row("F31")
def test_a_secret_that_is_gone_already_is_removed_once_repeated_reads_agree(world: World):
    world.create()
    old = world.describe().key_id
    world.rotate()
    world.control.request("DELETE", f"/applications/{world.workload.app_id}/secrets/{old}")
    world.clock.advance(hours=24)
    world.mark()
    reconciliation = world.engine.reconcile()
    assert reconciliation.problems == ()
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.CURRENT}
    removals = world.requests("graph.removePassword")
    assert [entry.status for entry in removals] == [400] * 3
    assert world.describe().item.rotator_status is RotatorStatus.SUCCEEDED


@row("F31")
def test_a_read_that_still_lists_it_is_not_believed_to_be_an_end(world: World, control: Control):
    """Graph's reads lag behind its writes: "not there" to remove and there to list is no agreement."""
    world.create(revoke_after="0")
    old = world.describe().key_id
    control.set_behaviour(world.workload.app_id, remove_lag_seconds=3_600)
    world.rotate()
    for _ in range(4):
        world.clock.advance(minutes=10)
        world.engine.reconcile()
        assert world.versions()[1] is Stage.PREVIOUS
        assert old in world.key_ids()
    world.clock.advance(hours=1)
    world.engine.reconcile()
    assert world.versions()[1] is Stage.REVOKED
    assert old not in world.key_ids()


# --- two at once


class _Patient:
    """A clock for another process: it waits until the test lets it go."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.waits, self.go_on = threading.Event(), threading.Event()

    def now(self) -> datetime:
        return self._world.clock.now()

    def wait_until(self, instant: datetime) -> None:
        self.waits.set()
        assert self.go_on.wait(30)


@row("F17", "B-03")
def test_rotate_now_attaches_to_the_rotation_that_runs(world: World):
    world.create(revoke_after="0")
    clock = _Patient(world)
    other = world.process(who="bob", clock=clock)
    results: list[RotationResult] = []
    asking = threading.Thread(target=lambda: results.append(world.rotate(engine=other.engine)))

    def ask_again(*_: object, **__: object) -> None:
        if not asking.ident:
            asking.start()
            assert clock.waits.wait(30)

    world.main.store.before["store_pending"] = ask_again
    world.mark()
    mine = world.rotate()
    clock.go_on.set()
    asking.join(30)
    assert [one.rotation_id for one in results] == [mine.rotation_id]
    assert [name for name, _ in world.writes()] == ["addPassword", "removePassword"]
    assert world.key_ids() == {world.secret_of_boot(), mine.key_id}


@row("F06")
def test_a_second_rotation_inside_the_propagation_window_attaches_to_the_first(world: World, control: Control):
    world.create(revoke_after="0")
    control.set_behaviour(world.workload.app_id, visible_after=[90])
    hasty = world.process(limits=Limits(foreground=timedelta(seconds=20)))
    error = refused(world.rotate, engine=hasty.engine)
    assert error.exit_code == 7
    first = world.open_rotations()[0]
    assert first.state is RotationState.PROVING
    result = world.rotate()
    assert result.rotation_id == first.rotation_id
    assert result.version == 2
    assert len([name for name, _ in world.writes() if name == "addPassword"]) == 2
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}


@row("F06")
@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
def test_rotations_right_after_each_other_leave_no_orphan(own: World, control: Control, mode: str):
    if mode == "use-target-creds":
        control.update_application(own.workload.app_id, owners=[own.rotator.app_id])
    key = own.workload.secret if mode == "use-user-creds" else None
    own.create(authentication_credentials=mode, api_key=key, revoke_after="0")
    control.set_behaviour(own.workload.app_id, visible_after=[0, 20], removed_after=[0, 20], read_lag_seconds=5)
    own.clock.advance(minutes=1)
    keys = [own.rotate().key_id for _ in range(2)]
    own.clock.advance(minutes=2)
    own.engine.reconcile()
    own.clock.advance(minutes=2)
    own.engine.reconcile()
    assert own.key_ids() == {own.secret_of_boot(), keys[-1]}
    assert own.logs_in(own.value())


def test_items_on_one_application_keep_out_of_each_others_way(world: World):
    world.create(revoke_after="0")
    world.create(name="/prod/other", revoke_after="0")
    first, second = world.rotate(), world.rotate("/prod/other")
    assert world.key_ids() == {world.secret_of_boot(), first.key_id, second.key_id}
    assert world.logs_in(world.value())
    assert world.logs_in(world.value("/prod/other"))
    assert world.engine.reconcile().orphans == ()


def test_a_request_that_is_repeated_makes_no_second_rotation(world: World):
    world.create(revoke_after="0")
    first = world.engine.secrets.rotate(name=ITEM, request_id="trigger-7")
    again = world.engine.secrets.rotate(name=ITEM, request_id="trigger-7")
    assert (again.rotation_id, again.version) == (first.rotation_id, 2)
    assert world.engine.secrets.rotate(name=ITEM, request_id="trigger-8").version == 3


# --- what is told


def test_events_of_success_and_failure_carry_trigger_version_and_code(world: World, control: Control):
    world.create(revoke_after="0")
    world.rotate()
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="denied")
    refused(world.rotate)
    told = [(e.event_type, e.trigger, e.version, e.error_code, e.item_name) for e in world.engine.events()]
    assert told == [
        ("rotated-secret-success", "create", 1, None, ITEM),
        ("rotated-secret-success", "manual", 2, None, ITEM),
        ("rotated-secret-failure", "manual", None, "AzurePermissionMissing", ITEM),
        ("rotation-parked", "manual", None, "AzurePermissionMissing", ITEM),
    ]
    ids = [event.event_id for event in world.engine.events()]
    assert len(set(ids)) == 4


@row("B-24")
def test_audit_tells_who_did_what_to_which_path_with_which_result(world: World, control: Control):
    bob = world.process(who="bob")
    world.create(engine=bob.engine)
    world.rotate()
    world.value()
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="denied")
    refused(world.rotate)
    world.engine.secrets.update({"description": "x"}, name=ITEM)
    world.engine.secrets.delete(name=ITEM)
    lines = [(line.who, line.action, line.result) for line in world.engine.audit(name=ITEM)]
    assert [line for line in lines if line[1] not in {"begin_create_item", "create_assoc_target_item"}] == [
        ("bob", "create_item", "ok"),
        ("ann", "rotate_item", "ok"),
        ("ann", "get_rotated_secret_value", "ok"),
        ("ann", "rotate_item", "AzurePermissionMissing"),
        ("ann", "update_item", "ok"),
        ("ann", "delete_item", "ok"),
    ]
    assert all(line.at == world.clock.now() for line in world.audit())
    assert [line.path for line in world.audit("create_target")] == ["/azure/prod"]
    since = world.clock.advance(hours=1)
    world.create()
    assert {line.action for line in world.engine.audit(since=since)} >= {"create_item"}
    assert [line.action for line in world.engine.audit(since=since, action="delete_item")] == []


def test_the_new_version_is_described(world: World):
    world.create(revoke_after="3h")
    world.rotate()
    facts: Any = world.describe().facts(show_versions=True)
    assert [(v["version"], v["stage"]) for v in facts["item_versions"]] == [(1, "previous"), (2, "current")]
    assert facts["item_versions"][0]["retire_at"] == (world.clock.now() + 3 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert facts["last_version"] == 2
    assert facts["rotated_secret_details"]["key_id"] == world.describe().key_id
    assert facts["last_rotation_date"] == world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def test_another_tenants_application_is_not_met(world: World, make_application: MakeApplication, control: Control):
    stranger = control.create_application(name="stranger", tenant=control.create_tenant().tenant_id)
    assert refused(world.create, app_id=stranger.app_id).code == "ApplicationNotFound"


@pytest.mark.parametrize(
    "hours",
    [
        {"auto_rotate": True, "rotation_interval": 30, "rotation_hour": 3},
        {"grace_rotation": True, "grace_rotation_interval": 2, "grace_rotation_hour": 3},
    ],
)
def test_nothing_is_minted_whose_dates_this_machine_cannot_tell(world: World, hours: dict[str, Any]):
    """A password that Entra has and that cannot become current would lock its user out."""
    world.create(**hours)
    world.forget_zone()
    world.mark()
    assert refused(world.rotate).code == "TimeZoneInvalid"
    assert world.writes() == []
    assert world.versions() == {1: Stage.CURRENT}


def test_a_zone_that_no_date_needs_is_not_asked_for(world: World):
    world.create()
    world.forget_zone()
    world.rotate()
    assert world.describe().versions[-1].stage is Stage.CURRENT
