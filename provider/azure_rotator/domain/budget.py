"""How fast rotations may begin, by what Azure documents: a crowd that is due at once is spread. Pure.

A budget is a name, shared by every process through its permit row, and a pace. Rotations are given instants, *slots*:
the first few at once, the others one by one at the pace. No window of Azure's sees more than its limit:

    limit >= pace x window + burst

so that a pace of 95% of the limit leaves room for the burst, and for people who rotate by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure_rotator.domain.errors import Reach
from azure_rotator.domain.kinds import pauses

_SHARE = 0.95
# "Microsoft Graph service-specific throttling limits": 3,000 identity writes in 150 seconds per application and tenant.
# One is the new credential; the removal of the old one comes when its own time has come.
_GRAPH_WRITES, _GRAPH_SECONDS, _GRAPH_WRITES_EACH = 3_000, 150.0, 1
# "Storage resource provider limits": 100 lists in 300 seconds per subscription and region. A key is listed before it is
# made anew, and to prove it.
_ARM_LISTS, _ARM_SECONDS, _ARM_LISTS_EACH = 100, 300.0, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One pace.

    Args:
        name: Of the permit row that all processes share: that of the tenant's or subscription's pause.
        seconds_each: Between two rotations.
        burst: How many may begin at once after a quiet time.
    """

    name: str
    seconds_each: float
    burst: int


def budget_of(lane: str, tenant_id: str | None) -> Budget | None:
    """What a rotation in this lane spends from; None where nobody knows whose it is.

    Args:
        lane: As ``kinds.lane`` makes it.
        tenant_id: The Target's.
    """
    names = pauses(lane, tenant_id)
    if Reach.SUBSCRIPTION in names:
        return _paced(names[Reach.SUBSCRIPTION], _ARM_LISTS / _ARM_LISTS_EACH, _ARM_SECONDS)
    if Reach.TENANT in names:
        return _paced(names[Reach.TENANT], _GRAPH_WRITES / _GRAPH_WRITES_EACH, _GRAPH_SECONDS)
    return None


def _paced(name: str, rotations: float, seconds: float) -> Budget:
    burst = max(1, int(rotations * (1 - _SHARE)))
    return Budget(name=name, seconds_each=seconds / (rotations * _SHARE), burst=burst)


def slots(count: int, budget: Budget, booked_until: float, not_before: datetime) -> tuple[Sequence[datetime], float]:
    """Instants for so many rotations, in whole seconds, none before ``not_before``.

    Args:
        booked_until: What the budget's row says, in seconds since 1970: the pace has given everything before it away.

    Returns: The slots, and what the row has to say from now on.
    """
    earliest = not_before.timestamp()
    tolerance = (budget.burst - 1) * budget.seconds_each
    found = []
    for _ in range(count):
        booked_until = max(booked_until, earliest)
        at = max(earliest, booked_until - tolerance)
        found.append(datetime.fromtimestamp(0, UTC) + timedelta(seconds=math.ceil(at)))
        booked_until += budget.seconds_each
    return found, booked_until
