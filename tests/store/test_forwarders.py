"""Deliveries as rows: written with their event, claimed by one, settled, taken over, forgotten."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.model import Event, Forwarder, RunnerType
from azure_rotator.domain.ports import Failure, Parcel, Postponement
from azure_rotator.store import audit, forwarders
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.conftest import Opened, on_postgresql
from tests.store.inspection import Inspection
from tests.store.samples import DAY, LATER, NOW

BROKEN = Failure(code="DeliveryFailed", text="it answered 500")
REFUSING = Failure(code="DeliveryRefused", text="it answered 413")
HOUR = timedelta(hours=1)


def add(store: SqlUnitOfWork, **changes: Any) -> Forwarder:
    made = samples.forwarder(**changes)
    store.insert_forwarder(made, samples.line("create_event_forwarder", made.name))
    return made


def write(store: SqlUnitOfWork, count: int = 1, **changes: Any) -> list[Event]:
    """Events as a rotation writes them."""
    item, _ = samples.add_item(store)
    events = [samples.event(item, **changes) for _ in range(count)]
    with store._db.writing() as connection:
        audit.add_events(connection, events)
    return events


def claim(store: SqlUnitOfWork, worker: str = "w1", now: Any = NOW) -> Parcel:
    found = store.claim_parcel(worker, now)
    assert found is not None
    return found


def ids(events: Sequence[Event]) -> list[str]:
    return [event.event_id for event in events]


# --- written together


def test_a_publication_writes_its_deliveries_in_its_transaction(store: SqlUnitOfWork, outside: Inspection):
    made = add(store)
    item, first = samples.add_item(store)
    samples.published(store, item, first)
    (event,) = store.events()
    assert outside.execute("SELECT forwarder_id, event_id FROM deliveries") == [(made.forwarder_id, event.event_id)]


def test_what_is_rolled_back_leaves_none(store: SqlUnitOfWork, outside: Inspection):
    add(store)
    item, _ = samples.add_item(store)

    def broken() -> None:
        with store._db.writing() as connection:
            audit.add_events(connection, [samples.event(item)])
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert outside.execute("SELECT count(*) FROM deliveries") == [(0,)]


def test_only_who_wants_an_event_gets_a_delivery(store: SqlUnitOfWork):
    target = samples.add_target(store, name="/azure/special")
    item, _ = samples.add_item(store, target_id=target.target_id, name="/prod/one")
    wanting = {
        add(store, name=f"/{name}", **changes).forwarder_id
        for name, changes in {
            "all": {},
            "type": {"event_types": ("rotated-secret-success",)},
            "item": {"items_event_source_locations": ("/prod/*",)},
            "target": {"targets_event_source_locations": ("/azure/special",)},
        }.items()
    }
    add(store, name="/other-type", event_types=("usage",))
    add(store, name="/other-item", items_event_source_locations=("/dev/*",))
    add(store, name="/other-target", targets_event_source_locations=("/azure/prod",))
    with store._db.writing() as connection:
        audit.add_events(connection, [samples.event(item)])
    assert set(store.backlogs()) == wanting


def test_what_happened_before_a_forwarder_is_not_for_it(store: SqlUnitOfWork):
    write(store)
    add(store)
    assert store.claim_parcel("w1", LATER) is None


# --- claimed


def test_an_immediate_one_gets_them_one_by_one_in_order(store: SqlUnitOfWork):
    add(store)
    written = write(store, 3)
    sent: list[Event] = []
    while (parcel := store.claim_parcel("w1", NOW)) is not None:
        sent += parcel.events
        store.record_delivered(parcel, NOW)
    assert ids(sent) == ids(written)
    assert store.next_delivery_at() is None


def test_a_periodic_one_gets_a_list_when_its_period_is_over(store: SqlUnitOfWork):
    add(store, runner_type=RunnerType.PERIODIC, every=1)
    written = write(store, 3)
    assert store.next_delivery_at() == NOW + HOUR
    assert store.claim_parcel("w1", NOW + timedelta(minutes=59)) is None
    parcel = claim(store, now=NOW + HOUR)
    assert ids(parcel.events) == [delivery.event_id for delivery in parcel.deliveries] == ids(written)


def test_a_list_has_a_bound_and_the_rest_follows(store: SqlUnitOfWork, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forwarders, "MOST_IN_A_LIST", 2)
    add(store, runner_type=RunnerType.PERIODIC, every=1)
    written = write(store, 3)
    lists = [claim(store, now=LATER).events for _ in range(2)]
    assert [len(one) for one in lists] == [2, 1]
    assert ids([event for one in lists for event in one]) == ids(written)


def test_one_event_that_is_refused_does_not_keep_its_list_for_ever(store: SqlUnitOfWork):
    """Of a hundred, one that cannot be taken."""
    add(store, runner_type=RunnerType.PERIODIC, every=1)
    written = ids(write(store, 100))
    bad, sent = written[41], list[int]()
    for hours in range(8):
        now = LATER + hours * HOUR
        while (parcel := store.claim_parcel("w1", now)) is not None:
            if bad in ids(parcel.events):
                again = [Postponement(event_id=one.event_id, next_attempt_at=now + HOUR) for one in parcel.deliveries]
                store.record_failed(parcel, again, REFUSING, at=now)
            else:
                store.record_delivered(parcel, now)
                sent.append(len(parcel.events))
    assert sent == [50, 25, 12, 1, 6, 3, 1, 1], "all but one"


def test_what_did_not_get_through_comes_again_as_one_list_with_what_is_new(store: SqlUnitOfWork):
    add(store, runner_type=RunnerType.PERIODIC, every=1)
    written = write(store, 30)
    for hours in range(8):
        now = LATER + hours * HOUR
        parcel = claim(store, now=now)
        again = [Postponement(event_id=one.event_id, next_attempt_at=now + HOUR) for one in parcel.deliveries]
        store.record_failed(parcel, again, BROKEN, at=now)
    written += write(store, 3)
    assert ids(claim(store, now=LATER + 24 * HOUR).events) == ids(written)


def test_what_one_holds_another_does_not_get(store: SqlUnitOfWork, open_again: Opened):
    add(store)
    write(store)
    claim(store, "w1")
    assert open_again().claim_parcel("w2", NOW) is None
    assert store.next_delivery_at() is None, "he who holds it comes back, or his lease runs out"


@on_postgresql
def test_two_at_once_get_each_delivery_once(store: SqlUnitOfWork, open_again: Opened):
    """Without waiting for one another: a server's rows are locked one by one."""
    for name in ("/a", "/b"):
        add(store, name=name)
    written = write(store, 8)
    sent: list[tuple[str, str]] = []

    def work(worker: str) -> None:
        own = open_again()
        while (parcel := own.claim_parcel(worker, NOW)) is not None:
            sent.extend((parcel.forwarder.name, event.event_id) for event in parcel.events)
            own.record_delivered(parcel, NOW)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent) == sorted((name, event_id) for name in ("/a", "/b") for event_id in ids(written))


@on_postgresql
def test_an_event_that_is_committed_after_a_later_one_is_delivered(store: SqlUnitOfWork):
    """The sequence of what is still open is lower: a cursor that had passed it would have lost the event."""
    add(store)
    item, _ = samples.add_item(store)
    early, late = samples.event(item), samples.event(item)
    with store._db.writing() as slow:
        audit.add_events(slow, [early])
        with store._db.writing() as connection:
            audit.add_events(connection, [late])
        first = claim(store)
        assert ids(first.events) == [late.event_id]
        store.record_delivered(first, NOW)
        assert store.claim_parcel("w1", NOW) is None
    assert ids(store.events()) == [early.event_id, late.event_id]
    assert ids(claim(store).events) == [early.event_id]


def test_a_lease_that_ran_out_is_taken_over_with_the_same_event(
    store: SqlUnitOfWork, open_again: Opened, outside: Inspection
):
    add(store)
    (event,) = write(store)
    dead = claim(store, "w1")
    outside.run_out_leases()
    other = open_again()
    again = claim(other, "w2")
    assert ids(again.events) == [event.event_id]
    store.record_failed(dead, [Postponement(event_id=event.event_id, next_attempt_at=LATER)], BROKEN, at=NOW)
    store.record_delivered(dead, NOW)
    assert store.backlogs()[again.forwarder.forwarder_id].pending == 1, "a late word of the first changes nothing"
    other.record_delivered(again, NOW)
    assert store.backlogs()[again.forwarder.forwarder_id].pending == 0


# --- failed


def test_a_failure_is_put_off_and_told(store: SqlUnitOfWork):
    made = add(store)
    (event,) = write(store)
    assert (
        store.record_failed(
            claim(store), [Postponement(event_id=event.event_id, next_attempt_at=LATER)], BROKEN, at=NOW
        )
        == 0
    )
    backlog = store.backlogs()[made.forwarder_id]
    assert (backlog.pending, backlog.given_up, backlog.error_code, backlog.error_text) == (
        1,
        0,
        "DeliveryFailed",
        "it answered 500",
    )
    assert store.next_delivery_at() == LATER
    (again,) = claim(store, now=LATER).deliveries
    assert (again.attempts, again.first_attempt_at) == (1, NOW)


def test_what_is_given_up_stays_to_be_seen(store: SqlUnitOfWork):
    made = add(store)
    (event,) = write(store)
    store.record_failed(claim(store), [Postponement(event_id=event.event_id, next_attempt_at=None)], BROKEN, at=NOW)
    backlog = store.backlogs()[made.forwarder_id]
    assert (backlog.pending, backlog.given_up, backlog.error_code) == (0, 1, "DeliveryFailed")
    assert store.next_delivery_at() is None


def test_nobody_behind_a_receiver_that_is_gone_is_tried_now(store: SqlUnitOfWork):
    made = add(store)
    written = write(store, 3)
    one = Postponement(event_id=written[0].event_id, next_attempt_at=NOW + 2 * HOUR)
    assert store.record_failed(claim(store), [one], BROKEN, at=NOW, others_at=NOW + HOUR) == 0
    assert store.claim_parcel("w1", NOW) is None
    assert store.next_delivery_at() == NOW + HOUR
    later = NOW + DAY
    (behind,) = claim(store, now=NOW + HOUR).deliveries
    assert (behind.event_id, behind.attempts, behind.first_attempt_at) == (written[1].event_id, 0, NOW)
    put_off = Postponement(event_id=behind.event_id, next_attempt_at=later + HOUR)
    parcel = Parcel(forwarder=made, deliveries=(behind,), events=(), worker="w1")
    given_up = store.record_failed(parcel, [put_off], BROKEN, at=later, others_at=later + HOUR)
    assert given_up == 2, "the two that have waited for a day"


# --- changed


def test_a_change_makes_due_what_failed(store: SqlUnitOfWork):
    made = add(store)
    (event,) = write(store)
    store.record_failed(
        claim(store), [Postponement(event_id=event.event_id, next_attempt_at=NOW + DAY)], BROKEN, at=NOW
    )
    changed = replace(made, name="/renamed", revision=2, modified_at=LATER)
    store.update_forwarder(changed, samples.line(), take_up=True)
    assert store.find_forwarder("/ops") is None
    assert store.find_forwarder("/renamed") == changed
    parcel = claim(store, now=LATER)
    assert (parcel.forwarder.name, ids(parcel.events)) == ("/renamed", [event.event_id])


def test_two_changes_at_once_and_two_of_a_name_are_refused(store: SqlUnitOfWork):
    made = add(store)
    store.update_forwarder(replace(made, revision=2), samples.line())
    with pytest.raises(Conflict) as late:
        store.update_forwarder(replace(made, revision=2), samples.line())
    assert late.value.code == "ItemLocked"
    with pytest.raises(Conflict) as taken:
        add(store)
    assert taken.value.code == "NameConflict"
    other = add(store, name="/other")
    with pytest.raises(Conflict) as renamed:
        store.update_forwarder(replace(other, name="/ops", revision=2), samples.line())
    assert renamed.value.code == "NameConflict"
    assert [one.name for one in store.list_forwarders()] == ["/ops", "/other"]


def test_a_deleted_one_takes_its_deliveries_along_and_no_event(store: SqlUnitOfWork, outside: Inspection):
    made = add(store)
    write(store, 2)
    held = claim(store)
    with pytest.raises(Conflict):
        store.delete_forwarder(replace(made, revision=7), samples.line())
    store.delete_forwarder(made, samples.line("delete_event_forwarder", made.name))
    assert outside.execute("SELECT count(*) FROM deliveries") == [(0,)]
    assert len(store.events()) == 2
    store.record_delivered(held, NOW)
    assert store.claim_parcel("w1", NOW) is None


@on_postgresql
def test_a_forwarder_that_is_deleted_while_an_event_is_written_waits(store: SqlUnitOfWork, open_again: Opened):
    """Else its delivery had no forwarder, and a rotation could not be published."""
    made = add(store)
    item, _ = samples.add_item(store)
    done = threading.Event()

    def delete() -> None:
        open_again().delete_forwarder(made, samples.line())
        done.set()

    other = threading.Thread(target=delete)
    with store._db.writing() as connection:
        audit.add_events(connection, [samples.event(item)])
        other.start()
        while not connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
            pass
        assert not done.is_set()
    other.join()
    assert done.is_set()
    assert store.backlogs() == {}


# --- forgotten


def test_what_was_settled_long_ago_is_forgotten_and_its_events_stay(store: SqlUnitOfWork, outside: Inspection):
    add(store)
    written = write(store, 3)
    store.record_delivered(claim(store), NOW)
    gone = claim(store)
    store.record_failed(gone, [Postponement(event_id=gone.events[0].event_id, next_attempt_at=None)], BROKEN, at=NOW)
    assert store.drop_deliveries(NOW) == 0
    assert store.drop_deliveries(NOW + timedelta(seconds=1)) == 2
    assert outside.execute("SELECT event_id FROM deliveries") == [(written[2].event_id,)]
    assert ids(store.events()) == ids(written)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_idle_look_reads_the_index_and_no_row(store: SqlUnitOfWork, outside: Inspection):
    plan = outside.execute(
        "EXPLAIN QUERY PLAN SELECT next_attempt_at FROM deliveries WHERE delivered_at IS NULL AND given_up_at IS NULL "
        "AND (lease_until IS NULL OR lease_until < 1.0) ORDER BY next_attempt_at LIMIT 1"
    )
    assert "ix_deliveries_due" in repr(plan)
