"""Leases and permits: one worker a rotation, one worker a lane, by the database's clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from azure_rotator.domain.errors import LeaseLost
from azure_rotator.domain.model import Rotation, RotationState
from azure_rotator.domain.ports import Claim, LaneClaim
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.rows import row
from tests.store import samples
from tests.store.conftest import Opened
from tests.store.inspection import Inspection
from tests.store.samples import DAY, LANE, LATER, NOW

SECOND = timedelta(seconds=1)


def _due(store: SqlUnitOfWork, **changes: object) -> Rotation:
    item, _ = samples.add_item(store)
    return store.insert_rotation(samples.rotation(item.item_id, **changes))


# --- who may claim


def _held(store: SqlUnitOfWork) -> Rotation:
    made = _due(store)
    samples.claimed(store, made, "somebody")
    return made


def _run_out(store: SqlUnitOfWork, outside: Inspection) -> Rotation:
    made = _held(store)
    outside.run_out_leases()
    return made


def _released(store: SqlUnitOfWork) -> Rotation:
    made = _due(store)
    store.release(samples.claimed(store, made, "somebody"))
    return made


def _lane_held(store: SqlUnitOfWork) -> Rotation:
    samples.claimed(store, _due(store), "somebody")
    return _due(store)


def _lane_reconciled(store: SqlUnitOfWork) -> Rotation:
    assert store.claim_lane(LANE, "somebody", NOW)
    return _due(store)


def _on_hold(store: SqlUnitOfWork, until: datetime) -> Rotation:
    store.hold_lane(LANE, until)
    return _due(store)


def _elsewhere_on_hold(store: SqlUnitOfWork) -> Rotation:
    store.hold_lane("application:tenant-1:another", LATER)
    return _due(store)


BLOBS = "storage:azurecloud:sub-1/group/blobs"


def _paused(store: SqlUnitOfWork, name: str, lane: str = LANE, *, until: datetime = LATER) -> Rotation:
    store.hold_lane(name, until)
    return _due(store, lane=lane)


CLAIMABLE: dict[str, tuple[Callable[[SqlUnitOfWork, Inspection], Rotation], bool]] = {
    "due now": (lambda store, _: _due(store), True),
    "due in a second": (lambda store, _: _due(store, next_attempt_at=NOW + SECOND), False),
    "overdue": (lambda store, _: _due(store, next_attempt_at=NOW - DAY), True),
    "done": (lambda store, _: _due(store, state=RotationState.DONE), False),
    "failed and parked": (lambda store, _: _due(store, state=RotationState.FAILED), True),
    "failed and closed": (lambda store, _: _due(store, state=RotationState.FAILED, closed=True), False),
    "held by another": (lambda store, _: _held(store), False),
    "held by one whose lease ran out": (_run_out, True),
    "given back": (lambda store, _: _released(store), True),
    "its lane held by another rotation": (lambda store, _: _lane_held(store), False),
    "its lane held by reconcile": (lambda store, _: _lane_reconciled(store), False),
    "its lane on hold until now": (lambda store, _: _on_hold(store, NOW), True),
    "its lane on hold for a second": (lambda store, _: _on_hold(store, NOW + SECOND), False),
    "another lane on hold": (lambda store, _: _elsewhere_on_hold(store), True),
    "its tenant on hold": (lambda store, _: _paused(store, "tenant:tenant-1"), False),
    "its tenant on hold until now": (lambda store, _: _paused(store, "tenant:tenant-1", until=NOW), True),
    "another tenant on hold": (lambda store, _: _paused(store, "tenant:tenant-2"), True),
    "the tenant of its storage account on hold": (lambda store, _: _paused(store, "tenant:tenant-1", BLOBS), False),
    "its subscription on hold": (lambda store, _: _paused(store, "subscription:azurecloud:sub-1", BLOBS), False),
    "another subscription on hold": (lambda store, _: _paused(store, "subscription:azurecloud:sub-2", BLOBS), True),
    "a subscription of another cloud on hold": (
        lambda store, _: _paused(store, "subscription:china:sub-1", BLOBS),
        True,
    ),
    "unknown": (lambda store, _: samples.rotation(samples.new_id()), False),
}


@pytest.mark.parametrize(("prepare", "claimable"), CLAIMABLE.values(), ids=list(CLAIMABLE))
def test_who_may_claim(store: SqlUnitOfWork, outside: Inspection, prepare, claimable: bool):
    made = prepare(store, outside)
    before = store.get_rotation(made.rotation_id)
    claim = store.claim(made.rotation_id, "worker-9", NOW)
    after = store.get_rotation(made.rotation_id)
    assert (claim is not None) == claimable
    if claim is None:
        assert after == before
    else:
        assert before is not None
        assert after == replace(before, fence=before.fence + 1)
        assert (claim.fence, claim.lane, claim.worker) == (before.fence + 1, before.lane, "worker-9")


def test_every_claim_has_a_fence_of_its_own(store: SqlUnitOfWork, outside: Inspection):
    made = _due(store)
    fences = []
    for worker in ("a", "b", "a"):
        claim = samples.claimed(store, made, worker)
        fences.append((claim.fence, claim.permit_fence))
        outside.run_out_leases()
    assert fences == [(1, 1), (2, 2), (3, 3)]


@row("F01", "F03")
@pytest.mark.parametrize(
    ("left", "counted"),
    [
        pytest.param(SqlUnitOfWork.release, 2, id="given back: the successes stand"),
        pytest.param(None, 0, id="died: a refusal may have come that nobody wrote down"),
    ],
)
def test_successes_are_in_a_row_only_if_nobody_died_between_them(
    store: SqlUnitOfWork, outside: Inspection, left: Callable[[SqlUnitOfWork, Claim], None] | None, counted: int
):
    item, _ = samples.add_item(store)
    made, claim, _ = samples.with_pending(store, item.item_id)
    store.record_proof(claim, successes=2, refusal=None, next_attempt_at=NOW, at=NOW)
    if left is None:
        outside.run_out_leases()
    else:
        left(store, claim)
    assert store.claim(made.rotation_id, "successor", NOW)
    found = store.get_rotation(made.rotation_id)
    assert found is not None
    assert found.confirmations == counted


def test_leases_do_not_follow_the_callers_clock(store: SqlUnitOfWork):
    """Two machines whose clocks are years apart still see one holder."""
    made = _due(store)
    samples.claimed(store, made)
    assert store.claim(made.rotation_id, "years ahead", NOW + 3650 * DAY) is None
    assert store.claim_lane(LANE, "years ahead", NOW + 3650 * DAY) is None


def test_a_short_lease_runs_out_by_the_databases_clock(store: SqlUnitOfWork, open_again: Opened):
    brief = open_again(lease_seconds=0.05)
    made = _due(store)
    first = samples.claimed(brief, made)
    begun = time.monotonic()
    while (second := brief.claim(made.rotation_id, "worker-2", NOW)) is None:
        assert time.monotonic() - begun < 10, "the lease never ran out"
    assert second.fence == first.fence + 1
    with pytest.raises(LeaseLost):
        brief.begin_minting(first, NOW, samples.mint(first))


# --- extending, giving back


def _lane_claim(store: SqlUnitOfWork) -> LaneClaim:
    claim = store.claim_lane(LANE, "worker-1", NOW)
    assert claim is not None
    return claim


@pytest.mark.parametrize(
    "take", [lambda store: samples.claimed(store, _due(store)), _lane_claim], ids=["claim", "lane"]
)
def test_extending_keeps_others_out(store: SqlUnitOfWork, outside: Inspection, take):
    claim: Claim | LaneClaim = take(store)
    outside.run_out_leases()
    store.extend(claim)
    assert store.claim_lane(LANE, "worker-2", NOW) is None
    store.release(claim)
    assert store.claim_lane(LANE, "worker-2", NOW) is not None


def test_a_lane_that_was_taken_over_is_not_extended_and_not_given_back(store: SqlUnitOfWork, outside: Inspection):
    claim = _lane_claim(store)
    outside.run_out_leases()
    assert store.claim_lane(LANE, "worker-2", NOW) is not None
    before = outside.everything()
    with pytest.raises(LeaseLost):
        store.extend(claim)
    store.release(claim)
    assert outside.everything() == before


def test_giving_back_what_was_taken_over_takes_nothing_from_the_new_holder(store: SqlUnitOfWork, outside: Inspection):
    made = _due(store)
    claim = samples.claimed(store, made)
    outside.run_out_leases()
    samples.claimed(store, made, "worker-2")
    before = outside.everything()
    store.release(claim)
    assert outside.everything() == before


def test_giving_back_frees_the_lane_for_the_next_rotation(store: SqlUnitOfWork):
    first, second = _due(store), _due(store)
    claim = samples.claimed(store, first)
    assert store.claim(second.rotation_id, "worker-2", NOW) is None
    store.release(claim)
    store.release(claim)
    assert store.claim(second.rotation_id, "worker-2", NOW) is not None


def test_other_lanes_go_on_meanwhile(store: SqlUnitOfWork):
    samples.claimed(store, _due(store))
    assert store.claim(_due(store, lane="application:tenant-1:other").rotation_id, "worker-2", NOW) is not None


# --- holds

HOLDS = {
    "the first": ([LATER], LATER),
    "a longer one": ([NOW + SECOND, LATER], LATER),
    "a shorter one changes nothing": ([LATER, NOW + SECOND], LATER),
}


@pytest.mark.parametrize(("holds", "until"), HOLDS.values(), ids=list(HOLDS))
def test_a_hold_is_never_shortened(store: SqlUnitOfWork, holds, until):
    for hold in holds:
        store.hold_lane(LANE, hold)
    assert store.claim_lane(LANE, "worker-1", until - SECOND) is None
    assert store.claim_lane(LANE, "worker-1", until) is not None


def test_the_longest_of_its_pauses_counts(store: SqlUnitOfWork):
    assert store.paused_until(BLOBS, "tenant-1") is None
    store.hold_lane(BLOBS, NOW)
    store.hold_lane("tenant:tenant-1", NOW + SECOND)
    assert store.paused_until(BLOBS, "tenant-1") == NOW + SECOND
    assert store.paused_until(BLOBS, None) == NOW
    store.hold_lane("subscription:azurecloud:sub-1", LATER)
    assert store.paused_until(BLOBS, "TENANT-1") == LATER


def test_who_comes_for_a_lane_alone_obeys_its_tenants_pause_too(store: SqlUnitOfWork):
    store.hold_lane("tenant:tenant-1", LATER)
    assert store.claim_lane(LANE, "worker-1", NOW) is None
    assert store.claim_lane(BLOBS, "worker-1", NOW, tenant_id="tenant-1") is None
    assert store.claim_lane(BLOBS, "worker-1", LATER, tenant_id="tenant-1") is not None


def test_what_is_hastened_does_not_overtake_its_tenants_pause(store: SqlUnitOfWork):
    made = _due(store, next_attempt_at=LATER)
    store.hold_lane("tenant:tenant-1", NOW + SECOND)
    store.hasten(made.rotation_id, NOW)
    hastened = store.get_rotation(made.rotation_id)
    assert hastened is not None
    assert hastened.next_attempt_at == NOW + SECOND


def test_a_hold_does_not_stop_who_works_in_the_lane(store: SqlUnitOfWork):
    made = _due(store)
    claim = samples.claimed(store, made)
    store.hold_lane(LANE, LATER)
    store.begin_minting(claim, NOW, samples.mint(claim))
    store.extend(claim)
