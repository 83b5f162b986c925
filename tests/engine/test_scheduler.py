"""The scheduler: when it rotates, what it does about what it missed, and what becomes of what fails."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from azure_rotator.domain.errors import Unavailable
from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import RotationState, RotatorStatus, Trigger
from azure_rotator.engine.runner import Ending
from azure_rotator.engine.views import RotationResult
from azure_rotator.scheduler.loop import POLL
from azure_sandbox.testing import Control, FaultHandle
from tests.engine.world import ITEM, World, refused
from tests.plugins.azure import OWNED_BY, MakeApplication
from tests.rows import row

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def every(world: World, days: int, **changes: Any) -> datetime:
    """The item rotates every so many days. Returns: when it was created."""
    created_at = world.clock.now()
    world.create(auto_rotate=True, rotation_interval=days, **changes)
    world.mark()
    return created_at


def due_at(world: World, name: str = ITEM) -> datetime | None:
    return world.describe(name).item.next_rotation_at


def events(world: World, *kinds: str) -> list[str]:
    return [event.event_type for event in world.engine.events() if event.event_type in kinds]


def denied(world: World, control: Control) -> FaultHandle:
    """The grant is taken away."""
    return control.add_fault(
        "graph.addPassword", app=world.workload.app_id, status=403, code="Authorization_RequestDenied"
    )


def at_ten(world: World) -> datetime:
    """The next day's 10:00 UTC."""
    now = world.clock.now()
    ten = (now + DAY).replace(hour=10, minute=0, second=0)
    world.clock.advance(seconds=(ten - now).total_seconds())
    return ten


# --- on time, and once


@row("AK-33", "F55")
def test_without_an_hour_it_rotates_exactly_an_interval_later(world: World):
    created_at = every(world, 7)
    assert due_at(world) == created_at + 7 * DAY
    world.clock.advance(seconds=7 * 86_400 - 1)
    assert world.tick().planned == 0
    world.clock.advance(seconds=1)
    assert world.tick().planned == 1
    assert due_at(world) == world.published_at()[-1] + 7 * DAY
    assert [a.details["trigger"] for a in world.audit("rotate_item")] == ["automatic"]
    assert world.tick().planned == 0, "nothing is due twice"


@row("AK-33")
def test_with_auto_rotate_off_nothing_happens_in_400_days_but_by_hand(world: World):
    every(world, 7)
    world.engine.secrets.update({"auto_rotate": False}, name=ITEM)
    assert due_at(world) is None
    for _ in range(40):
        assert world.days_later(10).planned == 0
    assert world.published_at() == []
    world.rotate()
    assert len(world.published_at()) == 1


@row("AK-51")
def test_created_at_ten_with_interval_30_and_hour_14(world: World):
    """Days 30, 60, 90, once each, within the hour; in the middle another process takes over, later two look at once."""
    begin = at_ten(world)
    every(world, 30, rotation_hour=14)
    other = world.process(who="bob").engine
    world.clock.advance(hours=4)
    for engines in ([world.engine], [other], [world.engine, other]):
        assert world.tick(engine=engines[0]).planned == 0
        world.clock.advance(days=29, hours=23)
        assert world.tick(engine=engines[0]).planned == 0
        world.clock.advance(hours=1)
        with ThreadPoolExecutor(2) as pool:
            served = list(pool.map(lambda engine: world.tick(engine=engine), engines))
        assert sum(one.planned for one in served) == 1
    fourteen = begin.replace(hour=14)
    assert [at - fourteen for at in world.published_at()] == pytest.approx([30 * DAY, 60 * DAY, 90 * DAY], abs=HOUR)
    assert due_at(world) == fourteen + 120 * DAY, "the cadence does not drift"


@row("AK-51", "F60")
def test_down_over_two_due_dates_one_catch_up_and_a_notice(world: World):
    begin = at_ten(world)
    every(world, 30, rotation_hour=14)
    assert world.days_later(75).planned == 1
    assert world.tick().planned == 0
    (caught_up,) = world.published_at()
    assert caught_up - begin < 75 * DAY + HOUR
    assert [a.details["trigger"] for a in world.audit("rotate_item")] == ["catch-up"]
    assert events(world, "rotation-overdue", "rotated-secret-success")[-2:] == [
        "rotation-overdue",
        "rotated-secret-success",
    ]
    overdue = [event for event in world.engine.events() if event.event_type == "rotation-overdue"]
    assert f"{iso(begin.replace(hour=14) + 30 * DAY)}," in overdue[0].message
    assert due_at(world) == begin.replace(hour=14) + 105 * DAY, "counted from the catch-up"


@row("AK-51")
def test_a_rotation_by_hand_begins_the_interval_anew(world: World):
    begin = at_ten(world)
    every(world, 30, rotation_hour=14)
    world.clock.advance(days=9, hours=23)
    world.rotate()
    assert due_at(world) == begin.replace(hour=14) + 40 * DAY
    assert world.days_later(30).planned == 0
    assert world.days_later(0.25).planned == 1


@row("F58")
@pytest.mark.parametrize(
    ("before", "due"),
    [
        pytest.param(datetime(2027, 3, 27, 12, tzinfo=UTC), datetime(2027, 3, 28, 1, tzinfo=UTC), id="gap"),
        pytest.param(datetime(2027, 10, 30, 12, tzinfo=UTC), datetime(2027, 10, 31, 0, tzinfo=UTC), id="twice"),
    ],
)
def test_hour_two_in_berlin_runs_once_when_clocks_change(world: World, before: datetime, due: datetime):
    world.clock.advance(seconds=(before - DAY - world.clock.now()).total_seconds())
    every(world, 1, rotation_hour=2, time_zone="Europe/Berlin", revoke_after="0")
    world.tick()
    world.clock.advance(seconds=(before - world.clock.now()).total_seconds())
    world.tick()
    assert due_at(world) == due
    began = len(world.published_at())
    for _ in range(24):
        world.clock.advance(hours=1)
        world.tick()
    assert len(world.published_at()) - began == 1


@row("F61")
def test_paired_items_stay_apart_whichever_is_rotated_by_hand(world: World):
    every(world, 30, rotation_hour=3, rotation_offset=0)
    world.create(name="/prod/pair", auto_rotate=True, rotation_interval=30, rotation_hour=3, rotation_offset=15)
    world.rotate()
    for number in range(45):
        world.days_later(2)
        if number == 20:
            world.rotate("/prod/pair")
    scheduled = [
        {at.date() for at, line in zip(world.published_at(name), world.audit("rotate_item"), strict=False)}
        for name in (ITEM, "/prod/pair")
    ]
    one, other = (due_at(world, name) for name in (ITEM, "/prod/pair"))
    assert one is not None
    assert other is not None
    assert abs((one - other).days) == 15
    assert all(len(dates) >= 3 for dates in scheduled)


# --- what changes, and what fails


@row("F56")
def test_a_changed_interval_counts_from_the_last_rotation_and_withdraws_what_is_planned(world: World, control: Control):
    begin = every(world, 10)
    fault = control.add_fault("graph.addPassword", app=world.workload.app_id, preset="unavailable-503")
    world.days_later(10)
    (waiting,) = world.open_rotations()
    assert (waiting.trigger, waiting.error_code) == (Trigger.AUTOMATIC, "AzureUnavailable")
    fault.remove()
    world.engine.secrets.update({"rotation_interval": 15}, name=ITEM)
    world.clock.advance(hours=1)
    world.tick()
    assert world.published_at() == []
    assert world.open_rotations() == []
    assert due_at(world) == begin + 15 * DAY
    world.engine.secrets.update({"rotation_interval": 10}, name=ITEM)
    assert world.tick().planned == 1, "the same due date again is another rotation"


@row("F62")
def test_parked_it_waits_for_its_next_date_or_for_a_command(world: World, control: Control):
    begin = every(world, 30)
    fault = denied(world, control)
    served = world.days_later(30)
    assert served.failed == {"AzurePermissionMissing": 1}
    (parked,) = world.open_rotations()
    assert (parked.state, parked.parked) == (RotationState.FAILED, True)
    view = world.describe()
    assert (view.item.rotator_status, view.item.next_rotation_at) == (RotatorStatus.FAILED, begin + 30 * DAY)
    assert view.next_attempt_at == begin + 60 * DAY, "the next due date"
    assert events(world, "rotation-parked") == ["rotation-parked"]
    assert world.days_later(29).endings == {}, "nobody asks Azure for what is parked"
    fault.remove()
    world.days_later(1)
    assert world.open_rotations()[-1].rotation_id == parked.rotation_id
    assert due_at(world) == begin + 90 * DAY


@row("F62")
def test_what_is_parked_is_resumed_by_one_command_with_the_same_operation(world: World, control: Control):
    every(world, 30)
    fault = denied(world, control)
    world.days_later(30)
    (parked,) = world.open_rotations()
    fault.remove()
    assert world.rotate().rotation_id == parked.rotation_id
    assert world.describe().item.rotator_status is RotatorStatus.SUCCEEDED


def test_parked_without_a_schedule_it_waits_for_a_person(world: World, control: Control):
    world.create()
    fault = denied(world, control)
    refused(world.rotate)
    assert world.describe().next_attempt_at is None
    fault.remove()
    for _ in range(3):
        assert world.days_later(30).endings == {}
    assert world.rotate().version == 2


@row("F17")
def test_rotate_now_attaches_to_the_schedulers_rotation(world: World):
    """The scheduler has minted and waits for its proof; a person asks at that moment."""
    every(world, 30, revoke_after="0")
    world.clock.advance(days=30)
    stopped = world.process(who="scheduler").engine
    stopped.planner.plan_due()
    (planned,) = world.open_rotations()
    steps = iter([False, False, True])
    assert stopped.runner.run(planned.rotation_id, stopping=lambda: next(steps)).ending is Ending.STOPPED
    world.mark()
    assert world.rotate().rotation_id == planned.rotation_id
    assert [operation for operation, _ in world.writes()].count("addPassword") <= 1
    assert len(world.published_at()) == 1


@row("AK-67")
def test_a_deploy_in_the_middle_of_a_rotation_ends_well_and_so_does_the_rotation(world: World):
    """While the scheduler mints, another process changes the item and asks for a rotation: it attaches, or is next."""
    every(world, 30, revoke_after="0")
    deploy = world.process(who="pulumi").engine
    asked: list[Future[RotationResult]] = []
    with ThreadPoolExecutor(1) as pool:

        def meanwhile(*_: Any, **__: Any) -> None:
            if not asked:
                deploy.secrets.update({"description": "deployed"}, name=ITEM)
                asked.append(pool.submit(deploy.secrets.rotate, name=ITEM))

        world.main.directory.before["add_password"] = meanwhile
        world.days_later(30)
        result = asked[0].result()
    view = world.describe()
    assert (view.item.description, view.item.rotator_status) == ("deployed", RotatorStatus.SUCCEEDED)
    assert result.version == view.version == len(world.published_at()) + 1
    assert world.logs_in(world.value())
    assert len(world.key_ids()) == 2, "the foreign one and the current one"


def test_a_disabled_item_is_not_rotated_and_enabled_it_is_caught_up(world: World):
    every(world, 30)
    world.engine.secrets.set_state(name=ITEM, enabled=False)
    assert world.days_later(40).planned == 0
    world.engine.secrets.set_state(name=ITEM, enabled=True)
    assert world.tick().planned == 1


def test_a_deletion_that_azure_refuses_gives_the_due_date_back(world: World, control: Control):
    """It had closed the rotation that was planned; the item is due all the same."""
    every(world, 30)
    world.days_later(30)
    world.clock.advance(days=30)
    world.engine.planner.plan_due()
    fault = control.add_fault(
        "graph.removePassword", app=world.workload.app_id, status=403, code="Authorization_RequestDenied"
    )
    assert refused(world.engine.secrets.delete, name=ITEM).code == "AzurePermissionMissing"
    fault.remove()
    began = len(world.published_at())
    assert world.tick().planned == 1
    assert len(world.published_at()) == began + 1


# --- the rest of its work


def test_replaced_secrets_are_removed_when_their_time_has_come(world: World):
    every(world, 30, revoke_after="48h")
    world.days_later(30)
    assert len(world.key_ids()) == 3  # the foreign one of the world, the replaced and the current one
    world.days_later(1)
    assert len(world.key_ids()) == 3
    world.days_later(1)
    assert len(world.key_ids()) == 2


def test_orphans_are_swept_once_a_day_by_whoever_comes_first(world: World, control: Control):
    """A secret with the stamp of an ended mint, as a write that arrived late leaves it; a foreign one stays."""
    world.create()
    world.tick()
    stamp = next(s.display_name for s in control.secrets(world.workload.app_id) if s.origin == "minted")
    orphan = control.add_secret(world.workload.app_id, display_name=stamp).key_id
    foreign = control.add_secret(world.workload.app_id, display_name="somebody else's").key_id
    world.clock.advance(hours=23)
    world.tick(engine=world.process().engine)
    assert orphan in world.key_ids()
    world.clock.advance(hours=1)
    world.mark()
    world.tick(engine=world.process().engine)
    world.tick(engine=world.process().engine)
    assert orphan not in world.key_ids()
    assert foreign in world.key_ids()
    assert len(world.requests("graph.getApplication")) == 1, "one of them looks"


def test_what_another_process_holds_is_looked_at_again_after_one_poll(world: World):
    every(world, 30)
    world.clock.advance(days=30)
    ours, theirs = world.process(), world.process()

    def faster(rotation_id: str, *_: object, **__: object) -> None:
        ours.store.before.clear()
        assert theirs.store.claim(rotation_id, "another", world.clock.now()) is not None

    ours.store.before["claim"] = faster
    world.clock.before_wait = world.expire_leases
    assert world.tick(engine=ours.engine).failed == {}
    assert world.clock.waits[0] == POLL.total_seconds()
    assert len(world.published_at()) == 1


def test_stopped_in_the_middle_it_hands_over_at_once(world: World):
    """No lease has to run out: the next one goes on where this one stopped."""
    every(world, 30)
    world.clock.advance(days=30)
    first = world.scheduler()
    world.main.directory.before["add_password"] = lambda *_, **__: first.stop()
    first.once()
    assert world.published_at() == []
    world.tick(engine=world.process().engine)
    assert len(world.published_at()) == 1


@row("F14")
def test_a_throttled_tenant_is_left_alone_and_delays_nobody_else(
    world: World, control: Control, make_application: MakeApplication
):
    every(world, 30)
    tenant, elsewhere = control.create_tenant().tenant_id, "/elsewhere/api"
    foreign = make_application("foreign", tenant=tenant, roles=[OWNED_BY], owners=["self"])
    world.create_target("/azure/elsewhere", tenant_id=tenant, client_id=foreign.app_id, client_secret=foreign.secret)
    world.create(
        name=elsewhere,
        target_name="/azure/elsewhere",
        app_id=foreign.app_id,
        auto_rotate=True,
        rotation_interval=30,
    )
    pause = {"Retry-After": "3600"}
    control.add_fault("graph.*", tenant=world.rotator.info.tenant_id, preset="throttled", headers=pause, times=1)
    world.days_later(30)
    assert len(world.published_at(elsewhere)) == 1
    assert world.published_at() == []
    world.mark()
    world.clock.advance(minutes=59)
    world.tick()
    assert world.requests() == [], "no request to whoever asked for a pause"
    world.clock.advance(minutes=2)
    world.tick()
    assert len(world.published_at()) == 1


@pytest.mark.parametrize("method", ["begin_minting", "store_pending", "record_proof", "publish"])
def test_a_store_that_takes_no_more_writes_ends_one_call_which_says_so(world: World, method: str):
    """As on a disk that is full: reads go on, and what is due would be due again and again."""
    world.create(auto_rotate=True, rotation_interval=30)
    world.clock.advance(days=30)

    def full(*_: object, **__: object) -> None:
        raise Unavailable("StoreUnavailable", "the disk is full", applied="no")

    world.main.store.before[method] = full
    assert world.tick().failed == {"StoreUnavailable": 1}
    world.main.store.before.clear()
    world.clock.advance(minutes=1)
    world.tick()
    assert len(world.published_at()) == 1


def test_a_store_that_is_away_ends_one_call_and_is_asked_again_by_the_process(world: World):
    every(world, 30)
    world.clock.advance(days=30)
    asked: list[str] = []

    def away(*_: Any, **__: Any) -> None:
        asked.append("asked")
        if len(asked) <= 3:
            raise Unavailable("StoreUnavailable", "the store does not answer", applied="no")

    world.main.store.before["unplanned"] = away
    assert refused(world.scheduler().once).code == "StoreUnavailable"
    scheduler = world.scheduler(poll=timedelta(milliseconds=20))
    world.main.store.before["publish"] = lambda *_, **__: scheduler.stop
    scheduler.run()
    assert len(world.published_at()) == 1
    told = [event for event, _ in world.notes.noted if event.startswith(("scheduler", "store"))]
    assert told == ["scheduler started", "store not usable", "store not usable", "scheduler stopped"]
