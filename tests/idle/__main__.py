"""``make idle``: what a scheduler costs that has nothing to do, with a thousand items and with a million.

    python -m tests.idle [--quick] [--database sqlite|postgresql|both]

Each line is a process of its own. An hour is 3,600 polls, a second apart by a clock that is moved; the CPU time that
they took, divided by the hour, is the share of a core. In it lie the hourly look for notices, the look at the rules of
zones that happens every six hours, and the looks for orphans that so many items bring. Exits 1 when a limit is passed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure_rotator.config import Settings
from azure_rotator.crypto.keyring import create_key_file, make_key
from azure_rotator.wiring import SystemEntropy, open_store
from azure_sandbox.testing import Sandbox
from tests.idle.estate import fill
from tests.idle.process import HOUR_BEGINS
from tests.plugins.postgres import Postgres, serving

_DATABASES = {"sqlite": ("sqlite",), "postgresql": ("postgresql",), "both": ("sqlite", "postgresql")}
_OWNED_BY = "Application.ReadWrite.OwnedBy"
_HOUR = 3_600
# Each item rotates once in 90 days; its application is looked at a day after that, and a day after the old one is gone.
_SWEEPS_AN_HOUR = 2 / 90 / 24

# What examples/scheduler sets.
_AS_DEPLOYED = {"MALLOC_ARENA_MAX": "1"}

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How many items, for how many seconds."""

    items: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most that something may be.

    Args:
        found: From the figures, by items.
    """

    name: str
    most: float
    found: Callable[[dict[int, Figures]], float]


_CASES = (
    Case(items=1_000, seconds=_HOUR),
    Case(items=10_000, seconds=_HOUR),
    Case(items=100_000, seconds=_HOUR),
    Case(items=1_000_000, seconds=_HOUR),
)
_QUICK = (Case(items=1_000, seconds=60), Case(items=10_000, seconds=60))
_LIMITS = (
    Limit(name="share of a core with 100,000 items, %", most=1.0, found=lambda f: _share(f[100_000], _HOUR)),
    Limit(
        name="memory with 100,000 items to that with 1,000",
        most=1.1,
        found=lambda f: f[100_000]["rss_end_mb"] / f[1_000]["rss_end_mb"],
    ),
    Limit(
        name="memory after the hour to that at its begin",
        most=1.05,
        found=lambda f: f[100_000]["rss_end_mb"] / f[100_000]["rss_mb"],
    ),
    Limit(name="memory with 100,000 items, MB", most=120.0, found=lambda f: f[100_000]["rss_end_mb"]),
    Limit(
        name="a poll with 1,000,000 items to one with 10,000",
        most=2.0,
        found=lambda f: f[1_000_000]["wall_p50_ms"] / f[10_000]["wall_p50_ms"],
    ),
    Limit(name="a poll with 1,000,000 items, ms", most=10.0, found=lambda f: f[1_000_000]["wall_p50_ms"]),
)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.idle", description="the cost of having nothing to do")
    parser.add_argument("--quick", action="store_true", help="a minute with 1,000 and 10,000 items: does it run")
    parser.add_argument("--database", choices=_DATABASES, default="both", help="where the stores are (both)")
    chosen = parser.parse_args()
    is_fine = True
    for database in _DATABASES[chosen.database]:
        print(f"{database:<12}{'one core':>10}{'poll, wall ms':>18}{'poll':>9}{'longest':>10}{'resident MB':>22}")
        print(f"{'items':<12}{'%':>10}{'p50':>9}{'p99':>9}{'CPU ms':>9}{'ms':>10}{'begin':>8}{'1/4':>7}{'end':>7}")
        found: dict[int, Figures] = {}
        with serving() if database == "postgresql" else nullcontext() as server, Sandbox() as sandbox:
            for case in _QUICK if chosen.quick else _CASES:
                found[case.items] = _measured(case, sandbox, server)
                print(_line(case, found[case.items]), flush=True)
        for limit in () if chosen.quick else _LIMITS:
            value = limit.found(found)
            print(f"  {limit.name:<50}{value:8.2f}, at most {limit.most:g}{'' if value <= limit.most else ': OVER'}")
            is_fine &= value <= limit.most
    return 0 if is_fine else 1


def _line(case: Case, found: Figures) -> str:
    server = f"  (and the server {found['server_cpu_ms'] / case.seconds / 10:.2f}%)" if found["server_cpu_ms"] else ""
    return (
        f"{case.items:<12,}{_share(found, case.seconds):10.2f}{found['wall_p50_ms']:9.2f}{found['wall_p99_ms']:9.2f}"
        f"{found['poll_cpu_p50_ms']:9.2f}{found['longest_ms']:10.0f}"
        f"{found['rss_mb']:8.1f}{found['rss_quarter_mb']:7.1f}{found['rss_end_mb']:7.1f}{server}"
    )


def _share(found: Figures, seconds: int) -> float:
    """Of a core, in percent."""
    return found["cpu_ms"] / seconds / 10


def _measured(case: Case, sandbox: Sandbox, server: Postgres | None) -> Figures:
    control = sandbox.control
    tenant_id = control.create_tenant().tenant_id
    rotator = control.create_application(tenant=tenant_id, roles=[_OWNED_BY], secrets=[{"name": "boot"}])
    begin = datetime.now(UTC).replace(microsecond=0)
    # One before the hour begins, so that every process has met Azure and holds its SDKs.
    count = round(case.items * _SWEEPS_AN_HOUR * case.seconds / _HOUR)
    seconds = (1 + case.seconds * number // count for number in range(count))
    sweeps = {}
    for at in (begin, *(begin + HOUR_BEGINS + timedelta(seconds=one) for one in seconds)):
        made = control.create_application(tenant=tenant_id, owners=[rotator.app_id], secrets=[{"name": "foreign"}])
        sweeps[made.app_id] = at
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        key_file = Path(folder) / "key" / "store.key"
        url = f"sqlite:///{folder}/data/store.db"
        entropy = SystemEntropy()
        if server is not None:
            url = server.create()
            stack.callback(server.drop, url)
            create_key_file(key_file, make_key(entropy), store_folder=None)
        uow, sealer = open_store(Settings(store_url=url, key_file=key_file), entropy)
        uow.close()
        acting = (tenant_id, rotator.app_id, rotator.secrets["boot"])
        fill(url, sealer, case.items, now=begin, acting=acting, sweeps=sweeps)
        command = [sys.executable, "-m", "tests.idle.process", url, str(key_file), begin.isoformat(), str(case.seconds)]
        environment = sandbox.environment() | _AS_DEPLOYED
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        found: Figures = json.loads(done.stdout)
        return found


if __name__ == "__main__":
    sys.exit(main())
