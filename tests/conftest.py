"""What every test stands on: a hermetic environment, and the Pulumi CLI where there is one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import pulumi_cli as cli

pytest_plugins = ["tests.rows", "tests.plugins.azure", "tests.plugins.postgres", "tests.plugins.receivers"]

_NOT_RUN = pytest.StashKey[int]()


@pytest.fixture(scope="session", autouse=True)
def _hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the person's Azure login, proxies, Pulumi or default store; child processes inherit that."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AZURE_", "ARM_", "MSI_", "IDENTITY_", "PULUMI_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "PULUMI_HOME"):
            patch.setenv(name, str(home / name.lower()))
        yield


@pytest.fixture(scope="session")
def pulumi_cli(request: pytest.FixtureRequest) -> Path:
    """The folder of the Pulumi CLI. With CI set its absence is a failure, never a skip."""
    found = request.config.stash.get(_CLI, None)
    if found is None:
        pytest.fail("the Pulumi CLI is missing: run `make test`, which gets it", pytrace=False)
    return found


@pytest.fixture
def pulumi_environment(pulumi_cli: Path, tmp_path: Path) -> dict[str, str]:
    """Variables for `pulumi` in a scratch folder: file backend, own home, no look for updates or plugins."""
    backend = tmp_path / "pulumi" / "backend"
    backend.mkdir(parents=True)
    return {
        **os.environ,
        "PATH": f"{pulumi_cli}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "pulumi" / "home"),
        "PULUMI_BACKEND_URL": backend.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "made up for this test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


_CLI = pytest.StashKey[Path | None]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CLI] = cli.find()
    # Started in the background of a script, we are told to ignore Ctrl-C, and so would be every process of ours.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where the CLI is missing: on a person's machine its tests do not run, and the report says so; in CI they fail."""
    if config.stash[_CLI] or os.environ.get("CI"):
        return
    without = [item for item in items if item.get_closest_marker("e2e")]
    config.stash[_NOT_RUN] = len(without)
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if not item.get_closest_marker("e2e")]


def pytest_sessionfinish(session: pytest.Session) -> None:
    told: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if told is not None:  # an xdist worker tells the controller, which collects nothing itself
        told["e2e_not_run"] = session.config.stash.get(_NOT_RUN, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_NOT_RUN] = getattr(node, "workeroutput", {}).get("e2e_not_run", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    count = config.stash.get(_NOT_RUN, 0)
    if count:
        terminalreporter.write_line(f"pulumi CLI not found: {count} end-to-end tests did not run", yellow=True)
