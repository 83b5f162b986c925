"""What else may come between: people, late writes, signals, applications that vanish, refusals half-way."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

import pytest

from tests.crash.estate import AT_ONCE, ITEM, OWNED_BY, TARGET, Estate, Lab, delete, let_go, reconcile, rotate
from tests.crash.invariants import Inspector, Kind, Violation
from tests.crash.jobs import Call
from tests.crash.nursery import Process
from tests.crash.stores import Store
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.full]

DESCRIBE = Call(use="secrets.describe", options={"name": ITEM})
DELETE_TARGET = Call(use="targets.delete", options={"name": TARGET})


def _killed_inside(estate: Estate, call: Call, operation: str, when: str) -> Callable[[], object]:
    """Kill a process while Azure has its request. Returns: what lets the request go on."""
    held = estate.lab.control.add_fault(operation, app=estate.app_id, when=when, hold=True)
    victim = estate.start(call)
    held.wait_reached()
    victim.kill()
    assert victim.code() == -signal.SIGKILL
    estate.store.wait_for_leases()
    return partial(let_go, held)


# --- writes that arrive late ------------------------------------------------------------------------------------------


@row("AK-23")
def test_a_mint_that_arrives_after_the_takeover_is_removed_by_the_next_rotation(estate: Estate) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    goes_on = _killed_inside(estate, rotate(), "graph.addPassword", "before")
    estate.run(rotate()).ok()
    goes_on()
    assert len(estate.minted()) == 2
    estate.run(rotate()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


def test_a_mint_that_arrives_after_the_item_was_deleted_is_removed(estate: Estate) -> None:
    estate.begin(estate.create())
    inspector = estate.inspector()
    goes_on = _killed_inside(estate, rotate(), "graph.addPassword", "before")
    estate.run(delete()).ok()
    goes_on()
    assert len(estate.minted()) == 1
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert estate.minted() == []


def test_a_mint_that_arrives_after_its_create_was_undone_is_removed(estate: Estate) -> None:
    estate.begin()
    inspector = estate.inspector()
    goes_on = _killed_inside(estate, estate.create(), "graph.addPassword", "before")
    estate.run(estate.create(description="another one")).ok()
    goes_on()
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


def test_two_items_of_one_application_and_one_of_them_is_killed(estate: Estate) -> None:
    other = "/prod/billing/worker"
    estate.begin(estate.create(revoke_after=AT_ONCE), estate.create(name=other, revoke_after=AT_ONCE))
    inspector = estate.inspector()
    goes_on = _killed_inside(estate, rotate(), "graph.addPassword", "after")
    goes_on()
    estate.run(rotate(name=other)).ok()
    assert inspector.violations(reconciled=False) == []
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 2


# --- a slow Azure, an impatient person --------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["graph.addPassword", "graph.removePassword"])
def test_an_answer_that_takes_longer_than_the_lease_is_waited_for(estate: Estate, operation: str) -> None:
    """The heart beats: nobody takes over from a process that lives."""
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    slow = estate.lab.control.add_fault(operation, app=estate.app_id, hold=True, delay_seconds=1.0)
    worker = estate.start(rotate())
    slow.wait_reached()
    slow.release()
    estate.run(reconcile()).ok()
    worker.answer().ok()
    assert inspector.violations() == []
    assert (
        len(estate.lab.control.journal(app=estate.app_id, operation=operation))
        == {
            "graph.addPassword": 2,
            "graph.removePassword": 1,
        }[operation]
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", ["graph.addPassword", "graph.removePassword"])
def test_interrupted_inside_a_write(estate: Estate, number: signal.Signals, when: str, operation: str) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    held = estate.lab.control.add_fault(operation, app=estate.app_id, when=when, hold=True)
    worker: Process = estate.start(rotate())
    held.wait_reached()
    worker.signal(number)
    assert worker.code() != 0
    let_go(held)
    assert inspector.violations(reconciled=False) == []
    estate.store.wait_for_leases()
    estate.run(rotate(), reconcile()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


# --- applications and rights that vanish ------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("create", [Estate.create, Estate.create_by_itself], ids=lambda create: create.__name__)
def test_the_application_is_deleted_while_a_create_is_half_done(
    estate: Estate, when: str, create: Callable[[Estate], Call]
) -> None:
    """There is nothing left to remove, so nothing waits for it."""
    estate.begin()
    _killed_inside(estate, create(estate), "graph.addPassword", when)()
    estate.lab.control.delete_application(estate.app_id)
    for _ in range(3):
        estate.run(reconcile()).ok()
        estate.lab.control.advance("7h")
    assert estate.run(DESCRIBE).codes == ["ItemNotFound"]
    with estate.store.opened() as (uow, _):
        assert uow.open_rotations() == []
        assert uow.list_items() == []
    assert estate.run(DELETE_TARGET).codes == [None]


@pytest.mark.parametrize("itself", [False, True], ids=["target", "itself"])
def test_the_application_of_an_item_is_deleted(estate: Estate, itself: bool) -> None:
    create = estate.create_by_itself if itself else estate.create
    estate.begin(create(), rotate())
    estate.lab.control.delete_application(estate.app_id)
    assert estate.run(rotate()).codes[0] in {"ApplicationNotFound", "AzureAuthFailed"}
    estate.lab.control.advance("25h")
    estate.run(reconcile())
    assert estate.run(delete()).codes == [None]
    reconciled = estate.run(reconcile()).ok()
    assert reconciled.results[0].facts["problems"] == []


@pytest.mark.parametrize("state", ["disabled", "expired", "without a right"])
def test_a_delete_by_itself_takes_no_other_refusal_for_the_end_of_its_secret(lab: Lab, state: str) -> None:
    """The current secret's removal failed once; then the application itself is refused, and its secret lives on."""
    estate = lab.estate(apart=True)
    estate.begin(estate.create_by_itself())
    inspector = estate.inspector()
    control = lab.control
    control.add_fault("graph.removePassword", app=estate.app_id, preset="unavailable-503")
    # It is given up before it is tried again.
    assert estate.run(delete(), limits={"foreground": 0.0}).codes == ["AzureUnavailable"]
    (key_id,) = estate.minted()
    if state == "disabled":
        control.update_application(estate.app_id, enabled=False)
    elif state == "expired":
        control.request("PATCH", f"/applications/{estate.app_id}/secrets/{key_id}", {"ends_in_seconds": -1})
    else:
        control.update_application(estate.app_id, roles=[])
    for _ in range(4):
        control.advance("10m")
        estate.run(delete())
        estate.run(reconcile())
    with estate.store.opened() as (uow, _):
        held = [v.key_id for item in uow.list_items() for v in uow.versions(item.item_id)]
    assert held == [key_id]
    if state != "expired":
        control.update_application(estate.app_id, enabled=True, roles=[OWNED_BY])
        control.advance("7h")
        estate.run(reconcile())
        estate.run(delete())
        estate.run(reconcile())
        assert inspector.violations() == []
        assert estate.minted() == []


def test_a_target_with_a_half_made_item_is_not_deleted(estate: Estate) -> None:
    estate.begin()
    _killed_inside(estate, estate.create(), "graph.addPassword", "after")()
    assert estate.run(DELETE_TARGET).codes == ["TargetInUse"]
    estate.run(reconcile()).ok()
    estate.run(delete(), DELETE_TARGET).ok()
    assert estate.minted() == []


# --- clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-600.0, 600.0, -7200.0, 7200.0], ids=lambda ahead: f"{ahead:+g} s")
def test_a_process_whose_clock_is_wrong(estate: Estate, ahead: float) -> None:
    estate.begin(estate.create())
    inspector = estate.inspector()
    estate.run(rotate(), rotate(), ahead=ahead).ok()
    assert _broken(inspector, reconciled=False) == []
    estate.run(reconcile(), rotate()).ok()
    assert _broken(inspector, reconciled=False) == []
    estate.run(reconcile(), ahead=max(ahead, 0.0)).ok()
    assert _broken(inspector) == []


def _broken(inspector: Inspector, *, reconciled: bool = True) -> list[Violation]:
    """By a wrong clock dates are wrong, and nothing else may be."""
    return [v for v in inspector.violations(reconciled=reconciled) if v.kind is not Kind.EARLY]


@pytest.mark.parametrize("after", ["begin_minting", "store_pending", "record_proof", "publish"])
def test_a_clock_that_goes_back_after_a_crash(estate: Estate, after: str) -> None:
    """What was begun by a clock two hours ahead is gone on with by one that is right, when somebody asks for it."""
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    victim = estate.start(rotate(), kill_after=after, ahead=7200.0)
    assert victim.code() == -signal.SIGKILL
    estate.store.wait_for_leases()
    estate.run(rotate()).ok()
    assert inspector.violations(reconciled=False) == []
    estate.run(reconcile(), ahead=7200.0).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


# --- the first use ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
def test_killed_at_any_commit_of_the_first_command_the_second_one_makes_the_store(lab: Lab, inside: bool) -> None:
    estate = lab.estate()
    commits = estate.run(estate.make_target(), store=Store(lab.folder())).ok().commits
    assert set(commits) == {"open_store", "insert_target"}
    for number in range(1, len(commits) + 1):
        store = Store(lab.folder())
        victim = estate.start(estate.make_target(), store=store, kill_at=number, inside=inside)
        assert victim.code() == -signal.SIGKILL
        estate.run(estate.make_target(), estate.create(), store=store).ok()
        assert estate.inspector(store).violations() == []
        estate.run(delete(), store=store).ok()
