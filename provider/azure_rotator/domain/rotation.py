"""The state machine of an operation: allowed moves, the next step, and what a publication changes. Pure.

    planned -> minting -> minted -> proving -> published -> retiring -> done
                  |          |          |
                  +----------+----------+--> failed: cleaned up, then parked (resumable) or, for a create, undone

What a schedule asked for is withdrawn, as long as nothing is minted, when the schedule no longer asks for it.

A delete is an operation too: ``planned`` while it removes what is not current (it can still be called off),
``retiring`` from the commit before the current credential's removal, ``done`` when the item is gone. It ends the item's
other operations; one that is called off gives those that still have a credential to retire back to ``published``.

The deletion of one version is an operation, too: ``retiring`` from its first row on, ``done`` when the version's
credential and row are gone.

Every step may run twice: each first asks whether it was already done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from azure_rotator.domain.kinds import Retention, proofs_in_a_row
from azure_rotator.domain.model import (
    Account,
    ItemState,
    RotatedSecret,
    Rotation,
    RotationState,
    Stage,
    Target,
    Trigger,
    Version,
)

PROOF_DEADLINE = timedelta(minutes=5)
ABSENT_READS_IN_A_ROW = 3
ABSENT_READ_SPACING = timedelta(seconds=1)
NEVER = datetime.max.replace(tzinfo=UTC, microsecond=0)
"""The next attempt of what waits for a person."""
SCHEDULED = frozenset({Trigger.AUTOMATIC, Trigger.CATCH_UP})

MOVES: dict[RotationState, frozenset[RotationState]] = {
    RotationState.PLANNED: frozenset(
        # done: a forced delete, which Azure refused
        {RotationState.MINTING, RotationState.RETIRING, RotationState.FAILED, RotationState.DONE}
    ),
    RotationState.MINTING: frozenset({RotationState.MINTING, RotationState.MINTED, RotationState.FAILED}),
    RotationState.MINTED: frozenset({RotationState.PROVING, RotationState.FAILED}),
    RotationState.PROVING: frozenset({RotationState.PROVING, RotationState.PUBLISHED, RotationState.FAILED}),
    RotationState.PUBLISHED: frozenset({RotationState.RETIRING, RotationState.DONE}),
    RotationState.RETIRING: frozenset({RotationState.RETIRING, RotationState.DONE, RotationState.FAILED}),
    RotationState.FAILED: frozenset({RotationState.PLANNED, RotationState.FAILED}),
    RotationState.DONE: frozenset({RotationState.PUBLISHED}),
}

UNPUBLISHED = frozenset(
    {RotationState.PLANNED, RotationState.MINTING, RotationState.MINTED, RotationState.PROVING, RotationState.FAILED}
)


class Step(StrEnum):
    """What to do next; each ends in one fenced commit."""

    RECOVER = "recover"  # an Azure mint may have happened that nobody recorded: find the stamp, remove it
    MINT = "mint"
    PROVE = "prove"
    PUBLISH = "publish"
    WAIT = "wait"  # until ``next_attempt_at``
    BEGIN_RETIRING = "begin-retiring"
    RETIRE = "retire"
    CLOSE = "close"  # nothing to retire: done
    REMOVE_ABANDONED = "remove-abandoned"
    DROP_ITEM = "drop-item"  # the end of a failed create, and of a delete
    PARK = "park"  # nothing is left to clean up: until the next due date, or somebody asks
    PARKED = "parked"
    RESUME = "resume"  # its next due date has come
    WITHDRAW = "withdraw"  # the schedule no longer asks for it
    DELETE_REST = "delete-rest"  # a delete: everything but the current credential
    DELETE_CURRENT = "delete-current"
    ENDED = "ended"


IDLE = frozenset({Step.WAIT, Step.PARKED, Step.ENDED})


def next_step(rotation: Rotation, item: RotatedSecret | None, versions: Sequence[Version], now: datetime) -> Step:
    """What this operation does next, from stored facts only."""
    if rotation.state is RotationState.DONE or rotation.closed or item is None:
        return Step.ENDED
    if rotation.next_attempt_at > now:
        return Step.PARKED if rotation.parked else Step.WAIT
    if rotation.trigger is Trigger.DELETE_VERSION:
        return Step.RETIRE if doomed_version(rotation, versions) else Step.CLOSE
    if rotation.trigger is Trigger.DELETE:
        return Step.DELETE_REST if rotation.state is RotationState.PLANNED else Step.DELETE_CURRENT
    match rotation.state:
        case RotationState.MINTING if rotation.mint_uncertain:
            return Step.RECOVER
        case RotationState.PLANNED | RotationState.MINTING:
            return Step.MINT if _is_wanted(rotation, item, now) else Step.WITHDRAW
        case RotationState.MINTED | RotationState.PROVING:
            return Step.PUBLISH if rotation.confirmations >= proofs_in_a_row(item) else Step.PROVE
        case RotationState.PUBLISHED:
            return Step.BEGIN_RETIRING if to_retire(rotation, versions) else Step.CLOSE
        case RotationState.RETIRING:
            return Step.RETIRE if to_retire(rotation, versions) else Step.CLOSE
        case RotationState.FAILED:
            return _after_failure(rotation, item, versions, now)


def _after_failure(rotation: Rotation, item: RotatedSecret, versions: Sequence[Version], now: datetime) -> Step:
    if abandoned_version(rotation, versions):
        return Step.REMOVE_ABANDONED
    if rotation.mint_uncertain:
        return Step.RECOVER
    if item.state is ItemState.UNDOING:
        return Step.DROP_ITEM
    if not _is_wanted(rotation, item, now):
        return Step.WITHDRAW
    return Step.RESUME if rotation.parked else Step.PARK


def _is_wanted(rotation: Rotation, item: RotatedSecret, now: datetime) -> bool:
    """Whether whoever asked for it still does: a person, or the schedule."""
    due_at = item.next_rotation_at
    return rotation.trigger not in SCHEDULED or (item.enabled and due_at is not None and due_at <= now)


def pending_version(rotation: Rotation, versions: Sequence[Version]) -> Version | None:
    return next((v for v in versions if v.stage is Stage.PENDING and v.rotation_id == rotation.rotation_id), None)


def abandoned_version(rotation: Rotation, versions: Sequence[Version]) -> Version | None:
    return next((v for v in versions if v.stage is Stage.ABANDONED and v.rotation_id == rotation.rotation_id), None)


def current_version(versions: Sequence[Version]) -> Version | None:
    return next((v for v in versions if v.stage is Stage.CURRENT), None)


def to_retire(rotation: Rotation, versions: Sequence[Version]) -> Version | None:
    """The version that this rotation replaced, while its credential may still be in Azure and is ours to remove."""
    return next(
        (
            v
            for v in versions
            if v.version_id == rotation.replaced_version_id and v.stage is Stage.PREVIOUS and v.retire_at is not None
        ),
        None,
    )


def doomed_version(rotation: Rotation, versions: Sequence[Version]) -> Version | None:
    """The version that a ``delete-version`` is about, while its credential may still be in Azure."""
    return next(
        (v for v in versions if v.version_id == rotation.replaced_version_id and v.stage is Stage.PREVIOUS), None
    )


def versions_kept(item: RotatedSecret | Target, account: Account) -> int:
    """How many versions stay when a new one comes: the newest of them, the new one among them (features 3.4)."""
    keeps = account.default_versioning if item.keep_prev_version is None else item.keep_prev_version
    return min(item.max_versions or account.max_versions, account.max_versions) if keeps else 1


def pruned(versions: Sequence[Version], published: Version, change: Retirement, *, keep: int) -> tuple[str, ...]:
    """Versions that are forgotten when ``published`` becomes current: the oldest beyond ``keep``.

    One that is still valid in Azure stays, and so does one whose credential nobody may have removed yet: only what is
    revoked, or is by this very publication, is history.
    """
    counted = [v for v in versions if v.stage in {Stage.CURRENT, Stage.PREVIOUS, Stage.REVOKED} and v.number > 0]
    counted = [v for v in counted if v.version_id != published.version_id]
    newest = sorted(counted, key=lambda v: v.number, reverse=True)
    return tuple(v.version_id for v in newest[keep - 1 :] if v.stage is Stage.REVOKED or v.version_id in change.revoked)


def next_number(versions: Sequence[Version]) -> int:
    """Numbers are consecutive; an abandoned version's number is free again."""
    return max((v.number for v in versions if v.stage is not Stage.ABANDONED), default=0) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """What a publication does to the versions before it.

    Args:
        replaced_version_id: The version that was current.
        retire_at: When its credential is to be removed; None: never by us.
        retire_early: Previous versions to be retired now.
        revoked: Versions that Azure refuses since the new credential was made.
    """

    replaced_version_id: str | None
    retire_at: datetime | None
    retire_early: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()


def retirement(
    versions: Sequence[Version], published: Version, *, keeping: Retention, overlap: timedelta | None, now: datetime
) -> Retirement:
    """What a publication does to the versions before it, by kind.

    Client secrets: the replaced one lives on for the overlap; None: until the next publication. At most two managed
    secrets of an item stay valid: a previous one still valid is retired now, the third-secret rule (features 3.6). One
    whose time has come keeps its date: it may be gone from Azure already.

    Storage keys and passwords: whatever the same key, or user, had before is gone since the new one was made. The other
    key of a pair stays valid until its turn.
    """
    current = current_version(versions)
    replaced = current.version_id if current else None
    previous = [v for v in versions if v.stage is Stage.PREVIOUS]
    match keeping:
        case Retention.OVERLAP:
            early = tuple(v.version_id for v in previous if v.retire_at is None or v.retire_at > now)
            return Retirement(
                replaced_version_id=replaced,
                retire_at=now + overlap if current and overlap is not None else None,
                retire_early=early,
            )
        case Retention.ALTERNATE | Retention.REPLACED:
            before = [*previous, *([current] if current else ())]
            gone = tuple(v.version_id for v in before if v.key_id == published.key_id)
            return Retirement(replaced_version_id=replaced, retire_at=None, revoked=gone)
