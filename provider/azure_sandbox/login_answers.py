"""How the login endpoint answers: OAuth error bodies, their AADSTS numbers and texts.

Sources: "Microsoft Entra authentication and authorization error codes" on learn.microsoft.com; texts and statuses as
recorded by users (haystack-editor 41, psoxy 74, ChannelSurf 38, requestateam 369).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure_sandbox.clouds import HOSTS, PUBLIC
from azure_sandbox.exchange import Answer, Call, Refusal


@dataclass(frozen=True, slots=True)
class Aadsts:
    """One error of the login endpoint; the text takes the names of the request's facts in braces."""

    status: int
    error: str
    text: str
    with_uri: bool = False
    suberror: str | None = None


ERRORS: Mapping[int, Aadsts] = {
    50027: Aadsts(401, "invalid_client", "JWT token is invalid or malformed.", with_uri=True),
    50034: Aadsts(
        400,
        "invalid_grant",
        "The user account {{EmailHidden}} does not exist in the {tenant} directory. To sign into this application, the"
        " account must be added to the directory.",
        with_uri=True,
    ),
    50053: Aadsts(
        400,
        "invalid_grant",
        "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.",
        with_uri=True,
    ),
    50055: Aadsts(400, "invalid_grant", "The password is expired.", with_uri=True, suberror="user_password_expired"),
    50057: Aadsts(400, "invalid_grant", "The user account is disabled.", with_uri=True),
    50059: Aadsts(
        400,
        "invalid_request",
        "No tenant-identifying information found in either the request or implied by any provided credentials.",
    ),
    50076: Aadsts(
        400,
        "invalid_grant",
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must"
        " use multi-factor authentication to access '{resource}'.",
        with_uri=True,
        suberror="basic_action",
    ),
    50126: Aadsts(
        400, "invalid_grant", "Error validating credentials due to invalid username or password.", with_uri=True
    ),
    53003: Aadsts(
        400,
        "invalid_grant",
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
        with_uri=True,
        suberror="message_only",
    ),
    65001: Aadsts(
        400,
        "invalid_grant",
        "The user or administrator has not consented to use the application with ID '{app}' named '{name}'. Send an"
        " interactive authorization request for this user and resource.",
        with_uri=True,
        suberror="consent_required",
    ),
    70003: Aadsts(400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant}'."),
    90002: Aadsts(
        400,
        "invalid_request",
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the"
        " correct cloud. Check with your subscription administrator, this may happen if there are no active"
        " subscriptions for the tenant.",
    ),
    500011: Aadsts(
        400,
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the"
        " tenant. You might have sent your authentication request to the wrong tenant.",
    ),
    700016: Aadsts(
        400,
        "unauthorized_client",
        "Application with identifier '{app}' was not found in the directory '{tenant}'. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the"
        " tenant. You may have sent your authentication request to the wrong tenant.",
    ),
    **dict.fromkeys(
        (700021, 700023, 700024, 700211, 700212, 700213, 1000502, 7002127),
        Aadsts(401, "invalid_client", "{reason}", with_uri=True),
    ),
    700027: Aadsts(
        401,
        "invalid_client",
        "{reason}",
        with_uri=True,
    ),
    700038: Aadsts(400, "unauthorized_client", "{app} is not a valid application identifier."),
    70011: Aadsts(
        400,
        "invalid_scope",
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter"
        " 'scope' is not valid. The scope {resource} is not valid.",
    ),
    900144: Aadsts(400, "invalid_request", "The request body must contain the following parameter: '{parameter}'."),
    1002012: Aadsts(
        400,
        "invalid_scope",
        "The provided value for scope {resource} is not valid. Client credential flows must have a scope value with"
        " /.default suffixed to the resource identifier (application ID URI).",
    ),
    7000112: Aadsts(400, "unauthorized_client", "Application '{app}'({name}) is disabled."),
    7000215: Aadsts(
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not"
        " the client secret ID, for a secret added to app '{app}'.",
        with_uri=True,
    ),
    7000218: Aadsts(
        401,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        with_uri=True,
    ),
    7000222: Aadsts(
        401,
        "invalid_client",
        "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for"
        " your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security:"
        " https://aka.ms/certCreds.",
        with_uri=True,
    ),
}
"""The errors that the sandbox knows, by number."""


def refusal(call: Call, number: int, *, error: str | None = None, **facts: str) -> Refusal:
    """The refusal with this number, its text filled with facts; ``error`` replaces its OAuth name."""
    known = ERRORS[number]
    text = known.text.format_map(_facts(call, **facts))
    return Refusal(answer(call, number, known.status, error or known.error, text, known=known))


def named(call: Call, number: int, status: int | None, message: str | None) -> Answer:
    """The answer with this number for a fault, which may change status and text."""
    known = ERRORS[number]
    nothing = dict.fromkeys(("app", "name", "resource", "grant", "parameter", "reason"), "")
    text = message or known.text.format_map(_facts(call, **nothing | {"app": call.entry.app_id or ""}))
    return answer(call, number, status or known.status, known.error, text, known=known)


def _facts(call: Call, **facts: str) -> dict[str, str]:
    return {"tenant": call.params.get("tenant", ""), **facts}


def headers(call: Call) -> dict[str, str]:
    """The headers of every login answer."""
    return {
        "content-type": "application/json; charset=utf-8",
        "cache-control": "no-store, no-cache",
        "pragma": "no-cache",
        "x-ms-request-id": call.request_id,
        "x-ms-ests-server": "2.1.0 - SANDBOX ProdSlices",
        "client-request-id": call.client_request_id,
    }


def answer(
    call: Call, number: int | None, status: int, error: str, text: str, *, known: Aadsts | None = None
) -> Answer:
    """An error answer with this text; ``known`` is the row it comes from."""
    timestamp = call.now.strftime("%Y-%m-%d %H:%M:%SZ")
    correlation_id = call.headers.get("client-request-id") or str(uuid.uuid4())
    code = f"AADSTS{number}: " if number is not None else ""
    description = f"{code}{text} Trace ID: {call.request_id} Correlation ID: {correlation_id} Timestamp: {timestamp}"
    body: dict[str, Any] = {
        "error": error,
        "error_description": description,
        "error_codes": [number] if number is not None else [],
        "timestamp": timestamp,
        "trace_id": call.request_id,
        "correlation_id": correlation_id,
    }
    if known is not None and known.suberror:
        body["suberror"] = known.suberror
    if known is not None and known.with_uri:
        host = call.host if call.host in HOSTS else PUBLIC.login
        body["error_uri"] = f"https://{host}/error?code={number}"
    name = f"AADSTS{number}" if number is not None else error
    return Answer(status=status, body=body, headers=headers(call), error_code=name)
