"""Who works on what: the lease of a rotation and the permit of a lane, by the database's clock.

    free ──claim──> held (fence + 1, lease_until = now + lease) ──release──> free
                      │ extend, or any step's commit: lease_until moves
                      └─ lease_until passes: anyone may claim; the old holder's fence no longer matches

Rotation and permit are always touched in one transaction, the rotation first: one cannot outlive the other, and two
workers cannot lock them crosswise.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, case, exists, func, literal, or_, select, update

from azure_rotator.domain.errors import LeaseLost
from azure_rotator.domain.kinds import pauses
from azure_rotator.domain.model import RotationState, Stage, Trigger
from azure_rotator.domain.ownership import SWEPT_AFTER
from azure_rotator.domain.ports import Claim, LaneClaim
from azure_rotator.store.column_types import database_now
from azure_rotator.store.connect import Database, insert_into
from azure_rotator.store.tables import OPEN, TO_SWEEP, items, permits, rotations, targets, versions


def is_free(lease_until: Column[float | None] | Column[Any]) -> ColumnElement[bool]:
    """Nobody holds it, or no longer."""
    return or_(lease_until.is_(None), lease_until < database_now())


def holds_rotation(claim: Claim) -> ColumnElement[bool]:
    """The row is still this claim's. The worker is compared too: a release leaves the fence as it is."""
    return and_(
        rotations.c.rotation_id == claim.rotation_id,
        rotations.c.fence == claim.fence,
        rotations.c.worker == claim.worker,
    )


def place_of(rotation_id: str) -> Select[tuple[str, str | None]]:
    """A rotation's lane and tenant: whose pauses it obeys."""
    tenant_id = (
        select(targets.c.tenant_id)
        .join_from(items, targets, items.c.target_id == targets.c.target_id)
        .where(items.c.item_id == rotations.c.item_id)
        .scalar_subquery()
    )
    return select(rotations.c.lane, tenant_id.label("tenant_id")).where(rotations.c.rotation_id == rotation_id)


def pause_end(connection: Connection, lane: str, tenant_id: str | None) -> datetime | None:
    """When the longest pause that this lane obeys ends, perhaps long ago."""
    names = pauses(lane, tenant_id).values()
    statement = select(func.max(permits.c.not_before)).where(permits.c.lane.in_(names))
    until: datetime | None = connection.execute(statement).scalar_one()
    return until


def extend_permit(
    connection: Connection, claim: Claim | LaneClaim, lease_seconds: float, *, step_at: datetime | None = None
) -> None:
    """Extend the permit in the caller's transaction.

    Args:
        step_at: When an operation made a step, which may leave an orphan: the application is to be looked at.

    Raises:
        LeaseLost: The lane is somebody else's by now, even if the rotation is not.
    """
    statement = update(permits).where(_holds_permit(claim)).values(lease_until=database_now() + lease_seconds)
    if step_at is not None and claim.lane.startswith("application:"):
        # The first step since the last look counts. What lies further ahead was written by a clock that was wrong.
        at = literal(step_at + SWEPT_AFTER, permits.c.sweep_at.type)
        statement = statement.values(sweep_at=case((permits.c.sweep_at < at, permits.c.sweep_at), else_=at))
    if connection.execute(statement).rowcount != 1:
        raise LeaseLost(claim.rotation_id if isinstance(claim, Claim) else claim.lane)


class Leases:
    """The part of the unit of work about leases and permits."""

    _db: Database

    def claim(self, rotation_id: str, worker: str, now: datetime) -> Claim | None:
        candidate = (
            place_of(rotation_id)
            .where(OPEN, rotations.c.next_attempt_at <= now, is_free(rotations.c.lease_until))
            .with_for_update(skip_locked=True, of=rotations)
        )
        with self._db.writing() as connection:
            place = connection.execute(candidate).one_or_none()
            if place is None:
                return None
            lane = place.lane
            permit_fence = self._take_permit(connection, lane, place.tenant_id, worker, now)
            if permit_fence is None:
                return None
            taken = (
                update(rotations)
                .where(rotations.c.rotation_id == rotation_id)
                .values(
                    worker=worker,
                    lease_until=database_now() + self._db.lease_seconds,
                    fence=rotations.c.fence + 1,
                    # Who died may have met a refusal that he did not write down: in a row is what one holder saw, or
                    # several who gave it back.
                    confirmations=case((rotations.c.lease_until.is_not(None), 0), else_=rotations.c.confirmations),
                )
                .returning(rotations.c.fence)
            )
            fence = connection.execute(taken).scalar_one()
        return Claim(rotation_id=rotation_id, lane=lane, worker=worker, fence=fence, permit_fence=permit_fence)

    def claim_lane(self, lane: str, worker: str, now: datetime, *, tenant_id: str | None = None) -> LaneClaim | None:
        with self._db.writing() as connection:
            permit_fence = self._take_permit(connection, lane, tenant_id, worker, now)
        return None if permit_fence is None else LaneClaim(lane=lane, worker=worker, permit_fence=permit_fence)

    def extend(self, claim: Claim | LaneClaim) -> None:
        with self._db.writing() as connection:
            if isinstance(claim, Claim):
                statement = (
                    update(rotations)
                    .where(holds_rotation(claim))
                    .values(lease_until=database_now() + self._db.lease_seconds)
                )
                if connection.execute(statement).rowcount != 1:
                    raise LeaseLost(claim.rotation_id)
            extend_permit(connection, claim, self._db.lease_seconds)

    def release(self, claim: Claim | LaneClaim) -> None:
        with self._db.writing() as connection:
            if isinstance(claim, Claim):
                connection.execute(update(rotations).where(holds_rotation(claim)).values(worker=None, lease_until=None))
            connection.execute(update(permits).where(_holds_permit(claim)).values(worker=None, lease_until=None))

    def take_sweeps(self, now: datetime, *, again_at: datetime, limit: int) -> Sequence[str]:
        due = (
            select(permits.c.lane)
            .where(TO_SWEEP, permits.c.sweep_at <= now)
            .order_by(permits.c.sweep_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._db.writing() as connection:
            lanes = connection.execute(due).scalars().all()
            if lanes:
                connection.execute(update(permits).where(permits.c.lane.in_(lanes)).values(sweep_at=again_at))
        return lanes

    def swept(self, claim: LaneClaim) -> None:
        with self._db.writing() as connection:
            connection.execute(update(permits).where(_holds_permit(claim)).values(sweep_at=None))

    def hold_lane(self, lane: str, until: datetime) -> None:
        statement = (
            update(permits)
            .where(permits.c.lane == lane, or_(permits.c.not_before.is_(None), permits.c.not_before < until))
            .values(not_before=until)
        )
        with self._db.writing() as connection:
            ensure_permit(connection, lane)
            connection.execute(statement)

    def paused_until(self, lane: str, tenant_id: str | None) -> datetime | None:
        with self._db.reading() as connection:
            return pause_end(connection, lane, tenant_id)

    def _take_permit(
        self, connection: Connection, lane: str, tenant_id: str | None, worker: str, now: datetime
    ) -> int | None:
        until = pause_end(connection, lane, tenant_id)
        if until is not None and until > now:
            return None
        ensure_permit(connection, lane)
        statement = (
            update(permits)
            .where(permits.c.lane == lane, is_free(permits.c.lease_until))
            .values(worker=worker, lease_until=database_now() + self._db.lease_seconds, fence=permits.c.fence + 1)
            .returning(permits.c.fence)
        )
        return connection.execute(statement).scalar_one_or_none()


def _holds_permit(claim: Claim | LaneClaim) -> ColumnElement[bool]:
    return and_(permits.c.lane == claim.lane, permits.c.fence == claim.permit_fence, permits.c.worker == claim.worker)


def ensure_permit(connection: Connection, lane: str) -> None:
    """Make the lane's row, if there is none."""
    connection.execute(insert_into(connection, permits).values(lane=lane, fence=0).on_conflict_do_nothing())


def take_up_failed(connection: Connection, item_ids: Select[tuple[str]], at: datetime) -> None:
    """What failed for these items may work now: a parked rotation with nothing left to clean up is planned again, and
    what backs off is due. Who works on one at this moment finds out by himself."""
    failed = and_(
        rotations.c.item_id.in_(item_ids),
        OPEN,
        rotations.c.error_code.is_not(None),
        rotations.c.trigger.not_in([Trigger.CREATE, Trigger.DELETE, Trigger.DELETE_VERSION]),
        is_free(rotations.c.lease_until),
    )
    left = exists().where(versions.c.rotation_id == rotations.c.rotation_id, versions.c.stage == Stage.ABANDONED)
    connection.execute(
        update(rotations)
        .where(failed, rotations.c.state == RotationState.FAILED, rotations.c.mint_uncertain.is_(False), ~left)
        .values(
            state=RotationState.PLANNED, parked=False, attempts=0, confirmations=0, next_attempt_at=at, updated_at=at
        )
    )
    waits_for_its_time = rotations.c.state == RotationState.PUBLISHED
    connection.execute(
        update(rotations)
        .where(failed, ~waits_for_its_time, rotations.c.next_attempt_at > at)
        .values(next_attempt_at=at)
    )
