"""Throttles as Azure documents them: Graph's resource units and writes, Resource Manager's tokens, the storage
provider's observation windows. They are off unless ``throttle_scale`` is set for the calling application; 1 is Azure's
own limits, 0.01 a hundredth of them, never less than one request.

Sources: "Microsoft Graph service-specific throttling limits" (identity and access), "Understand how Azure Resource
Manager throttles requests" and "Scalability targets for the storage resource provider" on learn.microsoft.com; bodies
and headers as recorded (jsa2/AADAppAudit 9, Azure/azure-sdk-for-python recordings).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Call
from azure_sandbox.graph_answers import resource_units
from azure_sandbox.objects import PERSONAL_AUDIENCES, Application
from azure_sandbox.tokens import Caller

_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)
_WARN_FROM = 0.8
_MOST_RETRY_AFTER_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a request may pass.

    Attributes:
        headers: what its answer tells about the limits.
        refusal: code and message of a 429; None when it may pass.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    refusal: tuple[str, str] | None = None


class _Meter(Protocol):
    """Something that runs out."""

    def wait(self, now: datetime, cost: float) -> float:
        """Seconds until so much is to be had again; 0 takes it at once."""

    def share(self) -> float:
        """How much of it is used up, 0 to 1."""


@dataclass(slots=True)
class _Window:
    """So much in each window; it begins with the first request after the last one's end."""

    limit: float
    seconds: float
    used: float = 0.0
    began_at: datetime | None = None

    def wait(self, now: datetime, cost: float) -> float:
        age = (now - self.began_at).total_seconds() if self.began_at else math.inf
        if not 0 <= age < self.seconds:
            self.began_at, self.used, age = now, 0.0, 0.0
        if self.used and self.used + cost > self.limit:
            return self.seconds - age
        self.used += cost
        return 0.0

    def share(self) -> float:
        return min(self.used / self.limit, 1.0)


@dataclass(slots=True)
class _Tokens:
    """A bucket of tokens that fills again at a rate."""

    size: float
    per_second: float
    left: float = field(init=False)
    seen_at: datetime | None = None

    def __post_init__(self) -> None:
        self.left = self.size

    def wait(self, now: datetime, cost: float) -> float:
        age = (now - self.seen_at).total_seconds() if self.seen_at else 0.0
        self.left = min(self.size, self.left + max(age, 0.0) * self.per_second)
        self.seen_at = now
        if self.left < cost:
            return (cost - self.left) / self.per_second
        self.left -= cost
        return 0.0

    def share(self) -> float:
        return 1.0 - self.left / self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """One limit that a request is under.

    Attributes:
        key: what it is counted by.
        cost: how much of it the request takes.
        amount: how much there is, before scaling.
        seconds: the window's length; None for a bucket of tokens.
        per_second: how fast a bucket fills again, before scaling.
        told: the header or scope that names it in answers.
    """

    key: tuple[str, ...]
    cost: float
    amount: float
    seconds: float | None = None
    per_second: float = 0.0
    told: str = ""


class Throttles:
    """Counts requests; it lives with the process, and time is the sandbox's."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._meters: dict[tuple[object, ...], _Meter] = {}

    def admit(self, call: Call, surface: str) -> Verdict:
        """Count a request whose caller is known, unless it is one too many."""
        caller = call.caller
        if caller is None or surface not in {"graph", "arm"}:
            return Verdict()
        application = self._directory.find_application(caller.tenant_id, app_id=caller.app_id)
        behaviour = self._directory.behaviour_of(application) if application else self._directory.behaviour
        scale = behaviour.throttle_scale
        if scale is None:
            return Verdict()
        limits = list(self._graph(call, caller) if surface == "graph" else self._arm(call, caller))
        found = [(limit, self._meter(limit, scale)) for limit in limits]
        for limit, meter in found:
            if (wait := meter.wait(call.now, limit.cost)) > 0:
                return _refused(caller, surface, limit, wait)
        return Verdict(headers=_graph_headers(found) if surface == "graph" else _arm_headers(found))

    def _meter(self, limit: _Limit, scale: float) -> _Meter:
        key = (*limit.key, scale)
        if key not in self._meters:
            amount = max(limit.amount * scale, 1.0)
            self._meters[key] = (
                _Window(amount, limit.seconds)
                if limit.seconds is not None
                else _Tokens(amount, max(limit.per_second * scale, 0.1))
            )
        return self._meters[key]

    def _graph(self, call: Call, caller: Caller) -> Iterator[_Limit]:
        app_id, tenant_id = caller.app_id, caller.tenant_id
        people = sum(1 for user in self._directory.users.values() if user.tenant_id == tenant_id)
        units = 3500 if people < 50 else 5000 if people <= 500 else 8000
        cost = resource_units(call)
        told = f"Tenant_Application/ReadWrite/{app_id}/{tenant_id}"
        yield _Limit(key=("units", app_id, tenant_id), cost=cost, amount=units, seconds=10, told=told)
        yield _Limit(
            key=("units", app_id), cost=cost, amount=150_000, seconds=20, told=f"Application/ReadWrite/{app_id}"
        )
        if call.method == "GET":
            return
        told = f"Tenant_Application/Write/{app_id}/{tenant_id}"
        yield _Limit(key=("writes", app_id, tenant_id), cost=1, amount=3000, seconds=150, told=told)
        yield _Limit(key=("writes", app_id), cost=1, amount=70_000, seconds=300, told=f"Application/Write/{app_id}")
        yield _Limit(key=("tenant", tenant_id), cost=1, amount=18_000, seconds=300, told=f"Tenant/Write/{tenant_id}")
        if isinstance(call.target, Application) and call.target.audience in PERSONAL_AUDIENCES:
            told = f"Resource/Write/{call.target.app_id}"
            yield _Limit(key=("personal", call.target.app_id), cost=1, amount=60, seconds=60, told=told)

    def _arm(self, call: Call, caller: Caller) -> Iterator[_Limit]:
        match = _SUBSCRIPTION.match(call.path)
        if match is None:
            return
        subscription = match[1].lower()
        reads = call.method == "GET"
        kind, amount, rate = ("reads", 250, 25) if reads else ("writes", 200, 10)
        yield _Limit(
            key=(kind, subscription, caller.object_id),
            cost=1,
            amount=amount,
            per_second=rate,
            told=f"x-ms-ratelimit-remaining-subscription-{kind}",
        )
        if "/microsoft.storage/" not in call.path.lower():
            return
        place = (subscription, call.account.location if call.account else "")
        if call.entry.operation.startswith("arm.listStorageAccounts"):
            yield _Limit(key=("list", *place), cost=1, amount=100, seconds=300, told="List_ObservationWindow_00:05:00")
        elif reads or call.entry.operation == "arm.listKeys":
            yield _Limit(key=("read", *place), cost=1, amount=800, seconds=300, told="Read_ObservationWindow_00:05:00")
        else:
            yield _Limit(key=("write", *place), cost=1, amount=10, seconds=1, told="Write_ObservationWindow_00:00:01")
            yield _Limit(
                key=("hour", *place), cost=1, amount=1200, seconds=3600, told="Write_ObservationWindow_01:00:00"
            )


def _refused(caller: Caller, surface: str, limit: _Limit, wait_seconds: float) -> Verdict:
    retry_after = str(math.ceil(wait_seconds))
    if surface == "graph":
        text = (
            f"Too many requests from Identifier:{caller.app_id} under category:aadgraph.app.tenant_small."
            " Please try again later."
        )
        headers = {
            "retry-after": retry_after,
            "x-ms-throttle-scope": limit.told,
            "x-ms-throttle-information": "ResourceUnitLimitExceeded",
        }
        return Verdict(headers=headers, refusal=("TooManyRequests", text))
    if limit.seconds is None:
        kind = limit.told.rpartition("-")[2].removesuffix("s")
        text = (
            f"Number of '{kind}' requests for subscription '{limit.key[1]}' actor '{limit.key[2]}' exceeded. Please try"
            f" again after '{retry_after}' seconds after additional tokens are available. Refer to"
            " https://aka.ms/arm-throttling for additional information."
        )
        headers = {"retry-after": retry_after, limit.told: "0"}
        return Verdict(headers=headers, refusal=("SubscriptionRequestsThrottled", text))
    text = (
        "The request is being throttled as the limit has been reached for operation type -"
        f" {limit.told}. For more information, see - https://aka.ms/srpthrottlinglimits"
    )
    headers = {"retry-after": str(min(int(retry_after), _MOST_RETRY_AFTER_SECONDS))}
    return Verdict(headers=headers, refusal=("TooManyRequests", text))


def _graph_headers(found: list[tuple[_Limit, _Meter]]) -> dict[str, str]:
    fullest = max((meter.share() for _, meter in found), default=0.0)
    return {"x-ms-throttle-limit-percentage": f"{fullest:.1f}"} if fullest >= _WARN_FROM else {}


def _arm_headers(found: list[tuple[_Limit, _Meter]]) -> dict[str, str]:
    return {limit.told: str(int(meter.left)) for limit, meter in found if isinstance(meter, _Tokens)}
