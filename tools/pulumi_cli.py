#!/usr/bin/env python3
"""Find the Pulumi CLI, or get it: prints the folder to put on PATH.

In this order: a `pulumi` on PATH with its Python language host; the cache, which all clones share; the official
installer, where downloads are possible; the Go client, from the modules pinned in tools/pulumi-cli (minutes the first
time). Runs on the Python of a bare machine, so: standard library only. The folder goes to stdout, all talk to stderr.

    PATH="$(tools/pulumi_cli.py):$PATH" pulumi version
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSION = "v3.192.0"
MODULE = Path(__file__).resolve().parent / "pulumi-cli"
PACKAGES = (
    "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    "github.com/pulumi/pulumi/sdk/python/cmd/pulumi-language-python/v3",
)
SDK = "github.com/pulumi/pulumi/sdk/v3"
# The language host and the dynamic provider are started through these scripts of the sdk module.
SCRIPTS = (
    "python/cmd/pulumi-language-python-exec",
    "python/dist/pulumi-resource-pulumi-python",
    "python/dist/pulumi-analyzer-policy-python",
)
INSTALLER = "https://get.pulumi.com/install.sh"
INSTALLER_SECONDS = 60
BUILD_SECONDS = 1800


class Unobtainable(Exception):
    """The CLI is not on this machine and could not be got; the message says why, way by way."""


def find() -> Path | None:
    """The folder of a CLI that is already here, or None. Never downloads."""
    told = os.environ.get("AZURE_ROTATOR_PULUMI_CLI_DIR")
    if told:
        return Path(told) if _complete(Path(told)) else None
    return _on_path() or (_cached() if _complete(_cached()) else None)


def get() -> Path:
    """The folder of the CLI, obtained if need be.

    Raises:
        Unobtainable: neither found, nor downloaded, nor built.
    """
    found = find()
    if found:
        return found
    target = _cached()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(target.parent / ".lock"):
        if _complete(target):  # another clone was faster
            return target
        reasons = []
        for way in (_install, _build):
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
            try:
                way(fresh)
                _prove(fresh)
                fresh.chmod(0o755)
                if target.exists():  # a half-made one of an older day
                    shutil.rmtree(target)
                fresh.rename(target)
            except Unobtainable as error:
                reasons.append(str(error))
            else:
                _say(f"ready in {target}")
                return target
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    raise Unobtainable("; ".join(reasons))


def _on_path() -> Path | None:
    pulumi = shutil.which("pulumi")
    if not pulumi:
        return None
    # Plugins are looked for on PATH first, then beside the real executable.
    beside = Path(pulumi).resolve().parent
    path = f"{os.environ.get('PATH', '')}{os.pathsep}{beside}"
    if shutil.which("pulumi-language-python", path=path) and shutil.which("pulumi-language-python-exec", path=path):
        return Path(pulumi).parent
    return None


def _cached() -> Path:
    pins = (MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "azure-rotator" / "pulumi-cli" / hashlib.sha256(pins).hexdigest()[:16]


def _complete(folder: Path) -> bool:
    names = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
    return all(os.access(folder / name, os.X_OK) for name in names)


def _install(fresh: Path) -> None:
    """Official installer: fast where downloads are possible; where they are not, it must not cost time."""
    try:
        with urllib.request.urlopen(INSTALLER, timeout=5) as reply:
            script = reply.read()
    except (urllib.error.URLError, OSError) as error:
        raise Unobtainable(f"the official installer cannot be downloaded ({getattr(error, 'reason', error)})") from None
    root = fresh / "install"
    command = ["sh", "-s", "--", "--no-edit-path", "--install-root", str(root), "--version", VERSION.removeprefix("v")]
    seconds = INSTALLER_SECONDS if shutil.which("go") else BUILD_SECONDS  # without Go there is nothing to fall back to
    _run(command, "the official installer", cwd=fresh, seconds=seconds, script=script)
    for file in (root / "bin").iterdir():
        file.rename(fresh / file.name)
    shutil.rmtree(root)


def _build(fresh: Path) -> None:
    go = shutil.which("go")
    if not go:
        raise Unobtainable("Go is not installed, so it cannot be built either")
    # What a person set for other Go work (a workspace, -mod=mod, cgo) must not change what is built here; and an older
    # Go must say so, not fetch a toolchain.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    ldflags = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={VERSION}"
    command = [go, "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-tags", "osusergo,grpcnotrace"]
    command += ["-ldflags", ldflags, "-o", f"{fresh}{os.sep}", *PACKAGES]
    _run(command, "the Go build", cwd=MODULE, seconds=BUILD_SECONDS, environment=environment)
    listing = [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", SDK]
    sdk = subprocess.run(
        listing, cwd=MODULE, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    for script in SCRIPTS:
        # copyfile, not copy: files in the module cache are read-only.
        shutil.copyfile(Path(sdk) / script, fresh / Path(script).name)
    for file in fresh.iterdir():
        file.chmod(0o755)


def _prove(folder: Path) -> None:
    if not _complete(folder):
        raise Unobtainable(f"what was installed is not complete: {sorted(file.name for file in folder.iterdir())}")
    try:
        # A home of its own: nothing here touches a person's ~/.pulumi.
        with tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "PULUMI_HOME": home, "PULUMI_SKIP_UPDATE_CHECK": "true"}
            command = [str(folder / "pulumi"), "version"]
            said = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True, timeout=60
            ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Unobtainable(f"what was installed does not run: {error}") from None
    _say(f"pulumi {said.strip()}")


def _run(
    command: list[str],
    what: str,
    *,
    cwd: Path,
    seconds: float,
    environment: dict[str, str] | None = None,
    script: bytes | None = None,
) -> None:
    """Run with a progress line on stderr and a limit; on failure, raise with the last thing the command said."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        done = threading.Event()
        talk = threading.Thread(target=_progress, args=(what, done), daemon=True)
        talk.start()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE if script else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.communicate(script, timeout=seconds)
        except BaseException as error:
            # The whole group: a compiler or a download left behind would go on eating the machine.
            os.killpg(process.pid, 9)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Unobtainable(f"{what} did not end within {seconds:.0f} s") from None
            raise
        finally:
            done.set()
            talk.join()
        if process.returncode:
            log.seek(0)
            tail = " | ".join(line.strip() for line in log.readlines()[-5:])
            raise Unobtainable(f"{what} failed ({process.returncode}): {tail}")


def _progress(what: str, done: threading.Event) -> None:
    start, live = time.monotonic(), sys.stderr.isatty()
    _say(f"{what} runs; from source it takes two to five minutes the first time, later runs and other clones share it")
    while not done.wait(1 if live else 15):
        line = f"pulumi CLI: {what}, {time.monotonic() - start:.0f} s"
        print(f"\r{line} " if live else line, end="" if live else "\n", file=sys.stderr, flush=True)
    if live:
        print(file=sys.stderr)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another clone is getting it; waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"pulumi CLI: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Print the folder, or say why there is none."""
    parser = argparse.ArgumentParser(description="print the folder of the Pulumi CLI, getting it if need be")
    parser.add_argument("--find", action="store_true", help="only look; exit 1 if it is not here")
    arguments = parser.parse_args()
    try:
        folder = find() if arguments.find else get()
    except Unobtainable as error:
        _say(f"error: {error}")
        _say("hint: install Go >= 1.24 (it is then built from source), or put a pulumi on PATH")
        return 1
    if folder:
        print(folder)
    return 0 if folder else 1


if __name__ == "__main__":
    sys.exit(main())
