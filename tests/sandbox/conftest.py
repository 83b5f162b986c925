"""One sandbox for all tests of a process, and a tenant of its own for each test."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from azure_sandbox.testing import Sandbox
from tests.sandbox.azure import Azure

CONFORMANCE = os.environ.get("CONFORMANCE_DIR")
AZURITE = os.environ.get("AZURITE_DIR")
collect_ignore = [
    *([] if CONFORMANCE else ["test_conformance.py"]),
    *([] if AZURITE else ["test_azurite.py"]),
]


def pytest_report_header() -> list[str]:
    not_collected = "is unset, so those tests are not collected"
    return [
        f"conformance: against {CONFORMANCE}" if CONFORMANCE else f"conformance: CONFORMANCE_DIR {not_collected}",
        f"azurite: {AZURITE}" if AZURITE else f"azurite: AZURITE_DIR (where npm installed it) {not_collected}",
    ]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running
        log = (running.state / "server.log").read_text()
    assert not log, f"the server complained:\n{log}"


def _client(sandbox: Sandbox) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    return httpx.Client(proxy=sandbox.proxy, verify=context, trust_env=False, timeout=30)


@pytest.fixture(scope="session")
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with _client(sandbox) as client:
        yield client


@pytest.fixture
def http_for() -> Iterator[Callable[[Sandbox], httpx.Client]]:
    """Makes HTTP clients that meet a given sandbox; they end with the test."""
    with ExitStack() as stack:
        yield lambda sandbox: stack.enter_context(_client(sandbox))


@pytest.fixture
def alone(own_sandbox: Sandbox, http_for: Callable[[Sandbox], httpx.Client]) -> Azure:
    """An `azure` in a sandbox whose clock and process belong to the test."""
    return Azure(own_sandbox, http_for(own_sandbox), own_sandbox.control.create_tenant())


@pytest.fixture
def azure(sandbox: Sandbox, http: httpx.Client) -> Azure:
    return Azure(sandbox, http, sandbox.control.create_tenant())


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that the test may stop, kill, or change as a whole."""
    running = Sandbox(tmp_path / "sandbox").start()
    yield running
    running.stop()
