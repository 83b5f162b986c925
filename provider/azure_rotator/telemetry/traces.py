"""Traces by OpenTelemetry, where its standard variables say where to send them; nothing is loaded where they do not.

A run of a rotation is a span, its steps are the spans within. The provider is this module's own and not the global one:
what the Azure SDKs would tell of their requests, with whole addresses, is told to nobody, and no request of theirs
carries an id of ours.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from azure_rotator._version import __version__
from azure_rotator.domain.errors import Rejected
from azure_rotator.telemetry.logs import Redactor, Work

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_PROTOCOL: Final = "http/protobuf"
# A collector that is away does not keep a process from ending.
_LAST_SECONDS: Final = 5.0


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables ask for traces.

    Source: opentelemetry.io, "Environment Variable Specification".
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").lower() != "otlp":
        return False
    return any(environment.get(name) for name in _ENDPOINTS)


class Traces:
    """Sends spans, in batches and beside the work, to where the variables say.

    Args:
        environment: This process's: the exporter reads the rest of it by itself.
        redactor: What masks attributes, and learns the credentials of the collector.

    Raises:
        Rejected: ``ParameterInvalid``, the variables ask for what this installation has not.
    """

    def __init__(self, environment: Mapping[str, str], redactor: Redactor) -> None:
        protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
        if protocol != _PROTOCOL:
            raise Rejected(
                "ParameterInvalid",
                f"traces are sent by {_PROTOCOL} only, and {' or '.join(_PROTOCOLS)} names another protocol",
                hint=f"set it to {_PROTOCOL}, and the endpoint to the collector's port for it, usually 4318",
            )
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise Rejected(
                "ParameterInvalid",
                "traces are asked for, and OpenTelemetry's SDK or its exporter is not installed",
                hint="pip install 'azure-rotator[otel]', or unset " + " and ".join(_ENDPOINTS),
            ) from None
        for name in _HEADERS:
            for header in environment.get(name, "").split(","):
                redactor.know(unquote(header.partition("=")[2].strip()))
        self._redactor = redactor
        self._spans: WeakKeyDictionary[Work, Span] = WeakKeyDictionary()
        # Not Resource.create: it would look for more, the command line among it.
        resource = Resource({"service.name": "azure-rotator", "service.version": __version__})
        self._provider = TracerProvider(
            resource=resource.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("azure_rotator", __version__)

    @contextmanager
    def watch(self, work: Work) -> Iterator[None]:
        """A ``logs.Watcher``: a span as long as the work."""
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        outer = self._spans.get(work.outer) if work.outer is not None else None
        # By name and not by the current context: nobody else's spans are above ours, and none below.
        context = Context() if outer is None else set_span_in_context(outer, Context())
        name = " ".join(str(part) for part in (work.name, work.fields.get("step")) if part)
        span = self._spans[work] = self._tracer.start_span(name, context=context)
        if span.is_recording():
            work.fields["trace_id"] = f"{span.get_span_context().trace_id:032x}"
        error = ""
        try:
            yield
        except BaseException as raised:
            error = getattr(raised, "code", type(raised).__name__)
            raise
        finally:
            self._end(span, work, str(work.fields.get("code") or error))

    def close(self) -> None:
        """Send what waits; for a few seconds at most."""
        last = threading.Thread(target=self._provider.shutdown, name="azure-rotator-traces", daemon=True)
        last.start()
        last.join(_LAST_SECONDS)

    def _end(self, span: Span, work: Work, error: str) -> None:
        from opentelemetry.trace import StatusCode

        for name, value in work.fields.items():
            shown = self._redactor.field(name, value)
            if name not in {"code", "trace_id"} and shown is not None:
                span.set_attribute(f"azure_rotator.{name}", shown if isinstance(shown, int | float) else str(shown))
        if error:
            span.set_attribute("error.type", error)
            span.set_status(StatusCode.ERROR, error)
        span.end()
