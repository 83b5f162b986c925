"""The scheduler: plan what is due, hand it to the dispatcher, look again; beside that, send what people are to be told.

    due items ──plan──> rows ──due──> dispatcher ──run──> engine's runner ──> waits are columns again

Nothing is kept in memory that matters: any number of replicas may do this at once, and one that dies loses nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from azure_rotator.domain.census import Census
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.instants import iso
from azure_rotator.domain.ports import Clock, Dispatcher, Observer
from azure_rotator.engine.runner import Ending, Outcome
from azure_rotator.engine.service import Engine

POLL = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=30)
# One call to rotate what is due waits for proofs, and not for what backs off.
_PATIENCE = timedelta(seconds=20)
# A tick that plans ten thousand rotations takes seconds, a run less than a minute, for it waits as a column: whatever
# takes longer than this beyond the loop's pause hangs.
_SILENCE = timedelta(minutes=5)


@dataclass(slots=True)
class Served:
    """What came of the runs so far.

    Args:
        planned: Rotations that began because they were due.
        endings: How many runs came to which end.
        failed: Codes of what failed.
    """

    planned: int = 0
    endings: Counter[Ending] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """How the loop is at this moment.

    Args:
        now: This moment.
        began_at: When the loop began; None: it has not.
        ticked_at: When it last looked for what is due, whatever came of it; None: never.
        error: Why it could not, then.
        succeeded: How often it could.
        failed: How often it could not.
        silence: For how long nothing may be heard of it, or of a run.
        oldest: Of the runs that go on the one that began first, and when.
    """

    now: datetime
    began_at: datetime | None = None
    ticked_at: datetime | None = None
    error: RotatorError | None = None
    succeeded: int = 0
    failed: int = 0
    silence: timedelta
    oldest: tuple[str, datetime] | None = None
    stopping: bool = False

    def stuck(self) -> str:
        """Why the process had better be started anew; empty if it need not."""
        heard_at = self.ticked_at or self.began_at
        if heard_at is not None and (silent_for := self.now - heard_at) > self.silence:
            return f"the loop hangs: it has not looked for what is due for {silent_for.total_seconds():.0f} s"
        if self.oldest is not None and (goes_on_for := self.now - self.oldest[1]) > self.silence:
            return f"a run of rotation {self.oldest[0]} hangs: it goes on for {goes_on_for.total_seconds():.0f} s"
        return ""

    def not_ready(self) -> str:
        """Why it does not rotate now; empty if it does."""
        if self.stopping:
            return "it is told to end"
        if self.ticked_at is None:
            return "it has not looked for what is due yet"
        if self.error is not None:
            return f"it could not look for what is due: {self.error.code}"
        return self.stuck()


class Scheduler:
    """The companion process.

    Args:
        engine: On the store whose items are rotated.
        make_dispatcher: Given what to run, and a bell to ring whenever there is room again.
        poll: How long to wait where nothing is due: what other processes plan is seen that late at most.
    """

    def __init__(
        self,
        engine: Engine,
        make_dispatcher: Callable[[Callable[[str], None], threading.Event], Dispatcher],
        *,
        clock: Clock,
        observer: Observer,
        poll: timedelta = POLL,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._observer = observer
        self._poll = poll
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._left: set[str] = set()  # somebody else was faster: not looked at again before the next poll
        self._broken: set[str] = set()  # met a fault of ours, which would only repeat itself
        self._begun: set[str] | None = None  # what one call is to come back to; a process that goes on collects nothing
        self.served = Served()
        self._began_at: datetime | None = None
        self._ticked_at: datetime | None = None
        self._error: RotatorError | None = None
        self._ticks: Counter[bool] = Counter()
        self._running: dict[str, datetime] = {}
        self._dispatcher = make_dispatcher(self._run_one, self._bell)

    @property
    def in_hand(self) -> int:
        """How many operations are worked on."""
        return self._dispatcher.in_hand

    @property
    def room(self) -> int:
        """How many more would be taken."""
        return self._dispatcher.room

    @property
    def pulse(self) -> Pulse:
        """How the loop of ``run`` is."""
        with self._lock:
            oldest = min(self._running.items(), key=lambda run: run[1], default=None)
        return Pulse(
            now=self._clock.now(),
            began_at=self._began_at,
            ticked_at=self._ticked_at,
            error=self._error,
            succeeded=self._ticks[True],
            failed=self._ticks[False],
            silence=max(self._poll, _LONGEST_PAUSE) + _SILENCE,
            oldest=oldest,
            stopping=self._stopping.is_set(),
        )

    def census(self) -> Census:
        """The store in numbers. Raises: RotatorError, it could not be used."""
        return self._engine.watch.census()

    def ask_store(self) -> None:
        """Raises: RotatorError, the store could not be used."""
        self._engine.watch.ask_store()

    def run(self) -> None:
        """Rotate until ``stop`` is called. The store may be away for a while: it is asked again and again."""
        self._observer.tell("scheduler started", store_id=self._engine.store_id)
        courier = threading.Thread(target=self._inform, name="azure-rotator-courier")
        courier.start()
        try:
            with closing(self._dispatcher):  # else its threads would keep a process that failed from ending
                self._rotate()
        finally:
            self._stopping.set()
            courier.join()
        self._observer.tell("scheduler stopped", in_hand=self._dispatcher.in_hand)

    def _rotate(self) -> None:
        failures = 0
        rang = False
        self._began_at = self._clock.now()
        while not self._stopping.is_set():
            self._bell.clear()
            if not rang:
                self._forget_left()
            try:
                self._tick()
                failures = 0
                self._beat(None)
            except RotatorError as failed:
                failures += 1
                self._beat(failed)
                self._observer.tell("store not usable", code=failed.code, message=failed.message, hint=failed.hint)
            pause = self._poll * min(2**failures, _LONGEST_PAUSE // self._poll or 1)
            rang = self._bell.wait(pause.total_seconds())

    def _beat(self, error: RotatorError | None) -> None:
        self._ticks[error is None] += 1
        self._error, self._ticked_at = error, self._clock.now()

    def _inform(self) -> None:
        """Find what people are to be told and send it, and sweep orphans, on a thread of its own: neither a look at
        everything nor a receiver that is slow keeps a rotation waiting."""
        while not self._stopping.is_set():
            pause = self._poll
            try:
                self._do_chores()
            except RotatorError as failed:
                pause = _LONGEST_PAUSE
                self._observer.tell("chores failed", code=failed.code, message=failed.message, hint=failed.hint)
            except Exception as fault:  # noqa: BLE001 - rotations go on, and so do the next events
                pause = _LONGEST_PAUSE
                self._observer.tell("internal error", error=type(fault).__name__, exc_info=fault)
            self._stopping.wait(pause.total_seconds())

    def _do_chores(self) -> None:
        self._engine.reminders.tell_due()
        self._engine.forwarding.deliver_due(stopping=self._stopping.is_set)
        self._engine.sweep_some()

    def once(self) -> Served:
        """Plan and run what is due now, to where it has to wait for longer than a proof may take; then send events.

        Raises:
            RotatorError: The store could not be used.
        """
        self._begun = set()
        with closing(self._dispatcher):
            while not self._stopping.is_set():
                self._bell.clear()
                self._engine.reminders.tell_due()
                self._tick()
                if self._dispatcher.in_hand or self._dispatcher.waiting:
                    self._bell.wait(self._poll.total_seconds())  # another process may end it, which rings nothing here
                elif not self._wait_for_more():
                    break
        while not self._stopping.is_set() and self._engine.sweep_some():
            pass  # not on a thread of its own: the call ends with it
        self._engine.forwarding.deliver_due(stopping=self._stopping.is_set)
        return self.served

    def stop(self) -> None:
        """End soon: the step in hand is finished, what comes after it is left to whoever comes next."""
        self._stopping.set()
        self._bell.set()

    def _tick(self) -> None:
        self._engine.planner.follow_zones()
        planned = self._engine.planner.plan_due()
        self._dispatcher.look()
        room = self._dispatcher.room
        taken = self._dispatcher.in_hand + self._dispatcher.waiting
        with self._lock:
            self.served.planned += planned
            left = self._left | self._broken
        if room:
            found = self._engine.planner.due(room + taken + len(left))
            self._dispatcher.submit([rotation_id for rotation_id in found if rotation_id not in left])

    def _wait_for_more(self) -> bool:
        """Returns: whether something of what this process began goes on soon, and is due now; or what somebody else has
        in hand may be free by now."""
        now = self._clock.now()
        goes_on_at = self._engine.planner.goes_on_at(self._begun or ())
        if goes_on_at is None or goes_on_at - now > _PATIENCE:
            return False
        self._clock.wait_until(goes_on_at if goes_on_at > now else now + self._poll)
        self._forget_left()
        return True

    def _forget_left(self) -> None:
        with self._lock:
            self._left.clear()

    def _run_one(self, rotation_id: str) -> None:
        """One operation, on a thread of the dispatcher."""
        with self._lock:
            if rotation_id in self._broken:  # another process that does not know yet has named it
                return
            self._running[rotation_id] = self._clock.now()
        try:
            outcome = self._engine.runner.run(rotation_id, stopping=self._stopping.is_set)
        except RotatorError as failed:
            outcome = Outcome(ending=Ending.LOST, error=failed)  # the store fails: it is not asked for the path
        except Exception as fault:  # noqa: BLE001 - one operation's fault must not end the others
            with self._lock:
                self._broken.add(rotation_id)
            path = self._engine.runner.path_of(rotation_id)
            kind = type(fault).__name__
            self._observer.tell("internal error", rotation_id=rotation_id, path=path, error=kind, exc_info=fault)
            return
        finally:
            with self._lock:
                self._running.pop(rotation_id, None)
        with self._lock:
            if self._begun is not None and outcome.ending is Ending.LOST:
                self._begun.discard(rotation_id)  # the next round's: somebody else has it, or the store fails
            elif self._begun is not None:
                self._begun.add(rotation_id)
            self.served.endings[outcome.ending] += 1
            if outcome.ending in {Ending.BUSY, Ending.LOST}:
                self._left.add(rotation_id)
            if outcome.error is not None:
                self.served.failed[outcome.error.code] += 1
        self._tell(rotation_id, outcome)

    def _tell(self, rotation_id: str, outcome: Outcome) -> None:
        about: dict[str, object] = {"rotation_id": rotation_id, "path": outcome.path, "ending": outcome.ending.value}
        if outcome.rotation is not None:
            about["state"] = outcome.rotation.state.value
            if outcome.ending is Ending.WAITING:
                about["next_attempt_at"] = iso(outcome.rotation.next_attempt_at)
        if outcome.error is not None:
            error = outcome.error
            self._observer.tell("rotation failed", **about, code=error.code, message=error.message, hint=error.hint)
        elif outcome.ending is not Ending.BUSY:
            self._observer.tell("rotation went on", **about)
