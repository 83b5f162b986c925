"""``make load``: ten thousand items due within a minute, three schedulers on PostgreSQL, two of them killed on the way.

Exits 1 when an item was missed, rotated twice, lost or orphaned.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from azure_sandbox.testing import Sandbox
from tests.load.crowd import live
from tests.plugins.postgres import serving

_DISPATCHERS = {"rows": ("rows",), "procrastinate": ("procrastinate",), "both": ("rows", "procrastinate")}
_MOST_SHOWN = 20


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="a crowd that is due at once")
    parser.add_argument("--items", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--within", type=int, default=60, help="seconds in which they are due (60)")
    parser.add_argument("--tenants", type=int, default=1, help="how many share them (1)")
    parser.add_argument("--replicas", type=int, default=3, help="schedulers; all but one are killed on the way (3)")
    parser.add_argument("--workers", type=int, default=8, help="threads of each (8)")
    parser.add_argument("--dispatcher", choices=_DISPATCHERS, default="rows", help="of the replicas, in turn (rows)")
    chosen = parser.parse_args()
    dispatchers = _DISPATCHERS[chosen.dispatcher]
    with tempfile.TemporaryDirectory() as folder, serving() as server, Sandbox() as sandbox:
        _, report = live(
            sandbox,
            server.create(),
            Path(folder),
            items=chosen.items,
            tenants=chosen.tenants,
            within=chosen.within,
            workers=chosen.workers,
            options=[_flags(dispatchers[number % len(dispatchers)]) for number in range(chosen.replicas)],
        )
    print("\n".join(report.lines()), flush=True)
    for line in report.wrong[:_MOST_SHOWN]:
        print(f"  {line}")
    return 1 if report.wrong or report.killed != chosen.replicas - 1 else 0


def _flags(dispatcher: str) -> tuple[str, ...]:
    return () if dispatcher == "rows" else ("--dispatcher", dispatcher)


if __name__ == "__main__":
    raise SystemExit(main())
