"""The examples run as a person runs them, on a sandbox with its default seed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from azure_sandbox.testing import Sandbox
from tests.pulumi.dynamic_server import own_store
from tests.pulumi.stack import Stack

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(folder.parent for folder in (ROOT / "examples").glob("*/Pulumi.yaml"))


@pytest.fixture
def fresh():
    with Sandbox() as running:
        yield running


@pytest.mark.e2e
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_runs(example, fresh, pulumi_environment, tmp_path):
    stack = Stack(tmp_path, own_store(tmp_path, fresh.environment(pulumi_environment)))
    shutil.copy(example / "__main__.py", stack.folder)
    stack.configure("clientSecret", f"file:{fresh.state}/secrets/rotator", secret=False)
    stack.up()
    said = stack.run("stack", "output")
    for name in ("path", "version", "key_id", "next_rotation"):
        assert name in said
    minted = [secret for secret in fresh.control.secrets("billing-api") if secret.origin == "minted"]
    assert minted[0].key_id in said
    stack.run("destroy", "--yes", "--skip-preview")
    assert not [
        secret for secret in fresh.control.secrets("billing-api") if secret.origin == "minted" and secret.is_alive
    ]


def test_the_stack_at_the_root_runs_the_quickstart():
    assert (ROOT / "__main__.py").readlink() == Path("examples/quickstart/__main__.py")
    # Both virtual environments are the repository's; with `main:` a relative one would be looked for in two places.
    for project in (ROOT, ROOT / "examples" / "quickstart"):
        lines = [line.strip() for line in (project / "Pulumi.yaml").read_text(encoding="utf-8").splitlines()]
        (venv,) = [line.removeprefix("virtualenv: ") for line in lines if line.startswith("virtualenv:")]
        assert (project / venv).resolve() == (ROOT / ".venv").resolve()
        assert "toolchain: pip" in lines
        assert not [line for line in lines if line.startswith("main:")]
