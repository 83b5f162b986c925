"""Finish what was left unfinished, and remove this store's orphans (features 3.2, B-31).

An orphan is judged with the object's permit held, by ``domain.ownership``; what another store, an unknown operation or
a person made is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from azure_rotator.domain.errors import LeaseLost, NotFound, RotatorError
from azure_rotator.domain.instants import iso
from azure_rotator.domain.kinds import CLIENT_SECRETS
from azure_rotator.domain.model import ItemState, RotatedSecret, Rotation, RotationState, Target
from azure_rotator.domain.ownership import SWEPT_AFTER
from azure_rotator.domain.ports import Identity, LaneClaim
from azure_rotator.domain.rotation import NEVER, UNPUBLISHED, current_version
from azure_rotator.engine.context import Context
from azure_rotator.engine.drift import Drift
from azure_rotator.engine.foreground import Foreground
from azure_rotator.engine.targets import target_not_found
from azure_rotator.engine.views import Facts, Orphan, Reconciliation
from azure_rotator.rotators.app_secret import Holder, minted_on_principal, orphans_of, take_away

_ASK_EVERY = timedelta(minutes=1)
_SWEPT_AT_ONCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One application to look at.

    Args:
        used_by: The items that use it, each with its Target; without any only the journal remembers it.
        left: The items that used it until their Target was deleted by force: nobody acts for them.
        keepers: The Targets of its tenant.
    """

    lane: str
    tenant_id: str
    app_id: str
    used_by: tuple[tuple[RotatedSecret, Target], ...]
    left: tuple[RotatedSecret, ...]
    keepers: tuple[Target, ...]


class Reconcile:
    """The use case."""

    def __init__(self, context: Context, foreground: Foreground, drift: Drift) -> None:
        self._c = context
        self._foreground = foreground
        self._drift = drift
        self._asks_at: datetime | None = None

    def run(self, *, target: str | None = None, dry_run: bool = False) -> Reconciliation:
        """Go on with every open operation that is due, then remove orphans, then take over what was changed outside.

        One failure never stops the others; it is reported.

        Args:
            target: Only items of this Target, by name.
            dry_run: Only list.

        Raises:
            NotFound: ``TargetNotFound``.
        """
        if target is not None and self._c.uow.find_target(name=target) is None:
            raise target_not_found(target)
        problems: list[Facts] = []
        limit_at = self._foreground.limit_at()
        rotations = [self._finish(r, problems, limit_at, dry_run=dry_run) for r in self._open(target)]
        orphans: list[Orphan] = []
        for place in self._places(lane for lane in self._c.uow.lanes() if lane.startswith("application:")):
            failed = self._look(place, self._who(place, target), orphans, dry_run=dry_run)
            if failed is not None:
                problems.append(_problem(f"application {place.app_id}", failed))
        drifted = [found for item in self._items_of(target) if (found := self._repair(item, problems, dry_run=dry_run))]
        return Reconciliation(
            dry_run=dry_run,
            rotations=tuple(rotations),
            orphans=tuple(orphans),
            drifted=tuple(drifted),
            problems=tuple(problems),
        )

    def sweep_some(self) -> int:
        """Look for orphans in a few applications: in each a day after it was worked on, whichever process does it, and
        a day later again where nobody could look.

        Returns: how many were looked at, those too that nobody may look at; 0 when there is nothing to do now.
        """
        now = self._c.clock.now()
        if self._asks_at is not None and now < self._asks_at:
            return 0
        lanes = self._c.uow.take_sweeps(now, again_at=now + SWEPT_AFTER, limit=_SWEPT_AT_ONCE)
        self._asks_at = None if lanes else now + _ASK_EVERY
        for place in self._places(lanes):
            removed: list[Orphan] = []
            failed = self._look(place, self._who(place, None), removed, dry_run=False)
            if failed is not None:
                self._c.observer.note("not swept", app_id=place.app_id, code=failed.code)
            for orphan in removed:
                self._c.observer.tell("orphan removed", app_id=orphan.app_id, key_id=orphan.key_id)
        return len(lanes)

    def _repair(self, item: RotatedSecret, problems: list[Facts], *, dry_run: bool) -> Facts | None:
        target = self._c.uow.find_target(target_id=item.target_id)
        if target is None or target.deleted:
            return None
        try:
            return self._drift.repair(item, target, dry_run=dry_run)
        except RotatorError as failed:
            problems.append(_problem(item.name, failed))
            return None

    def _open(self, target: str | None) -> list[Rotation]:
        """What is not published comes first: its publication may make the retirement of an older one due (3.6)."""
        rotations = sorted(self._c.uow.open_rotations(), key=lambda rotation: rotation.state not in UNPUBLISHED)
        if target is None:
            return rotations
        ids = {i.item_id for i in self._items_of(target)}
        return [r for r in rotations if r.item_id in ids]

    def _items_of(self, target: str | None) -> list[RotatedSecret]:
        if target is None:
            return list(self._c.uow.list_items())
        named = self._c.uow.find_target(name=target)
        return list(self._c.uow.list_items(target_id=named.target_id)) if named else []

    def _finish(self, rotation: Rotation, problems: list[Facts], limit_at: datetime, *, dry_run: bool) -> Facts:
        rotation = self._c.uow.get_rotation(rotation.rotation_id) or rotation
        item = self._c.uow.find_item(item_id=rotation.item_id)
        facts: Facts = {
            "rotation_id": rotation.rotation_id,
            "path": item.name if item else None,
            "trigger": rotation.trigger.value,
            "state": rotation.state.value,
        }
        # A pause of one tenant keeps nobody else waiting.
        paused_until = self._foreground.paused_until(rotation)
        if rotation.next_attempt_at <= self._c.clock.now() and paused_until is None and not dry_run:
            failed = self._go_on(rotation, limit_at)
            if failed is not None:
                problems.append(_problem(str(facts["path"]), failed))
        after = self._c.uow.get_rotation(rotation.rotation_id) or rotation
        ended = after.closed or after.state is RotationState.DONE
        return {
            **facts,
            "state_after": after.state.value,
            "next_attempt_at": None
            if ended or after.next_attempt_at == NEVER
            else iso(max(after.next_attempt_at, paused_until or after.next_attempt_at)),
        }

    def _go_on(self, rotation: Rotation, limit_at: datetime) -> RotatorError | None:
        """Returns: what keeps it from its end. At the limit nothing is undone: it is somebody else's."""
        try:
            if rotation.state in UNPUBLISHED - {RotationState.FAILED}:
                self._foreground.drive(rotation.rotation_id, limit_at=limit_at, undo=False)
                return None
            return self._foreground.finish(rotation.rotation_id)
        except RotatorError as failed:
            return failed

    def _places(self, lanes: Iterable[str]) -> Iterator[_Place]:
        """The applications of these lanes."""
        targets = self._c.uow.list_targets()
        for lane in lanes:
            _, tenant_id, app_id = lane.split(":", 2)
            keepers = {one.target_id: one for one in targets if one.tenant_id == tenant_id}
            used_by, left = [], []
            for item in self._c.uow.list_items(app_id=app_id):
                if item.state is not ItemState.ACTIVE or item.rotator_type not in CLIENT_SECRETS:
                    continue
                if item.target_id in keepers:
                    used_by.append((item, keepers[item.target_id]))
                elif self._was_of(tenant_id, item):
                    left.append(item)
            yield _Place(
                lane=lane,
                tenant_id=tenant_id,
                app_id=app_id,
                used_by=tuple(used_by),
                left=tuple(left),
                keepers=tuple(keepers.values()),
            )

    def _was_of(self, tenant_id: str, item: RotatedSecret) -> bool:
        """Whether its Target, deleted by force, was of this tenant: one application can be known in several."""
        target = self._c.uow.find_target(target_id=item.target_id)
        return target is not None and target.tenant_id == tenant_id

    def _who(self, place: _Place, target: str | None) -> Iterator[Callable[[], Identity]]:
        """Everybody who may look, of this Target or of any: whoever acts for an item of the application, then the
        Targets of its tenant. Each is opened when the ones before could not look."""
        for item, keeper in place.used_by:
            if target in {None, keeper.name}:
                yield partial(self._c.identity_for, item, keeper)
        for one in place.keepers:
            if target in {None, one.name}:
                yield partial(self._c.target_identity, one)

    def _look(
        self, place: _Place, who: Iterator[Callable[[], Identity]], orphans: list[Orphan], *, dry_run: bool
    ) -> RotatorError | None:
        """Look as one after the other until one may. Returns: why nobody could; the last one's reason."""
        failed: RotatorError | None = None
        for identity in who:
            try:
                orphans += self._sweep(place, identity(), dry_run=dry_run)
            except RotatorError as refused:
                failed = refused
            else:
                return None
        return failed

    def _sweep(self, place: _Place, acting: Identity, *, dry_run: bool) -> list[Orphan]:
        if dry_run:
            return [o for o, _ in self._found(place, acting)]
        claim = self._c.uow.claim_lane(place.lane, self._c.worker, self._c.clock.now())
        if claim is None:
            return []  # a rotation works on it now, and looks for orphans itself
        try:
            removed = self._remove(place, acting, claim)
            self._c.uow.swept(claim)
        except LeaseLost:
            return []
        else:
            return removed
        finally:
            self._c.uow.release(claim)

    def _remove(self, place: _Place, acting: Identity, claim: LaneClaim) -> list[Orphan]:
        removed = []
        for orphan, holder in self._found(place, acting):
            self._c.uow.extend(claim)
            take_away(self._c.directory, acting, holder, orphan.key_id)
            self._c.uow.write_audit(self._c.audit("remove_orphan", place.app_id, key_id=orphan.key_id))
            removed.append(orphan)
        return removed

    def _found(self, place: _Place, acting: Identity) -> list[tuple[Orphan, Holder]]:
        try:
            holders: list[Holder] = [self._c.directory.get_application(acting, place.app_id)]
            if self._mints_on_principal(place):
                holders.append(self._c.directory.get_service_principal(acting, place.app_id))
        except NotFound as gone:
            if place.used_by or gone.code != "ApplicationNotFound":
                raise
            return []  # and its orphans with it
        return [
            (Orphan(app_id=place.app_id, key_id=p.key_id, display_name=p.display_name), holder)
            for holder in holders
            for p in orphans_of(self._c.uow, holder, store_id=self._c.uow.store_id())
        ]

    def _mints_on_principal(self, place: _Place) -> bool:
        items = [*(item for item, _ in place.used_by), *place.left]
        current = [current_version(self._c.uow.versions(item.item_id)) for item in items]
        return any(minted_on_principal(self._c.uow, version) for version in current if version is not None)


def _problem(where: str, error: RotatorError) -> Facts:
    return {"where": where, "code": error.code, "message": error.message, "hint": error.hint}
