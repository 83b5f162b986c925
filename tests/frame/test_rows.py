"""The acceptance rows and their table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rows import read_rows

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]

ROWS = """
AK-01 = { title = "first", done = true }
AK-02 = { title = "second", by = "later", done = false }
F01 = { title = "a failure", done = true }
"""

TESTS = """
import pytest
from tests.rows import row

@row("AK-01")
@pytest.mark.parametrize("n", [1, 2])
def test_first(n): pass

@pytest.mark.parametrize("n", [pytest.param(1, marks=row("F01", "AK-02"))])
def test_failure(n): assert n == 2
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("CI", raising=False)
    pytester.makefile(".toml", rows=ROWS)
    pytester.makeini("[pytest]\nmarkers =\n  row\n  full")

    def run(tests: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_some=tests)
        return pytester.runpytest_subprocess("-p", "tests.rows", "--rows-file", "rows.toml", *arguments)

    return run


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_the_table_shows_row_test_and_result(run, pytester: pytest.Pytester, workers):
    run(TESTS, "--rows-results", "out/rows/test.json", *workers).assert_outcomes(passed=2, failed=1)
    table = (pytester.path / "out" / "rows.md").read_text()
    assert "| AK-01 | first | done | passed | `test_some.py::test_first[1]`<br>`test_some.py::test_first[2]` |" in table
    assert "| AK-02 | second | open | failed |" in table
    assert "| F01 | a failure | done | failed | `test_some.py::test_failure[1]` failed |" in table


def test_results_of_several_runs_are_joined(run, pytester: pytest.Pytester):
    run(TESTS, "--rows-results", "out/rows/test.json", "-k", "first")
    run(TESTS, "--rows-results", "out/rows/full.json", "-k", "failure")
    table = (pytester.path / "out" / "rows.md").read_text()
    assert "| AK-01 | first | done | passed |" in table
    assert "| F01 | a failure | done | failed |" in table


def test_a_done_row_without_a_test_is_refused(run):
    result = run(TESTS.replace('"F01", ', ""), "--rows-check", "--collect-only", "-qq")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["error: F01 is marked done and no test carries it"])


def test_a_deselected_test_still_carries_its_row(run):
    slow = TESTS.replace(
        '@pytest.mark.parametrize("n", [pytest', '@pytest.mark.full\n@pytest.mark.parametrize("n", [pytest'
    )
    assert run(slow, "--rows-check", "--collect-only", "-m", "not full").ret == pytest.ExitCode.OK


def test_a_row_that_does_not_exist_is_refused(run):
    result = run(TESTS.replace("AK-01", "AK-1"), "--rows-check")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no row 'AK-1'*"])


def test_in_ci_a_skipped_test_does_not_show_a_done_row(run, monkeypatch: pytest.MonkeyPatch):
    skipping = TESTS.replace("def test_first(n): pass", 'def test_first(n): pytest.skip("no")').replace("== 2", "== 1")
    assert run(skipping, "--rows-results", "out/rows/test.json").ret == pytest.ExitCode.OK
    monkeypatch.setenv("CI", "true")
    assert run(skipping, "--rows-results", "out/rows/test.json").ret == pytest.ExitCode.TESTS_FAILED


def test_rows_are_of_the_three_kinds_and_in_order():
    kinds: dict[str, list[int]] = {"AK": [], "B": [], "F": []}
    for id, row in read_rows().items():
        kind, number = id.rstrip("0123456789").rstrip("-"), id.lstrip("AKBF-")
        kinds[kind].append(int(number))
        assert row.title == row.title.strip() != ""
    assert all(numbers == sorted(set(numbers)) for numbers in kinds.values())
    assert [len(numbers) for numbers in kinds.values()] == [53, 25, 53]


@pytest.mark.full  # `make check` says the same, and sooner
def test_every_done_row_of_this_repository_is_carried_by_a_test():
    command = [sys.executable, "-m", "pytest", "--collect-only", "--rows-check", "-qq"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
