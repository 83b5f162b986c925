"""The front door: from an HTTP request to an operation, past the faults, through a transaction, into the journal.

request -> surface -> operation -> faults before -> handler + journal, one transaction -> faults after -> answer
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import format_datetime
from typing import Any, cast

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from azure_sandbox.accounts import StorageAccount
from azure_sandbox.clock import Clock
from azure_sandbox.clouds import SurfaceName, surface_for
from azure_sandbox.credential import Secret
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, Surface
from azure_sandbox.faults import MESSAGES, Fault, Faults, FaultSpec
from azure_sandbox.journal import CREATIONS, REGENERATIONS, Entry, Journal
from azure_sandbox.store import Store
from azure_sandbox.throttles import Throttles

_SLASHES = re.compile("/{2,}")
TRANSPORT = "azure_sandbox.transport"
"""Key of ``scope["extensions"]`` under which the server leaves the connection's transport."""


class Gateway:
    """The ASGI application behind the TLS server."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        directory: Directory,
        faults: Faults,
        journal: Journal,
        surfaces: Mapping[SurfaceName, Surface],
        data_plane: Callable[[Call], Awaitable[Answer]] | None = None,
    ) -> None:
        """``data_plane`` answers for the blob services, if it is not the surface itself that does."""
        self._store = store
        self._clock = clock
        self._directory = directory
        self._faults = faults
        self._journal = journal
        self._surfaces = surfaces
        self._data_plane = data_plane
        self._throttles = Throttles(directory)
        self._writing: set[str] = set()

    def only(self, name: SurfaceName) -> ASGIApp:
        """The same gateway, for a port that leads to one surface whatever the request says."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await self._serve(scope, receive, send, name)

        return application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        await self._serve(scope, receive, send, None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, fixed: SurfaceName | None) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the sandbox speaks HTTP, not {scope['type']}")
        request = Request(scope, receive)
        transport = cast(asyncio.Transport, scope["extensions"][TRANSPORT])
        path = _SLASHES.sub("/", scope["path"])
        host = request.headers.get("host", "").rsplit(":", 1)[0]
        now = self._clock.now()
        cloud, name = surface_for(host, path) if fixed is None else (None, fixed)
        entry = Entry(at=now.isoformat(), host=host, operation="unknown", method=request.method, path=path)
        call = Call(
            method=request.method,
            host=host,
            path=path,
            raw_path=scope["raw_path"].decode("latin-1"),
            raw_query=scope["query_string"].decode("latin-1"),
            cloud=cloud,
            query=dict(request.query_params),
            headers=request.headers,
            body=await request.body(),
            now=now,
            entry=entry,
        )
        surface = self._surfaces[name]
        matched, path_exists = _match(surface.operations, call)
        entry.operation = matched.name if matched else f"{name}.unknown"
        surface.identify(call)

        outcome = await self._suffer(self._faults.claimed(entry, "before"), call, surface, None)
        if outcome is None:
            call.now = self._clock.now()
            if name == "blob" and self._data_plane is not None:
                genuine = await self._data_plane(call)
            elif matched is None:
                genuine = surface.unknown(call, path_exists=path_exists)
            else:
                genuine = await self._handle(matched, call, surface)
            outcome = await self._suffer(self._faults.claimed(entry, "after"), call, surface, genuine) or genuine
        if isinstance(outcome, Answer):
            await self._send(outcome, call, transport, send)
        else:
            await self._cut(outcome, call, transport, send)
            while (await receive())["type"] != "http.disconnect":
                pass  # the server takes an application that returns before that for a broken one

    async def _handle(self, matched: Operation, call: Call, surface: Surface) -> Answer:
        """Run the handler, unless its caller is throttled or collides with another one at the same object."""
        verdict = self._throttles.admit(call, surface.name)
        if verdict.refusal is not None:
            made = surface.error(call, 429, *verdict.refusal)
        else:
            made = await self._alone(matched, call, surface)
        return replace(made, headers={**made.headers, **verdict.headers}) if verdict.headers else made

    async def _alone(self, matched: Operation, call: Call, surface: Surface) -> Answer:
        """Run a write while no other one to its object is inside."""
        target = call.target or call.user or call.account
        behaviour = self._directory.behaviour_of(target) if matched.writes and target else None
        if target is None or behaviour is None or not behaviour.write_seconds:
            return self._commit(matched, call)
        id_ = target.resource_id if isinstance(target, StorageAccount) else target.object_id
        if id_ in self._writing:
            if isinstance(target, StorageAccount):
                code, status = "StorageAccountOperationInProgress", 409
            else:
                code, status = "Directory_ConcurrencyViolation", behaviour.overlap_status
            return surface.error(call, status, code, MESSAGES[code])
        self._writing.add(id_)
        try:
            await asyncio.sleep(behaviour.write_seconds)
            return self._commit(matched, call)
        finally:
            self._writing.remove(id_)

    def _commit(self, matched: Operation, call: Call) -> Answer:
        """Run the handler in a transaction together with the journal's line about it."""
        try:
            with self._store.transaction():
                answer = matched.handler(call)
                if call.entry.committed:
                    self._journal.write(call.entry)
        except Refusal as refusal:
            return refusal.answer
        return answer

    async def _suffer(
        self, acting: Sequence[Fault], call: Call, surface: Surface, genuine: Answer | None
    ) -> Answer | _Cut | None:
        """Let faults act one after the other; None when none of them decides what is answered."""
        outcome: Answer | None = None
        for fault in acting:
            call.entry.fault = fault.id
            await fault.wait_inside()
            if fault.spec.drop:
                return _Cut()
            outcome = _spoiled(fault.spec, outcome or genuine, call, surface) or outcome
            if fault.spec.cut is not None and (outcome or genuine):
                return _Cut(answer=outcome or genuine, share=fault.spec.cut)
        return outcome

    async def _send(self, answer: Answer, call: Call, transport: asyncio.Transport, send: Send) -> None:
        """Write the journal, then the answer: who reads an answer finds it in the journal."""
        entry, secret, target = call.entry, call.handed_out, call.target
        gone = transport.is_closing()
        entry.status = 0 if gone else answer.status
        entry.error = answer.error_code or entry.error
        if entry.operation in CREATIONS | REGENERATIONS and entry.committed:
            entry.delivered = not gone and secret is not None
        else:
            entry.delivered = not gone
        with self._store.transaction():
            self._journal.write(entry)
            # After a reset the target is a ghost of the old directory, which must not come back.
            if (
                isinstance(secret, Secret)
                and target
                and entry.delivered
                and self._directory.find_any(target.object_id) is target
            ):
                current = target.find_secret(secret.key_id)
                if current is not None:
                    self._directory.replace_secret(target, replace(current, delivered=True))
        body = answer.encoded()
        await send(_start(answer, len(body), self._clock))
        await send({"type": "http.response.body", "body": body})

    async def _cut(self, cut: _Cut, call: Call, transport: asyncio.Transport, send: Send) -> None:
        """Write the journal and end the connection: at once, or inside the answer's body."""
        call.entry.status = 0
        self._journal.write(call.entry)
        if cut.answer is None:
            transport.abort()
            return
        body = cut.answer.encoded()
        await send(_start(cut.answer, len(body), self._clock))
        await send({"type": "http.response.body", "body": body[: int(len(body) * cut.share)], "more_body": True})
        transport.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """Where a connection is cut: before any answer, or after ``share`` (0..1) of an answer's body."""

    answer: Answer | None = None
    share: float = 0.0


def _spoiled(spec: FaultSpec, answer: Answer | None, call: Call, surface: Surface) -> Answer | None:
    """What a fault makes of the answer; None when it leaves it alone. A spoiled answer hands out nothing."""
    if spec.body is not None:
        call.handed_out = None
        headers = {"content-type": spec.content_type, **spec.headers}
        return Answer(status=spec.status or 200, body=spec.body.encode(), headers=headers)
    if spec.status is not None or spec.code is not None:
        call.handed_out = None
        made = surface.error(call, spec.status, spec.code, spec.message or MESSAGES.get(spec.code or ""))
        return replace(made, headers={**made.headers, **spec.headers})
    if answer is None or not (spec.without or spec.headers):
        return None
    body = answer.body
    if spec.without and isinstance(body, Mapping):
        body = {name: value for name, value in body.items() if name not in spec.without}
        call.handed_out = call.handed_out if {"secretText", "keys"} & set(body) else None
    return replace(answer, body=body, headers={**answer.headers, **spec.headers})


def _match(operations: Sequence[Operation], call: Call) -> tuple[Operation | None, bool]:
    """Find the operation for a method and path, and whether the path exists at all."""
    path = call.path.rstrip("/") or "/"
    path_exists = False
    for candidate in operations:
        match = candidate.pattern.fullmatch(path)
        if match is None:
            continue
        path_exists = True
        if candidate.method == call.method:
            call.params = match.groupdict()
            return candidate, True
    return None, path_exists


def _start(answer: Answer, length: int, clock: Clock) -> dict[str, Any]:
    """The head of an answer. Its Date is the sandbox's, by which callers measure their own clock's error."""
    headers: dict[str, str] = {
        "date": format_datetime(clock.now(), usegmt=True),
        "cache-control": "no-cache",
        "strict-transport-security": "max-age=31536000",
        **{name.lower(): value for name, value in answer.headers.items()},
    }
    if answer.status not in {204, 304}:
        # The answer to a HEAD may tell the length of a body that it doesn't have.
        headers["content-length"] = headers.get("content-length", str(length))
        headers.setdefault("content-type", "application/json; charset=utf-8")
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": answer.status, "headers": raw}
