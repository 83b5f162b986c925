"""What a failed step means for its operation: try again, park, undo, or call off, by whose move it is."""

from __future__ import annotations

from datetime import datetime

from azure_rotator.domain.backoff import retry_delay
from azure_rotator.domain.errors import RotatorError, Unavailable
from azure_rotator.domain.kinds import Retention, retention_of
from azure_rotator.domain.model import RotatedSecret, Rotation, RotationState, RotatorStatus, Trigger, Version
from azure_rotator.domain.ports import Claim, Failure
from azure_rotator.domain.rotation import doomed_version
from azure_rotator.engine.context import Context
from azure_rotator.engine.notices import Notices
from azure_rotator.engine.steps import removable, version_deleted

_RUNNING = frozenset({RotationState.PLANNED, RotationState.MINTING, RotationState.MINTED, RotationState.PROVING})


# A generated password that Entra's rules refuse, and how many are tried.
_REFUSED_CANDIDATE = "PasswordPolicyInvalid"
_CANDIDATES = 5


def only_copy(rotation: Rotation, item: RotatedSecret) -> bool:
    """Whether the journal may hold the only valid value: a mint that may have revoked the present one. Such an
    operation is never given up, and not even a failed create is undone, before that is known."""
    return rotation.mint_uncertain and retention_of(item) is Retention.REPLACED


class Failures:
    """Records failures in the journal."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._notices = Notices(context)

    def record(
        self,
        claim: Claim,
        rotation: Rotation,
        item: RotatedSecret,
        versions: tuple[Version, ...],
        error: RotatorError,
        *,
        force: bool,
    ) -> None:
        """Retry, park or fail by whose move it is."""
        now = self._c.clock.now()
        failure = Failure(code=error.code, text=error.message)
        attempts = rotation.attempts + 1
        unavailable = isinstance(error, Unavailable)
        retry_after = error.retry_after_seconds if isinstance(error, Unavailable) else None
        again_at = now + retry_delay(attempts, jitter=self._c.entropy.jitter(), retry_after_seconds=retry_after)
        self._c.pause(error, rotation.lane, self._c.keeper_of(item).tenant_id)
        unpublished = rotation.state in _RUNNING
        another = error.code == _REFUSED_CANDIDATE and attempts < _CANDIDATES
        if another:
            again_at = now  # Entra refuses this password, perhaps not the next (F52)
        goes_on = another or only_copy(rotation, item) or (unavailable and attempts < self._c.limits.max_attempts)
        if rotation.trigger is Trigger.DELETE_VERSION:
            self._failed_version_delete(claim, rotation, item, versions, error, again_at=again_at, force=force)
        elif rotation.trigger is Trigger.DELETE:
            self._failed_delete(claim, rotation, item, versions, error, again_at=again_at, force=force)
        elif unpublished and not goes_on:
            self._c.uow.fail(
                claim,
                failure,
                events=self._notices.parked(rotation, item, error),
                audit=self._c.audit(
                    "create_item" if rotation.trigger is Trigger.CREATE else "rotate_item",
                    item.name,
                    result=error.code,
                    trigger=rotation.trigger.value,
                ),
                undo_item=rotation.trigger is Trigger.CREATE,
                at=now,
            )
        else:
            # After publication the new one is never rolled back: removing the old one is tried on and on.
            status = RotatorStatus.FAILED if unpublished else RotatorStatus.PARTIAL
            cleaning = rotation.state is RotationState.FAILED
            self._c.uow.defer(
                claim,
                failure,
                attempts=attempts,
                next_attempt_at=again_at,
                status=None if cleaning else status.value,
                at=now,
                events=() if cleaning or another else self._notices.failed(rotation, item, error),
            )

    def _failed_version_delete(
        self,
        claim: Claim,
        rotation: Rotation,
        item: RotatedSecret,
        versions: tuple[Version, ...],
        error: RotatorError,
        *,
        again_at: datetime,
        force: bool,
    ) -> None:
        """What Azure refuses for certain is called off, unless it is forced; the rest is tried again."""
        now = self._c.clock.now()
        failure = Failure(code=error.code, text=error.message)
        version = doomed_version(rotation, versions)
        if isinstance(error, Unavailable):
            self._c.uow.defer(
                claim, failure, attempts=rotation.attempts + 1, next_attempt_at=again_at, status=None, at=now
            )
        elif force and version is not None:
            audit = version_deleted(self._c, item, version, forced_over=error.code)
            self._c.uow.finish_retiring(claim, [], now, done=True, audit=audit)
        else:
            audit = self._c.audit("delete_item_version", item.name, result=error.code)
            self._c.uow.cancel_version_delete(claim, failure, audit, now)

    def _failed_delete(
        self,
        claim: Claim,
        rotation: Rotation,
        item: RotatedSecret,
        versions: tuple[Version, ...],
        error: RotatorError,
        *,
        again_at: datetime,
        force: bool,
    ) -> None:
        """The item stays if its current credential certainly does; else the delete stays open and is tried again."""
        now = self._c.clock.now()
        failure = Failure(code=error.code, text=error.message)
        if force and not isinstance(error, Unavailable):
            left = [v.key_id for v in versions if v.in_azure and removable(item, v)]
            audit = self._c.audit("delete_item", item.name, orphans=left, forced_over=error.code)
            self._c.uow.drop_item(claim, audit, now)
        elif not isinstance(error, Unavailable) and (
            rotation.state is RotationState.PLANNED or (claim.fence == 1 and rotation.attempts == 0)
        ):
            audit = self._c.audit("delete_item", item.name, result=error.code)
            self._c.uow.cancel_delete(claim, failure, audit, now)
        else:
            self._c.uow.defer(
                claim, failure, attempts=rotation.attempts + 1, next_attempt_at=again_at, status=None, at=now
            )
