"""What keeps, or will keep, rotations from working: ``target test`` and ``doctor``. Reads only.

What one Target or item lacks never hides what the others do: every check ends in a finding.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.due import LATE
from azure_rotator.domain.errors import Forbidden, NotFound, Rejected, RotatorError, Unavailable
from azure_rotator.domain.findings import Finding, Outcome, asked, failed, ok, unknown, warning
from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import ItemState, RotatedSecret, RotatorStatus, RotatorType, Target
from azure_rotator.domain.ports import Grants, Identity, Inspection, PasswordCredential
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import Context, explained
from azure_rotator.engine.preflight import refuse_unfit
from azure_rotator.rotators.app_secret import begins_with

NOTABLE_SKEW = timedelta(minutes=1)
MOST_SKEW = timedelta(minutes=10)
"""Signed requests are refused from 15 minutes on, and every date that is planned is off by as much (F10)."""
ENDING = timedelta(days=14)
_NOBODY = "00000000-0000-0000-0000-000000000000"
_NEEDS = {
    RotatorType.API_KEY: "application secrets",
    RotatorType.TARGET: "own secret",
    RotatorType.PASSWORD: "passwords",
    RotatorType.STORAGE_ACCOUNT: "storage keys",
}


class Checks:
    """The use case."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def test_target(self, target: Target, *, wanted: Collection[RotatorType] = ()) -> list[Finding]:
        """Log in as the Target and say for every kind of credential whether it may rotate it.

        A need that is not met has failed where somebody has it: an item of the Target, or who asks (``wanted``); where
        nobody has any, one at least must be met.

        Raises:
            Forbidden, Unavailable: The login failed, so that nothing can be told.
        """
        acting = self._c.target_identity(target)
        grants = self._c.login.grants(acting)
        needs = {kind: self._need(kind, target, acting, grants) for kind in RotatorType}
        used = {*wanted, *(item.rotator_type for item in self._items_of(target))}
        met = any(found.outcome is Outcome.OK for found in needs.values())
        login = ok(f'Target "{target.name}"', "login", f"as {acting.label}")
        return [login, *(_weighed(found, kind in used or not (used or met)) for kind, found in needs.items())]

    def run(self, targets: Sequence[Target]) -> list[Finding]:
        """Look at every one of these Targets and at every item on it."""
        found: list[Finding] = []
        for target in targets:
            found += self._target(target)
            for item in self._items_of(target):
                found += self._item(item, target)
        return found

    def stranded(self) -> list[Finding]:
        """Items whose Target was deleted: they are read, and no longer rotated."""
        found = []
        for item in self._c.uow.list_items():
            target = self._c.uow.find_target(target_id=item.target_id)
            if item.state is ItemState.ACTIVE and (target is None or target.deleted):
                gone = NotFound(
                    "TargetNotFound",
                    "its Target was deleted: it can be read, and is not rotated",
                    hint=f"azure-rotator rotated-secret delete --name {item.name} --force-delete, which leaves its "
                    "secrets in Azure, and create it again on another Target",
                )
                found.append(failed(f'item "{item.name}"', "target", gone))
        return found

    # --- Targets --------------------------------------------------------------------------------------------------

    def _need(self, kind: RotatorType, target: Target, acting: Identity, grants: Grants) -> Finding:
        try:
            refuse_unfit(kind, target)
        except Rejected as unfit:
            return failed(f'Target "{target.name}"', _NEEDS[kind], unfit)
        return self._c.checkers[kind].need(target, acting, grants)

    def _target(self, target: Target) -> list[Finding]:
        subject = f'Target "{target.name}"'
        try:
            acting = self._c.target_identity(target)
            grants = self._c.login.grants(acting)
        except RotatorError as refused:
            return [failed(subject, "login", refused)]
        found = [ok(subject, "login", f"as {acting.label}"), self._clock(subject, target, acting)]
        used = {item.rotator_type for item in self._items_of(target)}
        found += [self._need(kind, target, acting, grants) for kind in RotatorType if kind in used]
        if target.client_id is not None and acting.secret is not None:
            found.append(self._own_secret(subject, target, acting, rotated=RotatorType.TARGET in used))
        return found

    def _clock(self, subject: str, target: Target, acting: Identity) -> Finding:
        check = "clock"
        skew = asked(subject, check, lambda: self._c.directory.clock_skew(acting, target.client_id or _NOBODY))
        if isinstance(skew, Finding) or skew is None:
            return skew or unknown(subject, check, "Azure's answer had no date")
        seconds = round(abs(skew.total_seconds()))
        way = "behind" if skew > timedelta() else "ahead of"
        told = f"this machine's clock is {seconds} s {way} Azure's"
        fix = "let the machine keep its time with NTP (timedatectl set-ntp true), or set its clock"
        if abs(skew) >= MOST_SKEW:
            error = Unavailable(
                "AzureUnavailable", f"{told}: proofs of storage keys fail, rotations come late", hint=fix
            )
            return failed(subject, check, error)
        if abs(skew) >= NOTABLE_SKEW:
            return warning(subject, check, told, fix)
        return ok(subject, check, f"within {max(seconds, 1)} s of Azure's")

    def _own_secret(self, subject: str, target: Target, acting: Identity, *, rotated: bool) -> Finding:
        """That the secret with which everything on the Target logs in will not end unnoticed (F41)."""
        check = "own secret's end"
        app_id = target.client_id or ""
        application = asked(subject, check, lambda: self._c.directory.get_application(acting, app_id))
        if isinstance(application, Finding):
            # Who may set passwords or operate keys alone may read no application, his own neither.
            return replace(application, outcome=Outcome.UNKNOWN)
        fitting = _fitting(application.passwords, target.client_secret_id, acting.secret)
        ends = [p.end_at for p in fitting if p.end_at is not None]
        if len(fitting) != 1 or not ends:
            return unknown(
                subject,
                check,
                f"{len(fitting)} client secrets of application {app_id} may be the Target's",
                "set client_secret_id on the Target to the keyId (Secret ID in the portal) of its secret",
            )
        told = f"its client secret {fitting[0].key_id} ends {iso(ends[0])}"
        if ends[0] - self._c.clock.now() > ENDING or rotated:
            return ok(subject, check, told)
        return warning(
            subject,
            check,
            f"{told}, and no item rotates it: nothing on the Target can log in afterwards",
            f"azure-rotator rotated-secret create azure --name {target.name}-secret --target-name {target.name} "
            "--rotator-type target --auto-rotate true --rotation-interval 30 --rotate-on-create true",
        )

    # --- items ----------------------------------------------------------------------------------------------------

    def _items_of(self, target: Target) -> list[RotatedSecret]:
        items = self._c.uow.list_items(target_id=target.target_id)
        return [item for item in items if item.state is ItemState.ACTIVE]

    def _item(self, item: RotatedSecret, target: Target) -> list[Finding]:
        subject = f'item "{item.name}"'
        if not item.enabled:
            return [ok(subject, "state", "switched off: not rotated")]
        return [self._last_rotation(subject, item), *self.inspect(item, target)]

    def inspect(self, item: RotatedSecret, target: Target) -> list[Finding]:
        """Everything about an item's object and credential that its rotation depends on."""
        subject = f'item "{item.name}"'
        try:
            refuse_unfit(item.rotator_type, target)
            current = machine.current_version(self._c.uow.versions(item.item_id))
            present = self._c.version_value(current) if current else None
            acting = self._c.acting_identity(item, target, present)
        except RotatorError as refused:
            return [failed(subject, "login", refused)]
        about = Inspection(
            item=item, target=target, acting=acting, current=current, present=present, now=self._c.clock.now()
        )
        return [_explained(one, item) for one in self._c.checkers[item.rotator_type].inspect(about)]

    def _last_rotation(self, subject: str, item: RotatedSecret) -> Finding:
        check, rotate = "last rotation", f"azure-rotator rotate-secret --name {item.name}"
        if item.rotator_status is RotatorStatus.FAILED:
            error = RotatorError(item.error_code or "InternalError", f"it failed: {item.error_text}", hint=rotate)
            return failed(subject, check, error)
        due_at = item.next_rotation_at
        if due_at is not None and due_at + LATE < self._c.clock.now():
            return warning(
                subject,
                check,
                f"the next one is overdue since {iso(due_at)}",
                f"see why nothing rotates it by itself; meanwhile {rotate}",
            )
        if item.rotator_status is RotatorStatus.PARTIAL:
            return warning(
                subject,
                check,
                f"the new credential is current, the old one not removed yet: {item.error_text}",
                "azure-rotator reconcile",
                code=item.error_code or "",
            )
        last_at = item.last_rotation_at
        return ok(subject, check, f"at {iso(last_at)}" if last_at else "none yet")


def _fitting(
    passwords: Sequence[PasswordCredential], key_id: str | None, secret: SecretText | None
) -> list[PasswordCredential]:
    """The client secrets that may be this one: by its keyId, where that is known, else by Entra's hint."""
    named = [p for p in passwords if key_id is not None and p.key_id.lower() == key_id.lower()]
    if named or secret is None:
        return named
    return [p for p in passwords if p.hint and secret.satisfies(partial(begins_with, p.hint))]


def _weighed(found: Finding, needed: bool) -> Finding:
    """What nobody needs has not failed."""
    if found.outcome is Outcome.FAILED and not needed:
        return replace(found, outcome=Outcome.WARNING)
    return found


def _explained(found: Finding, item: RotatedSecret) -> Finding:
    """With the second way out that an application has which rotates itself (AK-22)."""
    if found.outcome is not Outcome.FAILED:
        return found
    error = explained(Forbidden(found.code, found.message, hint=found.fix), item)
    return replace(found, message=error.message, fix=error.hint)
