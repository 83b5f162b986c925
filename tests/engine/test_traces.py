"""What a collector of traces is sent: a span for each run of a rotation, its steps within; and never more than that."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace

from azure_rotator.domain.errors import Rejected, Unavailable
from azure_rotator.telemetry import Redactor
from azure_rotator.telemetry.traces import Traces, wanted
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World
from tests.leak.search import Canaries
from tests.plugins.receivers import Collector, attributes
from tests.rows import row

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def traced(world: World, redactor: Redactor | None = None) -> Iterator[None]:
    """What the engine does meanwhile is sent at the end."""
    traces = Traces(os.environ, redactor or Redactor())
    world.notes.watchers.append(traces.watch)
    try:
        yield
    finally:
        world.notes.watchers.remove(traces.watch)
        traces.close()


def test_a_rotation_is_a_span_and_its_steps_are_within(
    world: World, collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=rotator-eu,deployment.environment=prod")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=collector%20key%207Yz")
    redactor = Redactor()
    world.create(auto_rotate=True, rotation_interval=7)
    world.clock.advance(days=7, minutes=10)
    with traced(world, redactor):
        world.tick()
    first = collector.spans[0]
    shown = attributes(first)
    (planned,) = [fields for event, fields in world.notes.noted if event == "rotation planned"]
    assert first.name == "rotation"
    assert shown["azure_rotator.rotation_id"] == planned["rotation_id"]
    assert {name: shown[f"azure_rotator.{name}"] for name in ("path", "kind", "trigger", "state")} == {
        "path": ITEM,
        "kind": "api-key",
        "trigger": "automatic",
        "state": "published",
    }
    assert shown["azure_rotator.ending"] == "waiting"
    assert shown["azure_rotator.late_seconds"] == 600
    steps = [span for span in collector.spans if span.parent_span_id]
    assert [span.name for span in steps] == ["step mint", *["step prove"] * 3, "step publish"]
    assert {span.parent_span_id for span in steps} == {first.span_id}
    assert {span.trace_id for span in steps} == {first.trace_id}
    assert all(span.status.code == 0 and "error.type" not in attributes(span) for span in collector.spans)
    resource = collector.resource()
    assert (resource["service.name"], resource["deployment.environment"]) == ("rotator-eu", "prod")
    assert not [name for name in resource if name.startswith("process.")], "a command line is nobody's business"
    assert collector.headers[0]["x-api-key"] == "collector key 7Yz"
    assert redactor.text("sent collector key 7Yz") == "sent ***"


def test_a_failure_is_told_by_its_code(world: World, collector: Collector, control: Control):
    world.create(auto_rotate=True, rotation_interval=7)
    control.add_fault("graph.addPassword", app=world.workload.app_id, status=403, code="Authorization_RequestDenied")
    world.clock.advance(days=7)
    with traced(world):
        world.tick()
    told = {span.name: (span.status.code, attributes(span).get("error.type")) for span in collector.spans}
    assert told["rotation"] == told["step mint"] == (2, "AzurePermissionMissing")


def test_a_store_that_is_away_is_told_by_its_code_too(world: World, collector: Collector):
    world.create(auto_rotate=True, rotation_interval=7)

    def away(*_: object, **__: object) -> None:
        raise Unavailable("StoreUnavailable", "the store is away", applied="no")

    world.main.store.before["begin_minting"] = away
    world.clock.advance(days=7)
    with traced(world):
        world.tick()
    assert {(span.name, attributes(span).get("error.type")) for span in collector.spans} == {
        ("rotation", "StoreUnavailable"),
        ("step mint", "StoreUnavailable"),
    }


@row("AK-29")
def test_no_credential_and_no_request_of_the_sdks_is_in_a_span(world: World, collector: Collector, control: Control):
    """Nothing but our own spans is sent, with no attribute that is not named here."""
    canaries = Canaries()
    canaries.add("the Target's secret", world.rotator.secret)
    world.create(auto_rotate=True, rotation_interval=2, revoke_after="0")
    canaries.add("version 1", world.value())
    with traced(world):
        world.days_later(2)
        canaries.add("version 2", world.value())
        fault = {"status": 403, "code": "x", "message": world.value()}
        control.add_fault("graph.addPassword", app=world.workload.app_id, times=None, **fault)
        world.days_later(2)
        with pytest.raises(RuntimeError), world.notes.span("step", step="x", client_secret=world.value()):
            raise RuntimeError(world.value())
    scopes = {s.scope.name for one in collector.received for r in one.resource_spans for s in r.scope_spans}
    assert scopes == {"azure_rotator"}
    names = {name for span in collector.spans for name in attributes(span)}
    assert names == {"error.type"} | {
        f"azure_rotator.{name}"
        for name in (
            *("rotation_id", "path", "kind", "trigger", "state", "ending", "late_seconds", "step", "client_secret"),
        )
    }
    assert not [span for span in collector.spans if span.events or span.links]
    for number, body in enumerate(collector.bodies):
        assert canaries.found(body) == [], f"batch {number}"
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider), "that of the process is left alone"


@pytest.mark.full
def test_a_collector_that_is_away_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    world.create(auto_rotate=True, rotation_interval=7)
    world.clock.advance(days=7)
    with traced(world):
        world.tick()
    assert len(world.published_at()) == 1


@pytest.mark.parametrize(
    ("environment", "so"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({ENDPOINT: "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
    ids=json.dumps,
)
def test_traces_are_sent_where_the_standard_variables_say(environment: dict[str, str], so: bool):
    assert wanted(environment) is so


def test_what_this_installation_cannot_send_is_said(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(Rejected, match="http/protobuf only"):
        Traces({ENDPOINT: "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, Redactor())
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(Rejected) as refused:
        Traces({ENDPOINT: "http://collector:4318"}, Redactor())
    assert "azure-rotator[otel]" in refused.value.hint
