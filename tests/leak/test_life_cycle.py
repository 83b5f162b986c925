"""A life cycle of the engine, with all that goes wrong on its way, leaves no credential anywhere: see ``life``."""

from __future__ import annotations

import pytest

from azure_sandbox.testing import Sandbox
from tests.leak.life import Life
from tests.rows import row

# One life cycle for all searches: they run in one process.
pytestmark = pytest.mark.xdist_group("a life cycle and its leaks")

PLACES = (
    "the store's files",
    "rows",
    "the key's folder",
    "logs",
    "errors",
    "errors with local variables",
    "answers",
    "talk",
    "the sandbox",
)


@pytest.fixture(scope="module")
def life(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Life:
    life = Life(tmp_path_factory.mktemp("life"), sandbox)
    life.live()
    return life


@row("AK-29")
@pytest.mark.parametrize("place", PLACES)
def test_no_credential_is_in(life: Life, place: str):
    assert life.evidence.leaks(place, life.canaries, tokens=True) == []


def test_every_place_was_looked_at(life: Life):
    assert set(life.evidence.found) == set(PLACES)
    assert {finding.source.partition(" ")[0] for finding in life.evidence.found["the store's files"]} >= {
        "store.db",
        "store.db-wal",
        "store.db-shm",
    }
    assert {table for table, _, _ in life.evidence.found["rows"]} >= {"audit", "events", "versions", "rotations"}
    assert life.loggers >= {"azure", "msal", "httpx", "httpcore", "sqlalchemy", "asyncio"}


def test_every_secret_that_azure_told_is_searched_for(life: Life):
    """The search is for what the sandbox says that it handed out, not for what the store says that it got."""
    handed_out = {
        secret.key_id: app
        for app in (life.workload, life.alone)
        for secret in life.control.secrets(app.app_id)
        if secret.origin == "minted" and secret.delivered
    }
    assert life.minted.keys() == handed_out.keys()
    for key_id, name in life.minted.items():
        known = life.control.verify(handed_out[key_id].app_id, life.canaries[name])
        assert known is not None
        assert known.key_id == key_id
