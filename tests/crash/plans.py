"""What a campaign does, decided by its seed alone: a life of one item, and how those who work on it are killed.

    life:  create ──> rotate ──> rotate, revoke now ──> delete ──> create …
    act:   the operation is killed, who takes over is killed, …, and the last one is left alone

A plan holds no clock and no chance: the same seed gives the same plan on every machine and database. What a random
instant meets is not in the plan, so a red campaign is repeated by its seed and not replayed step by step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.crash.estate import AT_ONCE, ITEM, Estate, delete, delete_version, reconcile, rotate
from tests.crash.jobs import Call
from tests.crash.kills import Commit, Instant, Request
from tests.crash.operations import Operation, plant_an_orphan, refuse_new_secrets

Blow = Commit | Request | Instant

ANY = "*"
TOKEN = "login.token"
READ = "graph.getApplication"
OWNERS = "graph.listApplicationOwners"
POLICIES = "graph.listAppManagementPolicies"
ADD = "graph.addPassword"
REMOVE = "graph.removePassword"
LOOK = "arm.getStorageAccount"
LIST_KEYS = "arm.listKeys"
REGENERATE = "arm.regenerateKey"
PROVE_KEY = "blob.getServiceProperties"
SET = "graph.updateUser"
CHANGE = "graph.changePassword"

_BY_HAND = ("insert_rotation", "hasten")
_BEGIN = (*_BY_HAND, "claim")
_CHANGE = ("claim", "begin_minting", "store_pending", "record_proof", "publish")
_MINTS = (*_CHANGE, "record_proof", "store_pending", "begin_minting")
_RETIRES = ("begin_retiring", "finish_retiring", "release")
# What is met seldom stands more than once.
_CREATES = (TOKEN, READ, *8 * (OWNERS,), POLICIES, ADD, ADD)
_ROTATES = (TOKEN, READ, POLICIES, ADD, ADD, REMOVE)

FAULTS: Mapping[str, Mapping[str, Any]] = {
    "503 before": {"preset": "unavailable-503"},
    "503 after": {"preset": "unavailable-503", "when": "after"},
    "504 after": {"preset": "gateway-timeout-504", "when": "after"},
    "cut before": {"drop": True},
    "cut after": {"drop": True, "when": "after"},
    "429": {"preset": "throttled"},
    "conflict": {"preset": "concurrency-409"},
    "slow": {"delay_seconds": 0.03},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """An operation, and where it may be killed: in which of the store's methods, in which requests to Azure.

    Args:
        schedulable: A scheduler does the same when the item is due.
    """

    operation: Operation
    methods: Sequence[str]
    requests: Sequence[str]
    weight: int = 1
    schedulable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of item, and what may happen to it.

    Args:
        first: How it comes into being.
        deeds: What then happens, again and again.
        last: How it ends, and whether it may begin anew.
        older: The schema revision of the oldest release that knew it.
    """

    weight: int
    first: Sequence[Deed]
    deeds: Sequence[Deed]
    last: Deed | None = None
    again: Deed | None = None
    apart: bool = False
    account: bool = False
    older: str = "0001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with one Azure call, once or twice."""

    request: str
    name: str
    times: int
    skip: int

    @property
    def spec(self) -> dict[str, Any]:
        return {**FAULTS[self.name], "times": self.times, "skip": self.skip}

    def __str__(self) -> str:
        return f"{self.name} {self.request} ({self.times} after {self.skip})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One operation of a life.

    Args:
        blows: Where each process is killed: the one that runs the operation, then those that take over.
        takeovers: Who comes after each kill.
        faults: What is wrong in Azure till the last one has taken over.
        scheduled: It is done by schedulers, because the item is due, and not because somebody asks.
    """

    deed: Deed
    blows: Sequence[Blow]
    takeovers: Sequence[str]
    faults: Sequence[Fault] = ()
    scheduled: bool = False

    def __str__(self) -> str:
        told = [f"killed {blow}, then {takeover}" for blow, takeover in zip(self.blows, self.takeovers, strict=True)]
        wrong = f" [{', '.join(map(str, self.faults))}]" if self.faults else ""
        return f"{self.deed.operation.name}{', scheduled' * self.scheduled}{wrong}: {'; '.join(told)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A campaign.

    Args:
        lag: New secrets are accepted by the second front end only after a while.
    """

    seed: int
    kind: str
    acts: Sequence[Act]
    lag: bool

    @property
    def kills(self) -> int:
        return sum(len(act.blows) for act in self.acts)

    def __str__(self) -> str:
        head = f"seed {self.seed}: {self.kind}{', front ends lag' if self.lag else ''}"
        return "\n  ".join([head, *map(str, self.acts)])


def _deed(
    name: str,
    calls: Any,
    methods: Sequence[str],
    requests: Sequence[str],
    *,
    weight: int = 1,
    schedulable: bool = False,
    **how: Any,
) -> Deed:
    operation = Operation(name=name, calls=calls, **how)
    return Deed(operation=operation, methods=methods, requests=requests, weight=weight, schedulable=schedulable)


def _adopt_another(estate: Estate) -> Sequence[Call]:
    given = {"api_id": estate.given_key_id, "api_key": estate.workload.secrets["given"]}
    return [Call(use="secrets.update", arguments=given, options={"name": ITEM})]


def _delete_oldest(estate: Estate) -> Sequence[Call]:
    return [delete_version(min(estate.previous_versions(), default=1))]


_REFUSED = frozenset({None, "VerificationTimeout"})
_GONE = frozenset({None, "ItemNotFound"})
_NO_VERSION = frozenset({None, "VersionNotFound", "VersionIsCurrent"})
_NO_PROOF_TIME = {"proof_deadline": 0.0}

_ASKED: Any = lambda e: [rotate()]  # noqa: E731 - a default beside its siblings
ROTATE = _deed("rotate", _ASKED, (*_BEGIN, *_MINTS, *_RETIRES), _ROTATES, weight=4, schedulable=True)
REVOKE_NOW = _deed("rotate, revoke now", lambda e: [rotate(revoke_now=True)], (*_MINTS, *_RETIRES), (ADD, REMOVE, READ))
REFUSED = _deed(
    "rotate, refused",
    _ASKED,
    ("store_pending", "fail", "drop_abandoned", "extend"),
    (ADD, REMOVE, TOKEN),
    weight=2,
    schedulable=True,
    faults=refuse_new_secrets,
    passing=True,
    repeated=_REFUSED,
    limits=_NO_PROOF_TIME,
)
SWEEP = _deed(
    "remove an orphan",
    lambda e: [reconcile()],
    ("claim_lane", "extend"),
    (READ, REMOVE),
    spoil=plant_an_orphan,
    tolerant=True,
)
DELETE = _deed(
    "delete",
    lambda e: [delete()],
    ("begin_delete", "claim", "finish_retiring", "begin_retiring", "drop_item"),
    (TOKEN, READ, REMOVE, REMOVE),
    repeated=_GONE,
)
DELETE_VERSION = _deed(
    "delete a version",
    _delete_oldest,
    ("begin_version_delete", "claim", "finish_retiring"),
    (READ, REMOVE),
    weight=2,
    repeated=_NO_VERSION,
)
ADOPT_ANOTHER = _deed(
    "adopt another",
    _adopt_another,
    ("insert_adoption", "record_proof", "publish", *_RETIRES),
    (READ, *4 * (OWNERS,), REMOVE),
    weight=2,
    # After a rotation the same secret is gone, or is the item's previous one for a while.
    repeated=frozenset({None, "CredentialNotFound", "CredentialAlreadyManaged"}),
    refused=frozenset({"ItemLocked"}),
    adopts=True,
)
_CREATED = (*_CHANGE, "insert_item", "finish_retiring")
CREATE = _deed("create", lambda e: [e.create()], _CREATED, _CREATES)
CREATE_BRIEF = _deed("create, retire at once", lambda e: [e.create(revoke_after=AT_ONCE)], _CREATED, _CREATES)
CREATE_BY_ITSELF = _deed("create by itself", lambda e: [e.create_by_itself(revoke_after=AT_ONCE)], _CREATED, _CREATES)
ADOPT = _deed("adopt", lambda e: [e.adopt(revoke_after=AT_ONCE)], ("insert_item",), (TOKEN, READ, OWNERS), adopts=True)
ADOPT_BY_ITSELF = _deed(
    "adopt by itself",
    lambda e: [e.adopt(authentication_credentials="use-user-creds", revoke_after=AT_ONCE)],
    ("insert_item",),
    (TOKEN, READ, OWNERS),
    adopts=True,
)
_TAKE_OVER = ("insert_item", "write_audit")
_KEYS = (LIST_KEYS, LOOK, LOOK, REGENERATE, REGENERATE, PROVE_KEY, PROVE_KEY)
ROTATE_KEY = _deed("rotate", _ASKED, (*_BEGIN, *_MINTS, "finish_retiring"), _KEYS, schedulable=True)
_ROTATE_PASSWORD = (*_BEGIN, *_MINTS, "finish_retiring")
DELETE_ROW = _deed("delete", lambda e: [delete()], ("begin_delete", "claim", "drop_item"), (TOKEN,), repeated=_GONE)

KINDS: Mapping[str, Kind] = {
    "api-key": Kind(
        weight=9,
        first=(CREATE, CREATE, CREATE_BRIEF, CREATE_BRIEF, ADOPT),
        deeds=(ROTATE, REVOKE_NOW, REFUSED, SWEEP, ADOPT_ANOTHER, DELETE_VERSION),
        last=DELETE,
        again=CREATE_BRIEF,
    ),
    "api-key by itself": Kind(
        weight=3,
        first=(CREATE_BY_ITSELF, CREATE_BY_ITSELF, ADOPT_BY_ITSELF),
        deeds=(ROTATE, REVOKE_NOW),
        last=DELETE,
        apart=True,
    ),
    "target": Kind(
        weight=2,
        first=(_deed("take over", lambda e: [e.create_own(revoke_after=AT_ONCE)], _TAKE_OVER, (TOKEN, READ)),),
        deeds=(ROTATE, REVOKE_NOW),
        older="0002",
    ),
    "storage, named": Kind(
        weight=4,
        first=(_deed("take over", lambda e: [e.create_storage()], _TAKE_OVER, (TOKEN, LIST_KEYS)),),
        deeds=(ROTATE_KEY,),
        last=DELETE_ROW,
        account=True,
        older="0002",
    ),
    "storage, alternate": Kind(
        weight=4,
        first=(
            _deed("take over", lambda e: [e.create_storage(storage_key_mode="alternate")], _TAKE_OVER, (LIST_KEYS,)),
        ),
        deeds=(ROTATE_KEY,),
        last=DELETE_ROW,
        account=True,
        older="0002",
    ),
    "password": Kind(
        weight=3,
        first=(_deed("take over", lambda e: [e.create_password()], _TAKE_OVER, (TOKEN,)),),
        deeds=(_deed("set", _ASKED, _ROTATE_PASSWORD, (SET,), schedulable=True),),
        last=DELETE_ROW,
        older="0002",
    ),
    "password by itself": Kind(
        weight=5,
        first=(
            _deed(
                "take over",
                lambda e: [e.create_password(authentication_credentials="use-user-creds")],
                _TAKE_OVER,
                (TOKEN,),
            ),
        ),
        deeds=(_deed("change", _ASKED, _ROTATE_PASSWORD, (CHANGE,), schedulable=True),),
        last=DELETE_ROW,
        older="0002",
    ),
}

# Who comes next, by how often: the same calls again, another replica's reconcile, somebody who wants it rotated, two
# replicas at once, a newer version that finds the store as an older release left it.
TAKEOVERS = ("reconcile", "repeat", "rotate", "two at once", "newer version")
_HOW_OFTEN = (6, 4, 2, 2, 1)


def plan(seed: int) -> Plan:
    """The campaign of this seed."""
    chance = Random(seed)  # noqa: S311 - a plan, and no secret
    name = chance.choices(list(KINDS), [kind.weight for kind in KINDS.values()])[0]
    kind = KINDS[name]
    deeds = [chance.choice(kind.first)]
    deeds += chance.choices(kind.deeds, [deed.weight for deed in kind.deeds], k=chance.randint(2, 4))
    if kind.last is not None and chance.random() < 0.7:
        deeds.append(kind.last)
        if kind.again is not None and chance.random() < 0.5:
            deeds.append(kind.again)
    lag = name == "api-key" and chance.random() < 0.15
    acts = [_act(chance, deed) for deed in deeds]
    return Plan(seed=seed, kind=name, acts=[_scheduled(act) if chance.random() < 0.6 else act for act in acts], lag=lag)


def _scheduled(act: Act) -> Act:
    """The same, done by schedulers, where they do it at all: who begins a rotation there commits something else."""
    if not act.deed.schedulable:
        return act
    blows = [
        replace(blow, method="plan") if isinstance(blow, Commit) and blow.method in _BY_HAND else blow
        for blow in act.blows
    ]
    return replace(act, blows=blows, scheduled=True)


def _act(chance: Random, deed: Deed) -> Act:
    # Who is not met has come to the end, and the act with him: a long chain costs least for what it shows.
    count = chance.choices(range(1, 11), (1, 1, 2, 2, 3, 3, 3, 2, 2, 1))[0]
    if len(deed.methods) <= 2:  # nothing but a row or two: there is nothing in hand, and little to take over
        count = chance.choices((0, 1), (2, 1))[0]
    faults = [_fault(chance, deed) for _ in range(chance.choices((0, 1, 2), (5, 3, 2))[0])] if count else ()
    return Act(
        deed=deed,
        blows=[_blow(chance, deed, first=number == 0) for number in range(count)],
        takeovers=chance.choices(TAKEOVERS, _HOW_OFTEN, k=count),
        faults=faults,
    )


def _fault(chance: Random, deed: Deed) -> Fault:
    return Fault(
        request=chance.choice(deed.requests),
        name=chance.choice(list(FAULTS)),
        times=chance.randint(1, 2),
        skip=chance.randint(0, 1),
    )


def _blow(chance: Random, deed: Deed, *, first: bool) -> Blow:
    """What is left to do for those who take over depends on what was done: mostly they meet whatever comes, counted."""
    way = chance.random()
    named = chance.random() < (1.0 if first else 0.25)
    if way < (0.3 if first else 0.5):
        inside = chance.random() < 0.35
        if not named:
            return Commit(number=chance.choice((1, 2, 2, 3)), method="", inside=inside)
        method = chance.choice(deed.methods)
        number = chance.randint(1, 3) if method == "record_proof" else 1
        return Commit(number=number, method=method, inside=inside, named=True)
    if way < 0.85:
        request = chance.choice(deed.requests) if named else ANY
        number = chance.randint(1, 4) if request in {ANY, TOKEN} else 1
        return Request(number=number, operation=request, when=chance.choice(("before", "after", "after")))
    return Instant(share=chance.random() * (1.0 if first else 0.7))


def _aimed_at() -> tuple[str, ...]:
    every = (deed for kind in KINDS.values() for deed in (*kind.first, *kind.deeds, kind.last) if deed is not None)
    return tuple(sorted({request for deed in every for request in deed.requests}))


AIMED_AT = _aimed_at()
"""Every Azure call that a plan may aim at."""
