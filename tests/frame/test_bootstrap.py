"""From a fresh clone to running tests; and what is said on a machine that cannot get there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("bash", "chmod", "dirname", "env", "mkdir", "mktemp", "rm", "touch")
# A Debian Python as it comes: no ensurepip, no pip.
BARE_PYTHON = """#!/bin/sh
case "$*" in *venv*|*pip*) echo "No module named $2" >&2; exit 1;; *) exit {old};; esac
"""


@pytest.mark.parametrize(
    ("python", "said", "hint"),
    [
        pytest.param(None, "no Python 3.11 or newer found", "apt-get install python3 python3-venv", id="no Python"),
        pytest.param(BARE_PYTHON.format(old=1), "no Python 3.11 or newer found", "make PYTHON=", id="an old Python"),
        pytest.param(
            BARE_PYTHON.format(old=0), "can neither make", "apt-get install python3-venv", id="no venv, no pip"
        ),
    ],
)
def test_a_bare_machine_is_told_what_to_install(tmp_path, python, said, hint):
    clone, path = tmp_path / "clone", tmp_path / "bin"
    (clone / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "bootstrap", clone / "tools")
    path.mkdir()
    for name in NEEDED:
        (path / name).symlink_to(shutil.which(name) or name)
    if python:
        (path / "python3").write_text(python)
        (path / "python3").chmod(0o755)
    result = subprocess.run(
        [str(clone / "tools" / "bootstrap")],
        env={"PATH": str(path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert said in result.stderr
    assert hint in result.stderr.splitlines()[-1]
    assert [*(tmp_path / "cache").rglob("*new*")] == []
    assert not (clone / ".venv").exists()


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_a_fresh_clone_makes_itself_ready_and_leaves_nothing_untracked(tmp_path):
    def run(*command: str) -> str:
        # Not the make and the pytest that this test itself runs in.
        ours = ("MAKE", "MFLAGS", "PYTEST_", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    run("git", "clone", "--quiet", str(ROOT), ".")
    assert "make up" in run("make")
    assert "passed" in run("make", "test", "ARGS=tests/frame/test_network.py")
    assert run("make", "--question", ".venv/.bootstrapped") == ""
    # Pulumi's Python host asks pip for the packages of a program's environment.
    assert "pulumi" in run(".venv/bin/python", "-m", "pip", "list")
    assert run("git", "status", "--porcelain") == ""
