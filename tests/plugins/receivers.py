"""Real receivers of events: an HTTPS server and a mail server in this process, and what reached them.

    def test_a_call(webhook):                       # webhook.url, trusted through SSL_CERT_FILE
        ...
        (call,) = webhook.calls
        assert call.events[0]["event_type"] == "rotated-secret-success"

``webhook.answers`` holds what is answered next, ``webhook.during`` is called while a call is under way.
"""

from __future__ import annotations

import base64
import contextlib
import email
import hashlib
import hmac
import json
import os
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import trustme

HOST = "localhost"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    presented: str | None

    @property
    def events(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", json.loads(self.body))

    @property
    def ids(self) -> list[str]:
        return [event["event_id"] for event in self.events]

    def signed_at(self, key: str) -> int:
        """When it was signed; fails unless the signature is right. Written after features 3.8, not after our code."""
        stamp, _, mark = self.headers["x-azure-rotator-signature"].partition(",")
        name, _, instant = stamp.partition("=")
        version, _, given = mark.partition("=")
        assert (name, version) == ("t", "v1")
        wanted = hmac.digest(key.encode(), instant.encode() + b"." + self.body, hashlib.sha256).hex()
        assert hmac.compare_digest(wanted, given)
        return int(instant)


class Webhook:
    """An HTTPS server."""

    def __init__(self, certificate: ssl.SSLContext) -> None:
        self.calls: list[Call] = []
        self.answers: list[Answer] = []
        self.during: Callable[[Call], object] = lambda call: None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                subject = cast("ssl.SSLSocket", self.connection).getpeercert() or {}
                names = [value for part in cast("Any", subject.get("subject", ())) for key, value in part]
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.path, headers, body, names[-1] if names else None)
                outer.calls.append(call)
                outer.during(call)
                answer = outer.answers.pop(0) if outer.answers else Answer()
                self.send_response(answer.status)
                for name, value in {"Content-Length": "0", **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                """Nothing."""

        self._server = _Quiet((HOST, 0), Handler)
        self._server.socket = certificate.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.origin = f"https://{HOST}:{self._server.server_address[1]}"
        self.url = f"{self.origin}/hook"

    @contextmanager
    def serving(self) -> Iterator[Webhook]:
        with _serving(self._server):
            yield self


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


class Mailbox:
    """A mail server that speaks as much SMTP as a client needs.

    Attributes:
        mails: What was taken.
        refused: Addresses that it does not take.
        login: The user and password it wants, or None.
        offers_tls: Whether it offers STARTTLS.
    """

    def __init__(self, certificate: ssl.SSLContext, *, from_the_start: bool = False) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refused: dict[str, int] = {}
        self.login: tuple[str, str] | None = None
        self.offers_tls = True
        self.in_clear: list[str] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                conversation = _Conversation(outer, self, certificate, encrypted=from_the_start)
                try:
                    conversation.run()
                finally:
                    conversation.close()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that does not trust it goes away."""

        self._server = Server((HOST, 0), Handler)
        if from_the_start:
            self._server.socket = certificate.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]

    @contextmanager
    def serving(self) -> Iterator[Mailbox]:
        with _serving(self._server):
            yield self


class _Conversation:
    def __init__(
        self, box: Mailbox, handler: socketserver.StreamRequestHandler, certificate: ssl.SSLContext, *, encrypted: bool
    ) -> None:
        self._box, self._certificate = box, certificate
        self._connection = handler.connection
        self._file: Any = self._connection.makefile("rwb")
        self._encrypted = encrypted
        self._to: list[str] = []

    def close(self) -> None:
        self._connection.close()
        with contextlib.suppress(OSError):
            self._file.close()

    def run(self) -> None:
        self._say("220 ready")
        while line := self._file.readline():
            command = line.decode().strip()
            verb = command.partition(" ")[0].upper()
            if not self._encrypted:
                self._box.in_clear.append(verb)
            if verb == "QUIT":
                self._say("221 bye")
                return
            getattr(self, f"_{verb.lower()}", self._unknown)(command)

    def _ehlo(self, command: str) -> None:
        offers = ["AUTH PLAIN"] if self._encrypted else ["STARTTLS"] if self._box.offers_tls else []
        lines = [HOST, *offers]
        for line in lines[:-1]:
            self._say(f"250-{line}")
        self._say(f"250 {lines[-1]}")

    def _starttls(self, command: str) -> None:
        if not self._box.offers_tls:
            self._unknown(command)
            return
        self._say("220 go on")
        self._file.close()
        self._connection = self._certificate.wrap_socket(self._connection, server_side=True)
        self._file = self._connection.makefile("rwb")
        self._encrypted = True

    def _auth(self, command: str) -> None:

        _, user, password = base64.b64decode(command.split()[2]).decode().split("\0")
        self._say("235 welcome" if (user, password) == self._box.login else "535 no")

    def _mail(self, command: str) -> None:
        self._to = []
        self._say("250 ok")

    def _rcpt(self, command: str) -> None:
        address = command.partition("<")[2].partition(">")[0]
        code = self._box.refused.get(address)
        if code is None:
            self._to.append(address)
        self._say("250 ok" if code is None else f"{code} no")

    def _data(self, command: str) -> None:
        self._say("354 go on")
        lines = []
        while (line := self._file.readline()) not in (b".\r\n", b""):
            lines.append(line)
        self._box.mails.append(email.message_from_bytes(b"".join(lines), policy=SMTP))
        self._box.recipients.append(self._to)
        self._say("250 taken")

    def _rset(self, command: str) -> None:
        self._say("250 ok")

    def _unknown(self, command: str) -> None:
        self._say("502 unknown")

    def _say(self, line: str) -> None:
        self._file.write(f"{line}\r\n".encode())
        self._file.flush()


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Authority:
    """Who signs the receivers' certificates, and clients' own."""

    ca: trustme.CA
    ca_file: Path

    def server(self, host: str = HOST) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(host).configure_cert(context)
        context.load_verify_locations(self.ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client(self) -> str:
        """A certificate and its key, as ``client_certificate`` takes it."""
        issued = self.ca.issue_cert("client@example.org", common_name="the-client")
        return issued.private_key_and_cert_chain_pem.bytes().decode()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca, file = trustme.CA(), tmp_path_factory.mktemp("receivers") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return Authority(ca, file)


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Authority:
    """Receivers are trusted, beside whom this process trusts already."""
    known = os.environ.get("SSL_CERT_FILE")
    both = tmp_path / "trusted.pem"
    parts = [authority.ca_file.read_text(), Path(known).read_text() if known else ""]
    both.write_text("\n".join(parts))
    monkeypatch.setenv("SSL_CERT_FILE", str(both))
    return authority


@pytest.fixture
def webhook(trusted: Authority) -> Iterator[Webhook]:
    with Webhook(trusted.server()).serving() as running:
        yield running


@pytest.fixture
def mailbox(trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with Mailbox(trusted.server()).serving() as running:
        settings = {"HOST": HOST, "PORT": str(running.port), "FROM": "rotator@example.org"}
        for name, value in settings.items():
            monkeypatch.setenv(f"AZURE_ROTATOR_SMTP_{name}", value)
        yield running


@dataclass
class Collector:
    """A real receiver of OTLP over HTTP, and what reached it."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def received(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    @property
    def spans(self) -> list[Any]:
        """In the order in which they began."""
        found = [
            span
            for request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def resource(self) -> dict[str, str]:
        return attributes(self.received[0].resource_spans[0].resource)


def attributes(of: Any) -> dict[str, Any]:
    """Of a span or a resource."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """The environment leads to it."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            found.headers.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
