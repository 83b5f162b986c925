"""A process that competes for rotations: ``python -m tests.store.contender URL FOLDER NAME THREADS LEASE``.

Works on everything that is open until nothing is, and writes a line per rotation that it brought to its end: when it
had the claim, and when it went for its last commit. Who is killed writes nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from azure_rotator.domain.errors import LeaseLost
from azure_rotator.domain.names import encode_id
from azure_rotator.domain.ports import Claim
from azure_rotator.store.opening import open_store
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.samples import LATER, NOW


def main(url: str, folder: Path, name: str, threads: int, lease_seconds: float) -> None:
    with open_store(url, lease_seconds=lease_seconds) as store:
        (folder / f"{name}.ready").touch()
        while not (folder / "go").exists():
            time.sleep(0.001)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda number: _work(store, folder, f"{name}-{number}"), range(threads)))


def _work(store: SqlUnitOfWork, folder: Path, worker: str) -> None:
    while waiting := store.open_rotations():
        for rotation in waiting:
            claim = store.claim(rotation.rotation_id, worker, NOW)
            if claim is None:
                continue
            try:
                _bring_to_its_end(store, folder, claim)
            except LeaseLost:
                continue  # slower than its lease, on a busy machine: somebody else has it
            store.release(claim)


def _bring_to_its_end(store: SqlUnitOfWork, folder: Path, claim: Claim) -> None:
    claimed_at = time.monotonic()  # one clock for all processes of a machine
    store.begin_minting(claim, NOW, samples.mint(claim, encode_id(os.urandom(10))))
    still_at = time.monotonic()
    store.finish_retiring(claim, [], LATER, done=True)
    line = {
        "worker": claim.worker,
        "rotation": claim.rotation_id,
        "lane": claim.lane,
        "fence": claim.fence,
        "permit": claim.permit_fence,
        "claimed_at": claimed_at,
        "still_at": still_at,
    }
    descriptor = os.open(folder / "claims", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{json.dumps(line)}\n".encode())
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
