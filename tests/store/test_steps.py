"""What each step of a rotation leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from azure_rotator.domain.errors import Conflict, Corrupt
from azure_rotator.domain.model import (
    ItemState,
    RotationState,
    RotatorStatus,
    Stage,
    Trigger,
    Version,
)
from azure_rotator.domain.secrettext import SealedBytes
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.inspection import Inspection
from tests.store.samples import DAY, FAILURE, LATER, NOW, Scene


def _rotation(store: SqlUnitOfWork, rotation_id: str):
    found = store.get_rotation(rotation_id)
    assert found is not None
    return found


def _item(store: SqlUnitOfWork, item_id: str):
    found = store.find_item(item_id=item_id)
    assert found is not None
    return found


def _stages(store: SqlUnitOfWork, item_id: str) -> dict[int, Stage]:
    return {version.number: version.stage for version in store.versions(item_id)}


# --- up to the publication


def test_the_intent_is_stored_before_the_mint_and_cleared_when_it_is_settled(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    made, claim = samples.started(store, item.item_id)
    store.begin_minting(claim, LATER, samples.mint(claim))
    minting = _rotation(store, made.rotation_id)
    assert (minting.state, minting.mint_uncertain, minting.updated_at) == (RotationState.MINTING, True, LATER)
    store.mint_settled(claim, LATER, refused=False)
    settled = _rotation(store, made.rotation_id)
    assert (settled.state, settled.mint_uncertain) == (RotationState.MINTING, False)


def test_a_minted_version_is_pending_until_its_proof(store: SqlUnitOfWork):
    item, current = samples.add_item(store)
    made, _, pending = samples.with_pending(store, item.item_id)
    minted = _rotation(store, made.rotation_id)
    assert (minted.state, minted.mint_uncertain, minted.confirmations) == (RotationState.MINTED, False, 0)
    assert minted.proof_deadline_at == NOW + timedelta(minutes=5)
    assert list(store.versions(item.item_id)) == [current, pending]


def test_proofs_are_counted_with_the_time_of_the_next(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    made, claim, _ = samples.with_pending(store, item.item_id)
    store.record_proof(claim, successes=2, refusal=None, next_attempt_at=LATER, at=NOW)
    proving = _rotation(store, made.rotation_id)
    assert (proving.state, proving.confirmations, proving.next_attempt_at) == (RotationState.PROVING, 2, LATER)
    store.record_proof(claim, successes=0, refusal=FAILURE, next_attempt_at=LATER, at=NOW)
    refused = _rotation(store, made.rotation_id)
    assert (refused.confirmations, refused.attempts) == (0, 0)
    assert (refused.error_code, refused.error_text) == (FAILURE.code, FAILURE.text)
    store.record_proof(claim, successes=1, refusal=None, next_attempt_at=LATER, at=NOW)
    assert _rotation(store, made.rotation_id).error_code is None


def test_publication_changes_everything_in_one_transaction(store: SqlUnitOfWork):
    item, current = samples.add_item(store, sealed_login=SealedBytes(b"\x00first login"))
    made, claim, pending = samples.with_pending(store, item.item_id)
    store.defer(claim, FAILURE, attempts=2, next_attempt_at=NOW, status="RotationFailed", at=NOW)
    store.record_proof(claim, successes=3, refusal=None, next_attempt_at=NOW, at=NOW)
    change = samples.publication(item, pending, current)
    store.publish(claim, change)

    rotation = _rotation(store, made.rotation_id)
    assert (rotation.state, rotation.replaced_version_id) == (RotationState.PUBLISHED, current.version_id)
    assert (rotation.next_attempt_at, rotation.updated_at) == (change.next_attempt_at, LATER)
    assert (rotation.confirmations, rotation.attempts) == (0, 0)
    assert (rotation.error_code, rotation.error_text) == (None, None)
    assert list(store.versions(item.item_id)) == [
        replace(current, stage=Stage.PREVIOUS, retire_at=change.retire_at),
        replace(pending, stage=Stage.CURRENT),
    ]
    assert _item(store, item.item_id) == replace(
        item,
        last_rotation_at=LATER,
        counted_from=LATER,
        next_rotation_at=change.next_rotation_at,
        rotator_status=RotatorStatus.SUCCEEDED,
        sealed_login=None,
        modified_at=LATER,
        revision=2,
    )
    assert list(store.events()) == list(change.events)
    assert store.audit_lines()[-1] == change.audit


def test_the_first_publication_makes_a_created_item_visible(store: SqlUnitOfWork):
    target = samples.add_target(store)
    item = samples.item(target.target_id, state=ItemState.CREATING)
    create = samples.rotation(item.item_id, trigger=Trigger.CREATE)
    store.insert_item(item, None, create, samples.line())
    claim = samples.claimed(store, create)
    pending = samples.version(item.item_id, create.rotation_id, number=1, stage=Stage.PENDING)
    store.begin_minting(claim, NOW, samples.mint(claim))
    store.store_pending(claim, pending, LATER, NOW)
    store.publish(claim, samples.publication(item, pending, None, next_attempt_at=LATER))
    assert _item(store, item.item_id).state is ItemState.ACTIVE
    assert list(store.versions(item.item_id)) == [replace(pending, stage=Stage.CURRENT)]


def test_an_adopted_credential_without_a_value_is_replaced_like_any_other(store: SqlUnitOfWork):
    target = samples.add_target(store)
    item = samples.item(target.target_id)
    create = samples.rotation(item.item_id, trigger=Trigger.CREATE, state=RotationState.DONE)
    adopted = samples.version(item.item_id, create.rotation_id, number=0, sealed_value=None)
    store.insert_item(item, adopted, create, samples.line())
    _, claim, pending = samples.with_pending(store, item.item_id, number=1)
    change = samples.publication(item, pending, adopted)
    store.publish(claim, change)
    assert list(store.versions(item.item_id)) == [
        replace(adopted, stage=Stage.PREVIOUS, retire_at=change.retire_at),
        replace(pending, stage=Stage.CURRENT),
    ]


def test_a_third_secret_brings_the_retirement_of_the_oldest_forward(store: SqlUnitOfWork):
    item, first = samples.add_item(store)
    earlier, second = samples.published(store, item, first)
    other, _ = samples.add_item(store)
    elsewhere, _ = samples.published(store, other, store.versions(other.item_id)[0])
    made, claim, third = samples.with_pending(store, item.item_id, number=3)
    store.publish(claim, samples.publication(item, third, second, retire_early=(first.version_id,)))

    by_number = {version.number: version for version in store.versions(item.item_id)}
    assert (by_number[1].stage, by_number[1].retire_at) == (Stage.PREVIOUS, LATER)
    assert (by_number[2].stage, by_number[2].retire_at) == (Stage.PREVIOUS, LATER + DAY)
    assert _rotation(store, earlier.rotation_id).next_attempt_at == LATER
    assert _rotation(store, made.rotation_id).next_attempt_at == LATER + DAY, "its own waits for the second"
    assert _rotation(store, elsewhere.rotation_id).next_attempt_at == LATER + DAY, "another item's waits on"


@pytest.mark.parametrize("gone", ["pending", "current", "item"])
def test_a_publication_that_does_not_fit_the_rows_changes_nothing(store: SqlUnitOfWork, outside: Inspection, gone: str):
    item, current = samples.add_item(store)
    _, claim, pending = samples.with_pending(store, item.item_id)
    if gone == "item":
        outside.execute("UPDATE rotations SET item_id = 'nowhere' WHERE rotation_id = ?", claim.rotation_id)
    else:
        wrong = {"pending": pending, "current": current}[gone]
        outside.execute("UPDATE versions SET stage = 'revoked' WHERE version_id = ?", wrong.version_id)
    before = outside.everything()
    with pytest.raises(Corrupt, match=claim.rotation_id) as refused:
        store.publish(claim, samples.publication(item, pending, current))
    assert refused.value.code == "StoreCorrupt"
    assert outside.everything() == before


def test_a_keyid_that_another_item_holds_is_not_stored_as_pending(store: SqlUnitOfWork, outside: Inspection):
    _, held = samples.add_item(store)
    item, _ = samples.add_item(store)
    _, claim = samples.started(store, item.item_id)
    before = outside.everything()
    twin = samples.version(item.item_id, claim.rotation_id, number=2, stage=Stage.PENDING, key_id=held.key_id.lower())
    with pytest.raises(Conflict) as refused:
        store.store_pending(claim, twin, LATER, NOW)
    assert refused.value.code == "CredentialAlreadyManaged"
    assert outside.everything() == before


# --- after the publication


def test_retiring_revokes_the_version_and_keeps_its_value_as_history(store: SqlUnitOfWork):
    item, first = samples.add_item(store)
    made, _ = samples.published(store, item, first)
    claim = samples.claimed(store, made, now=LATER + DAY)
    store.begin_retiring(claim, LATER + DAY)
    assert _rotation(store, made.rotation_id).state is RotationState.RETIRING
    store.record_absence(claim, confirmations=2, attempts=0, next_attempt_at=LATER + 2 * DAY, at=LATER + DAY)
    looking = _rotation(store, made.rotation_id)
    assert (looking.confirmations, looking.next_attempt_at) == (2, LATER + 2 * DAY)
    store.finish_retiring(claim, [first.version_id], LATER + 2 * DAY, done=True)
    assert _rotation(store, made.rotation_id).state is RotationState.DONE
    retired = store.versions(item.item_id)[0]
    assert (retired.stage, retired.revoked_at) == (Stage.REVOKED, LATER + 2 * DAY)
    assert retired.sealed_value == first.sealed_value
    assert store.open_rotations(item_id=item.item_id) == []


def test_a_partial_success_becomes_a_success_when_the_old_one_is_gone(store: SqlUnitOfWork):
    item, first = samples.add_item(store)
    made, _ = samples.published(store, item, first)
    claim = samples.claimed(store, made, now=LATER + DAY)
    store.begin_retiring(claim, LATER + DAY)
    store.defer(claim, FAILURE, attempts=1, next_attempt_at=LATER, status="RotationPartialSucceeded", at=LATER)
    partial = _item(store, item.item_id)
    assert (partial.rotator_status, partial.error_code) == (RotatorStatus.PARTIAL, FAILURE.code)
    store.finish_retiring(claim, [first.version_id], LATER, done=True)
    after = _item(store, item.item_id)
    assert (after.rotator_status, after.error_code, after.error_text) == (RotatorStatus.SUCCEEDED, None, None)


def test_finishing_an_old_rotation_does_not_hide_a_newer_failure(store: SqlUnitOfWork):
    item, first = samples.add_item(store)
    made, _ = samples.published(store, item, first)
    _, newer = samples.started(store, item.item_id)
    store.fail(newer, FAILURE, audit=samples.line(), undo_item=False, at=LATER)
    store.release(newer)
    claim = samples.claimed(store, made, now=LATER + DAY)
    store.finish_retiring(claim, [first.version_id], LATER, done=True)
    after = _item(store, item.item_id)
    assert (after.rotator_status, after.error_code) == (RotatorStatus.FAILED, FAILURE.code)


def test_retiring_twice_keeps_the_first_time(store: SqlUnitOfWork):
    item, first = samples.add_item(store)
    made, _ = samples.published(store, item, first)
    claim = samples.claimed(store, made, now=LATER + DAY)
    store.finish_retiring(claim, [first.version_id], LATER, done=False)
    store.finish_retiring(claim, [first.version_id], LATER + DAY, done=False)
    assert store.versions(item.item_id)[0].revoked_at == LATER


def test_a_version_of_another_item_is_never_revoked(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    other, others = samples.add_item(store)
    _, claim = samples.started(store, item.item_id)
    store.finish_retiring(claim, [others.version_id], LATER, done=False)
    assert list(store.versions(other.item_id)) == [others]


# --- when it does not work

Step = Callable[[Scene], object]


def _fail(s: Scene) -> None:
    s.store.fail(s.claim, FAILURE, audit=samples.line(), undo_item=False, at=LATER)


COUNTS_START_ANEW: dict[str, Step] = {
    "resume": lambda s: s.store.resume(s.claim, LATER),
    "begin_minting": lambda s: s.store.begin_minting(s.claim, LATER, samples.mint(s.claim)),
    "mint_settled": lambda s: s.store.mint_settled(s.claim, LATER, refused=False),
    "begin_retiring": lambda s: s.store.begin_retiring(s.claim, LATER),
    "finish_retiring": lambda s: s.store.finish_retiring(s.claim, [], LATER, done=False),
    "drop_abandoned": lambda s: s.store.drop_abandoned(s.claim, s.pending.version_id, LATER),
    "fail": _fail,
}


@pytest.mark.parametrize("step", COUNTS_START_ANEW.values(), ids=list(COUNTS_START_ANEW))
def test_confirmations_of_one_look_never_count_for_the_next(store: SqlUnitOfWork, step: Step):
    scene = samples.scene(store)
    store.record_absence(scene.claim, confirmations=2, attempts=0, next_attempt_at=NOW, at=NOW)
    step(scene)
    assert _rotation(store, scene.made.rotation_id).confirmations == 0


BACK_OFF: dict[str, tuple[Step, int]] = {
    "an intent does not": (lambda s: s.store.begin_minting(s.claim, LATER, samples.mint(s.claim)), 5),
    "a settled mint does not": (lambda s: s.store.mint_settled(s.claim, LATER, refused=False), 5),
    "the begin of retiring does not": (lambda s: s.store.begin_retiring(s.claim, LATER), 5),
    "a read counts as its reader says": (
        lambda s: s.store.record_absence(s.claim, confirmations=0, attempts=6, next_attempt_at=NOW, at=NOW),
        6,
    ),
    "an answered proof does": (
        lambda s: s.store.record_proof(s.claim, successes=0, refusal=FAILURE, next_attempt_at=NOW, at=NOW),
        0,
    ),
    "a stored mint does": (
        lambda s: s.store.store_pending(
            s.claim, samples.version(s.item.item_id, s.made.rotation_id, number=3, stage=Stage.PENDING), LATER, NOW
        ),
        0,
    ),
    "a resumption does": (lambda s: s.store.resume(s.claim, LATER), 0),
    "a failure ends the mint's count": (_fail, 0),
}


@pytest.mark.parametrize(("step", "attempts"), BACK_OFF.values(), ids=list(BACK_OFF))
def test_what_sets_the_failures_in_a_row_back(store: SqlUnitOfWork, step: Step, attempts: int):
    scene = samples.scene(store)
    store.defer(scene.claim, FAILURE, attempts=5, next_attempt_at=NOW, status=None, at=NOW)
    step(scene)
    assert _rotation(store, scene.made.rotation_id).attempts == attempts


@pytest.mark.parametrize(
    ("status", "shown"),
    [(None, (None, None)), ("RotationFailed", (RotatorStatus.FAILED, FAILURE.code))],
    ids=["quietly", "shown on the item"],
)
def test_a_deferred_step_waits_in_its_state(store: SqlUnitOfWork, status: str | None, shown):
    item, _ = samples.add_item(store)
    made, claim = samples.started(store, item.item_id)
    store.begin_minting(claim, NOW, samples.mint(claim))
    store.defer(claim, FAILURE, attempts=4, next_attempt_at=LATER, status=status, at=NOW)
    waiting = _rotation(store, made.rotation_id)
    assert (waiting.state, waiting.attempts, waiting.next_attempt_at) == (RotationState.MINTING, 4, LATER)
    assert (waiting.error_code, waiting.error_text) == (FAILURE.code, FAILURE.text)
    after = _item(store, item.item_id)
    assert (after.rotator_status, after.error_code) == shown
    assert after.revision == item.revision, "a failure that is shown refuses nobody's update"


def test_a_failed_rotation_leaves_the_old_version_current(store: SqlUnitOfWork):
    item, current = samples.add_item(store)
    made, claim, pending = samples.with_pending(store, item.item_id)
    told = samples.event(item, event_type="rotated-secret-failure", error_code=FAILURE.code)
    store.fail(claim, FAILURE, events=(told,), audit=samples.line(result=FAILURE.code), undo_item=False, at=LATER)
    failed = _rotation(store, made.rotation_id)
    assert (failed.state, failed.closed, failed.next_attempt_at) == (RotationState.FAILED, False, LATER)
    assert (failed.error_code, failed.error_text) == (FAILURE.code, FAILURE.text)
    assert list(store.versions(item.item_id)) == [current, replace(pending, stage=Stage.ABANDONED)]
    after = _item(store, item.item_id)
    assert (after.state, after.rotator_status) == (ItemState.ACTIVE, RotatorStatus.FAILED)
    assert (after.error_code, after.error_text) == (FAILURE.code, FAILURE.text)
    assert list(store.events()) == [told]
    assert store.audit_lines()[-1].result == FAILURE.code


def test_a_parked_rotation_is_resumed_as_the_same_operation(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    made, claim = samples.started(store, item.item_id)
    store.fail(claim, FAILURE, audit=samples.line(), undo_item=False, at=NOW)
    store.resume(claim, LATER)
    resumed = _rotation(store, made.rotation_id)
    assert (resumed.state, resumed.next_attempt_at) == (RotationState.PLANNED, LATER)
    assert resumed.idempotency_key == made.idempotency_key


def test_a_failed_create_frees_its_name_and_stays_to_be_cleaned_up(store: SqlUnitOfWork):
    target = samples.add_target(store)
    item = samples.item(target.target_id, state=ItemState.CREATING)
    create = samples.rotation(item.item_id, trigger=Trigger.CREATE)
    store.insert_item(item, None, create, samples.line())
    claim = samples.claimed(store, create)
    store.fail(claim, FAILURE, audit=samples.line(), undo_item=True, at=LATER)
    undoing = _item(store, item.item_id)
    assert (undoing.state, undoing.revision) == (ItemState.UNDOING, 2)
    assert store.find_item(name=item.name) is None
    again = samples.item(target.target_id, name=item.name)
    store.insert_item(again, None, samples.rotation(again.item_id), samples.line())
    assert store.find_item(name=item.name) == again

    store.drop_item(claim, None, LATER)
    assert store.find_item(item_id=item.item_id) is None
    closed = _rotation(store, create.rotation_id)
    assert (closed.state, closed.closed) == (RotationState.FAILED, True)
    assert store.item_known(item.item_id)


def test_an_abandoned_version_frees_its_number_and_then_its_row(store: SqlUnitOfWork):
    item, current = samples.add_item(store)
    _, claim, pending = samples.with_pending(store, item.item_id)
    store.fail(claim, FAILURE, audit=samples.line(), undo_item=False, at=NOW)
    store.drop_abandoned(claim, current.version_id, NOW)
    assert _stages(store, item.item_id) == {1: Stage.CURRENT, 2: Stage.ABANDONED}, "only an abandoned row is dropped"
    again = samples.version(item.item_id, claim.rotation_id, number=2, stage=Stage.PENDING)
    store.store_pending(claim, again, LATER, NOW)
    store.drop_abandoned(claim, pending.version_id, NOW)
    assert list(store.versions(item.item_id)) == [current, again]


def test_an_abandoned_version_that_a_delete_removed_leaves_no_history(store: SqlUnitOfWork):
    """Its number may be another version's by then, and the two must not meet as history."""
    item, current = samples.add_item(store)
    _, claim, pending = samples.with_pending(store, item.item_id)
    store.fail(claim, FAILURE, audit=samples.line(), undo_item=False, at=NOW)
    again = samples.version(item.item_id, claim.rotation_id, number=2, stage=Stage.PENDING)
    store.store_pending(claim, again, LATER, NOW)
    store.finish_retiring(claim, [pending.version_id], LATER, done=False)
    assert list(store.versions(item.item_id)) == [current, again]


# --- deletion


def _deleting(store: SqlUnitOfWork, item_id: str):
    item = _item(store, item_id)
    made = store.begin_delete(samples.rotation(item_id, trigger=Trigger.DELETE), revision=item.revision)
    return made, samples.claimed(store, made)


def test_a_deleted_item_is_gone_and_its_journal_stays(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    made, claim = _deleting(store, item.item_id)
    store.begin_retiring(claim, LATER)
    store.drop_item(claim, samples.line("delete_item", item.name), LATER)
    assert _rotation(store, made.rotation_id).state is RotationState.DONE
    assert store.find_item(item_id=item.item_id) is None
    assert list(store.versions(item.item_id)) == []
    assert store.item_known(item.item_id)
    assert store.audit_lines()[-1].action == "delete_item"


def test_a_refused_delete_leaves_the_item_as_it_was(store: SqlUnitOfWork):
    item, current = samples.add_item(store)
    made, claim = _deleting(store, item.item_id)
    store.cancel_delete(claim, FAILURE, samples.line("delete_item", item.name, result=FAILURE.code), LATER)
    after = _item(store, item.item_id)
    assert (after.state, after.rotator_status, after.error_code) == (ItemState.ACTIVE, None, None)
    assert list(store.versions(item.item_id)) == [current]
    refused = _rotation(store, made.rotation_id)
    assert (refused.state, refused.closed, refused.error_code) == (RotationState.FAILED, True, FAILURE.code)
    assert store.open_rotations(item_id=item.item_id) == []
    store.release(claim)
    _deleting(store, item.item_id)


def _waits_to_retire(store: SqlUnitOfWork, item, current: Version):
    made, _ = samples.published(store, item, current)
    return made, RotationState.PUBLISHED, LATER + DAY


def _abandoned(store: SqlUnitOfWork, item, current: Version):
    made, claim, _ = samples.with_pending(store, item.item_id)
    store.release(claim)
    return made, RotationState.FAILED, LATER


def _mint_uncertain(store: SqlUnitOfWork, item, current: Version):
    made, claim = samples.started(store, item.item_id)
    store.begin_minting(claim, NOW, samples.mint(claim))
    store.release(claim)
    return made, RotationState.FAILED, LATER


@pytest.mark.parametrize("prepare", [_waits_to_retire, _abandoned, _mint_uncertain])
def test_a_refused_delete_orphans_nothing(store: SqlUnitOfWork, prepare):
    """What the delete would have removed has a rotation again that removes it."""
    item, current = samples.add_item(store)
    made, state, due = prepare(store, item, current)
    _, claim = _deleting(store, item.item_id)
    store.cancel_delete(claim, FAILURE, samples.line(), LATER)
    (reopened,) = store.open_rotations(item_id=item.item_id)
    assert (reopened.rotation_id, reopened.state, reopened.next_attempt_at) == (made.rotation_id, state, due)
    store.release(claim)
    assert store.claim(made.rotation_id, "worker-2", due) is not None
