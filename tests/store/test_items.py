"""Targets, items, versions: read as written, unique where they must be, changed only by who saw the last change."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from azure_rotator.domain.errors import Conflict, NotFound, RotatorError
from azure_rotator.domain.model import (
    AuthMode,
    ConnectionType,
    ItemState,
    Origin,
    RotationState,
    RotatorStatus,
    Stage,
    Trigger,
)
from azure_rotator.domain.secrettext import SealedBytes
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.inspection import Inspection
from tests.store.samples import FAILURE, LATER, NOW

# --- targets


def test_a_target_is_read_as_it_was_written(store: SqlUnitOfWork):
    full = samples.target(description="ünïcode ☃", delete_protection=True, version=7)
    bare = samples.target(
        name="/azure/identity",
        connection_type=ConnectionType.CLOUD_IDENTITY,
        tenant_id=None,
        client_id=None,
        secret_reference=None,
        sealed_secret=None,
        version=0,
    )
    for target in (full, bare):
        store.insert_target(target, samples.line("create_target", target.name))
        assert store.find_target(name=target.name) == target
        assert store.find_target(target_id=target.target_id) == target
    assert list(store.list_targets()) == [bare, full]
    assert store.find_target(name="/nobody") is None
    with pytest.raises(ValueError, match="by its name or by its id"):
        store.find_target(name="/a", target_id="b")


def test_a_targets_update_replaces_the_row_that_was_read(store: SqlUnitOfWork, outside: Inspection):
    target = samples.add_target(store)
    newer = replace(target, description="new", secret_reference="env:X", sealed_secret=None, version=2, revision=2)
    store.update_target(newer, samples.line("update_target", target.name))
    assert store.find_target(target_id=target.target_id) == newer
    before = outside.everything()
    with pytest.raises(Conflict, match=target.name) as refused:
        store.update_target(replace(target, description="from an old look", revision=2), samples.line())
    assert refused.value.code == "ItemLocked"
    assert outside.everything() == before


def test_a_deleted_target_is_found_by_its_id_only_and_frees_its_name(store: SqlUnitOfWork):
    target = samples.add_target(store)
    gone = replace(target, deleted=True, sealed_secret=None, revision=2)
    store.update_target(gone, samples.line("delete_target", target.name))
    assert store.find_target(name=target.name) is None
    assert store.find_target(target_id=target.target_id) == gone
    assert list(store.list_targets()) == []
    again = samples.target(name=target.name)
    store.insert_target(again, samples.line())
    assert store.find_target(name=target.name) == again
    with pytest.raises(Conflict):
        store.update_target(replace(gone, deleted=False, name="/else", revision=3), samples.line())


def test_two_targets_never_share_a_name(store: SqlUnitOfWork, outside: Inspection):
    first = samples.add_target(store, name="/azure/one")
    other = samples.add_target(store, name="/azure/two")
    before = outside.everything()
    attempts: list[Callable[[], None]] = [
        lambda: store.insert_target(samples.target(name=first.name), samples.line()),
        lambda: store.update_target(replace(other, name=first.name, revision=2), samples.line()),
    ]
    for attempt in attempts:
        with pytest.raises(Conflict, match=first.name) as refused:
            attempt()
        assert (refused.value.code, bool(refused.value.hint)) == ("NameConflict", True)
        assert outside.everything() == before


def test_a_target_that_an_item_came_to_use_meanwhile_is_not_deleted(store: SqlUnitOfWork, outside: Inspection):
    target = samples.add_target(store)
    samples.add_item(store, target_id=target.target_id)
    before = outside.everything()
    with pytest.raises(Conflict, match="is used by") as refused:
        store.update_target(replace(target, deleted=True, sealed_secret=None, revision=2), samples.line())
    assert refused.value.code == "TargetInUse"
    assert outside.everything() == before


# --- items


def test_an_item_is_read_as_it_was_written(store: SqlUnitOfWork):
    target = samples.add_target(store)
    full = samples.item(
        target.target_id,
        state=ItemState.CREATING,
        authentication=AuthMode.USER,
        api_id=samples.guid(),
        auto_rotate=False,
        rotation_interval=None,
        revoke_after=None,
        description="ünïcode ☃",
        tags=(),
        delete_protection=True,
        skip_dry_run=True,
        accessed_at=LATER,
        last_rotation_at=LATER,
        next_rotation_at=LATER,
        rotator_status=RotatorStatus.PARTIAL,
        error_code="AzureThrottled",
        error_text="asked to wait",
        sealed_login=SealedBytes(b"\x00\xff login"),
        arguments_digest="d" * 64,
    )
    create = samples.rotation(full.item_id, trigger=Trigger.CREATE)
    adopted = samples.version(
        full.item_id,
        create.rotation_id,
        number=0,
        origin=Origin.ADOPTED,
        sealed_value=None,
        expires_at=LATER,
        retire_at=LATER,
        revoked_at=LATER,
    )
    store.insert_item(full, adopted, create, samples.line(path=full.name))
    assert store.find_item(name=full.name) == full
    assert store.find_item(item_id=full.item_id) == full
    assert list(store.versions(full.item_id)) == [adopted]
    assert store.get_rotation(create.rotation_id) == create
    assert store.audit_lines()[-1] == samples.line(path=full.name)
    with pytest.raises(ValueError, match="by its name or by its id"):
        store.find_item()


VISIBLE_BY_NAME = {
    ItemState.CREATING: True,
    ItemState.ACTIVE: True,
    ItemState.DELETING: True,
    ItemState.UNDOING: False,
}


@pytest.mark.parametrize(("state", "found"), VISIBLE_BY_NAME.items(), ids=[s.value for s in VISIBLE_BY_NAME])
def test_which_items_own_their_name(store: SqlUnitOfWork, state: ItemState, found: bool):
    item, _ = samples.add_item(store, state=state)
    assert store.find_item(name=item.name) == (item if found else None)
    assert store.find_item(item_id=item.item_id) == item
    twin = samples.item(item.target_id, name=item.name)
    if found:
        with pytest.raises(Conflict, match=item.name) as refused:
            store.insert_item(twin, None, samples.rotation(twin.item_id), samples.line())
        assert refused.value.code == "NameConflict"
    else:
        store.insert_item(twin, None, samples.rotation(twin.item_id), samples.line())
        assert store.find_item(name=item.name) == twin


def test_items_are_listed_in_any_state_by_name_and_by_target(store: SqlUnitOfWork):
    one, two = samples.add_target(store), samples.add_target(store)
    b, _ = samples.add_item(store, target_id=one.target_id, name="/b", state=ItemState.DELETING)
    a, _ = samples.add_item(store, target_id=two.target_id, name="/a", state=ItemState.CREATING)
    c, _ = samples.add_item(store, target_id=one.target_id, name="/c", state=ItemState.UNDOING)
    assert list(store.list_items()) == [a, b, c]
    assert list(store.list_items(target_id=one.target_id)) == [b, c]
    assert list(store.list_items(target_id="nobody")) == []


NOT_MANAGED_TWICE = {
    Stage.PENDING: False,
    Stage.CURRENT: False,
    Stage.PREVIOUS: False,
    Stage.ABANDONED: False,
    Stage.REVOKED: True,
}


@pytest.mark.parametrize(("stage", "free"), NOT_MANAGED_TWICE.items(), ids=[stage.value for stage in NOT_MANAGED_TWICE])
def test_a_credential_belongs_to_one_item(store: SqlUnitOfWork, outside: Inspection, stage: Stage, free: bool):
    holder = samples.item(samples.add_target(store).target_id, name="/holder")
    made = samples.rotation(holder.item_id, state=RotationState.DONE)
    held = samples.version(holder.item_id, made.rotation_id, stage=stage)
    store.insert_item(holder, held, made, samples.line())
    item = samples.item(holder.target_id, name="/second")
    create = samples.rotation(item.item_id, state=RotationState.DONE)
    twin = samples.version(item.item_id, create.rotation_id, key_id=held.key_id.swapcase())
    before = outside.everything()
    if free:
        store.insert_item(item, twin, create, samples.line())
        return
    with pytest.raises(Conflict, match="/holder") as refused:
        store.insert_item(item, twin, create, samples.line())
    assert refused.value.code == "CredentialAlreadyManaged"
    assert refused.value.details == {"key_id": twin.key_id, "holder": "/holder"}
    assert refused.value.hint
    assert outside.everything() == before


def test_many_at_once_create_one_item_of_a_name(store: SqlUnitOfWork):
    target = samples.add_target(store)

    def create(_: int) -> str:
        item = samples.item(target.target_id, name="/prod/contested")
        try:
            store.insert_item(item, None, samples.rotation(item.item_id), samples.line())
        except Conflict as refused:
            return refused.code
        return "made"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(16)))
    assert sorted(answers) == ["NameConflict"] * 15 + ["made"]


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted meanwhile", "never there"])
def test_no_item_is_made_on_a_target_that_is_gone(store: SqlUnitOfWork, outside: Inspection, deleted: bool):
    target_id = samples.new_id()
    if deleted:
        target = samples.add_target(store)
        store.update_target(replace(target, deleted=True, revision=2), samples.line())
        target_id = target.target_id
    item = samples.item(target_id)
    before = outside.everything()
    with pytest.raises(NotFound) as refused:
        store.insert_item(item, None, samples.rotation(item.item_id), samples.line())
    assert refused.value.code == "TargetNotFound"
    assert outside.everything() == before


def test_an_update_replaces_settings_of_the_row_that_was_read(store: SqlUnitOfWork, outside: Inspection):
    item, _ = samples.add_item(store)
    newer = replace(
        item,
        name="/prod/renamed",
        owner="bob",
        authentication=AuthMode.USER,
        auto_rotate=False,
        rotation_interval=7,
        revoke_after="1h",
        description="new",
        tags=("x",),
        delete_protection=True,
        next_rotation_at=LATER,
        sealed_login=SealedBytes(b"\x00new login"),
        modified_at=LATER,
        revision=2,
    )
    store.update_item(newer, samples.line("update_item", item.name))
    assert store.find_item(item_id=item.item_id) == newer
    before = outside.everything()
    with pytest.raises(Conflict, match=item.name) as refused:
        store.update_item(replace(item, description="from an old look", revision=2), samples.line())
    assert refused.value.code == "ItemLocked"
    assert outside.everything() == before


def test_an_update_writes_back_nothing_that_rotations_and_reads_wrote(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    _, claim = samples.started(store, item.item_id)
    store.defer(claim, FAILURE, attempts=1, next_attempt_at=LATER, status="RotationFailed", at=NOW)
    store.record_read(item.item_id, samples.line("get_rotated_secret_value", at=LATER))
    store.update_item(replace(item, description="new", revision=2), samples.line())
    after = store.find_item(item_id=item.item_id)
    assert after == replace(
        item,
        description="new",
        revision=2,
        accessed_at=LATER,
        rotator_status=RotatorStatus.FAILED,
        error_code=FAILURE.code,
        error_text=FAILURE.text,
    )


def test_an_update_does_not_take_a_name_that_is_taken(store: SqlUnitOfWork):
    first, _ = samples.add_item(store)
    other, _ = samples.add_item(store)
    with pytest.raises(Conflict, match=first.name) as refused:
        store.update_item(replace(other, name=first.name, revision=2), samples.line())
    assert refused.value.code == "NameConflict"


def test_a_corrected_value_comes_with_the_items_new_settings(store: SqlUnitOfWork, outside: Inspection):
    item = samples.item(samples.add_target(store).target_id)
    create = samples.rotation(item.item_id, state=RotationState.DONE)
    adopted = samples.version(item.item_id, create.rotation_id, number=0, origin=Origin.ADOPTED, sealed_value=None)
    store.insert_item(item, adopted, create, samples.line())
    corrected = replace(adopted, number=1, sealed_value=SealedBytes(b"\x00given later"))
    newer = replace(item, description="new", revision=2)
    store.correct_value(newer, corrected, samples.line("update_item"))
    assert list(store.versions(item.item_id)) == [corrected]
    assert store.find_item(item_id=item.item_id) == newer

    before = outside.everything()
    attempts: list[tuple[Any, Any]] = [
        (newer, corrected),
        (replace(item, revision=3), replace(corrected, version_id="nowhere")),
    ]
    for stale_item, stale_version in attempts:
        with pytest.raises(Conflict) as refused:
            store.correct_value(stale_item, stale_version, samples.line())
        assert refused.value.code == "ItemLocked"
        assert outside.everything() == before


def test_a_read_is_recorded_without_a_new_revision(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    line = samples.line("get_rotated_secret_value", item.name, at=LATER, details={"version": 1})
    store.record_read(item.item_id, line)
    assert store.find_item(item_id=item.item_id) == replace(item, accessed_at=LATER)
    assert store.audit_lines()[-1] == line


# --- rules that hold whatever the code does

RULES: dict[str, tuple[str, str]] = {
    "two current versions of an item": ("UPDATE versions SET stage = 'current'", "uq_versions_current"),
    "two versions of a number": ("UPDATE versions SET number = 1", "uq_versions_number"),
    "a keyId twice": ("UPDATE versions SET key_id_lower = 'same'", "uq_versions_key_id"),
    "two items of a name": ("UPDATE items SET name = '/same'", "uq_items_name"),
    "two targets of a name": ("UPDATE targets SET name = '/same'", "uq_targets_name"),
    "two unpublished rotations of an item": ("UPDATE rotations SET state = 'planned'", "uq_rotations_unpublished"),
    "two open deletes of an item": (
        "UPDATE rotations SET state = 'planned', \"trigger\" = 'delete'",
        "uq_rotations_delete",
    ),
    "a request twice": ("UPDATE rotations SET idempotency_key = 'same'", "uq_rotations_idempotency_key"),
    "an event twice": ("UPDATE events SET event_id = 'same'", "uq_events_event_id"),
}


@pytest.mark.parametrize(("statement", "rule"), RULES.values(), ids=list(RULES))
def test_the_database_itself_refuses(store: SqlUnitOfWork, statement: str, rule: str):
    item, first = samples.add_item(store)
    _, second = samples.published(store, item, first)
    samples.published(store, item, second, number=3)
    samples.add_item(store)
    with pytest.raises(RotatorError) as refused, store._db.writing() as connection:
        connection.exec_driver_sql(statement)
    assert refused.value.details == {"rule": rule}
