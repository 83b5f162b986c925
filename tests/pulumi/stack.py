"""A real stack: the Pulumi CLI on a file backend in a scratch folder, with a program that declares what a file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAM = """
import json
from pathlib import Path

import pulumi
from azure_rotator import AzureTarget, RotatedSecret, get_value

declared = json.loads(Path("declared.json").read_text())
config = pulumi.Config()


def told(arguments):
    return {name: config.require(value[7:]) if str(value).startswith("config:") else value
            for name, value in arguments.items()}


targets = {name: AzureTarget(name, **told(arguments)) for name, arguments in declared["targets"].items()}
for name, arguments in declared["secrets"].items():
    arguments = told(arguments)
    if "target" in arguments:
        arguments["target"] = targets[arguments["target"]]
    item = RotatedSecret(name, **arguments)
    pulumi.export(f"{name} version", item.version)
    if declared.get("export"):
        pulumi.export(f"{name} value", get_value(item))
        pulumi.export(f"{name} by path", get_value(item.name)["client_secret"])
"""


class Stack:
    """One stack of one project, and what it declares.

    Attributes:
        declared: ``{"targets": {resource name: arguments}, "secrets": {…}}``; ``target`` names an AzureTarget of the
            stack, ``config:KEY`` a configuration value. Change it between two operations.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder / "program"
        self.folder.mkdir()
        self.environment = dict(environment)
        self.backend = folder / "pulumi" / "backend"
        self.declared: dict[str, Any] = {"targets": {}, "secrets": {}}
        venv = Path(sys.executable).parents[1]
        runtime = f"runtime: {{name: python, options: {{toolchain: pip, virtualenv: {venv}}}}}\n"
        (self.folder / "Pulumi.yaml").write_text(f"name: shop\ndescription: a test\n{runtime}")
        (self.folder / "__main__.py").write_text(PROGRAM)
        self.run("stack", "init", "test")

    def configure(self, key: str, value: str, *, secret: bool) -> None:
        """Set a configuration value, by standard input: a command line is everybody's to read."""
        marking = "--secret" if secret else "--plaintext"
        subprocess.run(
            self.command("config", "set", marking, key),
            cwd=self.folder,
            env=self.environment,
            input=value,
            stdout=subprocess.DEVNULL,
            text=True,
            check=True,
            timeout=120,
        )

    def command(self, *arguments: str) -> list[str]:
        # Popen looks in our own PATH otherwise.
        return [f"{self.environment['PATH'].partition(os.pathsep)[0]}/pulumi", *arguments, "--non-interactive"]

    def write(self) -> None:
        (self.folder / "declared.json").write_text(json.dumps(self.declared))

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run and give the result, whatever it is; stdout and stderr joined in ``stdout``."""
        self.write()
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )

    def run(self, *arguments: str) -> str:
        """Run what must succeed, and give what it said."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """Run what must fail, and give what it said."""
        done = self.attempt(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stdout

    def up(self, *arguments: str) -> str:
        return self.run("up", "--yes", "--skip-preview", *arguments)

    def steps(self) -> dict[str, tuple[str, list[str]]]:
        """What a preview proposes: by resource name the operation and the inputs that differ, as Pulumi shows them."""
        self.write()
        done = subprocess.run(
            self.command("preview", "--json"),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, tuple[str, list[str]]] = {}
        for step in json.loads(done.stdout)["steps"]:
            old, new = (step.get(state, {}).get("inputs", {}) for state in ("oldState", "newState"))
            keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            if step["op"] != "same":
                found.setdefault(step["urn"].rpartition("::")[2], (step["op"], keys))
        return found

    def exported(self) -> str:
        return self.run("stack", "export")

    def resources(self) -> dict[str, dict[str, Any]]:
        """What the state holds, by resource name."""
        resources = json.loads(self.exported())["deployment"].get("resources", [])
        return {resource["urn"].rpartition("::")[2]: resource for resource in resources}

    def outputs(self, name: str) -> dict[str, Any]:
        outputs: dict[str, Any] = self.resources()[name]["outputs"]
        return outputs
