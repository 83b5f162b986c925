"""Waiting for an operation in the foreground (features 3.2), and finishing what others left due.

A wait is the row's ``next_attempt_at``: while it lies inside the command's limit the command waits, saying so; beyond
it a rotation is left to whoever comes next, and a create is undone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import Conflict, RotatorError, Unavailable
from azure_rotator.domain.model import Rotation, RotationState, Trigger
from azure_rotator.domain.ports import Failure
from azure_rotator.engine.context import Context
from azure_rotator.engine.runner import Ending, Outcome, Runner
from azure_rotator.engine.views import iso

_PUBLISHED = frozenset({RotationState.PUBLISHED, RotationState.RETIRING, RotationState.DONE})
_POLL = timedelta(seconds=1)
# For claims whose work is in the store alone: no pause that Azure asked for stands in their way.
_AT_ANY_TIME = datetime.max.replace(tzinfo=UTC, microsecond=0)
_GIVEN_UP = {
    Trigger.CREATE: ("the create was undone", "create it again when Azure answers"),
    Trigger.DELETE: ("the item was not deleted", "delete it again when Azure answers"),
}
_NOUN = {Trigger.CREATE: "create", Trigger.DELETE: "delete"}


class Foreground:
    """Drives operations for a command that waits."""

    def __init__(self, context: Context, runner: Runner) -> None:
        self._c = context
        self._runner = runner

    def drive(self, rotation_id: str, *, resume: bool = False, force: bool = False) -> Rotation:
        """Run the operation until it is published (a delete: done).

        Raises:
            RotatorError: Why it failed, or ``ItemLocked``, or the last refusal when the command's limit is reached.
        """
        limit_at = self._c.clock.now() + self._c.limits.foreground
        failure: RotatorError | None = None
        while True:
            rotation = self._get(rotation_id)
            if self._reached(rotation):
                return rotation
            if rotation.closed:
                raise failure or _stored_failure(rotation)
            now = self._c.clock.now()
            if rotation.next_attempt_at > now:
                self._wait_for(rotation, limit_at)
                continue
            outcome = self._runner.run(rotation_id, resume=resume, force=force)
            if outcome.ending is not Ending.BUSY:
                resume = False
            failure = failure or outcome.error
            rotation = self._get(rotation_id)
            if rotation.state is RotationState.FAILED and not resume and not self._cleaning_up(rotation, outcome):
                raise failure or _stored_failure(rotation)
            if outcome.ending in {Ending.BUSY, Ending.LOST}:
                self._wait_for_other(rotation, limit_at)
            elif outcome.ending is Ending.WAITING and outcome.error is not None:
                self._say_wait(rotation, outcome.error)

    def finish_due(self, *, item_id: str | None = None) -> None:
        """Run what is due (retirements above all) once, without waiting; a failure is recorded and stops nobody."""
        finishing = _PUBLISHED | {RotationState.FAILED}
        for rotation in self._c.uow.open_rotations(item_id=item_id):
            if rotation.state in finishing and self._has_work(rotation):
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

    def give_up(self, rotation: Rotation, failure: Failure) -> bool:
        """Undo a create, or call off a delete that has not begun with the current credential.

        Returns: whether it was given up; if not, another process works on it or has brought it past that point.
        """
        claim = self._c.uow.claim(rotation.rotation_id, self._c.worker, _AT_ANY_TIME)
        if claim is None:
            return False
        try:
            # What was read before the claim may be long ago: a secret that was published since is in use.
            rotation = self._get(rotation.rotation_id)
            now = self._c.clock.now()
            item = self._c.uow.find_item(item_id=rotation.item_id)
            path = item.name if item else rotation.item_id
            if rotation.trigger is Trigger.CREATE and rotation.state in machine.UNPUBLISHED:
                audit = self._c.audit("create_item", path, result=failure.code)
                self._c.uow.fail(claim, failure, event=None, audit=audit, undo_item=True, at=now)
                if self._next_step(self._get(rotation.rotation_id)) is machine.Step.DROP_ITEM:
                    self._c.uow.drop_item(claim, None, now)
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

    # --- private --------------------------------------------------------------------------------------------------

    def _get(self, rotation_id: str) -> Rotation:
        rotation = self._c.uow.get_rotation(rotation_id)
        if rotation is None:
            raise Conflict("ItemLocked", f"operation {rotation_id} vanished from the journal")
        return rotation

    @staticmethod
    def _reached(rotation: Rotation) -> bool:
        if rotation.trigger is Trigger.DELETE:
            return rotation.state is RotationState.DONE
        return rotation.state in _PUBLISHED

    def _cleaning_up(self, rotation: Rotation, outcome: Outcome) -> bool:
        """Whether only the spacing of repeated reads stands between a failure and its clean end."""
        soon = self._c.clock.now() + self._c.limits.absent_spacing
        return outcome.ending is Ending.WAITING and rotation.next_attempt_at <= soon

    def _say_wait(self, rotation: Rotation, error: RotatorError) -> None:
        self._c.observer.say(f"{error.message}; next attempt at {iso(rotation.next_attempt_at)}")

    def _wait_for(self, rotation: Rotation, limit_at: datetime) -> None:
        if rotation.next_attempt_at > limit_at:
            failure = Failure(
                code=rotation.error_code or "AzureUnavailable",
                text=rotation.error_text or "Azure did not answer in time",
            )
            raise self._left(rotation, failure)
        self._c.observer.note(
            "waiting", rotation_id=rotation.rotation_id, state=rotation.state.value, until=iso(rotation.next_attempt_at)
        )
        self._c.clock.wait_until(rotation.next_attempt_at)

    def _wait_for_other(self, rotation: Rotation, limit_at: datetime) -> None:
        now = self._c.clock.now()
        if now >= limit_at:
            raise self._left(rotation, self._why_held(rotation))
        self._c.clock.wait_until(now + _POLL)

    def _why_held(self, rotation: Rotation) -> Failure:
        """Another process at work, or a pause that Azure asked for and that ends by itself."""
        permit = self._c.uow.claim_lane(rotation.lane, self._c.worker, _AT_ANY_TIME)
        if permit is None:
            text = f"operation {rotation.rotation_id} is held by another process, or its application is"
            return Failure(code="ItemLocked", text=text)
        self._c.uow.release(permit)
        return Failure(code="AzureThrottled", text="Azure asked for a pause of the requests about this application")

    def _left(self, rotation: Rotation, failure: Failure) -> RotatorError:
        """The command's limit is reached: undo a create, call off a delete, leave a rotation to whoever comes next."""
        details: dict[str, object] = {}
        if rotation.trigger in _GIVEN_UP and self.give_up(rotation, failure):
            end, hint = _GIVEN_UP[rotation.trigger]
        else:
            at = iso(rotation.next_attempt_at)
            end = (
                f"the {_NOUN.get(rotation.trigger, 'rotation')} is {rotation.state.value}, the next attempt is at {at}"
            )
            hint = "the present version stays current; azure-rotator reconcile goes on with it"
            details = {"rotation_id": rotation.rotation_id, "next_attempt_at": at}
        kind = Conflict if failure.code == "ItemLocked" else Unavailable
        return kind(failure.code, f"{failure.text}; {end}", hint=hint, details=details)


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
