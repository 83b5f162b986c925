"""Refusals of Microsoft Graph, told apart by status and code.

The codes: "Microsoft Graph error responses" on learn.microsoft.com; what was seen beyond them is named at the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from azure_rotator.cloud.answers import Answer
from azure_rotator.cloud.faults import (
    OWN_PASSWORD_HINT,
    USER_GRANT,
    Attempt,
    Fault,
    details_of,
    throttled,
    told,
    unusable,
)
from azure_rotator.domain.errors import Forbidden, NotFound, Reach, Rejected, RotatorError, Unavailable

GRANT: Final = "Application.ReadWrite.OwnedBy"
GRANT_HINT: Final = (
    f"grant {GRANT} (application permission, with admin consent) and make its service principal an owner of the"
    " application, or grant Application.ReadWrite.All"
)
USER_ROLE: Final = "Privileged Authentication Administrator"
USER_GRANT_HINT: Final = (
    f"grant {USER_GRANT} (application permission, with admin consent); if the user holds a directory role, also give"
    f" its service principal a directory role above it: {USER_ROLE} is above all"
)

_DENIED = Fault(
    error=Forbidden,
    code="AzurePermissionMissing",
    says="{who} is not permitted to {doing}",
    hint="{who}: " + GRANT_HINT,
    permission=GRANT,
)
_USER_DENIED = replace(_DENIED, hint="{who}: " + USER_GRANT_HINT, permission=USER_GRANT)
_OWN_DENIED = replace(_DENIED, hint="{who}: " + OWN_PASSWORD_HINT, permission=USER_GRANT)
_TOKEN_REFUSED = Fault(
    error=Forbidden,
    code="AzureAuthFailed",
    says="Graph does not accept the token of {who}",
    hint="check this machine's clock, and that azure-cloud is the tenant's cloud",
)
_GONE = Fault(
    error=NotFound,
    code="ApplicationNotFound",
    says="the tenant has no such application",
    hint="it must be the application (client) id, not the object id, of an application in the target's tenant; "
    "a deleted one can be restored for 30 days",
)
_USER_GONE = Fault(
    error=NotFound,
    code="UserNotFound",
    says="the tenant has no such user",
    hint="check the user principal name against the target's tenant; a deleted user can be restored for 30 days",
)
_FULL = Fault(
    error=Forbidden,
    code="CredentialLimitReached",
    says="it has no room for another client secret",
    hint="prune it: remove expired client secrets and certificates that nobody uses from this application",
)
TWO_SECRETS: Final = Fault(
    error=Forbidden,
    code="CredentialLimitReached",
    says="it has two client secrets, and an application whose audience includes personal accounts may have no more",
    hint="wait until the previous one is retired, or rotate with --revoke-now, which retires it first",
)
_LIFETIME = Fault(
    error=Rejected,
    code="LifetimeNotAllowed",
    says="a policy of the tenant does not allow a client secret to live that long",
    hint="lower credential-lifetime, rotation-interval or revoke-after, or have the policy changed",
    names_policy=True,
)
_TYPE = Fault(
    error=Rejected,
    code="CredentialTypeNotAllowed",
    says="a policy of the tenant forbids client secrets on this application",
    hint="have the policy changed, or the application exempted",
    names_policy=True,
)
PASSWORD_REFUSED: Final = Fault(
    error=Rejected,
    code="PasswordPolicyInvalid",
    says="Entra's rules do not allow this password",
    hint="another password may do: Entra wants 8 characters and three classes, and refuses common and former ones",
)
SYNCHRONISED: Final = Fault(
    error=Rejected,
    code="AzureRefused",
    says="its password is mastered in an on-premises directory and cannot be set in Entra",
    hint="rotate it there, or use a cloud-only user",
)
_COLLISION = Fault(
    error=Unavailable,
    code="AzureUnavailable",
    says="something else is changing it at this moment",
    hint="nothing to do, it is tried again later; if it goes on, find out what else writes to it",
)
_UNKNOWN_REFUSAL = Fault(
    error=Rejected,
    code="AzureRefused",
    says="Graph refused to {doing}",
    hint="look the code up in Microsoft Graph's documentation; the request id is in the details",
)

GRAPH_FAULTS: Final[Mapping[str, Fault]] = {
    "Authorization_RequestDenied": _DENIED,
    "Authorization_IdentityNotFound": _DENIED,
    "AccessDenied": _DENIED,
    "accessDenied": _DENIED,
    "Forbidden": _DENIED,
    "InvalidAuthenticationToken": _TOKEN_REFUSED,
    "Authentication_ExpiredToken": _TOKEN_REFUSED,
    "Authentication_Unauthorized": _TOKEN_REFUSED,
    "Authentication_MissingOrMalformed": _TOKEN_REFUSED,
    "Request_ResourceNotFound": _GONE,
    "ResourceNotFound": _GONE,
    "Directory_ResourceSizeExceeded": _FULL,
    "Directory_QuotaExceeded": _FULL,
    "CredentialInvalidLifetimeAsPerAppPolicy": _LIFETIME,
    "KeyCredentialsInvalidEndDate": _LIFETIME,
    "CredentialTypeNotAllowedAsPerAppPolicy": _TYPE,
    # Seen as 400, 409 and 503 (nais/azurerator#448, Azure/azure-cli#23081). It is said to come before the commit, but
    # nobody promises it for 503: so "unknown", and who asks again looks for the stamp first.
    "Directory_ConcurrencyViolation": _COLLISION,
    "Directory_ReplicaUnavailable": _COLLISION,
}

_WORDS: Final[Mapping[str, Mapping[Fault, Fault]]] = {
    "application": {},
    "user": {_DENIED: _USER_DENIED, _GONE: _USER_GONE},
    "own password": {_DENIED: _OWN_DENIED, _GONE: _USER_GONE},
}
"""What the two rows that speak of applications say about something else."""

_BY_STATUS: Final[Mapping[int, Fault]] = {401: _TOKEN_REFUSED, 403: _DENIED, 404: _GONE}
"""For a code that no row knows, in an answer that has Graph's form."""


def graph_refused(attempt: Attempt, answer: Answer, fault: Fault | None = None) -> RotatorError:
    """The error for an answer of Graph that is not a success.

    Args:
        fault: The row to take, where the caller knows more than the answer says.
    """
    if answer.status == 429:
        return throttled(attempt, answer, details_of(attempt, answer), reach=Reach.TENANT)
    known = GRAPH_FAULTS.get(answer.code or "")
    if fault is None and known is not None and (400 <= answer.status < 500 or known is _COLLISION):
        fault = known  # a refusal that comes with 5xx is none: it may have been done
    if fault is None:
        # Without a code in Graph's envelope somebody on the way has answered: a proxy's 403 says nothing about grants.
        if answer.status >= 500 or answer.status in {408, 409, 423} or answer.code is None or answer.status < 400:
            return unusable(attempt, answer, details_of(attempt, answer), applied="unknown")
        fault = _BY_STATUS.get(answer.status, _UNKNOWN_REFUSAL)
    return told(attempt, answer, _WORDS[attempt.about].get(fault, fault))
