"""Who calls ``run``: rows on both databases against jobs of procrastinate, everything real but Azure.

The rotator answers at once, the rest is the product: store, engine, scheduler, processes. Both databases lie in memory
where the machine can, so that no disk is waited for. The figures are this machine's; what matters is how the three
stand to each other.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import Table, func, insert, select, update

from azure_rotator.config import PROCRASTINATE, ROWS, Settings
from azure_rotator.crypto.keyring import create_key_file, make_key
from azure_rotator.domain.errors import Reach, Unavailable
from azure_rotator.domain.model import ConnectionType, Mint, RotationState, RotatorType, Trigger
from azure_rotator.domain.ports import (
    Adoption,
    Job,
    Minted,
    PasswordCredential,
    Plan,
    Recovery,
    Removal,
    Sealer,
    Subject,
    UnitOfWork,
)
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import Context, Limits, version_place
from azure_rotator.engine.service import Engine
from azure_rotator.scheduler.loop import Scheduler
from azure_rotator.store import tables
from azure_rotator.store.connect import Database
from azure_rotator.store.location import locate
from azure_rotator.wiring import SilentObserver, SystemClock, SystemEntropy, dispatcher_maker, make_queue, open_store
from tests.plugins.postgres import serving
from tests.store import samples

LEASE_SECONDS = 5.0
_WORKERS, _PROCESSES = 4, 2
_GLANCE_SECONDS = 0.02
_PATIENCE_SECONDS = 300.0
_POLL = timedelta(seconds=1)


class Instant:
    """Implements ``ports.Rotator`` without any Azure.

    Args:
        mint: What else a mint does; it may raise.
    """

    def __init__(self, mint: Callable[[], None] = lambda: None) -> None:
        self._mint = mint

    def examine(self, subject: Subject) -> Adoption | None:
        raise NotImplementedError("items are put into the store as they are")

    def observe(self, subject: Subject, key_id: str) -> SecretText | None:
        return None

    def prepare(self, job: Job) -> Plan:
        return Plan(object_id=job.item.item_id)

    def mint(self, job: Job, plan: Plan, mint_id: str, end_at: datetime) -> Minted:
        job.guard()
        self._mint()
        return Minted(key_id=str(uuid4()), value=SecretText("x" * 40), expires_at=end_at)

    def recover(self, job: Job, mint: Mint) -> Recovery:
        return Recovery(absent=True)

    def prove(self, job: Job, key_id: str, value: SecretText) -> None:
        """It is accepted."""

    def remove(self, job: Job, key_id: str) -> Removal:
        job.guard()
        return Removal.REMOVED

    def check_removal(self, subject: Subject, key_ids: Sequence[str]) -> None:
        """It would be let."""

    def sweep(self, job: Job) -> Sequence[PasswordCredential]:
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A store, and who runs what is due on it."""

    url: str
    key_file: str
    dispatcher: str
    lease_seconds: float = 30.0

    @property
    def settings(self) -> Settings:
        return Settings(
            store_url=self.url,
            key_file=Path(self.key_file),
            dispatcher=self.dispatcher,
            lease_seconds=self.lease_seconds,
        )

    @contextmanager
    def scheduler(self, rotator: Instant, *, workers: int = _WORKERS) -> Iterator[tuple[Engine, Scheduler]]:
        """An engine and its scheduler, as a process has them."""
        uow, sealer = open_store(self.settings, SystemEntropy())
        engine = _engine(uow, sealer, rotator, self.lease_seconds)
        made = dispatcher_maker(self.settings, store_id=engine.store_id, workers=workers, poll=_POLL)
        try:
            yield engine, Scheduler(engine, made, clock=SystemClock(), observer=SilentObserver(), poll=_POLL)
        finally:
            uow.close()

    def fill(self, count: int, *, tenants: int) -> None:
        """So many items, none of which is due yet."""
        uow, sealer = open_store(self.settings, SystemEntropy())
        uow.close()
        make_queue(self.settings)
        filled = (tables.targets, tables.items, tables.rotations, tables.versions)
        rows: dict[Table, list[dict[str, Any]]] = {table: [] for table in filled}
        targets = [
            samples.target(
                name=f"/azure/{number}",
                connection_type=ConnectionType.CLOUD_IDENTITY,
                tenant_id=f"00000000-0000-4000-9000-{number:012d}",
                client_id=None,
                sealed_secret=None,
            )
            for number in range(tenants)
        ]
        for number in range(count):
            target = targets[number % tenants]
            item = samples.item(target.target_id, name=f"/bench/{number}", app_id=str(uuid4()), revoke_after="0")
            lane = f"application:{target.tenant_id}:{item.app_id}"
            first = samples.rotation(item.item_id, lane=lane, trigger=Trigger.CREATE, state=RotationState.DONE)
            version_id = samples.new_id()
            value = sealer.seal(SecretText("x" * 40), version_place(version_id, 1))
            version = samples.version(
                item.item_id, first.rotation_id, version_id=version_id, key_id=str(uuid4()), sealed_value=value
            )
            rows[tables.items].append(tables.values_of(item))
            rows[tables.rotations].append(tables.values_of(first))
            rows[tables.versions].append(tables.values_of(version) | {"key_id_lower": version.key_id})
        rows[tables.targets] = [tables.values_of(target) for target in targets]
        with self._writing() as connection:
            for table, values in rows.items():
                connection.execute(insert(table), values)

    def make_due(self) -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        with self._writing() as connection:
            connection.execute(update(tables.items).values(next_rotation_at=now))

    def make_planned_due(self) -> None:
        """As after a downtime: what the budget had spread is due at once."""
        now = datetime.now(UTC).replace(microsecond=0)
        with self._writing() as connection:
            open_ones = tables.rotations.c.state == RotationState.PLANNED.value
            connection.execute(update(tables.rotations).where(open_ones).values(next_attempt_at=now))

    def rotated(self) -> int:
        """How many rotations are at their end, besides the first ones."""
        done = (tables.rotations.c.state == RotationState.DONE.value) & (tables.rotations.c.trigger != "create")
        with self._writing() as connection:
            return int(connection.execute(select(func.count()).select_from(tables.rotations).where(done)).scalar_one())

    def wait_for(self, count: int) -> float:
        """Until so many are. Returns: when, of the monotonic clock."""
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while self.rotated() < count:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{self.rotated()} of {count} rotations are done")
            time.sleep(_GLANCE_SECONDS)
        return time.monotonic()

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        database = Database(locate(self.url))
        try:
            with database.writing() as connection:
                yield connection
        finally:
            database.close()


def report(*, quick: bool) -> None:
    """Print it."""
    count, crowd = (100, 300) if quick else (1_000, 5_000)
    print(
        f"\n{'who calls run, Azure answers at once':<52}{'SQLite rows':>14}{'PostgreSQL rows':>17}{'procrastinate':>15}"
    )
    lines: dict[str, list[str]] = {}
    with serving() as server, _folder() as folder:
        for number, (database, dispatcher) in enumerate(
            (("sqlite", ROWS), ("postgresql", ROWS), ("postgresql", PROCRASTINATE))
        ):

            def case(what: str, number: int = number, database: str = database, dispatcher: str = dispatcher) -> Case:
                home = folder / f"{number}-{what}"
                url = server.create() if database == "postgresql" else f"sqlite:///{home}/data/store.db"
                key_file = home / "key" / "store.key"
                create_key_file(key_file, make_key(SystemEntropy()), store_folder=home / "data")
                return Case(url=url, key_file=str(key_file), dispatcher=dispatcher)

            rate = case("rate")
            line = lines.setdefault
            rotations = f"{count} rotations, {_PROCESSES} processes of {_WORKERS} workers"
            line(rotations, []).append(f"{_rate(rate, count):.0f} a second")
            wall, cpu = _empty_poll(rate, 50 if quick else 300)
            line("a poll that finds nothing, median", []).append(f"{wall * 1000:.1f} ms")
            line("CPU of the process for it", []).append(f"{cpu * 1000:.1f} ms")
            takeover = [_takeover(case(f"takeover-{one}")) for one in range(1 if quick else 5)]
            line(f"takeover after kill -9, lease of {LEASE_SECONDS:g} s", []).append(
                f"{min(takeover):.1f}-{max(takeover):.1f} s"
            )
            paused = f"dispatches, {crowd} due in a tenant that throttles"
            line(paused, []).append(str(_dispatched(case("paused"), crowd)))
    for name, (sqlite, rows, jobs) in lines.items():
        print(f"{name:<52}{sqlite:>14}{rows:>17}{jobs:>15}")


def _rate(case: Case, count: int) -> float:
    case.fill(count, tenants=max(1, count // 100))
    with _process(case), _process(case):
        began = time.monotonic()
        case.make_due()
        return count / (case.wait_for(count) - began)


def _empty_poll(case: Case, rounds: int) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    walls = []
    with case.scheduler(Instant()) as (_, scheduler):
        scheduler._tick()
        cpu = time.process_time()
        for _ in range(rounds):
            began = time.perf_counter()
            scheduler._tick()
            walls.append(time.perf_counter() - began)
        cpu = time.process_time() - cpu
        scheduler._dispatcher.close()
    return median(walls), cpu / rounds


def _takeover(case: Case) -> float:
    """From the kill of a process that is at a mint until another one has ended the rotation."""
    case = replace(case, lease_seconds=LEASE_SECONDS)
    case.fill(1, tenants=1)
    with _process(case, hangs=True) as victim:
        case.make_due()
        assert victim.stdout is not None
        assert victim.stdout.readline() == "minting\n"
        with _process(case):
            victim.kill()
            began = time.monotonic()
            return case.wait_for(1) - began


def _dispatched(case: Case, crowd: int) -> int:
    """How often ``run`` is called before a tenant that asks for a pause is left alone."""
    case.fill(crowd, tenants=1)
    case.make_due()

    def throttled() -> None:
        raise Unavailable("AzureThrottled", "not now", retry_after_seconds=3600.0, applied="no", reach=Reach.TENANT)

    with case.scheduler(Instant(throttled)) as (engine, scheduler):
        engine.planner.plan_due()
        case.make_planned_due()
        return sum(scheduler.once().endings.values())


def _engine(uow: UnitOfWork, sealer: Sealer, rotator: Instant, lease_seconds: float) -> Engine:
    return Engine(
        Context(
            uow=uow,
            sealer=sealer,
            references=cast(Any, None),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            directory=cast(Any, None),
            login=cast(Any, None),
            keys=cast(Any, None),
            observer=SilentObserver(),
            rotators=dict.fromkeys(RotatorType, rotator),
            checkers={},
            notifiers={},
            who="bench",
            worker=str(uuid4()),
            limits=Limits(heartbeat_seconds=lease_seconds / 3),
        )
    )


@contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="azr-bench-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _process(case: Case, *, hangs: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A scheduler that goes on until the end of the context."""
    order = json.dumps(asdict(case) | {"hangs": hangs})
    command = [sys.executable, "-m", "tests.benchmarks.dispatch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def main() -> None:
    """The process: its order is a line on stdin."""
    order = json.loads(sys.stdin.readline())
    hangs = order.pop("hangs")

    def hang() -> None:
        print("minting", flush=True)
        threading.Event().wait()

    with Case(**order).scheduler(Instant(hang) if hangs else Instant()) as (_, scheduler):
        scheduler._engine.sweep_some = lambda: False  # type: ignore[method-assign]  # here is no Azure to look at
        signal.signal(signal.SIGTERM, lambda *_: scheduler.stop())
        print("ready", flush=True)
        scheduler.run()


if __name__ == "__main__":
    main()
