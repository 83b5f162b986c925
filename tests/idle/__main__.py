"""``make idle``: what a scheduler costs that has nothing to do, with a thousand items and with a million.

    python -m tests.idle [--items N ...] [--seconds S] [--database sqlite|postgresql|both]

Each line is a process of its own. An hour is 3,600 polls, a second apart by a clock that is moved; the CPU time that
they took, divided by the hour, is the share of a core. In it lie the hourly look for notices, the look at the rules of
zones that happens every six hours, and the looks for orphans that so many items bring: their number is the last
column. A look is some ten times the work of a poll, and two or three polls of a minute make them all: they are in the
share and in p99, and not in p50. Exits 1 when a limit is passed; a part (``--items``, ``--seconds``) is not judged.
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
class Limit:
    """The most that something may be.

    Args:
        found: From the figures, by items.
    """

    name: str
    most: float
    found: Callable[[dict[int, Figures]], float]


_ITEMS = [1_000, 10_000, 100_000, 1_000_000]
_HEADS = (
    "{:<12}  one core     poll, wall ms     poll   longest           resident MB  orphan",
    "{:<12}         %      p50      p99   CPU ms        ms   begin    1/4    end   looks",
)
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
    parser.add_argument("--items", type=int, nargs="+", default=_ITEMS, help="how many, by the thousand")
    parser.add_argument("--seconds", type=int, default=_HOUR, help=f"how many polls ({_HOUR})")
    parser.add_argument("--database", choices=_DATABASES, default="both", help="where the stores are (both)")
    chosen = parser.parse_args()
    is_whole = chosen.items == _ITEMS and chosen.seconds == _HOUR
    is_fine = True
    for database in _DATABASES[chosen.database]:
        print(_HEADS[0].format(database), _HEADS[1].format("items"), sep="\n")
        found: dict[int, Figures] = {}
        with serving() if database == "postgresql" else nullcontext() as server, Sandbox() as sandbox:
            for items in chosen.items:
                found[items] = _measured(items, chosen.seconds, sandbox, server)
                print(_line(items, chosen.seconds, found[items]), flush=True)
        for limit in _LIMITS if is_whole else ():
            value = limit.found(found)
            print(f"  {limit.name:<50}{value:8.2f}, at most {limit.most:g}{'' if value <= limit.most else ': OVER'}")
            is_fine &= value <= limit.most
    return 0 if is_fine else 1


def _line(items: int, seconds: int, found: Figures) -> str:
    server = f"  (and the server {found['server_cpu_ms'] / seconds / 10:.2f}%)" if found["server_cpu_ms"] else ""
    return (
        f"{items:<12,}{_share(found, seconds):10.2f}{found['wall_p50_ms']:9.2f}{found['wall_p99_ms']:9.2f}"
        f"{found['poll_cpu_p50_ms']:9.2f}{found['longest_ms']:10.0f}"
        f"{found['rss_mb']:8.1f}{found['rss_quarter_mb']:7.1f}{found['rss_end_mb']:7.1f}{found['looks']:8.0f}{server}"
    )


def _share(found: Figures, seconds: int) -> float:
    """Of a core, in percent."""
    return found["cpu_ms"] / seconds / 10


def _measured(items: int, seconds: int, sandbox: Sandbox, server: Postgres | None) -> Figures:
    control = sandbox.control
    tenant_id = control.create_tenant().tenant_id
    rotator = control.create_application(tenant=tenant_id, roles=[_OWNED_BY], secrets=[{"name": "boot"}])
    begin = datetime.now(UTC).replace(microsecond=0)
    # One before the hour begins, so that every process has met Azure and holds its SDKs.
    count = round(items * _SWEEPS_AN_HOUR * seconds / _HOUR)
    looks = (timedelta(seconds=1 + seconds * number // count) for number in range(count))
    sweeps = {}
    for at in (begin, *(begin + HOUR_BEGINS + look for look in looks)):
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
        fill(url, sealer, items, now=begin, acting=acting, sweeps=sweeps)
        command = [sys.executable, "-m", "tests.idle.process", url, str(key_file), begin.isoformat(), str(seconds)]
        environment = sandbox.environment() | _AS_DEPLOYED
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        found: Figures = json.loads(done.stdout)
        return found | {"looks": count}


if __name__ == "__main__":
    sys.exit(main())
