"""Acceptance rows: which test shows which row of tests/rows.toml, and with what result.

A test carries its rows; `make check` refuses a row that is marked done and carried by no test; a run with
`--rows-results FILE` leaves its results there and joins those of all files beside it into a table one folder up.

    @row("AK-23", "F05")
    def test_killed_after_add_password_the_orphan_goes(): ...

    pytest.param(..., marks=row("F04"))
"""

from __future__ import annotations

import json
import os
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

row = pytest.mark.row

FILE = Path(__file__).with_name("rows.toml")
# Worst first: what a row shows is the worst that happened to any of its tests.
OUTCOMES = ("failed", "skipped", "passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One acceptance row, e.g. id "AK-23", by "foundation", done True."""

    id: str
    title: str
    by: str
    done: bool


def read_rows(file: Path = FILE) -> dict[str, Row]:
    """The rows in the order of the file."""
    table: dict[str, dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))
    return {id: Row(id=id, title=line["title"], by=line.get("by", ""), done=line["done"]) for id, line in table.items()}


def render(rows: dict[str, Row], results: dict[str, dict[str, str]]) -> str:
    """The table as Markdown; `results` maps row to test to outcome."""
    lines = ["| row | what | state | result | tests |", "| --- | --- | --- | --- | --- |"]
    for id, line in rows.items():
        tests = results.get(id, {})
        if not (line.done or line.by or tests):
            continue
        worst = next((outcome for outcome in OUTCOMES if outcome in tests.values()), "no test ran")
        names = "<br>".join(f"`{name}`" + ("" if how == "passed" else f" {how}") for name, how in sorted(tests.items()))
        lines.append(f"| {id} | {line.title} | {'done' if line.done else 'open'} | {worst} | {names} |")
    open_rows = sum(not line.done for line in rows.values())
    return "\n".join([*lines, "", f"{len(rows) - open_rows} of {len(rows)} rows are done.", ""])


class _Rows:
    def __init__(self, config: pytest.Config) -> None:
        self.rows = read_rows(Path(config.getoption("rows_file")))
        self.check: bool = config.getoption("rows_check")
        told = config.getoption("rows_results")
        # Under xdist the reports of all workers arrive at the controller; a worker writes nothing.
        self.file = Path(told) if told and not hasattr(config, "workerinput") else None
        self.carried: dict[str, list[str]] = defaultdict(list)
        self.results: dict[str, dict[str, str]] = defaultdict(dict)
        self.complaints: list[str] = []

    @pytest.hookimpl(tryfirst=True)  # before anything is deselected: a slow test shows its row too
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for id in sorted({id for mark in item.iter_markers("row") for id in mark.args}):
                if id not in self.rows:
                    message = f"{item.nodeid}: there is no row {id!r} in {FILE.name}"
                    raise pytest.UsageError(message)
                self.carried[id].append(item.nodeid)
                item.user_properties.append(("row", id))

    def pytest_collection_finish(self) -> None:
        if self.check:
            self.complaints += [
                f"{id} is marked done and no test carries it"
                for id, line in self.rows.items()
                if line.done and id not in self.carried
            ]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, id in report.user_properties:
            if name == "row" and isinstance(id, str):
                before = self.results[id].get(report.nodeid, "passed")
                self.results[id][report.nodeid] = min(before, report.outcome, key=OUTCOMES.index)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(self.results, indent=1), encoding="utf-8")
            self.table.write_text(render(self.rows, self._joined(self.file.parent)), encoding="utf-8")
            if os.environ.get("CI"):
                # A test that skips proves nothing.
                self.complaints += [
                    f"{id} is marked done and {test} was skipped"
                    for id, tests in self.results.items()
                    for test, outcome in tests.items()
                    if self.rows[id].done and outcome == "skipped"
                ]
        if self.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.file:
            shown = sum(set(tests.values()) == {"passed"} for tests in self.results.values())
            terminalreporter.write_line(f"acceptance rows: {shown} shown by this run; all in {self.table}")
        for complaint in self.complaints:
            terminalreporter.write_line(f"error: {complaint}", red=True)

    @property
    def table(self) -> Path:
        assert self.file
        return self.file.parent.with_suffix(".md")

    @staticmethod
    def _joined(folder: Path) -> dict[str, dict[str, str]]:
        joined: dict[str, dict[str, str]] = defaultdict(dict)
        for file in sorted(folder.glob("*.json")):
            for id, tests in json.loads(file.read_text(encoding="utf-8")).items():
                for test, outcome in tests.items():
                    joined[id][test] = min(joined[id].get(test, "passed"), outcome, key=OUTCOMES.index)
        return joined


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("acceptance rows")
    group.addoption("--rows-file", default=str(FILE), help="the rows")
    group.addoption("--rows-results", metavar="FILE", help="leave the results here, and the table one folder up")
    group.addoption("--rows-check", action="store_true", help="fail if a row marked done is carried by no test")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Rows(config), "acceptance-rows")
