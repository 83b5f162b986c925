"""The Pulumi CLI that `make` gets is whole: language host, dynamic provider, policy pack, on a file backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import pulumi_cli as cli

ROOT = Path(__file__).parents[2]
PROGRAM = """
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class Echo(ResourceProvider):
    def create(self, props):
        return CreateResult("echo", {"said": props["say"]})

class Said(Resource, module="frame", name="Said"):
    said: pulumi.Output[str]
    def __init__(self, name, say):
        super().__init__(Echo(), name, {"say": say, "said": None})

pulumi.export("said", Said("one", "hello").said)
"""
PACK = """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def no_hello(args, report):
    if args.resource_type == "pulumi-python:dynamic/frame:Said" and args.props.get("say") == "hello":
        report("it says hello")

policy = ResourceValidationPolicy("no-hello", "says no hello", no_hello, EnforcementLevel.MANDATORY)
PolicyPack("frame", [policy])
"""
RUNTIME = "runtime: {{name: python, options: {{toolchain: pip, virtualenv: {}}}}}\n"


@pytest.fixture
def pulumi(tmp_path, pulumi_environment):
    runtime = RUNTIME.format(Path(sys.executable).parents[1])
    for folder, name, program in (("stack", "Pulumi.yaml", PROGRAM), ("pack", "PulumiPolicy.yaml", PACK)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(f"name: frame\ndescription: a test\nversion: 0.0.1\n{runtime}")
        (tmp_path / folder / "__main__.py").write_text(program)

    def pulumi(*arguments):
        command = ["pulumi", *arguments, "--non-interactive"]
        return subprocess.run(
            command,
            cwd=tmp_path / "stack",
            env=pulumi_environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            # Popen looks in our own PATH otherwise.
            executable=f"{pulumi_environment['PATH'].partition(os.pathsep)[0]}/pulumi",
        )

    pulumi("stack", "init", "test")
    yield pulumi
    pulumi("destroy", "--yes", "--skip-preview")


@pytest.mark.e2e
@pytest.mark.full  # tests/pulumi and tests/policies use all of it every day
def test_up_twice_policy_and_destroy(pulumi):
    first = pulumi("up", "--yes", "--skip-preview", "--json")
    assert first.returncode == 0, first.stdout + first.stderr
    assert json.loads(pulumi("stack", "output", "--json").stdout) == {"said": "hello"}
    again = pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.returncode == 0, again.stdout + again.stderr
    judged = pulumi("preview", "--policy-pack", "../pack")
    assert judged.returncode != 0
    assert "it says hello" in judged.stdout
    gone = pulumi("destroy", "--yes", "--skip-preview")
    assert gone.returncode == 0, gone.stdout + gone.stderr


def made(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


HOST = ("pulumi-language-python", "pulumi-language-python-exec")
WHOLE = ("pulumi", *HOST, "pulumi-resource-pulumi-python")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No CLI on PATH, an empty cache, no installer to be reached, no Go."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cli, "INSTALLER", (tmp_path / "absent.sh").as_uri())
    return tmp_path


def test_without_any_way_each_is_named(nowhere):
    assert cli.find() is None
    with pytest.raises(cli.Unobtainable, match=r"installer cannot be downloaded .*; Go is not installed"):
        cli.get()
    assert [*(nowhere / "cache").rglob(".new-*")] == []


def test_a_cli_on_the_path_is_used(nowhere):
    made(nowhere / "bin", "pulumi", *HOST)
    assert cli.get() == nowhere / "bin"


def test_a_cli_on_the_path_without_its_language_host_is_not(nowhere):
    made(nowhere / "bin", "pulumi")
    assert cli.find() is None


def test_the_cache_is_used_when_it_is_whole(nowhere):
    cached = cli._cached()
    cached.parent.mkdir(parents=True)
    made(cached, *WHOLE)
    assert cli.get() == cached
    (cached / "pulumi").unlink()
    assert cli.find() is None


def test_a_folder_that_was_told_counts_alone(nowhere, monkeypatch: pytest.MonkeyPatch):
    made(nowhere / "bin", *WHOLE)
    monkeypatch.setenv("AZURE_ROTATOR_PULUMI_CLI_DIR", str(nowhere / "absent"))
    assert cli.find() is None


INSTALLER = """
while [ $# -gt 0 ]; do [ "$1" = --install-root ] && root=$2; shift; done
mkdir -p "$root/bin"
for name in {names}; do printf '#!/bin/sh\\necho v9\\n' > "$root/bin/$name"; chmod +x "$root/bin/$name"; done
{last}
"""


@pytest.mark.parametrize(
    ("last", "seconds", "said"),
    [
        pytest.param("", 20, None, id="works"),
        pytest.param("echo no such version; exit 3", 20, r"failed \(3\): no such version", id="fails"),
        pytest.param("sleep 600", 0.5, "did not end within", id="hangs"),
    ],
)
def test_the_official_installer_comes_before_the_build_and_is_bounded(
    nowhere, monkeypatch: pytest.MonkeyPatch, last, seconds, said
):
    script = nowhere / "install.sh"
    script.write_text(INSTALLER.format(names=" ".join(WHOLE), last=last))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(cli, "INSTALLER", script.as_uri())
    monkeypatch.setattr(cli, "BUILD_SECONDS", seconds)
    if said:
        with pytest.raises(cli.Unobtainable, match=said):
            cli.get()
    else:
        assert cli.get() == cli._cached()
        assert cli.find() == cli._cached()


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [(None, "pulumi CLI not found: 1 end-to-end tests did not run"), ("true", "*the Pulumi CLI is missing*")],
    ids=["a person's machine", "CI"],
)
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_a_missing_cli_is_told_or_fails(monkeypatch: pytest.MonkeyPatch, tmp_path, ci, outcome, workers):
    monkeypatch.setenv("AZURE_ROTATOR_PULUMI_CLI_DIR", str(tmp_path))
    monkeypatch.setenv("CI", ci or "")
    command = [sys.executable, "-m", "pytest", "-q", *workers, f"{Path(__file__).relative_to(ROOT)}::{E2E}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode == 1) is bool(ci), result.stdout
    assert outcome.strip("*") in result.stdout


E2E = test_up_twice_policy_and_destroy.__name__
