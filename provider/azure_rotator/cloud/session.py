"""One call of a port: a login, a request or a few, one limit of time. Errors of Azure are values in here.

    found = run(loop, acting, work, seconds=10, service="graph")    # on the caller's thread; raises the error

    async def work(session):                                        # on the loop's
        answer = await session.send(session.attempt("application 1234…", "read it"), build)
        return read(attempt, answer, payloads.application)

They are raised by ``run`` and not where they are made: outside any except block, without a context that could hold a
request. Nothing is remembered between calls but the cloud identity's credential.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from azure_rotator.cloud import faults, graph_faults
from azure_rotator.cloud.answers import Answer
from azure_rotator.cloud.credentials import Token, import_sdk, request_token
from azure_rotator.cloud.endpoints import Endpoints, endpoints_of
from azure_rotator.cloud.faults import Attempt
from azure_rotator.cloud.loop import Kept, LoopThread
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.ports import Identity
from azure_rotator.domain.secrettext import SecretText

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation
    from msgraph import GraphServiceClient

T = TypeVar("T")
Service = Literal["graph", "arm"]


def run(
    loop: LoopThread,
    acting: Identity,
    work: Callable[[Session], Coroutine[Any, Any, T | RotatorError]],
    *,
    seconds: float,
    service: Service,
) -> T:
    """Run a call on the loop; it ends within twice ``seconds``.

    Raises:
        RotatorError: what ``work`` returned as such.
    """
    endpoints = endpoints_of(acting.azure_cloud)
    import_sdk()
    found = loop.run(
        lambda kept: work(Session(kept=kept, acting=acting, endpoints=endpoints, seconds=seconds, service=service)),
        limit_seconds=2 * seconds,
    )
    if isinstance(found, RotatorError):
        raise found
    return found


@dataclass(slots=True, kw_only=True)
class Session:
    """One call: who acts, on what, and how long there is left."""

    kept: Kept
    acting: Identity
    endpoints: Endpoints
    seconds: float
    service: Service
    _token: Token | None = None
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + 2 * self.seconds

    @property
    def host(self) -> str:
        return self.endpoints.graph_host if self.service == "graph" else self.endpoints.arm_host

    @property
    def left(self) -> float:
        """Seconds that the next request may take; 0 when the call's time is up."""
        return max(0.0, min(self.seconds, self._until - time.monotonic()))

    def attempt(
        self,
        subject: str,
        doing: str,
        *,
        writes: bool = False,
        about: Literal["application", "user", "own password"] = "application",
    ) -> Attempt:
        return Attempt(who=self.acting.label, subject=subject, doing=doing, host=self.host, writes=writes, about=about)

    async def send(
        self, attempt: Attempt, build: Callable[[GraphServiceClient], RequestInformation]
    ) -> Answer | RotatorError:
        """Send one request to Graph."""
        return await self.ask(attempt, lambda token: self.send_as(token, attempt, build))

    async def ask(
        self, attempt: Attempt, request: Callable[[SecretText], Awaitable[Answer | RotatorError]]
    ) -> Answer | RotatorError:
        """Make one request. A kept token that is refused is renewed once: 401 comes before anything is done."""
        if self._token is None:
            token = await self._log_in("kept")
            if isinstance(token, RotatorError):
                return token
            self._token = token
        answer = await request(self._token.value)
        if isinstance(answer, Answer) and answer.status == 401 and self._token.kept:
            token = await self._log_in("renewed")
            if isinstance(token, RotatorError):
                return token
            self._token = token
            answer = await request(token.value)
        return answer

    async def send_as(
        self, token: SecretText, attempt: Attempt, build: Callable[[GraphServiceClient], RequestInformation]
    ) -> Answer | RotatorError:
        """Send one request to Graph with this very token."""
        from azure_rotator.cloud import wire

        seconds = self.left
        if not seconds:
            return faults.timed_out(attempt, 2 * self.seconds, applied="no")
        sent = False
        try:
            async with asyncio.timeout(seconds), wire.connect(self.kept, self.endpoints, token, seconds) as client:
                request = build(client)
                sent = True
                return await wire.send(client, request)
        except TimeoutError:
            return faults.timed_out(attempt, seconds, applied="unknown" if sent else "no")
        except Exception as error:  # noqa: BLE001 - nothing of the SDK's passes: its errors hold the token
            return faults.http_failed(attempt, error, sent=sent)

    async def _log_in(self, use: Literal["kept", "renewed"]) -> Token | RotatorError:
        scope = self.endpoints.graph_scope if self.service == "graph" else self.endpoints.arm_scope
        return await request_token(self.kept, self.acting, self.endpoints, scope=scope, seconds=self.left, use=use)


def read(attempt: Attempt, answer: Answer | RotatorError, parse: Callable[[Any], T]) -> T | RotatorError:
    """What a success of Graph holds; a refusal, or a success that does not hold it, as an error."""
    if isinstance(answer, RotatorError):
        return answer
    if not answer.ok:
        return graph_faults.graph_refused(attempt, answer)
    return content(attempt, answer, parse)


def done(attempt: Attempt, answer: Answer | RotatorError) -> bool | RotatorError:
    """That Graph did what it says nothing about: 204 and no other success, which a proxy's page with 200 would be."""
    if isinstance(answer, Answer) and answer.ok and answer.status != 204:
        return faults.unusable_success(attempt, answer, "Graph says 204 when it has done that")
    return read(attempt, answer, lambda _: True)


def content(attempt: Attempt, answer: Answer, parse: Callable[[Any], T]) -> T | RotatorError:
    """What a success holds, or that it does not hold what it must."""
    try:
        return parse(answer.body)
    except ValueError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - what is being read holds a secret, and so would its traceback
        problem = f"it cannot be read ({type(error).__name__})"
    return faults.unusable_success(attempt, answer, problem)
