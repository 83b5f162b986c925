"""``run(rotation_id)``: claim, step, commit under the fence, step again; stops on a lost lease.

Safe to call twice, at once, or late, from any process. A wait is a column, and ``run`` returns when there is one. What
decides a step is ``domain.rotation.next_step``, from stored facts only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import TracebackType

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.due import parked_until
from azure_rotator.domain.errors import LeaseLost, RotatorError
from azure_rotator.domain.model import RotatedSecret, Rotation, RotationState
from azure_rotator.domain.ports import Claim, Span
from azure_rotator.domain.rotation import Step
from azure_rotator.domain.schedule import PUNCTUAL
from azure_rotator.engine.context import Context, explained, in_use
from azure_rotator.engine.failures import Failures
from azure_rotator.engine.steps import Steps, Work

# Steps that are one commit and no work.
_OF_THE_ROW = frozenset({Step.PARK, Step.RESUME, Step.WITHDRAW})


class Ending(StrEnum):
    """Why ``run`` returned."""

    BUSY = "busy"  # somebody else holds it, or its lane
    WAITING = "waiting"  # until ``next_attempt_at``
    PARKED = "parked"
    ENDED = "ended"
    LOST = "lost"  # another process took it over
    STOPPED = "stopped"  # this process ends; whoever comes next goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to.

    Args:
        error: What failed in this run, if something did; safe to show.
        path: The item's; empty where it is not known.
        rotation: The operation as the run left it.
    """

    ending: Ending
    error: RotatorError | None = None
    path: str = ""
    rotation: Rotation | None = None


class Runner:
    """Runs operations of the journal."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._steps = Steps(context)
        self._failures = Failures(context)

    def run(
        self,
        rotation_id: str,
        *,
        resume: bool = False,
        force: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Work on the operation until it waits, ends or fails.

        Args:
            rotation_id: The operation.
            resume: Somebody asks for it: take a parked operation up again, and one that the schedule gave up.
            force: A delete drops the item although Azure refuses, and names what it leaves behind.
            stopping: Whether the process is to end: asked before each step, so that another one can go on at once.
        """
        claim = self._c.uow.claim(rotation_id, self._c.worker, self._c.clock.now())
        if claim is None:
            return Outcome(ending=Ending.BUSY)
        with self._c.observer.span("rotation", rotation_id=rotation_id) as span:
            try:
                with _Heartbeat(lambda: self._c.uow.extend(claim), self._c.limits.heartbeat_seconds):
                    outcome = self._loop(claim, span, resume=resume, force=force, stopping=stopping)
            except LeaseLost:
                outcome = Outcome(ending=Ending.LOST, path=self.path_of(rotation_id))
            finally:
                self._release(claim)
            span.set(ending=outcome.ending.value, code=outcome.error.code if outcome.error else None)
        return outcome

    def path_of(self, rotation_id: str) -> str:
        """The path of the operation's item, to tell of it; empty where there is none, or the store is away."""
        try:
            rotation = self._c.uow.get_rotation(rotation_id)
            item = self._c.uow.find_item(item_id=rotation.item_id) if rotation else None
        except RotatorError:
            return ""
        return item.name if item else ""

    def _release(self, claim: Claim) -> None:
        try:
            self._c.uow.release(claim)
        except RotatorError as failed:
            # What this run came to matters more; the lease runs out by itself.
            self._c.observer.note("lease not released", rotation_id=claim.rotation_id, code=failed.code)

    def _loop(self, claim: Claim, span: Span, *, resume: bool, force: bool, stopping: Callable[[], bool]) -> Outcome:
        error: RotatorError | None = None
        path = ""
        rotation: Rotation | None = None
        while True:
            if stopping():
                return Outcome(ending=Ending.STOPPED, error=error, path=path, rotation=rotation)
            now = self._c.clock.now()
            found = self._c.uow.situation(claim.rotation_id)
            if found is None:
                return Outcome(ending=Ending.ENDED, error=error, path=path)
            rotation, item, versions = found.rotation, found.item, found.versions
            path = item.name if item else path
            _describe(span, claim, rotation, item, now)
            step = machine.next_step(rotation, item, versions, now)
            if step is Step.ENDED or item is None:
                return Outcome(ending=Ending.ENDED, error=error, path=path, rotation=rotation)
            if step is Step.WAIT:
                return Outcome(ending=Ending.WAITING, error=error, path=path, rotation=rotation)
            if step is Step.PARKED:
                return Outcome(ending=Ending.PARKED, error=error, path=path, rotation=rotation)
            if step in _OF_THE_ROW:
                asked, resume = resume and error is None, False
                self._decide(step, claim, rotation, item, now, asked=asked)
                continue
            self._c.observer.note("step", rotation_id=rotation.rotation_id, path=item.name, step=step.value)
            with self._c.observer.span("step", step=step.value) as doing:
                try:
                    work = Work(
                        claim=claim,
                        rotation=rotation,
                        item=item,
                        versions=versions,
                        rotator=self._c.rotators[item.rotator_type],
                        target=in_use(found.target, item),
                        mint=found.mint,
                        now=now,
                    )
                    self._steps.take(step, work)
                except LeaseLost:
                    raise
                except RotatorError as raised:
                    failed = explained(raised, item, found.target)
                    doing.set(code=failed.code)
                    error = error or failed
                    if self._fatal_to_the_store(failed):
                        raise
                    self._failures.record(claim, rotation, item, versions, failed, force=force)

    def _decide(
        self, step: Step, claim: Claim, rotation: Rotation, item: RotatedSecret, now: datetime, *, asked: bool
    ) -> None:
        """What needs no Azure: whether a rotation that failed, or that nobody needs any more, goes on, and when."""
        if asked:
            self._c.uow.resume(claim, now, by_hand=step is Step.WITHDRAW)
        elif step is Step.RESUME:
            late = now - rotation.next_attempt_at
            self._c.uow.resume(claim, now, due_at=rotation.next_attempt_at if late <= PUNCTUAL else None)
        elif step is Step.PARK:
            self._c.uow.park(claim, parked_until(item, now) or machine.NEVER, now)
        else:
            self._c.uow.withdraw(claim, now)

    @staticmethod
    def _fatal_to_the_store(error: RotatorError) -> bool:
        """The store itself failed: there is nowhere to record it."""
        return error.exit_code == 1


def _describe(span: Span, claim: Claim, rotation: Rotation, item: RotatedSecret | None, now: datetime) -> None:
    span.set(state=rotation.state.value, trigger=rotation.trigger.value)
    if item is not None:
        span.set(path=item.name, kind=item.rotator_type.value)
    # Nobody ever had it before: this is when it starts, the first time round.
    if claim.fence == 1 and rotation.due_at is not None and rotation.state is RotationState.PLANNED:
        span.set(late_seconds=(now - rotation.due_at).total_seconds())


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
