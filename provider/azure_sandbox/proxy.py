"""The loopback CONNECT proxy: official host names lead to the sandbox's TLS server, every other name to a refusal.

It is also the guard that nothing leaves the machine: a program started by ``azure-sandbox run`` reaches no real host.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

from azure_sandbox.clouds import HOSTS, data_host

_HEAD_LIMIT = 16 * 1024
_PIECE = 64 * 1024
_HEAD_SECONDS = 10.0


class Proxy:
    """Accepts ``CONNECT <known host>:443`` and pumps bytes to the TLS server; ``refused`` counts other hosts.

    ``is_there`` says whether an account's host exists. One that does not is answered as by a proxy whose look-up of the
    name fails, because that is how a program meets a mistyped account.
    """

    def __init__(self, tls_port: int, is_there: Callable[[str], bool]) -> None:
        self._tls_port = tls_port
        self._is_there = is_there
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused: Counter[str] = Counter()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, as :func:`asyncio.start_server` calls it."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cut all tunnels."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            host = self._wanted_host(head)
            if host is None:
                return
            if host not in HOSTS and data_host(host) is None:
                self.refused[host] += 1
                await _refuse(writer, b"403 Forbidden", f"{host} is not emulated, and nothing leaves this machine")
                return
            if host not in HOSTS and not self._is_there(host):
                await _refuse(writer, b"502 Bad Gateway", f"no such host here: {host}")
                return
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._tls_port)
            try:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
            finally:
                inner_writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # either side hung up, or never spoke HTTP
        finally:
            writer.close()

    def _wanted_host(self, head: bytes) -> str | None:
        """The host that a request is for, whatever its method; None when there is no making it out."""
        line = head.split(b"\r\n", 1)[0].decode("latin-1")
        method, _, rest = line.partition(" ")
        target = rest.partition(" ")[0]
        if method != "CONNECT":
            # Plain http through the proxy: no emulated service speaks it.
            return f"{target} ({method})" if target else None
        host, _, port = target.rpartition(":")
        return host.lower() if port == "443" else f"{target} (not port 443)"


async def _refuse(writer: asyncio.StreamWriter, status: bytes, text: str) -> None:
    body = f"azure-sandbox: {text}\n".encode()
    writer.write(
        b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (status, len(body), body)
    )
    await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        # Half of the tunnel has ended: end the other half too, abruptly where the server cut its side.
        writer.close()
