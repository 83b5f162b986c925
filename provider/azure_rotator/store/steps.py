"""The steps of a running rotation: each one transaction, under the fence, extending lease and permit.

A step that finds its rotation or its lane with somebody else raises ``LeaseLost`` and changes nothing. ``attempts``
counts failures in a row, so what is known to have worked sets it to 0: a stored mint, an answered proof, a
publication, a removal. An intent does not, and a read does not: reads work while writes fail. ``confirmations``
belong to what is looked at now; whatever begins or ends such a look sets them to 0, or an old count would vouch for a
new credential.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, insert, literal, or_, select, update

from azure_rotator.domain.census import OK
from azure_rotator.domain.errors import Conflict, Corrupt, LeaseLost
from azure_rotator.domain.model import (
    AuditLine,
    Event,
    ItemState,
    Mint,
    RotationState,
    RotatorStatus,
    Stage,
    TargetVersion,
    Trigger,
    Version,
)
from azure_rotator.domain.ports import Claim, Failure, Publication, TargetSwitch
from azure_rotator.store import audit as audit_rows
from azure_rotator.store.census import count_outcome
from azure_rotator.store.column_types import Instant, database_now
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import RuleBroken
from azure_rotator.store.items import add_version, already_managed, drop_holdings
from azure_rotator.store.leases import extend_permit, holds_rotation
from azure_rotator.store.tables import KEY_ID, items, mints, rotations, targets, values_of, versions
from azure_rotator.store.targets import keep_version

_NO_ERROR: dict[str, Any] = {"error_code": None, "error_text": None}


class Steps:
    """The part of the unit of work about fenced state changes."""

    _db: Database

    # --- up to the publication

    def resume(self, claim: Claim, at: datetime, *, due_at: datetime | None = None, by_hand: bool = False) -> None:
        asked: dict[str, Any] = {"trigger": Trigger.MANUAL} if by_hand else {}
        with self._db.writing() as connection:
            self._advance(
                connection,
                claim,
                at,
                state=RotationState.PLANNED,
                parked=False,
                confirmations=0,
                attempts=0,
                next_attempt_at=at,
                due_at=due_at,
                **asked,
            )

    def park(self, claim: Claim, until: datetime, at: datetime) -> None:
        with self._db.writing() as connection:
            self._advance(connection, claim, at, parked=True, next_attempt_at=until)

    def withdraw(self, claim: Claim, at: datetime) -> None:
        with self._db.writing() as connection:
            item_id, _ = self._advance(connection, claim, at, state=RotationState.FAILED, closed=True)
            _plan_anew(connection, item_id)

    def begin_minting(self, claim: Claim, at: datetime, mint: Mint) -> None:
        with self._db.writing() as connection:
            self._advance(
                connection,
                claim,
                at,
                state=RotationState.MINTING,
                mint_uncertain=True,
                mint_id=mint.mint_id,
                confirmations=0,
            )
            connection.execute(insert(mints).values(values_of(mint)))

    def mint_settled(self, claim: Claim, at: datetime, *, refused: bool) -> None:
        forgotten: dict[str, Any] = {"mint_id": None} if refused else {}
        with self._db.writing() as connection:
            self._advance(connection, claim, at, mint_uncertain=False, confirmations=0, **forgotten)

    def store_pending(self, claim: Claim, version: Version, proof_deadline_at: datetime, at: datetime) -> None:
        """See ``ports.UnitOfWork``. Raises: Conflict ``CredentialAlreadyManaged``, another version holds this keyId."""
        try:
            with self._db.writing() as connection:
                self._advance(
                    connection,
                    claim,
                    at,
                    state=RotationState.MINTED,
                    mint_uncertain=False,
                    confirmations=0,
                    attempts=0,
                    proof_deadline_at=proof_deadline_at,
                )
                add_version(connection, version)
        except RuleBroken as broken:
            if broken.rule != KEY_ID:
                raise
            raise already_managed(self._db, version.key_id) from None

    def record_proof(
        self, claim: Claim, *, successes: int, refusal: Failure | None, next_attempt_at: datetime, at: datetime
    ) -> None:
        with self._db.writing() as connection:
            self._advance(
                connection,
                claim,
                at,
                state=RotationState.PROVING,
                confirmations=successes,
                attempts=0,
                next_attempt_at=next_attempt_at,
                **_error(refusal),
            )

    def publish(self, claim: Claim, publication: Publication) -> None:
        at = publication.published_at
        with self._db.writing() as connection:
            item_id, _ = self._advance(
                connection,
                claim,
                at,
                state=RotationState.PUBLISHED,
                replaced_version_id=publication.replaced_version_id,
                next_attempt_at=publication.next_attempt_at,
                confirmations=0,
                attempts=0,
                **_NO_ERROR,
            )
            publication = _as_asked_by_now(connection, claim, publication)
            # The old one steps down first: two current versions are refused by an index at every moment.
            if publication.replaced_version_id is not None:
                replaced = {"stage": Stage.PREVIOUS, "retire_at": publication.retire_at}
                _move(connection, claim, publication.replaced_version_id, item_id, Stage.CURRENT, replaced)
            if publication.revoked:
                _revoke(connection, item_id, publication.revoked, at)
            if publication.target is not None:
                _switch(connection, claim, publication.target, at)
            _move(connection, claim, publication.version_id, item_id, Stage.PENDING, {"stage": Stage.CURRENT})
            if publication.retire_early:
                _retire_early(connection, item_id, publication.retire_early, at)
            if publication.pruned:
                forgotten = versions.c.version_id.in_(publication.pruned)
                history = versions.c.stage == Stage.REVOKED
                connection.execute(delete(versions).where(versions.c.item_id == item_id, forgotten, history))
            changed = connection.execute(
                update(items)
                .where(items.c.item_id == item_id)
                .values(
                    state=ItemState.ACTIVE,
                    last_rotation_at=at,
                    counted_from=publication.counted_from,
                    next_rotation_at=publication.next_rotation_at,
                    rotator_status=RotatorStatus.SUCCEEDED,
                    sealed_login=None,
                    modified_at=at,
                    revision=items.c.revision + 1,
                    **_error(publication.unproven),
                )
            )
            if changed.rowcount != 1:
                raise _inconsistent(claim, f"its item {item_id} does not exist")
            count_outcome(connection, item_id, OK)
            audit_rows.add_events(connection, publication.events)
            audit_rows.add_line(connection, publication.audit)

    # --- after it

    def begin_retiring(self, claim: Claim, at: datetime) -> None:
        with self._db.writing() as connection:
            self._advance(connection, claim, at, state=RotationState.RETIRING, confirmations=0)

    def cut_short(self, claim: Claim, version_ids: Sequence[str], at: datetime) -> None:
        with self._db.writing() as connection:
            item_id, _ = self._advance(connection, claim, at)
            _retire_early(connection, item_id, version_ids, at)

    def record_absence(
        self, claim: Claim, *, confirmations: int, attempts: int, next_attempt_at: datetime, at: datetime
    ) -> None:
        with self._db.writing() as connection:
            self._advance(
                connection,
                claim,
                at,
                confirmations=confirmations,
                attempts=attempts,
                next_attempt_at=next_attempt_at,
            )

    def finish_retiring(
        self,
        claim: Claim,
        version_ids: Sequence[str],
        at: datetime,
        *,
        done: bool,
        audit: AuditLine | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        changes: dict[str, Any] = {"state": RotationState.DONE, **_NO_ERROR} if done else {}
        with self._db.writing() as connection:
            item_id, trigger = self._advance(connection, claim, at, confirmations=0, attempts=0, **changes)
            these = and_(versions.c.item_id == item_id, versions.c.version_id.in_(version_ids))
            # What never was a version leaves no history, and its number may be another's by now.
            connection.execute(delete(versions).where(these, versions.c.stage == Stage.ABANDONED))
            _revoke(connection, item_id, version_ids, at)
            if done and trigger is Trigger.DELETE_VERSION:
                _forget_version(connection, claim, item_id)
            if audit is not None:
                audit_rows.add_line(connection, audit)
            audit_rows.add_events(connection, events)
            if done:
                connection.execute(
                    update(items)
                    .where(items.c.item_id == item_id, items.c.rotator_status == RotatorStatus.PARTIAL)
                    .values(rotator_status=RotatorStatus.SUCCEEDED, **_NO_ERROR)
                )

    # --- when it does not work

    def defer(
        self,
        claim: Claim,
        failure: Failure,
        *,
        attempts: int,
        next_attempt_at: datetime,
        status: str | None,
        at: datetime,
        events: Sequence[Event] = (),
    ) -> None:
        shown = {"error_code": failure.code, "error_text": failure.text}
        with self._db.writing() as connection:
            item_id, _ = self._advance(
                connection, claim, at, attempts=attempts, next_attempt_at=next_attempt_at, **shown
            )
            if status is not None:
                _show(connection, item_id, RotatorStatus(status), shown)
                count_outcome(connection, item_id, failure.code)
            audit_rows.add_events(connection, events)

    def fail(
        self,
        claim: Claim,
        failure: Failure,
        *,
        events: Sequence[Event] = (),
        audit: AuditLine,
        undo_item: bool,
        at: datetime,
    ) -> None:
        shown = {"error_code": failure.code, "error_text": failure.text}
        with self._db.writing() as connection:
            # What was counted (proofs, failures in a row) was about the mint; the clean-up counts its own.
            item_id, _ = self._advance(
                connection,
                claim,
                at,
                state=RotationState.FAILED,
                next_attempt_at=at,
                confirmations=0,
                attempts=0,
                **shown,
            )
            connection.execute(
                update(versions)
                .where(versions.c.rotation_id == claim.rotation_id, versions.c.stage == Stage.PENDING)
                .values(stage=Stage.ABANDONED)
            )
            _show(connection, item_id, RotatorStatus.FAILED, shown)
            count_outcome(connection, item_id, failure.code)
            if undo_item:
                _change_state(connection, item_id, ItemState.UNDOING, at)
                drop_holdings(connection, item_id)  # with its name: another item may have it
            audit_rows.add_events(connection, events)
            audit_rows.add_line(connection, audit)

    def drop_abandoned(self, claim: Claim, version_id: str, at: datetime) -> None:
        with self._db.writing() as connection:
            item_id, _ = self._advance(connection, claim, at, confirmations=0)
            connection.execute(
                delete(versions).where(
                    versions.c.version_id == version_id,
                    versions.c.item_id == item_id,
                    versions.c.stage == Stage.ABANDONED,
                )
            )

    def drop_item(self, claim: Claim, audit: AuditLine | None, at: datetime) -> None:
        with self._db.writing() as connection:
            item_id, trigger = self._advance(connection, claim, at)
            end: dict[str, Any] = (
                {"state": RotationState.DONE, **_NO_ERROR}
                if trigger is Trigger.DELETE
                else {"state": RotationState.FAILED, "closed": True}
            )
            connection.execute(update(rotations).where(rotations.c.rotation_id == claim.rotation_id).values(end))
            connection.execute(delete(versions).where(versions.c.item_id == item_id))
            drop_holdings(connection, item_id)
            connection.execute(delete(items).where(items.c.item_id == item_id))
            if audit is not None:
                audit_rows.add_line(connection, audit)

    def cancel_delete(self, claim: Claim, failure: Failure, audit: AuditLine, at: datetime) -> None:
        """See ``ports.UnitOfWork``. What ``begin_delete`` closed is open again where a credential is left to remove."""
        with self._db.writing() as connection:
            item_id, _ = self._advance(
                connection,
                claim,
                at,
                state=RotationState.FAILED,
                closed=True,
                error_code=failure.code,
                error_text=failure.text,
            )
            _change_state(connection, item_id, ItemState.ACTIVE, at)
            _reopen(connection, item_id, at)
            _plan_anew(connection, item_id)
            audit_rows.add_line(connection, audit)

    def cancel_version_delete(self, claim: Claim, failure: Failure, audit: AuditLine, at: datetime) -> None:
        with self._db.writing() as connection:
            self._advance(
                connection,
                claim,
                at,
                state=RotationState.FAILED,
                closed=True,
                error_code=failure.code,
                error_text=failure.text,
            )
            _give_its_date_back(connection, claim, at)
            audit_rows.add_line(connection, audit)

    def _advance(self, connection: Connection, claim: Claim, at: datetime, **changes: Any) -> tuple[str, Trigger]:
        row = connection.execute(
            update(rotations)
            .where(holds_rotation(claim))
            .values(updated_at=at, lease_until=database_now() + self._db.lease_seconds, **changes)
            .returning(rotations.c.item_id, rotations.c.trigger)
        ).one_or_none()
        if row is None:
            raise LeaseLost(claim.rotation_id)
        extend_permit(connection, claim, self._db.lease_seconds, step_at=at)
        return row.item_id, row.trigger


def _plan_anew(connection: Connection, item_id: str) -> None:
    """What was planned for the item's due date is closed: the scheduler has to look at it again."""
    connection.execute(update(items).where(items.c.item_id == item_id).values(scheduled_for=None))


def _error(failure: Failure | None) -> dict[str, Any]:
    return _NO_ERROR if failure is None else {"error_code": failure.code, "error_text": failure.text}


def _move(
    connection: Connection, claim: Claim, version_id: str, item_id: str, stage: Stage, values: dict[str, Any]
) -> None:
    statement = (
        update(versions)
        .where(versions.c.version_id == version_id, versions.c.item_id == item_id, versions.c.stage == stage)
        .values(values)
    )
    if connection.execute(statement).rowcount != 1:
        raise _inconsistent(claim, f"its {stage} version {version_id} does not exist")


def _revoke(connection: Connection, item_id: str, version_ids: Sequence[str], at: datetime) -> None:
    connection.execute(
        update(versions)
        .where(versions.c.item_id == item_id, versions.c.version_id.in_(version_ids), versions.c.stage != Stage.REVOKED)
        .values(stage=Stage.REVOKED, revoked_at=at)
    )


def _switch(connection: Connection, claim: Claim, switch: TargetSwitch, at: datetime) -> None:
    """The Target's own secret. Not against the reader's revision: a description that was changed meanwhile stays."""
    changed = connection.execute(
        update(targets)
        .where(
            targets.c.target_id == switch.target_id,
            targets.c.version == switch.version - 1,
            targets.c.secret_reference.is_(None),
        )
        .values(
            version=switch.version,
            sealed_secret=switch.sealed_secret,
            client_secret_id=switch.client_secret_id,
            modified_at=at,
            revision=targets.c.revision + 1,
        )
    )
    if changed.rowcount != 1:
        raise Conflict(
            "ItemLocked",
            f"rotation {claim.rotation_id}: the Target got another secret meanwhile",
            hint="rotate again: what the Target has now is replaced then",
        )
    version = TargetVersion(
        target_id=switch.target_id,
        version=switch.version,
        secret_reference=None,
        sealed_secret=switch.sealed_secret,
        client_secret_id=switch.client_secret_id,
        created_at=at,
    )
    keep_version(connection, version, keep=switch.keep)


def _as_asked_by_now(connection: Connection, claim: Claim, publication: Publication) -> Publication:
    """Whether the old one goes at once is read with the publication's own commit: a request may have attached since."""
    statement = select(rotations.c.revoke_now).where(rotations.c.rotation_id == claim.rotation_id)
    at = publication.published_at
    if not connection.execute(statement).scalar_one() or publication.retire_at is None or publication.retire_at <= at:
        return publication
    connection.execute(update(rotations).where(rotations.c.rotation_id == claim.rotation_id).values(next_attempt_at=at))
    return replace(publication, retire_at=at)


def _give_its_date_back(connection: Connection, claim: Claim, at: datetime) -> None:
    """A version that was to go now goes when the rotation that replaced it says; if that is done, with the next one.

    One rotation later it is the third of its item, and was passed over as one that goes anyway: then it is due.
    """
    doomed_id = select(rotations.c.replaced_version_id).where(rotations.c.rotation_id == claim.rotation_id)
    doomed = connection.execute(
        select(versions.c.version_id, versions.c.item_id, versions.c.number).where(
            versions.c.version_id == doomed_id.scalar_subquery(), versions.c.stage == Stage.PREVIOUS
        )
    ).one_or_none()
    if doomed is None:
        return
    later = select(versions.c.version_id).where(
        versions.c.item_id == doomed.item_id, versions.c.stage == Stage.PREVIOUS, versions.c.number > doomed.number
    )
    if connection.execute(later).first() is not None:
        _retire_early(connection, doomed.item_id, [doomed.version_id], at)
        return
    waits = select(rotations.c.next_attempt_at).where(
        rotations.c.replaced_version_id == doomed.version_id,
        rotations.c.trigger != Trigger.DELETE_VERSION,
        rotations.c.state == RotationState.PUBLISHED,
    )
    retire_at = connection.execute(waits).scalar_one_or_none()
    connection.execute(update(versions).where(versions.c.version_id == doomed.version_id).values(retire_at=retire_at))


def _forget_version(connection: Connection, claim: Claim, item_id: str) -> None:
    """The end of a ``delete-version``. Also of one whose credential was left in Azure, by force."""
    doomed = select(rotations.c.replaced_version_id).where(rotations.c.rotation_id == claim.rotation_id)
    connection.execute(
        delete(versions).where(
            versions.c.item_id == item_id,
            versions.c.version_id == doomed.scalar_subquery(),
            versions.c.stage.in_([Stage.PREVIOUS, Stage.REVOKED]),
        )
    )


def _retire_early(connection: Connection, item_id: str, version_ids: Sequence[str], at: datetime) -> None:
    connection.execute(
        update(versions)
        .where(
            versions.c.item_id == item_id,
            versions.c.version_id.in_(version_ids),
            versions.c.stage == Stage.PREVIOUS,
        )
        .values(retire_at=at)
    )
    # Not fenced: these rotations share this one's lane, so nobody works on them while this claim holds.
    connection.execute(
        update(rotations)
        .where(
            rotations.c.item_id == item_id,
            # One that left its old secret to the next rotation is done, and goes on now.
            rotations.c.state.in_([RotationState.PUBLISHED, RotationState.DONE]),
            rotations.c.trigger.not_in([Trigger.DELETE, Trigger.DELETE_VERSION]),
            rotations.c.replaced_version_id.in_(version_ids),
        )
        .values(state=RotationState.PUBLISHED, next_attempt_at=at)
    )


def _reopen(connection: Connection, item_id: str, at: datetime) -> None:
    """Give every credential that is still to be removed its rotation back: nobody else would remove it."""
    mine = rotations.c.item_id == item_id
    waiting = and_(versions.c.version_id == rotations.c.replaced_version_id, versions.c.stage == Stage.PREVIOUS)
    retire_at = select(versions.c.retire_at).where(waiting).scalar_subquery()
    connection.execute(
        update(rotations)
        .where(mine, rotations.c.state == RotationState.DONE, exists().where(waiting))
        .values(
            state=RotationState.PUBLISHED,
            next_attempt_at=func.coalesce(retire_at, literal(at, Instant())),
            updated_at=at,
        )
    )
    minted = and_(versions.c.rotation_id == rotations.c.rotation_id, versions.c.stage == Stage.ABANDONED)
    connection.execute(
        update(rotations)
        .where(
            mine,
            rotations.c.trigger != Trigger.DELETE,
            rotations.c.state == RotationState.FAILED,
            rotations.c.closed.is_(True),
            or_(rotations.c.mint_uncertain.is_(True), exists().where(minted)),
        )
        .values(closed=False, next_attempt_at=at, updated_at=at)
    )


def _show(connection: Connection, item_id: str, status: RotatorStatus, error: dict[str, Any]) -> None:
    # Without a new revision: a failure shown on the item is no reason to refuse somebody's update of its settings.
    statement = update(items).where(items.c.item_id == item_id).values(rotator_status=status, **error)
    if status is RotatorStatus.PARTIAL:
        # The old secret of one rotation that is hard to remove does not hide that the next rotation failed.
        statement = statement.where(
            or_(items.c.rotator_status.is_(None), items.c.rotator_status != RotatorStatus.FAILED)
        )
    connection.execute(statement)


def _change_state(connection: Connection, item_id: str, state: ItemState, at: datetime) -> None:
    connection.execute(
        update(items)
        .where(items.c.item_id == item_id)
        .values(state=state, modified_at=at, revision=items.c.revision + 1)
    )


def _inconsistent(claim: Claim, why: str) -> Corrupt:
    return Corrupt(
        "StoreCorrupt",
        f"rotation {claim.rotation_id}: {why}; nothing was changed",
        hint="stop using the store, and restore a backup of it together with its key",
    )
