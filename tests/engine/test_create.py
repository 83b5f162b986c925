"""Creating an item: what is refused before anything is written, what is stored, and what a failure leaves behind."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any, cast

import pytest

from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.model import Origin, RotatorStatus, Stage
from azure_rotator.domain.names import parse_stamp
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import OWNED_BY, MakeApplication
from tests.rows import row

ABSENT = "99999999-9999-4999-8999-999999999999"
DAY = timedelta(days=1)


def portal_secret(world: World, value: str | None = None, **record: Any) -> tuple[str, str]:
    """A secret that a person made: keyId and value."""
    made = world.control.request("POST", f"/applications/{world.workload.app_id}/secrets", {"value": value} | record)
    return made["key_id"], made["value"]


# --- refused before anything is written


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        pytest.param(
            {"target_name": "/azure/none"}, "TargetNotFound", "/azure/none", id="an unknown Target", marks=row("AK-02")
        ),
        pytest.param(
            {"app_id": ABSENT}, "ApplicationNotFound", ABSENT, id="an unknown application", marks=row("AK-30")
        ),
        pytest.param({"api_id": ABSENT}, "CredentialNotFound", ABSENT, id="an unknown keyId", marks=row("AK-27")),
        pytest.param(
            {"api_id": ABSENT, "api_key": "no such value"},
            "CredentialNotFound",
            ABSENT,
            id="an unknown keyId and value",
        ),
    ],
)
def test_a_refused_create_leaves_nothing(world: World, changes: dict[str, Any], code: str, says: str):
    before = world.tables()
    error = refused(world.create, **changes)
    assert (error.code, says in str(error)) == (code, True)
    assert world.tables() == before
    assert world.writes() == []


@row("AK-03")
def test_an_item_is_no_target(world: World):
    world.create()
    world.mark()
    before = world.tables()
    error = refused(world.create, name="/prod/other", target_name=ITEM)
    assert (error.code, error.exit_code) == ("TargetTypeMismatch", 2)
    assert TARGET in error.hint
    assert (world.tables(), world.requests()) == (before, [])


@row("AK-30")
@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
@pytest.mark.parametrize("given", ["unknown", "object id"])
def test_an_application_is_known_by_its_application_id(world: World, mode: str, given: str):
    """An object id looks the same and is none; with either mode the person is told what is meant."""
    app_id = ABSENT if given == "unknown" else world.workload.object_id
    key = world.workload.secret if mode == "use-user-creds" else None
    error = refused(world.create, authentication_credentials=mode, api_key=key, app_id=app_id)
    assert (error.code, error.exit_code) == ("ApplicationNotFound", 7)
    assert app_id in str(error)
    assert "application (client) id" in error.hint
    assert world.writes() == []


@row("AK-27")
def test_an_adopted_pair_must_belong_together(world: World):
    key_id, _ = portal_secret(world, "AAA8Q~the-value-of-the-one-that-is-named")
    error = refused(world.create, api_id=key_id, api_key=world.workload.secret)
    assert (error.code, error.exit_code) == ("IdentifierMixedUp", 2)
    assert world.engine.secrets.list_all() == []


@row("B-08")
@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
def test_the_dry_run_catches_a_wrong_value_and_skip_dry_run_does_not(world: World, mode: str):
    key_id, value = portal_secret(world)
    wrong = value[:3] + "8Q~not-the-value-though-it-begins-like-it"
    arguments: dict[str, Any] = {"authentication_credentials": mode, "api_id": key_id, "api_key": wrong}
    error = refused(world.create, **arguments)
    assert (error.code, error.details["aadsts"]) == ("AzureAuthFailed", 7000215)
    assert wrong not in str(error)
    assert world.engine.secrets.list_all() == []
    made = world.create(**arguments, skip_dry_run=True)
    assert (made.version, made.key_id) == (1, key_id)


@row("AK-27")
def test_skip_dry_run_adopts_unseen(world: World):
    made = world.create(api_id=ABSENT, api_key="a value", skip_dry_run=True)
    assert made.key_id == ABSENT
    assert made.current is not None
    assert made.current.expires_at is None
    assert world.requests() == []


@row("AK-10", "AK-08")
@pytest.mark.parametrize(
    ("roles", "owner", "says"),
    [
        pytest.param([], True, "has neither", id="no grant"),
        pytest.param([OWNED_BY], False, "not an owner", id="a grant for owned ones, and no owner"),
    ],
)
@pytest.mark.parametrize("skip_dry_run", [False, True], ids=["with dry run", "without dry run"])
def test_without_the_right_a_create_leaves_no_item(
    empty_world: World,
    make_application: MakeApplication,
    roles: list[str],
    owner: bool,
    says: str,
    skip_dry_run: bool,
):
    world = empty_world
    acting = make_application("acting", roles=roles)
    if owner:
        world.control.update_application(world.workload.app_id, owners=[acting.app_id])
    world.create_target(client_id=acting.app_id, client_secret=acting.secret)
    keys = world.key_ids()
    error = refused(world.create, skip_dry_run=skip_dry_run)
    assert (error.code, error.exit_code) == ("AzurePermissionMissing", 7)
    assert skip_dry_run or says in str(error)
    assert "owner" in f"{error} {error.hint}"
    assert "Application.ReadWrite.All" in f"{error} {error.hint}"
    assert world.engine.secrets.list_all() == []
    assert world.tables()["items"] == []
    assert world.open_rotations() == []
    assert world.key_ids() == keys
    if skip_dry_run:
        assert [(line.action, line.result) for line in world.audit()][-1] == ("create_item", "AzurePermissionMissing")


@row("AK-09")
def test_an_application_that_may_change_all_needs_not_be_an_owner(
    empty_world: World, make_application: MakeApplication
):
    world = empty_world
    acting = make_application("acting", roles=["Application.ReadWrite.All"])
    world.create_target(client_id=acting.app_id, client_secret=acting.secret)
    assert world.create().version == 1
    assert world.rotate().version == 2


def test_a_target_without_tenant_cannot_have_client_secrets(empty_world: World):
    world = empty_world
    world.engine.targets.create({"name": TARGET, "connection_type": "cloud-identity"})
    error = refused(world.create)
    assert (error.code, error.exit_code) == ("TargetIncomplete", 2)
    assert world.requests() == []


@row("AK-29")
@pytest.mark.parametrize("reference", ["env:NOT_SET_ANYWHERE", "file:/no/such/file"])
def test_a_reference_that_leads_nowhere_is_named(world: World, reference: str):
    error = refused(world.create, authentication_credentials="use-user-creds", api_key=reference)
    assert error.code == "ReferenceUnresolved"
    assert reference in str(error)
    assert world.tables()["items"] == []


def test_a_reference_to_an_id_instead_of_a_value_is_seen(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIXED_UP", ABSENT)
    error = refused(world.create, authentication_credentials="use-user-creds", api_key="env:MIXED_UP")
    assert error.code == "IdentifierMixedUp"
    assert ABSENT not in str(error)


# --- minted, adopted, without a value


@row("AK-28", "F30")
@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
def test_without_api_id_one_is_minted_and_what_was_there_stays(world: World, mode: str):
    if mode == "use-user-creds":
        world.control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
    portal_secret(world)
    foreign = world.key_ids()
    key = world.workload.secret if mode == "use-user-creds" else None
    made = world.create(authentication_credentials=mode, api_key=key)
    minted = world.key_ids() - foreign
    assert minted == {made.key_id}
    assert len(foreign) == 2
    assert made.facts()["rotated_secret_details"]["managed_by"] == "platform"  # type: ignore[index]
    assert (made.version, made.item.rotator_status) == (1, RotatorStatus.SUCCEEDED)
    assert world.logs_in(world.value())
    assert made.item.sealed_login is None
    for _ in range(3):
        world.engine.secrets.update({"revoke_after": "0"}, name=ITEM)
        result = world.rotate()
        assert world.key_ids() == foreign | {result.key_id}
    world.engine.secrets.update({"revoke_after": None}, name=ITEM)
    for _ in range(3):
        before = world.describe().key_id
        result = world.rotate()
        assert world.key_ids() == foreign | {result.key_id, before}
    assert world.logs_in(world.value())
    gone = world.engine.secrets.delete(name=ITEM)
    assert world.key_ids() == foreign
    assert gone.orphans == gone.left_in_azure == ()


def test_the_minted_secret_carries_this_stores_stamp(world: World):
    made = world.create()
    assert made.key_id is not None
    stamp = parse_stamp(world.secret_of(made.key_id).display_name)
    assert stamp is not None
    assert (stamp.store_id, stamp.item_id) == (world.engine.store_id, made.item.item_id)
    (create,) = world.main.store.operations([stamp.operation_id]).values()
    assert create.rotation_id == made.versions[0].rotation_id


@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
def test_an_adopted_pair_is_version_1_and_nothing_is_written_to_azure(world: World, mode: str):
    if mode == "use-user-creds":
        world.control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
    key_id, value = portal_secret(world, days=90)
    made = world.create(authentication_credentials=mode, api_id=key_id.upper(), api_key=value)
    assert (made.version, made.key_id, world.value()) == (1, key_id, value)
    assert made.current is not None
    assert made.current.origin is Origin.ADOPTED
    assert made.current.expires_at is not None
    assert abs(made.current.expires_at - (world.clock.now() + 90 * DAY)) < timedelta(minutes=1)
    details: Any = made.facts()["rotated_secret_details"]
    assert (details["managed_by"], details["rotator_status"]) == ("user", None)
    assert world.writes() == []


@row("AK-29")
def test_an_id_without_value_has_no_value_until_the_first_rotation(world: World):
    key_id, _ = portal_secret(world)
    made = world.create(api_id=key_id)
    assert (made.version, made.key_id) == (0, key_id)
    assert made.facts(show_versions=True)["item_versions"] == []
    for version in (None, 0, 1):
        error = refused(world.engine.secrets.get_value, name=ITEM, version=version)
        assert error.code == ("NoValueYet" if version is None else "VersionNotFound")
    world.engine.secrets.update({"revoke_after": "0"}, name=ITEM)
    assert world.rotate().version == 1
    assert world.logs_in(world.value())
    assert key_id not in world.key_ids()


@row("AK-29")
@pytest.mark.parametrize("source", ["env", "file", "literal"])
def test_a_value_comes_from_the_environment_a_file_or_as_it_stands(
    world: World, source: str, monkeypatch: pytest.MonkeyPatch
):
    key_id, value = portal_secret(world)
    monkeypatch.setenv("GIVEN_KEY", value)
    (world.folder / "given").write_text(value + "\n")
    argument = {"env": "env:GIVEN_KEY", "file": f"file:{world.folder}/given", "literal": f"literal:{value}"}[source]
    world.create(api_id=key_id, api_key=argument)
    assert world.value() == value


@row("AK-19")
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("use-self-creds", "use-user-creds"),
        (None, "use-user-creds"),
        ("target-rotator-creds", "use-target-creds"),
        ("use-target-creds", "use-target-creds"),
    ],
)
def test_the_mode_is_stored_by_its_own_word(world: World, given: str | None, stored: str):
    made = world.create(
        authentication_credentials=given, api_id=ABSENT, api_key=world.workload.secret, skip_dry_run=True
    )
    assert made.item.authentication.value == stored
    assert made.facts()["rotated_secret_details"]["rotator_creds_type"] == stored  # type: ignore[index]


@row("AK-33")
@pytest.mark.parametrize(
    ("changes", "due_in"),
    [
        ({"auto_rotate": True, "rotation_interval": 7}, 7 * DAY),
        ({"auto_rotate": "true", "rotation_interval": "1"}, DAY),
        ({"auto_rotate": False, "rotation_interval": 7}, None),
        ({}, None),
    ],
)
def test_the_first_rotation_is_due_an_interval_after_creation(
    world: World, changes: dict[str, Any], due_in: timedelta | None
):
    made = world.create(**changes)
    due = None if due_in is None else made.item.created_at + due_in
    assert made.item.next_rotation_at == due
    world.clock.advance(days=400)
    world.engine.reconcile()
    assert world.versions() == {1: Stage.CURRENT}
    assert world.rotate().version == 2
    again = None if due_in is None else world.clock.now() + due_in
    assert world.describe().item.next_rotation_at == again


@row("AK-33")
def test_an_adopted_credential_is_due_an_interval_after_creation(world: World):
    made = world.create(api_id=world.secret_of_boot(), auto_rotate=True, rotation_interval=7)
    assert made.item.next_rotation_at == made.item.created_at + 7 * DAY
    assert made.item.last_rotation_at is None


@row("B-30", "F12")
@pytest.mark.parametrize(
    ("changes", "days"),
    [
        ({"auto_rotate": True, "rotation_interval": 90}, 180),
        ({"auto_rotate": True, "rotation_interval": 1}, 8.5),
        ({"auto_rotate": True, "rotation_interval": 30, "revoke_after": "29d"}, 66),
        ({}, 180),
    ],
)
def test_the_end_of_a_minted_secret_is_always_asked_for(world: World, changes: dict[str, Any], days: float):
    made = world.create(**changes)
    assert made.current is not None
    assert made.current.expires_at == made.item.created_at + timedelta(days=days)


@row("F12")
def test_the_end_that_counts_is_the_one_azure_returned(world: World):
    world.control.set_behaviour(world.workload.app_id, shorten_to_seconds=30 * 86_400)
    made = world.create(auto_rotate=True, rotation_interval=90)
    assert made.current is not None
    assert made.current.expires_at is not None
    assert abs(made.current.expires_at - (world.clock.now() + 30 * DAY)) < timedelta(minutes=1)
    assert world.engine.secrets.get_value(name=ITEM).fields["expires_at"] == made.current.expires_at.strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


@row("B-30", "F09")
@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"max_lifetime": "P90D"}, "LifetimeNotAllowed"),
        ({"forbid_passwords": True}, "CredentialTypeNotAllowed"),
    ],
)
def test_a_policy_of_the_tenant_refuses_at_create(world: World, policy: dict[str, Any], code: str):
    world.control.update_application(world.workload.app_id, policy=policy)
    keys = world.key_ids()
    error = refused(world.create, auto_rotate=True, rotation_interval=90)
    assert (error.code, error.exit_code) == (code, 7)
    assert world.tables()["items"] == []
    assert world.key_ids() == keys


@row("B-30", "F08")
def test_a_policy_that_may_be_read_clamps_and_is_noted(world: World):
    world.control.update_application(world.rotator.app_id, roles=[OWNED_BY, "Policy.Read.All"])
    world.control.update_application(world.workload.app_id, policy={"max_lifetime": "P45D"})
    made = world.create(auto_rotate=True, rotation_interval=30)
    assert made.current is not None
    assert made.current.expires_at is not None
    assert abs(made.current.expires_at - (world.clock.now() + 45 * DAY)) < timedelta(minutes=1)
    details = cast(dict[str, Any], made.facts()["rotated_secret_details"])
    assert "45 days" in details["expires_note"]
    assert made.item.next_rotation_at is not None
    assert made.item.next_rotation_at <= made.current.expires_at - DAY


@row("B-30", "F08", "F09")
@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"max_lifetime": "P90D"}, "LifetimeNotAllowed"),
        ({"forbid_passwords": True}, "CredentialTypeNotAllowed"),
    ],
)
def test_what_a_policy_that_may_be_read_forbids_is_never_tried(world: World, policy: dict[str, Any], code: str):
    world.control.update_application(world.rotator.app_id, roles=[OWNED_BY, "Policy.Read.All"])
    world.control.update_application(world.workload.app_id, policy=policy)
    error = refused(world.create, auto_rotate=True, rotation_interval=90)
    assert (error.code, error.exit_code) == (code, 7)
    assert error.hint
    assert world.requests("graph.addPassword") == []
    assert world.tables()["items"] == []


@row("F12")
def test_an_adopted_secret_that_ends_soon_is_replaced_before(world: World):
    adopted = world.control.add_secret(world.workload.app_id)
    world.control.expire_secret(world.workload.app_id, adopted.key_id, ends_in_seconds=10 * DAY.total_seconds())
    made = world.create(
        api_id=adopted.key_id, api_key=adopted.value, auto_rotate=True, rotation_interval=30, revoke_after="24h"
    )
    assert made.item.next_rotation_at is not None
    assert abs(made.item.next_rotation_at - (world.clock.now() + 9 * DAY)) < timedelta(minutes=1)


# --- one name, one winner


@row("AK-15")
def test_a_taken_path_is_refused_and_the_first_item_stays_as_it_is(world: World):
    world.create(description="the first")
    before = world.tables()
    world.mark()
    for name in (ITEM, ITEM.removeprefix("/")):
        error = refused(world.create, name=name, description="the second")
        assert (error.code, error.exit_code) == ("NameConflict", 5)
    assert world.tables() == before
    assert world.writes() == []


@row("AK-15")
def test_of_two_racing_creates_exactly_one_wins(world: World):
    ready = threading.Barrier(2)
    other = world.process(who="bob", clock=world.clock)
    ends: list[str] = []

    def race(engine: Any) -> None:
        ready.wait()
        try:
            ends.append(world.create(engine=engine).item.item_id)
        except RotatorError as failed:
            ends.append(failed.code)

    keys = world.key_ids()
    threads = [threading.Thread(target=race, args=(one,)) for one in (world.engine, other.engine)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.engine.reconcile()
    items = world.engine.secrets.list_all()
    assert len(items) == 1
    assert sorted(ends) == sorted([items[0].item.item_id, "NameConflict"])
    assert world.key_ids() == keys | {items[0].key_id}


@row("AK-15")
def test_the_same_credential_cannot_be_under_two_items(world: World):
    key_id, value = portal_secret(world)
    world.create(api_id=key_id, api_key=value)
    error = refused(world.create, name="/prod/other", api_id=key_id.upper(), api_key=value)
    assert (error.code, error.exit_code) == ("CredentialAlreadyManaged", 5)
    assert ITEM in str(error)
    assert [view.item.name for view in world.engine.secrets.list_all()] == [ITEM]


# --- the same owner creates it again


def test_the_same_owner_gets_its_item_back_in_line_with_the_arguments(world: World):
    first = world.create(owner="shop/prod/billing", description="old", tags=["a"])
    world.mark()
    again = world.create(owner="shop/prod/billing", description="new", rotation_interval=30)
    assert again.item.item_id == first.item.item_id
    assert (again.item.description, again.item.tags, again.item.rotation_interval) == ("new", (), 30)
    assert again.key_id == first.key_id
    assert world.writes() == []


@pytest.mark.parametrize(
    ("owner", "changes"),
    [
        pytest.param("", {}, id="nobody in particular"),
        pytest.param("shop/prod/other", {}, id="another owner"),
        pytest.param("shop/prod/billing", {"app_id": "rotator"}, id="the same owner for another application"),
        pytest.param("shop/prod/billing", {"api_id": ABSENT}, id="the same owner for another credential"),
        pytest.param("shop/prod/billing", {"target_name": "/azure/two"}, id="the same owner with another Target"),
    ],
)
def test_anybody_else_is_told_that_the_name_is_taken(world: World, owner: str, changes: dict[str, Any]):
    world.create_target("/azure/two")
    world.create(owner="shop/prod/billing")
    if changes.get("app_id"):
        changes = {"app_id": world.rotator.app_id}
    before = world.tables()
    assert refused(world.create, owner=owner, **changes).code == "NameConflict"
    assert world.tables() == before


def half_made(world: World, owner: str, **changes: Any) -> None:
    """A create whose process is gone after its secret was minted, before it was stored."""

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    dying = world.process(who="bob")
    dying.store.before["store_pending"] = kill
    with pytest.raises(Killed):
        world.create(owner=owner, engine=dying.engine, **changes)


@row("F04", "F05")
def test_the_same_owner_and_arguments_resume_a_half_made_item(world: World):
    keys = world.key_ids()
    half_made(world, "shop/prod/billing")
    assert len(world.key_ids() - keys) == 1
    assert world.engine.secrets.list_all() == []
    (begun,) = world.tables()["items"]
    made = world.create(owner="shop/prod/billing")
    assert made.item.item_id == begun[0]
    assert world.key_ids() == keys | {made.key_id}
    assert len(world.tables()["items"]) == 1
    assert world.logs_in(world.value())


@pytest.mark.parametrize(
    ("first", "second", "changes"),
    [
        pytest.param(
            "shop/prod/billing", "shop/prod/billing", {"description": "other"}, id="same owner, other arguments"
        ),
        pytest.param("", "", {}, id="the command line again"),
        pytest.param("", "shop/prod/billing", {}, id="a program after the command line"),
    ],
)
def test_a_half_made_item_is_undone_for_another_request(world: World, first: str, second: str, changes: dict[str, Any]):
    keys = world.key_ids()
    half_made(world, first)
    made = world.create(owner=second, **changes)
    assert world.key_ids() == keys | {made.key_id}
    assert [row_[0] for row_ in world.tables()["items"]] == [made.item.item_id]
    assert world.open_rotations() == []


@row("AK-15")
@pytest.mark.parametrize("second", ["", "shop/prod/other"])
def test_a_half_made_item_of_an_owner_keeps_its_name(world: World, second: str):
    half_made(world, "shop/prod/billing")
    assert refused(world.create, owner=second).code == "NameConflict"


def test_nobody_sees_an_item_that_is_being_made(world: World):
    seen: list[str] = []

    def look(*_: object, **__: object) -> None:
        seen.extend(view.item.name for view in world.engine.secrets.list_all())
        asks = (world.engine.secrets.describe, world.engine.secrets.get_value, world.engine.secrets.rotate)
        seen.extend(refused(ask, name=ITEM).code for ask in asks)

    world.main.store.before["record_proof"] = look
    world.create()
    assert seen == ["ItemNotFound"] * 9


# --- what fails on the way


@row("AK-28", "F19")
@pytest.mark.parametrize("mode", ["use-target-creds", "use-user-creds"])
def test_a_store_that_fails_after_the_mint_leaves_no_secret(world: World, control: Control, mode: str):
    if mode == "use-user-creds":
        control.update_application(world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id])
    keys = world.key_ids()
    world.main.store.before["store_pending"] = world.locked_store
    key = world.workload.secret if mode == "use-user-creds" else None
    error = refused(world.create, authentication_credentials=mode, api_key=key)
    assert (error.code, error.exit_code) == ("StoreUnavailable", 1)
    assert [name for name, _ in world.writes()] == ["addPassword", "removePassword"]
    assert world.key_ids() == keys
    assert refused(world.value).code == "ItemNotFound"
    world.main.store.before.clear()
    made = world.create(authentication_credentials=mode, api_key=key)
    assert world.key_ids() == keys | {made.key_id}
    assert len(world.tables()["items"]) == 1


def test_a_create_that_azure_cannot_serve_in_time_is_undone(world: World, control: Control):
    control.add_fault("graph.addPassword", app=world.workload.app_id, preset="unavailable-503", times=None)
    keys = world.key_ids()
    engine = world.process(limits=Limits(foreground=timedelta(minutes=5))).engine
    error = refused(world.create, engine=engine)
    assert (error.code, error.exit_code) == ("AzureUnavailable", 7)
    assert "undone" in str(error)
    assert world.tables()["items"] == []
    assert world.open_rotations() == []
    assert world.key_ids() == keys
    assert engine.targets.delete(name=TARGET).target.name == TARGET
