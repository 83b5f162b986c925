"""Applications and their client secrets in Microsoft Graph: ``Directory`` over msgraph-sdk.

Each call logs in, sends one request on a fresh connection, and is over; nothing is remembered between calls. What a
write that failed has done is told in ``Unavailable.applied``: "no" when the request was not sent or was refused for
certain, else "unknown", and then only a list by stamp can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from azure_rotator.cloud import graph_faults, payloads, policies
from azure_rotator.cloud.answers import Answer
from azure_rotator.cloud.credentials import REQUEST_SECONDS
from azure_rotator.cloud.loop import LoopThread, shared
from azure_rotator.cloud.session import Session, done, read, run
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.ports import (
    Application,
    CredentialLoad,
    Identity,
    NewPassword,
    SecretPolicy,
    ServicePrincipal,
)

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

        async def work(session: Session) -> Application | RotatorError:
            attempt = session.attempt(f"application {app_id}", "read its client secrets")
            answer = await session.send(attempt, lambda client: wire.get_application(client, app_id))
            return read(attempt, answer, payloads.application)

        return self._run(acting, work)

    def owner_ids(self, acting: Identity, object_id: str) -> frozenset[str]:
        """Object ids of the application's owners, in lower case."""
        from azure_rotator.cloud import wire

        return self._owners(acting, _object(object_id), partial(wire.get_owners, object_id=object_id))

    def principal_owner_ids(self, acting: Identity, object_id: str) -> frozenset[str]:
        """Object ids of the service principal's owners, in lower case."""
        from azure_rotator.cloud import wire

        return self._owners(acting, _principal(object_id), partial(wire.get_principal_owners, object_id=object_id))

    def add_password(self, acting: Identity, object_id: str, display_name: str, end_at: datetime) -> NewPassword:
        """Mint a client secret; exactly one POST, whatever comes back."""
        from azure_rotator.cloud import wire

        ends = _utc(end_at)

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
                    return graph_faults.graph_refused(attempt, answer, graph_faults.TWO_SECRETS)
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
        return self._remove(
            acting, _object(object_id), key, lambda client: wire.remove_password(client, object_id, key)
        )

    def get_service_principal(self, acting: Identity, app_id: str) -> ServicePrincipal:
        """The application's service principal, as one front end of Graph sees it now."""
        from azure_rotator.cloud import wire

        async def work(session: Session) -> ServicePrincipal | RotatorError:
            attempt = session.attempt(f"service principal of application {app_id}", "read its client secrets")
            answer = await session.send(attempt, lambda client: wire.get_service_principal(client, app_id))
            return read(attempt, answer, payloads.service_principal)

        return self._run(acting, work)

    def add_principal_password(
        self, acting: Identity, object_id: str, display_name: str, end_at: datetime
    ) -> NewPassword:
        """Mint a client secret on a service principal; exactly one POST, whatever comes back."""
        from azure_rotator.cloud import wire

        ends = _utc(end_at)

        async def work(session: Session) -> NewPassword | RotatorError:
            attempt = session.attempt(_principal(object_id), "add a client secret", writes=True)
            answer = await session.send(
                attempt, lambda client: wire.add_principal_password(client, object_id, display_name, ends)
            )
            return read(attempt, answer, payloads.new_password)

        return self._run(acting, work)

    def remove_principal_password(self, acting: Identity, object_id: str, key_id: str) -> bool:
        """Remove one client secret from a service principal. As ``remove_password``."""
        from azure_rotator.cloud import wire

        key = UUID(key_id)
        return self._remove(
            acting, _principal(object_id), key, lambda client: wire.remove_principal_password(client, object_id, key)
        )

    def secret_policy(self, acting: Identity, object_id: str) -> SecretPolicy | None:
        """What app management policies say about the application: its own policy, else the tenant's."""
        from azure_rotator.cloud import wire

        async def work(session: Session) -> SecretPolicy | RotatorError | None:
            attempt = session.attempt(_object(object_id), "read the policies that apply to it")
            own = await session.send(attempt, lambda client: wire.get_application_policies(client, object_id))
            if _is_denied(own):
                return None
            policy = read(attempt, own, policies.application_policy)
            if policy is None:
                default = await session.send(attempt, wire.get_default_policy)
                if _is_denied(default):
                    return None
                policy = read(attempt, default, policies.tenant_policy)
            if isinstance(policy, RotatorError):
                return policy
            born = await session.send(attempt, lambda client: wire.get_creation(client, object_id))
            created_at = read(attempt, born, payloads.created_at)
            if isinstance(created_at, RotatorError):
                return created_at
            return policy.limits(created_at)

        return self._run(acting, work)

    def credential_load(self, acting: Identity, object_id: str) -> CredentialLoad:
        """How full the application is, as one front end of Graph sees it now."""
        from azure_rotator.cloud import wire

        async def work(session: Session) -> CredentialLoad | RotatorError:
            attempt = session.attempt(_object(object_id), "read its credentials")
            answer = await session.send(attempt, lambda client: wire.get_load(client, object_id))
            return read(attempt, answer, payloads.credential_load)

        return self._run(acting, work)

    def clock_skew(self, acting: Identity, app_id: str) -> timedelta | None:
        """From the Date of Graph's answer to a read of the application; a refusal tells the time as well."""
        from azure_rotator.cloud import wire

        async def work(session: Session) -> timedelta | RotatorError | None:
            attempt = session.attempt(f"application {app_id}", "read the time")
            answer = await session.send(attempt, lambda client: wire.get_application(client, app_id))
            return answer if isinstance(answer, RotatorError) else answer.clock_skew

        return self._run(acting, work)

    def _owners(self, acting: Identity, subject: str, build: Callable[..., RequestInformation]) -> frozenset[str]:
        async def work(session: Session) -> frozenset[str] | RotatorError:
            attempt = session.attempt(subject, "read its owners")
            found: frozenset[str] = frozenset()
            page: str | None = None
            for _ in range(_MAX_PAGES):
                answer = await session.send(attempt, partial(build, page=page))
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

    def _remove(
        self, acting: Identity, subject: str, key: UUID, build: Callable[[GraphServiceClient], RequestInformation]
    ) -> bool:
        async def work(session: Session) -> bool | RotatorError:
            attempt = session.attempt(subject, f"remove client secret {key}", writes=True)
            answer = await session.send(attempt, build)
            if isinstance(answer, Answer) and answer.status == 400 and answer.code == "Request_BadRequest":
                return False
            return done(attempt, answer)

        return self._run(acting, work)

    def _run(self, acting: Identity, work: Callable[[Session], Coroutine[Any, Any, T | RotatorError]]) -> T:
        return run(self._loop, acting, work, seconds=self._seconds, service="graph")


def _object(object_id: str) -> str:
    return f"application with object id {object_id}"


def _principal(object_id: str) -> str:
    return f"service principal with object id {object_id}"


def _utc(end_at: datetime) -> datetime:
    if end_at.tzinfo is None:
        raise ValueError("end_at needs a zone: Graph refuses an instant without an offset")
    return end_at.astimezone(UTC)


def _is_denied(answer: Answer | RotatorError) -> bool:
    # With a code of Graph's: a proxy's 403 says nothing about permissions.
    return isinstance(answer, Answer) and answer.status == 403 and answer.code is not None
