"""Refusals of the login host, told apart by AADSTS number: of applications, and of users who sign in.

The numbers: "Microsoft Entra authentication and authorization error codes" on learn.microsoft.com; what was seen beyond
them is named at the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from azure_rotator.cloud.answers import Answer, numbers_in
from azure_rotator.cloud.faults import (
    OWN_PASSWORD_HINT,
    USER_GRANT,
    Attempt,
    answer_of,
    details_of,
    throttled,
    unreachable,
    unreadable,
    unusable,
)
from azure_rotator.domain.errors import Forbidden, NotFound, Reach, Rejected, RotatorError, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFault:
    """A row of the table: what an AADSTS number says, and what to do about it."""

    says: str
    hint: str


_WRONG_HINT = (
    "check that it is the secret's value, not its id; a secret made a moment ago is accepted a little later, a removed"
    " one never again"
)
_FEDERATED_HINT = "check issuer, subject and audience of the application's federated credential"
_PERMITTED_HINT = "an administrator can look the number up in the sign-in logs of the service principal"

LOGIN_FAULTS: Final[Mapping[int, LoginFault]] = {
    7000215: LoginFault(says="the client secret is wrong, was removed, or is not accepted yet", hint=_WRONG_HINT),
    7000222: LoginFault(
        says="the client secret has expired",
        hint="add a new client secret to the application, then give it to the Target (azure-rotator target update"
        " azure) or to the item: an expired one cannot rotate itself",
    ),
    7000218: LoginFault(
        says="no client secret arrived with the request", hint="check the proxies on the way to this host"
    ),
    700016: LoginFault(
        says="the tenant does not know this application",
        hint="check client-id or app-id against tenant-id; a new application is known a little later",
    ),
    700038: LoginFault(says="the client id is not a valid application id", hint="check client-id or app-id"),
    7000112: LoginFault(
        says="the application is disabled", hint="enable its service principal (enterprise application) in this tenant"
    ),
    7000229: LoginFault(
        says="the application has no service principal in this tenant", hint="create its enterprise application there"
    ),
    90002: LoginFault(
        says="there is no such tenant", hint="check the tenant id, and that azure-cloud is the cloud it lives in"
    ),
    900023: LoginFault(says="the tenant id is neither a GUID nor a domain name", hint="check the tenant id"),
    900382: LoginFault(says="the tenant lives in another Azure cloud", hint="set azure-cloud to the tenant's cloud"),
    500011: LoginFault(
        says="the tenant does not know Microsoft Graph under this address", hint="set azure-cloud to the tenant's cloud"
    ),
    53003: LoginFault(
        says="a conditional access policy blocks this sign-in",
        hint="exclude the application from the policy, or run where the policy allows it",
    ),
    700027: LoginFault(
        says="the certificate is not one of the application's, or its signature is wrong",
        hint="add the certificate of AZURE_CLIENT_CERTIFICATE_PATH to the application",
    ),
    1000502: LoginFault(
        says="the certificate has expired, or is not valid yet", hint="give the application a new certificate"
    ),
    70021: LoginFault(
        says="no federated credential of the application fits the workload's token", hint=_FEDERATED_HINT
    ),
    700211: LoginFault(
        says="no federated credential of the application has the issuer of the workload's token", hint=_FEDERATED_HINT
    ),
    700212: LoginFault(
        says="no federated credential of the application has the audience of the workload's token", hint=_FEDERATED_HINT
    ),
    700213: LoginFault(
        says="no federated credential of the application has the subject of the workload's token", hint=_FEDERATED_HINT
    ),
    700025: LoginFault(
        says="the application is a public client, which may not have a secret",
        hint="switch off 'allow public client flows' for the target's application",
    ),
    # A user's password.
    50126: LoginFault(
        says="the user's name or password is wrong, or the password is not accepted yet",
        hint="check username and password; Entra checks no password of a federated user",
    ),
    50055: LoginFault(
        says="the user's password has expired",
        hint="let the target set it: authentication-credentials use-target-creds",
    ),
    50056: LoginFault(
        says="the user has no password in this tenant", hint="Entra cannot sign in a federated user or a guest this way"
    ),
    50057: LoginFault(says="the user's account is disabled", hint="enable the account"),
}
"""AADSTS number -> what it says. All are the answer "no" to this secret, application or tenant: nobody retries them but
the probe of a new secret. 7000215 is three things at once; nothing tells them apart."""

DEMANDS_MORE: Final = frozenset(
    {50072, 50074, 50076, 50079, 50097, 50158, 53000, 53001, 53002, 53003, 53004, 530003, 530032}
)
"""Numbers that a sign-in gets after a correct password: another factor to give or to register (50072 to 50079), a
device (50097, 53000, 53001, 530003), a challenge elsewhere (50158), a policy (53002 to 53004, 530032). Seen after a
correct and 50126 after a wrong password: ahaenggli/AzureAD-LDAP-wrapper#115, msal-dotnet#4465 (F50). 50055, an expired
password, is none of them: whether it comes before the password is looked at is nobody's promise."""

NO_CONSENT: Final = 65001
"""Nobody has consented to what the application asks for. It comes after a correct password as well: whether a user has
consented is asked about a user who is known."""

UNKNOWN_USER: Final = 50034
LOCKED_USER: Final = 50053
LOCKED_SECONDS: Final = 60.0
"""How long Entra's smart lockout lasts at first, unless the tenant has set it otherwise."""

LOGIN_THROTTLED: Final = frozenset({50196, 90055})
LOGIN_OUTAGES: Final = frozenset({50000, 90006, 90033, 90036, 90100})
"""Numbers that ask for another try although the status may be 400."""


def login_refused(attempt: Attempt, answer: Answer, *, reach: Reach = Reach.TENANT) -> RotatorError:
    """The error for an answer of the login host that carries no token.

    Args:
        reach: Whom a limit of the rate of requests is for.
    """
    number = next((one for one in answer.numbers if one in LOGIN_FAULTS), next(iter(answer.numbers), None))
    details = details_of(attempt, answer)
    if number is not None:
        details["aadsts"] = number
    if answer.status == 429 or any(one in LOGIN_THROTTLED for one in answer.numbers):
        return throttled(attempt, answer, details, reach=reach)
    if answer.status >= 500 or any(one in LOGIN_OUTAGES for one in answer.numbers):
        return unusable(attempt, answer, details, applied="no")
    if number is None and (answer.code is None or answer.code == "temporarily_unavailable"):
        return unusable(attempt, answer, details, applied="no")
    fault = LOGIN_FAULTS.get(number or 0)
    told = f"AADSTS{number}" if number is not None else answer.told
    says = fault.says if fault else "Entra gave this code only"
    return Forbidden(
        "AzureAuthFailed",
        f"{attempt.who}: Entra refused the login: {says} ({told})",
        hint=fault.hint if fault else _PERMITTED_HINT,
        details=details,
    )


def sign_in_refused(attempt: Attempt, answer: Answer) -> RotatorError:
    """The error for a user's sign-in that brought no token, where the login host said no (or nothing)."""
    if answer.status < 500 and UNKNOWN_USER in answer.numbers:
        return NotFound(
            "UserNotFound",
            f"{attempt.subject}: the tenant has no such user (AADSTS{UNKNOWN_USER})",
            hint="check the user principal name against the target's tenant",
            details=details_of(attempt, answer) | {"aadsts": UNKNOWN_USER},
        )
    if answer.status < 500 and LOCKED_USER in answer.numbers:
        # Ours to wait for: it ends by itself, and each further try would only prolong it.
        return Unavailable(
            "AzureThrottled",
            f"{attempt.subject}: Entra has locked the account for a while, after wrong passwords (AADSTS{LOCKED_USER})",
            hint="it is tried again later; if it goes on, find out who else signs in with an old password",
            details=details_of(attempt, answer) | {"aadsts": LOCKED_USER},
            retry_after_seconds=answer.retry_after_seconds or LOCKED_SECONDS,
            applied="no",
        )
    return login_refused(attempt, answer)


def sign_in_demanded(attempt: Attempt, answer: Answer, number: int) -> RotatorError:
    """The error for a sign-in with a correct password that is not let in, where only a token would do."""
    return Forbidden(
        "AzureAuthFailed",
        f"{attempt.subject}: Entra wants more than the password from this user (AADSTS{number})",
        hint="exclude the user from multi-factor authentication and conditional access for the target's application, or"
        " let the target set the password: authentication-credentials use-target-creds",
        details=details_of(attempt, answer) | {"aadsts": number},
    )


def consent_missing(attempt: Attempt, answer: Answer) -> RotatorError:
    """The error for a sign-in with a correct password through an application that may do nothing for the user."""
    return Forbidden(
        "AzurePermissionMissing",
        f"{attempt.subject}: nobody has consented to what {attempt.who} would do for the user (AADSTS{NO_CONSENT})",
        hint=OWN_PASSWORD_HINT,
        details=details_of(attempt, answer) | {"aadsts": NO_CONSENT, "permission": USER_GRANT},
    )


def login_failed(attempt: Attempt, error: Exception, *, chain: bool = False, has_worked: bool = False) -> RotatorError:
    """The error for an exception out of azure-identity.

    Args:
        chain: It comes from the chain of cloud identities, which keeps only the texts of what its members were told.
        has_worked: This very credential has given tokens before. A chain that finds no identity is then an outage of
            its source (a metadata endpoint that is silent), not a missing set-up.
    """
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    response = error.response if isinstance(error, HttpResponseError) else None
    if response is not None:
        # A chain may have asked this machine's metadata endpoint, whose limits are no matter of the tenant's.
        return login_refused(attempt, answer_of(response), reach=Reach.OBJECT if chain else Reach.TENANT)
    if chain and isinstance(error, ClientAuthenticationError):
        if numbers := numbers_in(str(error)):
            return login_refused(attempt, Answer(status=401, numbers=numbers))
        if not has_worked:
            return Forbidden(
                "AzureAuthFailed",
                f"{attempt.who}: this process has no Azure identity that gives a token",
                hint="run it with a managed or workload identity, or with AZURE_TENANT_ID, AZURE_CLIENT_ID and"
                " AZURE_CLIENT_SECRET; or give the target credentials of its own",
                details=details_of(attempt, None),
            )
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return unreachable(attempt, error, applied="no")
    return unreadable(attempt, error, applied="no")


def unusable_chain(attempt: Attempt) -> RotatorError:
    """The error for a chain of cloud identities that is empty before it begins."""
    return Rejected(
        "ParameterInvalid",
        f"{attempt.who}: the environment leaves no Azure identity to try",
        hint="set AZURE_TOKEN_CREDENTIALS to prod, or unset it: logins of persons (dev) are never used",
    )


def unusable_identity(attempt: Attempt) -> RotatorError:
    """The error for an identity that azure-identity does not even try to log in with."""
    return Rejected(
        "ParameterInvalid",
        f"{attempt.who}: its tenant id, client id or client secret is empty or malformed",
        hint="check these three; the tenant and client ids are GUIDs",
    )
