"""Other stores, restored backups, copies, people: what they put on an application is theirs."""

from __future__ import annotations

import shutil

import pytest

from tests.crash.estate import AT_ONCE, Estate, delete, let_go, reconcile, rotate
from tests.crash.jobs import Call
from tests.crash.stores import Store
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.full]

SOMEBODY = "abcdefghijklmnop"


def _current(estate: Estate, store: Store) -> str:
    return next(key_id for stage, key_id in _versions(store) if stage == "current")


def _versions(store: Store) -> list[tuple[str, str]]:
    with store.raw() as connection:
        return connection.execute("SELECT stage, key_id FROM versions ORDER BY number").fetchall()


@row("B-31", "F30", "AK-28")
def test_two_stores_on_one_application_never_touch_each_others_secrets(estate: Estate) -> None:
    mine, theirs = estate.store, Store(estate.lab.folder())
    foreign = estate.alive()
    for store in (mine, theirs):
        estate.begin(estate.create(revoke_after=AT_ONCE), store=store)
    inspector = estate.inspector(mine, theirs)
    for _ in range(3):
        for store in (mine, theirs):
            estate.run(rotate(), reconcile(), store=store).ok()
            assert inspector.violations() == []
    assert estate.alive() == foreign | {_current(estate, mine), _current(estate, theirs)}
    estate.run(delete(), reconcile(), store=mine).ok()
    assert inspector.violations() == []
    assert estate.alive() == foreign | {_current(estate, theirs)}
    estate.run(delete(), reconcile(), store=theirs).ok()
    assert inspector.violations() == []
    assert estate.alive() == foreign


@row("B-31")
def test_two_stores_take_turns_after_crashes_of_both(estate: Estate) -> None:
    """Each one's extra secret is in the other one's way, and only its own store removes it."""
    mine, theirs = estate.store, Store(estate.lab.folder())
    for store in (mine, theirs):
        estate.begin(estate.create(), store=store)
    inspector = estate.inspector(mine, theirs)
    control = estate.lab.control
    for store in (mine, theirs):
        held = control.add_fault("graph.addPassword", app=estate.app_id, when="after", hold=True)
        victim = estate.start(rotate(), store=store)
        held.wait_reached()
        victim.kill()
        victim.code()
        let_go(held)
    assert inspector.violations(reconciled=False) == []
    extra = {s.key_id for s in control.secrets(estate.app_id) if s.is_alive and not s.delivered}
    mine.wait_for_leases()
    estate.run(reconcile(), store=mine).ok()
    assert len(extra & estate.alive()) == 1
    theirs.wait_for_leases()
    estate.run(reconcile(), store=theirs).ok()
    assert not extra & estate.alive()
    assert inspector.violations() == []


def _look_alikes(estate: Estate) -> dict[str, str]:
    """Display names that are no stamps of a mint of this store, by what is wrong with them."""
    known = estate.stamps()[0]
    form, number, store_id, item_id, mint_id = known.split("/")
    return {
        "another store": f"{form}/{number}/{SOMEBODY}/{item_id}/{mint_id}",
        "an unknown mint": f"{form}/{number}/{store_id}/{item_id}/{SOMEBODY}",
        "a mint of another item": f"{form}/{number}/{store_id}/{SOMEBODY}/{mint_id}",
        "upper case": known.upper(),
        "more after it": f"{known}/copy",
        "more before it": f"my {known}",
        "a line's end": f"{known}\n",
        "another version": known.replace("/1/", "/2/"),
        "a short id": known[:-1],
        "only the store": f"{form}/{number}/{store_id}",
        "no name": "",
    }


@row("B-31", "F30")
def test_hand_made_secrets_that_look_like_ours_stay(estate: Estate) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    for display_name in _look_alikes(estate).values():
        estate.lab.control.add_secret(estate.app_id, display_name=display_name)
    foreign = estate.alive() - {_current(estate, estate.store)}
    inspector = estate.inspector()
    assert inspector.foreign.keys() == foreign | {estate.own_key_id}
    answer = estate.run(Call(use="reconcile", options={"dry_run": True})).ok()
    assert answer.results[0].facts["orphans"] == []
    estate.run(reconcile(), rotate(), reconcile()).ok()
    assert inspector.violations() == []
    estate.run(delete(), reconcile()).ok()
    assert inspector.violations() == []
    assert estate.alive() == foreign


@row("B-31")
def test_reconcile_removes_exactly_what_its_dry_run_lists(estate: Estate) -> None:
    estate.begin(estate.create())
    orphan = estate.lab.control.add_secret(estate.app_id, display_name=estate.stamps()[0]).key_id
    before = estate.alive()
    listed = estate.run(Call(use="reconcile", options={"dry_run": True})).ok().results[0].facts["orphans"]
    assert [found["key_id"] for found in listed] == [orphan]
    assert estate.alive() == before
    removed = estate.run(reconcile()).ok().results[0].facts["orphans"]
    assert [found["key_id"] for found in removed] == [orphan]
    assert estate.alive() == before - {orphan}


@pytest.mark.parametrize("then", [(), (rotate(),), (rotate(), rotate())], ids=["at once", "rotated", "rotated twice"])
@row("B-31")
def test_a_restored_backup_leaves_what_it_does_not_know(estate: Estate, then: tuple[Call, ...]) -> None:
    """The store of before is back: the secrets of later operations are in use, and only their keyIds are unknown."""
    estate.begin(estate.create(revoke_after=AT_ONCE))
    backup = estate.store.copy(estate.lab.folder())
    estate.run(rotate(), rotate()).ok()
    published_later = _current(estate, estate.store)
    shutil.rmtree(estate.store.folder)
    foreign = estate.alive()
    assert published_later in foreign
    inspector = estate.inspector(backup)
    assert inspector.foreign.keys() == foreign | {estate.own_key_id}
    estate.run(reconcile(), *then, reconcile(), store=backup).ok()
    if then:
        assert inspector.violations() == []
    estate.run(delete(), reconcile(), store=backup).ok()
    assert inspector.violations() == []
    assert estate.alive() == foreign


@row("B-31")
def test_a_copy_of_a_store_and_its_original_leave_each_others_new_secrets(estate: Estate) -> None:
    """A copy for staging that is used by mistake: both have one id, and neither knows the other one's operations."""
    estate.begin(estate.create())
    copy = estate.store.copy(estate.lab.folder())
    inspector = estate.inspector(estate.store, copy)
    for store in (estate.store, copy):
        estate.run(rotate(), reconcile(), store=store).ok()
        assert inspector.violations() == []
    both = {_current(estate, estate.store), _current(estate, copy)}
    estate.lab.control.advance("25h")
    for store in (estate.store, copy):
        estate.run(reconcile(), store=store).ok()
    assert inspector.violations() == []
    assert both <= estate.alive()
    estate.run(delete(), reconcile(), store=copy).ok()
    assert inspector.violations() == []
    assert estate.alive() & both == {_current(estate, estate.store)}


@pytest.mark.parametrize("after", ["insert_rotation", "claim", "begin_minting"])
@row("B-31")
def test_a_copy_taken_in_the_middle_of_a_rotation_goes_on_with_a_secret_of_its_own(estate: Estate, after: str) -> None:
    """Both have the rotation in their journals; neither takes the other one's secret for a lost reply of its own."""
    estate.begin(estate.create())
    victim = estate.start(rotate(), kill_after=after)
    victim.code()
    estate.store.wait_for_leases()
    copy = estate.store.copy(estate.lab.folder())
    inspector = estate.inspector(estate.store, copy)
    for store in (estate.store, copy, estate.store):
        estate.run(reconcile(), store=store).ok()
    assert inspector.violations() == []
    assert _current(estate, estate.store) != _current(estate, copy)
