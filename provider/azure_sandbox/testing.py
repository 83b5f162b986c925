"""A sandbox for tests: a process of its own on a folder of its own, gone with the test.

    with Sandbox() as sandbox:
        app = sandbox.control.create_application(roles=["Application.ReadWrite.OwnedBy"], secrets=[{"name": "boot"}])
        subprocess.run([...], env=sandbox.environment())

One sandbox may serve many tests at once: each makes tenants and applications of its own and names them in its faults
and settings.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from azure_sandbox import environment as _environment
from azure_sandbox.address import read_address
from azure_sandbox.client import (
    AccountInfo,
    ApplicationInfo,
    Control,
    ControlError,
    FaultHandle,
    IdentityInfo,
    JournalEntry,
    SecretInfo,
    TenantInfo,
    UserInfo,
    VaultInfo,
)
from azure_sandbox.process import spawn

__all__ = [
    "AccountInfo",
    "ApplicationInfo",
    "Control",
    "ControlError",
    "FaultHandle",
    "IdentityInfo",
    "JournalEntry",
    "Sandbox",
    "SecretInfo",
    "TenantInfo",
    "UserInfo",
    "VaultInfo",
]


class Sandbox:
    """A sandbox process; it ends with this object, or with the process that made it.

    Attributes:
        state: the state folder.
        control: the control API's client; only between ``start`` and ``stop``.
    """

    def __init__(self, state: Path | None = None, *, seed: Path | None = None, azurite: Path | None = None) -> None:
        """Prepare; nothing is started yet.

        Args:
            state: a folder to use and keep; None makes a temporary one that goes with ``stop``.
            seed: a seed file instead of the default.
            azurite: a folder in which npm installed Azurite, which then answers for the blob services.
        """
        self._temporary = state is None
        self.state = state or Path(tempfile.mkdtemp(prefix="azure-sandbox-"))
        self._seed = seed
        self._azurite = azurite
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._control: Control | None = None

    @property
    def control(self) -> Control:
        """The control API's client."""
        if self._control is None:
            raise RuntimeError("the sandbox is not running")
        return self._control

    def start(self) -> Self:
        """Start the process and wait until it is ready; after ``stop`` or ``kill`` it goes on where it was.

        Raises:
            StartFailed: it did not become ready.
        """
        read_end, self._lifeline = os.pipe()
        try:
            self._process = spawn(self.state, seed=self._seed, azurite=self._azurite, until_eof_fd=read_end)
        except BaseException:
            self._close_lifeline()
            raise
        finally:
            os.close(read_end)
        self._control = Control.of(self.state)
        return self

    def stop(self) -> None:
        """End the process; a temporary folder goes too."""
        self._end(signal.SIGTERM)
        if self._temporary:
            shutil.rmtree(self.state, ignore_errors=True)

    def kill(self) -> None:
        """``kill -9``: nothing is flushed, nobody is answered. ``start`` brings it back, on the same ports."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """End the process and start it again on the same folder and ports."""
        self._end(signal.SIGTERM)
        return self.start()

    def environment(
        self, base: Mapping[str, str] | None = None, *, system_roots: bool = False, identity: str = "imds"
    ) -> dict[str, str]:
        """An environment whose programs meet this sandbox.

        Args:
            base: what to start from; None takes this process's environment.
            system_roots: trust the system's roots too, as ``azure-sandbox run`` does. Without them TLS contexts are
                made in a tenth of the time, and nothing but the sandbox can be reached anyway.
            identity: where programs find managed identities: ``imds`` or ``app-service``.
        """
        variables = self.variables(system_roots=system_roots, identity=identity)
        return _environment.applied(os.environ if base is None else base, variables)

    def variables(self, *, system_roots: bool = False, identity: str = "imds") -> dict[str, str]:
        """Only the variables that lead to this sandbox, for ``monkeypatch.setenv``.

        Args:
            system_roots: as for :meth:`environment`.
            identity: where programs find managed identities: ``imds`` or ``app-service``.
        """
        ca_file = self.state / ("ca-bundle.pem" if system_roots else "ca.pem")
        return {
            **_environment.variables(proxy_port=self._port("proxy_port"), ca_file=ca_file),
            **_environment.identity_variables(
                port=self._port("identity_port"), header=str(self._address()["identity_header"]), source=identity
            ),
        }

    @property
    def proxy(self) -> str:
        """The proxy's URL."""
        return f"http://127.0.0.1:{self._port('proxy_port')}"

    @property
    def identity_address(self) -> str:
        """The URL under which managed identities are asked for, in plain http."""
        return f"http://127.0.0.1:{self._port('identity_port')}"

    @property
    def address(self) -> str:
        """The TLS server's URL, for clients that take explicit endpoints."""
        return f"https://127.0.0.1:{self._port('tls_port')}"

    @property
    def ca_file(self) -> Path:
        """The sandbox's root certificate."""
        return self.state / "ca.pem"

    def demo_secret(self, application: str = "rotator") -> str:
        """The secret that the seed hands over for an application.

        Raises:
            FileNotFoundError: it hands over none.
        """
        return (self.state / "secrets" / application).read_text()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _address(self) -> dict[str, Any]:
        address = read_address(self.state)
        if address is None:
            raise RuntimeError("the sandbox has not been started")
        return address

    def _port(self, name: str) -> int:
        return int(self._address()[name])

    def _end(self, number: signal.Signals) -> None:
        process, self._process, self._control = self._process, None, None
        if process is not None:
            process.send_signal(number)
            process.wait()
        self._close_lifeline()

    def _close_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
