"""What a run of campaigns comes to: where processes were killed, and the promises that were broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.crash.campaign import Outcome
from tests.crash.invariants import Kind
from tests.crash.kills import Request

PROMISED = (Kind.LOST, Kind.ORPHANED, Kind.FOREIGN, Kind.STUCK)
"""What the last line counts. Whatever else is wrong has a line of its own, and is as red."""
LEAST_SHARE = 0.01
# With fewer kills a share says nothing.
_JUDGED_FROM = 1000
STATES = (
    "planned",
    "minting",
    "minted",
    "proving",
    "published",
    "retiring",
    "done",
    "failed",
    "delete: planned",
    "delete: retiring",
)


@dataclass(slots=True)
class Tally:
    """Counts the outcomes of one database.

    Attributes:
        calls: The requests to Azure that the plans aim at, so that one that is never met is told.
    """

    database: str
    calls: Sequence[str]
    seeds: list[int] = field(default_factory=list)
    kills: int = 0
    states: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    red: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.seeds.append(outcome.plan.seed)
        self.kills += len(outcome.hits)
        self.missed.update(blow.operation if isinstance(blow, Request) else blow.group for blow in outcome.missed)
        self.broken.update(violation.kind.value for violation in outcome.violations)
        self.broken["otherwise"] += len(outcome.complaints)
        if outcome.is_red:
            self.red.append(outcome)
        for hit in outcome.hits:
            apart = hit.trigger == "delete" and hit.state != "done"  # a delete's states are about other things
            self.states[f"delete: {hit.state}" if apart else hit.state] += 1
            self.points[hit.at] += 1

    @property
    def rare(self) -> list[str]:
        """States and calls that too few kills met, when there were enough to say so."""
        if self.kills < _JUDGED_FROM:
            return []
        counted = [(state, self.states[state]) for state in STATES] + [(c, self.points[c]) for c in self.calls]
        return [name for name, count in counted if count < LEAST_SHARE * self.kills]

    @property
    def passed(self) -> bool:
        return not self.red and not self.rare

    def lines(self) -> Iterator[str]:
        yield from self._table("killed while the operation was", self.states)
        yield from self._table("killed at", self.points)
        others = {name: count for name, count in self.broken.items() if count and name not in PROMISED}
        for name, count in sorted(others.items()):
            yield f"{name}: {count}"
        for name in self.rare:
            yield f"too few kills at {name}: under {LEAST_SHARE:.0%}"
        spread = f"{min(self.seeds)}-{max(self.seeds)}" if self.seeds else "none"
        yield f"{sum(self.missed.values())} times the process was at its end before it could be killed"
        yield f"{self.database}, seeds {spread}"
        words = [f"campaigns {len(self.seeds)}", f"kills {self.kills}"]
        yield ", ".join(words + [f"{kind.value} {self.broken[kind.value]}" for kind in PROMISED])

    def _table(self, head: str, counted: Mapping[str, int]) -> Iterator[str]:
        yield f"{head:<36}{'kills':>8}{'share':>9}"
        for name, count in sorted(counted.items(), key=lambda line: -line[1]):
            yield f"  {name:<34}{count:>8}{count / max(self.kills, 1):>9.1%}"
        yield ""


def told(outcome: Outcome) -> str:
    """A red campaign in words; never a value."""
    lines = [str(outcome.plan), *(f"killed {hit.blow} ({hit.state})" for hit in outcome.hits)]
    lines += [f"broken: {violation}" for violation in outcome.violations]
    lines += [f"wrong: {complaint}" for complaint in outcome.complaints]
    return "\n  ".join(lines)
