"""A user's sign-in with his password alone: the password grant, through an application that has a client secret.

A plain token request, since azure-identity knows this grant for public clients only and MSAL would ask for the user's
realm first and remember a refusal for a minute: here one sign-in is one request, and each is on its own.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from azure_rotator.cloud import faults, login_faults, payloads
from azure_rotator.cloud.answers import Answer, read_answer
from azure_rotator.cloud.credentials import is_wrong_secret
from azure_rotator.cloud.endpoints import Endpoints
from azure_rotator.cloud.faults import Attempt
from azure_rotator.cloud.loop import Kept
from azure_rotator.domain.errors import Forbidden, RotatorError
from azure_rotator.domain.ports import Identity
from azure_rotator.domain.secrettext import SecretText

PROOF_SCOPE: Final = "openid"
"""Asks for no permission: nothing to consent to, and a token that opens nothing."""

_TENANT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The password is correct, and Entra wants more than that; the error says so where only a token would do."""

    error: RotatorError


async def sign_in(
    kept: Kept,
    client: Identity,
    endpoints: Endpoints,
    username: str,
    password: SecretText,
    *,
    scope: str,
    seconds: float,
) -> SecretText | Demand | RotatorError:
    """Sign a user in, on a fresh connection.

    A client secret that is wrong is tried once more with ``client.older``: it is the user who is proven, the client
    acts.

    Args:
        scope: What the token is for; ``PROOF_SCOPE`` where only the password is in question.
        seconds: The limit, both tries included.

    Returns:
        The user's token, or what Entra wants besides the password. An error where the sign-in was refused:
        ``AzureAuthFailed`` with the AADSTS number, ``UserNotFound``, ``AzureThrottled`` (locked for a while),
        ``AzureUnavailable``; ``TargetHasNoClientSecret`` without a request.
    """
    started = time.monotonic()
    found = await _once(kept, client, endpoints, username, password, scope=scope, seconds=seconds)
    left = seconds - (time.monotonic() - started)
    if client.older is None or not is_wrong_secret(found) or left <= 0:
        return found
    older = replace(client, secret=client.older, older=None)
    second = await _once(kept, older, endpoints, username, password, scope=scope, seconds=left)
    return found if is_wrong_secret(second) else second


async def federated(
    kept: Kept, client: Identity, endpoints: Endpoints, username: str, *, seconds: float
) -> bool | RotatorError:
    """Whether the user's domain is federated ("home realm discovery" as MSAL asks it before a password grant)."""
    from azure_rotator.cloud import connections

    attempt = Attempt(
        who=client.label, subject=f"user {username}", doing="find where it signs in", host=endpoints.login_host
    )
    url = f"https://{endpoints.login_host}/common/userrealm/{quote(username, safe='')}"
    try:
        async with asyncio.timeout(seconds), connections.connect(kept, seconds) as connection:
            got = await connection.get(url, params={"api-version": "1.0"}, headers={"accept": "application/json"})
            answer = read_answer(got.status_code, got.headers, got.content)
    except TimeoutError:
        return faults.timed_out(attempt, seconds, applied="no")
    except Exception as error:  # noqa: BLE001 - as of any request here
        return faults.http_failed(attempt, error)
    if not answer.ok:
        return faults.unusable(attempt, answer, faults.details_of(attempt, answer), applied="no")
    try:
        return payloads.is_federated(answer.body)
    except ValueError as error:
        problem = str(error)
    return faults.unusable_success(attempt, answer, problem)


async def _once(
    kept: Kept,
    client: Identity,
    endpoints: Endpoints,
    username: str,
    password: SecretText,
    *,
    scope: str,
    seconds: float,
) -> SecretText | Demand | RotatorError:
    from azure_rotator.cloud import connections

    attempt = Attempt(
        who=client.label, subject=f"user {username}", doing="sign in", host=endpoints.login_host, about="own password"
    )
    if client.secret is None:
        return Forbidden(
            "TargetHasNoClientSecret",
            f"{client.label}: a user signs in through an application with a client secret, and it has none",
            hint="use a target with credentials, or let the target set the password: authentication-credentials"
            " use-target-creds",
        )
    if not client.client_id or not client.secret or not _TENANT.fullmatch(client.tenant_id or ""):
        return login_faults.unusable_identity(attempt)
    form = {
        "grant_type": "password",
        "client_id": client.client_id,
        "client_secret": client.secret.reveal(),
        "username": username,
        "password": password.reveal(),
        "scope": scope,
    }
    url = f"https://{endpoints.login_host}/{quote(client.tenant_id or '')}/oauth2/v2.0/token"
    try:
        async with asyncio.timeout(seconds), connections.connect(kept, seconds) as connection:
            got = await connection.post(url, data=form, headers={"accept": "application/json"})
            answer = read_answer(got.status_code, got.headers, got.content)
    except TimeoutError:
        return faults.timed_out(attempt, seconds, applied="no")
    except Exception as error:  # noqa: BLE001 - nothing of the client's passes: its errors hold the request
        return faults.http_failed(attempt, error)
    return _admission(attempt, answer)


def _admission(attempt: Attempt, answer: Answer) -> SecretText | Demand | RotatorError:
    if answer.ok:
        try:
            return payloads.access_token(answer.body)
        except ValueError as error:
            problem = str(error)
        return faults.unusable_success(attempt, answer, problem)
    if answer.status < 500:
        for number in answer.numbers:
            if number in login_faults.DEMANDS_MORE:
                return Demand(error=login_faults.sign_in_demanded(attempt, answer, number))
        if login_faults.NO_CONSENT in answer.numbers:
            return Demand(error=login_faults.consent_missing(attempt, answer))
    return login_faults.sign_in_refused(attempt, answer)
