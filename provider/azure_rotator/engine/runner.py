"""``run(rotation_id)``: claim, step, commit under the fence, step again; stops on a lost lease.

Safe to call twice, at once, or late, from any process. Each step ends in one fenced commit; a wait is a column, and
``run`` returns what it waits for. What decides a step is ``domain.rotation.next_step``, from stored facts only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import TracebackType

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.backoff import proof_delay, retry_delay
from azure_rotator.domain.errors import Forbidden, LeaseLost, NotFound, RotatorError, Unavailable
from azure_rotator.domain.model import (
    Event,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    RotatorStatus,
    Stage,
    Target,
    Trigger,
    Version,
)
from azure_rotator.domain.ports import Claim, Failure, Identity, Job, Publication, Removal, Rotator
from azure_rotator.domain.rotation import Step
from azure_rotator.domain.schedule import credential_end_at, next_rotation_at, overlap
from azure_rotator.engine.context import Context, explained


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One rotation as loaded for one step."""

    claim: Claim
    rotation: Rotation
    item: RotatedSecret
    versions: tuple[Version, ...]
    rotator: Rotator
    target: Target
    now: datetime


class Runner:
    """Runs operations of the journal."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._steps: dict[Step, Callable[[_Work], None]] = {
            Step.RECOVER: self._recover,
            Step.MINT: self._mint,
            Step.PROVE: self._prove,
            Step.PUBLISH: self._publish,
            Step.BEGIN_RETIRING: self._begin_retiring,
            Step.RETIRE: self._retire,
            Step.CLOSE: self._close,
            Step.REMOVE_ABANDONED: self._remove_abandoned,
            Step.DROP_ITEM: self._drop_item,
            Step.DELETE_REST: self._delete_rest,
            Step.DELETE_CURRENT: self._delete_current,
        }

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
            self._c.uow.release(claim)

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
                work = _Work(
                    claim=claim,
                    rotation=rotation,
                    item=item,
                    versions=versions,
                    rotator=self._c.rotators[item.rotator_type],
                    target=self._c.target_of(item),
                    now=now,
                )
                self._steps[step](work)
            except LeaseLost:
                raise
            except RotatorError as raised:
                failed = explained(raised, item)
                error = error or failed
                if self._fatal_to_the_store(failed):
                    raise
                self._record_failure(claim, rotation, item, versions, failed, force=force)

    # --- mint -----------------------------------------------------------------------------------------------------

    def _recover(self, work: _Work) -> None:
        """Look for the stamp until repeated reads agree that nothing carries it."""
        if self._absence_agreed(work, work.rotator.recover(self._job(work))):
            self._c.uow.mint_settled(work.claim, self._c.clock.now())

    def _mint(self, work: _Work) -> None:
        job = self._job(work)
        object_id = work.rotator.prepare(job)
        self._c.uow.begin_minting(work.claim, self._c.clock.now())
        end_at = credential_end_at(
            auto_rotate=work.item.auto_rotate,
            interval_days=work.item.rotation_interval,
            overlap_for=self._overlap(work.item),
            now=self._c.clock.now(),
        )
        try:
            minted = work.rotator.mint(job, object_id, end_at)
        except RotatorError as refused:
            if not _may_be_applied(refused):
                self._c.uow.mint_settled(work.claim, self._c.clock.now())
            raise
        version_id = self._c.new_id()
        number = machine.next_number(work.versions)
        now = self._c.clock.now()
        version = Version(
            version_id=version_id,
            item_id=work.item.item_id,
            number=number,
            stage=Stage.PENDING,
            origin=Origin.MINTED,
            key_id=minted.key_id,
            sealed_value=self._c.sealed_value(version_id, number, minted.value),
            rotation_id=work.rotation.rotation_id,
            created_at=now,
            expires_at=minted.end_at,
        )
        try:
            self._c.uow.store_pending(work.claim, version, now + self._c.limits.proof_deadline, now)
        except LeaseLost:
            raise
        except RotatorError:
            # The store did not take it (a full disk): nobody will ever know the value, so it goes at once. If this
            # removal fails too, the committed intent and the stamp lead the next run to it.
            self._remove_unstored(work, job, minted.key_id)
            raise

    def _remove_unstored(self, work: _Work, job: Job, key_id: str) -> None:
        try:
            work.rotator.remove(replace(job, guard=lambda: None), key_id)
        except RotatorError as failed:
            self._c.observer.note("unstored secret not removed", key_id=key_id, code=failed.code)

    # --- prove and publish ----------------------------------------------------------------------------------------

    def _prove(self, work: _Work) -> None:
        pending = machine.pending_version(work.rotation, work.versions)
        value = self._c.version_value(pending) if pending else None
        if pending is None or value is None:
            raise NotFound("CredentialNotFound", f'the pending version of "{work.item.name}" is missing')
        try:
            work.rotator.prove(self._c.item_identity(work.item, work.target, value))
        except Forbidden as refused:
            self._refused_proof(work, refused)
            return
        now = self._c.clock.now()
        self._c.uow.record_proof(
            work.claim, successes=work.rotation.confirmations + 1, attempts=0, next_attempt_at=now, at=now
        )

    def _refused_proof(self, work: _Work, refused: Forbidden) -> None:
        """A refusal resets the count: a new secret is accepted by one front end before the other (F01, F03)."""
        now = self._c.clock.now()
        if work.rotation.proof_deadline_at is not None and now >= work.rotation.proof_deadline_at:
            raise Forbidden(
                "VerificationTimeout",
                f'"{work.item.name}": Entra did not accept the new secret in time; it is not published',
                hint="the previous secret stays current; rotate again",
                details={"aadsts": refused.details.get("aadsts")},
            )
        refusals = work.rotation.attempts + 1
        self._c.uow.record_proof(
            work.claim, successes=0, attempts=refusals, next_attempt_at=now + proof_delay(refusals), at=now
        )

    def _publish(self, work: _Work) -> None:
        pending = machine.pending_version(work.rotation, work.versions)
        if pending is None:
            raise NotFound("CredentialNotFound", f'the pending version of "{work.item.name}" is missing')
        now = self._c.clock.now()
        change = machine.retirement(work.versions, overlap=self._overlap(work.item), now=now)
        publication = Publication(
            version_id=pending.version_id,
            replaced_version_id=change.replaced_version_id,
            retire_at=change.retire_at,
            retire_early=change.retire_early,
            published_at=now,
            next_rotation_at=next_rotation_at(
                auto_rotate=work.item.auto_rotate, interval_days=work.item.rotation_interval, last_at=now
            ),
            next_attempt_at=change.retire_at or now,
            event=self._event(work.rotation, work.item, "rotated-secret-success", "rotated", pending.number),
            audit=self._c.audit(
                "create_item" if work.rotation.trigger is Trigger.CREATE else "rotate_item",
                work.item.name,
                version=pending.number,
                key_id=pending.key_id,
                trigger=work.rotation.trigger.value,
            ),
        )
        self._c.uow.publish(work.claim, publication)

    # --- retire ---------------------------------------------------------------------------------------------------

    def _begin_retiring(self, work: _Work) -> None:
        self._c.uow.begin_retiring(work.claim, self._c.clock.now())

    def _retire(self, work: _Work) -> None:
        version = machine.to_retire(work.rotation, work.versions)
        if version is not None and self._remove(work, version.key_id):
            self._c.uow.finish_retiring(work.claim, [version.version_id], self._c.clock.now(), done=True)

    def _close(self, work: _Work) -> None:
        self._c.uow.finish_retiring(work.claim, [], self._c.clock.now(), done=True)

    def _remove_abandoned(self, work: _Work) -> None:
        version = machine.abandoned_version(work.rotation, work.versions)
        if version is None:
            return
        # An adopted one is the user's own credential, which only was not taken over.
        if version.origin is Origin.ADOPTED or self._remove(work, version.key_id):
            self._c.uow.drop_abandoned(work.claim, version.version_id, self._c.clock.now())

    def _drop_item(self, work: _Work) -> None:
        self._c.uow.drop_item(work.claim, None, self._c.clock.now())

    # --- delete ---------------------------------------------------------------------------------------------------

    def _delete_rest(self, work: _Work) -> None:
        """Everything but the current credential goes first: until then the delete can be called off."""
        for version in work.versions:
            if version.stage in {Stage.CURRENT, Stage.REVOKED} or not _ours(version):
                continue
            if self._remove(work, version.key_id):
                self._c.uow.finish_retiring(work.claim, [version.version_id], self._c.clock.now(), done=False)
            return
        work.rotator.sweep(self._job(work, whole_item=True))
        self._c.uow.begin_retiring(work.claim, self._c.clock.now())

    def _delete_current(self, work: _Work) -> None:
        current = machine.current_version(work.versions)
        if current is None or not _ours(current):
            self._finish_delete(work)
            return
        try:
            gone = self._remove(work, current.key_id)
        except Forbidden as refused:
            # With use-user-creds the application removes its own last secret. After a crash in between, the refusal of
            # exactly that secret says that it is gone.
            own = work.item.authentication.value == "use-user-creds"
            if not (own and refused.code == "AzureAuthFailed" and work.claim.fence > 1):
                raise
            gone = True
        if gone:
            self._finish_delete(work)

    def _finish_delete(self, work: _Work) -> None:
        self._c.uow.drop_item(work.claim, self._c.audit("delete_item", work.item.name), self._c.clock.now())

    # --- shared ---------------------------------------------------------------------------------------------------

    def _job(self, work: _Work, *, whole_item: bool = False) -> Job:
        acting: Identity = self._c.acting_identity(work.item, work.target, work.versions)
        return self._c.job(
            work.rotation, work.item, acting, lambda: self._c.uow.extend(work.claim), whole_item=whole_item
        )

    def _remove(self, work: _Work, key_id: str) -> bool:
        """Remove one credential. Returns: whether it is gone; if not, the next step looks again."""
        removal = work.rotator.remove(self._job(work), key_id)
        return removal is Removal.REMOVED or self._absence_agreed(work, removal is Removal.ABSENT)

    def _absence_agreed(self, work: _Work, absent: bool) -> bool:
        """Whether enough reads in a row say "not there" to believe it: Graph's reads lag behind its writes."""
        confirmations = work.rotation.confirmations + 1 if absent else 0
        if confirmations >= machine.ABSENT_READS_IN_A_ROW:
            return True
        now = self._c.clock.now()
        self._c.uow.record_absence(
            work.claim, confirmations=confirmations, next_attempt_at=now + self._c.limits.absent_spacing, at=now
        )
        return False

    def _overlap(self, item: RotatedSecret) -> timedelta:
        return overlap(item.revoke_after, item.rotation_interval)

    def _event(
        self,
        rotation: Rotation,
        item: RotatedSecret,
        kind: str,
        message: str,
        version: int | None,
        code: str | None = None,
    ) -> Event:
        return Event(
            event_id=self._c.new_id(),
            event_type=kind,
            item_id=item.item_id,
            item_name=item.name,
            occurred_at=self._c.clock.now(),
            trigger=rotation.trigger.value,
            version=version,
            message=message,
            error_code=code,
        )

    # --- failure --------------------------------------------------------------------------------------------------

    @staticmethod
    def _fatal_to_the_store(error: RotatorError) -> bool:
        """The store itself failed: there is nowhere to record it."""
        return error.exit_code == 1

    def _record_failure(
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
        if retry_after:
            self._c.uow.hold_lane(rotation.lane, now + timedelta(seconds=retry_after))
        unpublished = rotation.state in {
            RotationState.PLANNED,
            RotationState.MINTING,
            RotationState.MINTED,
            RotationState.PROVING,
        }
        if rotation.trigger is Trigger.DELETE:
            self._failed_delete(claim, rotation, item, versions, error, again_at=again_at, force=force)
        elif unpublished and not (unavailable and attempts < self._c.limits.max_attempts):
            self._c.uow.fail(
                claim,
                failure,
                event=self._event(rotation, item, "rotated-secret-failure", error.message, None, error.code),
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
            )

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
        if force:
            left = [v.key_id for v in versions if v.in_azure and _ours(v)]
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


def _ours(version: Version) -> bool:
    """Whether deleting the item removes this credential: what was minted, and what a rotation already replaced."""
    return version.origin is Origin.MINTED or version.stage is Stage.PREVIOUS


def _may_be_applied(error: RotatorError) -> bool:
    return isinstance(error, Unavailable) and error.applied != "no"


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
