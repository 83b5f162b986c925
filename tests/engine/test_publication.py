"""A publication is one commit: nobody sees half of it, whoever reads and whatever breaks (F21, F27)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.model import RotatorStatus, Stage
from azure_rotator.domain.secrettext import SecretText
from tests.engine.world import ITEM, TARGET, World
from tests.rows import row

INTERVAL: dict[str, Any] = {"auto_rotate": True, "rotation_interval": 30}


def api_key(world: World) -> None:
    world.create(**INTERVAL)


def target(world: World) -> None:
    world.create(rotator_type="target", app_id=None, authentication_credentials=None, **INTERVAL)


KINDS = pytest.mark.parametrize(
    ("make", "app"),
    [pytest.param(api_key, "workload", id="api-key"), pytest.param(target, "rotator", id="target")],
)


def pair(world: World, app: str, process: Any = None) -> tuple[int, str]:
    """The version that a reader gets, whose id and secret belong together by Azure's word."""
    read = (process or world.main).engine.secrets.get_value(name=ITEM)
    secret = read.fields["client_secret"]
    assert isinstance(secret, SecretText)
    known = world.control.verify(getattr(world, app).app_id, secret.reveal())
    assert known is not None
    assert (read.fields["key_id"], known.state) == (known.key_id, "valid")
    assert world.version(read.version).key_id == known.key_id
    return read.version, known.key_id


@row("F27")
@KINDS
@pytest.mark.parametrize("moment", ["find_item", "versions", "find_target", "record_read"])
def test_a_rotation_in_the_middle_of_a_read_mixes_nothing(
    world: World, make: Callable[[World], None], app: str, moment: str
):
    """Read while the new one is published: all of the old version, or all of the new one."""
    make(world)
    reader = world.process(who="reader")

    def rotate(*_: object, **__: object) -> None:
        reader.store.before.clear()
        world.rotate()

    reader.store.before[moment] = rotate
    version, _ = pair(world, app, reader)
    assert version in {1, 2}
    assert not reader.store.before, "the rotation did come in between"
    assert pair(world, app)[0] == 2


@row("F27")
@KINDS
def test_at_every_commit_of_a_rotation_the_pair_belongs_together(world: World, make: Callable[[World], None], app: str):
    make(world)
    seen: list[int] = []

    def look(*_: object, **__: object) -> Callable[[], object]:
        seen.append(pair(world, app)[0])
        return lambda: seen.append(pair(world, app)[0])

    for commit in ("begin_minting", "store_pending", "record_proof", "publish"):
        world.main.store.before[commit] = look
    world.rotate()
    assert seen == sorted(seen)
    assert seen[-2:] == [1, 2], "before the publication the old one, after it the new one"


@row("F27")
def test_a_target_never_has_the_id_of_one_secret_and_the_value_of_another(world: World):
    target(world)

    def together(*_: object, **__: object) -> Callable[[], object]:
        details = world.engine.targets.get_details(name=TARGET)
        known = world.control.verify(world.rotator.app_id, details.secret.reveal() if details.secret else "")
        assert known is not None
        assert details.view.target.client_secret_id in {known.key_id, None}
        return lambda: together

    world.main.store.before["publish"] = together
    world.rotate()
    world.main.store.before.clear()
    together()
    assert world.engine.targets.get_details(name=TARGET).view.target.client_secret_id == world.describe().key_id


@row("F21")
@KINDS
@pytest.mark.parametrize("table", ["audit", "events"])
def test_what_breaks_in_the_middle_of_a_publication_leaves_it_scheduled(
    world: World, make: Callable[[World], None], app: str, table: str
):
    """The value is in, and what is written after it fails: then the value is not in either, nor is the date lost."""
    make(world)
    before = world.describe()
    assert before.item.next_rotation_at is not None
    left = world.tables(without=["audit", "events", "rotations", "permits", "mints"])

    def break_it(*_: object, **__: object) -> Callable[[], object]:
        world.rename_table(table, f"{table}_away")
        return lambda: world.rename_table(f"{table}_away", table)

    world.main.store.before["publish"] = break_it
    with pytest.raises((DBAPIError, RotatorError)):  # which one it is depends on the database
        world.rotate()
    world.main.store.before.clear()
    now = world.tables(without=["audit", "events", "rotations", "permits", "mints"])
    pending = [one for one in now["versions"] if one not in left["versions"]]
    assert len(pending) == 1, "the new one is stored, and only that"
    assert {name: found for name, found in now.items() if name != "versions"} == {
        name: found for name, found in left.items() if name != "versions"
    }
    assert world.describe().item.next_rotation_at == before.item.next_rotation_at
    assert pair(world, app)[0] == 1
    world.expire_leases()
    world.engine.reconcile()
    item = world.describe().item
    assert (item.rotator_status, world.versions()) == (
        RotatorStatus.SUCCEEDED,
        {1: Stage.PREVIOUS, 2: Stage.CURRENT},
    )
    assert item.next_rotation_at == (item.last_rotation_at or world.clock.now()) + timedelta(days=30)
    assert [event.event_type for event in world.engine.events()][-1] == "rotated-secret-success"


@row("F57", "F12")
def test_an_end_that_azure_sets_before_the_overlap_is_no_hot_loop(world: World):
    """Every new secret ends in ten hours, and both are to be valid for a day."""
    world.control.set_behaviour(world.workload.app_id, shorten_to_seconds=36_000)
    world.create(**INTERVAL)
    for _ in range(3):
        made = world.describe()
        assert made.item.next_rotation_at is not None
        assert made.item.next_rotation_at >= world.clock.now() + timedelta(hours=4, minutes=59)
        assert "half its life" in str(made.facts()["rotated_secret_details"])
        assert made.current is not None
        assert made.current.expires_at is not None
        assert made.item.next_rotation_at < made.current.expires_at
        world.clock.advance(hours=5)
        world.rotate()
