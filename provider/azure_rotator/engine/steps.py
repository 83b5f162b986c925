"""The steps of an operation: each asks Azure for one thing and ends in one fenced commit.

What comes next is not decided here but by ``domain.rotation.next_step``; what a failure means, in ``failures``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.backoff import listed_delay, proof_delay
from azure_rotator.domain.errors import Forbidden, LeaseLost, NotFound, RotatorError, Unavailable
from azure_rotator.domain.model import AuthMode, Origin, RotatedSecret, Rotation, Stage, Target, Trigger, Version
from azure_rotator.domain.ports import Claim, Failure, Identity, Job, Publication, Removal, Rotator
from azure_rotator.domain.rotation import Step
from azure_rotator.domain.schedule import credential_end_at, next_rotation_at, overlap
from azure_rotator.engine.context import Context

# AADSTS number of a login whose client secret is wrong, was removed, or is not accepted yet.
_SECRET_REFUSED = 7000215


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One rotation as loaded for one step."""

    claim: Claim
    rotation: Rotation
    item: RotatedSecret
    versions: tuple[Version, ...]
    rotator: Rotator
    target: Target
    now: datetime


class Steps:
    """What there is to do, by ``Step``."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._verbs: dict[Step, Callable[[Work], None]] = {
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

    def take(self, step: Step, work: Work) -> None:
        """Take this step.

        Raises:
            LeaseLost: Another process took the operation over; nothing was committed.
            RotatorError: It did not work; what was committed before stands.
        """
        self._verbs[step](work)

    def _recover(self, work: Work) -> None:
        """Look for the stamp until repeated reads agree that nothing carries it."""
        if self._absence_agreed(work, absent=work.rotator.recover(self._job(work))):
            self._c.uow.mint_settled(work.claim, self._c.clock.now())

    def _mint(self, work: Work) -> None:
        job = self._job(work)
        object_id = work.rotator.prepare(job)
        mint_id = self._c.new_id()
        self._c.uow.begin_minting(work.claim, self._c.clock.now(), mint_id=mint_id)
        end_at = credential_end_at(
            auto_rotate=work.item.auto_rotate,
            interval_days=work.item.rotation_interval,
            overlap_for=self._overlap(work.item),
            now=self._c.clock.now(),
        )
        try:
            minted = work.rotator.mint(job, object_id, end_at, mint_id)
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

    def _remove_unstored(self, work: Work, job: Job, key_id: str) -> None:
        try:
            # A commit that reports an error may have been applied all the same: then it is a version, and stays.
            if self._c.uow.held_key_ids([key_id]):
                return
            work.rotator.remove(replace(job, guard=lambda: None), key_id)
        except RotatorError as failed:
            self._c.observer.note("unstored secret not removed", key_id=key_id, code=failed.code)

    def _prove(self, work: Work) -> None:
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
            work.claim, successes=work.rotation.confirmations + 1, refusal=None, next_attempt_at=now, at=now
        )

    def _refused_proof(self, work: Work, refused: Forbidden) -> None:
        """A refusal resets the count: a new secret is accepted by one front end before the other (F01, F03)."""
        now = self._c.clock.now()
        deadline_at = work.rotation.proof_deadline_at or now
        if now >= deadline_at:
            raise Forbidden(
                "VerificationTimeout",
                f'"{work.item.name}": Entra did not accept the new secret in time; it is not published',
                hint="the previous secret stays current; rotate again",
                details={"aadsts": refused.details.get("aadsts")},
            )
        elapsed = now - (deadline_at - self._c.limits.proof_deadline)
        self._c.uow.record_proof(
            work.claim,
            successes=0,
            refusal=Failure(code=refused.code, text=refused.message),
            next_attempt_at=now + proof_delay(elapsed),
            at=now,
        )

    def _publish(self, work: Work) -> None:
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
            event=self._c.event(work.rotation, work.item, "rotated-secret-success", "rotated", pending.number),
            audit=self._c.audit(
                "create_item" if work.rotation.trigger is Trigger.CREATE else "rotate_item",
                work.item.name,
                version=pending.number,
                key_id=pending.key_id,
                trigger=work.rotation.trigger.value,
            ),
        )
        self._c.uow.publish(work.claim, publication)

    def _begin_retiring(self, work: Work) -> None:
        self._c.uow.begin_retiring(work.claim, self._c.clock.now())

    def _retire(self, work: Work) -> None:
        version = machine.to_retire(work.rotation, work.versions)
        if version is not None and self._remove(work, version.key_id):
            self._c.uow.finish_retiring(work.claim, [version.version_id], self._c.clock.now(), done=True)

    def _close(self, work: Work) -> None:
        self._c.uow.finish_retiring(work.claim, [], self._c.clock.now(), done=True)

    def _remove_abandoned(self, work: Work) -> None:
        version = machine.abandoned_version(work.rotation, work.versions)
        if version is None:
            return
        # An adopted one is the user's own credential, which only was not taken over.
        if version.origin is Origin.ADOPTED or self._remove(work, version.key_id):
            self._c.uow.drop_abandoned(work.claim, version.version_id, self._c.clock.now())

    def _drop_item(self, work: Work) -> None:
        self._c.uow.drop_item(work.claim, None, self._c.clock.now())

    def _delete_rest(self, work: Work) -> None:
        """Everything but the current credential goes first: until then the delete can be called off."""
        for version in work.versions:
            if version.stage in {Stage.CURRENT, Stage.REVOKED} or not ours(version):
                continue
            if self._remove(work, version.key_id):
                self._c.uow.finish_retiring(work.claim, [version.version_id], self._c.clock.now(), done=False)
            return
        if self._c.uow.has_minted(work.item.item_id):
            work.rotator.sweep(self._job(work, whole_item=True))
        self._c.uow.begin_retiring(work.claim, self._c.clock.now())

    def _delete_current(self, work: Work) -> None:
        current = machine.current_version(work.versions)
        if current is None or not ours(current):
            self._finish_delete(work)
            return
        try:
            gone = self._remove(work, current.key_id)
        except Forbidden as refused:
            # With use-user-creds the application removes its own last secret. After a crash or a lost reply, that this
            # very secret is refused says that it is gone; repeatedly, since a front end may not know a new one yet. No
            # other refusal says so: of a disabled application, an expired secret, a token.
            own = work.item.authentication is AuthMode.USER
            if not (own and refused.details.get("aadsts") == _SECRET_REFUSED and work.claim.fence > 1):
                raise
            gone = self._absence_agreed(work, absent=True)
        if gone:
            self._finish_delete(work)

    def _finish_delete(self, work: Work) -> None:
        self._c.uow.drop_item(work.claim, self._c.audit("delete_item", work.item.name), self._c.clock.now())

    def _job(self, work: Work, *, whole_item: bool = False) -> Job:
        acting: Identity = self._c.acting_identity(work.item, work.target, work.versions)
        return self._c.job(
            work.rotation, work.item, acting, lambda: self._c.uow.extend(work.claim), whole_item=whole_item
        )

    def _remove(self, work: Work, key_id: str) -> bool:
        """Remove one credential. Returns: whether it is gone; if not, the next step looks again."""
        removal = work.rotator.remove(self._job(work), key_id)
        return removal is Removal.REMOVED or self._absence_agreed(work, absent=removal is Removal.ABSENT)

    def _absence_agreed(self, work: Work, *, absent: bool) -> bool:
        """Whether enough reads in a row say "not there" to believe it: Graph's reads lag behind its writes."""
        confirmations = work.rotation.confirmations + 1 if absent else 0
        if confirmations >= machine.ABSENT_READS_IN_A_ROW:
            return True
        now = self._c.clock.now()
        attempts = work.rotation.attempts + (not absent)
        pause = self._c.limits.absent_spacing if absent else listed_delay(attempts)
        self._c.uow.record_absence(
            work.claim, confirmations=confirmations, attempts=attempts, next_attempt_at=now + pause, at=now
        )
        return False

    def _overlap(self, item: RotatedSecret) -> timedelta:
        return overlap(item.revoke_after, item.rotation_interval)


def ours(version: Version) -> bool:
    """Whether deleting the item removes this credential: what was minted, and what a rotation already replaced."""
    return version.origin is Origin.MINTED or version.stage is Stage.PREVIOUS


def _may_be_applied(error: RotatorError) -> bool:
    return isinstance(error, Unavailable) and error.applied != "no"
