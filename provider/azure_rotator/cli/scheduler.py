"""The companion scheduler as a process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from azure_rotator.cli.flags import Flag, truth
from azure_rotator.cli.invocation import Invocation, command
from azure_rotator.domain.errors import Problem, RotatorError, rejection

if TYPE_CHECKING:
    from azure_rotator.scheduler.loop import Scheduler, Served

_WORKERS = 4
_MOST_WORKERS = 64
_POLL_SECONDS = 1.0


@command(
    about="Rotate what is due, between deploys, until the process is told to end (SIGTERM, Ctrl-C); then the step in "
    "hand is finished, and the rest is left to the next one. Any number of them may run on one store.",
    flags=[
        Flag("--once", "once", switch=True, about="rotate what is due now, and end: for cron and jobs"),
        Flag("--workers", "workers", metavar="NUMBER", about=f"how many operations at once (default {_WORKERS})"),
        Flag("--poll", "poll", metavar="SECONDS", about=f"how often to look when nothing is due ({_POLL_SECONDS:g})"),
    ],
    epilog="Exit codes of --once: 0 when everything that was due is rotated or waits for its time, 7 when something "
    "failed; the other items are rotated all the same.",
)
def run(call: Invocation, /, once: str | None, workers: str | None, poll: str | None) -> None:
    only_once = truth("--once", once)
    threads, every = _checked(workers, poll)
    with call.scheduler(workers=threads, poll=every) as scheduler, _stopped_by_signals(scheduler):
        if not only_once:
            scheduler.run()
            return
        served = scheduler.once()
    call.console.result(_facts(served), lambda: _text(served))
    if served.failed:
        codes = ", ".join(f"{code} ({count})" for code, count in sorted(served.failed.items()))
        raise RotatorError(
            max(served.failed, key=lambda code: served.failed[code]),
            f"not everything that was due could be done: {codes}",
            hint="azure-rotator status lists the items with their last outcome",
        )


def _checked(workers: str | None, poll: str | None) -> tuple[int, timedelta]:
    """Raises: Rejected with everything that is wrong."""
    problems = []
    threads, seconds = _WORKERS, _POLL_SECONDS
    if workers is not None:
        threads = int(workers) if workers.isascii() and workers.isdigit() else 0
        if not 1 <= threads <= _MOST_WORKERS:
            problems.append(
                Problem(
                    property="workers",
                    code="ParameterInvalid",
                    message=f"--workers is no whole number from 1 to {_MOST_WORKERS}",
                )
            )
    if poll is not None:
        try:
            seconds = float(poll.removesuffix("s"))
        except ValueError:
            seconds = -1.0
        if not 0.05 <= seconds <= 3_600:
            problems.append(
                Problem(
                    property="poll",
                    code="ParameterInvalid",
                    message="--poll is no number of seconds from 0.05 to 3600",
                )
            )
    if problems:
        raise rejection(problems)
    return threads, timedelta(seconds=seconds)


@contextmanager
def _stopped_by_signals(scheduler: Scheduler) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        scheduler.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _facts(served: Served) -> dict[str, object]:
    return {
        "planned": served.planned,
        "runs": {ending.value: count for ending, count in sorted(served.endings.items())},
        "failed": dict(sorted(served.failed.items())),
    }


def _text(served: Served) -> str:
    runs = ", ".join(f"{count} {ending.value}" for ending, count in sorted(served.endings.items())) or "none"
    return f"planned: {served.planned}; runs: {runs}"
