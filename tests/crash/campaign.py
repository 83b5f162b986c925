"""One campaign: a plan is lived through in an estate of its own, and after every kill everything is looked at."""

from __future__ import annotations

import itertools
import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

from azure_rotator.config import ROWS
from azure_sandbox.testing import FaultHandle
from tests.crash.estate import Lab, let_go, reconcile, schedule
from tests.crash.invariants import Inspector, Violation
from tests.crash.jobs import Answer, Call
from tests.crash.kills import Commit, Request, complaints_about, wait_until_inside
from tests.crash.nursery import Process
from tests.crash.older import made_older
from tests.crash.operations import TAKEOVERS
from tests.crash.plans import ANY, KINDS, TOKEN, Act, Blow, Plan

# A token request of the product, not one of the checker's.
_PRODUCTS_OWN = "*/v2.0/token"
_FIRST_GUESS_SECONDS = 0.3
# As many as the faults of an act can defer something.
_ATTEMPTS = 6
# Others move the common clock on when they wait: nobody gives up for that.
_PATIENCE = {"foreground": 30 * 86400.0}
_PATIENT_PROOF = {"proof_deadline": 30 * 86400.0}
_LAG = {"visible_after": [1, 18]}
_LAG_IS_OVER = "1m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A process that was killed.

    Args:
        state: Of the operation that it had in hand, by the store.
        trigger: Of the same.
        at: The Azure call that it was in, or the kind of point.
    """

    blow: Blow
    at: str
    state: str
    trigger: str


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a campaign.

    Args:
        missed: Blows that met nobody: the process came to its end before.
        complaints: What else went wrong: a process ended with a traceback, or a call with an error that nobody expects.
    """

    plan: Plan
    hits: list[Hit] = field(default_factory=list)
    missed: list[Blow] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def is_red(self) -> bool:
        return bool(self.violations or self.complaints)


class Campaign:
    """Lives through one plan.

    Args:
        spans: Seconds between claim and end, by operation, as learnt from those that came to their end; shared by the
            campaigns of a run.
        sabotage: Ports that are broken on purpose, in all that are killed.
        dispatchers: Of schedulers, one after the other.
    """

    def __init__(
        self,
        lab: Lab,
        plan: Plan,
        *,
        database: str,
        spans: dict[str, float],
        sabotage: Sequence[str] = (),
        dispatchers: Sequence[str] = (ROWS,),
    ) -> None:
        kind = KINDS[plan.kind]
        self._lab = lab
        self._plan = plan
        self._kind = kind
        self._spans = spans
        self._sabotage = tuple(sabotage)
        self._dispatchers = itertools.cycle(dispatchers)
        self._estate = lab.estate(database=database, apart=kind.apart)
        if kind.account:
            assert self._estate.account.name  # it is there by now, and the Target names it
        self._outcome = Outcome(plan=plan)
        self._settled = True

    def live(self) -> Outcome:
        """Act by act, until one is red."""
        try:
            self._live()
        except Exception as failed:  # noqa: BLE001 - what cannot be looked at is red, and the other campaigns go on
            self._outcome.complaints.append(f"{type(failed).__name__}: {failed}")
        self._estate.remove()
        return self._outcome

    def _live(self) -> None:
        estate = self._estate
        # What nobody is killed in is done in one process with what comes before it.
        first, *others = self._plan.acts
        estate.begin(*(() if first.blows else first.deed.operation.calls(estate)), brief=True)
        acts = self._plan.acts if first.blows else others
        if self._plan.lag:
            self._lab.control.advance(_LAG_IS_OVER)
            self._lab.control.set_behaviour(estate.app_id, **_LAG)
        adopts = any(act.deed.operation.adopts for act in self._plan.acts)
        ours = [estate.given_key_id] if adopts else []
        inspector = estate.inspector(ours=[*ours, estate.own_key_id] if self._plan.kind == "target" else ours)
        for number, act in enumerate(acts, 1):
            self._act(act, inspector, last=number == len(acts))
            if self._outcome.is_red:
                return

    def _act(self, act: Act, inspector: Inspector, *, last: bool) -> None:
        estate, operation = self._estate, act.deed.operation
        if act.deed not in (*self._kind.first, self._kind.again) and not estate.has_item():
            estate.run(*self._kind.first[0].operation.calls(estate), brief=True).ok()  # it was undone
        operation.spoil(estate)
        if act.scheduled:
            operation = replace(operation, calls=lambda _: [schedule(next(self._dispatchers))])
            act = replace(act, deed=replace(act.deed, operation=operation))
            estate.make_due()
        lasting = operation.faults(estate)
        passing = [self._fault(fault.request, **fault.spec) for fault in act.faults]
        faulty = bool(lasting or passing or self._plan.lag)
        calls: Sequence[Call] = operation.calls(estate)
        how, rotated = "", False
        self._settled = False
        for blow, takeover in zip(act.blows, act.takeovers, strict=True):
            if not self._struck(act, blow, calls, how):
                break
            self._look(inspector, act, reconciled=False)
            if self._outcome.is_red:
                return
            how, rotated = takeover, rotated or takeover == "rotate"
            calls = self._takeover(takeover, act)
        if not self._settled:
            calls = calls if calls[-1].use == "reconcile" else (*calls, reconcile())
            answer = self._run_all(act, how, calls)
            if not faulty:
                told = complaints_about(act.deed.operation, how, calls, answer, rotated=rotated)
                self._outcome.complaints += [f"{act.deed.operation.name}: {line}" for line in told]
        for fault in (*lasting, *passing):
            fault.remove()
        for attempt in range(_ATTEMPTS):
            pause = estate.pause_seconds()
            if pause is None and (attempt or not faulty):  # an orphan that a fault kept has no operation that waits
                break
            self._lab.control.advance(pause or 0.0)
            # Of a front end that lags: the clock is everybody's, and may be moved by hours between two proofs.
            estate.run(reconcile(), brief=True, limits=_PATIENT_PROOF if self._plan.lag else {}).ok()
        self._look(inspector, act, reconciled=True, files=last)

    def _takeover(self, name: str, act: Act) -> Sequence[Call]:
        self._estate.store.wait_for_leases()
        if name == "newer version":
            made_older(self._estate.store, self._kind.older)
        return TAKEOVERS[name if name in TAKEOVERS else "reconcile"](act.deed.operation, self._estate)

    def _run_all(self, act: Act, how: str, calls: Sequence[Call]) -> Answer:
        """To the end; two at once where that is how. Returns: the first one's answer."""
        processes = [self._start(act, calls)]
        if how == "two at once":
            processes.append(self._start(act, TAKEOVERS["repeat"](act.deed.operation, self._estate)))
        began = time.monotonic()
        answers = [process.answer() for process in processes]
        self._learn(act, time.monotonic() - began)
        self._estate.began_at = max(answer.began_at for answer in answers)
        return answers[0]

    # --- one process, and its end -----------------------------------------------------------------------------------

    def _struck(self, act: Act, blow: Blow, calls: Sequence[Call], how: str) -> bool:
        """Start a process and kill it. Returns: whether it was killed before its end."""
        companion, at = None, blow.group
        if how == "two at once":
            companion = self._start(act, TAKEOVERS["repeat"](act.deed.operation, self._estate))
        match blow:
            case Commit():
                victim = self._victim(act, calls, kill_at=blow.number, kill_method=blow.method, inside=blow.inside)
                code = victim.code()
                in_hand = self._estate.store.in_hand()
            case Request():
                held = self._fault(blow.operation, when=blow.when, hold=True, skip=blow.number - 1)
                victim = self._victim(act, calls)
                wait_until_inside(held, victim)
                victim.kill()
                code = victim.code()
                in_hand = self._estate.store.in_hand()
                at = let_go(held, operation=None if blow.operation == ANY else blow.operation) or blow.operation
            case _:
                with self._bell() as bell:
                    victim = self._victim(act, calls, bell=bell.path)
                    bell.wait(victim)
                    victim.ended(blow.share * self._spans.get(self._span(act), _FIRST_GUESS_SECONDS))
                    victim.kill()
                code = victim.code()
                in_hand = self._estate.store.in_hand()
        if companion is not None:
            companion.answer()
        if code == -SIGKILL:
            trigger, state = in_hand or ("", "nothing in hand")
            self._outcome.hits.append(Hit(blow=blow, at=at, trigger=trigger, state=state))
            self._estate.store.wait_for_leases()
            return True
        self._outcome.missed.append(blow)
        answer = victim.answer()
        self._estate.began_at = answer.began_at
        self._settled = calls[-1].use == "reconcile"
        return False

    def _victim(self, act: Act, calls: Sequence[Call], **settings: Any) -> Process:
        return self._start(act, calls, sabotage=self._sabotage, **settings)

    def _start(self, act: Act, calls: Sequence[Call], **settings: Any) -> Process:
        return self._estate.start(*calls, limits={**_PATIENCE, **act.deed.operation.limits}, brief=True, **settings)

    def _fault(self, request: str, **spec: Any) -> FaultHandle:
        path = _PRODUCTS_OWN if request == TOKEN else None
        return self._lab.control.add_fault(request, tenant=self._estate.tenant_id, path=path, **spec)

    def _learn(self, act: Act, seconds: float) -> None:
        name = self._span(act)
        self._spans[name] = 0.8 * self._spans.get(name, _FIRST_GUESS_SECONDS) + 0.2 * seconds

    def _span(self, act: Act) -> str:
        return f"{self._plan.kind}: {act.deed.operation.name}"

    def _look(self, inspector: Inspector, act: Act, *, reconciled: bool, files: bool = False) -> None:
        lagging = self._plan.lag
        if lagging and reconciled:
            self._lab.control.advance(_LAG_IS_OVER)
        found = inspector.violations(
            reconciled=reconciled,
            late=act.deed.operation.tolerant or lagging,
            log_in=reconciled or not lagging,
            files=files,
        )
        self._outcome.violations += found

    @contextmanager
    def _bell(self) -> Iterator[Bell]:
        bell = Bell(self._estate.folder / "bell")
        try:
            yield bell
        finally:
            bell.close()


class Bell:
    """A FIFO that a process rings when it has claimed its first operation."""

    def __init__(self, file: Path) -> None:
        os.mkfifo(file)
        self._file = file
        self._fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        self.path = str(file)

    def wait(self, process: Process) -> None:
        """Until it rings, or the process has ended without."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(process.fd, select.POLLIN)
        poll.poll()

    def close(self) -> None:
        os.close(self._fd)
        self._file.unlink()
