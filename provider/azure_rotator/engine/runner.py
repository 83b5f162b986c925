"""``run(rotation_id)``: claim, step, commit under the fence, step again; stops on a lost lease.

Safe to call twice, at once, or late, from any process. A wait is a column, and ``run`` returns when there is one. What
decides a step is ``domain.rotation.next_step``, from stored facts only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import LeaseLost, RotatorError
from azure_rotator.domain.ports import Claim
from azure_rotator.domain.rotation import Step
from azure_rotator.engine.context import Context, explained
from azure_rotator.engine.failures import Failures
from azure_rotator.engine.steps import Steps, Work


class Ending(StrEnum):
    """Why ``run`` returned."""

    BUSY = "busy"  # somebody else holds it, or its lane
    WAITING = "waiting"  # until ``next_attempt_at``
    PARKED = "parked"
    ENDED = "ended"
    LOST = "lost"  # another process took it over


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to.

    Args:
        error: What failed in this run, if something did; safe to show.
    """

    ending: Ending
    error: RotatorError | None = None


class Runner:
    """Runs operations of the journal."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._steps = Steps(context)
        self._failures = Failures(context)

    def run(self, rotation_id: str, *, resume: bool = False, force: bool = False) -> Outcome:
        """Work on the operation until it waits, ends or fails.

        Args:
            rotation_id: The operation.
            resume: Take a parked operation up again (a manual rotation).
            force: A delete drops the item although Azure refuses, and names what it leaves behind.
        """
        claim = self._c.uow.claim(rotation_id, self._c.worker, self._c.clock.now())
        if claim is None:
            return Outcome(ending=Ending.BUSY)
        try:
            with _Heartbeat(lambda: self._c.uow.extend(claim), self._c.limits.heartbeat_seconds):
                return self._loop(claim, resume=resume, force=force)
        except LeaseLost:
            return Outcome(ending=Ending.LOST)
        finally:
            self._release(claim)

    def _release(self, claim: Claim) -> None:
        try:
            self._c.uow.release(claim)
        except RotatorError as failed:
            # What this run came to matters more; the lease runs out by itself.
            self._c.observer.note("lease not released", rotation_id=claim.rotation_id, code=failed.code)

    def _loop(self, claim: Claim, *, resume: bool, force: bool) -> Outcome:
        error: RotatorError | None = None
        while True:
            now = self._c.clock.now()
            rotation = self._c.uow.get_rotation(claim.rotation_id)
            if rotation is None:
                return Outcome(ending=Ending.ENDED, error=error)
            item = self._c.uow.find_item(item_id=rotation.item_id)
            versions = tuple(self._c.uow.versions(rotation.item_id)) if item else ()
            step = machine.next_step(rotation, item, versions, now)
            if step is Step.ENDED or item is None:
                return Outcome(ending=Ending.ENDED, error=error)
            if step is Step.WAIT:
                return Outcome(ending=Ending.WAITING, error=error)
            if step is Step.PARKED:
                if not resume or error is not None:
                    return Outcome(ending=Ending.PARKED, error=error)
                self._c.uow.resume(claim, now)
                resume = False
                continue
            self._c.observer.note("step", rotation_id=rotation.rotation_id, path=item.name, step=step.value)
            try:
                work = Work(
                    claim=claim,
                    rotation=rotation,
                    item=item,
                    versions=versions,
                    rotator=self._c.rotators[item.rotator_type],
                    target=self._c.target_of(item),
                    now=now,
                )
                self._steps.take(step, work)
            except LeaseLost:
                raise
            except RotatorError as raised:
                failed = explained(raised, item, self._c.uow.find_target(target_id=item.target_id))
                error = error or failed
                if self._fatal_to_the_store(failed):
                    raise
                self._failures.record(claim, rotation, item, versions, failed, force=force)

    @staticmethod
    def _fatal_to_the_store(error: RotatorError) -> bool:
        """The store itself failed: there is nowhere to record it."""
        return error.exit_code == 1


class _Heartbeat:
    """Extends a lease while a step runs, on its own thread; a lost one is found by the next guard or commit."""

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._beat = beat
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="azure-rotator-heartbeat", daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._beat()
            except LeaseLost:
                return
            except RotatorError:
                continue  # the store may answer again before the lease runs out

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
