"""A provider process, with a store of its own and the sandbox behind it; and another process on the same store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azure_rotator.config import Settings
from azure_rotator.engine.service import Engine
from azure_rotator.resources.providers import AzureTargetProvider, RotatedSecretProvider
from azure_rotator.wiring import open_engine
from tests.plugins.azure import App
from tests.pulumi.dynamic_server import Answer, Driver, DynamicServer, own_store
from tests.pulumi.mocked import Recorded, mocked
from tests.pulumi.stack import Stack


@pytest.fixture(scope="session")
def shared_environment(sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Leads to the sandbox and to one store for all tests of the process: each test has names of its own."""
    return own_store(tmp_path_factory.mktemp("shared"), sandbox.environment())


@pytest.fixture(scope="session")
def server(shared_environment: dict[str, str]) -> Iterator[DynamicServer]:
    with DynamicServer(shared_environment) as running:
        yield running


@pytest.fixture
def later(shared_environment: dict[str, str]) -> Iterator[DynamicServer]:
    """The provider process of a later operation: Pulumi starts one for each."""
    with DynamicServer(shared_environment) as running:
        yield running


@pytest.fixture
def own_environment(sandbox, tmp_path: Path) -> dict[str, str]:
    """Leads to the sandbox and to a store that does not exist yet."""
    return own_store(tmp_path, sandbox.environment())


@pytest.fixture
def targets(server: DynamicServer) -> Driver:
    return server.of(AzureTargetProvider())


@pytest.fixture
def secrets(server: DynamicServer) -> Driver:
    return server.of(RotatedSecretProvider())


@pytest.fixture
def outside(azure, shared_environment: dict[str, str]) -> Iterator[Engine]:
    """The engine on the same store, in this process: what happens between two deploys."""
    with open_engine(Settings.read(shared_environment), who="somebody else") as engine:
        yield engine


@pytest.fixture
def folder(tenant) -> str:
    """A folder of the store that no other test uses."""
    return f"/{tenant.tenant_id}"


@pytest.fixture
def target_inputs(rotator: App, folder: str) -> dict[str, Any]:
    """What a program says about a Target that may rotate ``workload``."""
    return {
        "name": f"{folder}/contoso",
        "tenant_id": rotator.info.tenant_id,
        "client_id": rotator.app_id,
        "client_secret": rotator.secret,
        "owner": f"shop/{folder}/contoso",
    }


@pytest.fixture
def secret_inputs(workload: App, folder: str) -> dict[str, Any]:
    """What a program says about an item that mints its own secret."""
    return {
        "name": f"{folder}/billing",
        "target_name": f"{folder}/contoso",
        "rotator_type": "api-key",
        "authentication_credentials": "use-target-creds",
        "app_id": workload.app_id,
        "auto_rotate": True,
        "rotation_interval": 30,
        "owner": f"shop/{folder}/billing",
    }


@pytest.fixture
def target(targets: Driver, target_inputs: dict[str, Any]) -> Answer:
    return targets.made(target_inputs)


@pytest.fixture
def item(secrets: Driver, secret_inputs: dict[str, Any], target: Answer) -> Answer:
    return secrets.made(secret_inputs)


@pytest.fixture
def engine() -> Iterator[Recorded]:
    """Pulumi's mocks."""
    with mocked() as recorded:
        yield recorded


@pytest.fixture
def stack(pulumi_environment: dict[str, str], own_environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    """A stack with nothing in it; destroyed at the end, as far as that goes."""
    made = Stack(tmp_path, {**pulumi_environment, **_additions(own_environment)})
    yield made
    made.attempt("destroy", "--yes", "--skip-preview")


def _additions(environment: dict[str, str]) -> dict[str, str]:
    """What leads to sandbox and store, for an environment that has another PATH."""
    return {name: value for name, value in environment.items() if os.environ.get(name) != value}


@pytest.fixture
def beside(azure, own_environment: dict[str, str]) -> Iterator[Engine]:
    """The engine on the stack's store, in this process."""
    with open_engine(Settings.read(own_environment), who="somebody else") as engine:
        yield engine
