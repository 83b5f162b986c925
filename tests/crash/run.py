"""Many campaigns side by side: while one waits for a lease to run out, the others work."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from azure_rotator.config import ROWS
from tests.crash.campaign import Campaign, Outcome
from tests.crash.estate import Lab
from tests.crash.plans import AIMED_AT, plan
from tests.crash.tally import Tally

AT_ONCE = 6


def run(
    lab: Lab,
    *,
    kills: int,
    seed: int,
    database: str,
    at_once: int = AT_ONCE,
    sabotage: Sequence[str] = (),
    dispatchers: Sequence[str] = (ROWS,),
    until_red: bool = False,
    heard: Callable[[Outcome, Tally], None] = lambda outcome, tally: None,
    tally: Tally | None = None,
) -> Tally:
    """Begin campaigns until enough processes were killed, and bring to their end what was begun.

    Args:
        kills: How many at least; a campaign is lived to its end, so that there are a few more.
        seed: Of the first campaign; the others follow.
        sabotage: Names of ``tests.crash.sabotage.PORTS``, for all that are killed.
        dispatchers: Of schedulers, one after the other in each life.
        until_red: Begin no more after the first broken promise.
        heard: Told of each that has ended.
        tally: Where to count; the caller's own still holds what there is when Ctrl-C ends the run.
    """
    tally = tally or Tally(database, AIMED_AT)
    spans: dict[str, float] = {}
    seeds = itertools.count(seed)
    going: dict[Future[Outcome], int] = {}
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while True:
                enough = tally.kills + sum(going.values()) >= kills or (until_red and tally.red)
                if not enough and len(going) < at_once:
                    planned = plan(next(seeds))
                    campaign = Campaign(
                        lab, planned, database=database, spans=spans, sabotage=sabotage, dispatchers=dispatchers
                    )
                    going[pool.submit(campaign.live)] = planned.kills
                elif going:
                    _count(going, tally, heard)
                else:
                    return tally
        finally:  # Ctrl-C: what was begun ends in order, so that the seeds have no gap
            while going:
                _count(going, tally, heard)


def _count(going: dict[Future[Outcome], int], tally: Tally, heard: Callable[[Outcome, Tally], None]) -> None:
    done, _ = wait(going, return_when=FIRST_COMPLETED)
    for one in done:
        del going[one]
        outcome = one.result()
        tally.add(outcome)
        heard(outcome, tally)
