"""The kill table at the end of a run: operation and kind of point against kills and broken promises.

A pytest plugin, because under xdist the kills are spread over processes and only the controller sees them all. It
prints nothing when nothing was killed. ``tests/crash/conftest.py`` registers it, which the controller loads when it is
given this folder; to have it printed by every run, name ``tests.crash.table`` among the plugins of
``tests/conftest.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from tests.crash.invariants import Kind
from tests.crash.kills import Kill

PROPERTY = "kills"
_NAME = "kill-table"


def lines(kills: Iterable[Kill]) -> list[dict[str, Any]]:
    """What a test hands over by ``record_property(PROPERTY, …)``: one line a kind of point, plain for xdist."""
    counted: dict[tuple[str, str], Counter[str]] = {}
    for kill in kills:
        line = counted.setdefault((kill.operation, kill.point.group), Counter())
        line["kills"] += 1
        line.update(violation.kind.value for violation in kill.violations)
        line["otherwise"] += bool(kill.complaints)
    return [{"operation": operation, "point": point, **line} for (operation, point), line in counted.items()]


def render(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table, and its sum."""
    counts = ("kills", *(kind.value for kind in Kind), "otherwise")
    total = {"operation": "all", "point": ""} | {name: sum(row.get(name, 0) for row in rows) for name in counts}
    texts = [[str(row.get(name, 0)) for name in ("operation", "point", *counts)] for row in (*rows, total)]
    head = ["operation", "killed", *counts]
    widths = [max(len(text[column]) for text in (head, *texts)) for column in range(len(head))]
    return [_line(text, widths) for text in (head, *texts)]


def _line(words: Sequence[str], widths: Sequence[int]) -> str:
    """The first two columns are names, the others numbers."""
    names = [word.ljust(width) for word, width in zip(words[:2], widths[:2], strict=True)]
    numbers = [word.rjust(width) for word, width in zip(words[2:], widths[2:], strict=True)]
    return "  ".join([*names, *numbers])


class KillTable:
    """Collects the lines of all tests."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, value in report.user_properties:
                if name == PROPERTY and isinstance(value, list):
                    self.rows += value

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.rows:
            terminalreporter.section("kill table")
            for line in render(sorted(self.rows, key=lambda row: (row["operation"], row["point"]))):
                terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(KillTable(), _NAME)
