"""One run of one command: its console, its settings, and the engine when it needs one.

A command is a function that takes the ``Invocation`` and its own options by name::

    @command(about="Show a Target.", flags=[name_flag("Target")])
    def get(call: Invocation, name: str | None) -> None:
        with call.engine() as engine:
            view = engine.targets.get(name=required("--name", name))
        call.console.result(view.facts(), lambda: pairs(view.facts()))

Nothing heavy is imported before ``engine()``: help, usage errors and refused input stay quick.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

import click

from azure_rotator import telemetry
from azure_rotator.cli import paths
from azure_rotator.cli.console import Console
from azure_rotator.cli.flags import common_flags, truth
from azure_rotator.config import Settings, who_am_i
from azure_rotator.domain.errors import Problem, Rejected, rejection
from azure_rotator.domain.parameters import Subject, validate
from azure_rotator.domain.schedule import duration_seconds

if TYPE_CHECKING:
    from azure_rotator.domain.ports import Observer
    from azure_rotator.engine.service import Engine
    from azure_rotator.scheduler.loop import Scheduler
    from azure_rotator.telemetry.traces import Traces

P = ParamSpec("P")

GATEWAY_VARIABLE = "AZURE_ROTATOR_GATEWAY_URL"


class Invocation:
    """What a command works with.

    Attributes:
        console: Where it speaks.
        name: The command as it was called, e.g. ``create-rotated-secret``.
    """

    def __init__(self, console: Console, name: str, common: Mapping[str, str | None]) -> None:
        self.console = console
        self.name = name
        console.as_json = truth("--json", common["json"])
        console.quiet = truth("--quiet", common["quiet"])
        console.debug = truth("--debug", common["debug"])
        expression = common["jq_expression"]
        console.path = None if expression is None else paths.parse(expression)
        self._timeout_seconds = _timeout(common["timeout"])
        self._gateway_url = common["gateway_url"]

    @contextmanager
    def engine(self, *, new_store: bool = False) -> Iterator[Engine]:
        """The engine on the store that the settings lead to.

        Args:
            new_store: Make the store where there is none.
        """
        settings = self.settings()
        with self._logging() as observer:
            from azure_rotator.wiring import open_engine

            with open_engine(settings, who=who_am_i(os.environ), observer=observer, new_store=new_store) as engine:
                yield engine

    @contextmanager
    def scheduler(
        self,
        *,
        workers: int,
        poll: timedelta,
        dispatcher: str | None = None,
        metrics_at: tuple[str, int] | None = None,
        log_format: str | None = None,
    ) -> Iterator[Scheduler]:
        """The scheduler on the store that the settings lead to; it tells what it does, unless asked to be quieter.

        Args:
            dispatcher: One of ``config.DISPATCHERS``; None: as the settings say.
            metrics_at: Address and port of the endpoint with metrics and health; None: there is none.
            log_format: One of ``telemetry.FORMATS``; None: as the environment says.

        Raises:
            Rejected: ``ParameterInvalid``, nobody can listen there. Nothing was started.
        """
        settings = self.settings()
        if dispatcher is not None:
            settings = replace(settings, dispatcher=dispatcher)
        watchers: list[telemetry.Watcher] = []
        with ExitStack() as stack:
            endpoint = None
            if metrics_at is not None:
                from azure_rotator.telemetry.endpoint import Endpoint
                from azure_rotator.telemetry.metrics import Metrics

                metrics = Metrics()
                watchers.append(metrics.watch)
                endpoint = Endpoint(*metrics_at, metrics)
                stack.callback(endpoint.close)
            traces, no_traces = self._traces()
            if traces is not None:
                watchers.insert(0, traces.watch)
            logging = self._logging(default="info", style=log_format, watchers=watchers)
            observer = stack.enter_context(logging)
            if traces is not None:
                stack.callback(traces.close)
            if no_traces is not None:
                observer.tell("traces are not sent", message=no_traces.message, hint=no_traces.hint)
            from azure_rotator.wiring import open_scheduler

            opened = open_scheduler(settings, observer=observer, workers=workers, poll=poll)
            scheduler = stack.enter_context(opened)
            if endpoint is not None:
                stack.enter_context(endpoint.serving(scheduler, observer))
                observer.tell("metrics served", address=endpoint.address, port=endpoint.port)
            yield scheduler

    def _traces(self) -> tuple[Traces | None, Rejected | None]:
        """What sends traces, if the environment asks for them, or why it cannot: a platform may set the variables for
        everybody, and rotations matter more than their traces."""
        from azure_rotator.telemetry import traces

        if not traces.wanted(os.environ):
            return None, None
        try:
            return traces.Traces(os.environ, self.console.redactor), None
        except Rejected as refused:
            return None, refused

    @contextmanager
    def _logging(
        self,
        default: str | None = None,
        *,
        style: str | None = None,
        watchers: Sequence[telemetry.Watcher] = (),
    ) -> Iterator[Observer]:
        style = style or telemetry.format_of(os.environ)
        level = "debug" if self.console.debug else telemetry.level_of(os.environ) or default
        self._check_gateway()
        redactor = self.console.redactor
        observer = telemetry.StructlogObserver(
            say_to=self.console.say, warn_to=self.console.warn, redactor=redactor, watchers=watchers
        )
        with telemetry.logging_to(self.console.log_stream(), level, redactor, style=style):
            yield observer

    def settings(self) -> Settings:
        """What the environment and ``--timeout`` say.

        Raises:
            Rejected: ``ParameterInvalid`` naming the setting.
        """
        settings = Settings.read(os.environ)
        if self._timeout_seconds is not None:
            settings = replace(settings, timeout_seconds=self._timeout_seconds)
        return settings

    def _check_gateway(self) -> None:
        """An address must be one; then this release says that it does the work itself (features 1.1)."""
        url, origin = self._gateway_url, "--gateway-url"
        if url is None:
            url, origin = os.environ.get(GATEWAY_VARIABLE) or None, GATEWAY_VARIABLE
        if url is None:
            return
        try:
            parts = urlsplit(url)
            complete = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            complete = False
        if not complete:
            raise Rejected(
                "GatewayNotConfigured",
                f"{origin} is no address of a gateway: it needs a scheme and a host",
                hint=f"give it like http://gateway.example:8000 with --gateway-url, {GATEWAY_VARIABLE} or the stack's "
                "azure-rotator:gatewayUrl, or leave it out",
            )
        self.console.say("note: this release has no gateway yet; the command works on the store itself")


def command(
    *, about: str, flags: Sequence[click.Parameter] = (), epilog: str | None = None
) -> Callable[[Callable[Concatenate[Invocation, P], None]], click.Command]:
    """Make a click command of a function; the common flags are added and taken care of."""

    def made(function: Callable[Concatenate[Invocation, P], None]) -> click.Command:
        common = common_flags()

        def run(*args: P.args, **options: P.kwargs) -> None:
            context = click.get_current_context()
            console = context.find_object(Console) or Console()
            settings: dict[str, Any] = {str(flag.name): options.pop(str(flag.name)) for flag in common}
            function(Invocation(console, context.info_name or "", settings), *args, **options)

        return click.Command(name=None, callback=run, params=[*flags, *common], help=about, epilog=epilog)

    return made


def required(flag: str, value: str | None) -> str:
    """A value that a command cannot do without.

    Raises:
        Rejected: ``ParameterMissing``.
    """
    if not value:
        raise Rejected(
            "ParameterMissing", f"{flag} is missing", hint=f"give it with {flag}", details={"property": flag.strip("-")}
        )
    return value


def refuse_at_once(subject: Subject, values: Mapping[str, object]) -> None:
    """Apply the rules that need no store before a store is looked at.

    Raises:
        Rejected: Every failed rule.
    """
    problems: list[Problem] = validate(subject, values)[1]
    if problems:
        raise rejection(problems)


def _timeout(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = float(duration_seconds(text) or 0)
    if not 0 < seconds < 86_400:
        raise Rejected(
            "ParameterInvalid",
            "--timeout is no duration between 0 and a day",
            hint="seconds, or a whole number with s, m or h, e.g. 90 or 10m",
            details={"property": "timeout"},
        )
    return seconds
