"""What a worker is to do, and what it came to; both as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the engine.

    Args:
        use: Its name: ``reconcile``, or ``targets.create``, ``secrets.rotate``, …; ``scheduler``: what is due is run,
            with the dispatcher of the options.
        arguments: The one positional argument that creates and updates take.
        options: By keyword.
    """

    use: str
    arguments: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process does with one store.

    Args:
        folder: Where its output, its log and its answer go.
        store: The store's folder.
        state: The sandbox's state folder, whose clock is everybody's clock.
        canaries: File to which every value that Azure hands out is written; the leak check needs to know them.
        kill_at: Kill itself at this commit, counted from 1; 0 never.
        kill_method: Count only the commits of this method of the store.
        kill_after: Kill itself right after the first commit of this method of the store.
        inside: Kill itself inside that commit, before SQLite has written it; else right after it.
        stop_before: Stop (SIGSTOP) right before this method of the store is called for the first time, as a machine
            that goes to sleep would.
        full_from: From this writing call of the store on, counted from 1, its disk is full; 0 never.
        sabotage: Names of ``tests.crash.sabotage.PORTS``.
        limits: Seconds by name of ``Limits``.
        max_pages: ``PRAGMA max_page_count`` of the store, as a full disk; 0 leaves it alone.
        ahead: By how many seconds its clock is ahead of everybody's; negative when it is behind.
        modules: Leave the names of all imported modules beside the answer.
        bell: A FIFO that is told when the process has claimed its first operation.
        brief: Log no more than an ordinary process does, and leave what was not closed to the tests that look for it:
            a third of a process's time.
    """

    folder: str
    store: str
    state: str
    canaries: str
    calls: Sequence[Call]
    kill_at: int = 0
    kill_method: str = ""
    kill_after: str = ""
    inside: bool = False
    stop_before: str = ""
    full_from: int = 0
    sabotage: Sequence[str] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    lease_seconds: float = 0.3
    max_pages: int = 0
    ahead: float = 0.0
    modules: bool = False
    bell: str = ""
    brief: bool = False

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Job:
        return cls(**{**record, "calls": [Call(**call) for call in record["calls"]]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one call came to: facts, or an error's code and message."""

    facts: Any = None
    code: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a process came to.

    Args:
        commits: The store's methods that committed, in order.
        began_at: When it began, by its own clock.
    """

    results: Sequence[Result]
    commits: Sequence[str]
    began_at: datetime

    @classmethod
    def read(cls, file: Path) -> Answer:
        record = json.loads(file.read_text())
        names = {item.name for item in fields(Result)}
        results = [Result(**{k: v for k, v in one.items() if k in names}) for one in record["results"]]
        began_at = datetime.fromisoformat(record["began_at"])
        return cls(results=results, commits=record["commits"], began_at=began_at)

    @property
    def codes(self) -> list[str | None]:
        return [result.code for result in self.results]

    def ok(self) -> Answer:
        """Itself, when every call went well."""
        failed = [f"{r.code}: {r.message}" for r in self.results if r.code]
        assert not failed, failed
        return self
