"""Waiting for an operation in the foreground (features 3.2), and finishing what others left due.

A wait is the row's ``next_attempt_at``: while it lies inside the command's limit the command waits, saying so; beyond
it a rotation is left to whoever comes next, and a create is undone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import Conflict, RotatorError, Unavailable
from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import Rotation, RotationState, Trigger
from azure_rotator.domain.ports import Failure
from azure_rotator.engine.context import Context
from azure_rotator.engine.failures import only_copy
from azure_rotator.engine.runner import Ending, Outcome, Runner
from azure_rotator.engine.steps import removable

_PUBLISHED = frozenset({RotationState.PUBLISHED, RotationState.RETIRING, RotationState.DONE})
_POLL = timedelta(seconds=1)
# For claims whose work is in the store alone: no pause that Azure asked for stands in their way.
_AT_ANY_TIME = datetime.max.replace(tzinfo=UTC, microsecond=0)
_GIVEN_UP = {
    Trigger.CREATE: ("the create was undone", "create it again when Azure answers"),
    Trigger.DELETE: ("the item was not deleted", "delete it again when Azure answers"),
}
_PAUSED = Failure(code="AzureThrottled", text="Azure asked for a pause of requests like these")
_NOUN = {Trigger.CREATE: "create", Trigger.DELETE: "delete", Trigger.DELETE_VERSION: "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What a command does when its time is over."""

    limit_at: datetime
    undo: bool
    force: bool


class Foreground:
    """Drives operations for a command that waits."""

    def __init__(self, context: Context, runner: Runner) -> None:
        self._c = context
        self._runner = runner

    def limit_at(self) -> datetime:
        """Until when a command that begins now waits."""
        return self._c.clock.now() + self._c.limits.foreground

    def drive(
        self,
        rotation_id: str,
        *,
        resume: bool = False,
        force: bool = False,
        limit_at: datetime | None = None,
        undo: bool = True,
    ) -> Rotation:
        """Run the operation until it is published (a delete: done).

        Args:
            rotation_id: The operation.
            resume: Take a parked one up again.
            force: A delete drops the item although Azure refuses, or does not answer within the limit.
            limit_at: Until when to wait; the command's limit from now unless given.
            undo: At the limit undo a create and call off a delete: whoever asked for it hears that it failed.

        Raises:
            RotatorError: Why it failed, or ``ItemLocked``, or the last refusal when the command's limit is reached.
        """
        end = _End(limit_at=limit_at or self.limit_at(), undo=undo, force=force)
        failure: RotatorError | None = None
        while True:
            rotation = self._get(rotation_id)
            if self._reached(rotation):
                return rotation
            if rotation.closed:
                raise failure or _stored_failure(rotation)
            now = self._c.clock.now()
            if rotation.parked and (rotation.next_attempt_at > now or not resume):
                raise failure or _stored_failure(rotation)
            if rotation.next_attempt_at > now:
                if not self._wait_for(rotation, end):
                    return self._get(rotation_id)
                continue
            failed_before = rotation.state is RotationState.FAILED
            outcome = self._runner.run(rotation_id, resume=resume, force=force)
            if outcome.ending is not Ending.BUSY:
                resume = False
            if not failed_before:  # what failed it, not what the clean-up met
                failure = outcome.error or failure
            rotation = self._get(rotation_id)
            if rotation.state is RotationState.FAILED and not resume and not self._cleaning_up(rotation, outcome):
                raise failure or _stored_failure(rotation)
            held = outcome.ending in {Ending.BUSY, Ending.LOST}
            if held and not self._wait_for_other(rotation, end):
                return self._get(rotation_id)

    def finish_due(self, *, item_id: str | None = None) -> None:
        """Run what is due (retirements above all) once, without waiting; a failure is recorded and stops nobody."""
        finishing = _PUBLISHED | {RotationState.FAILED}
        for rotation in self._c.uow.open_rotations(item_id=item_id):
            due = rotation.next_attempt_at <= self._c.clock.now()
            if due and rotation.state in finishing and self._has_work(rotation):
                self.run_quietly(rotation.rotation_id)

    def _has_work(self, rotation: Rotation) -> bool:
        return self._next_step(rotation) not in machine.IDLE

    def _next_step(self, rotation: Rotation) -> machine.Step:
        item = self._c.uow.find_item(item_id=rotation.item_id)
        versions = self._c.uow.versions(rotation.item_id)
        return machine.next_step(rotation, item, versions, self._c.clock.now())

    def run_quietly(self, rotation_id: str) -> Outcome:
        """One run whose failure is nobody's: recorded on the row, noted, not raised."""
        try:
            return self._runner.run(rotation_id)
        except RotatorError as failed:
            self._c.observer.note("operation left unfinished", rotation_id=rotation_id, code=failed.code)
            return Outcome(ending=Ending.WAITING, error=failed)

    def finish(self, rotation_id: str) -> RotatorError | None:
        """Run quietly, and wait for nothing but the spacing of reads that must agree that something is gone.

        Returns: What keeps it from ending; None when it ended, or waits for its time.
        """
        limit_at = self._c.clock.now() + self._c.limits.foreground
        listed = 0
        while True:
            outcome = self.run_quietly(rotation_id)
            rotation = self._get(rotation_id)
            now = self._c.clock.now()
            spaced = outcome.error is None and self._cleaning_up(rotation, outcome)
            listed += not rotation.confirmations  # once: found and removed; again: Graph's reads lag, for minutes maybe
            if not spaced or listed > 1 or now >= limit_at:
                return outcome.error
            self._c.clock.wait_until(rotation.next_attempt_at)

    def give_up(self, rotation: Rotation, failure: Failure, *, force: bool = False) -> bool:
        """Undo a create, or call off a delete that has not begun with the current credential; or force it to its end.

        Returns: whether it was given up; if not, another process works on it or has brought it past that point.
        """
        if rotation.trigger is Trigger.CREATE and self._withdraw(rotation, failure):
            return True
        claim = self._c.uow.claim(rotation.rotation_id, self._c.worker, _AT_ANY_TIME)
        if claim is None:
            return False
        try:
            # What was read before the claim may be long ago: a secret that was published since is in use.
            rotation = self._get(rotation.rotation_id)
            now = self._c.clock.now()
            item = self._c.uow.find_item(item_id=rotation.item_id)
            path = item.name if item else rotation.item_id
            if item is not None and only_copy(rotation, item):
                return False
            if rotation.trigger is Trigger.CREATE and rotation.state in machine.UNPUBLISHED:
                audit = self._c.audit("create_item", path, result=failure.code)
                self._c.uow.fail(claim, failure, audit=audit, undo_item=True, at=now)
                if self._next_step(self._get(rotation.rotation_id)) is machine.Step.DROP_ITEM:
                    self._c.uow.drop_item(claim, None, now)
            elif rotation.trigger is Trigger.DELETE and force:
                versions = self._c.uow.versions(rotation.item_id)
                left = [v.key_id for v in versions if item is not None and v.in_azure and removable(item, v)]
                audit = self._c.audit("delete_item", path, orphans=left, forced_over=failure.code)
                self._c.uow.drop_item(claim, audit, now)
            elif rotation.trigger is Trigger.DELETE and rotation.state is RotationState.PLANNED:
                audit = self._c.audit("delete_item", path, result=failure.code)
                self._c.uow.cancel_delete(claim, failure, audit, now)
            else:
                return False
        finally:
            self._c.uow.release(claim)
        if rotation.trigger is Trigger.CREATE:
            self.finish(rotation.rotation_id)
        return True

    def undo_create(self, rotation_id: str, error: RotatorError) -> None:
        """A create that failed leaves no item, as far as store and Azure let us now; reconcile does the rest."""
        try:
            rotation = self._c.uow.get_rotation(rotation_id)
            if rotation is not None and not rotation.closed and rotation.state in machine.UNPUBLISHED:
                self.give_up(rotation, Failure(code=error.code, text=error.message))
        except RotatorError as failed:
            self._c.observer.note("create not undone", rotation_id=rotation_id, code=failed.code)

    def _withdraw(self, rotation: Rotation, failure: Failure) -> bool:
        item = self._c.uow.find_item(item_id=rotation.item_id)
        audit = self._c.audit("create_item", item.name if item else rotation.item_id, result=failure.code)
        return self._c.uow.withdraw_create(rotation.rotation_id, audit, self._c.clock.now())

    # --- private --------------------------------------------------------------------------------------------------

    def _get(self, rotation_id: str) -> Rotation:
        rotation = self._c.uow.get_rotation(rotation_id)
        if rotation is None:
            raise Conflict("ItemLocked", f"operation {rotation_id} vanished from the journal")
        return rotation

    @staticmethod
    def _reached(rotation: Rotation) -> bool:
        if rotation.trigger in {Trigger.DELETE, Trigger.DELETE_VERSION}:
            return rotation.state is RotationState.DONE
        return rotation.state in _PUBLISHED

    def _cleaning_up(self, rotation: Rotation, outcome: Outcome) -> bool:
        """Whether only the spacing of repeated reads stands between a failure and its clean end."""
        soon = self._c.clock.now() + self._c.limits.absent_spacing
        return outcome.ending is Ending.WAITING and rotation.next_attempt_at <= soon

    def _wait_for(self, rotation: Rotation, end: _End) -> bool:
        """Wait for the operation's time. Returns: whether to go on; not after a forced end."""
        if rotation.next_attempt_at > end.limit_at:
            failure = Failure(
                code=rotation.error_code or "AzureUnavailable",
                text=rotation.error_text or "Azure did not answer in time",
            )
            return self._leave(rotation, failure, end)
        at = iso(rotation.next_attempt_at)
        if rotation.error_text and rotation.next_attempt_at - self._c.clock.now() > self._c.limits.absent_spacing:
            self._c.observer.say(f"{rotation.error_text}; next attempt at {at}")
        self._c.observer.note("waiting", rotation_id=rotation.rotation_id, state=rotation.state.value, until=at)
        self._c.clock.wait_until(rotation.next_attempt_at)
        return True

    def _wait_for_other(self, rotation: Rotation, end: _End) -> bool:
        """Wait for another process, or for the end of a pause that Azure asked for. As ``_wait_for``."""
        now = self._c.clock.now()
        paused_until = self.paused_until(rotation)
        if paused_until is not None:
            if paused_until > end.limit_at:
                return self._leave(rotation, _PAUSED, end, again_at=paused_until)
            self._c.observer.say(f"{_PAUSED.text}; next attempt at {iso(paused_until)}")
            self._c.clock.wait_until(paused_until)
        elif now >= end.limit_at:
            text = f"operation {rotation.rotation_id} is held by another process, or its application is"
            return self._leave(rotation, Failure(code="ItemLocked", text=text), end)
        else:
            self._c.clock.wait_until(now + _POLL)
        return True

    def paused_until(self, rotation: Rotation) -> datetime | None:
        """When the pause ends that keeps this operation from running; None: none does."""
        item = self._c.uow.find_item(item_id=rotation.item_id)
        tenant_id = self._c.keeper_of(item).tenant_id if item else None
        until = self._c.uow.paused_until(rotation.lane, tenant_id)
        return until if until is not None and until > self._c.clock.now() else None

    def _leave(self, rotation: Rotation, failure: Failure, end: _End, *, again_at: datetime | None = None) -> bool:
        """The command's limit is reached: undo a create, call off a delete or force it, leave a rotation to whoever
        comes next.

        Args:
            again_at: When it goes on, if not at its ``next_attempt_at``.

        Returns: False, after a forced delete. Raises: what the command ends with.
        """
        details: dict[str, object] = {}
        given_up = end.undo and rotation.trigger in _GIVEN_UP and self.give_up(rotation, failure, force=end.force)
        if given_up and end.force:
            return False
        if given_up:
            told, hint = _GIVEN_UP[rotation.trigger]
        else:
            at = iso(again_at or rotation.next_attempt_at)
            noun = _NOUN.get(rotation.trigger, "rotation")
            told = f"the {noun} is {rotation.state.value}, the next attempt is at {at}"
            present = "" if rotation.trigger in _GIVEN_UP else "the present version stays current; "
            hint = f"{present}azure-rotator reconcile goes on with it"
            details = {"rotation_id": rotation.rotation_id, "next_attempt_at": at}
        kind = Conflict if failure.code == "ItemLocked" else Unavailable
        raise kind(failure.code, f"{failure.text}; {told}", hint=hint, details=details)


def _stored_failure(rotation: Rotation) -> RotatorError:
    """The failure of an operation that another process ran."""
    code, text = rotation.error_code or "InternalError", rotation.error_text or "the operation failed"
    return RotatorError(code, text, hint="azure-rotator audit list tells what happened")


def when_locked(context: Context, attempt: Callable[[], Rotation]) -> Rotation:
    """Try again while another process holds the thing, within the command's limit."""
    limit_at = context.clock.now() + context.limits.foreground
    while True:
        try:
            return attempt()
        except Conflict as held:
            now = context.clock.now()
            if held.code != "ItemLocked" or now >= limit_at:
                raise
            context.clock.wait_until(now + _POLL)
