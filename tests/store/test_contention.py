"""Two processes of four threads each on one store."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples

PROCESSES, THREADS, ROTATIONS = 2, 4, 24
ROOT = Path(__file__).parents[2]


@contextmanager
def _processes(url: str, folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as stack:
        started = []
        for number in range(PROCESSES):
            command = [
                sys.executable,
                "-m",
                "tests.store.contender",
                url,
                str(folder),
                f"process-{number}",
                str(THREADS),
            ]
            process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield started


@pytest.mark.parametrize("lanes", [1, 6], ids=["one lane", "six lanes"])
def test_each_rotation_is_claimed_once_and_a_lane_has_one_worker(
    store: SqlUnitOfWork, url: str, tmp_path: Path, lanes: int
):
    target = samples.add_target(store)
    made = []
    for number in range(ROTATIONS):
        item, _ = samples.add_item(store, target_id=target.target_id)
        lane = f"application:tenant-1:{number % lanes}"
        made.append(store.insert_rotation(samples.rotation(item.item_id, lane=lane)).rotation_id)

    with _processes(url, tmp_path) as processes:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("*.ready"))) < PROCESSES:
            assert time.monotonic() < deadline, "the processes did not start"
            assert all(process.poll() is None for process in processes), "a process ended early"
        (tmp_path / "go").touch()
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert (process.returncode, errors) == (0, "")

    claims = [json.loads(line) for line in (tmp_path / "claims").read_text().splitlines()]
    assert Counter(claim["rotation"] for claim in claims) == dict.fromkeys(made, 1)
    assert {claim["fence"] for claim in claims} == {1}
    assert not any(claim["overlap"] for claim in claims)
    assert store.open_rotations() == []
