"""The loop thread: many threads, limits, ends, forks."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from azure_rotator.cloud import GraphDirectory
from azure_rotator.cloud.loop import Kept, LoopThread, shared
from azure_rotator.domain.errors import Unavailable


@pytest.fixture
def loop():
    thread = LoopThread()
    yield thread
    thread.close()


def threads() -> int:
    return sum(thread.name == "azure-rotator-cloud" for thread in threading.enumerate())


async def where(_: Kept) -> int:
    return threading.get_ident()


def test_it_starts_with_the_first_call_and_serves_all(loop):
    before = threads()
    idents = {loop.run(where, limit_seconds=1) for _ in range(3)}
    assert len(idents) == 1
    assert idents != {threading.get_ident()}
    assert threads() == before + 1


def test_callers_do_not_wait_for_each_other(loop):
    async def nap(_: Kept) -> None:
        await asyncio.sleep(0.5)

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: loop.run(nap, limit_seconds=1), range(8)))
    assert time.monotonic() - started < 3


def test_threads_that_come_first_together_start_one_loop(loop):
    barrier = threading.Barrier(8)

    def call(_: int) -> int:
        barrier.wait()
        return loop.run(where, limit_seconds=1)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(call, range(8)))) == 1


def test_what_the_call_raises_is_raised(loop):
    async def fail(_: Kept) -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        loop.run(fail, limit_seconds=1)


def test_a_stuck_loop_lets_the_caller_go(loop, monkeypatch):
    monkeypatch.setattr("azure_rotator.cloud.loop._MARGIN_SECONDS", 0.1)
    free = threading.Event()

    async def block(_: Kept) -> None:
        free.wait()

    with pytest.raises(Unavailable) as caught:
        loop.run(block, limit_seconds=0.1)
    assert caught.value.applied == "unknown"
    assert caught.value.__context__ is None
    free.set()


def test_a_call_from_the_loop_itself_is_refused_instead_of_waiting_for_itself(loop):
    async def call_back(_: Kept) -> None:
        loop.run(where, limit_seconds=1)

    with pytest.raises(RuntimeError, match="wait for itself"):
        loop.run(call_back, limit_seconds=1)


def test_close_ends_the_thread_and_a_later_call_starts_another(loop):
    first = loop.run(where, limit_seconds=1)
    before = threads()
    loop.close()
    loop.close()
    assert threads() == before - 1
    assert isinstance(first, int)
    loop.run(where, limit_seconds=1)
    assert threads() == before


def test_close_ends_the_calls_that_run(loop):
    inside = threading.Event()
    found: list[Any] = []

    async def wait(_: Kept) -> None:
        inside.set()
        await asyncio.sleep(60)

    def call() -> None:
        try:
            loop.run(wait, limit_seconds=60)
        except Unavailable as error:
            found.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    inside.wait()
    loop.close()
    caller.join(5)
    assert [error.applied for error in found] == ["unknown"]


def test_what_is_kept_is_closed_with_the_loop(loop):
    closed = []

    async def keep(kept: Kept) -> None:
        async def close(name: str) -> None:
            await asyncio.sleep(0)
            closed.append(name)

        kept.values["a"] = "thing"
        kept.closers["a"] = lambda: close("a")
        kept.soon(close("b"))

    async def look(kept: Kept) -> Any:
        return kept.values.get("a")

    loop.run(keep, limit_seconds=1)
    assert loop.run(look, limit_seconds=1) == "thing"
    assert closed == ["b"]
    loop.close()
    assert closed == ["b", "a"]
    assert loop.run(look, limit_seconds=1) is None


def test_ctrl_c_in_the_waiting_thread_stops_the_call(loop):
    cancelled = threading.Event()

    async def wait(_: Kept) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupt() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), 2)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(wait, limit_seconds=60)
    assert cancelled.wait(2)


def test_a_hundred_calls_from_four_threads(directory, rotator, workload):
    acting = rotator.identity()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: directory.get_application(acting, workload.app_id), range(100)))
    assert {application.object_id for application in found} == {workload.object_id}
    assert threads() == 1


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, and no paths


def test_connections_that_were_given_up_are_closed_too(azure, control, rotator, workload):
    directory = GraphDirectory(request_seconds=0.3)

    def some_calls() -> None:
        fault = control.add_fault("graph.*", app=workload.app_id, hold=True, times=None)
        for _ in range(4):
            with pytest.raises(Unavailable):
                directory.get_application(rotator.identity(), workload.app_id)
        fault.release()
        fault.remove()

    some_calls()
    before = open_files()
    some_calls()
    assert open_files() <= before + 1


def test_connections_are_closed_after_each_call(directory, login, rotator, workload):
    def some_calls() -> None:
        for _ in range(5):
            directory.get_application(rotator.identity(), workload.app_id)
            login.prove(rotator.identity())

    some_calls()
    before = open_files()
    some_calls()
    assert open_files() <= before + 1


# From Python 3.12 on a fork of a process with threads warns; that it is safe for these adapters is what is tested.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@forks
def test_a_forked_child_gets_a_loop_of_its_own_and_the_parent_keeps_its(directory, rotator, workload):
    def read() -> str:
        return directory.get_application(rotator.identity(), workload.app_id).object_id

    assert read() == workload.object_id
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if read() == workload.object_id and read() == workload.object_id else 2
        finally:
            os._exit(code)
    assert read() == workload.object_id
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert read() == workload.object_id


@forks
def test_a_fork_in_the_moment_of_another_call_leaves_no_lock_behind():
    with shared._lock:  # as another thread would hold it, which does not exist in the child
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(10)
                code = 0 if shared.run(where, limit_seconds=5) else 2
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@forks
def test_a_fork_while_another_thread_calls(azure, control, rotator, workload):
    directory = GraphDirectory()
    fault = control.add_fault("*", method="GET", path="*/applications*", app=workload.app_id, hold=True)
    caller = threading.Thread(target=lambda: directory.get_application(rotator.identity(), workload.app_id))
    caller.start()
    fault.wait_reached()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if directory.get_application(rotator.identity(), workload.app_id).passwords else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    fault.release()
    caller.join()
    assert os.waitstatus_to_exitcode(status) == 0
