from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_sandbox.testing import Control, Sandbox
from tests.engine.world import World, worlds
from tests.plugins.azure import App


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
def empty_world(
    request: pytest.FixtureRequest, azure: Sandbox, tmp_path: Path, control: Control, rotator: App, workload: App
) -> Iterator[World]:
    """A store without a row, beside a tenant with a rotator and a workload that it owns. On SQLite; what takes longer
    runs everything on PostgreSQL, too."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    yield from worlds(tmp_path, control, rotator, workload, seed=request.node.nodeid, server=server)


@pytest.fixture
def world(empty_world: World) -> World:
    """The same with the Target ``/azure/prod``."""
    empty_world.create_target()
    empty_world.mark()
    return empty_world
