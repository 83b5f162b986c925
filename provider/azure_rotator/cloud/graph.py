"""Applications and their client secrets in Microsoft Graph: ``Directory`` over msgraph-sdk.

Each call logs in, sends one request on a fresh connection, and is over; nothing is remembered between calls. What a
write that failed has done is told in ``Unavailable.applied``: "no" when the request was not sent or was refused for
certain, else "unknown", and then only a list by stamp can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from azure_rotator.cloud import faults, payloads
from azure_rotator.cloud.answers import Answer
from azure_rotator.cloud.credentials import REQUEST_SECONDS
from azure_rotator.cloud.loop import LoopThread, shared
from azure_rotator.cloud.session import Session, read, run
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.ports import Application, Identity, NewPassword

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

        async def work(session: Session) -> Application | RotatorError:
            attempt = session.attempt(f"application {app_id}", "read its client secrets")
            answer = await session.send(attempt, lambda client: wire.get_application(client, app_id))
            return read(attempt, answer, payloads.application)

        return self._run(acting, work)

    def owner_ids(self, acting: Identity, object_id: str) -> frozenset[str]:
        """Object ids of the application's owners, in lower case."""
        from azure_rotator.cloud import wire

        async def work(session: Session) -> frozenset[str] | RotatorError:
            attempt = session.attempt(_object(object_id), "read its owners")
            found: frozenset[str] = frozenset()
            page: str | None = None
            for _ in range(_MAX_PAGES):
                answer = await session.send(attempt, partial(wire.get_owners, object_id=object_id, page=page))
                ids = read(attempt, answer, payloads.object_ids)
                if isinstance(ids, RotatorError):
                    return ids
                found |= ids
                link = read(attempt, answer, payloads.next_link)
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

        async def work(session: Session) -> NewPassword | RotatorError:
            attempt = session.attempt(_object(object_id), "add a client secret", writes=True)
            answer = await session.send(
                attempt, lambda client: wire.add_password(client, object_id, display_name, ends)
            )
            if isinstance(answer, Answer) and answer.status == 400 and answer.code == "Request_BadRequest":
                # "Only two secrets" has no code of its own. Its facts are: whom the application is for, and how many
                # it has.
                seen = session.attempt(attempt.subject, "read its client secrets")
                room = await session.send(seen, lambda client: wire.get_room(client, object_id))
                secrets = read(seen, room, payloads.personal_audience_secrets)
                if isinstance(secrets, int) and secrets >= 2:
                    return faults.graph_refused(attempt, answer, faults.TWO_SECRETS)
            return read(attempt, answer, payloads.new_password)

        return self._run(acting, work)

    def remove_password(self, acting: Identity, object_id: str, key_id: str) -> bool:
        """Remove one client secret.

        Returns:
            False: Graph says that it has none of this keyId. That has no code of its own either; it is 400
            Request_BadRequest, and a request as plain as this one can hardly be bad in another way.
        """
        from azure_rotator.cloud import wire

        key = UUID(key_id)

        async def work(session: Session) -> bool | RotatorError:
            attempt = session.attempt(_object(object_id), f"remove client secret {key_id}", writes=True)
            answer = await session.send(attempt, lambda client: wire.remove_password(client, object_id, key))
            if isinstance(answer, Answer) and answer.status == 400 and answer.code == "Request_BadRequest":
                return False
            return read(attempt, answer, lambda _: True)

        return self._run(acting, work)

    def _run(self, acting: Identity, work: Callable[[Session], Coroutine[Any, Any, T | RotatorError]]) -> T:
        return run(self._loop, acting, work, seconds=self._seconds, service="graph")


def _object(object_id: str) -> str:
    return f"application with object id {object_id}"
