"""The crash campaign: ``make crash N=… SEED=… DATABASE=… DISPATCHER=…``, or ``python -m tests.crash``.

Real processes are killed with SIGKILL at random instants, at commits and inside Azure calls; somebody takes over; what
the store says is held against what is true in Azure. Exits 1 when a credential was lost, orphaned or stuck, when a
foreign one was touched, or when a state or an Azure call was met by too few of a thousand kills and more.

A red campaign prints its plan; ``make crash N=1 SEED=<its seed>`` repeats it. To go on after Ctrl-C, begin at the seed
that is named last.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack

from azure_rotator.config import PROCRASTINATE, ROWS
from azure_sandbox.testing import Sandbox
from tests.crash.campaign import Outcome
from tests.crash.estate import Lab
from tests.crash.plans import AIMED_AT
from tests.crash.run import AT_ONCE, run
from tests.crash.stores import Server
from tests.crash.tally import Tally, told
from tests.plugins.postgres import serving

DATABASES = {"sqlite": ("sqlite",), "postgresql": ("postgresql",), "both": ("sqlite", "postgresql")}
DISPATCHERS = {ROWS: (ROWS,), PROCRASTINATE: (PROCRASTINATE,), "both": (PROCRASTINATE, ROWS)}
_TOLD_EVERY = 500


def main() -> int:
    """Run, print, judge."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background jobs are told to ignore it
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description="kill processes; see what is left")
    parser.add_argument("--kills", "-n", type=int, default=1000, help="how many, on each database (1000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first campaign; one more for each next one (1)")
    parser.add_argument("--database", choices=DATABASES, default="both", help="where the stores are (both)")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"campaigns side by side ({AT_ONCE})")
    parser.add_argument(
        "--dispatcher",
        choices=DISPATCHERS,
        default=ROWS,
        help=f"of the schedulers among the processes; on SQLite there is only {ROWS} ({ROWS})",
    )
    chosen = parser.parse_args()
    if chosen.dispatcher != ROWS and chosen.database != "postgresql":
        parser.error(f"--dispatcher {chosen.dispatcher} takes --database postgresql")
    passed = True
    for database in DATABASES[chosen.database]:
        tally, in_time = _campaigns(database, chosen)
        print("\n".join(tally.lines()), flush=True)
        passed &= tally.passed
        if not in_time:
            print(f"interrupted; go on with SEED={max(tally.seeds, default=chosen.seed - 1) + 1}")
            return 130
    return 0 if passed else 1


def _campaigns(database: str, chosen: argparse.Namespace) -> tuple[Tally, bool]:
    """Returns: what they came to, and whether they were not interrupted."""
    began = time.monotonic()
    tally = Tally(database, AIMED_AT)

    def heard(outcome: Outcome, tally: Tally) -> None:
        if outcome.is_red:
            print(told(outcome), flush=True)
        before = tally.kills - len(outcome.hits)
        if before // _TOLD_EVERY != tally.kills // _TOLD_EVERY:
            rate = tally.kills / (time.monotonic() - began)
            print(f"{database}: {tally.kills} kills, {rate:.1f} a second, {len(tally.red)} red", file=sys.stderr)

    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox())

        def server() -> Server:
            return stack.enter_context(serving())

        lab = Lab(sandbox, server)
        stack.callback(lab.close)
        try:
            run(
                lab,
                kills=chosen.kills,
                seed=chosen.seed,
                database=database,
                at_once=chosen.at_once,
                dispatchers=DISPATCHERS[chosen.dispatcher],
                heard=heard,
                tally=tally,
            )
        except KeyboardInterrupt:
            return tally, False
    return tally, True


if __name__ == "__main__":
    sys.exit(main())
