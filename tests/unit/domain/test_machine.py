"""The state machine under everything that may happen: outages, lost replies, crashes, deletes, in any order.

A model of store and Azure, as ``domain.ports`` describes them, is driven by ``next_step`` alone. What must hold at any
time: the current credential exists in Azure; whatever was minted is held by a version or found by its stamp; nothing is
published without three proofs in a row; states change along ``MOVES`` only.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.kinds import PROOFS_IN_A_ROW, Retention
from azure_rotator.domain.model import ItemState, RotatedSecret, Rotation, RotationState, Stage, Trigger, Version
from azure_rotator.domain.names import Stamp
from azure_rotator.domain.ownership import orphans
from azure_rotator.domain.ports import PasswordCredential
from azure_rotator.domain.rotation import ABSENT_READS_IN_A_ROW, MOVES, Step, next_step
from tests.rows import row
from tests.unit.domain import samples
from tests.unit.domain.samples import ITEM_ID, NOW, id_of
from tests.unit.domain.steady import steady

STORE = id_of(10)
SECOND = timedelta(seconds=1)

# What becomes of a call to Azure: it works; Azure refuses; nothing came back, and it was applied, or not; the process
# dies right after it.
WORKS, REFUSED, LOST_APPLIED, LOST, DIES = "works", "refused", "lost, applied", "lost", "dies"


class Died(Exception):
    """The process is gone; what was committed stands."""


_TROUBLE: st.SearchStrategy[dict[int, str]] = st.just({}) | st.dictionaries(
    st.integers(0, 5), st.sampled_from([REFUSED, LOST, LOST_APPLIED, DIES]), min_size=1, max_size=2
)


class Life(RuleBasedStateMachine):
    """An item's life. The store's methods of the same names are told in ``ports.UnitOfWork``."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.count = 100
        self.item: RotatedSecret | None = None
        self.versions: list[Version] = []
        self.rotations: dict[str, Rotation] = {}
        self.azure: dict[str, str] = {}
        self.proofs: dict[str, int] = {}
        self.overlap = timedelta(hours=24)

    # --- the model: store

    def _next(self) -> str:
        self.count += 1
        return id_of(self.count)

    def _set(self, operation: Rotation, **changes: object) -> Rotation:
        new = replace(self.rotations[operation.rotation_id], **changes)  # type: ignore[arg-type]
        old = self.rotations[operation.rotation_id].state
        assert new.state is old or new.state in MOVES[old], f"{old} to {new.state}"
        self.rotations[operation.rotation_id] = new
        return new

    def _stage(self, version: Version, stage: Stage, **changes: object) -> None:
        self.versions = [
            replace(v, stage=stage, **changes) if v.version_id == version.version_id else v  # type: ignore[arg-type]
            for v in self.versions
        ]

    def _insert(self, trigger: Trigger) -> Rotation:
        made = samples.rotation(
            rotation_id=self._next(), trigger=trigger, created_at=self.now, next_attempt_at=self.now
        )
        self.rotations[made.rotation_id] = made
        return made

    def _open(self) -> list[Rotation]:
        return [r for r in self.rotations.values() if r.state is not RotationState.DONE and not r.closed]

    def _unpublished(self) -> list[Rotation]:
        return [r for r in self._open() if r.trigger is not Trigger.DELETE and r.state in machine.UNPUBLISHED]

    def _fail(self, operation: Rotation) -> None:
        for version in self.versions:
            if version.stage is Stage.PENDING and version.rotation_id == operation.rotation_id:
                self._stage(version, Stage.ABANDONED)
        self._set(operation, state=RotationState.FAILED, next_attempt_at=self.now, confirmations=0, attempts=0)
        if operation.trigger is Trigger.CREATE and self.item is not None:
            self.item = replace(self.item, state=ItemState.UNDOING)

    def _defer(self, operation: Rotation) -> None:
        attempts = self.rotations[operation.rotation_id].attempts + 1
        self._set(operation, attempts=attempts, next_attempt_at=self.now + timedelta(minutes=attempts))

    # --- the model: Azure

    def _passwords(self) -> list[PasswordCredential]:
        return [
            PasswordCredential(key_id=key, display_name=name, hint=None, start_at=None, end_at=None)
            for key, name in self.azure.items()
        ]

    def _held(self) -> set[str]:
        return {v.key_id for v in self.versions if v.stage is not Stage.REVOKED}

    def _orphans(self, operation: Rotation | None = None, *, whole_item: bool = False) -> list[str]:
        found = orphans(
            self._passwords(),
            store_id=STORE,
            journal=self.rotations,
            held=self._held(),
            own_operation=operation.rotation_id if operation else None,
            own_item=ITEM_ID if whole_item else None,
        )
        return [one.key_id for one in found]

    def _call(self, operation: Rotation, outcome: str, apply: object) -> bool:
        """Returns: whether an answer came. Records a failure as the engine does."""
        assert callable(apply)
        if outcome in {WORKS, LOST_APPLIED, DIES}:
            apply()
        if outcome == DIES:
            raise Died
        if outcome == WORKS:
            return True
        if operation.state in {RotationState.PUBLISHED, RotationState.RETIRING, RotationState.FAILED}:
            self._defer(operation)
        elif outcome == REFUSED:
            self._fail(operation)
        else:
            self._defer(operation)
        return False

    # --- steps, as the engine takes them

    def _step(self, operation: Rotation, step: Step, outcome: str) -> None:
        match step:
            case Step.MINT:
                self._mint(operation, outcome)
            case Step.RECOVER:
                self._recover(operation, outcome)
            case Step.PROVE:
                self._prove(operation, outcome)
            case Step.PUBLISH:
                self._publish(operation)
            case Step.BEGIN_RETIRING:
                self._set(operation, state=RotationState.RETIRING, confirmations=0)
            case Step.RETIRE:
                version = machine.to_retire(operation, self.versions)
                assert version is not None
                if self._call(operation, outcome, lambda: self.azure.pop(version.key_id, None)):
                    self._stage(version, Stage.REVOKED)
                    self._set(operation, state=RotationState.DONE)
            case Step.CLOSE:
                self._set(operation, state=RotationState.DONE)
            case Step.REMOVE_ABANDONED:
                version = machine.abandoned_version(operation, self.versions)
                assert version is not None
                if self._call(operation, outcome, lambda: self.azure.pop(version.key_id, None)):
                    self.versions.remove(version)
            case Step.DROP_ITEM:
                assert not any(name.endswith(operation.rotation_id) for name in self.azure.values())
                self._drop(operation, state=RotationState.FAILED, closed=True)
            case Step.PARK:
                self._set(operation, parked=True, next_attempt_at=machine.NEVER)
            case Step.DELETE_REST | Step.DELETE_CURRENT:
                self._delete(operation, step, outcome)
            case _:
                raise AssertionError(step)

    def _mint(self, operation: Rotation, outcome: str) -> None:
        for key_id in self._orphans():
            del self.azure[key_id]
        self._set(operation, state=RotationState.MINTING, mint_uncertain=True, confirmations=0)
        key_id = self._next()
        stamp = str(Stamp(STORE, ITEM_ID, operation.rotation_id))
        if outcome == REFUSED:
            self._set(operation, mint_uncertain=False)
        if not self._call(operation, outcome, lambda: self.azure.update({key_id: stamp})):
            return
        number = machine.next_number(self.versions)
        made = samples.version(number, Stage.PENDING, rotation_id=operation.rotation_id, key_id=key_id)
        self.versions.append(replace(made, version_id=self._next()))
        self._set(operation, state=RotationState.MINTED, mint_uncertain=False, confirmations=0, attempts=0)
        self.proofs[operation.rotation_id] = 0

    def _recover(self, operation: Rotation, outcome: str) -> None:
        found = self._orphans(operation)
        if not self._call(operation, outcome, lambda: [self.azure.pop(key) for key in found]):
            return
        confirmations = 0 if found else operation.confirmations + 1
        if confirmations >= ABSENT_READS_IN_A_ROW:
            self._set(operation, mint_uncertain=False, confirmations=0)
        else:
            self._set(operation, confirmations=confirmations, next_attempt_at=self.now + SECOND)

    def _prove(self, operation: Rotation, outcome: str) -> None:
        assert machine.pending_version(operation, self.versions) is not None
        if outcome == DIES:
            raise Died
        if outcome == WORKS:
            self.proofs[operation.rotation_id] += 1
            self._set(operation, state=RotationState.PROVING, confirmations=operation.confirmations + 1)
        elif outcome == REFUSED:
            self.proofs[operation.rotation_id] = 0
            self._set(operation, state=RotationState.PROVING, confirmations=0, next_attempt_at=self.now + SECOND)
        elif outcome == LOST:
            self._defer(operation)
        else:
            self._fail(operation)  # the deadline

    def _publish(self, operation: Rotation) -> None:
        assert self.proofs[operation.rotation_id] >= PROOFS_IN_A_ROW
        pending = machine.pending_version(operation, self.versions)
        assert pending is not None
        change = machine.retirement(
            self.versions, pending, keeping=Retention.OVERLAP, overlap=self.overlap, now=self.now
        )
        for version in list(self.versions):
            if version.version_id == change.replaced_version_id:
                self._stage(version, Stage.PREVIOUS, retire_at=change.retire_at)
            elif version.version_id in change.retire_early:
                self._stage(version, Stage.PREVIOUS, retire_at=self.now)
        self._stage(pending, Stage.CURRENT)
        for other in self._open():
            if other.replaced_version_id in change.retire_early and other.state is RotationState.PUBLISHED:
                self._set(other, next_attempt_at=self.now)
        self._set(
            operation,
            state=RotationState.PUBLISHED,
            replaced_version_id=change.replaced_version_id,
            next_attempt_at=change.retire_at or self.now,
            confirmations=0,
            attempts=0,
        )
        assert self.item is not None
        self.item = replace(self.item, state=ItemState.ACTIVE)

    def _delete(self, operation: Rotation, step: Step, outcome: str) -> None:
        if step is Step.DELETE_REST:
            rest = [v for v in self.versions if v.stage not in {Stage.CURRENT, Stage.REVOKED}]
            found = [rest[0].key_id] if rest else self._orphans(whole_item=True)
        else:
            current = machine.current_version(self.versions)
            rest, found = [], [current.key_id] if current else []
        if outcome in {WORKS, LOST_APPLIED, DIES}:
            for key_id in found:
                self.azure.pop(key_id, None)
        if outcome == DIES:
            raise Died
        if outcome == REFUSED and (operation.state is RotationState.PLANNED or operation.attempts == 0):
            self._call_off(operation)
        elif outcome != WORKS:
            self._defer(operation)
        elif rest:
            self._stage(rest[0], Stage.REVOKED)
        elif step is Step.DELETE_REST:
            self._set(operation, state=RotationState.RETIRING)
        else:
            self._drop(operation, state=RotationState.DONE)

    def _call_off(self, operation: Rotation) -> None:
        assert self.item is not None
        self._set(operation, state=RotationState.FAILED, closed=True)
        self.item = replace(self.item, state=ItemState.ACTIVE)
        waiting = {v.version_id: v for v in self.versions if v.stage is Stage.PREVIOUS}
        abandoned = {v.rotation_id for v in self.versions if v.stage is Stage.ABANDONED}
        for other in list(self.rotations.values()):
            if other.state is RotationState.DONE and other.replaced_version_id in waiting:
                at = waiting[other.replaced_version_id or ""].retire_at
                self._set(other, state=RotationState.PUBLISHED, next_attempt_at=at)
            elif (
                other.closed
                and other.trigger is not Trigger.DELETE
                and (other.mint_uncertain or other.rotation_id in abandoned)
            ):
                self._set(other, closed=False, next_attempt_at=self.now)

    def _drop(self, operation: Rotation, **end: object) -> None:
        self._set(operation, **end)
        self.item, self.versions = None, []

    # --- what may happen

    @initialize(overlap=st.sampled_from([timedelta(), timedelta(minutes=1), timedelta(hours=24)]))
    def create(self, overlap: timedelta) -> None:
        self.overlap = overlap
        self._begin()

    def _begin(self) -> None:
        self.item = samples.item(state=ItemState.CREATING)
        self._insert(Trigger.CREATE)

    @precondition(lambda self: self.item is None)
    @rule()
    def create_again(self) -> None:
        self._begin()

    @precondition(lambda self: self.item is not None and self.item.state is ItemState.ACTIVE)
    @rule(trouble=_TROUBLE)
    def rotate(self, trouble: dict[int, str]) -> None:
        """A new operation, or the one that runs; a parked one is resumed."""
        found = self._unpublished()
        operation = found[0] if found else self._insert(Trigger.MANUAL)
        if next_step(operation, self.item, self.versions, self.now) is Step.PARKED:
            self._set(
                operation,
                state=RotationState.PLANNED,
                parked=False,
                next_attempt_at=self.now,
                attempts=0,
                confirmations=0,
            )
        self._run(operation.rotation_id, trouble)

    @precondition(
        lambda self: self.item is not None and self.item.state is ItemState.ACTIVE and len(self.rotations) > 2
    )
    @rule()
    def delete(self) -> None:
        assert self.item is not None
        for other in self._open():
            published = other.state in {RotationState.PUBLISHED, RotationState.RETIRING}
            state = RotationState.DONE if published else RotationState.FAILED
            self._set(other, state=state, closed=not published)
        for version in self.versions:
            if version.stage is Stage.PENDING:
                self._stage(version, Stage.ABANDONED)
        self.item = replace(self.item, state=ItemState.DELETING)
        self._insert(Trigger.DELETE)

    @precondition(lambda self: self._open())
    @rule(trouble=_TROUBLE)
    def run(self, trouble: dict[int, str]) -> None:
        """``Runner.run`` on what is due first."""
        self._run(min(self._open(), key=lambda r: r.next_attempt_at).rotation_id, trouble)

    @precondition(lambda self: self._open())
    @rule(trouble=_TROUBLE)
    def run_the_latest(self, trouble: dict[int, str]) -> None:
        self._run(self._open()[-1].rotation_id, trouble)

    def _run(self, operation_id: str, trouble: dict[int, str]) -> None:
        """Step after step until it waits, ends or dies; ``trouble`` is met at these steps."""
        for outcome in (trouble.get(number, WORKS) for number in range(20)):
            operation = self.rotations[operation_id]
            step = next_step(operation, self.item, self.versions, self.now)
            if step in machine.IDLE:
                return
            try:
                self._step(operation, step, outcome)
            except Died:
                return

    @rule(seconds=st.sampled_from([1, 60, 100_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: not all(operation.parked for operation in self._open()))
    @rule()
    def something_is_due(self) -> None:
        self.now = max(self.now, min(r.next_attempt_at for r in self._open()))

    # --- what holds

    @invariant()
    def the_current_credential_is_in_azure(self) -> None:
        current = machine.current_version(self.versions)
        deleting = any(r.trigger is Trigger.DELETE and r.state is RotationState.RETIRING for r in self._open())
        if current is not None and not deleting:
            assert current.key_id in self.azure

    @invariant()
    def what_was_minted_is_held_or_found_by_its_stamp(self) -> None:
        loose = set(self.azure) - self._held()
        own = {r.rotation_id: r for r in self.rotations.values() if r.mint_uncertain and not r.closed}
        for key_id in loose - set(self._orphans()):
            operation = self.azure[key_id].rsplit("/", 1)[1]
            assert operation in own, f"{key_id} is an orphan that nobody looks for"

    @invariant()
    def one_is_current_and_numbers_are_unique(self) -> None:
        shown = [v for v in self.versions if v.stage is not Stage.ABANDONED]
        assert sum(v.stage is Stage.CURRENT for v in shown) <= 1
        numbers = sorted(v.number for v in shown)
        assert numbers == list(range(1, len(numbers) + 1))

    @invariant()
    def at_most_two_stay_valid(self) -> None:
        """Beyond the current one, only one previous secret is left to its time; older ones are due."""
        waiting = [v for v in self.versions if v.stage is Stage.PREVIOUS and v.retire_at and v.retire_at > self.now]
        assert len(waiting) <= 1

    @invariant()
    def every_previous_version_has_somebody_to_retire_it(self) -> None:
        if self.item is None or self.item.state is not ItemState.ACTIVE:
            return
        waited_for = {r.replaced_version_id for r in self._open()}
        for version in self.versions:
            if version.stage is Stage.PREVIOUS:
                assert version.version_id in waited_for

    def teardown(self) -> None:
        """When Azure works again, everything comes to its end, and nothing is left that nobody answers for."""
        for _ in range(200):
            self.now += timedelta(days=1)
            for operation in self._open():
                for _ in range(12):
                    current = self.rotations[operation.rotation_id]
                    step = next_step(current, self.item, self.versions, self.now)
                    if step in machine.IDLE:
                        break
                    self._step(current, step, WORKS)
            if all(next_step(r, self.item, self.versions, self.now) is Step.PARKED for r in self._open()):
                break
        else:
            raise AssertionError("operations that never come to an end")
        for key_id in self._orphans():
            del self.azure[key_id]
        assert set(self.azure) == {v.key_id for v in self.versions if v.stage is not Stage.REVOKED}
        assert not {v.stage for v in self.versions} & {Stage.PENDING, Stage.ABANDONED}
        if self.item is not None:
            assert self.item.state is ItemState.ACTIVE
            assert machine.current_version(self.versions) is not None


TestLife = Life.TestCase
TestLife.settings = settings(steady, max_examples=100, stateful_step_count=40, report_multiple_bugs=False)
TestLife = row("F04", "F05")(TestLife)
