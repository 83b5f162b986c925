"""No credential is where anybody may look who watches a scheduler: its metrics, its health, its log (B-28, AK-29)."""

from __future__ import annotations

import io
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from azure_rotator.domain.model import ForwarderType
from azure_rotator.domain.ports import Observer
from azure_rotator.telemetry import Redactor, StructlogObserver, logging_to
from azure_rotator.telemetry.endpoint import Endpoint
from azure_rotator.telemetry.metrics import Metrics
from azure_sandbox.testing import Control, Sandbox
from tests import direct
from tests.engine.world import ITEM, World, worlds
from tests.leak.evidence import Evidence
from tests.leak.search import Canaries
from tests.plugins.azure import App
from tests.rows import row


@pytest.fixture
def world(
    request: pytest.FixtureRequest, azure: Sandbox, tmp_path: Path, control: Control, rotator: App, workload: App
) -> Iterator[World]:
    yield from worlds(tmp_path, control, rotator, workload, seed=request.node.nodeid)


@row("B-28", "AK-29")
def test_no_credential_is_in_metrics_health_or_a_log(world: World, control: Control):
    canaries, evidence, log = Canaries(), Evidence(), io.StringIO()
    canaries.add("the Target's secret", world.rotator.secret)
    address = canaries.add("the address's key", "key-in-the-address-5tGv")
    signing_key = canaries.add("the signing key", "the-signing-key-Q3x~ö+/%")
    metrics = Metrics()
    observer = StructlogObserver(watchers=[metrics.watch])
    world.notes.watchers.append(metrics.watch)
    endpoint = Endpoint("127.0.0.1", 0, metrics)
    scheduler = world.scheduler()

    def look(when: str) -> None:
        for path in ("/metrics", "/healthz", "/readyz", f"/{address}"):
            try:
                answer = direct.ask(f"http://127.0.0.1:{endpoint.port}{path}", timeout=60)
            except urllib.error.HTTPError as refused:
                answer = refused
            with answer:
                told = f"{answer.status}\n{answer.headers}\n{answer.read().decode()}"
            evidence.add("the endpoint", f"{path} {when}", told)

    with logging_to(log, "debug", Redactor(), style="json"), endpoint.serving(
        scheduler, cast(Observer, observer), keep_seconds=0
    ):  # fmt: skip
        world.create_target()
        url = {"name": "/ops", "url": f"https://localhost:9/?code={address}", "signing_key": signing_key}
        world.engine.forwarding.create(ForwarderType.WEBHOOK, url)
        world.create(auto_rotate=True, rotation_interval=2, revoke_after="0")
        canaries.add("version 1", world.value())
        look("after its creation")
        world.days_later(2)
        canaries.add("version 2", world.value())
        look("after its rotation")
        control.add_fault(
            "graph.addPassword", app=world.workload.app_id, status=403, code="x", message=world.value(), times=None
        )
        world.days_later(2)
        look("after a failure that quotes a credential")
        world.engine.secrets.delete(name=ITEM, force=True)
        look("after its deletion")
    evidence.add("the log", "lines", log.getvalue())
    endpoint.close()
    shown = "\n".join(str(finding.content) for finding in evidence.found["the endpoint"])
    assert "azure_rotator_item_failures_total{" in shown
    assert "azure_rotator_step_duration_seconds_bucket" in shown
    assert "503" in shown
    for place in ("the endpoint", "the log"):
        assert evidence.leaks(place, canaries) == []
