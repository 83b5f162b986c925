"""``kill -9`` at every commit and inside every Azure call: nothing lost, orphaned, touched or stuck.

Every point of every operation, of a create and a rotation with every way to take over. `make test` has campaigns
instead (test_campaign.py), which meet these points by chance, and combinations of them that no table has.
"""

from __future__ import annotations

from itertools import cycle, product

import pytest

from tests.crash import table
from tests.crash.estate import Lab
from tests.crash.kills import changing, kill_all, points
from tests.crash.operations import OPERATIONS, TAKEOVERS, Operation
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]


@row("AK-23", "F05")
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
