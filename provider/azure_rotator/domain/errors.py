"""Every error the product raises on purpose, named by whose move is next.

    RotatorError
    ├── Rejected     the user's move: fix the input
    ├── Forbidden    an administrator's move: grant, consent, role
    ├── NotFound     the user's move: no such item, or Azure no longer has the object
    ├── Conflict     the caller's move: look again, somebody or something holds it
    ├── Unavailable  ours: we retry, and carry when
    └── Corrupt      stop and page someone: the store or its key is not what it should be

An error carries ids, paths and codes, never a credential. ``code`` is stable (features 3.15) and decides the exit
code; the class decides whether we retry. The leaves are plain words on purpose (no ``Error`` suffix).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

# One table: code -> exit code. The exit code follows from who refused (gateway 6, Azure 7), else from the kind.
EXIT_CODES: Mapping[str, int] = {
    "InternalError": 1,
    "StoreUnavailable": 1,
    "StoreCorrupt": 1,
    "StoreKeyMissing": 1,
    "StoreKeyWrong": 1,
    "StoreSchemaMismatch": 1,
    "StoreMismatch": 1,
    "DeliveryFailed": 1,
    "DeliveryRefused": 1,
    "ParameterMissing": 2,
    "ParameterIrrelevant": 2,
    "ParameterImmutable": 2,
    "ParameterInvalid": 2,
    "RotatorTypeInvalid": 2,
    "AuthModeInvalid": 2,
    "TargetTypeMismatch": 2,
    "TargetIncomplete": 2,
    "TargetHasNoClientSecret": 2,
    "TargetSecretExternal": 2,
    "NameInvalid": 2,
    "IntervalOutOfRange": 2,
    "IntervalAboveAccountMax": 2,
    "GraceIntervalInvalid": 2,
    "HourOutOfRange": 2,
    "TimeZoneInvalid": 2,
    "NotificationInvalid": 2,
    "StorageKeyNameInvalid": 2,
    "PasswordPolicyInvalid": 2,
    "LifetimeTooShort": 2,
    "IdentifierMixedUp": 2,
    "ReferenceUnresolved": 2,
    "FormatNotAvailable": 2,
    "AccessDenied": 3,
    "ItemNotFound": 4,
    "TargetNotFound": 4,
    "VersionNotFound": 4,
    "NoValueYet": 4,
    "NameConflict": 5,
    "TargetInUse": 5,
    "TargetAlreadyRotated": 5,
    "CredentialAlreadyManaged": 5,
    "CredentialWouldBeRevoked": 5,
    "DeleteProtected": 5,
    "VersionIsCurrent": 5,
    "ItemLocked": 5,
    "ItemDisabled": 5,
    "GatewayNotConfigured": 6,
    "AzureAuthFailed": 7,
    "AzurePermissionMissing": 7,
    "ApplicationNotFound": 7,
    "CredentialNotFound": 7,
    "CredentialAmbiguous": 7,
    "UserNotFound": 7,
    "ResourceNotFound": 7,
    "ResourceLocked": 7,
    "StorageKeyMissing": 7,
    "VerificationTimeout": 7,
    "CredentialLimitReached": 7,
    "LifetimeNotAllowed": 7,
    "CredentialTypeNotAllowed": 7,
    "AzureRefused": 7,
    "AzureThrottled": 7,
    "AzureUnavailable": 7,
}


class RotatorError(Exception):
    """Something that the product foresaw went wrong; the message is safe to print anywhere.

    Args:
        code: One of ``EXIT_CODES``.
        message: What happened, to which item or object; lower case, no full stop, no credential.
        hint: What to do next.
        details: Facts for machines, JSON-serialisable, no credential.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = dict(details or {})

    @property
    def exit_code(self) -> int:
        return EXIT_CODES.get(self.code, 1)

    def __str__(self) -> str:
        return self.message


class Rejected(RotatorError):
    """The input is not acceptable; nothing was changed."""


class Forbidden(RotatorError):
    """Azure, or a rule, refuses the acting identity; nothing was changed by the refused call."""


class NotFound(RotatorError):
    """The named thing does not exist."""


class Conflict(RotatorError):
    """Somebody or something else holds the thing; look again."""


class Reach(StrEnum):
    """Whose requests a service asks to pause."""

    OBJECT = "object"  # those about this application, user or account
    TENANT = "tenant"
    SUBSCRIPTION = "subscription"


class Unavailable(RotatorError):
    """Azure or the network did not answer usefully; a write may or may not have been applied.

    Args:
        retry_after_seconds: What the service asked for, if it did.
        applied: ``"no"`` when the refusal is certain (a throttle answer), else ``"unknown"``: list by stamp first.
        reach: Whom ``retry_after_seconds`` is for.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, object] | None = None,
        retry_after_seconds: float | None = None,
        applied: str = "unknown",
        reach: Reach = Reach.OBJECT,
    ) -> None:
        super().__init__(code, message, hint=hint, details=details)
        self.retry_after_seconds = retry_after_seconds
        self.applied = applied
        self.reach = reach


class Corrupt(RotatorError):
    """The store, its key or its schema is not what it should be; nothing was written."""


class LeaseLost(RotatorError):
    """Another worker holds the rotation by now; stop without another Azure call. Never shown to a user."""

    def __init__(self, rotation_id: str) -> None:
        super().__init__("ItemLocked", f"rotation {rotation_id}: another process took it over")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One failed rule of one input property.

    Args:
        property: The parameter's name in snake_case.
        code: A stable error code.
        message: What is wrong; never the value of a secret parameter.
        hint: What to do.
    """

    property: str
    code: str
    message: str
    hint: str = ""


def item_disabled(name: str) -> Conflict:
    """The refusal to read or rotate an item that was switched off."""
    return Conflict(
        "ItemDisabled",
        f'"{name}" is disabled',
        hint=f"azure-rotator set-item-state --name {name} --state Enabled",
    )


def rejection(problems: Sequence[Problem]) -> Rejected:
    """All failures of one input as one error; its code is the first problem's."""
    first = problems[0]
    if len(problems) == 1:
        return Rejected(first.code, first.message, hint=first.hint, details={"property": first.property})
    lines = "; ".join(f"{p.property}: {p.message} ({p.code})" for p in problems)
    return Rejected(
        first.code,
        f"{len(problems)} parameters are not acceptable: {lines}",
        hint="; ".join(dict.fromkeys(p.hint for p in problems if p.hint)),
        details={
            "problems": [
                {"property": p.property, "code": p.code, "message": p.message, "hint": p.hint} for p in problems
            ]
        },
    )
