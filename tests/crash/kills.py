"""One kill: bring about the start, run the operation, kill it at a point, let somebody take over, look.

The points of an operation are found by running it once: every commit of the store (inside it, and right after it) and
every request to Azure (held before its commit, and after it). A kill that does not come off is a failure: no point may
be missed because the table and the engine have drifted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGKILL

from azure_sandbox.testing import FaultHandle, JournalEntry
from tests.crash.estate import Estate, Lab, let_go, reconcile
from tests.crash.invariants import Violation
from tests.crash.jobs import Answer, Call
from tests.crash.nursery import Process
from tests.crash.operations import TAKEOVERS, Operation

WRITES = frozenset(
    {
        "graph.addPassword",
        "graph.removePassword",
        "graph.updateUser",
        "graph.changePassword",
        "arm.regenerateKey",
    }
)
# While one kill waits for a lease to run out, the others work.
_AT_ONCE = 3
# An item that is not there (any more), one that is being deleted; no room for another secret, and nobody alive who
# wished the previous one revoked.
_ROTATE_MAY_SAY = frozenset({None, "ItemNotFound", "ItemLocked", "CredentialLimitReached"})
_GLANCE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 7 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """At the ``number``-th commit of the process, which is one of the store's ``method``.

    Args:
        named: Only this method's commits are counted.
    """

    number: int
    method: str
    inside: bool
    named: bool = False

    @property
    def group(self) -> str:
        return f"{'inside' if self.inside else 'after'} commit"

    def __str__(self) -> str:
        return f"{self.group} {self.number}{self.method and f', {self.method}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Inside the ``number``-th request of this name, ``before`` or ``after`` what it does in Azure.

    Args:
        late: The request goes on only when somebody else has taken over: a write that was long under way.
    """

    number: int
    operation: str
    when: str
    late: bool = False

    @property
    def group(self) -> str:
        return f"in Azure, {'late' if self.late else self.when}"

    def __str__(self) -> str:
        return f"{self.group} {self.operation} {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """After this ``share`` of the time between the first claim and the end, whatever happens then."""

    share: float

    @property
    def group(self) -> str:
        return "at random"

    def __str__(self) -> str:
        return f"{self.group}, {self.share:.3f}"


Point = Commit | Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """What came of one.

    Args:
        before: Broken promises right after the kill.
        after: Those after the takeover and a reconcile.
        complaints: Whatever else went wrong: the kill did not come off, the takeover failed.
    """

    operation: str
    point: Point
    takeover: str
    before: Sequence[Violation] = ()
    after: Sequence[Violation] = ()
    complaints: Sequence[str] = ()

    @property
    def violations(self) -> Sequence[Violation]:
        return (*self.before, *self.after)

    def __str__(self) -> str:
        told = [f"before the takeover: {v}" for v in self.before]
        told += [f"after the takeover: {v}" for v in self.after]
        told += self.complaints
        return f"{self.operation}, killed {self.point}, then {self.takeover}:\n    " + "\n    ".join(told)


def points(lab: Lab, operation: Operation, *, thorough: bool, database: str = "sqlite") -> Sequence[Point]:
    """Every point of an operation, by running it once to its end.

    Args:
        thorough: Reads are held after the answer is made, too, and writes also let go late.
        database: Where the store is: ``sqlite`` or ``postgresql``.
    """
    estate = _ready(lab, operation, database)
    operation.faults(estate)
    seen = max((entry.seq for entry in lab.control.journal(limit=1)), default=0)
    over = estate.run(*operation.calls(estate), limits=operation.limits)
    assert set(over.codes) <= operation.repeated, over.results
    requests = [e for e in lab.control.journal(after=seen) if e.tenant_id == estate.tenant_id]
    estate.remove()
    commits: list[Point] = [
        Commit(number=number, method=method, inside=inside)
        for number, method in enumerate(over.commits, 1)
        for inside in (True, False)
    ]
    return [*commits, *_requests(requests, thorough=thorough)]


def changing(every: Sequence[Point]) -> Sequence[Point]:
    """The points where something changes, in the store or in Azure: all but the reads."""
    return [point for point in every if isinstance(point, Commit) or point.operation in WRITES]


def representative(every: Sequence[Point]) -> Sequence[Point]:
    """The points that differ in what is stored or in Azure: after the first commit of each method, and at every write.

    Inside a commit all is as it was after the one before, or after the write in between; during a read, too; and a
    second proof is counted like the first.
    """
    seen: set[str] = set()
    chosen: list[Point] = []
    for point in every:
        if isinstance(point, Request):
            fresh = point.operation in WRITES
        else:
            fresh = not point.inside and point.method not in seen
            seen |= set() if point.inside else {point.method}
        if fresh:
            chosen.append(point)
    return chosen


def _requests(entries: Sequence[JournalEntry], *, thorough: bool) -> Iterator[Request]:
    count: Counter[str] = Counter()
    handled: Counter[str] = Counter()
    for entry in entries:
        name = entry.operation
        count[name] += 1
        writes = name in WRITES
        yield Request(number=count[name], operation=name, when="before")
        # A fault that answers instead of Azure leaves no "after", and an "after" hold does not count that request.
        if entry.fault is None:
            handled[name] += 1
            if writes or thorough:
                yield Request(number=handled[name], operation=name, when="after")
        if writes and thorough:
            yield Request(number=count[name], operation=name, when="before", late=True)


def kill(
    lab: Lab,
    operation: Operation,
    point: Point,
    takeover: str,
    *,
    sabotage: Sequence[str] = (),
    database: str = "sqlite",
) -> Kill:
    """Kill one operation at one point.

    Args:
        sabotage: Ports that are broken on purpose, in the one that is killed.
    """
    estate = _ready(lab, operation, database)
    inspector = estate.inspector(ours=[estate.given_key_id] if operation.adopts else [])
    held = _hold(estate, point) if isinstance(point, Request) else None  # before the faults: one that answers ends all
    faults = operation.faults(estate)
    at = {"kill_at": point.number, "inside": point.inside} if isinstance(point, Commit) else {}
    victim = estate.start(*operation.calls(estate), limits=operation.limits, sabotage=sabotage, **at)
    if held is not None:
        wait_until_inside(held, victim)
        victim.kill()
    complaints = []
    if victim.code() != -SIGKILL:
        complaints.append(f"the kill did not come off: {victim.said() or 'it came to its end'}")
    late = isinstance(point, Request) and point.late
    if held is not None and not late:
        let_go(held)
    estate.store.wait_for_leases()
    before = inspector.violations(reconciled=False, late=operation.tolerant)
    complaints += _taken_over(estate, operation, takeover)
    if held is not None and late:
        let_go(held)
        complaints += _taken_over(estate, operation, "reconcile")
    if operation.passing:
        for fault in faults:
            fault.remove()
        # Everybody is past his longest pause between attempts then.
        estate.run(reconcile(), ahead=_LONGEST_PAUSE_SECONDS).ok()
    after = inspector.violations()
    result = Kill(
        operation=operation.name, point=point, takeover=takeover, before=before, after=after, complaints=complaints
    )
    if not (result.violations or complaints):
        estate.remove()
    return result


def kill_all(
    lab: Lab,
    operation: Operation,
    plan: Iterable[tuple[Point, str]],
    *,
    sabotage: Sequence[str] = (),
    database: str = "sqlite",
) -> list[Kill]:
    """Kill at each point and let its takeover follow; a few at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda one: kill(lab, operation, *one, sabotage=sabotage, database=database), plan))


def _ready(lab: Lab, operation: Operation, database: str) -> Estate:
    estate = lab.estate(database=database, apart=operation.apart)
    estate.begin(*operation.start(estate))
    operation.spoil(estate)
    return estate


def _hold(estate: Estate, point: Request) -> FaultHandle:
    return estate.lab.control.add_fault(
        point.operation, tenant=estate.tenant_id, when=point.when, hold=True, skip=point.number - 1
    )


def wait_until_inside(held: FaultHandle, victim: Process) -> None:
    """Until the request is held, or the process has ended without making it."""
    while not victim.ended():
        with suppress(TimeoutError):
            held.wait_reached(timeout_seconds=_GLANCE_SECONDS)
            return


def _taken_over(estate: Estate, operation: Operation, takeover: str) -> list[str]:
    calls = TAKEOVERS[takeover](operation, estate)
    return complaints_about(operation, takeover, calls, estate.run(*calls, limits=operation.limits))


def complaints_about(
    operation: Operation, takeover: str, calls: Sequence[Call], answer: Answer, *, rotated: bool = False
) -> list[str]:
    """What nobody expects of those who take over.

    Args:
        rotated: Somebody before them was killed while he rotated. What is left of that is not what they repeat.
    """
    said = operation.repeated | (_ROTATE_MAY_SAY if takeover == "rotate" else set())
    if rotated:
        said |= operation.refused
    told = []
    for call, result in zip(calls, answer.results, strict=True):
        if result.code not in ({None} if call.use == "reconcile" else said):
            told.append(f"{takeover}: {call.use} said {result.code}: {result.message}")
        elif call.use == "reconcile":
            problems = [problem for problem in result.facts["problems"] if problem["code"] not in operation.repeated]
            told += [f"reconcile has a problem: {problem}" for problem in problems]
    return told
