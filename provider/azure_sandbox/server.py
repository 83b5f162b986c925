"""The sandbox's process: TLS server, proxy and control API on 127.0.0.1, in one event loop.

``python -m azure_sandbox.server --state DIR`` runs it in the foreground; ``azure-sandbox start`` runs it behind.
A lock on the state folder says who owns it, and dies with the process, so a killed sandbox leaves nothing to clean up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from azure_sandbox.address import ADDRESS_FILE, read_address
from azure_sandbox.arm import Arm
from azure_sandbox.authority import write_private
from azure_sandbox.azurite import Azurite, NoAzurite, find_package
from azure_sandbox.blob import Blob
from azure_sandbox.control import Control
from azure_sandbox.gateway import TRANSPORT, Gateway
from azure_sandbox.graph import Graph
from azure_sandbox.identities import Identities
from azure_sandbox.login import Login
from azure_sandbox.proxy import Proxy
from azure_sandbox.seed import BadSeed
from azure_sandbox.vault import KeyVault
from azure_sandbox.world import World

LOCK_FILE = "lock"
_LOCK_ATTEMPTS = 10


class Owned(Exception):
    """Another process has the state folder."""


class _Protocol(H11Protocol):
    """HTTP/1.1 whose application sees the transport, so that a fault can cut the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        inner: ASGIApp = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[TRANSPORT] = transport
            await inner(scope, receive, send)

        self.app = with_transport


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def owning(state: Path) -> Iterator[None]:
    """Own a state folder for a while; it is made if need be, readable by its owner alone.

    Raises:
        Owned: another process has it.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Whoever looks whether a sandbox runs holds the lock for a moment, so one refusal says nothing.
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _LOCK_ATTEMPTS - 1:
                    raise Owned(f"another sandbox is running on {state}") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


async def serve(
    world: World, *, ready_fd: int | None = None, until_eof_fd: int | None = None, azurite: Path | None = None
) -> None:
    """Serve a world until a signal, a stop over the control API, or the end of ``until_eof_fd``.

    Args:
        world: an open world; the caller closes it.
        ready_fd: a pipe's end that is told ``ready`` and closed once every port listens.
        until_eof_fd: a pipe's end; the sandbox ends when its writer does.
        azurite: where Azurite is installed, to answer for the blob services; None does without.

    Raises:
        NoAzurite: it can't be started.
    """
    state = world.state
    before = read_address(state) or {}
    tls, proxy_socket, control_socket, identity_socket = (
        _listen(before.get(name)) for name in ("tls_port", "proxy_port", "control_port", "identity_port")
    )
    stopping = asyncio.Event()
    token = secrets.token_urlsafe(32)
    address: dict[str, Any] = {
        "pid": os.getpid(),
        "version": _version(),
        "state": str(state),
        "tls_port": tls.getsockname()[1],
        "proxy_port": proxy_socket.getsockname()[1],
        "control_port": control_socket.getsockname()[1],
        "identity_port": identity_socket.getsockname()[1],
    }
    blob = Blob(world.directory, world.mint, world.safe)
    storage: Azurite | None = None
    if azurite is not None:
        storage = await Azurite.start(find_package(azurite), state, world.directory, world.safe)
        address["azurite"] = True
    gateway = Gateway(
        store=world.store,
        clock=world.clock,
        directory=world.directory,
        faults=world.faults,
        journal=world.journal,
        surfaces={
            "login": Login(world.directory, world.mint),
            "graph": Graph(world.directory, world.mint),
            "arm": Arm(world.directory, world.mint, world.safe),
            "blob": blob,
            "vault": KeyVault(world.directory, world.mint, world.safe),
            "identity": Identities(world.directory, world.mint, world.authority.identity_header),
        },
        data_plane=partial(blob.passed_on, azurite=storage) if storage else None,
    )
    proxy = Proxy(address["tls_port"], world.has_host)
    control = Control(world, token, stopping.set, lambda: {**address, "refused_hosts": dict(proxy.refused)})
    servers = [
        _server(gateway, server_file=world.authority.server_file),
        _server(control.application()),
        _server(gateway.only("identity")),
    ]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    if until_eof_fd is not None:
        loop.add_reader(until_eof_fd, stopping.set)
    tasks = [
        asyncio.create_task(server.serve(sockets=[listener]))
        for server, listener in zip(servers, (tls, control_socket, identity_socket), strict=True)
    ]
    listening = await asyncio.start_server(proxy.serve, sock=proxy_socket, limit=256 * 1024)
    await asyncio.gather(*(server.listening.wait() for server in servers))
    private = {"token": token, "identity_header": world.authority.identity_header}
    write_private(
        state / ADDRESS_FILE,
        json.dumps({**address, **private}).encode(),
    )
    if ready_fd is None:
        sys.stderr.write(f"azure-sandbox: listens on https://127.0.0.1:{address['tls_port']}; Ctrl+C ends it\n")
    else:
        os.write(ready_fd, b"ready")
        os.close(ready_fd)
    await stopping.wait()
    listening.close()
    world.faults.clear()
    await proxy.close()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks)
    if storage is not None:
        await storage.stop()


def _server(application: ASGIApp, *, server_file: Path | None = None) -> _Server:
    config = uvicorn.Config(
        application,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=300,
        timeout_graceful_shutdown=1,
        ssl_certfile=server_file,
    )
    return _Server(config)


def _listen(wanted_port: int | None) -> socket.socket:
    """Listen on loopback: on the port of last time if it is free, so that environments outlive a restart."""
    for port in dict.fromkeys((wanted_port or 0, 0)):
        # The protocol named: asyncio then sets TCP_NODELAY on what it accepts, else each answer waits 40 ms for an ACK.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(1024)
        except OSError:
            listener.close()
            continue
        listener.setblocking(False)
        return listener
    raise OSError("no port on 127.0.0.1 is free")


def _version() -> str:
    try:
        return version("azure-rotator")
    except PackageNotFoundError:
        return "unknown"


def main(arguments: list[str] | None = None) -> int:
    """Run the sandbox in the foreground. Exit code 0 after a stop, 1 when it could not start."""
    parser = argparse.ArgumentParser(prog="azure_sandbox.server")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--seed", type=Path, help="seed file for a folder that has no directory yet")
    parser.add_argument("--azurite", type=Path, help="folder in which npm installed azurite")
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--until-eof-fd", type=int)
    options = parser.parse_args(arguments)
    try:
        seed = options.seed.read_text(encoding="utf-8") if options.seed else None
        with owning(options.state), contextlib.closing(World(options.state, seed)) as world:
            descriptors = {"ready_fd": options.ready_fd, "until_eof_fd": options.until_eof_fd}
            asyncio.run(serve(world, **descriptors, azurite=options.azurite))
    except (Owned, BadSeed, NoAzurite, OSError) as error:
        sys.stderr.write(f"azure-sandbox: error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
