"""``Directory_ConcurrencyViolation``: tried again with jitter, whatever it does; one writer an application (F13)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.model import RotatorStatus, Stage
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, DrivenClock, World, refused
from tests.rows import row

OTHER = "/prod/other"
STATUSES = pytest.mark.parametrize("status", [400, 409, 503])


def collide(world: World, control: Control, operation: str, status: int, **spec: Any) -> Any:
    return control.add_fault(operation, app=world.workload.app_id, preset=f"concurrency-{status}", **spec)


# --- tried again


@row("F13")
@STATUSES
def test_a_create_that_collides_is_made_once(world: World, control: Control, status: int):
    fault = collide(world, control, "graph.addPassword", status, times=2)
    made = world.create()
    assert fault.hits == 2
    assert [name for name, _ in world.writes()] == ["addPassword"]
    assert world.key_ids() == {world.secret_of_boot(), made.key_id}
    assert world.logs_in(world.value())


@row("F13")
@STATUSES
def test_a_rotation_that_collides_on_both_of_its_writes_ends_well(world: World, control: Control, status: int):
    """A refused removal is told from "not there", which Graph answers with 400 as well."""
    world.create(revoke_after="0")
    old = world.describe().key_id
    adding = collide(world, control, "graph.addPassword", status)
    removing = collide(world, control, "graph.removePassword", status)
    world.mark()
    world.rotate()
    assert adding.hits == removing.hits == 1
    assert world.describe().item.rotator_status is RotatorStatus.PARTIAL
    assert old in world.key_ids()
    world.clock.advance(minutes=2)
    world.engine.reconcile()
    assert world.describe().item.rotator_status is RotatorStatus.SUCCEEDED
    assert [name for name, _ in world.writes()] == ["addPassword", "removePassword"]
    assert world.key_ids() == {world.secret_of_boot(), world.describe().key_id}


@row("F13")
@STATUSES
def test_a_delete_that_collides_removes_everything(world: World, control: Control, status: int):
    world.create()
    world.rotate()
    fault = collide(world, control, "graph.removePassword", status, times=2)
    deletion = world.engine.secrets.delete(name=ITEM)
    assert fault.hits == 2
    assert len(deletion.revoked) == 2
    assert world.key_ids() == {world.secret_of_boot()}
    assert world.open_rotations() == []


@row("F13")
def test_what_collided_together_does_not_come_back_together(world: World, control: Control):
    """Each waits a minute and up to a tenth of it, by its own dice."""
    world.create(revoke_after="0")
    collide(world, control, "graph.addPassword", 409, times=8)
    world.clock.waits.clear()
    patient = world.process(limits=Limits(foreground=timedelta(days=1)))
    world.rotate(engine=patient.engine)
    shares = [wait / 60 / 2**n for n, wait in enumerate(w for w in world.clock.waits if w >= 60)]
    assert len(shares) == 8
    assert all(1 <= share <= 1.1 for share in shares)
    assert len({round(share, 3) for share in shares}) > 4


# --- one writer an application


@row("F13")
@pytest.mark.parametrize(
    ("write", "begin"),
    [
        pytest.param("add_password", lambda world: world.rotate(), id="while one adds"),
        pytest.param("remove_password", lambda world: world.engine.secrets.delete(name=ITEM), id="while one removes"),
    ],
)
def test_nobody_writes_to_an_application_while_another_process_does(world: World, write: str, begin: Any):
    """The write is at its adapter already: rotating, creating, deleting another item keep away until it ended."""
    world.create(revoke_after="0")
    world.create(name=OTHER, revoke_after="0")
    hasty = world.process(who="bob", limits=Limits(foreground=timedelta()))
    met: list[tuple[str, int]] = []

    def meet(*_: object, **__: object) -> None:
        world.main.directory.before.clear()
        before = len(world.writes())
        asks = (
            lambda: world.rotate(OTHER, engine=hasty.engine),
            lambda: world.create(name="/prod/third", engine=hasty.engine),
            lambda: hasty.engine.secrets.delete(name=OTHER),
        )
        met.extend((refused(ask).code, len(world.writes()) - before) for ask in asks)

    world.main.directory.before[write] = meet
    begin(world)
    assert met == [("ItemLocked", 0)] * 3
    world.engine.reconcile()  # the delete goes on
    assert refused(world.describe, OTHER).code == "ItemNotFound"


@row("F13")
def test_two_items_of_one_application_that_rotate_at_once_never_collide(world: World, control: Control):
    """Each write takes a while inside; a second one meanwhile would be answered 409, as Entra does."""
    names = [ITEM, OTHER]
    for name in names:
        world.create(name=name, revoke_after="0")
    control.set_behaviour(world.workload.app_id, write_seconds=0.1)
    world.mark()
    processes = [world.process(who=name, clock=DrivenClock(control)) for name in names]
    with ThreadPoolExecutor(len(names)) as pool:
        running = [
            pool.submit(world.rotate, name, engine=one.engine) for name, one in zip(names, processes, strict=True)
        ]
        results = [one.result() for one in running]
    assert [result.version for result in results] == [2, 2]
    assert {entry.status for entry in world.requests("graph.addPassword", "graph.removePassword")} <= {200, 204}
    for name in names:
        world.engine.reconcile()
        assert world.versions(name) == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.key_ids() == {world.secret_of_boot(), *(result.key_id for result in results)}
