"""The HTTP endpoint of a scheduler: ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for who restarts it.

No credential is behind it, and nothing can be changed through it; it has no login either: bind it to an address that
only those reach who may read paths.
"""

from __future__ import annotations

import errno
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.ports import Observer
from azure_rotator.scheduler.loop import Scheduler
from azure_rotator.telemetry.metrics import KEEP_SECONDS, WAIT_SECONDS, Metrics, Shared

_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")
_REFUSED: Final = {
    errno.EADDRINUSE: "another program listens there",
    errno.EACCES: "this user may not listen there",
    errno.EADDRNOTAVAIL: "that is no address of this machine",
}
# A probe gives up after a second or a few.
_PROBE_SECONDS: Final = 3.0


class Endpoint:
    """Listens from the moment it is made, and answers within ``serving``.

    Args:
        address: A name or an address; ``::`` and ``0.0.0.0`` are all of this machine.
        port: 0 takes any that is free.
        metrics: What ``/metrics`` shows.

    Raises:
        Rejected: ``ParameterInvalid``, nobody can listen there.
    """

    def __init__(self, address: str, port: int, metrics: Metrics) -> None:
        self._metrics = metrics
        self._server = _listening(address, port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="azure-rotator-endpoint", daemon=True)
        self.address = address
        self.port: int = self._server.server_address[1]

    @contextmanager
    def serving(
        self,
        scheduler: Scheduler,
        observer: Observer,
        *,
        keep_seconds: float = KEEP_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> Iterator[None]:
        """Answer for this scheduler while the block runs; for the two durations see ``Metrics.add_scheduler``."""
        self._metrics.add_scheduler(scheduler, observer, keep_seconds=keep_seconds, wait_seconds=wait_seconds)
        store = Shared(scheduler.ask_store, keep_seconds=1.0, wait_seconds=_PROBE_SECONDS)
        self._server.set_app(_App(self._metrics, scheduler, store))
        self._thread.start()
        try:
            yield
        finally:
            self._server.shutdown()

    def close(self) -> None:
        """Listen no more."""
        self._server.server_close()


class _App:
    """The WSGI application."""

    def __init__(self, metrics: Metrics, scheduler: Scheduler, store: Shared[None]) -> None:
        self._scheduler = scheduler
        self._store = store
        self._pages: dict[str, Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]] = {
            "/metrics": cast(Any, make_wsgi_app(metrics.registry)),
            "/healthz": lambda environment, start: _told(start, self._scheduler.pulse.stuck()),
            "/readyz": lambda environment, start: _told(start, self._not_ready()),
        }

    def __call__(self, environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        page = self._pages.get(environment.get("PATH_INFO", ""))
        if page is None:
            return _said(start, "404 Not Found", f"there are {', '.join(sorted(self._pages))}")
        if environment["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _said(start, "405 Method Not Allowed", "there is nothing here to change")
        try:
            return page(environment, start)
        except Exception as fault:  # noqa: BLE001 - the server would print a traceback that nobody redacts
            return _said(start, "500 Internal Server Error", f"internal error: {type(fault).__name__}")

    def _not_ready(self) -> str:
        if reason := self._scheduler.pulse.not_ready():
            return reason
        try:
            self._store.get()
        except Exception as failed:  # noqa: BLE001 - whatever it is, the store cannot be used
            return f"the store cannot be used: {getattr(failed, 'code', type(failed).__name__)}"
        return ""


def _told(start: StartResponse, reason: str) -> Iterable[bytes]:
    return _said(start, "503 Service Unavailable" if reason else "200 OK", reason or "ok")


def _said(start: StartResponse, status: str, text: str) -> Iterable[bytes]:
    body = f"{text}\n".encode()
    start(status, [_TEXT, ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
    return [body]


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: Any) -> None:
        self.address_family = family
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family is socket.AF_INET6:
            # `::` is every address, also those of version 4.
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not that of HTTPServer: it would ask the resolver for this machine's name, and wait for its answer.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "azure-rotator", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: who connects and says nothing, or hangs up, is a load balancer's check or a scan of ports. The base
        class prints a traceback, which nobody redacts."""


class _Handler(WSGIRequestHandler):
    timeout = 10  # seconds: who does not finish his request does not keep a thread
    server_version = "azure-rotator"
    sys_version = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has
        """Nothing: a scrape every few seconds is no news."""


def _listening(address: str, port: int) -> _Server:
    try:
        family, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        return _Server(family, where)
    except socket.gaierror:
        why = "that is no address"
    except OSError as failed:
        why = _REFUSED.get(failed.errno or 0, failed.strerror or "it is refused")
    raise Rejected(
        "ParameterInvalid",
        f"metrics cannot be served at {address}, port {port}: {why}",
        hint="choose another --metrics-port (0 takes any that is free) or --metrics-address; nothing was started",
        details={"property": "metrics_port"},
    )
