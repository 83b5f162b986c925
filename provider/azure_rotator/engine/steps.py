"""The steps of an operation: each asks Azure for one thing and ends in one fenced commit.

What comes next is not decided here but by ``domain.rotation.next_step``; what a failure means, in ``failures``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.backoff import listed_delay, lone_proof_delay, proof_delay
from azure_rotator.domain.due import due_at
from azure_rotator.domain.errors import Forbidden, LeaseLost, NotFound, Rejected, RotatorError, Unavailable
from azure_rotator.domain.instants import iso
from azure_rotator.domain.kinds import (
    CLIENT_SECRETS,
    Retention,
    acts_as_itself,
    overlap_of,
    retention_of,
)
from azure_rotator.domain.model import (
    AuditLine,
    Mint,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    RotatorType,
    Stage,
    Target,
    Trigger,
    Version,
)
from azure_rotator.domain.ports import (
    Claim,
    Failure,
    Job,
    Minted,
    Publication,
    Removal,
    Rotator,
    TargetSwitch,
)
from azure_rotator.domain.rotation import Step
from azure_rotator.domain.schedule import PUNCTUAL, credential_life, shortened
from azure_rotator.engine.context import Context, mint_place, target_place
from azure_rotator.engine.notices import Notices
from azure_rotator.engine.settings import both_valid_for

# AADSTS number of a login whose client secret is wrong, was removed, or is not accepted yet.
_SECRET_REFUSED = 7000215
# The same of a sign-in with a wrong password.
_WRONG_PASSWORD = 50126


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One rotation as loaded for one step."""

    claim: Claim
    rotation: Rotation
    item: RotatedSecret
    versions: tuple[Version, ...]
    rotator: Rotator
    target: Target
    mint: Mint | None
    now: datetime


class Steps:
    """What there is to do, by ``Step``."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._notices = Notices(context)
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
        """Find out what came of the mint. "Nothing" is believed when repeated looks agree."""
        job = self._job(work)
        found = work.rotator.recover(job, work.mint or Mint(mint_id="", rotation_id=work.rotation.rotation_id))
        parked = work.rotation.state is RotationState.FAILED
        if found.minted is not None and not (parked and retention_of(work.item) is Retention.ALTERNATE):
            self._store(work, job, found.minted)
        elif found.minted is not None or self._absence_agreed(work, absent=found.absent):
            self._c.uow.mint_settled(work.claim, self._c.clock.now(), refused=False)

    def _mint(self, work: Work) -> None:
        now = self._c.clock.now()
        # Where this machine does not know the item's zone, nothing is minted that could not become current.
        both_valid_for(work.item, now)
        due_at(work.item, now, None, first=False)
        job = self._job(work)
        plan = work.rotator.prepare(job)
        now = self._c.clock.now()
        if plan.not_before is not None and plan.not_before > now:
            # No failure, and nothing has begun: the operation is due when Azure's other users allow it.
            failure = Failure(code="AzureThrottled", text=plan.pause)
            attempts = work.rotation.attempts
            self._c.uow.defer(
                work.claim, failure, attempts=attempts, next_attempt_at=plan.not_before, status=None, at=now
            )
            return
        life = credential_life(
            auto_rotate=work.item.auto_rotate,
            interval_days=work.item.rotation_interval,
            overlap_for=overlap_of(work.item),
            wanted_days=work.item.credential_lifetime,
            limit_days=plan.longest_life_days,
        )
        mint_id = self._c.new_id()
        evidence = self._c.sealer.seal(plan.evidence, mint_place(mint_id)) if plan.evidence else None
        mint = Mint(
            mint_id=mint_id,
            rotation_id=work.rotation.rotation_id,
            slot=plan.slot,
            sealed_evidence=evidence,
            seen_at=plan.seen_at,
        )
        self._c.uow.begin_minting(work.claim, self._c.clock.now(), mint)
        try:
            minted = work.rotator.mint(job, plan, mint_id, self._c.clock.now() + life.span)
        except RotatorError as refused:
            if not _may_be_applied(refused):
                # Of an attempt before this one, whose candidate this was, such a refusal tells nothing.
                certain = job.earlier is None or isinstance(refused, Rejected)
                self._c.uow.mint_settled(work.claim, self._c.clock.now(), refused=certain)
            if refused.code == "CredentialLimitReached":
                if self._made_room(work, job):
                    return  # and minted again, by the next step
                raise _limit_told(refused, work.versions) from None
            raise
        note = life.note
        if minted.expires_at is not None:
            given = minted.expires_at - self._c.clock.now()
            note = shortened(life.span, given, overlap_of(work.item)) or note
        self._store(work, job, minted, note=note)

    def _made_room(self, work: Work, job: Job) -> bool:
        """Where Azure allows two secrets in all, ``revoke_now`` retires the previous one before the new one is minted
        (features 3.6); the rotation that would have done so later finds it gone. Returns: whether there was one."""
        previous = [v for v in work.versions if v.stage is Stage.PREVIOUS and removable(work.item, v)]
        if not work.rotation.revoke_now or not previous:
            return False
        oldest = previous[0]
        self._c.uow.cut_short(work.claim, [oldest.version_id], self._c.clock.now())
        if work.rotator.remove(job, oldest.key_id) is not Removal.REMOVED:
            return False
        self._c.uow.finish_retiring(work.claim, [oldest.version_id], self._c.clock.now(), done=False)
        return True

    def _store(self, work: Work, job: Job, minted: Minted, *, note: str | None = None) -> None:
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
            expires_at=minted.expires_at,
            expires_note=note,
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
        refusal: Failure | None = None
        try:
            work.rotator.prove(self._job(work), pending.key_id, value)
        except RotatorError as failed:
            only_one = retention_of(work.item) is Retention.REPLACED and pending.origin is Origin.MINTED
            if only_one and _may_be_too_new(failed) and self._proven_again_soon(work, failed):
                return
            if only_one and isinstance(failed, Forbidden | Unavailable):
                # The old value is gone since the new one was made, and Azure confirmed that: whatever this proof says,
                # the new one is the only one there is. What it said is told (features 3.2).
                refusal = Failure(code=failed.code, text=f"published without a proof: {failed.message}")
            elif isinstance(failed, Forbidden):
                self._refused_proof(work, failed)
                return
            else:
                raise
        now = self._c.clock.now()
        self._c.uow.record_proof(
            work.claim, successes=work.rotation.confirmations + 1, refusal=refusal, next_attempt_at=now, at=now
        )

    def _proven_again_soon(self, work: Work, refused: RotatorError) -> bool:
        """Whether a value that Azure refuses since it does not know it everywhere yet gets another try."""
        now = self._c.clock.now()
        made_at = (work.rotation.proof_deadline_at or now) - self._c.limits.proof_deadline
        delay = lone_proof_delay(now - made_at)
        if delay is None:
            return False
        failure = Failure(code=refused.code, text=refused.message)
        self._c.uow.record_proof(work.claim, successes=0, refusal=failure, next_attempt_at=now + delay, at=now)
        return True

    def _refused_proof(self, work: Work, refused: Forbidden) -> None:
        """A refusal resets the count: a new secret is accepted by one front end before the other (F01, F03)."""
        now = self._c.clock.now()
        deadline_at = work.rotation.proof_deadline_at or now
        if now >= deadline_at and refused.code != "AzureAuthFailed":
            raise refused  # a missing grant says more than that the time is over
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
        counted_from = _counted_from(work.rotation, now)
        item = replace(work.item, counted_from=counted_from)
        overlap_for = both_valid_for(item, now)
        if work.rotation.revoke_now:
            overlap_for = timedelta()
        change = machine.retirement(
            work.versions, pending, keeping=retention_of(work.item), overlap=overlap_for, now=now
        )
        if work.rotation.trigger is Trigger.UPDATE and pending.origin is Origin.MINTED:
            # Another timing of the grace: what is valid keeps its date (features 3.6, F68).
            change = replace(change, retire_early=tuple(v for v in change.retire_early if not _dated(work, v)))
        keep = machine.versions_kept(work.item, self._c.uow.account())
        publication = Publication(
            version_id=pending.version_id,
            replaced_version_id=change.replaced_version_id,
            retire_at=change.retire_at,
            retire_early=change.retire_early,
            revoked=change.revoked,
            pruned=machine.pruned(work.versions, pending, change, keep=keep),
            target=self._switch(work, pending),
            unproven=_unproven(work),
            published_at=now,
            counted_from=counted_from,
            next_rotation_at=due_at(
                item,
                now,
                pending.expires_at,
                first=work.rotation.trigger is Trigger.CREATE,
                minted=pending.origin is Origin.MINTED,
            ),
            next_attempt_at=change.retire_at or now,
            events=self._notices.published(work.rotation, work.item, pending.number),
            audit=self._c.audit(
                "create_item" if work.rotation.trigger is Trigger.CREATE else "rotate_item",
                work.item.name,
                version=pending.number,
                key_id=pending.key_id,
                trigger=work.rotation.trigger.value,
            ),
        )
        self._c.uow.publish(work.claim, publication)

    def _switch(self, work: Work, published: Version) -> TargetSwitch | None:
        """The Target's own secret changes in the same transaction, or everything on it would log in with the old."""
        value = self._c.version_value(published)
        if work.item.rotator_type is not RotatorType.TARGET or value is None:
            return None
        version = work.target.version + 1
        return TargetSwitch(
            target_id=work.target.target_id,
            version=version,
            client_secret_id=published.key_id,
            sealed_secret=self._c.sealer.seal(value, target_place(work.target.target_id, version)),
            # The one before is valid for a while.
            keep=max(machine.versions_kept(work.target, self._c.uow.account()), 2),
        )

    def _begin_retiring(self, work: Work) -> None:
        self._c.uow.begin_retiring(work.claim, self._c.clock.now())

    def _retire(self, work: Work) -> None:
        doomed = work.rotation.trigger is Trigger.DELETE_VERSION
        find = machine.doomed_version if doomed else machine.to_retire
        version = find(work.rotation, work.versions)
        if version is not None and self._remove(work, version.key_id):
            audit = version_deleted(self._c, work.item, version) if doomed else None
            events = self._notices.retired(work.rotation, work.item)
            at = self._c.clock.now()
            self._c.uow.finish_retiring(work.claim, [version.version_id], at, done=True, audit=audit, events=events)

    def _close(self, work: Work) -> None:
        audit = None
        if work.rotation.trigger is Trigger.DELETE_VERSION:  # somebody else retired it; its row is still to go
            rest = [v for v in work.versions if v.version_id == work.rotation.replaced_version_id]
            audit = version_deleted(self._c, work.item, rest[0]) if rest else None
        events = self._notices.retired(work.rotation, work.item)
        self._c.uow.finish_retiring(work.claim, [], self._c.clock.now(), done=True, audit=audit, events=events)

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
            if version.stage in {Stage.CURRENT, Stage.REVOKED} or not removable(work.item, version):
                continue
            if self._remove(work, version.key_id):
                self._c.uow.finish_retiring(work.claim, [version.version_id], self._c.clock.now(), done=False)
            return
        if self._c.uow.has_minted(work.item.item_id):
            work.rotator.sweep(self._job(work, whole_item=True))
        self._c.uow.begin_retiring(work.claim, self._c.clock.now())

    def _delete_current(self, work: Work) -> None:
        current = machine.current_version(work.versions)
        if current is None or not removable(work.item, current):
            self._finish_delete(work)
            return
        try:
            gone = self._remove(work, current.key_id)
        except Forbidden as refused:
            # With use-user-creds the application removes its own last secret. After a crash or a lost reply, that this
            # very secret is refused says that it is gone; repeatedly, since a front end may not know a new one yet. No
            # other refusal says so: of a disabled application, an expired secret, a token.
            own = acts_as_itself(work.item)
            if not (own and refused.details.get("aadsts") == _SECRET_REFUSED and work.claim.fence > 1):
                raise
            gone = self._absence_agreed(work, absent=True)
        if gone:
            self._finish_delete(work)

    def _finish_delete(self, work: Work) -> None:
        self._c.uow.drop_item(work.claim, self._c.audit("delete_item", work.item.name), self._c.clock.now())

    def _job(self, work: Work, *, whole_item: bool = False) -> Job:
        return self._c.job(
            work.rotation,
            work.item,
            work.target,
            work.versions,
            work.mint,
            lambda: self._c.uow.extend(work.claim),
            whole_item=whole_item,
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


def removable(item: RotatedSecret, version: Version) -> bool:
    """Whether deleting the item removes this credential: what was minted, and what a rotation already replaced. Storage
    keys and passwords stay as they are, and so does the secret that a Target works with (features 3.10)."""
    if item.rotator_type not in CLIENT_SECRETS:
        return False
    if item.rotator_type is RotatorType.TARGET and version.stage is Stage.CURRENT:
        return False
    return version.origin is Origin.MINTED or version.stage is Stage.PREVIOUS


def _dated(work: Work, version_id: str) -> bool:
    return any(v.version_id == version_id and v.retire_at is not None for v in work.versions)


def _limit_told(refused: RotatorError, versions: Sequence[Version]) -> RotatorError:
    """When room will be, where a previous secret of the item takes it."""
    previous = [v.retire_at for v in versions if v.stage is Stage.PREVIOUS and v.retire_at is not None]
    if not previous:
        return refused
    return Forbidden(
        refused.code,
        refused.message,
        hint=f"the previous secret of the item is retired at {iso(min(previous))}, or first of all with --revoke-now; "
        f"{refused.hint}",
        details=refused.details,
    )


def version_deleted(
    context: Context, item: RotatedSecret, version: Version, *, forced_over: str | None = None
) -> AuditLine:
    """The audit line of a version that is forgotten.

    Args:
        forced_over: The error that left its credential in Azure.
    """
    forced = {} if forced_over is None else {"orphans": [version.key_id], "forced_over": forced_over}
    line = context.audit("delete_item_version", item.name, version=version.number, key_id=version.key_id)
    return replace(line, details={**line.details, **forced})


def _unproven(work: Work) -> Failure | None:
    """Why the last proof failed, when the credential is published all the same."""
    code, text = work.rotation.error_code, work.rotation.error_text
    if retention_of(work.item) is not Retention.REPLACED or code is None or text is None:
        return None
    return Failure(code=code, text=text)


def _may_be_too_new(error: RotatorError) -> bool:
    """Whether it says that the value is wrong, which it is for a few seconds where a front end lags."""
    return error.code == "AzureAuthFailed" and error.details.get("aadsts") in {None, _WRONG_PASSWORD}


def _may_be_applied(error: RotatorError) -> bool:
    return isinstance(error, Unavailable) and error.applied != "no"


def _counted_from(rotation: Rotation, now: datetime) -> datetime:
    """Where the next interval begins: when this rotation was due, if it was punctual; else now (features 3.5)."""
    due_at = rotation.due_at
    return due_at if due_at is not None and rotation.created_at - due_at <= PUNCTUAL else now
