"""One event-loop thread per process: the ports are synchronous, the Azure clients asynchronous.

    thread A ──run()──┐                        ┌── login.microsoftonline.com
    thread B ──run()──┼──> loop thread (daemon)┼── graph.microsoft.com
    thread C ──run()──┘                        └── ...

The thread starts with the first call and ends with ``close()`` or the interpreter. Clients are bound to the loop they
were made on, so what is worth keeping is kept *with* the loop (``Kept``) and closed before it. A forked child gets a
loop of its own: the parent's thread does not exist there.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from azure_rotator.domain.errors import Unavailable

T = TypeVar("T")

# How long after a call's own limit the caller stops waiting: the calls end themselves, this is for a stuck loop.
_MARGIN_SECONDS: Final = 3.0


@dataclass(slots=True)
class Kept:
    """What lives as long as the loop: things worth keeping, and how to close them. Used on the loop's thread only."""

    values: dict[Hashable, Any] = field(default_factory=dict)
    closers: dict[Hashable, Callable[[], Coroutine[Any, Any, object]]] = field(default_factory=dict)
    _closing: set[asyncio.Task[object]] = field(default_factory=set)

    def soon(self, closing: Coroutine[Any, Any, object]) -> None:
        """Close something without waiting for it."""
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        await asyncio.gather(*(closer() for closer in self.closers.values()), return_exceptions=True)
        self.closers.clear()
        self.values.clear()


@dataclass(slots=True, kw_only=True)
class _Running:
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    kept: Kept


# A child must not close what it inherited: that would take the parent's sockets out of the shared epoll set. Nor may it
# let go of it, since a loop that is collected open is a warning. So it keeps it, untouched, till it ends.
_inherited: list[_Running] = []


class LoopThread:
    """A daemon thread that runs an event loop; any number of threads may call ``run``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def run(self, work: Callable[[Kept], Coroutine[Any, Any, T]], *, limit_seconds: float) -> T:
        """Run ``work`` on the loop and wait for it.

        Args:
            work: Makes the coroutine. It ends within ``limit_seconds`` by itself and never raises TimeoutError.
            limit_seconds: The call's limit; a moment later the caller is let go whatever the loop does.

        Raises:
            Unavailable: the loop is stuck, or was closed under the call. What was asked of Azure is unknown.
        """
        with self._lock:
            running = self._running or self._start()
            if threading.current_thread() is running.thread:
                raise RuntimeError("a call on the event loop would wait for itself")
            future = asyncio.run_coroutine_threadsafe(work(running.kept), running.loop)
        problem = f"no answer of Azure within {limit_seconds + _MARGIN_SECONDS:g} s"
        try:
            return future.result(limit_seconds + _MARGIN_SECONDS)
        except TimeoutError:
            future.cancel()
        except CancelledError:
            problem = "the process is closing its Azure connections"
        except BaseException:  # Ctrl-C in the waiting thread: nothing goes on behind the caller's back
            future.cancel()
            raise
        raise Unavailable("AzureUnavailable", problem, hint="nothing to do: it is tried again later")

    def close(self) -> None:
        """Cancel what runs, close what is kept, end the thread. The next ``run`` starts a new one."""
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return
        running.loop.call_soon_threadsafe(running.loop.stop)
        running.thread.join(timeout=5)

    def _start(self) -> _Running:
        loop = asyncio.new_event_loop()
        kept = Kept()
        thread = threading.Thread(target=_serve, args=(loop, kept), name="azure-rotator-cloud", daemon=True)
        self._running = _Running(loop=loop, thread=thread, kept=kept)
        thread.start()
        return self._running

    def _after_fork_in_child(self) -> None:
        # The lock may have been held by a thread that does not exist here.
        self._lock = threading.Lock()
        if self._running is not None:
            _inherited.append(self._running)
            self._running = None


def _serve(loop: asyncio.AbstractEventLoop, kept: Kept) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_wind_down(kept))
        with contextlib.suppress(RuntimeError):  # no new threads at the interpreter's exit
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _wind_down(kept: Kept) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await kept.close()
    await asyncio.get_running_loop().shutdown_asyncgens()
    # Transports of closed connections go in the next turns of the loop.
    for _ in range(3):
        await asyncio.sleep(0)


shared: Final = LoopThread()
"""The process's loop thread; all adapters use this one."""


def close() -> None:
    """Close the process's Azure connections. For tests and orderly ends; a later call simply starts again."""
    shared.close()


os.register_at_fork(after_in_child=shared._after_fork_in_child)  # noqa: SLF001 - this module's own class
atexit.register(close)
