"""One request and its answer, as the surfaces (login, Graph, ARM) see them, and the table of operations."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl

from azure_sandbox.accounts import StorageAccount, StorageKey
from azure_sandbox.clouds import Cloud
from azure_sandbox.credential import Secret
from azure_sandbox.journal import Entry
from azure_sandbox.objects import Principal
from azure_sandbox.people import User
from azure_sandbox.tokens import Caller


@dataclass(slots=True, kw_only=True)
class Call:
    """A request inside the sandbox.

    Attributes:
        path: decoded, with doubled slashes collapsed.
        raw_path: as it was sent, as is ``raw_query``.
        cloud: the cloud whose host was called; None on a loopback name.
        query: the query's parameters, decoded; the last of equal names wins.
        headers: by lower-case name.
        params: what the operation's path pattern found.
        entry: the journal's line about it, filled in on the way.
        target: the application or service principal that it is about, when known.
        user: the user that it is about, when known.
        account: the storage account that it is about, when known.
        caller: whom its token speaks for, once checked.
        handed_out: the secret or storage key that was just made and whose value the answer carries.
    """

    method: str
    host: str
    path: str
    cloud: Cloud | None
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    now: datetime
    entry: Entry
    params: Mapping[str, str] = field(default_factory=dict)
    target: Principal | None = None
    user: User | None = None
    account: StorageAccount | None = None
    caller: Caller | None = None
    handed_out: Secret | StorageKey | None = None
    raw_path: str = ""
    raw_query: str = ""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def client_request_id(self) -> str:
        """The caller's own request id, or the request's."""
        return self.headers.get("client-request-id") or self.headers.get("x-ms-client-request-id") or self.request_id

    def form(self) -> dict[str, str]:
        """The body as a form; empty when it is none."""
        if "application/x-www-form-urlencoded" not in self.headers.get("content-type", ""):
            return {}
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; an absent body is ``{}``.

        Raises:
            ValueError: it is something else.
        """
        if not self.body.strip():
            return {}
        try:
            value = json.loads(self.body)
        except (UnicodeDecodeError, RecursionError) as error:
            raise ValueError("not JSON") from error
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer: ``body`` is encoded as JSON unless it is bytes; None sends no body."""

    status: int
    body: Mapping[str, Any] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    error_code: str | None = None
    """The error's code, for the journal."""

    def encoded(self) -> bytes:
        """The body's bytes."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body, separators=(",", ":")).encode()


class Refusal(Exception):
    """Raised by a handler to answer with an error; the transaction is rolled back."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error_code)
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A named kind of request. ``handler`` runs in one transaction and must not wait for anything."""

    name: str
    method: str
    pattern: re.Pattern[str]
    handler: Callable[[Call], Answer]
    writes: bool = False


def operation(
    name: str, method: str, path: str, handler: Callable[[Call], Answer], *, writes: bool = False
) -> Operation:
    """Describe an operation. In ``path``, ``{name}`` stands for one segment or quoted key; literals have any case."""
    parts = re.split(r"\{(\w+)\}", path)
    pattern = "".join(f"(?P<{part}>[^/']+)" if number % 2 else re.escape(part) for number, part in enumerate(parts))
    return Operation(
        name=name, method=method, pattern=re.compile(pattern, re.IGNORECASE), handler=handler, writes=writes
    )


class Surface(Protocol):
    """One of the emulated services."""

    name: str
    operations: tuple[Operation, ...]

    def identify(self, call: Call) -> None:
        """Note in ``call`` whom and what the request is about, as far as it can be told; never refuses."""

    def error(self, call: Call, status: int | None, code: str | None, message: str | None) -> Answer:
        """An error answer in the service's own shape; missing parts take its defaults."""

    def unknown(self, call: Call, *, path_exists: bool) -> Answer:
        """The answer to a path that it doesn't have, or a method that the path doesn't have."""
