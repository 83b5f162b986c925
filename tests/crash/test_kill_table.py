"""``kill -9`` at every commit and inside every Azure call: nothing lost, orphaned, touched or stuck.

`make test` has every commit and every write of a create and of a rotation, and of a rotation that fails the points that
differ in what they leave behind, each followed by one way to take over; campaigns meet the rest. The full table has
every point of everything, of a create and a rotation every way, and writes that arrive late.
"""

from __future__ import annotations

from itertools import cycle, product

import pytest

from tests.crash import table
from tests.crash.estate import Lab
from tests.crash.kills import changing, kill_all, points, representative
from tests.crash.operations import OPERATIONS, TAKEOVERS, Operation
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]


# `make test` stays short: every commit and every write of a create and of a rotation, and some of a rotation that
# fails. The campaigns (test_campaign.py) meet the other operations there, and `make test-full` has every point of every
# one, taken over in every way.
SOME = {"rotate, unproven"}
EVERYDAY = [operation for operation in OPERATIONS if operation.core or operation.name in SOME]


@row("AK-23", "F05")
@pytest.mark.parametrize("operation", EVERYDAY, ids=lambda operation: operation.name)
def test_killed_at_any_point_whoever_comes_next_finds_all_in_order(
    lab: Lab, operation: Operation, record_property
) -> None:
    every = points(lab, operation, thorough=False)
    chosen = changing(every) if operation.core else representative(every)
    kills = kill_all(lab, operation, zip(chosen, cycle(TAKEOVERS), strict=False))
    record_property(table.PROPERTY, table.lines(kills))
    bad = [kill for kill in kills if kill.violations or kill.complaints]
    assert not bad, f"{len(bad)} of {len(kills)} kills:\n" + "\n".join(str(kill) for kill in bad)


@pytest.mark.full
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_killed_at_every_point_whoever_comes_next(lab: Lab, operation: Operation, record_property) -> None:
    every = points(lab, operation, thorough=True)
    # Where nothing changes, who comes next finds the same as one point before: one way is enough. So it is for what is
    # no create or rotation: which way meets which point is for the campaigns to vary.
    thrice = changing(every) if operation.core else []
    once = [point for point in every if point not in thrice]
    kills = kill_all(lab, operation, [*product(thrice, TAKEOVERS), *zip(once, cycle(TAKEOVERS), strict=False)])
    record_property(table.PROPERTY, table.lines(kills))
    bad = [kill for kill in kills if kill.violations or kill.complaints]
    assert not bad, f"{len(bad)} of {len(kills)} kills:\n" + "\n".join(str(kill) for kill in bad)


@row("AK-23", "F05")
@pytest.mark.full
@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.core], ids=lambda operation: operation.name)
def test_killed_at_any_point_on_postgresql(lab: Lab, operation: Operation, record_property) -> None:
    every = points(lab, operation, thorough=False, database="postgresql")
    kills = kill_all(lab, operation, zip(every, cycle(TAKEOVERS), strict=False), database="postgresql")
    record_property(table.PROPERTY, table.lines(kills))
    bad = [kill for kill in kills if kill.violations or kill.complaints]
    assert not bad, f"{len(bad)} of {len(kills)} kills:\n" + "\n".join(str(kill) for kill in bad)
