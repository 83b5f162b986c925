"""A scheduler of its own process, with the real store, engine and loop, for an hour whose seconds follow each other at
once: what that hour costs, and what the process weighs meanwhile. Prints it as JSON.

    python -m tests.idle.process STORE_URL KEY_FILE BEGIN SECONDS
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from statistics import quantiles
from urllib.parse import parse_qs, urlsplit

from azure_rotator.cloud import ArmStorageKeys, EntraLogin, EntraUsers, GraphDirectory
from azure_rotator.config import Settings
from azure_rotator.dispatch.rows import RowsDispatcher
from azure_rotator.engine.context import Limits
from azure_rotator.scheduler.loop import Scheduler
from azure_rotator.wiring import SCHEDULER, SilentObserver, SystemEntropy, make_engine, open_store

SECOND = timedelta(seconds=1)
# After the first looks; half an hour before due dates are held against the rules of their zones again.
HOUR_BEGINS = timedelta(hours=5, minutes=30)
_TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    """A clock that is moved."""

    def __init__(self, begin: datetime) -> None:
        self._now = begin

    def now(self) -> datetime:
        return self._now

    def wait_until(self, instant: datetime) -> None:
        self._now = max(self._now, instant)


def measure(settings: Settings, begin: datetime, seconds: int) -> dict[str, float]:
    """What each second costs in milliseconds, and what the process weighs in megabytes."""
    clock, observer, entropy = Clock(begin), SilentObserver(), SystemEntropy()
    uow, sealer = open_store(settings, entropy, new=False)
    engine = make_engine(
        uow=uow,
        sealer=sealer,
        clock=clock,
        entropy=entropy,
        directory=GraphDirectory(),
        login=EntraLogin(),
        keys=ArmStorageKeys(),
        users=EntraUsers(),
        observer=observer,
        who=SCHEDULER,
        limits=Limits(),
    )
    scheduler = Scheduler(
        engine, lambda run, bell: RowsDispatcher(run, workers=8, bell=bell), clock=clock, observer=observer
    )
    # A thread each, as they have in earnest, one after the other.
    with ThreadPoolExecutor(1) as rotations, ThreadPoolExecutor(1) as chores:

        def second() -> None:
            rotations.submit(scheduler._tick).result()
            chores.submit(scheduler._do_chores).result()

        found = {"first_cpu_ms": _cpu_of(second)}
        clock.wait_until(begin + HOUR_BEGINS)
        second()
        found["rss_mb"] = _resident_mb()
        walls, cpus = [], []
        server = _server_seconds(settings.store_url)
        for number in range(1, seconds + 1):
            clock.wait_until(clock.now() + SECOND)
            wall = time.perf_counter()
            cpus.append(_cpu_of(second))
            walls.append((time.perf_counter() - wall) * 1000)
            if number == seconds // 4:
                found["rss_quarter_mb"] = _resident_mb()
        found["rss_end_mb"] = _resident_mb()
        found["server_cpu_ms"] = (_server_seconds(settings.store_url) - server) * 1000
    uow.close()
    found |= {"cpu_ms": sum(cpus), "longest_ms": max(walls)}
    for name, values in (("wall", walls), ("poll_cpu", cpus)):
        cuts = quantiles(values, n=100)
        found |= {f"{name}_p50_ms": cuts[49], f"{name}_p99_ms": cuts[98]}
    return found


def _cpu_of(run: Callable[[], object]) -> float:
    """Milliseconds of this process, all of its threads."""
    began = time.process_time()
    run()
    return (time.process_time() - began) * 1000


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _server_seconds(url: str) -> float:
    """CPU seconds of the database server's processes that are alive; 0 for SQLite, whose work is this process's."""
    hosts = parse_qs(urlsplit(url).query).get("host")
    if not hosts:
        return 0.0
    server = (Path(hosts[0]) / "postmaster.pid").read_text(encoding="ascii").split()[0]
    total = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if fields[1] == server:
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


if __name__ == "__main__":
    url, key_file, began_at, wanted = sys.argv[1:]
    chosen = Settings(store_url=url, key_file=Path(key_file))
    print(json.dumps(measure(chosen, datetime.fromisoformat(began_at), int(wanted))))
