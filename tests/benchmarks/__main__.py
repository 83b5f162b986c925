"""What a start costs: `make bench`. Fresh processes, interleaved; medians, each as a ratio to its floor.

    python -m tests.benchmarks [--quick]

A ratio against a floor measured in the same run holds on a busy machine and on a slow one; seconds do not. Exits 1
when a limit is passed or a case does not run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks import dispatch, rotation, sandbox

BIN = Path(sys.executable).parent
PYTHON = sys.executable


@dataclass(frozen=True, slots=True)
class Case:
    """A command, the floor that it is compared with, and the most it may cost in floors (None: told, not judged)."""

    name: str
    command: tuple[str, ...]
    floor: str | None = None
    limit: float | None = None


CASES = (
    Case("python -c pass", (PYTHON, "-c", "pass")),
    Case("import azure_rotator", (PYTHON, "-c", "import azure_rotator"), "python -c pass", 1.5),
    Case("import pulumi", (PYTHON, "-c", "import pulumi")),
    Case(
        "from azure_rotator import RotatedSecret",
        (PYTHON, "-c", "from azure_rotator import RotatedSecret"),
        "import pulumi",
        1.3,
    ),
    Case("azure-rotator --help", (str(BIN / "azure-rotator"), "--help"), "python -c pass", 6.0),
    Case("azure-sandbox --help", (str(BIN / "azure-sandbox"), "--help"), "python -c pass"),
)


def measure(cases: tuple[Case, ...], rounds: int) -> dict[str, float]:
    """Median seconds of each case that runs; one round starts each once, so that a slow moment meets all of them."""
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    broken = set[str]()
    # Compiled modules are what users have after the first start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for number in range(rounds + 1):
        for case in cases:
            if case.name in broken:
                continue
            start = time.perf_counter()
            done = subprocess.run(case.command, env=environment, capture_output=True, text=True, check=False)
            took = time.perf_counter() - start
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no output"])[-1]
                print(f"{case.name} ended with {done.returncode}: {last}", file=sys.stderr)
                broken.add(case.name)
            elif number:  # the first round warms up
                seconds[case.name].append(took)
    return {name: median(values) for name, values in seconds.items() if values}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 25")
    quick = parser.parse_args().quick
    rounds = 5 if quick else 25
    medians = measure(CASES, rounds)
    print(f"median of {rounds} fresh processes each, interleaved\n")
    print(f"{'what':<42} {'ms':>7}  {'ratio':>6}  {'limit':>6}  floor")
    passed = True
    for case in CASES:
        if case.name not in medians or (case.floor and case.floor not in medians):
            print(f"{case.name:<42}  does not run")
            passed = False
            continue
        line = f"{case.name:<42} {medians[case.name] * 1000:7.1f}"
        if case.floor:
            ratio = medians[case.name] / medians[case.floor]
            over = case.limit is not None and ratio > case.limit
            passed &= not over
            line += f"  {ratio:6.2f}  {case.limit or '':>6}  {case.floor}{'  OVER THE LIMIT' if over else ''}"
        print(line)
    sandbox.report(quick=quick)
    rotation.report(quick=quick)
    dispatch.report(quick=quick)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
