"""Entra tokens: the proof that a secret logs in, what a token grants, and the token for a request.

A secret's token is never kept: it would go on working for an hour after its secret is gone, and would not know of a
grant that was made meanwhile. Only the cloud identity's credential is kept, since its chain may take seconds to find
its source; its token is renewed when the service refuses it.

A login with a secret that Entra refuses as wrong (AADSTS7000215) is tried once more with ``Identity.older``, for calls
that act. A proof never is: it would prove the wrong secret.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from azure_rotator.cloud import faults, login_faults, payloads
from azure_rotator.cloud.endpoints import Endpoints, endpoints_of
from azure_rotator.cloud.faults import Attempt
from azure_rotator.cloud.loop import Kept, LoopThread, shared
from azure_rotator.domain.errors import Forbidden, RotatorError, Unavailable
from azure_rotator.domain.ports import Grants, Identity
from azure_rotator.domain.secrettext import SecretText

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

WRONG_SECRET: Final = 7000215
"""The AADSTS number of a client secret that is wrong, removed, or not accepted yet; nothing tells these apart."""

REQUEST_SECONDS: Final = 10.0
"""How long one request to Azure may take. A call is a login and a request: twice this, and below the lease."""

# azure-identity warns of every refused login by itself. A refused login is an ordinary answer here and is told once, in
# our words: whoever sets up logging still gets those lines, but nobody gets them on a bare stderr.
logging.getLogger("azure").addHandler(logging.NullHandler())


class EntraLogin:
    """``Login`` over azure-identity.

    Args:
        request_seconds: The limit of one token request.
    """

    def __init__(self, *, request_seconds: float = REQUEST_SECONDS, loop: LoopThread = shared) -> None:
        self._seconds = request_seconds
        self._loop = loop

    def prove(self, identity: Identity) -> None:
        """One token request with the identity's secret, on a fresh connection."""
        self._token(replace(identity, older=None))

    def grants(self, identity: Identity) -> Grants:
        """Permissions of the identity's Graph token, from its claims."""
        token = self._token(identity)
        try:
            return payloads.grants(token.value.reveal())
        except ValueError as error:
            problem = str(error)
        raise Unavailable(
            "AzureUnavailable",
            f"{identity.label}: the token of {token.host} cannot be read: {problem}",
            hint=faults.NETWORK_HINT,
            applied="no",
        )

    def _token(self, identity: Identity) -> Token:
        endpoints = endpoints_of(identity.azure_cloud)
        import_sdk()
        found = self._loop.run(
            lambda kept: request_token(
                kept, identity, endpoints, scope=endpoints.graph_scope, seconds=self._seconds, use="once"
            ),
            limit_seconds=self._seconds,
        )
        if isinstance(found, RotatorError):
            raise found
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token. ``kept``: it may be an old one, so that a refusal of it proves nothing yet."""

    value: SecretText
    host: str
    kept: bool


@dataclass(slots=True, kw_only=True)
class _Source:
    """A credential object and who uses it. It is closed when it is not kept (any more) and the last one is done."""

    credential: AsyncTokenCredential
    kept: bool
    users: int = 0
    has_worked: bool = False


def import_sdk() -> None:
    """Import azure-identity on the calling thread: 0.2 s, once, in which the loop goes on serving others."""
    import azure.identity.aio  # noqa: F401


async def request_token(
    kept: Kept,
    identity: Identity,
    endpoints: Endpoints,
    *,
    scope: str,
    seconds: float,
    use: Literal["once", "kept", "renewed"],
) -> Token | RotatorError:
    """A token for the identity, or why there is none. Within ``seconds``, the try with an older secret included.

    Args:
        scope: What it is for, e.g. ``endpoints.graph_scope``.
        use: For a cloud identity: a credential of its own, the kept one, or a new one to be kept. One with a secret
            always gets one of its own.
    """
    started = time.monotonic()
    found = await _log_in(kept, identity, endpoints, scope=scope, seconds=seconds, use=use)
    if identity.older is None or not is_wrong_secret(found):
        return found
    older = replace(identity, secret=identity.older, older=None)
    left = seconds - (time.monotonic() - started)
    if left <= 0:
        return found
    second = await _log_in(kept, older, endpoints, scope=scope, seconds=left, use=use)
    # Both wrong: what is said about the secret that should work is what helps.
    return found if is_wrong_secret(second) else second


def is_wrong_secret(found: object) -> bool:
    """Whether a login was refused for its client secret, which a replaced one may still pass."""
    return isinstance(found, Forbidden) and found.details.get("aadsts") == WRONG_SECRET


async def _log_in(
    kept: Kept,
    identity: Identity,
    endpoints: Endpoints,
    *,
    scope: str,
    seconds: float,
    use: Literal["once", "kept", "renewed"],
) -> Token | RotatorError:
    attempt = Attempt(who=identity.label, subject=identity.label, doing="log in", host=endpoints.login_host)
    chain = identity.secret is None
    source: _Source | None = None
    try:
        try:
            source = _source(kept, identity, endpoints, use=use)
        except ValueError:
            return login_faults.unusable_chain(attempt) if chain else login_faults.unusable_identity(attempt)
        source.users += 1
        try:
            async with asyncio.timeout(seconds):
                token = await source.credential.get_token(scope)
        finally:
            source.users -= 1
            if not source.kept and not source.users:
                await source.credential.close()
        source.has_worked = True
        return Token(value=SecretText(token.token), host=endpoints.login_host, kept=source.kept)
    except TimeoutError:
        return faults.timed_out(attempt, seconds, applied="no")
    except Exception as error:  # noqa: BLE001 - nothing of the SDK's passes: its errors hold the secret
        worked = source is not None and source.has_worked
        return login_faults.login_failed(attempt, error, chain=chain, has_worked=worked)


def _source(
    kept: Kept, identity: Identity, endpoints: Endpoints, *, use: Literal["once", "kept", "renewed"]
) -> _Source:
    if identity.secret is not None:
        return _Source(credential=_secret_credential(identity, identity.secret, endpoints), kept=False)
    if use == "once":
        return _Source(credential=cloud_credential(identity.client_id, endpoints), kept=False)
    key = ("cloud identity", endpoints.cloud, identity.client_id)
    known: _Source | None = kept.values.get(key)
    if known is not None and use == "kept":
        return known
    source = _Source(credential=cloud_credential(identity.client_id, endpoints), kept=True)
    if known is not None:
        known.kept = False
        source.has_worked = known.has_worked
        if not known.users:
            kept.soon(known.credential.close())
    kept.values[key] = source
    kept.closers[key] = source.credential.close
    return source


def _secret_credential(identity: Identity, secret: SecretText, endpoints: Endpoints) -> AsyncTokenCredential:
    from azure.identity.aio import ClientSecretCredential

    return ClientSecretCredential(
        identity.tenant_id or "",
        identity.client_id or "",
        secret.reveal(),
        authority=endpoints.login_host,
        retry_total=0,
    )


def cloud_credential(client_id: str | None, endpoints: Endpoints) -> AsyncTokenCredential:
    """azure-identity's default chain, less what belongs to a person.

    In the chain's order: a service principal of the environment (secret or certificate), workload identity, managed
    identity (user-assigned where ``client_id`` names it). Left out, whatever AZURE_TOKEN_CREDENTIALS says: the logins
    of az, azd, Azure PowerShell and VS Code, and the token cache that Microsoft's tools share. On a laptop or a build
    machine they are whoever logged in last, often an administrator: rotation would seem to work there and fail, or do
    far too much, wherever it runs in earnest. Nothing interactive is in the asynchronous chain.

    The chain gives workload identity no authority (azure-identity 1.27): outside the public cloud it takes that from
    AZURE_AUTHORITY_HOST, which the cluster's webhook sets.

    Raises:
        ValueError: nothing is left, or AZURE_TOKEN_CREDENTIALS is not one of its words.
    """
    from azure.identity.aio import DefaultAzureCredential

    # Its own retries stay on: asking a metadata endpoint again changes nothing anywhere.
    user_assigned = {} if client_id is None else {"managed_identity_client_id": client_id}
    return DefaultAzureCredential(
        authority=endpoints.login_host,
        exclude_cli_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        **user_assigned,
    )
