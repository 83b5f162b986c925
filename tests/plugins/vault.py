"""A key vault on loopback, over TLS and behind a proxy, which passes everything else on to the sandbox.

It asks for a token as Key Vault does, with a challenge, and looks whom the token is for. What it then answers a test
says: ``vault.answers["name"] = (status, body, headers)``.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from azure_rotator.cloud.endpoints import CLOUDS

SUFFIXES = tuple(one.vault_suffix for one in CLOUDS.values())


@dataclass(slots=True)
class Vault:
    """What it answers, and what it was asked."""

    answers: dict[str, tuple[int, Any, Mapping[str, str]]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    resource: str | None = None
    """What the challenge names instead of the vault's own resource."""
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    """Host, path, and whether a token came along."""

    def answer(self, host: str, name: str) -> tuple[int, Any, Mapping[str, str]]:
        if name in self.answers:
            return self.answers[name]
        if name in self.secrets:
            identifier = f"https://{host}/secrets/{name}/{'0' * 32}"
            return 200, {"value": self.secrets[name], "id": identifier, "attributes": {"enabled": True}}, {}
        return 404, {"error": {"code": "SecretNotFound", "message": "A secret with this name was not found"}}, {}


@pytest.fixture
def vault(azure: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Vault]:
    """A vault of every name in every cloud."""
    from aiohttp import connector

    made = Vault()
    authority = trustme.CA()
    ca_file = tmp_path / "vault-ca.pem"
    authority.cert_pem.write_to_path(os.fspath(ca_file))
    connector._SSL_CONTEXT_VERIFIED.load_verify_locations(cafile=os.fspath(ca_file))
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(f"*.{suffix}" for suffix in SUFFIXES)).configure_cert(served)
    with _Https(made) as server, _Proxy(server.server_port, urlsplit(os.environ["HTTPS_PROXY"])) as proxy:
        server.socket = served.wrap_socket(server.socket, server_side=True)
        threads = [threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True) for one in (server, proxy)]
        for thread in threads:
            thread.start()
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
        yield made
        for one in (proxy, server):
            one.shutdown()


class _Https(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, vault: Vault) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.vault = vault

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is none of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Https

    def do_GET(self) -> None:
        vault, host = self.server.vault, self.headers["Host"].partition(":")[0]
        path = urlsplit(self.path).path
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        vault.asked.append((host, path, bool(token)))
        resource = vault.resource or f"https://{host.partition('.')[2]}"
        if not token:
            error = {"error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a token."}}
            login = "https://login.microsoftonline.com/0c0fee00-1111-4222-8333-444455556666"
            self._send(401, error, {"WWW-Authenticate": f'Bearer authorization="{login}", resource="{resource}"'})
        elif _audience(token) != resource:
            self._send(401, {"error": {"code": "Unauthorized", "message": "AKV10022: Invalid audience."}}, {})
        else:
            self._send(*vault.answer(host, path.split("/")[2]))

    def _send(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) + (5 if "X-Cut" in headers else 0)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = "X-Cut" in headers

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


def _audience(token: str) -> object:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["aud"]


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, vault_port: int, upstream: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.vault_port = vault_port
        self.upstream = (upstream.hostname, upstream.port)


class _Tunnel(socketserver.BaseRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(4096)
        host = head.split()[1].decode().partition(":")[0]
        is_vault = host.endswith(SUFFIXES)
        address = ("127.0.0.1", self.server.vault_port) if is_vault else self.server.upstream
        with socket.create_connection(address) as other:
            if is_vault:
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                other.sendall(head)
            _pump(self.request, other)


def _pump(one: socket.socket, other: socket.socket) -> None:
    while True:
        for source in select.select([one, other], [], [])[0]:
            try:
                data = source.recv(65536)
                (other if source is one else one).sendall(data)
            except OSError:
                return
            if not data:
                return
