"""A life cycle of the engine, with all that goes wrong on its way, leaves no credential anywhere: see ``life``."""

from __future__ import annotations

from pathlib import Path

from azure_sandbox.testing import Sandbox
from tests.leak.life import Life
from tests.rows import row

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


@row("AK-29", "F66")
def test_a_life_cycle_leaves_no_credential_anywhere(sandbox: Sandbox, tmp_path: Path):
    life = Life(tmp_path, sandbox)
    life.live()
    leaks = {place: life.evidence.leaks(place, life.canaries, tokens=True) for place in PLACES}
    assert {place: found for place, found in leaks.items() if found} == {}
    _every_place_was_looked_at(life)
    _every_secret_that_azure_told_was_searched_for(life)


def _every_place_was_looked_at(life: Life) -> None:
    assert set(life.evidence.found) == set(PLACES)
    files = {finding.source.partition(" ")[0] for finding in life.evidence.found["the store's files"]}
    assert files >= {"store.db", "store.db-wal", "store.db-shm"}
    tables = {finding.source for finding in life.evidence.found["rows"]}
    assert tables >= {"audit", "events", "versions", "rotations"}
    assert life.loggers >= {"azure", "msal", "httpx", "httpcore", "sqlalchemy", "asyncio"}


def _every_secret_that_azure_told_was_searched_for(life: Life) -> None:
    """By what the sandbox says that it handed out, not by what the store says that it got."""
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
