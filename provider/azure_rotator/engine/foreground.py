"""Waiting for an operation in the foreground (features 3.2), and finishing what others left due.

A wait is the row's ``next_attempt_at``: while it lies inside the command's limit the command waits, saying so; beyond
it a rotation is left to whoever comes next, and a create is undone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.errors import Conflict, RotatorError, Unavailable
from azure_rotator.domain.model import Rotation, RotationState, Trigger
from azure_rotator.domain.ports import Failure
from azure_rotator.engine.context import Context
from azure_rotator.engine.runner import Ending, Outcome, Runner
from azure_rotator.engine.views import iso

_PUBLISHED = frozenset({RotationState.PUBLISHED, RotationState.RETIRING, RotationState.DONE})
_POLL = timedelta(seconds=1)


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
        item = self._c.uow.find_item(item_id=rotation.item_id)
        versions = self._c.uow.versions(rotation.item_id)
        return machine.next_step(rotation, item, versions, self._c.clock.now()) not in machine.IDLE

    def run_quietly(self, rotation_id: str) -> Outcome | None:
        """One run whose failure is nobody's: recorded on the row, noted, not raised."""
        try:
            return self._runner.run(rotation_id)
        except RotatorError as failed:
            self._c.observer.note("operation left unfinished", rotation_id=rotation_id, code=failed.code)
            return None

    def give_up(self, rotation: Rotation, failure: Failure) -> bool:
        """Undo a create, or call off a delete that has not begun with the current credential.

        Returns: whether it was given up; if not, another process works on it or has brought it past that point.
        """
        at = max(self._c.clock.now(), rotation.next_attempt_at)
        claim = self._c.uow.claim(rotation.rotation_id, self._c.worker, at)
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
            elif rotation.trigger is Trigger.DELETE and rotation.state is RotationState.PLANNED:
                audit = self._c.audit("delete_item", path, result=failure.code)
                self._c.uow.cancel_delete(claim, failure, audit, now)
            else:
                return False
        finally:
            self._c.uow.release(claim)
        if rotation.trigger is Trigger.CREATE:
            self.run_quietly(rotation.rotation_id)
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
            self._beyond(rotation)
        self._c.observer.note(
            "waiting", rotation_id=rotation.rotation_id, state=rotation.state.value, until=iso(rotation.next_attempt_at)
        )
        self._c.clock.wait_until(rotation.next_attempt_at)

    def _wait_for_other(self, rotation: Rotation, limit_at: datetime) -> None:
        now = self._c.clock.now()
        if now >= limit_at:
            raise Conflict(
                "ItemLocked",
                f"operation {rotation.rotation_id} is held by another process, or its application is",
                hint="wait for it to end and try again",
            )
        self._c.clock.wait_until(now + _POLL)

    def _beyond(self, rotation: Rotation) -> None:
        """The next attempt lies beyond what this command may wait."""
        code, text = rotation.error_code or "AzureUnavailable", rotation.error_text or "Azure did not answer in time"
        at = iso(rotation.next_attempt_at)
        if rotation.trigger in {Trigger.CREATE, Trigger.DELETE}:
            given_up = self.give_up(rotation, Failure(code=code, text=text))
            verb = rotation.trigger.value
            if not given_up:
                raise Unavailable(
                    code,
                    f"{text}; the {verb} is not over, the next attempt is at {at}",
                    hint=f"azure-rotator reconcile goes on with it; or {verb} it again when Azure answers",
                )
            ending = "the create was undone" if rotation.trigger is Trigger.CREATE else "the item was not deleted"
            raise Unavailable(code, f"{text}; {ending}", hint=f"{verb} it again when Azure answers")
        raise Unavailable(
            code,
            f"{text}; the rotation is {rotation.state.value}, the next attempt is at {at}",
            hint="the present version stays current; azure-rotator reconcile goes on with it",
            details={"rotation_id": rotation.rotation_id, "next_attempt_at": at},
        )


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
