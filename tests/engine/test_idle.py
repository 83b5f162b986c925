"""What a scheduler asks its store for when there is nothing to do does not depend on how many items there are."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from sqlalchemy import event

from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.engine.world import World
from tests.store import samples


def _asked(world: World) -> list[str]:
    """Every statement of a round of a scheduler that finds nothing to do."""
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    engine = world.main.store._db.engine
    event.listen(engine, "before_cursor_execute", note)
    assert world.tick().planned == 0
    event.remove(engine, "before_cursor_execute", note)
    return asked


def _fill(world: World, count: int) -> None:
    (target,) = world.main.store.list_targets()
    now = world.clock.now()
    samples.add_crowd(
        cast(SqlUnitOfWork, world.main.store),
        count,
        target,
        created_at=now,
        modified_at=now,
        next_rotation_at=lambda number: now + timedelta(days=30, minutes=number),
        rotation_hour=9,
        rotation_event_in=(5,),
        expires_at=lambda number: now + timedelta(days=90),
    )


def test_an_idle_round_asks_the_same_with_ten_items_and_with_three_hundred(world: World):
    asked = []
    for more in (10, 290):
        _fill(world, more)
        world.tick()  # plans their reminders
        rounds = []
        # Beside what every poll asks: each minute for orphans; each hour for notices; each six for the rules of zones.
        for later in ({"seconds": 1}, {"minutes": 1}, {"hours": 1}, {"hours": 6}):
            world.clock.advance(**later)
            rounds.append(_asked(world))
        asked.append(rounds)
    few, many = asked
    assert [len(one) for one in many] == [len(one) for one in few]
    assert many == few
    assert 0 < len(few[0]) < len(few[1]) < len(few[2]), "each round has its own questions"
