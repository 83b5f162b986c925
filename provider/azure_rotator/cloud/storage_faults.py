"""Refusals of Resource Manager and of the blob service, by status and code, never by text.

The codes: "Common Azure Resource Manager errors", "Storage resource provider error codes" and "Status and error codes"
of the blob service on learn.microsoft.com; what was seen beyond them is named at the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from azure_rotator.cloud import faults
from azure_rotator.cloud.answers import Answer
from azure_rotator.cloud.faults import Attempt, Fault
from azure_rotator.domain.errors import Forbidden, NotFound, Reach, Rejected, RotatorError, Unavailable

ROLE: Final = "Storage Account Key Operator Service Role"

_DENIED: Final = Fault(
    error=Forbidden,
    code="AzurePermissionMissing",
    says="{who} is not permitted to {doing}",
    hint='{who}: give its service principal the role "' + ROLE + '" on {subject}; a new role assignment takes a few'
    " minutes",
    permission=ROLE,
)
_LOCKED: Final = Fault(
    error=Forbidden,
    code="ResourceLocked",
    says="a ReadOnly lock on it, its resource group or its subscription refuses to {doing}",
    hint="remove the lock, or replace it by a CanNotDelete lock: a ReadOnly lock refuses the list of the keys as well",
)
_TOKEN_REFUSED: Final = Fault(
    error=Forbidden,
    code="AzureAuthFailed",
    says="Resource Manager does not accept the token of {who}",
    hint="check this machine's clock, that azure-cloud is the tenant's cloud, and that the subscription belongs to the"
    " target's tenant",
)
_GONE: Final = Fault(
    error=NotFound,
    code="ResourceNotFound",
    says="there is no such account, resource group or subscription, or the target's tenant does not see it",
    hint="check subscription-id, resource-group-name and resource-name; a deleted account can be restored for 14 days",
)
_BY_POLICY: Final = Fault(
    error=Forbidden,
    code="AzureRefused",
    says="an Azure policy forbids to {doing}",
    hint="have the policy changed, or the account exempted",
)
_SUBSCRIPTION_OFF: Final = Fault(
    error=Forbidden,
    code="AzureRefused",
    says="its subscription is disabled, or does not know storage accounts",
    hint="enable the subscription, and register the resource provider Microsoft.Storage there",
)
# Told before anything is done, so certain; another 409 may be anything.
_BUSY: Final = Fault(
    error=Unavailable,
    code="AzureUnavailable",
    says="something else is changing it at this moment",
    hint="nothing to do, it is tried again later; if it goes on, find out what else writes to this account",
    applied="no",
)
_UNKNOWN_REFUSAL: Final = Fault(
    error=Rejected,
    code="AzureRefused",
    says="Resource Manager refused to {doing}",
    hint="look the code up in Azure Resource Manager's documentation; the request id is in the details",
)

ARM_FAULTS: Final[Mapping[str, Fault]] = {
    "AuthorizationFailed": _DENIED,
    "LinkedAuthorizationFailed": _DENIED,
    "AccessDenied": _DENIED,
    "ScopeLocked": _LOCKED,
    "AuthenticationFailed": _TOKEN_REFUSED,
    "AuthenticationFailedMissingToken": _TOKEN_REFUSED,
    "ExpiredAuthenticationToken": _TOKEN_REFUSED,
    "InvalidAuthenticationToken": _TOKEN_REFUSED,
    "InvalidAuthenticationTokenAudience": _TOKEN_REFUSED,
    "InvalidAuthenticationTokenTenant": _TOKEN_REFUSED,
    "ResourceNotFound": _GONE,
    "ResourceGroupNotFound": _GONE,
    "SubscriptionNotFound": _GONE,
    "InvalidSubscriptionId": _GONE,
    "RequestDisallowedByPolicy": _BY_POLICY,
    "RequestDisallowedByAzure": _BY_POLICY,
    "DisabledSubscription": _SUBSCRIPTION_OFF,
    "ReadOnlyDisabledSubscription": _SUBSCRIPTION_OFF,
    "MissingSubscriptionRegistration": _SUBSCRIPTION_OFF,
    "StorageAccountOperationInProgress": _BUSY,
    "StorageAccountIsNotProvisioned": _BUSY,
    "AnotherOperationInProgress": _BUSY,
}

_BY_STATUS: Final[Mapping[int, Fault]] = {401: _TOKEN_REFUSED, 403: _DENIED, 404: _GONE}
"""For a code that no row knows, in an answer that has Resource Manager's form."""


def arm_refused(attempt: Attempt, answer: Answer) -> RotatorError:
    """The error for an answer of Resource Manager that is not a success."""
    if answer.status == 429:
        return faults.throttled(attempt, answer, faults.details_of(attempt, answer), reach=Reach.SUBSCRIPTION)
    # A refusal that comes with 5xx is none: it may have been done.
    fault = ARM_FAULTS.get(answer.code or "") if 400 <= answer.status < 500 else None
    if fault is None:
        # Without a code in its envelope somebody on the way has answered: a proxy's 403 says nothing about roles.
        if answer.status >= 500 or answer.status in {408, 409, 412, 423} or answer.code is None or answer.status < 400:
            return faults.unusable(attempt, answer, faults.details_of(attempt, answer), applied="unknown")
        fault = _BY_STATUS.get(answer.status, _UNKNOWN_REFUSAL)
    return faults.told(attempt, answer, fault)


def arm_failed(attempt: Attempt, error: Exception, *, sent: bool) -> RotatorError:
    """The error for an exception out of the Resource Manager client, where no answer came.

    Args:
        sent: Whether it came as far as sending; before that the request was being made.
    """
    from aiohttp import ClientConnectorError, ClientHttpProxyError
    from azure.core.exceptions import ServiceRequestError, ServiceRequestTimeoutError, ServiceResponseError

    if not sent:
        return faults.unreadable(attempt, error, applied="no")
    # azure-core says "request error" of every connection that breaks, also of one that had carried the request and was
    # then cut: what has surely not been sent is only what found no connection at all.
    inner = error.__cause__
    if isinstance(error, ServiceRequestTimeoutError) or isinstance(inner, ClientConnectorError | ClientHttpProxyError):
        return faults.unreachable(attempt, error, applied="no")
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return faults.unreachable(attempt, error, applied="unknown")
    return faults.unreadable(attempt, error, applied="unknown")


# --- the blob service ---------------------------------------------------------------------------------------------

PROVES_NOTHING: Final = frozenset(
    {
        "KeyBasedAuthenticationNotPermitted",  # the account permits no Shared Key at all (F46)
        "AuthorizationFailure",  # the account's firewall does not let this network in, whatever the key
        "AuthorizationPermissionMismatch",
        "AuthorizationProtocolMismatch",
        "AuthorizationSourceIPMismatch",
        "AuthorizationServiceMismatch",
        "AuthorizationResourceTypeMismatch",
        "InsufficientAccountPermissions",
        "FeatureNotSupportedForAccount",  # a kind of account that has no blobs
        "AccountIsDisabled",
    }
)
"""Answers of the blob service that do not speak of the key."""

MOST_SKEW: Final = timedelta(minutes=10)
"""The service refuses signatures whose date is more than 15 minutes off, as if the key were wrong."""

_KEY_REFUSED: Final = Fault(
    error=Forbidden,
    code="AzureAuthFailed",
    says="it does not accept the key",
    hint="somebody may have regenerated the key meanwhile; a new one is accepted everywhere within seconds",
)


def blob_refused(attempt: Attempt, answer: Answer) -> RotatorError | None:
    """The error for an answer of the blob service that is not a success; None: it does not speak of the key."""
    if answer.status in {429, 503} and answer.code in {"ServerBusy", "TooManyRequests"}:
        return faults.throttled(attempt, answer, faults.details_of(attempt, answer), reach=Reach.OBJECT)
    if answer.status >= 500 or answer.code is None or answer.status < 400:
        return faults.unusable(attempt, answer, faults.details_of(attempt, answer), applied="no")
    if answer.code in PROVES_NOTHING:
        return None
    if answer.status in {401, 403} or answer.code == "AuthenticationFailed":
        skew = answer.clock_skew
        if skew is not None and abs(skew) > MOST_SKEW:
            return Unavailable(
                "AzureUnavailable",
                f"{attempt.subject}: the key cannot be tried, since this machine's clock is {_minutes(skew)} off"
                f" ({answer.told})",
                hint="set this machine's clock right",
                details=faults.details_of(attempt, answer) | {"clock_skew_seconds": round(skew.total_seconds())},
                applied="no",
            )
        return faults.told(attempt, answer, _KEY_REFUSED)
    # 400 and its like: the service speaks, but not of the key.
    return None


def malformed_key(attempt: Attempt) -> RotatorError:
    """The error for a key that cannot sign."""
    return Forbidden(
        "AzureAuthFailed",
        f"{attempt.subject}: the key cannot sign a request: it is no base64",
        hint="give the key as Azure shows it",
        details=faults.details_of(attempt, None),
    )


def _minutes(skew: timedelta) -> str:
    return f"{abs(round(skew.total_seconds() / 60))} minutes"
