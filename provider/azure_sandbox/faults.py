"""Faults: what goes wrong, for which requests, before or after the commit, how often.

A fault is a *match*, a *phase* and an *effect*:

    {"operation": "graph.addPassword", "app": "<appId>", "when": "after", "status": 504, "times": 2}

reads: the next two addPassword calls on that application do their work and are then answered 504. Effects of one
fault happen in this order: hold, delay, then the outcome (drop, status or body). A fault without an outcome lets the
request go on, so that a hold or a delay alone only slows it down, and further faults may still match.

Names of ready-made faults are in :data:`PRESETS`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from azure_sandbox.journal import Entry

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "throttled": {
        "status": 429,
        "code": "TooManyRequests",
        "message": "Too many requests from Identifier:sandbox under category:aadgraph.app.tenant_large."
        " Please try again later.",
        "headers": {"Retry-After": "1"},
    },
    "throttled-without-retry-after": {"status": 429, "code": "TooManyRequests", "message": "Too many requests."},
    "concurrency-409": {"status": 409, "code": "Directory_ConcurrencyViolation"},
    "concurrency-503": {"status": 503, "code": "Directory_ConcurrencyViolation"},
    "concurrency-400": {"status": 400, "code": "Directory_ConcurrencyViolation"},
    "internal-500": {"status": 500, "code": "InternalServerError", "message": "Internal Server Error"},
    "unavailable-503": {"status": 503, "code": "ServiceUnavailable", "message": "Service is temporarily unavailable."},
    "gateway-timeout-504": {"status": 504, "code": "UnknownError", "message": "Gateway Timeout"},
    "object-full": {"status": 403, "code": "Directory_ResourceSizeExceeded"},
    "policy-lifetime": {"status": 400, "code": "CredentialInvalidLifetimeAsPerAppPolicy"},
    "policy-addition": {"status": 400, "code": "CredentialTypeNotAllowedAsPerAppPolicy"},
    "denied": {"status": 403, "code": "Authorization_RequestDenied"},
    "locked": {"status": 409, "code": "ScopeLocked"},
    "key-refused": {"status": 403, "code": "AuthenticationFailed"},
    "gone": {"status": 404, "code": "Request_ResourceNotFound"},
    "password-refused": {
        "status": 400,
        "code": "Request_BadRequest",
        "message": "The specified password does not comply with password complexity requirements. Please provide a"
        " different password.",
    },
    "wrong-password": {"code": "AADSTS50126"},
    "mfa": {"code": "AADSTS50076"},
    "conditional-access": {"code": "AADSTS53003"},
    "wrong-secret": {"code": "AADSTS7000215"},
    "unknown-app": {"code": "AADSTS700016"},
    "dropped": {"drop": True},
    "html-502": {
        "status": 502,
        "body": "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>",
        "content_type": "text/html",
    },
    "html-200": {"status": 200, "body": "<html><body>Welcome to the proxy</body></html>", "content_type": "text/html"},
    "truncated-json": {"when": "after", "cut": 0.5},
    "no-secret-text": {"when": "after", "without": ["secretText"]},
    "held": {"hold": True},
}
"""Ready-made faults by name; whatever a caller says besides overrides them."""

MESSAGES: Mapping[str, str] = {
    "Directory_ConcurrencyViolation": "Error due to concurrent requests being made to the tenant."
    " Please wait briefly and retry.",
    "Directory_ResourceSizeExceeded": "The size of the object has exceeded its limit. Please reduce the number of"
    " values and retry your request.",
    "CredentialInvalidLifetimeAsPerAppPolicy": "Credential lifetime exceeds the max value allowed as per assigned"
    " policy '00000000-0000-0000-0000-000000000000'.",
    "CredentialTypeNotAllowedAsPerAppPolicy": "Credential type not allowed as per assigned policy"
    " '00000000-0000-0000-0000-000000000000'.",
    "Authorization_RequestDenied": "Insufficient privileges to complete the operation.",
    "StorageAccountOperationInProgress": "An operation is currently performing on this storage account that requires"
    " exclusive access.",
    "ScopeLocked": "The scope cannot perform write operation because following scope(s) are locked. Please remove the"
    " lock and try again.",
    "AuthenticationFailed": "Server failed to authenticate the request. Make sure the value of Authorization header is"
    " formed correctly including the signature.",
    "Request_ResourceNotFound": "Resource does not exist or one of its queried reference-property objects are not"
    " present.",
}
"""Azure's own texts of known error codes; a fault that gives a code needs no message."""


_HANG_UP_SECONDS = 0.01

_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("operation", "method", "path", "host", "app", "principal", "tenant", "when"), (str,)),
    **dict.fromkeys(("account", "user"), (str,)),
    **dict.fromkeys(("code", "message", "body", "content_type"), (str,)),
    **dict.fromkeys(("times", "skip", "status"), (int,)),
    **dict.fromkeys(("delay_seconds", "cut"), (int, float)),
    **dict.fromkeys(("hold", "drop"), (bool,)),
    "headers": (dict,),
    "without": (tuple,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """What a fault matches and does.

    Attributes:
        operation: operation name or a glob of them (``graph.*``); ``*`` is every request.
        method: HTTP method, or None for any.
        path: glob over the path, or None for any.
        host: glob over the host name, or None for any.
        app: appId or object id of the application (or its service principal) that the request is about; for logins
            the client_id. None for any.
        account: name of the storage account that the request is about, or None for any.
        user: user principal name or object id, as the request writes it, or None for any.
        principal: appId of the caller, or None for any.
        tenant: tenant id, or None for any.
        when: ``before`` the request is looked at, or ``after`` what it did was committed. An ``after`` fault meets
            only requests that reached their handler; refused ones count too.
        times: how many requests it meets; None for all.
        skip: how many matching requests pass first.
        hold: the request waits inside until the fault is released.
        delay_seconds: wall seconds it then waits.
        drop: the connection is cut without an answer.
        status: answer with this status; alone, with an error body of its own.
        code: error code of that body: a Graph or ARM code, or ``AADSTS...`` for logins (which knows its own status).
        message: its text; without it the code's known text.
        headers: headers of the answer, added to the usual ones.
        body: a raw body instead of an error body.
        content_type: the raw body's type.
        without: names to take out of the genuine JSON answer (``after`` only).
        cut: send this share (0..1) of the genuine or faulty body, then cut the connection.
    """

    operation: str = "*"
    method: str | None = None
    path: str | None = None
    host: str | None = None
    app: str | None = None
    account: str | None = None
    user: str | None = None
    principal: str | None = None
    tenant: str | None = None
    when: str = "before"
    times: int | None = 1
    skip: int = 0
    hold: bool = False
    delay_seconds: float = 0.0
    drop: bool = False
    status: int | None = None
    code: str | None = None
    message: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    content_type: str = "application/json"
    without: tuple[str, ...] = ()
    cut: float | None = None

    def __post_init__(self) -> None:
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
                raise ValueError(f"{name} takes {' or '.join(kind.__name__ for kind in kinds)}, not {value!r}")
        if self.when not in {"before", "after"}:
            raise ValueError(f"when is before or after, not {self.when!r}")
        if self.when == "before" and (self.without or (self.cut is not None and not self._answers)):
            raise ValueError("without and cut change a genuine answer: they need when = after")
        if self.cut is not None and not 0 <= self.cut < 1:
            raise ValueError("cut is a share of the body, from 0 to below 1")
        if self.status is not None and not 200 <= self.status < 600:
            raise ValueError(f"status {self.status} is no final HTTP status")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> FaultSpec:
        """Read a fault, with ``preset`` naming one of :data:`PRESETS` to start from.

        Raises:
            ValueError: an unknown preset, name or value.
        """
        given = {name: value for name, value in record.items() if name != "preset"}
        preset = record.get("preset")
        if preset is not None:
            if preset not in PRESETS:
                raise ValueError(f"unknown preset {preset!r}; known: {', '.join(sorted(PRESETS))}")
            given = dict(PRESETS[preset]) | given
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"unknown fault setting {', '.join(unknown)}; known: preset, {', '.join(sorted(known))}")
        if "without" in given:
            given["without"] = tuple(str(name) for name in given["without"])
        return cls(**given)

    @property
    def _answers(self) -> bool:
        return self.status is not None or self.code is not None or self.body is not None

    @property
    def ends_request(self) -> bool:
        """Whether it decides the outcome, rather than letting the request go on."""
        return self.drop or self._answers

    def matches(self, entry: Entry) -> bool:
        """Whether it is about this request."""
        return (
            fnmatchcase(entry.operation.lower(), self.operation.lower())
            and (self.method is None or self.method.upper() == entry.method)
            and (self.path is None or fnmatchcase(entry.path.lower(), self.path.lower()))
            and (self.host is None or fnmatchcase(entry.host.lower(), self.host.lower()))
            and _names(self.app, entry.app_id, entry.object_id)
            and _names(self.account, entry.account)
            and _names(self.user, entry.user)
            and _names(self.principal, entry.principal)
            and _names(self.tenant, entry.tenant_id)
        )


def _names(wanted: str | None, *ids: str | None) -> bool:
    return wanted is None or wanted.lower() in {id_.lower() for id_ in ids if id_}


@dataclass(slots=True, kw_only=True, eq=False)
class Fault:
    """A fault in force, and what it met so far.

    ``seen`` counts matching requests, ``hits`` those it acted on, ``inside`` those that a hold keeps right now.
    """

    id: str
    spec: FaultSpec
    seen: int = 0
    hits: int = 0
    inside: int = 0
    held: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Condition = field(default_factory=asyncio.Condition)

    def claims(self, entry: Entry, when: str) -> bool:
        """Whether it acts on this request in this phase; counts the request either way."""
        if self.spec.when != when or not self.spec.matches(entry):
            return False
        self.seen += 1
        if self.seen <= self.spec.skip or (self.spec.times is not None and self.hits >= self.spec.times):
            return False
        self.hits += 1
        return True

    async def wait_inside(self) -> None:
        """Do the slow part: hold until released, then delay."""
        if self.spec.hold:
            async with self.reached:
                self.inside += 1
                self.held += 1
                self.reached.notify_all()
            try:
                await self.released.wait()
            finally:
                self.inside -= 1
            # A caller that was killed meanwhile: let its hanging up come through, so that the journal tells it.
            await asyncio.sleep(_HANG_UP_SECONDS)
        if self.spec.delay_seconds:
            await asyncio.sleep(self.spec.delay_seconds)

    async def wait_reached(self, count: int, timeout_seconds: float) -> bool:
        """Wait until ``count`` requests have come to the hold, released ones included; False when time ran out."""
        try:
            async with asyncio.timeout(timeout_seconds), self.reached:
                await self.reached.wait_for(lambda: self.held >= count)
        except TimeoutError:
            return False
        return True

    def to_record(self) -> dict[str, Any]:
        """What ``fault list`` shows: the settings that differ from their defaults, and the counts."""
        default = FaultSpec()
        told = {name: value for name, value in asdict(self.spec).items() if value != getattr(default, name)}
        return {
            "id": self.id,
            **told,
            "when": self.spec.when,
            "seen": self.seen,
            "hits": self.hits,
            "inside": self.inside,
            "held": self.held,
            "released": self.released.is_set(),
        }


class Faults:
    """The fault plan, in order of adding. It lives with the process: a restart forgets it."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}

    def add(self, spec: FaultSpec) -> Fault:
        """Put a fault in force."""
        fault = Fault(id=uuid.uuid4().hex[:8], spec=spec)
        self._faults[fault.id] = fault
        return fault

    def find(self, fault_id: str) -> Fault | None:
        """The fault with this id."""
        return self._faults.get(fault_id)

    def all(self) -> list[Fault]:
        """The faults in force, spent ones included."""
        return list(self._faults.values())

    def remove(self, fault_id: str) -> bool:
        """Take a fault away and let go whom it holds; False when there is none."""
        fault = self._faults.pop(fault_id, None)
        if fault is None:
            return False
        fault.released.set()
        return True

    def clear(self) -> None:
        """Take all faults away and let go whom they hold."""
        for fault_id in list(self._faults):
            self.remove(fault_id)

    def claimed(self, entry: Entry, when: str) -> list[Fault]:
        """The faults that act on a request in this phase: those that let it go on, and the first that doesn't."""
        acting: list[Fault] = []
        for fault in self.all():
            if fault.claims(entry, when):
                acting.append(fault)
                if fault.spec.ends_request:
                    break
        return acting
