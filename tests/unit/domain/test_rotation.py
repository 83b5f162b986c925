"""The next step of an operation, from stored facts only; what a publication changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.kinds import PROOFS_IN_A_ROW, Retention
from azure_rotator.domain.model import ItemState, Origin, RotationState, Stage, Trigger, Version
from azure_rotator.domain.rotation import MOVES, Step, next_step
from tests.rows import row
from tests.unit.domain.samples import NOW, OPERATION, id_of, item, rotation, version

CURRENT = version(1, Stage.CURRENT, rotation_id=id_of(9))
PREVIOUS = version(1, Stage.PREVIOUS, rotation_id=id_of(9), retire_at=NOW)
PENDING = version(2, Stage.PENDING)
ABANDONED = version(2, Stage.ABANDONED)
REPLACED = {"replaced_version_id": PREVIOUS.version_id}
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("facts", "versions", "expected"),
    [
        pytest.param({"state": "planned"}, [CURRENT], Step.MINT, id="planned: mint"),
        pytest.param({"state": "planned"}, [], Step.MINT, id="planned, the first of its item: mint"),
        pytest.param({"state": "minting", "mint_uncertain": True}, [CURRENT], Step.RECOVER, id="intent: look first"),
        pytest.param({"state": "minting"}, [CURRENT], Step.MINT, id="nothing was made: mint"),
        pytest.param({"state": "minted"}, [CURRENT, PENDING], Step.PROVE, id="minted: prove"),
        pytest.param({"state": "proving", "confirmations": 0}, [CURRENT, PENDING], Step.PROVE, id="no proof yet"),
        pytest.param({"state": "proving", "confirmations": 2}, [CURRENT, PENDING], Step.PROVE, id="two proofs"),
        pytest.param({"state": "proving", "confirmations": 3}, [CURRENT, PENDING], Step.PUBLISH, id="three proofs"),
        pytest.param({"state": "published"} | REPLACED, [PREVIOUS], Step.BEGIN_RETIRING, id="an old one to retire"),
        pytest.param({"state": "published"}, [CURRENT], Step.CLOSE, id="nothing to retire"),
        pytest.param(
            {"state": "published"} | REPLACED,
            [version(1, Stage.REVOKED)],
            Step.CLOSE,
            id="what it replaced was revoked by another",
        ),
        pytest.param({"state": "retiring"} | REPLACED, [PREVIOUS], Step.RETIRE, id="retiring: remove"),
        pytest.param({"state": "retiring"} | REPLACED, [version(1, Stage.REVOKED)], Step.CLOSE, id="it is removed"),
        pytest.param({"state": "failed"}, [CURRENT], Step.PARK, id="failed: nothing is left to clean up"),
        pytest.param(
            {"state": "failed"}, [CURRENT, ABANDONED], Step.REMOVE_ABANDONED, id="failed: remove what it made"
        ),
        pytest.param(
            {"state": "failed"},
            [CURRENT, version(2, Stage.ABANDONED, rotation_id=id_of(8))],
            Step.PARK,
            id="failed: what another made is not its own",
        ),
        pytest.param(
            {"state": "failed", "mint_uncertain": True}, [CURRENT], Step.RECOVER, id="failed: look for a stamp"
        ),
        pytest.param(
            {"state": "failed", "mint_uncertain": True},
            [ABANDONED],
            Step.REMOVE_ABANDONED,
            id="failed: the known one goes first",
        ),
        pytest.param({"state": "done"}, [CURRENT], Step.ENDED, id="done"),
        pytest.param({"state": "failed", "closed": True}, [ABANDONED], Step.ENDED, id="closed"),
        pytest.param({"state": "planned", "closed": True}, [CURRENT], Step.ENDED, id="closed before it began"),
        pytest.param(
            {"state": "planned", "trigger": Trigger.DELETE}, [CURRENT], Step.DELETE_REST, id="a delete begins"
        ),
        pytest.param(
            {"state": "retiring", "trigger": Trigger.DELETE}, [CURRENT], Step.DELETE_CURRENT, id="a delete goes on"
        ),
    ],
)
def test_the_next_step(facts: dict[str, Any], versions: Sequence[Version], expected: Step):
    facts["state"] = RotationState(facts["state"])
    assert next_step(rotation(**facts), item(), versions, NOW) is expected


LATER, EARLIER = NOW + SECOND, NOW - SECOND


@row("F56", "F62")
@pytest.mark.parametrize(
    ("facts", "schedule", "expected"),
    [
        pytest.param({"state": "planned"}, {"next_rotation_at": NOW}, Step.MINT, id="it is due"),
        pytest.param({"state": "planned"}, {"next_rotation_at": LATER}, Step.WITHDRAW, id="not any more"),
        pytest.param({"state": "planned"}, {"next_rotation_at": None}, Step.WITHDRAW, id="auto-rotate is off"),
        pytest.param(
            {"state": "planned"}, {"next_rotation_at": NOW, "enabled": False}, Step.WITHDRAW, id="it is disabled"
        ),
        pytest.param({"state": "minting"}, {"next_rotation_at": LATER}, Step.WITHDRAW, id="nothing was made"),
        pytest.param(
            {"state": "minting", "mint_uncertain": True}, {"next_rotation_at": LATER}, Step.RECOVER, id="look first"
        ),
        pytest.param({"state": "minted"}, {"next_rotation_at": None}, Step.PROVE, id="what is minted comes to its end"),
        pytest.param({"state": "failed"}, {"next_rotation_at": EARLIER}, Step.PARK, id="failed: until the next date"),
        pytest.param({"state": "failed"}, {"next_rotation_at": None}, Step.WITHDRAW, id="failed, and nobody needs it"),
        pytest.param(
            {"state": "failed", "parked": True, "next_attempt_at": LATER},
            {"next_rotation_at": EARLIER},
            Step.PARKED,
            id="parked: the next date is to come",
        ),
        pytest.param(
            {"state": "failed", "parked": True, "next_attempt_at": NOW},
            {"next_rotation_at": EARLIER},
            Step.RESUME,
            id="parked: the next date has come",
        ),
    ],
)
@pytest.mark.parametrize("trigger", [Trigger.AUTOMATIC, Trigger.CATCH_UP])
def test_what_the_schedule_asked_for_goes_on_while_it_does(
    trigger: Trigger, facts: dict[str, Any], schedule: dict[str, Any], expected: Step
):
    asked = rotation(**{**facts, "state": RotationState(facts["state"]), "trigger": trigger})
    assert next_step(asked, item(**schedule), [CURRENT, PENDING], NOW) is expected


@pytest.mark.parametrize("state", [RotationState.PLANNED, RotationState.FAILED])
def test_what_a_person_asked_for_needs_no_schedule(state: RotationState):
    assert next_step(rotation(state=state), item(next_rotation_at=None), [CURRENT], NOW) is not Step.WITHDRAW


@pytest.mark.parametrize(
    ("facts", "versions", "expected"),
    [
        pytest.param({}, [], Step.DROP_ITEM, id="nothing is left in Azure: the row goes"),
        pytest.param({}, [ABANDONED], Step.REMOVE_ABANDONED, id="the secret first"),
        pytest.param({"mint_uncertain": True}, [], Step.RECOVER, id="a look for a stamp first"),
    ],
)
def test_a_failed_create_is_undone(facts: dict[str, Any], versions: Sequence[Version], expected: Step):
    failed = rotation(state=RotationState.FAILED, trigger=Trigger.CREATE, **facts)
    assert next_step(failed, item(state=ItemState.UNDOING), versions, NOW) is expected


@pytest.mark.parametrize("state", [state for state in RotationState if state is not RotationState.DONE])
@pytest.mark.parametrize("trigger", list(Trigger))
def test_every_open_operation_waits_for_its_instant(state: RotationState, trigger: Trigger):
    later = rotation(state=state, trigger=trigger, next_attempt_at=NOW + SECOND)
    assert next_step(later, item(), [CURRENT], NOW) is Step.WAIT
    assert next_step(later, item(), [CURRENT], NOW + SECOND) is not Step.WAIT


@pytest.mark.parametrize("state", list(RotationState))
def test_without_its_item_an_operation_has_ended(state: RotationState):
    assert next_step(rotation(state=state), None, [], NOW) is Step.ENDED


@row("F03")
@pytest.mark.parametrize("confirmations", range(PROOFS_IN_A_ROW))
@pytest.mark.parametrize("state", [RotationState.MINTED, RotationState.PROVING])
def test_nothing_is_published_without_three_proofs(state: RotationState, confirmations: int):
    unproven = rotation(state=state, confirmations=confirmations)
    assert next_step(unproven, item(), [CURRENT, PENDING], NOW) is Step.PROVE


def test_idle_steps_are_those_that_change_nothing():
    assert {step for step in Step if step in machine.IDLE} == {Step.WAIT, Step.PARKED, Step.ENDED}


def test_a_state_that_ended_is_left_by_a_called_off_delete_only():
    assert MOVES[RotationState.DONE] == {RotationState.PUBLISHED}
    assert set(MOVES) == set(RotationState)


# --- versions


@pytest.mark.parametrize(
    ("versions", "number"),
    [
        pytest.param([], 1, id="the first"),
        pytest.param([version(0, Stage.CURRENT)], 1, id="after an adopted one without value"),
        pytest.param([CURRENT], 2, id="after the first"),
        pytest.param([version(1, Stage.REVOKED), version(2, Stage.CURRENT)], 3, id="revoked ones count"),
        pytest.param([CURRENT, ABANDONED], 2, id="an abandoned one frees its number"),
        pytest.param([CURRENT, PENDING], 3, id="a pending one takes its number"),
    ],
)
def test_numbers_are_consecutive(versions: Sequence[Version], number: int):
    assert machine.next_number(versions) == number


def test_versions_are_found_by_stage_and_operation():
    other = version(3, Stage.PENDING, rotation_id=id_of(8))
    versions = [CURRENT, other, PENDING, version(4, Stage.ABANDONED)]
    mine = rotation()
    assert machine.current_version(versions) is CURRENT
    assert machine.pending_version(mine, versions) is PENDING
    assert machine.abandoned_version(mine, versions) == version(4, Stage.ABANDONED)
    assert machine.pending_version(rotation(rotation_id=id_of(7)), versions) is None
    assert machine.current_version([other]) is None


def test_only_what_an_operation_replaced_is_its_to_retire():
    older = version(5, Stage.PREVIOUS)
    replacing = rotation(state=RotationState.PUBLISHED, **REPLACED)
    assert machine.to_retire(replacing, [older, PREVIOUS]) is PREVIOUS
    assert machine.to_retire(replacing, [older]) is None
    assert machine.to_retire(rotation(), [older, PREVIOUS]) is None


@row("F28")
@pytest.mark.parametrize(
    ("versions", "overlap", "replaced", "retire_at", "early"),
    [
        pytest.param([], timedelta(hours=24), None, None, [], id="the first: nothing is replaced"),
        pytest.param([CURRENT, PENDING], timedelta(hours=24), 1, NOW + timedelta(hours=24), [], id="the old lives on"),
        pytest.param([CURRENT, PENDING], timedelta(), 1, NOW, [], id="revoke-after 0: it goes at once"),
        pytest.param(
            [version(1, Stage.PREVIOUS), version(2, Stage.CURRENT), version(3, Stage.PENDING)],
            timedelta(hours=24),
            2,
            NOW + timedelta(hours=24),
            [1],
            id="the third secret: the oldest goes now",
        ),
        pytest.param(
            [version(1, Stage.PREVIOUS, retire_at=NOW), version(2, Stage.CURRENT), version(3, Stage.PENDING)],
            timedelta(hours=24),
            2,
            NOW + timedelta(hours=24),
            [],
            id="one whose time has come keeps its date",
        ),
        pytest.param(
            [version(1, Stage.REVOKED), version(2, Stage.CURRENT)],
            timedelta(hours=1),
            2,
            NOW + timedelta(hours=1),
            [],
            id="revoked ones are left alone",
        ),
        pytest.param(
            [version(0, Stage.CURRENT, origin=Origin.ADOPTED), version(1, Stage.PENDING)],
            timedelta(hours=24),
            0,
            NOW + timedelta(hours=24),
            [],
            id="an adopted one without value is replaced like any other",
        ),
    ],
)
def test_a_publication_retires_what_it_replaces(
    versions: Sequence[Version], overlap: timedelta, replaced: int | None, retire_at: object, early: list[int]
):
    change = machine.retirement(versions, PENDING, keeping=Retention.OVERLAP, overlap=overlap, now=NOW)
    ids = {one.number: one.version_id for one in versions}
    assert change.replaced_version_id == (None if replaced is None else ids[replaced])
    assert change.retire_at == retire_at
    assert change.retire_early == tuple(ids[number] for number in early)


_KEY1, _KEY2 = {"key_id": "key1"}, {"key_id": "key2"}


@row("B-12", "F43")
@pytest.mark.parametrize(
    ("keeping", "versions", "published", "replaced", "revoked"),
    [
        pytest.param(
            Retention.REPLACED,
            [version(1, Stage.CURRENT, **_KEY1)],
            version(2, Stage.PENDING, **_KEY1),
            1,
            [1],
            id="the same key: its old value is gone",
        ),
        pytest.param(
            Retention.ALTERNATE,
            [version(1, Stage.CURRENT, **_KEY1)],
            version(2, Stage.PENDING, **_KEY2),
            1,
            [],
            id="the other key: the one handed out stays valid",
        ),
        pytest.param(
            Retention.ALTERNATE,
            [version(1, Stage.PREVIOUS, **_KEY1), version(2, Stage.CURRENT, **_KEY2)],
            version(3, Stage.PENDING, **_KEY1),
            2,
            [1],
            id="the first key's turn again: only what it had before is gone",
        ),
        pytest.param(
            Retention.REPLACED,
            [version(1, Stage.PREVIOUS, **_KEY1), version(2, Stage.CURRENT, **_KEY2)],
            version(3, Stage.PENDING, **_KEY2),
            2,
            [2],
            id="after a switch from alternate: the other key is as it was",
        ),
    ],
)
def test_a_new_key_revokes_what_the_same_key_had(
    keeping: Retention, versions: Sequence[Version], published: Version, replaced: int, revoked: list[int]
):
    change = machine.retirement(versions, published, keeping=keeping, overlap=timedelta(hours=24), now=NOW)
    ids = {one.number: one.version_id for one in versions}
    assert (change.replaced_version_id, change.retire_at, change.retire_early) == (ids[replaced], None, ())
    assert change.revoked == tuple(ids[number] for number in revoked)


def test_a_version_is_in_azure_until_it_is_revoked():
    assert {stage for stage in Stage if not version(1, stage).in_azure} == {Stage.REVOKED}
    assert PENDING.rotation_id == OPERATION
