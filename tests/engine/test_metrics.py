"""What Prometheus is told: of the store the same by every replica, of itself by each; and when a process is stuck."""

from __future__ import annotations

import re
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from azure_rotator._version import __version__
from azure_rotator.domain.errors import Rejected, Unavailable
from azure_rotator.domain.ports import Observer
from azure_rotator.engine.service import Engine
from azure_rotator.scheduler.loop import Scheduler
from azure_rotator.telemetry.endpoint import Endpoint
from azure_rotator.telemetry.metrics import Metrics, Shared
from azure_sandbox.testing import Control
from tests import direct
from tests.engine.world import ITEM, TARGET, World
from tests.rows import row
from tests.store import samples

ROOT = Path(__file__).parents[2]
OF_ITEM = {"path": ITEM, "target": TARGET, "kind": "api-key"}
OF_TARGET = {"target": TARGET, "kind": "api-key"}
LABELS = {"path", "target", "kind", "code", "state", "reach", "result", "step", "ending", "le", "version"}
ANSWERS_WITHIN = 60.0  # a test that hangs fails instead


class Scraped:
    """An answer of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of a series of ours; None: there is none."""
        found = [s.value for s in self.samples if s.name == f"azure_rotator_{name}" and s.labels == labels]
        assert len(found) <= 1, f"{name} {labels} is told twice"
        return found[0] if found else None

    def series(self, prefix: str = "") -> list[Any]:
        return [sample for sample in self.samples if sample.name.startswith(f"azure_rotator_{prefix}")]


class Replica:
    """A scheduler with its endpoint, as a process has them; its loop does not run by itself."""

    def __init__(self, world: World, scheduler: Scheduler, metrics: Metrics, endpoint: Endpoint) -> None:
        self._world = world
        self.scheduler = scheduler
        self.metrics = metrics
        self.port = endpoint.port

    def ask(self, path: str, *, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with direct.ask(request, timeout=ANSWERS_WITHIN) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def content_type(self, accept: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/metrics", headers={"Accept": accept})
        with direct.ask(request, timeout=ANSWERS_WITHIN) as answer:
            return str(answer.headers["Content-Type"])

    def scrape(self) -> Scraped:
        status, text = self.ask("/metrics")
        assert status == 200
        return Scraped(text)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.scheduler.run)
        thread.start()
        try:
            self.until(lambda: self.scheduler.pulse.ticked_at is not None)
            yield
        finally:
            self.scheduler.stop()
            thread.join()

    def until(self, so: Callable[[], bool]) -> None:
        waiting = threading.Event()
        for _ in range(int(ANSWERS_WITHIN / 0.02)):
            if so():
                return
            waiting.wait(0.02)
        pytest.fail("it did not come to that")


@contextmanager
def replica(
    world: World, *, engine: Engine | None = None, keep_seconds: float = 0.0, wait_seconds: float = 10.0
) -> Iterator[Replica]:
    metrics = Metrics()
    world.notes.watchers.append(metrics.watch)
    scheduler = world.scheduler(engine=engine, poll=timedelta(seconds=0.05))
    observer = cast(Observer, world.notes)
    endpoint = Endpoint("127.0.0.1", 0, metrics)
    try:
        with endpoint.serving(scheduler, observer, keep_seconds=keep_seconds, wait_seconds=wait_seconds):
            yield Replica(world, scheduler, metrics, endpoint)
    finally:
        endpoint.close()
        world.notes.watchers.remove(metrics.watch)


def away(*_: object, **__: object) -> None:
    raise Unavailable("StoreUnavailable", "the store is away", applied="no")


def denied(world: World, control: Control) -> None:
    control.add_fault("graph.addPassword", app=world.workload.app_id, status=403, code="Authorization_RequestDenied")


# --- what is told


@row("B-28")
def test_successes_failures_and_seconds_of_an_item_and_of_its_target(world: World, control: Control):
    world.create(auto_rotate=True, rotation_interval=7)
    with replica(world) as one:
        first = one.scrape()
        assert first("item_next_rotation_seconds", **OF_ITEM) == 7 * 86_400
        assert first("item_rotations_total", **OF_ITEM) == 1, "its creation"
        assert first("item_last_rotation_seconds", **OF_ITEM) == 0
        world.days_later(7)
        world.clock.advance(minutes=5)
        rotated = one.scrape()
        assert rotated("item_rotations_total", **OF_ITEM) == 2
        assert rotated("item_last_rotation_seconds", **OF_ITEM) == pytest.approx(300, abs=60)
        denied(world, control)
        world.days_later(7)
        world.clock.advance(hours=2)
        failed = one.scrape()
        assert failed("item_failures_total", **OF_ITEM, code="AzurePermissionMissing") == 1
        assert (failed("item_rotations_total", **OF_ITEM), failed("store_up")) == (2, 1)
        late = failed("item_next_rotation_seconds", **OF_ITEM)
        assert late is not None
        assert late == pytest.approx(-2 * 3_600, abs=600)
        for name, expected in {
            "items": 1,
            "items_due": 1,
            "items_overdue": 1,
            "items_parked": 1,
            "rotations_total": 2,
            "next_rotation_seconds": late,
        }.items():
            assert failed(name, **OF_TARGET) == expected, name
        assert failed("failures_total", **OF_TARGET, code="AzurePermissionMissing") == 1
        assert failed("oldest_credential_age_seconds", **OF_TARGET) == pytest.approx(7 * 86_400 + 7_200, abs=1_200)
        assert failed("operations", state="parked") == 1


@row("B-28")
@pytest.mark.full
def test_replicas_tell_the_same_of_items_and_each_what_it_did_itself(world: World):
    world.create(auto_rotate=True, rotation_interval=7)
    world.clock.advance(days=7, minutes=10)
    other = world.process(who="bob")
    with replica(world) as worker, replica(world, engine=other.engine) as idle:
        world.notes.watchers.remove(idle.metrics.watch)
        world.tick()
        world.notes.watchers.append(idle.metrics.watch)
        did, saw = worker.scrape(), idle.scrape()
        assert did("item_rotations_total", **OF_ITEM) == saw("item_rotations_total", **OF_ITEM) == 2
        assert did("start_delay_seconds_count", kind="api-key") == 1
        assert did("start_delay_seconds_bucket", kind="api-key", le="300.0") == 0
        assert did("start_delay_seconds_bucket", kind="api-key", le="900.0") == 1, "ten minutes late"
        assert did("step_duration_seconds_count", step="mint") == 1
        assert (did("runs_total", kind="api-key", ending="waiting") or 0) >= 1
        assert not saw.series("start_delay_seconds_count")
        assert not saw.series("runs_total")


@pytest.mark.full
def test_a_deleted_item_takes_nothing_from_its_targets_counts(world: World):
    world.create()
    world.create(name="/prod/other", revoke_after="0")
    world.rotate("/prod/other")
    with replica(world) as one:
        before = one.scrape()("rotations_total", **OF_TARGET)
        world.engine.secrets.delete(name="/prod/other")
        after = one.scrape()
        assert after("rotations_total", **OF_TARGET) == before == 3
        assert not [s for s in after.samples if "/prod/other" in s.labels.values()]


@row("B-28")
@pytest.mark.parametrize(
    ("count", "told"),
    [
        pytest.param(999, 999, marks=pytest.mark.full),
        pytest.param(1_000, 1_000, marks=pytest.mark.full),
        (1_001, 100),
    ],
)
def test_how_many_series_there_are_is_bounded(empty_world: World, count: int, told: int):
    """Four series an item up to a thousand items; of more only the hundred that are overdue the longest."""
    world = empty_world
    store = cast(Any, world.main.store)._inner
    now = world.clock.now()
    samples.add_crowd(
        store,
        count,
        samples.add_target(store, name="/azure/a"),
        samples.add_target(store, name="/azure/b"),
        next_rotation_at=now - timedelta(days=2),
        last_rotation_at=now - timedelta(days=9),
        expires_at=now + timedelta(days=9),
    )
    with replica(world) as one:
        found = one.scrape()
    assert len(found.series("item_")) == 4 * told
    assert len({s.labels["path"] for s in found.series("item_")}) == told
    assert sum(s.value for s in found.series("items_overdue")) == count
    assert len([s for s in found.series() if "path" not in s.labels]) < 60


def documented() -> tuple[set[str], set[str]]:
    """The metrics of the table in the documentation, and those that its rules for alerts ask for."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("## Watching it")[2].partition("\n## ")[0]
    table = section.partition("| metric (")[2].partition("\n\n")[0]
    told = {name for line in table.splitlines()[2:] for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    asked = set(re.findall(r"azure_rotator_([a-z_]+)", "\n".join(re.findall(r"expr: (.*)", section))))
    return told, asked


def test_every_metric_is_explained_documented_and_in_base_units(world: World):
    world.create(auto_rotate=True, rotation_interval=7)
    with replica(world) as one, one.running():
        found = one.scrape()
        assert one.content_type("application/openmetrics-text;version=1.0.0").startswith("application/openmetrics-text")
        assert one.content_type("").startswith("text/plain; version=")
    ours = [family for family in found.families if family.name.startswith("azure_rotator_")]
    for family in ours:
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        assert not family.name.endswith(("_ms", "_days", "_minutes")), family.name
        labels = {label for sample in family.samples for label in sample.labels}
        assert labels <= LABELS, family.name
    names = {f.name.removeprefix("azure_rotator_") + ("_total" if f.type == "counter" else "") for f in ours}
    # A counter and a histogram of prometheus-client tell when they began, too.
    names = {name for name in names if not name.endswith("_created")}
    told, asked = documented()
    assert names == told
    assert asked <= told
    assert found("build_info", version=__version__) == 1
    assert any(family.name == "process_resident_memory_bytes" for family in found.families)


# --- it costs the store little, and does not need it


@pytest.mark.full
def test_many_scrapes_ask_the_store_once(world: World):
    with replica(world, keep_seconds=600) as one:
        for _ in range(5):
            one.scrape()
        world.create()
        assert one.scrape()("items", **OF_TARGET) is None, "kept for a while"


@row("B-28")
def test_the_endpoint_outlives_its_store(world: World):
    world.create()
    with replica(world) as one, one.running():
        assert one.ask("/readyz") == (200, "ok\n")
        world.main.store.before |= dict.fromkeys(("unplanned", "census", "account"), away)
        one.until(lambda: one.ask("/readyz")[0] == 503)
        assert one.ask("/readyz")[1].startswith("it could not look for what is due: StoreUnavailable")
        assert one.ask("/healthz") == (200, "ok\n"), "a new process would not find another store"
        found = one.scrape()
        assert found("store_up") == 0
        assert not found.series("item")
        assert (found("ticks_total", result="failed") or 0) > 0
        assert any(family.name == "process_cpu_seconds" for family in found.families)
        world.main.store.before.clear()
        one.until(lambda: one.ask("/readyz")[0] == 200)
        assert one.scrape()("store_up") == 1


@pytest.mark.parametrize("empty_world", [pytest.param("postgresql", marks=pytest.mark.full)], indirect=True)
def test_a_store_that_does_not_answer_keeps_no_scrape_waiting(world: World):
    """A reader of SQLite waits for nobody."""
    with psycopg.connect(world.settings().store_url) as program:
        program.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        with replica(world, wait_seconds=0.2) as one:
            assert one.scrape()("store_up") == 0
            program.rollback()
            one.until(lambda: one.scrape()("store_up") == 1)


# --- alive and ready


def test_a_loop_that_hangs_is_told_with_the_reason(world: World):
    with replica(world) as one:
        assert one.ask("/healthz") == (200, "ok\n")
        assert one.ask("/readyz") == (503, "it has not looked for what is due yet\n")
        assert one.ask("/") == (404, "there are /healthz, /metrics, /readyz\n")
        assert one.ask("/metrics", method="POST")[0] == 405
        with one.running():
            assert one.ask("/readyz") == (200, "ok\n")
        assert one.ask("/readyz") == (503, "it is told to end\n")
        assert one.ask("/healthz") == (200, "ok\n")
        world.clock.advance(minutes=6)
        told = "the loop hangs: it has not looked for what is due for 360 s\n"
        assert one.ask("/healthz") == (503, told)


@pytest.mark.full
def test_a_run_that_hangs_is_told_though_the_loop_goes_on(world: World):
    world.create(auto_rotate=True, rotation_interval=7)
    world.clock.advance(days=7)
    begun, go = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        begun.set()
        go.wait(ANSWERS_WITHIN)

    world.main.directory.before["add_password"] = hang
    with replica(world) as one, one.running():
        assert begun.wait(ANSWERS_WITHIN)
        (rotation,) = [r for r in world.open_rotations() if r.due_at is not None]
        assert one.ask("/healthz") == (200, "ok\n")
        world.clock.advance(minutes=6)
        one.until(lambda: one.scheduler.pulse.ticked_at == world.clock.now())
        assert one.ask("/healthz") == (503, f"a run of rotation {rotation.rotation_id} hangs: it goes on for 360 s\n")
        go.set()
        one.until(lambda: one.ask("/healthz")[0] == 200)


@pytest.mark.parametrize("says", [b"", b"GET /metr"], ids=["nothing", "half a line"])
def test_who_hangs_up_is_no_news(world: World, says: bytes, capfd: pytest.CaptureFixture[str]):
    """As a load balancer does that only looks whether somebody listens."""
    with replica(world) as one:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", one.port)) as visitor:
                visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, and no end
                visitor.sendall(says)
        assert one.ask("/healthz") == (200, "ok\n")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("address", "why"), [("192.0.2.1", "that is no address of this machine"), ("no such host", "that is no address")]
)
def test_where_nobody_can_listen_is_refused(address: str, why: str):
    with pytest.raises(Rejected) as refused:
        Endpoint(address, 0, Metrics())
    assert (refused.value.code, refused.value.exit_code) == ("ParameterInvalid", 2)
    assert why in refused.value.message


def test_an_answer_is_asked_for_once_however_many_want_it():
    asked, go = [], threading.Event()

    def ask() -> int:
        asked.append(1)
        go.wait(ANSWERS_WITHIN)
        return len(asked)

    shared = Shared(ask, keep_seconds=600, wait_seconds=ANSWERS_WITHIN)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(shared.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert (found, len(asked)) == ([1, 1, 1, 1], 1)


def test_a_failure_is_kept_for_a_while_too_and_then_asked_again():
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise Unavailable("StoreUnavailable", "away")
        return len(asked)

    kept = Shared(ask, keep_seconds=600, wait_seconds=ANSWERS_WITHIN)
    for _ in range(2):
        with pytest.raises(Unavailable):
            kept.get()
    assert len(asked) == 1
    at_once = Shared(ask, keep_seconds=0, wait_seconds=ANSWERS_WITHIN)
    assert [at_once.get(), at_once.get()] == [2, 3]
