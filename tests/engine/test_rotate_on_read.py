"""``rotate_on_read``: each get-value rotates first, and has a rotation of its own."""

from __future__ import annotations

import threading

import pytest

from azure_rotator.domain.model import Stage, Trigger
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.rows import row


@row("AK-07")
def test_without_it_reads_change_nothing(world: World):
    world.create()
    before = world.describe().item
    world.mark()
    assert len({world.value() for _ in range(3)}) == 1
    assert world.requests() == []
    assert len(world.audit("get_rotated_secret_value")) == 3
    assert world.describe().item.revision == before.revision


@row("AK-07")
def test_each_read_gives_the_next_version_and_the_one_before_no_longer_logs_in(world: World):
    world.create(rotate_on_read=True, revoke_after="0")
    values = [world.engine.secrets.get_value(name=ITEM) for _ in range(2)]
    assert [value.version for value in values] == [2, 3]
    first, second = (value.secret.reveal() for value in values)
    assert first != second
    assert not world.logs_in(first)
    assert world.logs_in(second)
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.REVOKED, 3: Stage.CURRENT}
    assert [line.details["trigger"] for line in world.audit("rotate_item")] == [Trigger.READ] * 2


@row("AK-07")
def test_two_reads_at_once_make_two_rotations_one_after_the_other(world: World):
    """The second comes while the first one's rotation runs: it waits for that one, and then has its own."""
    world.create(rotate_on_read=True, revoke_after="0")
    other = world.process(who="bob")
    waits = threading.Event()
    read: list[int] = []
    reader = threading.Thread(target=lambda: read.append(other.engine.secrets.get_value(name=ITEM).version))

    def second(*_: object, **__: object) -> None:
        if not waits.is_set():
            waits.set()
            other.store.before["insert_rotation"] = lambda *_: arrived.set
            reader.start()
            assert arrived.wait(60)

    arrived = threading.Event()
    world.main.store.before["publish"] = second
    read.append(world.engine.secrets.get_value(name=ITEM).version)
    reader.join(60)
    assert not reader.is_alive()
    assert list(world.versions()) == [1, 2, 3]
    assert read[1] == 3
    assert [name for name, _ in world.writes()].count("addPassword") == 3
    assert len(world.key_ids()) == 2


def test_a_preview_and_a_version_by_number_rotate_nothing(world: World):
    world.create(rotate_on_read=True)
    world.mark()
    assert world.engine.secrets.get_value(name=ITEM, rotate_on_read=False).version == 1
    assert world.engine.secrets.get_value(name=ITEM, version=1).version == 1
    assert world.requests() == []


def test_a_rotation_that_fails_fails_the_read_and_keeps_the_value(world: World, control: Control):
    world.create(rotate_on_read=True)
    before = world.engine.secrets.get_value(name=ITEM, rotate_on_read=False).secret.reveal()
    fault = control.add_fault("graph.addPassword", app=world.workload.app_id, preset="denied", times=None)
    assert refused(world.value).code == "AzurePermissionMissing"
    assert world.engine.secrets.get_value(name=ITEM, rotate_on_read=False).secret.reveal() == before
    fault.remove()
    assert world.engine.secrets.get_value(name=ITEM).version == 2, "the parked one is taken up, not another one made"


@pytest.mark.parametrize("rotate_on_read", [True, False])
def test_it_can_be_switched(world: World, rotate_on_read: bool):
    world.create(rotate_on_read=not rotate_on_read)
    world.engine.secrets.update({"rotate_on_read": rotate_on_read}, name=ITEM)
    assert world.engine.secrets.get_value(name=ITEM).version == (2 if rotate_on_read else 1)
