"""The proxy: official names lead to the sandbox, everything else stays shut."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import httpx
import pytest

from azure_sandbox.clouds import HOSTS
from azure_sandbox.testing import Sandbox
from tests.sandbox.azure import NOBODY


def raw(sandbox: Sandbox, head: bytes) -> bytes:
    port = int(sandbox.proxy.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head)
        return connection.recv(4096)


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_every_official_name_has_a_certificate_and_an_answer(http: httpx.Client, host):
    assert http.get(f"https://{host}/{NOBODY}/x").status_code in {400, 401, 404}


def test_the_hosts_are_those_of_the_three_clouds():
    assert sorted(HOSTS) == sorted(
        (
            *("login.microsoftonline.com", "graph.microsoft.com", "management.azure.com"),
            *("login.microsoftonline.us", "graph.microsoft.us", "dod-graph.microsoft.us"),
            *("management.usgovcloudapi.net", "login.chinacloudapi.cn"),
            *("microsoftgraph.chinacloudapi.cn", "management.chinacloudapi.cn"),
        )
    )


def test_an_unknown_account_has_no_host(sandbox: Sandbox):
    for suffix in ("core.windows.net", "core.usgovcloudapi.net", "core.chinacloudapi.cn"):
        answer = raw(sandbox, f"CONNECT nobodyhasthis.blob.{suffix}:443 HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 502 ")


REFUSED = {
    "no account": b"CONNECT .blob.core.windows.net:443 HTTP/1.1\r\n\r\n",
    "another service of an account": b"CONNECT contososandbox.queue.core.windows.net:443 HTTP/1.1\r\n\r\n",
    "another host": b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    "another port": b"CONNECT graph.microsoft.com:80 HTTP/1.1\r\n\r\n",
    "an address": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n",
    "plain http": b"GET http://graph.microsoft.com/ HTTP/1.1\r\n\r\n",
    "a longer name": b"CONNECT graph.microsoft.com.example.com:443 HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED.keys())
def test_everything_else_is_403(sandbox: Sandbox, head):
    answer = raw(sandbox, head)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"nothing leaves this machine" in answer


def test_status_names_the_refused_hosts(sandbox: Sandbox):
    raw(sandbox, b"CONNECT storage.example.org:443 HTTP/1.1\r\n\r\n")
    assert sandbox.control.status()["refused_hosts"]["storage.example.org"] >= 1


@pytest.mark.parametrize("junk", [b"\x16\x03\x01junk\r\n\r\n", b"\r\n\r\n", b"CONNECT\r\n\r\n"])
def test_junk_does_not_hurt(sandbox: Sandbox, junk):
    raw(sandbox, junk)
    assert sandbox.control.status()["pid"]


def test_only_loopback_is_listened_on(sandbox: Sandbox):
    own = {f"{sandbox.control.status()[name]:04X}" for name in ("tls_port", "proxy_port", "control_port")}
    table = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()
    listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    found = [address for address in listening if address.split(":")[1] in own]
    assert len(found) == 3
    assert {address.split(":")[0] for address in found} == {"0100007F"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/{NOBODY}/v2.0/.well-known/openid-configuration", 400),
        ("/v1.0/applications", 401),
        (f"/subscriptions/{NOBODY}/providers/Microsoft.Storage/storageAccounts", 401),
    ],
    ids=["login", "graph", "arm"],
)
def test_explicit_endpoints_on_loopback_reach_all_surfaces(sandbox: Sandbox, path, status):
    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    with httpx.Client(verify=context, trust_env=False) as http:
        for host in ("127.0.0.1", "localhost"):
            port = sandbox.address.rsplit(":", 1)[1]
            assert http.get(f"https://{host}:{port}{path}").status_code == status
