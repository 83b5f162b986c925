"""Applications and their client secrets in Microsoft Graph: ``Directory`` over msgraph-sdk.

Each call logs in, sends one request on a fresh connection, and is over; nothing is remembered between calls. What a
write that failed has done is told in ``Unavailable.applied``: "no" when the request was not sent or was refused for
certain, else "unknown", and then only a list by stamp can tell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from uuid import UUID

from azure_rotator.cloud import faults, payloads
from azure_rotator.cloud.answers import Answer
from azure_rotator.cloud.credentials import REQUEST_SECONDS, Token, import_sdk, request_token
from azure_rotator.cloud.endpoints import Endpoints, endpoints_of
from azure_rotator.cloud.faults import Attempt
from azure_rotator.cloud.loop import Kept, LoopThread, shared
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.ports import Application, Identity, NewPassword

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation
    from msgraph import GraphServiceClient

T = TypeVar("T")

_MAX_PAGES: Final = 20


class GraphDirectory:
    """``Directory`` over msgraph-sdk.

    Args:
        request_seconds: The limit of one request to Azure. A call is a login and a request, so it ends within twice
            this, which must stay below the lease: a write in flight cannot be fenced.
    """

    def __init__(self, *, request_seconds: float = REQUEST_SECONDS, loop: LoopThread = shared) -> None:
        self._seconds = request_seconds
        self._loop = loop

    @property
    def call_seconds(self) -> float:
        """The longest that a call may take, for comparison with the lease."""
        return 2 * self._seconds

    def get_application(self, acting: Identity, app_id: str) -> Application:
        """The application with its client secrets, as one front end of Graph sees it now."""
        from azure_rotator.cloud import wire

        async def work(session: _Session) -> Application | RotatorError:
            attempt = session.attempt(f"application {app_id}", "read its client secrets")
            answer = await session.send(attempt, lambda client: wire.get_application(client, app_id))
            return _read(attempt, answer, payloads.application)

        return self._run(acting, work)

    def owner_ids(self, acting: Identity, object_id: str) -> frozenset[str]:
        """Object ids of the application's owners, in lower case."""
        from azure_rotator.cloud import wire

        async def work(session: _Session) -> frozenset[str] | RotatorError:
            attempt = session.attempt(_object(object_id), "read its owners")
            found: frozenset[str] = frozenset()
            page: str | None = None
            for _ in range(_MAX_PAGES):
                answer = await session.send(attempt, partial(wire.get_owners, object_id=object_id, page=page))
                ids = _read(attempt, answer, payloads.object_ids)
                if isinstance(ids, RotatorError):
                    return ids
                found |= ids
                link = _read(attempt, answer, payloads.next_link)
                if isinstance(link, RotatorError):
                    return link
                if link is None:
                    break
                page = link
            return found

        return self._run(acting, work)

    def add_password(self, acting: Identity, object_id: str, display_name: str, end_at: datetime) -> NewPassword:
        """Mint a client secret; exactly one POST, whatever comes back."""
        from azure_rotator.cloud import wire

        if end_at.tzinfo is None:
            raise ValueError("end_at needs a zone: Graph refuses an instant without an offset")
        ends = end_at.astimezone(UTC)

        async def work(session: _Session) -> NewPassword | RotatorError:
            attempt = session.attempt(_object(object_id), "add a client secret", writes=True)
            answer = await session.send(
                attempt, lambda client: wire.add_password(client, object_id, display_name, ends)
            )
            if isinstance(answer, Answer) and answer.status == 400 and answer.code == "Request_BadRequest":
                # "Only two secrets" has no code of its own. Its facts are: whom the application is for, and how many
                # it has.
                seen = session.attempt(attempt.subject, "read its client secrets")
                room = await session.send(seen, lambda client: wire.get_room(client, object_id))
                secrets = _read(seen, room, payloads.personal_audience_secrets)
                if isinstance(secrets, int) and secrets >= 2:
                    return faults.graph_refused(attempt, answer, faults.TWO_SECRETS)
            return _read(attempt, answer, payloads.new_password)

        return self._run(acting, work)

    def remove_password(self, acting: Identity, object_id: str, key_id: str) -> bool:
        """Remove one client secret.

        Returns:
            False: Graph says that it has none of this keyId. That has no code of its own either; it is 400
            Request_BadRequest, and a request as plain as this one can hardly be bad in another way.
        """
        from azure_rotator.cloud import wire

        key = UUID(key_id)

        async def work(session: _Session) -> bool | RotatorError:
            attempt = session.attempt(_object(object_id), f"remove client secret {key_id}", writes=True)
            answer = await session.send(attempt, lambda client: wire.remove_password(client, object_id, key))
            if isinstance(answer, Answer) and answer.status == 400 and answer.code == "Request_BadRequest":
                return False
            return _read(attempt, answer, lambda _: True)

        return self._run(acting, work)

    def _run(self, acting: Identity, work: Callable[[_Session], Coroutine[Any, Any, T | RotatorError]]) -> T:
        endpoints = endpoints_of(acting.azure_cloud)
        import_sdk()
        found = self._loop.run(
            lambda kept: work(_Session(kept=kept, acting=acting, endpoints=endpoints, seconds=self._seconds)),
            limit_seconds=self.call_seconds,
        )
        # Raised here, not where it was made: outside any except block, it has no context that could hold a request.
        if isinstance(found, RotatorError):
            raise found
        return found


@dataclass(slots=True, kw_only=True)
class _Session:
    """One call: who acts, and how long there is left. The errors of Azure are values in here, see ``_run``."""

    kept: Kept
    acting: Identity
    endpoints: Endpoints
    seconds: float
    _token: Token | None = None
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + 2 * self.seconds

    def attempt(self, subject: str, doing: str, *, writes: bool = False) -> Attempt:
        return Attempt(
            who=self.acting.label, subject=subject, doing=doing, host=self.endpoints.graph_host, writes=writes
        )

    async def send(
        self, attempt: Attempt, build: Callable[[GraphServiceClient], RequestInformation]
    ) -> Answer | RotatorError:
        """Send one request. A kept token that Graph refuses is renewed once: 401 comes before anything is done."""
        if self._token is None:
            token = await self._log_in("kept")
            if isinstance(token, RotatorError):
                return token
            self._token = token
        answer = await self._send(attempt, build, self._token)
        if isinstance(answer, Answer) and answer.status == 401 and self._token.kept:
            token = await self._log_in("renewed")
            if isinstance(token, RotatorError):
                return token
            self._token = token
            answer = await self._send(attempt, build, token)
        return answer

    async def _log_in(self, use: Literal["kept", "renewed"]) -> Token | RotatorError:
        return await request_token(self.kept, self.acting, self.endpoints, seconds=self._left(), use=use)

    async def _send(
        self, attempt: Attempt, build: Callable[[GraphServiceClient], RequestInformation], token: Token
    ) -> Answer | RotatorError:
        from azure_rotator.cloud import wire

        seconds = self._left()
        if not seconds:
            return faults.timed_out(attempt, 2 * self.seconds, applied="no")
        sent = False
        try:
            async with (
                asyncio.timeout(seconds),
                wire.connect(self.kept, self.endpoints, token.value, seconds) as client,
            ):
                request = build(client)
                sent = True
                return await wire.send(client, request)
        except TimeoutError:
            return faults.timed_out(attempt, seconds, applied="unknown" if sent else "no")
        except Exception as error:  # noqa: BLE001 - nothing of the SDK's passes: its errors hold the token
            return faults.graph_failed(attempt, error, sent=sent)

    def _left(self) -> float:
        return max(0.0, min(self.seconds, self._until - time.monotonic()))


def _object(object_id: str) -> str:
    return f"application with object id {object_id}"


def _read(attempt: Attempt, answer: Answer | RotatorError, parse: Callable[[Any], T]) -> T | RotatorError:
    """What a success holds; a refusal, or a success that does not hold it, as an error."""
    if isinstance(answer, RotatorError):
        return answer
    if not answer.ok:
        return faults.graph_refused(attempt, answer)
    try:
        return parse(answer.body)
    except ValueError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - what is being read holds a secret, and so would its traceback
        problem = f"it cannot be read ({type(error).__name__})"
    return faults.unusable_success(attempt, answer, problem)
