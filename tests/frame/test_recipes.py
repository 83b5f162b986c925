"""The recipes' code: all of it parses, names commands that exist, and what needs no other product does what is said."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # pulumi brings it

from tests.frame.test_examples import check_command

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
# A program that says what the test wants, in the place of azure-rotator.
PROGRAM = "#!/bin/sh\necho '{answer}'\necho '{error}' >&2\nexit {code}\n"


def test_every_block_is_of_a_language_that_is_read_here():
    assert {language for language, _ in BLOCKS} == {"python", "yaml"}
    assert len(PYTHON) == TEXT.count("```python")


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0].removeprefix("# "))
def test_python_is_python(code: str):
    ast.parse(code)


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "yaml"])
def test_the_job_is_the_examples_in_short(code: str):
    job = yaml.safe_load(code)
    example = yaml.safe_load(
        (Path(__file__).resolve().parents[2] / "examples/scheduler/kubernetes-cronjob.yaml").read_text()
    )
    assert within(job, example) == job
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    check_command(job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"])


def within(part: Any, whole: Any) -> Any:
    """What the whole has where the part has something."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return {key: within(value, whole[key]) for key, value in part.items() if key in whole}
    if isinstance(part, list) and isinstance(whole, list):
        return [within(*pair) for pair in zip(part, whole, strict=True)]
    return whole


def the_function() -> Any:
    (code,) = [code for code in PYTHON if code.startswith("# once.py\n")]
    module = ModuleType("once")
    exec(code, module.__dict__)  # noqa: S102 - what the page tells people to write
    return module


def test_the_function_calls_a_command_that_exists():
    program, *words = the_function().COMMAND
    assert program == "azure-rotator"
    check_command(words)


@pytest.mark.parametrize(
    ("code", "error", "came_to"),
    [
        (0, "", None),
        (7, "", None),
        (1, "StoreUnavailable", "StoreAway"),
        (1, "StoreKeyWrong", "Misconfigured"),
        (1, "InternalError", "Misconfigured"),
        (2, "ParameterInvalid", "Misconfigured"),
    ],
)
def test_the_function_tells_exit_codes_apart(
    code: int, error: str, came_to: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "azure-rotator"
    told = json.dumps({"error": {"code": error, "message": "…"}}) if error else ""
    program.write_text(PROGRAM.format(answer='{"planned": 1, "runs": {}, "failed": {}}', code=code, error=told))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    once = the_function()
    if came_to is None:
        assert once.once()["planned"] == 1
        return
    with pytest.raises(getattr(once, came_to), match=error):
        once.once()
