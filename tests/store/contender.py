"""A process that competes for rotations: ``python -m tests.store.contender URL FOLDER NAME THREADS``.

Works on everything that is open until nothing is, and writes a line per claim. A lane is entered by making a file that
must not exist, so that two who are in one lane at once are found out by the file system and not by the store.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from azure_rotator.domain.names import encode_id
from azure_rotator.store.opening import open_store
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.samples import LATER, NOW


def main(url: str, folder: Path, name: str, threads: int) -> None:
    with open_store(url, lease_seconds=30.0) as store:
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
            lane = folder / f"lane-{claim.lane.replace(':', '-')}"
            try:
                os.close(os.open(lane, os.O_CREAT | os.O_EXCL))
                overlap = False
            except FileExistsError:
                overlap = True
            store.begin_minting(claim, NOW, samples.mint(claim, encode_id(os.urandom(10))))
            store.finish_retiring(claim, [], LATER, done=True)
            _tell(
                folder, {"worker": worker, "rotation": rotation.rotation_id, "fence": claim.fence, "overlap": overlap}
            )
            lane.unlink(missing_ok=True)
            store.release(claim)


def _tell(folder: Path, line: dict[str, object]) -> None:
    descriptor = os.open(folder / "claims", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{json.dumps(line)}\n".encode())
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
