"""Inserting into the journal: one rotation at a time, requests that attach, deletes that close the rest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from azure_rotator.domain.errors import Conflict, NotFound, RotatorError
from azure_rotator.domain.model import ItemState, Origin, Rotation, RotationState, Stage, Trigger, Version
from azure_rotator.domain.ports import Situation
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.inspection import Inspection
from tests.store.samples import DAY, FAILURE, LATER, NOW

# --- attaching


def test_a_rotation_is_read_as_it_was_written(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    made = samples.rotation(
        item.item_id,
        trigger=Trigger.CATCH_UP,
        mint_uncertain=True,
        confirmations=2,
        attempts=3,
        proof_deadline_at=LATER,
        replaced_version_id=samples.new_id(),
        error_code="AzureThrottled",
        error_text="asked to wait",
    )
    assert store.insert_rotation(made) == made
    assert store.get_rotation(made.rotation_id) == made
    assert store.get_rotation("nobody") is None


def test_a_situation_is_all_that_single_reads_would_find(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    planned, claim = samples.started(store, item.item_id)
    before = store.situation(planned.rotation_id)
    assert before is not None
    assert before.mint is None
    mint = samples.mint(claim)
    store.begin_minting(claim, NOW, mint)
    rotation = store.get_rotation(planned.rotation_id)
    assert rotation is not None
    assert store.situation(planned.rotation_id) == Situation(
        rotation=rotation,
        item=store.find_item(item_id=item.item_id),
        versions=tuple(store.versions(item.item_id)),
        target=store.find_target(target_id=item.target_id),
        mint=mint,
    )
    assert before.versions == tuple(store.versions(item.item_id)) != ()
    assert store.situation("nobody") is None


def test_the_situation_of_a_rotation_outlives_its_item(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    left = store.begin_delete(samples.rotation(item.item_id, trigger=Trigger.DELETE), revision=item.revision)
    store.drop_item(samples.claimed(store, left), None, NOW)
    rotation = store.get_rotation(left.rotation_id)
    assert rotation is not None
    assert store.situation(left.rotation_id) == Situation(
        rotation=rotation, item=None, versions=(), target=None, mint=None
    )


def test_the_same_request_attaches_even_when_it_is_long_done(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    first = store.insert_rotation(samples.rotation(item.item_id, idempotency_key="request:7", state=RotationState.DONE))
    again = samples.rotation(item.item_id, idempotency_key="request:7")
    assert store.insert_rotation(again) == first
    assert store.get_rotation(again.rotation_id) is None


UNPUBLISHED = {
    "planned": True,
    "minting": True,
    "minted": True,
    "proving": True,
    "failed": True,
    "published": False,
    "retiring": False,
    "done": False,
}


@pytest.mark.parametrize(("state", "attaches"), UNPUBLISHED.items(), ids=list(UNPUBLISHED))
def test_another_request_attaches_to_what_is_not_published(store: SqlUnitOfWork, state: str, attaches: bool):
    item, _ = samples.add_item(store)
    first = store.insert_rotation(samples.rotation(item.item_id, state=RotationState(state)))
    second = samples.rotation(item.item_id)
    assert store.insert_rotation(second) == (first if attaches else second)


def test_a_closed_failure_takes_nobody_in(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    store.insert_rotation(samples.rotation(item.item_id, state=RotationState.FAILED, closed=True))
    second = samples.rotation(item.item_id)
    assert store.insert_rotation(second) == second


def test_its_own_request_goes_before_what_stands_in_the_way(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    done = store.insert_rotation(samples.rotation(item.item_id, state=RotationState.DONE, idempotency_key="due:1"))
    store.insert_rotation(samples.rotation(item.item_id))
    assert store.insert_rotation(samples.rotation(item.item_id, idempotency_key="due:1")) == done


def test_many_at_once_insert_one(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: store.insert_rotation(samples.rotation(item.item_id)), range(24)))
    assert len({answer.rotation_id for answer in answers}) == 1
    assert len(store.open_rotations(item_id=item.item_id)) == 1


@pytest.mark.parametrize(
    ("state", "code"),
    [(ItemState.DELETING, "ItemLocked"), (ItemState.UNDOING, "ItemLocked"), (None, "ItemNotFound")],
    ids=["deleting", "undoing", "gone"],
)
def test_nothing_is_begun_for_an_item_that_goes_away(
    store: SqlUnitOfWork, outside: Inspection, state: ItemState | None, code: str
):
    item_id = samples.new_id()
    if state is not None:
        item, _ = samples.add_item(store, state=state)
        item_id = item.item_id
    before = outside.everything()
    minting = samples.rotation(item_id, state=RotationState.MINTED)
    adopted = samples.version(item_id, minting.rotation_id, stage=Stage.PENDING, number=2)
    with pytest.raises(RotatorError) as refused:
        store.insert_rotation(samples.rotation(item_id))
    with pytest.raises(RotatorError) as also_refused:
        store.insert_adoption(minting, adopted)
    assert (refused.value.code, also_refused.value.code) == (code, code)
    assert outside.everything() == before


# --- reading


def test_open_rotations_are_those_that_still_need_work_oldest_first(store: SqlUnitOfWork):
    open_ones: list[Rotation] = []
    for age, (state, closed) in enumerate(
        [
            (RotationState.PLANNED, False),
            (RotationState.PUBLISHED, False),
            (RotationState.RETIRING, False),
            (RotationState.FAILED, False),
            (RotationState.FAILED, True),
            (RotationState.DONE, False),
        ]
    ):
        item, _ = samples.add_item(store)
        made = store.insert_rotation(
            samples.rotation(item.item_id, state=state, closed=closed, created_at=NOW - age * DAY)
        )
        if not closed and state is not RotationState.DONE:
            open_ones.insert(0, made)
    assert store.open_rotations() == open_ones
    assert store.open_rotations(item_id=open_ones[0].item_id) == open_ones[:1]
    assert store.open_rotations(item_id="nobody") == []


def test_operations_tells_known_mints_from_unknown_ones(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    made, claim = samples.started(store, item.item_id)
    first, second = samples.new_id(), samples.new_id()
    for mint_id in (first, second):
        store.begin_minting(claim, NOW, samples.mint(claim, mint_id))
    known = store.operations([first, second, made.rotation_id, "zzzzzzzzzzzzzzzz"])
    assert {mint_id: rotation.rotation_id for mint_id, rotation in known.items()} == {
        first: made.rotation_id,
        second: made.rotation_id,
    }
    assert store.operations([]) == {}


def test_an_item_is_known_while_the_journal_remembers_it(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    assert store.item_known(item.item_id)
    assert not store.item_known("zzzzzzzzzzzzzzzz")


HELD = {
    Stage.PENDING: True,
    Stage.CURRENT: True,
    Stage.PREVIOUS: True,
    Stage.ABANDONED: True,
    Stage.REVOKED: False,
}


@pytest.mark.parametrize(("stage", "held"), HELD.items(), ids=[stage.value for stage in HELD])
def test_a_keyid_is_held_while_its_credential_may_be_in_azure(store: SqlUnitOfWork, stage: Stage, held: bool):
    target = samples.add_target(store)
    item = samples.item(target.target_id)
    create = samples.rotation(item.item_id, state=RotationState.DONE)
    version = samples.version(item.item_id, create.rotation_id, stage=stage)
    store.insert_item(item, version, create, samples.line())
    as_azure_writes_it = version.key_id.swapcase()
    expected = {as_azure_writes_it: item.item_id} if held else {}
    assert store.held_key_ids([as_azure_writes_it, samples.guid()]) == expected
    assert store.held_key_ids([]) == {}


def test_lanes_are_named_once_each(store: SqlUnitOfWork):
    for lane in ("application:t:b", "application:t:a", "application:t:b"):
        item, _ = samples.add_item(store)
        store.insert_rotation(samples.rotation(item.item_id, lane=lane))
    assert set(store.lanes()) == {"application:t:a", "application:t:b", samples.LANE}
    assert len(store.lanes()) == 3


# --- adoption


def _adoption(item_id: str) -> tuple[Rotation, Version]:
    made = samples.rotation(item_id, state=RotationState.MINTED, trigger=Trigger.UPDATE, proof_deadline_at=LATER)
    return made, samples.version(item_id, made.rotation_id, number=2, stage=Stage.PENDING, origin=Origin.ADOPTED)


def test_an_adoption_is_a_rotation_that_starts_minted(store: SqlUnitOfWork):
    item, current = samples.add_item(store)
    made, pending = _adoption(item.item_id)
    store.insert_adoption(made, pending)
    assert store.get_rotation(made.rotation_id) == made
    assert list(store.versions(item.item_id)) == [current, pending]


def test_an_adoption_does_not_cross_a_rotation(store: SqlUnitOfWork, outside: Inspection):
    item, _ = samples.add_item(store)
    store.insert_rotation(samples.rotation(item.item_id))
    before = outside.everything()
    with pytest.raises(Conflict, match=item.name) as refused:
        store.insert_adoption(*_adoption(item.item_id))
    assert refused.value.code == "ItemLocked"
    assert outside.everything() == before


def test_what_another_item_holds_is_not_adopted(store: SqlUnitOfWork, outside: Inspection):
    holder, held = samples.add_item(store)
    item, _ = samples.add_item(store)
    made, pending = _adoption(item.item_id)
    before = outside.everything()
    with pytest.raises(Conflict, match=holder.name) as refused:
        store.insert_adoption(made, replace(pending, key_id=held.key_id.lower()))
    assert refused.value.code == "CredentialAlreadyManaged"
    assert outside.everything() == before


# --- deletes


def _delete(item_id: str, **changes: object) -> Rotation:
    return samples.rotation(item_id, trigger=Trigger.DELETE, **changes)


CLOSED_BY_A_DELETE = {
    "planned": (RotationState.FAILED, True),
    "minting": (RotationState.FAILED, True),
    "minted": (RotationState.FAILED, True),
    "proving": (RotationState.FAILED, True),
    "failed": (RotationState.FAILED, True),
    "published": (RotationState.DONE, False),
    "retiring": (RotationState.DONE, False),
}


@pytest.mark.parametrize(("state", "expected"), CLOSED_BY_A_DELETE.items(), ids=list(CLOSED_BY_A_DELETE))
def test_a_delete_closes_the_items_other_rotations(store: SqlUnitOfWork, state: str, expected):
    item, current = samples.add_item(store)
    other = samples.rotation(item.item_id, state=RotationState(state), mint_uncertain=True)
    store.insert_rotation(other)
    delete = _delete(item.item_id)
    assert store.begin_delete(delete, revision=item.revision) == delete
    closed = store.get_rotation(other.rotation_id)
    assert closed is not None
    assert (closed.state, closed.closed) == expected
    assert closed.mint_uncertain, "what may have been minted is still to be looked for"
    assert store.open_rotations(item_id=item.item_id) == [delete]
    after = store.find_item(item_id=item.item_id)
    assert after == replace(item, state=ItemState.DELETING, revision=item.revision + 1)
    assert list(store.versions(item.item_id)) == [current]


def test_a_pending_version_stays_to_be_removed_by_the_delete(store: SqlUnitOfWork):
    item, current = samples.add_item(store)
    _, claim, pending = samples.with_pending(store, item.item_id)
    store.release(claim)
    store.begin_delete(_delete(item.item_id), revision=item.revision)
    assert list(store.versions(item.item_id)) == [current, replace(pending, stage=Stage.ABANDONED)]


def test_a_second_delete_attaches_to_the_open_one(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    first = store.begin_delete(_delete(item.item_id), revision=item.revision)
    assert store.begin_delete(_delete(item.item_id), revision=item.revision + 1) == first
    assert store.begin_delete(_delete(item.item_id), revision=item.revision) == first, "whatever it read"


def test_a_delete_of_what_was_changed_meanwhile_is_refused(store: SqlUnitOfWork, outside: Inspection):
    item, _ = samples.add_item(store)
    before = outside.everything()
    for revision in (item.revision - 1, item.revision + 1):
        with pytest.raises(Conflict, match=item.name) as refused:
            store.begin_delete(_delete(item.item_id), revision=revision)
        assert refused.value.code == "ItemLocked"
    with pytest.raises(Conflict):
        store.begin_delete(_delete("nowhere"), revision=1)
    assert outside.everything() == before


def test_a_delete_waits_for_a_running_rotation_and_for_no_dead_one(store: SqlUnitOfWork, outside: Inspection):
    item, _ = samples.add_item(store)
    running, _, _ = samples.with_pending(store, item.item_id)
    before = outside.everything()
    with pytest.raises(Conflict, match=running.rotation_id) as refused:
        store.begin_delete(_delete(item.item_id), revision=item.revision)
    assert refused.value.code == "ItemLocked"
    assert outside.everything() == before
    outside.run_out_leases()
    delete = _delete(item.item_id)
    assert store.begin_delete(delete, revision=item.revision) == delete


def test_an_update_that_read_before_the_delete_is_refused(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    store.begin_delete(_delete(item.item_id), revision=item.revision)
    with pytest.raises(Conflict):
        store.update_item(replace(item, description="new", revision=item.revision + 1), samples.line())


def test_a_deleted_items_name_and_credential_are_free(store: SqlUnitOfWork):
    item, version = samples.add_item(store)
    delete = store.begin_delete(_delete(item.item_id), revision=item.revision)
    again = samples.item(item.target_id, name=item.name)
    create = samples.rotation(again.item_id, state=RotationState.DONE)
    taken = samples.version(again.item_id, create.rotation_id, key_id=version.key_id)
    with pytest.raises(Conflict, match="exists already"):
        store.insert_item(again, taken, create, samples.line())
    store.drop_item(samples.claimed(store, delete), samples.line(), LATER)
    store.insert_item(again, taken, create, samples.line())
    assert store.find_item(name=item.name) == again


def test_what_a_refused_delete_closed_for_good_stays_closed(store: SqlUnitOfWork):
    """A parked rotation with nothing left in Azure would only stand in the way of the next."""
    item, _ = samples.add_item(store)
    _, parked = samples.started(store, item.item_id)
    store.fail(parked, FAILURE, audit=samples.line(), undo_item=False, at=NOW)
    store.release(parked)
    delete = store.begin_delete(_delete(item.item_id), revision=item.revision)
    store.cancel_delete(samples.claimed(store, delete), FAILURE, samples.line(), LATER)
    assert store.open_rotations(item_id=item.item_id) == []
    again = samples.rotation(item.item_id)
    assert store.insert_rotation(again) == again


def test_nothing_is_inserted_twice_under_one_key(store: SqlUnitOfWork, outside: Inspection):
    """Whatever the code does, the database refuses."""
    item, _ = samples.add_item(store)
    store.insert_rotation(samples.rotation(item.item_id, idempotency_key="k"))
    other = samples.item(item.target_id, name="/prod/other")
    before = outside.everything()
    with pytest.raises(Conflict) as refused:
        store.insert_item(other, None, samples.rotation(other.item_id, idempotency_key="k"), samples.line())
    assert refused.value.code == "ItemLocked"
    assert outside.everything() == before


def test_not_found_is_told_apart_from_locked(store: SqlUnitOfWork):
    with pytest.raises(NotFound):
        store.insert_rotation(samples.rotation(samples.new_id()))


# --- what a person's request changes


def _parked(store: SqlUnitOfWork, item_id: str) -> Rotation:
    made, claim = samples.started(store, item_id)
    store.fail(claim, FAILURE, audit=samples.line(), undo_item=False, at=NOW)
    store.release(claim)
    return made


def test_an_adoption_closes_a_parked_rotation(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    parked = _parked(store, item.item_id)
    store.insert_adoption(*_adoption(item.item_id))
    found = store.get_rotation(parked.rotation_id)
    assert found is not None
    assert found.closed


def test_an_adoption_waits_for_what_a_failed_rotation_left_in_azure(store: SqlUnitOfWork, outside: Inspection):
    item, _ = samples.add_item(store)
    _, claim, _ = samples.with_pending(store, item.item_id)
    store.fail(claim, FAILURE, audit=samples.line(), undo_item=False, at=NOW)
    store.release(claim)
    before = outside.everything()
    with pytest.raises(Conflict, match="not finished"):
        store.insert_adoption(*_adoption(item.item_id))
    assert outside.everything() == before


def test_an_operation_that_backs_off_is_hastened(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    made, claim = samples.started(store, item.item_id)
    store.defer(claim, FAILURE, attempts=3, next_attempt_at=LATER, status=None, at=NOW)
    store.hasten(made.rotation_id, NOW)
    assert _next_attempt(store, made) == LATER  # somebody works on it
    store.release(claim)
    store.hasten(made.rotation_id, NOW)
    assert _next_attempt(store, made) == NOW


def test_a_retirement_is_not_hastened(store: SqlUnitOfWork):
    item, first = samples.add_item(store)
    made, _ = samples.published(store, item, first)
    before = _next_attempt(store, made)
    store.hasten(made.rotation_id, NOW)
    assert _next_attempt(store, made) == before


def _next_attempt(store: SqlUnitOfWork, made: Rotation) -> object:
    found = store.get_rotation(made.rotation_id)
    assert found is not None
    return found.next_attempt_at


def test_a_create_that_only_is_planned_is_withdrawn_although_its_lane_is_busy(store: SqlUnitOfWork):
    target = samples.add_target(store)
    item = samples.item(target.target_id, state=ItemState.CREATING)
    made = samples.rotation(item.item_id, trigger=Trigger.CREATE)
    store.insert_item(item, None, made, samples.line())
    assert store.claim_lane(made.lane, "somebody", NOW) is not None
    assert store.withdraw_create(made.rotation_id, samples.line(), NOW)
    assert store.find_item(item_id=item.item_id) is None
    assert store.item_known(item.item_id)
    assert not store.withdraw_create(made.rotation_id, samples.line(), NOW)


def test_a_create_that_somebody_works_on_is_not_withdrawn(store: SqlUnitOfWork, outside: Inspection):
    target = samples.add_target(store)
    item = samples.item(target.target_id, state=ItemState.CREATING)
    made = samples.rotation(item.item_id, trigger=Trigger.CREATE)
    store.insert_item(item, None, made, samples.line())
    samples.claimed(store, made)
    before = outside.everything()
    assert not store.withdraw_create(made.rotation_id, samples.line(), NOW)
    assert outside.everything() == before


def test_whether_an_item_ever_minted(store: SqlUnitOfWork):
    item, _ = samples.add_item(store)
    assert not store.has_minted(item.item_id)
    _, claim = samples.started(store, item.item_id)
    assert not store.has_minted(item.item_id)
    store.begin_minting(claim, NOW, samples.mint(claim))
    assert store.has_minted(item.item_id)


def test_a_secret_that_is_hard_to_remove_does_not_hide_a_failed_rotation(store: SqlUnitOfWork):
    item, first = samples.add_item(store)
    made, _ = samples.published(store, item, first)
    _parked(store, item.item_id)
    claim = samples.claimed(store, made, now=LATER + DAY)
    store.begin_retiring(claim, LATER)
    partial = "RotationPartialSucceeded"
    store.defer(claim, FAILURE, attempts=1, next_attempt_at=LATER, status=partial, at=LATER)
    store.finish_retiring(claim, [first.version_id], LATER, done=True)
    found = store.find_item(item_id=item.item_id)
    assert found is not None
    assert found.rotator_status == "RotationFailed"
