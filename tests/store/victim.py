"""A process that dies: ``python -m tests.store.victim URL MOVE STATEMENT``; ends with kill -9 before that statement.

STATEMENT counts from 0 in the transaction of the move (0 is its BEGIN); ``commit`` is right before the COMMIT. Past the
last statement the move is made, and the process ends well.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from azure_rotator.domain.model import RotationState, Stage, Trigger
from azure_rotator.domain.ports import Claim
from azure_rotator.store.opening import open_store
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.samples import FAILURE, LATER, NOW


def make(store: SqlUnitOfWork, move: str, before_transaction: Any) -> None:
    """Make the move on the one item of the store, whose rotation is the only open one."""
    (rotation,) = store.open_rotations()
    item = store.find_item(item_id=rotation.item_id)
    assert item is not None
    versions = store.versions(item.item_id)
    current = next(version for version in versions if version.stage is Stage.CURRENT)
    pending = next(version for version in versions if version.stage is Stage.PENDING)
    claim = Claim(
        rotation_id=rotation.rotation_id, lane=rotation.lane, worker="worker-1", fence=rotation.fence, permit_fence=1
    )
    moves = {
        "publish": lambda: store.publish(claim, samples.publication(item, pending, current)),
        "fail": lambda: store.fail(
            claim, FAILURE, events=(samples.event(item),), audit=samples.line(), undo_item=True, at=LATER
        ),
        "insert_item": lambda: _insert_item(store, item.target_id),
        "begin_delete": lambda: store.begin_delete(
            samples.rotation(item.item_id, rotation_id="victimvictimvict", trigger=Trigger.DELETE),
            revision=item.revision,
        ),
        "claim": lambda: store.claim(rotation.rotation_id, "worker-2", NOW),
    }
    before_transaction()
    moves[move]()


def _insert_item(store: SqlUnitOfWork, target_id: str) -> None:
    item = samples.item(target_id, item_id="victimvictimvict", name="/victim")
    create = samples.rotation(item.item_id, rotation_id="victimvictimvict", state=RotationState.DONE)
    version = samples.version(item.item_id, create.rotation_id, version_id="victimvictimvict", key_id="victim")
    store.insert_item(item, version, create, samples.line())


def main(url: str, move: str, statement: str) -> None:
    count = 0

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def die_at(*_: object) -> None:
        nonlocal count
        if count == int(statement):
            die()
        count += 1

    with open_store(url) as store:
        arm = (
            (lambda: event.listen(store._db.engine, "commit", die))
            if statement == "commit"
            else (lambda: event.listen(store._db.engine, "before_cursor_execute", die_at))
        )
        make(store, move, arm)


if __name__ == "__main__":
    main(*sys.argv[1:])
