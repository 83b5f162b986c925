"""Thousands of items due within a minute, several schedulers, some of them killed; then everything is counted.

    ready ──> due ──> replicas rotate ──kill──> the others go on ──> count in Azure's journal and in the store

Each item is an application of its own. What is counted is the sandbox's truth: what was minted and when, what is alive,
which value logs in; the store only says which of it somebody answers for.
"""

from __future__ import annotations

import math
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure_rotator.config import Settings
from azure_rotator.crypto.keyring import create_key_file, make_key
from azure_rotator.domain.errors import Corrupt
from azure_rotator.domain.model import Origin, RotationState, Stage, Trigger
from azure_rotator.domain.ports import Sealer, UnitOfWork
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import target_place, version_place
from azure_rotator.wiring import SystemEntropy, open_store
from azure_sandbox.clock import parse_instant
from azure_sandbox.testing import ApplicationInfo, JournalEntry, Sandbox
from tests.crash.estate import OWNED_BY
from tests.store import samples
from tests.store.inspection import outside_of

# Graph's documented limit: 3,000 identity writes in 150 seconds for each application and tenant.
ALLOWED_PER_SECOND = 20.0
_SOON = timedelta(seconds=10)
# Longer than a lease and a back-off: when nothing was published for so long, nothing will be.
_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.5
Options = Sequence[Sequence[str]]
_COMMAND = str(Path(sys.executable).parent / "azure-rotator")
_PLANNED = re.compile(r"rotation planned\" .*?path=(\S+).*?start_at=(\S+)")


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of it.

    Args:
        start_delays: Seconds between an item's due instant and the request that mints its secret.
        slot_delays: Seconds between the instant that its budget gave it and that request.
        share: Mints per second, of the first to the last one, against what Graph allows all tenants.
        never_kept: Mints whose process was killed before it could keep the secret, which whoever took over has removed.
        wrong: Each item that was missed, rotated twice, or has lost its value; each secret nobody answers for.
    """

    items: int
    replicas: int
    killed: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    start_delays: list[float] = field(default_factory=list)
    slot_delays: list[float] = field(default_factory=list)
    share: float = 0.0
    never_kept: int = 0
    throttled: int = 0
    missed: int = 0
    doubled: int = 0
    lost: int = 0
    orphaned: int = 0
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """To be read."""
        yield f"items {self.items}, replicas {self.replicas}, killed {self.killed}, mints never kept {self.never_kept}"
        yield f"missed {self.missed}, doubled {self.doubled}, lost {self.lost}, orphaned {self.orphaned}"
        yield f"all published {self.seconds:.0f} s after the first was due; the replicas' CPU {self.cpu_seconds:.0f} s"
        yield f"start delay after the due instant: {_percentiles(self.start_delays)}"
        yield f"start delay after the slot that the budget gave: {_percentiles(self.slot_delays)}"
        yield f"share of the allowed rate: {self.share:.0%}; answered with 429: {self.throttled}"


def _percentiles(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    if not ordered:
        return "not known"

    def at(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return f"p50 {at(0.5):.1f} s, p99 {at(0.99):.1f} s, longest {ordered[-1]:.1f} s"


class Crowd:
    """Applications in the sandbox, and a store whose items are about to be due.

    Args:
        url: Of a store that does not exist yet.
        folder: For its key and the replicas' logs.
        tenants: How many share the items; each has a Target, and a budget, of its own.
    """

    def __init__(
        self, sandbox: Sandbox, url: str, folder: Path, *, items: int, tenants: int, lease_seconds: float
    ) -> None:
        self._sandbox = sandbox
        self._url = url
        self._folder = folder
        key_file = folder / "store.key"
        create_key_file(key_file, make_key(SystemEntropy()), store_folder=None)
        self.settings = Settings(store_url=url, key_file=key_file, lease_seconds=lease_seconds)
        self._apps: dict[str, ApplicationInfo] = {}
        self._due: dict[str, datetime] = {}
        # What the limits are is Azure's affair here, too: who is too fast gets a 429.
        sandbox.control.set_behaviour(throttle_scale=1)
        store, sealer = open_store(self.settings, SystemEntropy())
        with closing(store):
            for number in range(tenants):
                self._add_tenant(store, sealer, number, range(number, items, tenants))

    def _add_tenant(self, store: UnitOfWork, sealer: Sealer, number: int, items: range) -> None:
        control = self._sandbox.control
        tenant_id = control.create_tenant().tenant_id
        rotator = control.create_application(tenant=tenant_id, roles=[OWNED_BY], secrets=[{"name": "boot"}])
        target_id = samples.new_id()
        target = samples.target(
            target_id=target_id,
            name=f"/azure/{number}",
            tenant_id=tenant_id,
            client_id=rotator.app_id,
            sealed_secret=sealer.seal(SecretText(rotator.secrets["boot"]), target_place(target_id, 1)),
        )
        store.insert_target(target, samples.line("create_target", target.name))
        later = datetime.now(UTC).replace(microsecond=0) + samples.DAY
        for one in items:
            app = control.create_application(tenant=tenant_id, owners=[rotator.app_id], secrets=[{"name": "boot"}])
            name = f"/crowd/{one:06d}"
            made = samples.item(
                target.target_id, name=name, app_id=app.app_id, next_rotation_at=later, rotation_interval=90
            )
            first = samples.rotation(made.item_id, trigger=Trigger.CREATE, state=RotationState.DONE)
            version_id = samples.new_id()
            version = samples.version(
                made.item_id,
                first.rotation_id,
                version_id=version_id,
                origin=Origin.ADOPTED,
                key_id=control.secrets(app.app_id)[0].key_id,
                sealed_value=sealer.seal(SecretText(app.secrets["boot"]), version_place(version_id, 1)),
            )
            store.insert_item(made, version, first, samples.line(path=name))
            self._apps[name] = app

    def make_due(self, within_seconds: int) -> datetime:
        """Every item becomes due within so many seconds, soon. Returns: when the first one does."""
        begin = datetime.now(UTC).replace(microsecond=0) + _SOON
        outside = outside_of(self._url)
        # A due instant is kept in whole seconds.
        for second in range(within_seconds):
            due = begin + timedelta(seconds=second)
            names = sorted(self._apps)[second::within_seconds]
            self._due |= dict.fromkeys(names, due)
            if names:
                marks = ", ".join("?" * len(names))
                outside.execute(f"UPDATE items SET next_rotation_at = ? WHERE name IN ({marks})", due, *names)  # noqa: S608
        return begin

    def published(self) -> int:
        """How many items are rotated by now."""
        found = outside_of(self._url).execute("SELECT count(*) FROM versions WHERE number > 1 AND stage = 'current'")
        return int(str(found[0][0]))

    # --- then

    def count(self, report: Report, logs: Sequence[Path]) -> None:
        """Hold the journal of Azure, and what is true there, against the store."""
        control = self._sandbox.control
        mints = [e for e in control.journal(operation="graph.addPassword") if e.committed]
        report.throttled = sum(e.status == 429 for e in control.journal())
        by_app = Counter(entry.app_id for entry in mints)
        alive = Counter(s.app_id for s in control.secrets() if s.is_alive and s.origin == "minted")
        report.never_kept = sum(by_app.values()) - sum(alive.values())
        store, sealer = open_store(self.settings, SystemEntropy())
        with closing(store):
            for name, app in self._apps.items():
                report.wrong += self._judged(report, store, sealer, name, alive[app.app_id])
        self._time(report, mints, _slots_of(logs))

    def _judged(self, report: Report, store: UnitOfWork, sealer: Sealer, name: str, alive: int) -> list[str]:
        item = store.find_item(name=name)
        assert item is not None
        versions = [v for v in store.versions(item.item_id) if v.number > 1 and v.stage is not Stage.ABANDONED]
        current = next((v for v in versions if v.stage is Stage.CURRENT), None)
        wrong = []
        if current is None or current.sealed_value is None:
            report.missed += 1
            return [f"{name}: nobody rotated it"]
        if len(versions) > 1:
            report.doubled += 1
            wrong.append(f"{name}: was rotated {len(versions)} times")
        if alive > len(versions):
            report.orphaned += alive - len(versions)
            wrong.append(f"{name}: {alive} new secrets are alive in Azure, the store has {len(versions)}")
        real = None
        with suppress(Corrupt):  # what does not open logs in nowhere
            value = sealer.open(current.sealed_value, version_place(current.version_id, current.number)).reveal()
            real = self._sandbox.control.verify(self._apps[name].app_id, value)
        if real is None or real.key_id.lower() != current.key_id.lower() or real.state != "valid":
            report.lost += 1
            wrong.append(f"{name}: its current value does not log in")
        return wrong

    def _time(self, report: Report, mints: Sequence[JournalEntry], slots: dict[str, datetime]) -> None:
        name_of = {app.app_id: name for name, app in self._apps.items()}
        first: dict[str, datetime] = {}
        for entry in mints:
            first.setdefault(name_of[str(entry.app_id)], parse_instant(entry.at))
        report.start_delays = [(at - self._due[name]).total_seconds() for name, at in first.items()]
        report.slot_delays = [(at - slots[name]).total_seconds() for name, at in first.items() if name in slots]
        tenants = len({app.tenant_id for app in self._apps.values()})
        busy = (max(first.values()) - min(first.values())).total_seconds() if first else 0.0
        report.share = len(mints) / (busy * ALLOWED_PER_SECOND * tenants) if busy else 0.0


def _slots_of(logs: Sequence[Path]) -> dict[str, datetime]:
    """When each item's rotation was to begin, as whoever planned it wrote into his log."""
    found = (match for log in logs for match in _PLANNED.finditer(log.read_text()))
    return {match[1]: parse_instant(match[2]) for match in found}


class Replicas:
    """Scheduler processes, as a person starts them.

    Args:
        options: Further flags of each one.
    """

    def __init__(self, sandbox: Sandbox, settings: Settings, folder: Path, *, workers: int, options: Options) -> None:
        self.logs = [folder / f"replica-{number}.log" for number in range(len(options))]
        variables = {
            "AZURE_ROTATOR_STORE": settings.store_url,
            "AZURE_ROTATOR_KEY_FILE": str(settings.key_file),
            "AZURE_ROTATOR_LEASE": str(settings.lease_seconds),
        }
        environment = sandbox.environment(os.environ | variables)
        self._processes = []
        for log, chosen in zip(self.logs, options, strict=True):
            with log.open("wb") as file:
                command = [_COMMAND, "scheduler", "run", "--workers", str(workers), *chosen]
                self._processes.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))

    def look(self, seconds: float) -> None:
        """Wait so long for one that ends by itself.

        Raises:
            RuntimeError: One did.
        """
        try:
            code = self._processes[-1].wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise RuntimeError(f"a replica ended with {code}: {self.logs[-1].read_text()[-2_000:]}")

    def kill(self) -> None:
        """``kill -9`` for the first that is left."""
        victim = self._processes.pop(0)
        victim.kill()
        victim.wait()

    def stop(self) -> None:
        """SIGTERM for all that are left."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()


@contextmanager
def _running(replicas: Replicas) -> Iterator[Replicas]:
    """They end with the context."""
    try:
        yield replicas
    finally:
        replicas.stop()


def live(
    sandbox: Sandbox,
    url: str,
    folder: Path,
    *,
    items: int,
    tenants: int,
    within: int,
    workers: int,
    options: Options,
    lease_seconds: float = 30.0,
) -> tuple[Crowd, Report]:
    """Make them, let them be due, kill all replicas but one on the way, wait for the end, count.

    Args:
        within: Seconds in which they are due.
        options: Flags of each replica.
        lease_seconds: For so long what a killed one had in hand waits for another one.
    """
    crowd = Crowd(sandbox, url, folder, items=items, tenants=tenants, lease_seconds=lease_seconds)
    report = Report(items=items, replicas=len(options))
    kills_at = [math.ceil(items * number / len(options)) for number in range(1, len(options))]
    cpu = _cpu_of_children()
    with _running(Replicas(sandbox, crowd.settings, folder, workers=workers, options=options)) as replicas:
        begin = crowd.make_due(within)
        done, moved_at = 0, time.monotonic()
        while done < items and time.monotonic() - moved_at < _PATIENCE_SECONDS:
            replicas.look(_LOOK_SECONDS)
            before, done = done, crowd.published()
            if done != before:
                moved_at = time.monotonic()
            while report.killed < len(kills_at) and done >= kills_at[report.killed]:
                replicas.kill()
                report.killed += 1
        report.seconds = (datetime.now(UTC) - begin).total_seconds()
    report.cpu_seconds = _cpu_of_children() - cpu
    crowd.count(report, replicas.logs)
    return crowd, report


def _cpu_of_children() -> float:
    """Of the processes that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
