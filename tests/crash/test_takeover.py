"""Two processes and one operation: who sleeps through his lease loses, who comes second joins or is turned away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGKILL

import pytest

from azure_sandbox.testing import FaultHandle
from tests.crash.estate import AT_ONCE, ITEM, Estate, delete, let_go, reconcile, rotate
from tests.crash.jobs import Call
from tests.crash.nursery import Process
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.full]


@contextmanager
def _asleep(estate: Estate, process: Process) -> Iterator[None]:
    """Stopped, until after its leases have run out."""
    process.stop()
    process.wait_stopped()
    while estate.store.is_locked():  # in the middle of a heartbeat: nobody else could write
        process.go_on()
        process.stop()
        process.wait_stopped()
    try:
        yield
    finally:
        process.go_on()


def _requests(estate: Estate, operation: str) -> int:
    return len(estate.lab.control.journal(app=estate.app_id, operation=operation))


def _hold(estate: Estate, operation: str, when: str, *, count: int = 1) -> FaultHandle:
    return estate.lab.control.add_fault(operation, app=estate.app_id, when=when, hold=True, times=count)


# --- asleep inside an Azure call --------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("takeover", [reconcile(), rotate()], ids=lambda call: call.use)
@row("F16")
def test_asleep_in_add_password_past_the_lease_the_sleeper_loses(estate: Estate, when: str, takeover: Call) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    held = _hold(estate, "graph.addPassword", when)
    sleeper = estate.start(rotate())
    held.wait_reached()
    with _asleep(estate, sleeper):
        estate.store.wait_for_leases()
        estate.run(takeover).ok()
        let_go(held)
        assert inspector.violations(reconciled=False, late=True) == []
    # It finds the rotation published by somebody else, and that is what it was to bring about.
    sleeper.answer().ok()
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_asleep_in_remove_password_past_the_lease(estate: Estate, when: str) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    held = _hold(estate, "graph.removePassword", when)
    sleeper = estate.start(rotate())
    held.wait_reached()
    with _asleep(estate, sleeper):
        estate.store.wait_for_leases()
        estate.run(reconcile()).ok()
        let_go(held)
    sleeper.answer().ok()
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_asleep_in_the_removal_of_the_current_secret_of_a_delete(estate: Estate, when: str) -> None:
    estate.begin(estate.create())
    inspector = estate.inspector()
    held = _hold(estate, "graph.removePassword", when)
    sleeper = estate.start(delete())
    held.wait_reached()
    with _asleep(estate, sleeper):
        estate.store.wait_for_leases()
        estate.run(delete()).ok()
        let_go(held)
    sleeper.answer()
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert estate.minted() == []


# --- asleep right before a commit -------------------------------------------------------------------------------------

COMMITS = (
    "begin_minting",
    "store_pending",
    "record_proof",
    "publish",
    "begin_retiring",
    "extend",
    "finish_retiring",
    "release",
)


@pytest.mark.parametrize("method", COMMITS)
@row("F16")
def test_asleep_before_a_commit_past_the_lease_nothing_is_committed(estate: Estate, method: str) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    sleeper = estate.start(rotate(), stop_before=method)
    sleeper.wait_stopped()
    estate.store.wait_for_leases()
    estate.run(rotate()).ok()
    sleeper.go_on()
    sleeper.answer().ok()
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


def test_a_lost_lease_is_found_before_the_next_secret_is_minted(estate: Estate) -> None:
    """The intent is what fails: the sleeper makes no secret any more."""
    estate.begin(estate.create(revoke_after=AT_ONCE))
    sleeper = estate.start(rotate(), stop_before="begin_minting")
    sleeper.wait_stopped()
    estate.store.wait_for_leases()
    estate.run(rotate()).ok()
    before = _requests(estate, "graph.addPassword")
    sleeper.go_on()
    sleeper.answer().ok()
    assert _requests(estate, "graph.addPassword") == before


def test_a_lost_lease_is_found_before_the_next_secret_is_removed(estate: Estate) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    sleeper = estate.start(rotate(), stop_before="extend")
    sleeper.wait_stopped()
    estate.store.wait_for_leases()
    estate.run(reconcile()).ok()
    before = _requests(estate, "graph.removePassword")
    sleeper.go_on()
    sleeper.answer().ok()
    assert _requests(estate, "graph.removePassword") == before


# --- side by side -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_create_repeated_while_the_first_still_runs_joins_it(estate: Estate, when: str) -> None:
    """A deploy that lost its connection is started again by the same owner; the first process is alive."""
    estate.begin()
    inspector = estate.inspector()
    held = _hold(estate, "graph.addPassword", when)
    first = estate.start(estate.create())
    held.wait_reached()
    second = estate.start(estate.create())
    let_go(held)
    answers = [first.answer().ok(), second.answer().ok()]
    assert len({answer.results[0].facts["item_id"] for answer in answers}) == 1
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


def test_a_create_with_other_arguments_replaces_the_half_made_item_of_its_owner(estate: Estate) -> None:
    estate.begin()
    inspector = estate.inspector()
    held = _hold(estate, "graph.addPassword", "after")
    first = estate.start(estate.create())
    held.wait_reached()
    first.kill()
    first.code()
    let_go(held)
    estate.store.wait_for_leases()
    answer = estate.run(estate.create(description="another one"), reconcile()).ok()
    assert answer.results[0].facts["item_metadata"] == "another one"
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


@pytest.mark.parametrize("owner", ["", "urn:pulumi:prod::someone-else"])
@row("AK-15")
def test_a_second_create_under_a_taken_name_is_refused_and_mints_nothing(estate: Estate, owner: str) -> None:
    first = estate.begin(estate.create()).results[1].facts
    minted = estate.minted()
    for name in (ITEM, ITEM.removeprefix("/")):
        answer = estate.run(estate.create(owner=owner, name=name))
        assert answer.codes == ["NameConflict"]
    describe = Call(use="secrets.describe", options={"name": ITEM})
    assert estate.run(describe).ok().results[0].facts == first
    assert estate.minted() == minted
    assert _requests(estate, "graph.addPassword") == 1


@row("AK-15")
def test_of_racing_creates_of_one_name_exactly_one_wins(estate: Estate) -> None:
    """All of them have looked, and found the name free, before any of them writes."""
    estate.begin()
    inspector = estate.inspector()
    racers = 3
    held = _hold(estate, "graph.getApplication", "after", count=racers)
    started = [estate.start(estate.create(owner=f"owner {number}")) for number in range(racers)]
    held.wait_reached(racers)
    let_go(held)
    codes = [process.answer().codes[0] for process in started]
    assert sorted(codes, key=str) == ["NameConflict", "NameConflict", None]
    assert inspector.violations() == []
    assert len(estate.minted()) == 1
    assert _requests(estate, "graph.addPassword") == 1


def test_rotations_asked_for_side_by_side_are_one(estate: Estate) -> None:
    estate.begin(estate.create())
    inspector = estate.inspector()
    held = _hold(estate, "graph.addPassword", "before")
    first = estate.start(rotate())
    held.wait_reached()
    second = estate.start(rotate())
    let_go(held)
    versions = [process.answer().ok().results[0].facts["version"] for process in (first, second)]
    assert inspector.violations() == []
    # One, or two in a row if the second was asked for when the first had ended; then the first secret made room.
    assert max(versions) <= 3
    assert len(estate.minted()) == 2


@pytest.mark.parametrize("others", [[delete()], [rotate(), delete()]], ids=["delete", "rotate and delete"])
def test_a_delete_beside_a_rotation(estate: Estate, others: list[Call]) -> None:
    estate.begin(estate.create())
    inspector = estate.inspector()
    held = _hold(estate, "graph.addPassword", "after")
    first = estate.start(rotate())
    held.wait_reached()
    started = [estate.start(call) for call in others]
    let_go(held)
    for process in (first, *started):
        process.answer()
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert estate.minted() == []


# --- give up ----------------------------------------------------------------------------------------------------------


def test_a_create_that_was_finished_meanwhile_is_not_undone(estate: Estate) -> None:
    """One is about to undo a half-made item, and sleeps; another process publishes it; then the first wakes up."""
    estate.begin()
    inspector = estate.inspector()
    held = _hold(estate, "graph.addPassword", "after")
    killed = estate.start(estate.create())
    held.wait_reached()
    killed.kill()
    killed.code()
    let_go(held)
    estate.store.wait_for_leases()
    replacing = estate.start(estate.create(description="another one"), stop_before="claim")
    replacing.wait_stopped()
    finishing = estate.start(reconcile(), kill_after="publish")
    assert finishing.code() == -SIGKILL
    estate.store.wait_for_leases()
    replacing.go_on()
    assert replacing.answer().codes == ["NameConflict"]
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    value = estate.run(Call(use="secrets.get_value", options={"name": ITEM}))
    assert value.codes == [None]
    assert len(estate.minted()) == 1
