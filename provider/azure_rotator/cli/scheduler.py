"""The companion scheduler as a process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from azure_rotator.cli.flags import Flag, truth
from azure_rotator.cli.invocation import Invocation, command
from azure_rotator.config import DISPATCHERS, ROWS
from azure_rotator.domain.errors import Problem, RotatorError, rejection
from azure_rotator.telemetry import FORMATS

if TYPE_CHECKING:
    from azure_rotator.scheduler.loop import Scheduler, Served

_WORKERS = 4
_MOST_WORKERS = 64
_POLL_SECONDS = 1.0
_ADDRESS = "127.0.0.1"
PORT_VARIABLE = "AZURE_ROTATOR_METRICS_PORT"
ADDRESS_VARIABLE = "AZURE_ROTATOR_METRICS_ADDRESS"


@command(
    about="Rotate what is due, between deploys, until the process is told to end (SIGTERM, Ctrl-C); then the step in "
    "hand is finished, and the rest is left to the next one. Any number of them may run on one store.",
    flags=[
        Flag("--once", "once", switch=True, about="rotate what is due now, and end: for cron and jobs"),
        Flag("--workers", "workers", metavar="NUMBER", about=f"how many operations at once (default {_WORKERS})"),
        Flag(
            "--dispatcher",
            "dispatcher",
            metavar="|".join(DISPATCHERS),
            about=f"who runs what is due: each process by itself, or the workers of a job queue in the store's "
            f"PostgreSQL database, which takes the extra procrastinate; also AZURE_ROTATOR_DISPATCHER (default {ROWS})",
        ),
        Flag("--poll", "poll", metavar="SECONDS", about=f"how often to look when nothing is due ({_POLL_SECONDS:g})"),
        Flag(
            "--metrics-port",
            "metrics_port",
            metavar="PORT",
            about="serve /metrics for Prometheus, /healthz and /readyz on this port; 0: any that is free, as the log "
            "says",
        ),
        Flag(
            "--metrics-address",
            "metrics_address",
            metavar="ADDRESS",
            about=f"where to listen for that (default {_ADDRESS}); 0.0.0.0 or :: everywhere, and nobody has to log in",
        ),
        Flag("--log-format", "log_format", metavar="logfmt|json", about="how the log is written (default logfmt)"),
    ],
    epilog="Exit codes of --once: 0 when everything that was due is rotated or waits for its time, 7 when something "
    "failed; the other items are rotated all the same.",
)
def run(
    call: Invocation,
    /,
    once: str | None,
    workers: str | None,
    dispatcher: str | None,
    poll: str | None,
    metrics_port: str | None,
    metrics_address: str | None,
    log_format: str | None,
) -> None:
    only_once = truth("--once", once)
    problems: list[Problem] = []
    threads, every = _checked(workers, poll, problems)
    metrics_at = _metrics_at(metrics_port, metrics_address, problems, only_once=only_once)
    if dispatcher not in {None, *DISPATCHERS}:
        problems.append(_invalid("dispatcher", f"--dispatcher is none of: {', '.join(DISPATCHERS)}"))
    if log_format not in {None, *FORMATS}:
        problems.append(_invalid("log_format", f"--log-format is none of {', '.join(FORMATS)}"))
    if problems:
        raise rejection(problems)
    opened = call.scheduler(
        workers=threads, poll=every, dispatcher=dispatcher, metrics_at=metrics_at, log_format=log_format
    )
    with opened as scheduler, _stopped_by_signals(scheduler):
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


def _checked(workers: str | None, poll: str | None, problems: list[Problem]) -> tuple[int, timedelta]:
    """Workers and poll; what is wrong with them is added to the problems."""
    threads, seconds = _WORKERS, _POLL_SECONDS
    if workers is not None:
        threads = int(workers) if workers.isascii() and workers.isdigit() else 0
        if not 1 <= threads <= _MOST_WORKERS:
            problems.append(_invalid("workers", f"--workers is no whole number from 1 to {_MOST_WORKERS}"))
    if poll is not None:
        try:
            seconds = float(poll.removesuffix("s"))
        except ValueError:
            seconds = -1.0
        if not 0.05 <= seconds <= 3_600:
            problems.append(_invalid("poll", "--poll is no number of seconds from 0.05 to 3600"))
            seconds = _POLL_SECONDS
    return threads, timedelta(seconds=seconds)


def _metrics_at(
    port: str | None, address: str | None, problems: list[Problem], *, only_once: bool
) -> tuple[str, int] | None:
    """Where metrics are served: as the flags say, else the environment. With ``--once`` the process has ended before
    anybody asks, so the flags are refused; the variables, which a job may share with a service, are not looked at."""
    given = [flag for flag, text in (("metrics-port", port), ("metrics-address", address)) if text is not None]
    if only_once:
        problems += [
            Problem(
                property=flag.replace("-", "_"),
                code="ParameterIrrelevant",
                message=f"--{flag} is for a process that goes on, and --once ends",
                hint="leave one of the two out; the result of --once, and its exit code, tell what came of it",
            )
            for flag in given
        ]
        return None
    text, origin = (port, "--metrics-port") if port is not None else (os.environ.get(PORT_VARIABLE), PORT_VARIABLE)
    if not text:
        if address is not None:
            problems.append(
                Problem(
                    property="metrics_port",
                    code="ParameterMissing",
                    message="--metrics-address says where, and nothing says on which port",
                    hint="give --metrics-port, too",
                )
            )
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if not 0 <= number <= 65_535:
        problems.append(_invalid("metrics_port", f"{origin} is no port from 0 to 65535"))
    return address or os.environ.get(ADDRESS_VARIABLE) or _ADDRESS, number


def _invalid(name: str, message: str) -> Problem:
    return Problem(property=name, code="ParameterInvalid", message=message)


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
