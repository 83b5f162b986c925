"""Azure's refusals as errors of the domain: by status and code, never by text.

    an answer ──read_answer──> Answer(status, code, numbers, …) ──login_refused / graph_refused / …──> RotatorError
    no answer (SDK exception) ──login_failed / graph_failed / …──────────────────────────────────────> RotatorError

The functions return the error; the adapters raise it outside any ``except`` block, so that it has neither cause nor
context: azure-identity's exceptions hold the request, and the request holds the client secret. For the same reason no
text of Azure's is passed on; what goes into ``details`` are codes and ids.

What all services share is in here; their tables are in ``login_faults``, ``graph_faults`` and ``storage_faults``.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from azure_rotator.cloud.answers import Answer, read_answer
from azure_rotator.domain.errors import Reach, RotatorError, Unavailable

NETWORK_HINT: Final = (
    "check the network to this host: behind a proxy set HTTPS_PROXY (and NO_PROXY), behind a TLS inspection give its CA"
    " in SSL_CERT_FILE"
)
CERTIFICATE_HINT: Final = "give the CA that signed this host's certificate in SSL_CERT_FILE before the process starts"
RETRY_HINT: Final = "nothing to do: it is tried again later"
USER_GRANT: Final = "User-PasswordProfile.ReadWrite.All"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of a table. ``says`` and ``hint`` may name ``{who}`` and ``{doing}`` of ``Attempt``; ``applied`` tells of
    Unavailable only; ``permission`` is what is missing, for machines; ``names_policy``: the answer's text holds the id
    of the policy that forbids it."""

    error: type[RotatorError]
    code: str
    says: str
    hint: str = ""
    applied: str = "unknown"
    permission: str = ""
    names_policy: bool = False


def told(attempt: Attempt, answer: Answer, fault: Fault) -> RotatorError:
    """The error that a row stands for."""
    details = details_of(attempt, answer)
    if fault.permission:
        details["permission"] = fault.permission
    if answer.policy_id and fault.names_policy:
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


def http_failed(attempt: Attempt, error: Exception, *, sent: bool = True) -> RotatorError:
    """The error for an exception out of httpx, where no answer came.

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


def throttled(attempt: Attempt, answer: Answer, details: dict[str, object], *, reach: Reach) -> Unavailable:
    wait = answer.retry_after_seconds
    asked = f", it asks for a pause of {math.ceil(wait)} s" if wait is not None else ""
    return Unavailable(
        "AzureThrottled",
        f"{attempt.subject}: {attempt.host} limits the rate of requests ({answer.told}){asked}",
        hint=RETRY_HINT,
        details=details,
        retry_after_seconds=wait,
        applied="no",
        reach=reach,
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
