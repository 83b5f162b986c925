"""kill -9 before every statement of a transaction: it happened wholly or not at all, and the next process goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.conftest import postgresql_in_full
from tests.store.inspection import Inspection
from tests.store.samples import NOW

ROOT = Path(__file__).parents[2]

# move -> at least so many statements; whether it needs a rotation that nobody holds
MOVES = {
    "publish": (8, False),
    "fail": (7, False),
    "insert_item": (6, False),
    "begin_delete": (8, True),
    "claim": (5, True),
}


def _run(url: str, move: str, statement: str) -> int:
    command = [sys.executable, "-m", "tests.store.victim", url, move, statement]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode


@pytest.mark.full  # campaigns do this to whole engines every day
@pytest.mark.crash
@postgresql_in_full
@pytest.mark.parametrize(("move", "least", "free"), [(m, *how) for m, how in MOVES.items()], ids=list(MOVES))
def test_a_killed_process_leaves_all_or_nothing(
    store: SqlUnitOfWork, outside: Inspection, store_url: str, move: str, least: int, free: bool
):
    scene = samples.scene(store)
    if free:
        store.release(scene.claim)
    before = outside.everything()
    killed = 0
    assert _run(store_url, move, "commit") == -signal.SIGKILL
    assert outside.everything() == before, "killed before the commit"
    while _run(store_url, move, str(killed)) == -signal.SIGKILL:
        assert outside.everything() == before, f"killed before statement {killed}"
        assert store.find_item(item_id=scene.item.item_id) == scene.item
        killed += 1
    # SQLite's BEGIN is a statement of its own.
    assert killed >= least - (outside.database == "postgresql")
    assert outside.everything() != before, "nobody killed it: it happened"


@pytest.mark.crash
def test_what_a_killed_worker_held_is_claimed_when_its_lease_runs_out(
    store: SqlUnitOfWork, outside: Inspection, store_url: str
):
    scene = samples.scene(store)
    store.release(scene.claim)
    _run(store_url, "claim", "1000")
    assert store.claim(scene.made.rotation_id, "worker-3", NOW) is None, "worker-2 is dead, its lease is not"
    outside.run_out_leases()
    taken = samples.claimed(store, scene.made, "worker-3")
    assert taken.fence == scene.claim.fence + 2
