"""Leases and permits: one worker a rotation, one worker a lane, by the database's clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest

from azure_rotator.domain.errors import LeaseLost
from azure_rotator.domain.model import Rotation, RotationState
from azure_rotator.domain.ports import Claim, LaneClaim
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.rows import row
from tests.store import samples
from tests.store.conftest import Opened, on_postgresql, postgresql_in_full
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


# --- when an application is to be looked at for orphans


def _step(store: SqlUnitOfWork, at: datetime = NOW, lane: str = LANE) -> None:
    made = _due(store, lane=lane)
    claim = samples.claimed(store, made)
    store.begin_minting(claim, at, samples.mint(claim))
    store.release(claim)


def _looked(store: SqlUnitOfWork, at: datetime) -> None:
    assert store.take_sweeps(at, again_at=at + DAY, limit=10) == [LANE]
    claim = _lane_claim(store)
    store.swept(claim)
    store.release(claim)


def _claimed_only(store: SqlUnitOfWork, _: Inspection) -> None:
    store.release(samples.claimed(store, _due(store)))


def _two_steps(store: SqlUnitOfWork, _: Inspection) -> None:
    _step(store)
    _step(store, LATER)


def _step_and_look(store: SqlUnitOfWork, _: Inspection) -> None:
    _step(store)
    _looked(store, NOW + DAY)


def _step_after_the_look(store: SqlUnitOfWork, outside: Inspection) -> None:
    _step_and_look(store, outside)
    _step(store, NOW + 3 * DAY)


def _failed_look(store: SqlUnitOfWork, _: Inspection) -> None:
    _step(store)
    assert store.take_sweeps(NOW + DAY, again_at=NOW + 2 * DAY, limit=10) == [LANE]


def _step_after_a_failed_look(store: SqlUnitOfWork, outside: Inspection) -> None:
    _failed_look(store, outside)
    _step(store, NOW + DAY + SECOND)


def _lost_look(store: SqlUnitOfWork, outside: Inspection) -> None:
    """Whoever looks is overtaken by an operation, which may leave an orphan that he has not seen."""
    _failed_look(store, outside)
    claim = _lane_claim(store)
    outside.run_out_leases()
    _step(store, NOW + DAY)
    store.swept(claim)


def _clock_that_was_wrong(store: SqlUnitOfWork, _: Inspection) -> None:
    _step(store, NOW + 3650 * DAY)
    _step(store)


SWEEPS: dict[str, tuple[Callable[[SqlUnitOfWork, Inspection], None], datetime | None]] = {
    "nobody worked in it": (lambda store, _: None, None),
    "claimed and given back": (_claimed_only, None),
    "a step": (lambda store, _: _step(store), NOW + DAY),
    "two steps: the first counts": (_two_steps, NOW + DAY),
    "a step and a look": (_step_and_look, None),
    "a step after the look": (_step_after_the_look, NOW + 4 * DAY),
    "a look that failed": (_failed_look, NOW + 2 * DAY),
    "a step after a look that failed": (_step_after_a_failed_look, NOW + 2 * DAY),
    "a look that was overtaken": (_lost_look, NOW + 2 * DAY),
    "a step by a clock that was ahead, and another": (_clock_that_was_wrong, NOW + DAY),
    "a step in a storage account": (lambda store, _: _step(store, lane=BLOBS), None),
}


@postgresql_in_full
@pytest.mark.parametrize(("prepare", "due_at"), SWEEPS.values(), ids=list(SWEEPS))
def test_an_application_is_looked_at_a_day_after_somebody_worked_there(
    store: SqlUnitOfWork, outside: Inspection, prepare, due_at: datetime | None
):
    prepare(store, outside)
    before = NOW + 9999 * DAY if due_at is None else due_at - SECOND
    assert store.take_sweeps(before, again_at=before + DAY, limit=10) == []
    if due_at is not None:
        assert store.take_sweeps(due_at, again_at=due_at + DAY, limit=10) == [LANE]
        assert store.take_sweeps(due_at, again_at=due_at + DAY, limit=10) == []


LANES = [f"application:tenant-1:app-{number}" for number in range(8)]


def test_the_longest_due_come_first_and_nobody_gets_what_another_has(store: SqlUnitOfWork, open_again: Opened):
    for number, lane in enumerate(LANES[:5]):
        _step(store, NOW + number * SECOND, lane)
    replicas = (store, open_again())
    taken = [replicas[turn % 2].take_sweeps(NOW + 2 * DAY, again_at=NOW + 3 * DAY, limit=2) for turn in range(4)]
    assert taken == [LANES[:2], LANES[2:4], LANES[4:5], []]


def test_two_that_ask_at_once_take_different_applications(store: SqlUnitOfWork, open_again: Opened):
    for lane in LANES:
        _step(store, lane=lane)

    def take(replica: SqlUnitOfWork) -> list[str]:
        taken: list[str] = []
        while found := replica.take_sweeps(NOW + DAY, again_at=NOW + 2 * DAY, limit=1):
            taken += found
        return taken

    with ThreadPoolExecutor(2) as threads:
        found = [lane for taken in threads.map(take, (store, open_again())) for lane in taken]
    assert sorted(found) == LANES


@on_postgresql
def test_nobody_waits_for_what_another_takes(store: SqlUnitOfWork, store_url: str):
    for lane in LANES[:3]:
        _step(store, lane=lane)
    with psycopg.connect(store_url) as other:
        other.execute("SELECT lane FROM permits WHERE lane = %s FOR UPDATE", [LANES[1]])
        taken = store.take_sweeps(NOW + DAY, again_at=NOW + 2 * DAY, limit=10)
        assert sorted(taken) == [LANES[0], LANES[2]]
