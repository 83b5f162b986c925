"""A worker whose lease is gone changes nothing, whichever way it lost it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from azure_rotator.domain.errors import LeaseLost
from azure_rotator.domain.model import Stage, Trigger
from azure_rotator.store.steps import Steps
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.inspection import NOW, Inspection
from tests.store.samples import FAILURE, LATER, Scene

Step = Callable[[Scene], object]

FENCED: dict[str, Step] = {
    "extend": lambda s: s.store.extend(s.claim),
    "resume": lambda s: s.store.resume(s.claim, LATER),
    "begin_minting": lambda s: s.store.begin_minting(s.claim, LATER, samples.mint(s.claim)),
    "mint_settled": lambda s: s.store.mint_settled(s.claim, LATER, refused=False),
    "store_pending": lambda s: s.store.store_pending(
        s.claim, samples.version(s.item.item_id, s.made.rotation_id, number=3, stage=Stage.PENDING), LATER, LATER
    ),
    "record_proof": lambda s: s.store.record_proof(s.claim, successes=1, refusal=None, next_attempt_at=LATER, at=LATER),
    "publish": lambda s: s.store.publish(s.claim, samples.publication(s.item, s.pending, s.current)),
    "park": lambda s: s.store.park(s.claim, LATER, LATER),
    "withdraw": lambda s: s.store.withdraw(s.claim, LATER),
    "begin_retiring": lambda s: s.store.begin_retiring(s.claim, LATER),
    "cut_short": lambda s: s.store.cut_short(s.claim, [s.current.version_id], LATER),
    "record_absence": lambda s: s.store.record_absence(
        s.claim, confirmations=1, attempts=0, next_attempt_at=LATER, at=LATER
    ),
    "finish_retiring": lambda s: s.store.finish_retiring(s.claim, [s.current.version_id], LATER, done=True),
    "defer": lambda s: s.store.defer(
        s.claim, FAILURE, attempts=1, next_attempt_at=LATER, status="RotationFailed", at=LATER
    ),
    "fail": lambda s: s.store.fail(
        s.claim, FAILURE, events=(samples.event(s.item),), audit=samples.line(), undo_item=True, at=LATER
    ),
    "drop_abandoned": lambda s: s.store.drop_abandoned(s.claim, s.pending.version_id, LATER),
    "drop_item": lambda s: s.store.drop_item(s.claim, samples.line(), LATER),
    "cancel_version_delete": lambda s: s.store.cancel_version_delete(s.claim, FAILURE, samples.line(), LATER),
    "cancel_delete": lambda s: s.store.cancel_delete(s.claim, FAILURE, samples.line(), LATER),
}


def _taken_over(scene: Scene, outside: Inspection) -> None:
    outside.run_out_leases()
    samples.claimed(scene.store, scene.made, "worker-2")


def _lane_taken_over(scene: Scene, outside: Inspection) -> None:
    """The rotation is still ours by its own row, but somebody else writes to the same Azure object by now."""
    outside.run_out_leases()
    other, _ = samples.add_item(scene.store)
    samples.started(scene.store, other.item_id)


def _given_back(scene: Scene, outside: Inspection) -> None:
    scene.store.release(scene.claim)


def _closed_by_a_delete(scene: Scene, outside: Inspection) -> None:
    outside.run_out_leases()
    delete = samples.rotation(scene.item.item_id, trigger=Trigger.DELETE)
    scene.store.begin_delete(delete, revision=scene.item.revision)


LOSSES: dict[str, Callable[[Scene, Inspection], None]] = {
    "taken over by another worker": _taken_over,
    "its lane taken over": _lane_taken_over,
    "given back": _given_back,
    "closed by a delete": _closed_by_a_delete,
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=list(LOSSES))
@pytest.mark.parametrize("step", FENCED.values(), ids=list(FENCED))
def test_a_lost_lease_changes_nothing(store: SqlUnitOfWork, outside: Inspection, step: Step, lose):
    scene = samples.scene(store)
    lose(scene, outside)
    before = outside.everything()
    with pytest.raises(LeaseLost) as lost:
        step(scene)
    assert outside.everything() == before
    assert lost.value.code == "ItemLocked"
    assert scene.made.rotation_id in lost.value.message


def test_a_forged_fence_is_refused(store: SqlUnitOfWork, outside: Inspection):
    claim = samples.scene(store).claim
    before = outside.everything()
    for forged in (replace(claim, fence=claim.fence + 1), replace(claim, permit_fence=0), replace(claim, worker="x")):
        with pytest.raises(LeaseLost):
            store.begin_minting(forged, LATER, samples.mint(forged))
    assert outside.everything() == before


def test_the_table_has_every_fenced_method():
    steps = {name for name in vars(Steps) if not name.startswith("_")}
    assert set(FENCED) == steps | {"extend"}


@pytest.mark.parametrize("step", FENCED.values(), ids=list(FENCED))
def test_every_commit_extends_lease_and_permit_alike(store: SqlUnitOfWork, outside: Inspection, step: Step):
    scene = samples.scene(store)
    outside.run_out_leases()
    step(scene)
    held = f"lease_until > {NOW[outside.database]} + 25"
    rotation = outside.execute(f"SELECT 1 FROM rotations WHERE rotation_id = ? AND {held}", scene.made.rotation_id)  # noqa: S608
    permit = outside.execute(f"SELECT 1 FROM permits WHERE lane = ? AND {held}", scene.made.lane)  # noqa: S608
    assert (rotation, permit) == ([(1,)], [(1,)])


def test_a_lease_that_ran_out_but_was_not_taken_still_commits(store: SqlUnitOfWork, outside: Inspection):
    scene = samples.scene(store)
    outside.run_out_leases()
    store.begin_minting(scene.claim, LATER, samples.mint(scene.claim))
    assert store.claim(scene.made.rotation_id, "worker-2", LATER) is None
