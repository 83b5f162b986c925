"""One request to Resource Manager through azure-mgmt-storage. Imports the SDK: import it inside functions only.

The SDK builds the request (address, query, body); what becomes of the answer is decided in ``storage_faults`` and
``payloads``, so the answer is taken as it comes. Of the SDK's pipeline nothing is used but what names the request: its
retries regenerate a key twice (design/azure 0.1), read Retry-After in a way that fails on garbage with a bare
ValueError, and register a resource provider without being asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn
from urllib.parse import quote

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import RequestIdPolicy, SansIOHTTPPolicy, UserAgentPolicy
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import HttpRequest
from azure.mgmt.storage.aio import StorageManagementClient

from azure_rotator.cloud.answers import Answer, read_answer
from azure_rotator.cloud.endpoints import Endpoints
from azure_rotator.domain.secrettext import SecretText

_USER_AGENT: Final = "azure-rotator"
_LOCKS_VERSION: Final = "2020-05-01"


class _Unused:
    """The SDK wants a credential; here the token is there already."""

    async def get_token(self, *_scopes: str, **_more: Any) -> NoReturn:
        raise RuntimeError("the token of a call is asked for before its request is made")

    async def close(self) -> None:
        """Nothing."""


class _Answered(Exception):
    """The answer is taken; the SDK need not look at it. Of one that it cannot read it would log a warning, with all of
    it in the record's exception."""


class _Exchange(SansIOHTTPPolicy[Any, Any]):
    """Gives one token, to one host, and takes the answer before the SDK reads it."""

    def __init__(self, token: SecretText, base_url: str) -> None:
        self._token = token
        self._base_url = base_url
        self.sent = False
        self.answer: Answer | None = None

    def on_request(self, request: PipelineRequest[Any]) -> None:
        if request.http_request.url.startswith(f"{self._base_url}/"):
            request.http_request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        self.sent = True

    def on_response(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        got = response.http_response
        self.answer = read_answer(got.status_code, got.headers, got.content)
        raise _Answered


class Exchange:
    """A client of its own for one request, and what came of it."""

    def __init__(self, client: StorageManagementClient, policy: _Exchange) -> None:
        self._client = client
        self._policy = policy

    @property
    def sent(self) -> bool:
        """Whether it came as far as sending."""
        return self._policy.sent

    async def send(self, call: Callable[[StorageManagementClient], Awaitable[object]]) -> Answer:
        """Make one call of the SDK, and with it one request. Raises what azure-core raises when there is no answer."""
        with contextlib.suppress(_Answered):
            await call(self._client)
        if self._policy.answer is None:
            raise RuntimeError("the SDK made no request")
        return self._policy.answer


@asynccontextmanager
async def connect(
    endpoints: Endpoints, subscription_id: str, token: SecretText, seconds: float
) -> AsyncIterator[Exchange]:
    """A client with connections of its own. The proxy variables and SSL_CERT_FILE are honoured."""
    policy = _Exchange(token, endpoints.arm_url)
    credential: Any = _Unused()
    async with StorageManagementClient(
        credential,
        subscription_id,
        base_url=endpoints.arm_url,
        credential_scopes=[endpoints.arm_scope],
        policies=[RequestIdPolicy(), UserAgentPolicy(_USER_AGENT), policy],
        transport=AioHttpTransport(connection_timeout=seconds / 2, read_timeout=seconds),
    ) as client:
        yield Exchange(client, policy)


def list_keys(client: StorageManagementClient, group: str, account: str) -> Awaitable[object]:
    """``POST …/listKeys?$expand=kerb``: Kerberos keys are in the list where there are any."""
    return client.storage_accounts.list_keys(group, account, expand="kerb")


def get_account(client: StorageManagementClient, group: str, account: str) -> Awaitable[object]:
    """``GET …/storageAccounts/{name}``."""
    return client.storage_accounts.get_properties(group, account)


def list_locks(client: StorageManagementClient, subscription_id: str, group: str, account: str) -> Awaitable[object]:
    """``GET …/providers/Microsoft.Authorization/locks``: those of the account and above it. The storage SDK has no call
    of its own for it ("Management Locks - List By Scope" on learn.microsoft.com)."""
    scope = "/".join(
        ("", "subscriptions", quote(subscription_id), "resourceGroups", quote(group), "providers/Microsoft.Storage")
    )
    path = f"{scope}/storageAccounts/{quote(account)}/providers/Microsoft.Authorization/locks"
    query = {"api-version": _LOCKS_VERSION, "$filter": "atScope()"}
    return client.send_request(HttpRequest("GET", path, params=query))


def regenerate_key(client: StorageManagementClient, group: str, account: str, key_name: str) -> Awaitable[object]:
    """``POST …/regenerateKey``."""
    return client.storage_accounts.regenerate_key(group, account, {"keyName": key_name})
