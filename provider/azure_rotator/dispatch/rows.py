"""The default dispatcher: this process's own threads. The rows are the queue; a crash loses nothing of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


class RowsDispatcher:
    """Implements ``ports.Dispatcher``.

    Args:
        run: Works on one operation; must not raise.
        workers: How many operations at once.
        bell: Set whenever a worker is free again.
    """

    def __init__(self, run: Callable[[str], None], *, workers: int, bell: threading.Event) -> None:
        self._run = run
        self._workers = workers
        self._bell = bell
        self._lock = threading.Lock()
        self._in_hand: set[str] = set()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="azure-rotator-worker")

    @property
    def in_hand(self) -> int:
        with self._lock:
            return len(self._in_hand)

    @property
    def waiting(self) -> int:
        return 0

    @property
    def room(self) -> int:
        return self._workers - self.in_hand

    def look(self) -> None:
        """Nobody else takes anything from these threads, or gives them any."""

    def submit(self, rotation_ids: Sequence[str]) -> None:
        for rotation_id in rotation_ids:
            with self._lock:
                if rotation_id in self._in_hand or len(self._in_hand) >= self._workers:
                    continue
                self._in_hand.add(rotation_id)
            self._pool.submit(self._work, rotation_id)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _work(self, rotation_id: str) -> None:
        try:
            self._run(rotation_id)
        finally:
            with self._lock:
                self._in_hand.discard(rotation_id)
            self._bell.set()
