"""Azure's refusals as errors of the domain: by status and code, never by text.

    an answer ──read_answer──> Answer(status, code, numbers, …) ──login_refused / graph_refused / …──> RotatorError
    no answer (SDK exception) ──login_failed / graph_failed / …──────────────────────────────────────> RotatorError

Login and Graph are in here, Resource Manager and the blob service in ``storage_faults``.

The functions return the error; the adapters raise it outside any ``except`` block, so that it has neither cause nor
context: azure-identity's exceptions hold the request, and the request holds the client secret. For the same reason no
text of Azure's is passed on; what goes into ``details`` are codes and ids.

The codes: "Microsoft Entra authentication and authorization error codes" and "Microsoft Graph error responses" on
learn.microsoft.com; what was seen beyond them is named at the row.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from azure_rotator.cloud.answers import Answer, numbers_in, read_answer
from azure_rotator.domain.errors import Forbidden, NotFound, Rejected, RotatorError, Unavailable

NETWORK_HINT: Final = (
    "check the network to this host: behind a proxy set HTTPS_PROXY (and NO_PROXY), behind a TLS inspection give its CA"
    " in SSL_CERT_FILE"
)
CERTIFICATE_HINT: Final = "give the CA that signed this host's certificate in SSL_CERT_FILE before the process starts"
RETRY_HINT: Final = "nothing to do: it is tried again later"
GRANT: Final = "Application.ReadWrite.OwnedBy"
GRANT_HINT: Final = (
    f"grant {GRANT} (application permission, with admin consent) and make its service principal an owner of the"
    " application, or grant Application.ReadWrite.All"
)
USER_GRANT: Final = "User-PasswordProfile.ReadWrite.All"
USER_ROLE: Final = "Privileged Authentication Administrator"
USER_GRANT_HINT: Final = (
    f"grant {USER_GRANT} (application permission, with admin consent); if the user holds a directory role, also give"
    f" its service principal a directory role above it: {USER_ROLE} is above all"
)
OWN_PASSWORD_HINT: Final = (
    f"grant {USER_GRANT} (delegated permission, with admin consent) to the target's application, or let the target set"
    " the password: authentication-credentials use-target-creds"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request, as messages speak of it.

    Args:
        who: The acting identity's label.
        subject: What it is about, e.g. ``application 1234…``.
        doing: What was tried, as in "to …", e.g. ``add a client secret``.
        host: Whom it was sent to.
        writes: Whether Azure may have changed something when no answer comes.
        about: What the subject is, which decides the words of a refusal.
    """

    who: str
    subject: str
    doing: str
    host: str
    writes: bool = False
    about: Literal["application", "user", "own password"] = "application"


# --- login --------------------------------------------------------------------------------------------------------


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
        hint="add a new client secret to the application and give it here: an expired one cannot rotate itself",
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


def login_refused(attempt: Attempt, answer: Answer) -> RotatorError:
    """The error for an answer of the login host that carries no token."""
    number = next((one for one in answer.numbers if one in LOGIN_FAULTS), next(iter(answer.numbers), None))
    details = details_of(attempt, answer)
    if number is not None:
        details["aadsts"] = number
    if answer.status == 429 or any(one in LOGIN_THROTTLED for one in answer.numbers):
        return throttled(attempt, answer, details)
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
        return login_refused(attempt, answer_of(response))
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


def answer_of(response: Any) -> Answer:
    """An answer that azure-core holds in an error of its own; a body that never came whole is no body."""
    headers = getattr(response, "headers", None)
    known = {name.lower(): value for name, value in headers.items()} if isinstance(headers, Mapping) else {}
    try:
        # Two generations of azure-core's responses.
        content = response.content if hasattr(response, "content") else response.body()
    except Exception:  # noqa: BLE001 - whatever it is, there is nothing to read
        content = b""
    return read_answer(response.status_code or 0, known, content if isinstance(content, bytes) else b"")


# --- Graph --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of a table. ``says`` and ``hint`` may name ``{who}`` and ``{doing}`` of ``Attempt``; ``applied`` tells of
    Unavailable only; ``permission`` is what is missing, for machines."""

    error: type[RotatorError]
    code: str
    says: str
    hint: str = ""
    applied: str = "unknown"
    permission: str = ""


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
)
_TYPE = Fault(
    error=Rejected,
    code="CredentialTypeNotAllowed",
    says="a policy of the tenant forbids client secrets on this application",
    hint="have the policy changed, or the application exempted",
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
    hint="nothing to do, it is tried again later; if it goes on, find out what else writes to this application",
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
        return throttled(attempt, answer, details_of(attempt, answer))
    known = GRAPH_FAULTS.get(answer.code or "")
    if fault is None and known is not None and (400 <= answer.status < 500 or known is _COLLISION):
        fault = known  # a refusal that comes with 5xx is none: it may have been done
    if fault is None:
        # Without a code in Graph's envelope somebody on the way has answered: a proxy's 403 says nothing about grants.
        if answer.status >= 500 or answer.status in {408, 409, 423} or answer.code is None or answer.status < 400:
            return unusable(attempt, answer, details_of(attempt, answer), applied="unknown")
        fault = _BY_STATUS.get(answer.status, _UNKNOWN_REFUSAL)
    return told(attempt, answer, _WORDS[attempt.about].get(fault, fault))


def told(attempt: Attempt, answer: Answer, fault: Fault) -> RotatorError:
    """The error that a row stands for."""
    details = details_of(attempt, answer)
    if fault.permission:
        details["permission"] = fault.permission
    if answer.policy_id and fault in {_LIFETIME, _TYPE}:
        details["policy_id"] = answer.policy_id
    words = {"who": attempt.who, "doing": attempt.doing, "subject": attempt.subject}
    policy = f", policy {details['policy_id']}" if "policy_id" in details else ""
    message = f"{attempt.subject}: {fault.says.format(**words)} ({answer.told}{policy})"
    hint = fault.hint.format(**words)
    if issubclass(fault.error, Unavailable):
        return Unavailable(
            fault.code,
            message,
            hint=hint,
            details=details,
            retry_after_seconds=answer.retry_after_seconds,
            applied=_applied(attempt, fault.applied),
        )
    return fault.error(fault.code, message, hint=hint, details=details)


def graph_failed(attempt: Attempt, error: Exception, *, sent: bool = True) -> RotatorError:
    """The error for an exception out of the Graph client.

    Args:
        sent: Whether it came as far as sending; before that the client was being made.
    """
    import httpx

    if not sent:
        return Unavailable(
            "AzureUnavailable",
            f"{attempt.subject}: no connection to {attempt.host} can be made here ({type(error).__name__})",
            hint="check the files and addresses in SSL_CERT_FILE, SSL_CERT_DIR and the proxy variables",
            details=details_of(attempt, None) | {"exception": type(error).__name__},
            applied="no",
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.PoolTimeout):
        return unreachable(attempt, error, applied="no")  # no connection: the request was never sent
    if isinstance(error, httpx.HTTPError):
        return unreachable(attempt, error, applied="unknown")
    return unreadable(attempt, error, applied="unknown")


def unusable_success(attempt: Attempt, answer: Answer, problem: str) -> RotatorError:
    """The error for a success that does not hold what it must: cut off, HTML, a field missing."""
    return Unavailable(
        "AzureUnavailable",
        f"{attempt.subject}: {attempt.host} answered {answer.status} to {attempt.doing!r}, but {problem}",
        hint=RETRY_HINT if isinstance(answer.body, dict) else NETWORK_HINT,
        details=details_of(attempt, answer),
        applied=_applied(attempt, "unknown"),
    )


def timed_out(attempt: Attempt, seconds: float, *, applied: str) -> RotatorError:
    """The error for a request that was given up."""
    return Unavailable(
        "AzureUnavailable",
        f"{attempt.subject}: {attempt.host} gave no answer within {seconds:g} s to {attempt.doing!r}",
        hint=NETWORK_HINT,
        details=details_of(attempt, None),
        applied=_applied(attempt, applied),
    )


# --- shared -------------------------------------------------------------------------------------------------------


def throttled(attempt: Attempt, answer: Answer, details: dict[str, object]) -> Unavailable:
    wait = answer.retry_after_seconds
    asked = f", it asks for a pause of {math.ceil(wait)} s" if wait is not None else ""
    return Unavailable(
        "AzureThrottled",
        f"{attempt.subject}: {attempt.host} limits the rate of requests ({answer.told}){asked}",
        hint=RETRY_HINT,
        details=details,
        retry_after_seconds=wait,
        applied="no",
    )


def unusable(attempt: Attempt, answer: Answer, details: dict[str, object], *, applied: str) -> Unavailable:
    stranger = answer.code is None and not answer.numbers
    return Unavailable(
        "AzureUnavailable",
        f"{attempt.subject}: {attempt.host} gave no usable answer to {attempt.doing!r} ({answer.told})",
        hint=NETWORK_HINT if stranger else RETRY_HINT,
        details=details,
        retry_after_seconds=answer.retry_after_seconds,
        applied=_applied(attempt, applied),
    )


def unreachable(attempt: Attempt, error: Exception, *, applied: str) -> Unavailable:
    untrusted = any(isinstance(one, ssl.SSLCertVerificationError) for one in chain(error))
    problem = "has a certificate that is not trusted here" if untrusted else "cannot be reached, or broke off"
    return Unavailable(
        "AzureUnavailable",
        f"{attempt.subject}: {attempt.host} {problem} ({type(error).__name__})",
        hint=CERTIFICATE_HINT if untrusted else NETWORK_HINT,
        details=details_of(attempt, None) | {"exception": type(error).__name__},
        applied=_applied(attempt, applied),
    )


def unreadable(attempt: Attempt, error: Exception, *, applied: str) -> Unavailable:
    return Unavailable(
        "AzureUnavailable",
        f"{attempt.subject}: the answer of {attempt.host} to {attempt.doing!r} cannot be read ({type(error).__name__})",
        hint=NETWORK_HINT,
        details=details_of(attempt, None) | {"exception": type(error).__name__},
        applied=_applied(attempt, applied),
    )


def leads_nowhere(error: Exception) -> bool:
    """Whether a connection failed since the host has no address: there is no such host, whoever asks."""
    return any(
        isinstance(one, socket.gaierror) and one.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)}
        for one in chain(error)
    )


def chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        yield one
        one = one.__cause__ or one.__context__


def _applied(attempt: Attempt, applied: str) -> str:
    return applied if attempt.writes else "no"


def details_of(attempt: Attempt, answer: Answer | None) -> dict[str, object]:
    details: dict[str, object] = {"host": attempt.host}
    if answer is not None:
        details["status"] = answer.status
        if answer.code is not None:
            details["code"] = answer.code
        if answer.request_id is not None:
            details["request_id"] = answer.request_id
    return details
