"""Azurite, Microsoft's own storage emulator, as the data plane of the sandbox's accounts: optional, for who has it.

The sandbox stays in front: it knows the accounts and their keys, and passes requests to blob services on. Azurite
checks their signatures by itself, against a file with the keys that count at this moment; so it is a second opinion
about what a rotated key opens, and real containers and blobs are behind it.

    npm install azurite            # in any folder
    azure-sandbox start --azurite that-folder

What Azurite lacks (accounts without Shared Key) the sandbox adds; where it says AuthorizationFailure, Azure says
AuthenticationFailed, and so does this. Azurite has one name space: two clouds' accounts of one name are one to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import shutil
from collections.abc import Mapping
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

from azure_sandbox.accounts import ACCESS_KEYS
from azure_sandbox.authority import write_private
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call
from azure_sandbox.safe import Safe

_READY_SECONDS = 30.0
_ANSWER_SECONDS = 30.0
_LISTENS = re.compile(rb"listens on http://127\.0\.0\.1:(\d+)")
_OF_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "date", "content-length"})


class NoAzurite(Exception):
    """Azurite can't be started; the message says why."""


def find_package(folder: Path) -> Path:
    """The package in a folder in which npm installed it, or which it is.

    Raises:
        NoAzurite: it is not there.
    """
    for candidate in (folder / "node_modules" / "azurite", folder):
        if (candidate / "dist" / "src" / "blob" / "main.js").is_file():
            return candidate.resolve()
    raise NoAzurite(f"no azurite in {folder}: npm install azurite there first")


class Azurite:
    """A running blob service. ``start`` makes one; it ends with ``stop`` or with this process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        port: int,
        accounts_file: Path,
        directory: Directory,
        safe: Safe,
    ) -> None:
        self._process = process
        self._port = port
        self._accounts_file = accounts_file
        self._directory = directory
        self._safe = safe
        self._written: str | None = None
        # Nobody reads what it says later, but a full pipe would stop it.
        self._listening = asyncio.create_task(_drain(process))

    @classmethod
    async def start(cls, package: Path, state: Path, directory: Directory, safe: Safe) -> Azurite:
        """Start it on a port of its choice; blobs are kept in the state folder.

        Raises:
            NoAzurite: there is no Node.js, or it did not come up.
        """
        node = shutil.which("node")
        if node is None:
            raise NoAzurite("azurite needs Node.js, and there is no node on the PATH")
        folder = state / "azurite"
        folder.mkdir(mode=0o700, exist_ok=True)
        accounts_file = folder / "accounts"
        write_private(accounts_file, b"")
        names = ("PATH", "HOME", "LANG", "TMPDIR")
        environment = {name: os.environ[name] for name in names if name in os.environ}
        environment |= {"AZURITE_PACKAGE": str(package), "AZURITE_ACCOUNTS_FILE": str(accounts_file)}
        process = await asyncio.create_subprocess_exec(
            node,
            str(files("azure_sandbox").joinpath("azurite_blob.js")),
            *("--blobHost", "127.0.0.1", "--blobPort", "0", "--location", str(folder / "data")),
            *("--silent", "--disableTelemetry", "--skipApiVersionCheck"),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_READY_SECONDS):
                port = await _port(process)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if isinstance(error, TimeoutError):
                raise NoAzurite(f"azurite did not start within {_READY_SECONDS:.0f} s") from None
            raise
        return cls(process, port, accounts_file, directory, safe)

    async def stop(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()
        await self._listening

    async def pass_on(self, call: Call) -> Answer:
        """Let it answer a request, with the keys that the data plane takes now."""
        self._write_accounts(call)
        return await asyncio.to_thread(self._exchange, call)

    def _write_accounts(self, call: Call) -> None:
        """Replace the accounts file, whole or not at all, if a key has changed since; Azurite looks at each request."""
        lines: list[str] = []
        for account in self._directory.accounts.values():
            lag = timedelta(seconds=self._directory.behaviour_of(account).key_lag_seconds)
            keys = [key.accepted(self._safe, call.now, lag) for key in account.keys if key.name in ACCESS_KEYS]
            lines.append(":".join((account.name, *keys)))
        text = ";".join(lines)
        if text != self._written:
            write_private(self._accounts_file, text.encode())
            self._written = text

    def _exchange(self, call: Call) -> Answer:
        target = call.raw_path + (f"?{call.raw_query}" if call.raw_query else "")
        headers = {name: value for name, value in call.headers.items() if name not in _OF_CONNECTION}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_SECONDS)
        try:
            connection.putrequest(call.method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if call.body or "content-length" in call.headers:
                connection.putheader("content-length", str(len(call.body)))
            connection.endheaders(call.body or None)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        given = {name.lower(): value for name, value in response.getheaders()}
        return _as_azure(call, response.status, given, body)


async def _port(process: asyncio.subprocess.Process) -> int:
    said = b""
    while process.stdout is not None and (line := await process.stdout.readline()):
        said += line
        if match := _LISTENS.search(line):
            return int(match[1])
    raise NoAzurite(f"azurite did not start: {said.decode(errors='replace')[-1000:].strip()}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    while process.stdout is not None and await process.stdout.read(4096):
        pass


def _as_azure(call: Call, status: int, given: Mapping[str, str], body: bytes) -> Answer:
    """Azurite's answer in Azure's words."""
    headers = {name: value for name, value in given.items() if name not in _OF_CONNECTION}
    if call.method == "HEAD" and "content-length" in given:
        headers["content-length"] = given["content-length"]
    code = given.get("x-ms-error-code")
    if status == 403 and code == "AuthorizationFailure":
        code = headers["x-ms-error-code"] = "AuthenticationFailed"
        body = body.replace(b"<Code>AuthorizationFailure</Code>", b"<Code>AuthenticationFailed</Code>")
    return Answer(status=status, body=body, headers=headers, error_code=code)
