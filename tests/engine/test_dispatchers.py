"""Schedulers whose rotations are jobs of procrastinate, alone and beside others that run theirs by themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from azure_rotator.config import PROCRASTINATE, ROWS
from azure_rotator.dispatch.procrastinate import SCHEMA
from azure_rotator.domain.errors import Unavailable
from azure_rotator.scheduler.loop import Served
from azure_sandbox.testing import Control, Sandbox
from tests.engine.world import World, refused, worlds
from tests.leak.search import Canaries
from tests.plugins.azure import OWNED_BY, App, MakeApplication
from tests.plugins.postgres import Postgres
from tests.rows import row

TABLES = ("jobs", "events", "workers", "periodic_defers")


@pytest.fixture
def world(
    request: pytest.FixtureRequest,
    azure: Sandbox,
    tmp_path: Path,
    control: Control,
    rotator: App,
    workload: App,
    postgres: Postgres,
) -> Iterator[World]:
    for made in worlds(tmp_path, control, rotator, workload, seed=request.node.nodeid, server=postgres):
        made.create_target()
        yield made


def tick(world: World, dispatcher: str = PROCRASTINATE) -> Served:
    return world.scheduler(engine=world.process().engine, dispatcher=dispatcher).once()


def rows_of_the_queue(world: World) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(world.settings().store_url) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {SCHEMA}.procrastinate_{table}".encode()).fetchall()  # noqa: S608
            for table in TABLES
        }


def items(world: World, make_application: MakeApplication, count: int) -> list[str]:
    """So many that rotate every 30 days, each with an application of its own."""
    names = []
    for number in range(count):
        application = make_application(f"app {number}", roles=[OWNED_BY], owners=[world.rotator.app_id])
        names.append(f"/prod/{number}")
        world.create(name=names[-1], app_id=application.app_id, auto_rotate=True, rotation_interval=30)
    return names


def test_a_rotation_is_due_and_a_job_runs_it_once(world: World):
    world.create(auto_rotate=True, rotation_interval=30)
    world.clock.advance(days=30)
    served = tick(world)
    assert (served.planned, served.failed) == (1, {})
    assert len(world.published_at()) == 1
    assert tick(world).planned == 0
    assert len(world.published_at()) == 1
    assert rows_of_the_queue(world) == {table: [] for table in TABLES}


def test_while_a_job_is_at_work_no_credential_is_in_its_tables(world: World, control: Control):
    world.create(auto_rotate=True, rotation_interval=30)
    canaries = Canaries()
    canaries.add("the Target's secret", world.rotator.secret)
    canaries.add("the item's value", world.value())
    world.clock.advance(days=30)
    process = world.process()
    seen: list[dict[str, list[tuple[object, ...]]]] = []
    process.directory.before["remove_password"] = process.directory.before["add_password"] = lambda *_, **__: (
        seen.append(rows_of_the_queue(world))
    )
    world.scheduler(engine=process.engine, dispatcher=PROCRASTINATE).once()
    canaries.add("the item's new value", world.value())
    (while_minting, *_) = seen
    assert len(while_minting["jobs"]) == 1
    (rotation_id,) = {json["rotation_id"] for job in while_minting["jobs"] for json in job if isinstance(json, dict)}
    assert rotation_id in repr(world.main.store.get_rotation(rotation_id))
    for found in seen:
        assert canaries.found(repr(found)) == []


def test_a_round_that_fails_leaves_no_thread_that_keeps_its_process_from_ending(world: World):
    world.create(auto_rotate=True, rotation_interval=30)
    world.clock.advance(days=30)
    process = world.process()

    def gone(*_: object, **__: object) -> None:
        assert "azure-rotator-queue" in running()
        raise Unavailable("StoreUnavailable", "the store is away", applied="no")

    process.store.before["due"] = gone
    scheduler = world.scheduler(engine=process.engine, dispatcher=PROCRASTINATE)
    assert refused(scheduler.once).code == "StoreUnavailable"
    assert "azure-rotator-queue" not in running()


def running() -> set[str]:
    return {thread.name for thread in threading.enumerate() if not thread.daemon}


def test_a_job_for_what_is_finished_does_nothing(world: World):
    world.create(auto_rotate=True, rotation_interval=30, revoke_after="0")
    world.clock.advance(days=30)
    done: list[str] = []
    world.main.directory.before["add_password"] = lambda *_, **__: done.extend(
        rotation.rotation_id for rotation in world.open_rotations()
    )
    world.tick()
    world.mark()
    scheduler = world.scheduler(engine=world.process().engine, dispatcher=PROCRASTINATE)
    dispatcher = scheduler._dispatcher
    dispatcher.look()
    dispatcher.submit([*done, "no-such-rotation"])
    scheduler.once()
    assert world.requests() == []
    assert len(world.published_at()) == 1


@pytest.mark.full
def test_both_dispatchers_at_once_serve_each_due_date_once(world: World, make_application: MakeApplication):
    names = items(world, make_application, 6)
    for month in range(1, 3):
        world.clock.advance(days=30)
        with ThreadPoolExecutor(4) as pool:
            served = list(pool.map(lambda which: tick(world, which), [ROWS, PROCRASTINATE, ROWS, PROCRASTINATE]))
        assert sum(one.planned for one in served) == len(names)
        tick(world)
        assert [len(world.published_at(name)) for name in names] == [month] * len(names)


@pytest.mark.full
@row("F14")
def test_what_is_asked_to_pause_waits_as_rows_and_not_as_jobs(
    world: World, control: Control, make_application: MakeApplication
):
    names = items(world, make_application, 12)
    control.add_fault(
        "graph.*",
        tenant=world.rotator.info.tenant_id,
        preset="throttled",
        headers={"Retry-After": "3600"},
        times=1,
    )
    world.clock.advance(days=30)
    dispatched = sum(tick(world).endings.values())
    assert dispatched < len(names), "no more than were under way, or waited for a worker"
    world.mark()
    world.clock.advance(minutes=59)
    assert tick(world).endings == {}
    assert world.requests() == []
    world.clock.advance(minutes=2)
    tick(world)
    assert {len(world.published_at(name)) for name in names} == {1}
