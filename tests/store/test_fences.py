"""A worker whose lease is gone changes nothing, whichever way it lost it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from azure_rotator.domain.errors import LeaseLost
from azure_rotator.domain.model import RotatedSecret, Rotation, Stage, Trigger, Version
from azure_rotator.domain.ports import Claim
from azure_rotator.store.steps import Steps
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.inspection import StoreFile
from tests.store.samples import FAILURE, LATER, NOW

Call = Callable[[SqlUnitOfWork, Claim, RotatedSecret, Version, Version], object]

FENCED: dict[str, Call] = {
    "extend": lambda store, claim, *_: store.extend(claim),
    "resume": lambda store, claim, *_: store.resume(claim, LATER),
    "begin_minting": lambda store, claim, *_: store.begin_minting(claim, LATER),
    "mint_settled": lambda store, claim, *_: store.mint_settled(claim, LATER),
    "store_pending": lambda store, claim, item, *_: store.store_pending(
        claim, samples.version(item.item_id, claim.rotation_id, number=3, stage=Stage.PENDING), LATER, LATER
    ),
    "record_proof": lambda store, claim, *_: store.record_proof(
        claim, successes=1, attempts=0, next_attempt_at=LATER, at=LATER
    ),
    "publish": lambda store, claim, item, current, pending: store.publish(
        claim, samples.publication(item, pending, current)
    ),
    "begin_retiring": lambda store, claim, *_: store.begin_retiring(claim, LATER),
    "record_absence": lambda store, claim, *_: store.record_absence(
        claim, confirmations=1, next_attempt_at=LATER, at=LATER
    ),
    "finish_retiring": lambda store, claim, item, current, pending: store.finish_retiring(
        claim, [current.version_id], LATER, done=True
    ),
    "defer": lambda store, claim, *_: store.defer(
        claim, FAILURE, attempts=1, next_attempt_at=LATER, status="RotationFailed", at=LATER
    ),
    "fail": lambda store, claim, item, *_: store.fail(
        claim, FAILURE, event=samples.event(item), audit=samples.line(), undo_item=True, at=LATER
    ),
    "drop_abandoned": lambda store, claim, item, current, pending: store.drop_abandoned(
        claim, pending.version_id, LATER
    ),
    "drop_item": lambda store, claim, *_: store.drop_item(claim, samples.line(), LATER),
    "cancel_delete": lambda store, claim, *_: store.cancel_delete(claim, FAILURE, samples.line(), LATER),
}


def _taken_over(store: SqlUnitOfWork, file: StoreFile, made: Rotation, claim: Claim) -> None:
    file.run_out_leases()
    samples.claimed(store, made, "worker-2")


def _lane_taken_over(store: SqlUnitOfWork, file: StoreFile, made: Rotation, claim: Claim) -> None:
    """The rotation is still ours by its own row, but somebody else writes to the same Azure object by now."""
    file.run_out_leases()
    other, _ = samples.add_item(store)
    samples.started(store, other.item_id)


def _given_back(store: SqlUnitOfWork, file: StoreFile, made: Rotation, claim: Claim) -> None:
    store.release(claim)


def _closed_by_a_delete(store: SqlUnitOfWork, file: StoreFile, made: Rotation, claim: Claim) -> None:
    file.run_out_leases()
    item = store.find_item(item_id=made.item_id)
    assert item is not None
    store.begin_delete(samples.rotation(item.item_id, trigger=Trigger.DELETE), revision=item.revision)


LOSSES = {
    "taken over by another worker": _taken_over,
    "its lane taken over": _lane_taken_over,
    "given back": _given_back,
    "closed by a delete": _closed_by_a_delete,
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=list(LOSSES))
@pytest.mark.parametrize("call", FENCED.values(), ids=list(FENCED))
def test_a_lost_lease_changes_nothing(store: SqlUnitOfWork, file: StoreFile, call: Call, lose):
    item, current = samples.add_item(store)
    made, claim, pending = samples.with_pending(store, item.item_id)
    lose(store, file, made, claim)
    before = file.everything()
    with pytest.raises(LeaseLost) as lost:
        call(store, claim, item, current, pending)
    assert file.everything() == before
    assert lost.value.code == "ItemLocked"
    assert made.rotation_id in lost.value.message


def test_a_forged_fence_is_refused(store: SqlUnitOfWork, file: StoreFile):
    item, _ = samples.add_item(store)
    _, claim = samples.started(store, item.item_id)
    before = file.everything()
    for forged in (replace(claim, fence=claim.fence + 1), replace(claim, permit_fence=0), replace(claim, worker="x")):
        with pytest.raises(LeaseLost):
            store.begin_minting(forged, LATER)
    assert file.everything() == before


def test_the_table_has_every_fenced_method():
    steps = {name for name in vars(Steps) if not name.startswith("_")}
    assert set(FENCED) == steps | {"extend"}


@pytest.mark.parametrize("call", FENCED.values(), ids=list(FENCED))
def test_every_commit_extends_lease_and_permit_alike(store: SqlUnitOfWork, file: StoreFile, call: Call):
    item, current = samples.add_item(store)
    _, claim, pending = samples.with_pending(store, item.item_id)
    file.run_out_leases()
    call(store, claim, item, current, pending)
    held = "lease_until > (julianday('now') - 2440587.5) * 86400.0 + 25"
    rotation = file.execute(f"SELECT 1 FROM rotations WHERE rotation_id = ? AND {held}", claim.rotation_id)  # noqa: S608
    permit = file.execute(f"SELECT 1 FROM permits WHERE lane = ? AND {held}", claim.lane)  # noqa: S608
    assert (rotation, permit) == ([(1,)], [(1,)])


def test_a_lease_that_ran_out_but_was_not_taken_still_commits(store: SqlUnitOfWork, file: StoreFile):
    item, _ = samples.add_item(store)
    made, claim = samples.started(store, item.item_id)
    file.run_out_leases()
    store.begin_minting(claim, NOW + timedelta(minutes=2))
    assert store.claim(made.rotation_id, "worker-2", LATER) is None
