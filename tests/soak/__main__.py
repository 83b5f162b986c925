"""``make soak``: three years of two thousand items on both databases. Exits 1 when a due date was not served once."""

from __future__ import annotations

import argparse
import tempfile
import time

from tests.plugins.postgres import serving
from tests.soak.years import Report, Years

_DATABASES = {"sqlite": ("sqlite",), "postgresql": ("postgresql",), "both": ("sqlite", "postgresql")}
_MOST_SHOWN = 20


def main() -> int:
    """Live them, print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="years of rotations, in minutes")
    parser.add_argument("--items", type=int, default=2_000, help="how many items (2000)")
    parser.add_argument("--years", type=float, default=3.0, help="how long (3)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is left to chance (1)")
    parser.add_argument("--database", choices=_DATABASES, default="both", help="where the stores are (both)")
    chosen = parser.parse_args()
    is_fine = True
    for database in _DATABASES[chosen.database]:
        began = time.monotonic()
        report = _lived(database, chosen)
        print(f"{database}, {chosen.years:g} years, {time.monotonic() - began:.0f} s: {report}", flush=True)
        for line in report.wrong[:_MOST_SHOWN]:
            print(f"  {line}")
        is_fine &= not report.wrong
    return 0 if is_fine else 1


def _lived(database: str, chosen: argparse.Namespace) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        if database == "sqlite":
            return _years(f"sqlite:///{folder}/data/store.db", chosen)
        with serving() as server:
            return _years(server.create(), chosen)


def _years(url: str, chosen: argparse.Namespace) -> Report:
    return Years(url, items=chosen.items, years=chosen.years, seed=chosen.seed).live()


if __name__ == "__main__":
    raise SystemExit(main())
