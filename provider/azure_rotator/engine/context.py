"""What every use case works with: the ports, the limits, and the few helpers that need several of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from azure_rotator.domain import kinds
from azure_rotator.domain import rotation as machine
from azure_rotator.domain.backoff import MAX_ATTEMPTS, pause
from azure_rotator.domain.errors import Corrupt, Forbidden, NotFound, RotatorError, Unavailable
from azure_rotator.domain.model import (
    AuditLine,
    ConnectionType,
    Event,
    ForwarderType,
    Mint,
    RotatedSecret,
    Rotation,
    RotatorType,
    Stage,
    Target,
    Version,
)
from azure_rotator.domain.names import ID_BYTES, encode_id
from azure_rotator.domain.parameters import is_reference, literal_text
from azure_rotator.domain.ports import (
    Checker,
    Clock,
    Directory,
    Entropy,
    Identity,
    Job,
    Login,
    Notifier,
    Observer,
    References,
    Rotator,
    Sealer,
    StorageKeys,
    UnitOfWork,
)
from azure_rotator.domain.secrettext import SealedBytes, SealedFor, SecretText

# AADSTS number of a refused login ("Microsoft Entra authentication and authorization error codes").
_UNKNOWN_APPLICATION = 700016
# Of logins with a client secret that is wrong, removed (or too new), or has expired. Whether it is a proof's is no
# question here: a proof that is refused this way is not the rotation's end.
_SECRET_NO_LONGER_GOOD = frozenset({7000215, 7000222})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of time and number; the defaults are the product's, campaigns and tests shorten them.

    Args:
        foreground: How long a command waits for an operation (features 3.2).
        proof_deadline: When an unproven credential is given up.
        absent_spacing: Between reads that must agree that something is gone; Graph's reads lag (design/azure 2.3).
        heartbeat_seconds: How often a running step extends its lease: a third of the lease.
    """

    foreground: timedelta = timedelta(minutes=10)
    proof_deadline: timedelta = machine.PROOF_DEADLINE
    absent_spacing: timedelta = machine.ABSENT_READ_SPACING
    max_attempts: int = MAX_ATTEMPTS
    heartbeat_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The engine's world.

    Args:
        who: The person or process of the audit log.
        worker: This process in leases; unique among processes.
    """

    uow: UnitOfWork
    sealer: Sealer
    references: References
    clock: Clock
    entropy: Entropy
    directory: Directory
    login: Login
    keys: StorageKeys
    observer: Observer
    rotators: Mapping[RotatorType, Rotator]
    checkers: Mapping[RotatorType, Checker]
    notifiers: Mapping[ForwarderType, Notifier]
    who: str
    worker: str
    limits: Limits = field(default_factory=Limits)

    def new_id(self) -> str:
        return encode_id(self.entropy.token(ID_BYTES))

    def audit(self, action: str, path: str, *, result: str = "ok", **details: object) -> AuditLine:
        return AuditLine(
            at=self.clock.now(), who=self.who, action=action, path=path, result=result, details=dict(details)
        )

    def event(
        self,
        rotation: Rotation,
        item: RotatedSecret,
        kind: str,
        message: str,
        version: int | None,
        code: str | None = None,
    ) -> Event:
        return Event(
            event_id=self.new_id(),
            event_type=kind,
            item_id=item.item_id,
            item_name=item.name,
            occurred_at=self.clock.now(),
            trigger=rotation.trigger.value,
            version=version,
            message=message,
            error_code=code,
        )

    # --- Azure objects and identities -----------------------------------------------------------------------------

    def target_of(self, item: RotatedSecret) -> Target:
        return in_use(self.uow.find_target(target_id=item.target_id), item)

    def pause(self, error: RotatorError, lane: str, tenant_id: str | None) -> datetime | None:
        """Let everybody whom Azure asked to pause do so, in every process.

        Returns: until when; None: it asked for none.
        """
        if not isinstance(error, Unavailable) or not error.retry_after_seconds:
            return None
        until = self.clock.now() + pause(error.retry_after_seconds)
        names = kinds.pauses(lane, tenant_id)
        self.uow.hold_lane(names.get(error.reach, lane), until)
        return until

    def keeper_of(self, item: RotatedSecret) -> Target:
        """The item's Target, or what is left of a deleted one: where the item is, and no credential."""
        target = self.uow.find_target(target_id=item.target_id)
        if target is None:
            raise Corrupt("StoreCorrupt", f'the Target of "{item.name}" has no row', hint="restore a backup")
        return target

    def target_identity(self, target: Target) -> Identity:
        secret: SecretText | None = None
        older: SecretText | None = None
        if target.connection_type is ConnectionType.CREDENTIALS:
            if target.secret_reference is not None:
                secret = self.references.resolve(target.secret_reference)
            elif target.sealed_secret is not None:
                secret = self.sealer.open(target.sealed_secret, target_place(target.target_id, target.version))
                older = self._replaced_secret(target)
        return Identity(
            tenant_id=target.tenant_id,
            client_id=target.client_id,
            secret=secret,
            label=f'the application of Target "{target.name}"'
            if secret
            else f'the cloud identity of Target "{target.name}"',
            azure_cloud=target.azure_cloud,
            older=older,
        )

    def _replaced_secret(self, target: Target) -> SecretText | None:
        """The secret that a ``target`` rotation replaced, while Azure may still accept it: it is tried when the new one
        is refused, which a front end that lags may do (F37)."""
        item_id = self.uow.holder(kinds.own_secret(target.target_id))
        previous = [v for v in self.uow.versions(item_id) if v.stage is Stage.PREVIOUS] if item_id else []
        return self.version_value(previous[-1]) if previous else None

    def version_value(self, version: Version) -> SecretText | None:
        if version.sealed_value is None:
            return None
        return self.sealer.open(version.sealed_value, version_place(version.version_id, version.number))

    def acting_identity(self, item: RotatedSecret, target: Target, present: SecretText | None) -> Identity:
        """Who rotates this item: the Target, or the item's own application with its present secret (AK-20, AK-21). A
        user changes his own password through the Target's application."""
        if not kinds.acts_as_itself(item):
            return self.target_identity(target)
        secret = present
        if secret is None and item.sealed_login is not None:
            secret = self.sealer.open(item.sealed_login, login_place(item.item_id))
        if secret is None:
            raise NotFound(
                "NoValueYet",
                f'"{item.name}" has no secret to log in with',
                hint="switch authentication_credentials to use-target-creds",
            )
        return kinds.application_identity(target, item.app_id, secret)

    def identity_for(self, item: RotatedSecret, target: Target) -> Identity:
        """``acting_identity`` with the item's stored value."""
        current = machine.current_version(self.uow.versions(item.item_id))
        return self.acting_identity(item, target, self.version_value(current) if current else None)

    def job(
        self,
        rotation: Rotation,
        item: RotatedSecret,
        target: Target,
        versions: Sequence[Version],
        mint: Mint | None,
        guard: Callable[[], None],
        *,
        whole_item: bool,
    ) -> Job:
        current = machine.current_version(versions)
        present = self.version_value(current) if current else None
        return Job(
            rotation=rotation,
            item=self._with_password_defaults(item),
            target=target,
            store_id=self.uow.store_id(),
            acting=self.acting_identity(item, target, present),
            current=current,
            present=present,
            earlier=self._evidence(mint),
            guard=guard,
            whole_item=whole_item,
        )

    def _with_password_defaults(self, item: RotatedSecret) -> RotatedSecret:
        """The item with the account's rules for passwords where it has none of its own."""
        if item.rotator_type is not RotatorType.PASSWORD:
            return item
        account = self.uow.account()
        classes = ("use_capital_letters", "use_lower_letters", "use_numbers", "use_special_characters")
        open_ones = {name: getattr(account, name) for name in classes if getattr(item, name) is None}
        return replace(item, password_length=item.password_length or account.password_length, **open_ones)

    def _evidence(self, mint: Mint | None) -> SecretText | None:
        if mint is None or mint.sealed_evidence is None:
            return None
        return self.sealer.open(mint.sealed_evidence, mint_place(mint.mint_id))

    # --- credentials given by users -------------------------------------------------------------------------------

    def given_secret(self, argument: str) -> SecretText:
        """The credential behind a secret argument, literal or reference, resolved now."""
        if is_reference(argument):
            return self.references.resolve(argument)
        return SecretText(literal_text(argument))

    def sealed_value(self, version_id: str, number: int, value: SecretText) -> SealedBytes:
        return self.sealer.seal(value, version_place(version_id, number))


def in_use(target: Target | None, item: RotatedSecret) -> Target:
    """The item's Target, if it still is one. Raises: NotFound ``TargetNotFound``."""
    if target is None or target.deleted:
        raise NotFound(
            "TargetNotFound",
            f'the Target of "{item.name}" no longer exists',
            hint="its value can still be read; delete the item with --force-delete, which leaves its secrets in "
            "Azure, and create it again on another Target",
        )
    return target


def version_place(version_id: str, number: int) -> SealedFor:
    return SealedFor(table="versions", row=version_id, version=number)


def target_place(target_id: str, version: int) -> SealedFor:
    return SealedFor(table="targets", row=target_id, version=version)


def mint_place(mint_id: str) -> SealedFor:
    return SealedFor(table="mints", row=mint_id)


def login_place(item_id: str) -> SealedFor:
    return SealedFor(table="items", row=item_id)


def explained(error: RotatorError, item: RotatedSecret, target: Target | None = None) -> RotatorError:
    """What an error says about an application that rotates itself: a missing grant has a second way out (AK-22), and an
    application that does not exist is refused at its login (AK-30). A login whose secret is no longer good has one
    command that lets everything go on (F41)."""
    if error.code == "AzureAuthFailed" and error.details.get("aadsts") in _SECRET_NO_LONGER_GOOD:
        return Forbidden(
            error.code, error.message, hint=_break_glass(item, target) or error.hint, details=error.details
        )
    if not kinds.acts_as_itself(item):
        return error
    if error.code == "AzureAuthFailed" and error.details.get("aadsts") == _UNKNOWN_APPLICATION:
        return NotFound(
            "ApplicationNotFound",
            f"application {item.app_id}: the tenant has no such application (AADSTS{_UNKNOWN_APPLICATION})",
            hint="app-id is the application (client) id, not the object id; check it against the Target's tenant",
            details=error.details,
        )
    if error.code != "AzurePermissionMissing":
        return error
    return Forbidden(
        error.code,
        f"{error.message} (or let the Target rotate it: use-target-creds)",
        hint=f"{error.hint}; or set authentication_credentials to use-target-creds",
        details=error.details,
    )


def _break_glass(item: RotatedSecret, target: Target | None) -> str | None:
    """How whoever acts for the item gets a secret that works."""
    if kinds.acts_as_itself(item):
        return (
            "add a client secret to the application and give it to the item: azure-rotator rotated-secret "
            f"update azure --name {item.name} --api-id KEY_ID --api-key @FILE; or let the Target rotate it: "
            "use-target-creds"
        )
    if target is None or target.connection_type is not ConnectionType.CREDENTIALS:
        return None
    if target.secret_reference is not None:
        return f"add a client secret to the Target's application, and put it where {target.secret_reference} leads"
    return (
        "add a client secret to the Target's application, then azure-rotator target update azure "
        f"--name {target.name} --client-secret @FILE: what is parked goes on with it"
    )


def digest(values: Mapping[str, object]) -> str:
    """A digest of non-secret arguments: whether a repeated create asks for the same."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
