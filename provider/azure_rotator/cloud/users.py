"""Users' passwords in Microsoft Graph and at the login host: ``Users`` over msgraph-sdk.

There is no read-back of a password and no version of it: what a write that failed has done is told in
``Unavailable.applied``, and where that is "unknown", only a sign-in can tell, or setting the same once more.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeGuard, TypeVar

from azure_rotator.cloud import faults, graph_faults, payloads
from azure_rotator.cloud.answers import Answer
from azure_rotator.cloud.credentials import REQUEST_SECONDS
from azure_rotator.cloud.loop import LoopThread, shared
from azure_rotator.cloud.session import Session, done, read, run
from azure_rotator.cloud.sign_in import PROOF_SCOPE, Demand, federated, sign_in
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.ports import Identity, SignIn, User
from azure_rotator.domain.secrettext import SecretText

T = TypeVar("T")

_MAX_PAGES: Final = 20


class EntraUsers:
    """``Users`` over msgraph-sdk, and the password grant.

    Args:
        request_seconds: The limit of one request to Azure. A call ends within twice this, which must stay below the
            lease: a write in flight cannot be fenced.
    """

    def __init__(self, *, request_seconds: float = REQUEST_SECONDS, loop: LoopThread = shared) -> None:
        self._seconds = request_seconds
        self._loop = loop

    @property
    def call_seconds(self) -> float:
        """The longest that a call may take, for comparison with the lease."""
        return 2 * self._seconds

    def get_user(self, acting: Identity, username: str) -> User:
        """The user as one front end of Graph sees him now.

        ``User-PasswordProfile.ReadWrite.All``, the one permission that setting a password takes, reads nothing of a
        user: where Graph denies a part, that part is None, be it all of it.
        """

        async def work(session: Session) -> User | RotatorError:
            return await _read_user(session, username)

        return self._run(acting, work)

    def is_federated(self, acting: Identity, username: str) -> bool:
        """From the login host's own answer about the user's domain, which nobody needs a permission for."""
        from azure_rotator.cloud import connections  # noqa: F401 - on this thread: the loop serves others meanwhile

        async def work(session: Session) -> bool | RotatorError:
            return await federated(session.kept, acting, session.endpoints, username, seconds=self._seconds)

        return self._run(acting, work)

    def set_password(self, acting: Identity, username: str, password: SecretText) -> None:
        """Set it; exactly one PATCH, whatever comes back.

        A password that Entra's rules refuse has no code of its own: it is 400 Request_BadRequest, and nothing but the
        password was sent that could be bad. A user who is mastered on premises gets the same answer; he is told apart
        by his own record, where that may be read, since no other password would do for him.
        """
        from azure_rotator.cloud import wire

        async def work(session: Session) -> bool | RotatorError:
            attempt = session.attempt(_named(username), "set its password", writes=True, about="user")
            answer = await session.send(attempt, lambda client: wire.set_password(client, username, password))
            if _is_bad_request(answer):
                user = await _read_user(session, username, with_roles=False)
                is_synchronised = isinstance(user, User) and bool(user.synchronised)
                return faults.told(
                    attempt, answer, graph_faults.SYNCHRONISED if is_synchronised else graph_faults.PASSWORD_REFUSED
                )
            return done(attempt, answer)

        self._run(acting, work)

    def change_password(self, client: Identity, username: str, present: SecretText, password: SecretText) -> None:
        """Change the user's own password: a sign-in, then exactly one POST with the token that it brought.

        The present password has just been accepted, so that what Request_BadRequest calls bad is the new one.
        """
        from azure_rotator.cloud import wire

        async def work(session: Session) -> bool | RotatorError:
            admission = await sign_in(
                session.kept,
                client,
                session.endpoints,
                username,
                present,
                scope=session.endpoints.graph_scope,
                seconds=session.left,
            )
            if isinstance(admission, RotatorError):
                return admission
            if isinstance(admission, Demand):
                return admission.error
            attempt = session.attempt(_named(username), "change its password", writes=True, about="own password")
            answer = await session.send_as(
                admission, attempt, lambda graph: wire.change_password(graph, present, password)
            )
            if _is_bad_request(answer):
                return faults.told(attempt, answer, graph_faults.PASSWORD_REFUSED)
            return done(attempt, answer)

        self._run(client, work)

    def sign_in(self, client: Identity, username: str, password: SecretText) -> SignIn:
        """One sign-in on a fresh connection, and no other request: a try too many locks the account."""
        from azure_rotator.cloud import connections  # noqa: F401 - on this thread: the loop serves others meanwhile

        async def work(session: Session) -> SignIn | RotatorError:
            admission = await sign_in(
                session.kept,
                client,
                session.endpoints,
                username,
                password,
                scope=PROOF_SCOPE,
                seconds=self._seconds,
            )
            if isinstance(admission, RotatorError):
                return admission
            return SignIn.DEMANDED_MORE if isinstance(admission, Demand) else SignIn.ACCEPTED

        return self._run(client, work)

    def _run(self, acting: Identity, work: Callable[[Session], Coroutine[Any, Any, T | RotatorError]]) -> T:
        return run(self._loop, acting, work, seconds=self._seconds, service="graph")


async def _read_user(session: Session, username: str, *, with_roles: bool = True) -> User | RotatorError:
    from azure_rotator.cloud import wire

    attempt = session.attempt(_named(username), "read it", about="user")
    answer = await session.send(attempt, lambda client: wire.get_user(client, username))
    if _is_denied(answer):
        return User(object_id=None, username=username, synchronised=None, roles=None)
    user = read(attempt, answer, payloads.user)
    if isinstance(user, RotatorError) or not with_roles:
        return user
    roles: tuple[str, ...] = ()
    page: str | None = None
    for _ in range(_MAX_PAGES):
        answer = await session.send(attempt, partial(wire.get_member_of, username=username, page=page))
        if _is_denied(answer):
            return user
        found = read(attempt, answer, payloads.directory_roles)
        if isinstance(found, RotatorError):
            return found
        roles += found
        link = read(attempt, answer, payloads.next_link)
        if isinstance(link, RotatorError):
            return link
        if link is None:
            break
        page = link
    return replace(user, roles=roles)


def _is_bad_request(answer: Answer | RotatorError) -> TypeGuard[Answer]:
    return isinstance(answer, Answer) and answer.status == 400 and answer.code == "Request_BadRequest"


def _is_denied(answer: Answer | RotatorError) -> bool:
    # With a code of Graph's: a proxy's 403 says nothing about permissions.
    return isinstance(answer, Answer) and answer.status == 403 and answer.code is not None


def _named(username: str) -> str:
    return f"user {username}"
