"""Schedulers that are killed or put to sleep, whoever calls ``run`` in them: others take over, the sleeper loses."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from signal import SIGCONT, SIGKILL
from typing import Any

import psycopg
import pytest

from azure_rotator.config import PROCRASTINATE, ROWS
from azure_rotator.dispatch.procrastinate import SCHEMA
from tests.crash.estate import AT_ONCE, Estate, Lab, let_go, reconcile, schedule
from tests.crash.kills import WRITES
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.full]

DISPATCHERS = (ROWS, PROCRASTINATE)
# Another thread than the first falls asleep again and again, and says when it is about to and when it has woken.
_SLEEPER = """
import threading
from tests.crash.worker import fall_asleep

def sleep():
    for _ in range(50):
        print("falls asleep", flush=True)
        fall_asleep()
        print("is awake", flush=True)

thread = threading.Thread(target=sleep)
thread.start()
thread.join()
"""
# Where a scheduler is put to sleep: right before the write to Azure that it would do next, or before it is recorded.
ASLEEP_BEFORE = ("begin_minting", "store_pending", "record_proof", "publish", "begin_retiring", "finish_retiring")


@pytest.fixture
def due(lab: Lab) -> Estate:
    """On PostgreSQL, with an item whose time has come."""
    estate = lab.estate(database="postgresql")
    estate.begin(estate.create(revoke_after=AT_ONCE))
    estate.make_due()
    return estate


def writes(estate: Estate) -> list[str]:
    """To Azure, as the sandbox's journal has them."""
    return [entry.operation for entry in estate.lab.control.journal(app=estate.app_id) if entry.operation in WRITES]


def jobs(estate: Estate) -> list[tuple[Any, ...]]:
    return estate.store.query(f"SELECT status::text, args FROM {SCHEMA}.procrastinate_jobs")  # noqa: S608


def test_whoever_falls_asleep_goes_no_step_further() -> None:
    with subprocess.Popen([sys.executable, "-c", _SLEEPER], stdout=subprocess.PIPE, bufsize=0) as sleeper:
        said = sleeper.stdout
        assert said is not None
        try:
            while (line := said.readline()) == b"falls asleep\n":
                os.waitpid(sleeper.pid, os.WUNTRACED)
                assert select.select([said], [], [], 0)[0] == [], "it has gone on"
                sleeper.send_signal(SIGCONT)
                assert said.readline() == b"is awake\n"
            assert line == b"", "it has ended"
        finally:
            sleeper.kill()


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("method", ASLEEP_BEFORE)
@row("F16")
def test_asleep_overtaken_and_continued_it_is_refused_and_writes_nothing_to_azure(
    due: Estate, dispatcher: str, method: str
) -> None:
    """SIGSTOP, its lease runs out, another process ends the rotation, SIGCONT."""
    inspector = due.inspector()
    sleeper = due.start(schedule(dispatcher), stop_before=method)
    sleeper.wait_stopped()
    due.store.wait_for_leases()
    overtaking = due.run(schedule(), reconcile()).ok()
    assert "publish" in overtaking.commits or method in {"begin_retiring", "finish_retiring"}
    before = writes(due)
    sleeper.go_on()
    answer = sleeper.answer().ok()
    assert writes(due) == before
    assert method not in answer.commits, "it was refused"
    due.run(reconcile()).ok()
    assert writes(due) == before
    assert inspector.violations() == []
    assert len(due.minted()) == 1


@pytest.mark.parametrize("takeover", DISPATCHERS)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_what_a_killed_scheduler_had_in_hand_is_taken_over(due: Estate, dispatcher: str, takeover: str) -> None:
    inspector = due.inspector()
    held = due.lab.control.add_fault("graph.addPassword", app=due.app_id, when="after", hold=True)
    victim = due.start(schedule(dispatcher))
    held.wait_reached()
    victim.kill()
    assert victim.code() == -SIGKILL
    let_go(held)
    if dispatcher == PROCRASTINATE:
        ((status, args),) = jobs(due)
        assert status == "doing", "nobody has told procrastinate"
        assert set(args) == {"rotation_id"}
    due.store.wait_for_leases()
    (result,) = due.run(schedule(takeover)).ok().results
    assert result.facts["planned"] == 0, "it was planned by the one that is dead"
    assert len(due.minted()) == 1
    due.run(reconcile()).ok()
    assert inspector.violations() == []


def test_a_job_that_waits_while_nobody_lives_is_a_hint_and_no_promise(due: Estate) -> None:
    """Killed before its worker began, it leaves a job; rows end the rotation, and the job finds nothing to do."""
    victim = due.start(schedule(PROCRASTINATE), stop_before="claim")
    victim.wait_stopped()
    victim.kill()
    victim.code()
    assert len(jobs(due)) == 1
    due.store.wait_for_leases()
    due.run(schedule(ROWS)).ok()
    assert len(due.minted()) == 1
    before = writes(due)
    with psycopg.connect(due.store.url) as connection:
        connection.execute(f"SET search_path = {SCHEMA}")
        connection.execute("UPDATE procrastinate_jobs SET status = 'todo'")
    due.run(schedule(PROCRASTINATE)).ok()
    assert writes(due) == before
    assert jobs(due) == []


@pytest.mark.parametrize("count", [2, 4])
def test_schedulers_of_both_kinds_at_once_serve_a_due_date_once(due: Estate, count: int) -> None:
    inspector = due.inspector()
    started = [due.start(schedule(DISPATCHERS[number % 2])) for number in range(count)]
    planned = [process.answer().ok().results[0].facts["planned"] for process in started]
    assert sum(planned) == 1
    due.run(reconcile()).ok()
    assert writes(due).count("graph.addPassword") == 2, "one by create, one by schedule"
    assert inspector.violations() == []
