"""`make up` and `make down`: the quickstart stack on a local Azure, all of it under the clone's .local/.

Nothing outside .local/ is read or written: own Pulumi home and file backend, own store, own key, own sandbox. Two
clones never meet, and a demonstration never mixes with a person's real store. Run as `python -m tools.quickstart up`.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools import pulumi_cli

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".local"
BIN = ROOT / ".venv" / "bin"
STACK = "quickstart"
STATE = LOCAL / "sandbox"
STORE = f"sqlite:///{LOCAL / 'store' / 'azure-rotator.db'}"
KEY_FILE = LOCAL / "key" / "azure-rotator.key"
PASSPHRASE = LOCAL / "pulumi" / "passphrase"
BACKEND = LOCAL / "pulumi" / "backend"


def environment(cli: Path) -> dict[str, str]:
    """What every command here gets; a person's own Azure and Pulumi settings stay outside."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "ARM_", "PULUMI_"))}
    return own | {
        "PATH": os.pathsep.join([str(BIN), str(cli), os.environ.get("PATH", os.defpath)]),
        "AZURE_ROTATOR_STORE": STORE,
        "AZURE_ROTATOR_KEY_FILE": str(KEY_FILE),
        "PULUMI_HOME": str(LOCAL / "pulumi" / "home"),
        "PULUMI_BACKEND_URL": BACKEND.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(PASSPHRASE),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def up(cli: Path) -> None:
    """Sandbox, stack, `pulumi up`; then what came of it and what to try next."""
    env = environment(cli)
    for folder in (BACKEND, STATE, KEY_FILE.parent, LOCAL / "store"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not PASSPHRASE.exists():
        with os.fdopen(os.open(PASSPHRASE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    _run(["azure-sandbox", "start", "--state", str(STATE)], env)
    _run(["pulumi", "stack", "select", "--create", "--stack", STACK, "--non-interactive"], env)
    _in_sandbox(["pulumi", "up", "--stack", STACK, "--yes", "--skip-preview", "--non-interactive"], env)
    shown = _run(["pulumi", "stack", "output", "--stack", STACK, "--json"], env, capture=True)
    _tell(json.loads(shown))


def down(cli: Path) -> None:
    """Destroy the stack, show what the sandbox counted, stop it. Works again after a run that broke off."""
    env = environment(cli)
    if not PASSPHRASE.exists():
        print("nothing is up")
        return
    _run(["azure-sandbox", "start", "--state", str(STATE)], env)
    _in_sandbox(["pulumi", "destroy", "--stack", STACK, "--yes", "--skip-preview", "--non-interactive"], env)
    print("\nwhat the local Azure counted:")
    # With the stack gone nobody answers for any minted secret: one that is left is an orphan.
    _run(["azure-sandbox", "journal", "--state", str(STATE), "--counts", "--managed", ""], env)
    _run(["azure-sandbox", "stop", "--state", str(STATE)], env)


def _tell(outputs: dict[str, Any]) -> None:
    width = max((len(name) for name in outputs), default=0)
    print("\nthe stack's outputs:")
    for name, value in outputs.items():
        print(f"  {name:<{width}}  {value}")
    name = outputs.get("path") or outputs.get("name") or "NAME"
    command = ["azure-rotator", "rotated-secret", "get-value", "--name", str(name), "--json"]
    print("\nread the secret:")
    print(
        f"  AZURE_ROTATOR_STORE={shlex.quote(STORE)} AZURE_ROTATOR_KEY_FILE={shlex.quote(str(KEY_FILE))}"
        f" .venv/bin/azure-sandbox run --state .local/sandbox -- .venv/bin/{shlex.join(command)}"
    )


def _in_sandbox(command: list[str], env: dict[str, str]) -> None:
    _run(["azure-sandbox", "run", "--state", str(STATE), "--", *command], env)


def _run(command: list[str], env: dict[str, str], *, capture: bool = False) -> str:
    kept = subprocess.PIPE if capture else None
    # Looked up in the PATH given to the child, not in ours.
    done = subprocess.run(["env", *command], env=env, cwd=ROOT, check=False, stdout=kept, text=True)
    if done.returncode:
        print(f"error: {shlex.join(command)} ended with {done.returncode}", file=sys.stderr)
        sys.exit(1)
    return done.stdout or ""


def main() -> int:
    """Run `up` or `down`."""
    verbs = {"up": up, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        print("usage: quickstart.py up|down", file=sys.stderr)
        return 2
    try:
        cli = pulumi_cli.get()
    except pulumi_cli.Unobtainable as error:
        print(f"error: no Pulumi CLI: {error}", file=sys.stderr)
        print("hint: install Go >= 1.24 (it is then built from source), or put a pulumi on PATH", file=sys.stderr)
        return 1
    verbs[sys.argv[1]](cli)
    return 0


if __name__ == "__main__":
    sys.exit(main())
