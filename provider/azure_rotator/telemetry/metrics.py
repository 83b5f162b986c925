"""Metrics for Prometheus: of this process, and of the store as it is at the scrape, whoever did the work.

What replicas tell about the store is the same, so no query may add it up; what they tell about themselves is their own.
Labels are paths, Targets, kinds, codes and states; how many series there are is bounded by ``domain.census``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from azure_rotator._version import __version__
from azure_rotator.domain.census import OK, Census
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.ports import Observer
from azure_rotator.scheduler.loop import Scheduler
from azure_rotator.telemetry.logs import Work

KEEP_SECONDS: Final = 5.0
WAIT_SECONDS: Final = 5.0

_DELAYS: Final = (1, 5, 15, 60, 300, 900, 1_800, 3_600, 7_200, 21_600, 86_400)
_DURATIONS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_GROUP: Final = ("target", "kind")
_ITEM: Final = ("path", *_GROUP)

T = TypeVar("T")


class Shared(Generic[T]):
    """An answer that costs something: asked for once however many want it, and kept for a while. Who wants it waits for
    a bounded time, also when nothing answers at all.

    Args:
        ask: Called on a thread of its own.
        keep_seconds: How long an answer, or a failure, is given again.
        wait_seconds: How long one waits at most.
    """

    def __init__(self, ask: Callable[[], T], *, keep_seconds: float, wait_seconds: float) -> None:
        self._ask = ask
        self._keep_seconds = keep_seconds
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._answer: Future[T] | None = None

    def get(self) -> T:
        """The answer. Raises: TimeoutError, there is none yet; what ``ask`` raises."""
        with self._lock:
            answer, now = self._answer, time.monotonic()
            if answer is None or (answer.done() and now - self._asked_at >= self._keep_seconds):
                answer = self._answer = Future()
                self._asked_at = now
                # A daemon: a store that never answers does not keep the process from ending.
                threading.Thread(target=self._run, args=(answer,), name="azure-rotator-census", daemon=True).start()
        return answer.result(self._wait_seconds)

    def _run(self, answer: Future[T]) -> None:
        try:
            answer.set_result(self._ask())
        except Exception as failed:  # noqa: BLE001 - it is told to who asked
            answer.set_exception(failed)


class Metrics:
    """Everything that ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Info("azure_rotator_build", "The release that this process runs.", registry=self.registry).info(
            {"version": __version__}
        )
        self._delays = Histogram(
            "azure_rotator_start_delay_seconds",
            "How long after their due instants rotations began, those that this process began.",
            ["kind"],
            buckets=_DELAYS,
            registry=self.registry,
        )
        self._steps = Histogram(
            "azure_rotator_step_duration_seconds",
            "How long the steps of rotations took in this process, calls to Azure included.",
            ["step"],
            buckets=_DURATIONS,
            registry=self.registry,
        )
        self._runs = Counter(
            "azure_rotator_runs",
            "How often this process worked on a rotation, by why it stopped.",
            ["kind", "ending"],
            registry=self.registry,
        )

    @contextmanager
    def watch(self, work: Work) -> Iterator[None]:
        """A ``logs.Watcher``: counts and times what this process does."""
        begin = time.monotonic()
        try:
            yield
        finally:
            fields = {name: str(work.fields.get(name) or "") for name in ("kind", "step", "ending")}
            late = work.fields.get("late_seconds")
            if work.name == "step":
                self._steps.labels(fields["step"]).observe(time.monotonic() - begin)
            else:
                self._runs.labels(fields["kind"], fields["ending"] or "broken").inc()
            if isinstance(late, float):
                self._delays.labels(fields["kind"]).observe(late)

    def add_scheduler(
        self,
        scheduler: Scheduler,
        observer: Observer,
        *,
        keep_seconds: float,
        wait_seconds: float,
    ) -> None:
        """Show this scheduler's loop and its store, too.

        Args:
            observer: Told why the store could not be read.
            keep_seconds: How old the numbers of the store may be: a scraper cannot put load on it.
            wait_seconds: How long a scrape waits for them.
        """
        census = Shared(lambda: _timed(scheduler.census), keep_seconds=keep_seconds, wait_seconds=wait_seconds)
        self.registry.register(_LoopCollector(scheduler))
        self.registry.register(_StoreCollector(census, observer))


def _timed(ask: Callable[[], Census]) -> tuple[Census, float]:
    begin = time.monotonic()
    return ask(), time.monotonic() - begin


class _LoopCollector(Collector):
    """The scheduler's loop."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        pulse = self._scheduler.pulse
        if pulse.ticked_at is not None:
            yield _gauge(
                "last_tick_timestamp_seconds", "When the loop last looked for what is due.", pulse.ticked_at.timestamp()
            )
        ticks = CounterMetricFamily(
            "azure_rotator_ticks", "How often the loop looked for what is due.", labels=["result"]
        )
        ticks.add_metric(["ok"], pulse.succeeded)
        ticks.add_metric(["failed"], pulse.failed)
        yield ticks
        yield _gauge("workers_busy", "How many operations this process works on.", self._scheduler.in_hand)
        yield _gauge("workers_free", "How many more it would take.", self._scheduler.room)


class _StoreCollector(Collector):
    """The store, as it is at the scrape."""

    def __init__(self, census: Shared[tuple[Census, float]], observer: Observer) -> None:
        self._census = census
        self._observer = observer

    def collect(self) -> Iterator[Metric]:
        up = "Whether the store answered; if not, nothing else is told of it."
        try:
            census, seconds = self._census.get()
        except Exception as failed:  # noqa: BLE001 - the process's own metrics are shown all the same
            code = failed.code if isinstance(failed, RotatorError) else type(failed).__name__
            self._observer.note("metrics of the store not read", code=code)
            yield _gauge("store_up", up, 0)
            return
        yield _gauge("store_up", up, 1)
        yield _gauge("store_read_seconds", "How long the store took to answer with all of this.", seconds)
        yield from _of_groups(census)
        yield from _of_items(census)
        yield from _of_operations(census)


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"azure_rotator_{name}", about, value=value)


def _of_groups(census: Census) -> Iterator[Metric]:
    def gauge(name: str, about: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"azure_rotator_{name}", about, labels=_GROUP)

    items = gauge("items", "Rotated secrets.")
    due = gauge("items_due", "Those whose due instant has passed.")
    overdue = gauge("items_overdue", "Those that are due for an hour or longer.")
    parked = gauge("items_parked", "Those whose rotation failed and is not tried again before the next due date.")
    oldest = gauge(
        "oldest_credential_age_seconds", "Since the rotation of the item that waits longest, or its creation."
    )
    soonest = gauge("next_rotation_seconds", "Until the next of them is due; negative: it is late by so much.")
    rotated = CounterMetricFamily("azure_rotator_rotations", "Rotations that succeeded.", labels=_GROUP)
    failures = CounterMetricFamily(
        "azure_rotator_failures", "Attempts of rotations that failed, by the error's code.", labels=[*_GROUP, "code"]
    )
    for group in census.groups:
        labels = [group.target, group.kind.value]
        items.add_metric(labels, group.items)
        due.add_metric(labels, group.due)
        overdue.add_metric(labels, group.overdue)
        parked.add_metric(labels, group.parked)
        if group.rotated_at is not None:
            oldest.add_metric(labels, -census.seconds_until(group.rotated_at))
        if group.next_at is not None:
            soonest.add_metric(labels, census.seconds_until(group.next_at))
        rotated.add_metric(labels, group.outcomes.get(OK, 0))
        for code, count in sorted(group.outcomes.items()):
            if code != OK:
                failures.add_metric([*labels, code], count)
    yield from (items, due, overdue, parked, oldest, soonest, rotated, failures)


def _of_items(census: Census) -> Iterator[Metric]:
    def gauge(name: str, about: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"azure_rotator_item_{name}", about, labels=_ITEM)

    last = gauge("last_rotation_seconds", "Since the item was last rotated.")
    coming = gauge("next_rotation_seconds", "Until the item is due; negative: it is late by so much.")
    expiry = gauge("credential_expiry_seconds", "Until the item's current credential ends in Azure.")
    rotated = CounterMetricFamily("azure_rotator_item_rotations", "The item's rotations that succeeded.", labels=_ITEM)
    failures = CounterMetricFamily(
        "azure_rotator_item_failures", "The item's attempts that failed, by the error's code.", labels=[*_ITEM, "code"]
    )
    for tally in census.tallies:
        labels = [tally.path, tally.target, tally.kind.value]
        if tally.last_at is not None:
            last.add_metric(labels, -census.seconds_until(tally.last_at))
        if tally.next_at is not None:
            coming.add_metric(labels, census.seconds_until(tally.next_at))
        if tally.expires_at is not None:
            expiry.add_metric(labels, census.seconds_until(tally.expires_at))
        rotated.add_metric(labels, tally.outcomes.get(OK, 0))
        for code, count in sorted(tally.outcomes.items()):
            if code != OK:
                failures.add_metric([*labels, code], count)
    yield from (last, coming, expiry, rotated, failures)


def _of_operations(census: Census) -> Iterator[Metric]:
    operations = GaugeMetricFamily("azure_rotator_operations", "Open operations, by state.", labels=["state"])
    for state, count in sorted(census.operations.items()):
        operations.add_metric([state], count)
    yield operations
    yield _gauge("operations_in_flight", "Those that some process works on at this moment.", census.in_flight)
    yield _gauge("credentials_expired", "Current credentials that have ended in Azure.", census.expired)
    if census.expires_at is not None:
        yield _gauge(
            "credential_expiry_seconds",
            "Until the first current credential ends in Azure.",
            census.seconds_until(census.expires_at),
        )
    paused = GaugeMetricFamily(
        "azure_rotator_paused", "What Azure asked to be left alone for a while, by what it is.", labels=["reach"]
    )
    for reach in ("tenant", "subscription", "object"):
        paused.add_metric([reach], census.paused.get(reach, 0))
    yield paused
    ends = 0.0 if census.paused_until is None else census.seconds_until(census.paused_until)
    yield _gauge("pause_seconds", "Until the last of these pauses ends.", ends)
    yield _gauge("deliveries_waiting", "Events that somebody still has to be told.", census.waiting)
    yield _gauge("deliveries_failing", "Those that were tried, and not taken.", census.failing)
