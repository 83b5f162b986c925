"""Processes of four threads each on one store, and what becomes of the work of those that are killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from azure_rotator.domain.model import RotationState
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.rows import row
from tests.store import samples
from tests.store.conftest import Opened, postgresql_in_full
from tests.store.samples import NOW

THREADS = 4
LEASE_SECONDS = 0.3
PATIENCE_SECONDS = 60.0
ROOT = Path(__file__).parents[2]


@contextmanager
def _processes(number: int, url: str, folder: Path, lease_seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """They begin together."""
    with ExitStack() as stack:
        started = []
        for name in (f"process-{index}" for index in range(number)):
            words = [url, str(folder), name, str(THREADS), str(lease_seconds)]
            command = [sys.executable, "-m", "tests.store.contender", *words]
            process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        _until(lambda: len(list(folder.glob("*.ready"))) == number)
        (folder / "go").touch()
        yield started


def _until(condition: Callable[[], bool]) -> float:
    """Returns: when it was so."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)
    return time.monotonic()


def _due(store: SqlUnitOfWork, number: int, *, lanes: int) -> list[str]:
    target = samples.add_target(store)
    made = []
    for index in range(number):
        item, _ = samples.add_item(store, target_id=target.target_id)
        lane = f"application:tenant-1:{index % lanes}"
        made.append(store.insert_rotation(samples.rotation(item.item_id, lane=lane)).rotation_id)
    return made


def _ended(folder: Path) -> list[dict[str, Any]]:
    file = folder / "claims"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _wait_for_lines(folder: Path, number: int) -> None:
    _until(lambda: len(_ended(folder)) >= number)


def _overlaps(ended: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who had a claim in a lane while the one before still went for a commit, and made it."""
    lanes: dict[str, list[dict[str, Any]]] = {}
    for line in sorted(ended, key=lambda line: line["permit"]):
        lanes.setdefault(line["lane"], []).append(line)
    return [
        (one["rotation"], other["rotation"])
        for lane in lanes.values()
        for one, other in pairwise(lane)
        if one["still_at"] > other["claimed_at"] or one["permit"] == other["permit"]
    ]


@postgresql_in_full
@pytest.mark.parametrize("lanes", [1, 6], ids=["one lane", "six lanes"])
def test_each_rotation_is_claimed_once_and_a_lane_has_one_worker(
    store: SqlUnitOfWork, store_url: str, tmp_path: Path, lanes: int
):
    made = _due(store, 24, lanes=lanes)
    with _processes(2, store_url, tmp_path, 30.0) as processes:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert (process.returncode, errors) == (0, "")
    ended = _ended(tmp_path)
    assert Counter(line["rotation"] for line in ended) == dict.fromkeys(made, 1)
    assert {line["fence"] for line in ended} == {1}
    assert _overlaps(ended) == []
    assert store.open_rotations() == []


@row("AK-23")
@pytest.mark.crash
def test_two_of_three_processes_are_killed_and_nothing_is_lost(store: SqlUnitOfWork, store_url: str, tmp_path: Path):
    made = _due(store, 60, lanes=6)
    with _processes(3, store_url, tmp_path, LEASE_SECONDS) as processes:
        for number, process in enumerate(processes[:2], 1):
            _wait_for_lines(tmp_path, 10 * number)
            process.kill()
        _, errors = processes[2].communicate(timeout=120)
        assert (processes[2].returncode, errors) == (0, "")
    ended = _ended(tmp_path)
    assert _overlaps(ended) == []
    # Killed between its last commit and its line, a worker tells nothing of what it did.
    assert max(Counter(line["rotation"] for line in ended).values()) == 1
    assert len(ended) >= len(made) - 2 * THREADS
    assert {rotation.state for id in made if (rotation := store.get_rotation(id))} == {RotationState.DONE}
    assert store.open_rotations() == []


@pytest.mark.crash
def test_what_a_killed_process_held_is_taken_over_after_one_lease(
    store: SqlUnitOfWork, store_url: str, open_again: Opened, tmp_path: Path, record_property
):
    (made,) = _due(store, 1, lanes=1)
    program = (
        "import signal, sys, time; from tests.store.samples import NOW\n"
        "from azure_rotator.store.opening import open_store\n"
        f"store = open_store({store_url!r}, lease_seconds={LEASE_SECONDS})\n"
        f"assert store.claim({made!r}, 'killed', NOW)\n"
        "print(time.monotonic(), flush=True); signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        claimed_at = float(process.stdout.readline())
        process.kill()
    successor = open_again(lease_seconds=LEASE_SECONDS)
    taken_at = _until(lambda: successor.claim(made, "successor", NOW) is not None)
    record_property("takeover_seconds", round(taken_at - claimed_at, 3))
    # The claim was made a moment before its time was taken, by another clock.
    assert taken_at - claimed_at >= LEASE_SECONDS - 0.1
    assert taken_at - claimed_at < LEASE_SECONDS + PATIENCE_SECONDS / 10
