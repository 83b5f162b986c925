"""The front door: from an HTTP request to an operation, past the faults, through a transaction, into the journal.

request -> surface -> operation -> faults before -> handler + journal, one transaction -> faults after -> answer
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import format_datetime
from typing import Any, cast

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from azure_sandbox.clock import Clock
from azure_sandbox.clouds import SurfaceName, surface_for
from azure_sandbox.directory import Directory, Principal
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, Surface
from azure_sandbox.faults import MESSAGES, Fault, Faults
from azure_sandbox.journal import Entry, Journal
from azure_sandbox.store import Store

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
    ) -> None:
        self._store = store
        self._clock = clock
        self._directory = directory
        self._faults = faults
        self._journal = journal
        self._surfaces = surfaces
        self._writing: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            raise RuntimeError(f"the sandbox speaks HTTP, not {scope['type']}")
        request = Request(scope, receive)
        transport = cast(asyncio.Transport, scope["extensions"][TRANSPORT])
        path = _SLASHES.sub("/", scope["path"])
        host = request.headers.get("host", "").rsplit(":", 1)[0]
        found = surface_for(host, path)
        now = self._clock.now()
        entry = Entry(at=now.isoformat(), host=host, operation="unknown", method=request.method, path=path)
        if found is None:
            entry.error = "unknown host"
            answer = Answer(status=421, body=b"this host is not emulated\n", headers={"content-type": "text/plain"})
            await self._send(answer, entry, transport, send)
            return
        cloud, name = found
        call = Call(
            method=request.method,
            host=host,
            path=path,
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

        answer_or_drop = await self._suffer(self._faults.claimed(entry, "before"), call, surface, None)
        if answer_or_drop is None:
            call.now = self._clock.now()
            if matched is None:
                answer_or_drop = surface.unknown(call, path_exists=path_exists)
            else:
                answer_or_drop = await self._handle(matched, call, surface)
            answer_or_drop = await self._suffer(
                self._faults.claimed(entry, "after"), call, surface, cast(Answer, answer_or_drop)
            )
        await self._finish(answer_or_drop, call, transport, send)

    async def _handle(self, matched: Operation, call: Call, surface: Surface) -> Answer:
        """Run the handler in a transaction together with the journal's line about it."""
        target = call.target
        behaviour = self._directory.behaviour_of(target) if matched.writes and target else None
        if target is None or behaviour is None or not behaviour.write_seconds:
            return self._commit(matched, call)
        if self._writing.get(target.object_id):
            code = "Directory_ConcurrencyViolation"
            return surface.error(call, behaviour.overlap_status, code, MESSAGES[code])
        self._writing[target.object_id] = 1
        try:
            await asyncio.sleep(behaviour.write_seconds)
            return self._commit(matched, call)
        finally:
            del self._writing[target.object_id]

    def _commit(self, matched: Operation, call: Call) -> Answer:
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
        """Let faults act. None: go on. Otherwise the answer to give, or where to cut the connection."""
        outcome: Answer | _Cut | None = genuine
        for fault in acting:
            call.entry.fault = fault.id
            await fault.wait_inside()
            spec = fault.spec
            if spec.drop:
                return _Cut(b"")
            if spec.body is not None:
                headers = {"content-type": spec.content_type, **spec.headers}
                outcome = Answer(status=spec.status or 200, body=spec.body.encode(), headers=headers)
            elif spec.status is not None or spec.code is not None:
                message = spec.message or MESSAGES.get(spec.code or "")
                made = surface.error(call, spec.status, spec.code, message)
                outcome = replace(made, headers={**made.headers, **spec.headers})
            elif spec.without and isinstance(outcome, Answer) and isinstance(outcome.body, Mapping):
                kept = {name: value for name, value in outcome.body.items() if name not in spec.without}
                outcome = replace(outcome, body=kept)
                call.handed_out = call.handed_out if "secretText" in kept else None
            elif spec.headers and isinstance(outcome, Answer):
                outcome = replace(outcome, headers={**outcome.headers, **spec.headers})
            if spec.ends_request:
                call.handed_out = None
            if spec.cut is not None and isinstance(outcome, Answer):
                call.handed_out = None
                return _Cut(outcome.encoded(), answer=outcome, share=spec.cut)
        return outcome

    async def _finish(
        self, outcome: Answer | _Cut | None, call: Call, transport: asyncio.Transport, send: Send
    ) -> None:
        if isinstance(outcome, Answer):
            await self._send(outcome, call.entry, transport, send, target=call.target, call=call)
            return
        call.entry.status = 0
        if isinstance(outcome, _Cut) and outcome.answer is not None:
            body = outcome.body[: int(len(outcome.body) * outcome.share)]
            await _start(send, outcome.answer, len(outcome.body), self._clock)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        self._journal.write(call.entry)
        if isinstance(outcome, _Cut) and outcome.answer is not None:
            transport.close()
        else:
            transport.abort()

    async def _send(
        self,
        answer: Answer,
        entry: Entry,
        transport: asyncio.Transport,
        send: Send,
        *,
        target: Principal | None = None,
        call: Call | None = None,
    ) -> None:
        """Write the journal, then the answer: who reads an answer finds it in the journal."""
        gone = transport.is_closing()
        entry.status = 0 if gone else answer.status
        entry.error = answer.error_code or entry.error
        entry.delivered = not gone and (
            entry.operation not in _CARRIES_VALUE or _handed_out(call) or not entry.committed
        )
        with self._store.transaction():
            self._journal.write(entry)
            if call is not None and call.handed_out is not None and target is not None and not gone:
                current = target.find_secret(call.handed_out.key_id)
                if current is not None:
                    self._directory.replace_secret(target, replace(current, delivered=True))
        body = answer.encoded()
        await _start(send, answer, len(body), self._clock)
        await send({"type": "http.response.body", "body": body})


_CARRIES_VALUE = frozenset({"graph.addPassword", "graph.addServicePrincipalPassword"})


def _handed_out(call: Call | None) -> bool:
    return call is not None and call.handed_out is not None


class _Cut:
    """Where a connection is cut: at once, or inside an answer's body."""

    def __init__(self, body: bytes, *, answer: Answer | None = None, share: float = 0.0) -> None:
        self.body = body
        self.answer = answer
        self.share = share


def _match(operations: Sequence[Operation], call: Call) -> tuple[Operation | None, bool]:
    """Find the operation for a method and path, and whether the path exists at all; a HEAD is no GET here."""
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


async def _start(send: Send, answer: Answer, length: int, clock: Clock) -> None:
    headers: dict[str, str] = {
        "date": format_datetime(clock.now(), usegmt=True),
        "cache-control": "no-cache",
        "strict-transport-security": "max-age=31536000",
        **{name.lower(): value for name, value in answer.headers.items()},
    }
    if answer.status not in {204, 304}:
        headers["content-length"] = str(length)
        headers.setdefault("content-type", "application/json; charset=utf-8")
    raw: list[tuple[bytes, bytes]] = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    message: dict[str, Any] = {"type": "http.response.start", "status": answer.status, "headers": raw}
    await send(message)
