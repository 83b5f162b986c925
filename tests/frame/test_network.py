"""No test reaches beyond this machine, and none sees the person's own Azure or Pulumi."""

from __future__ import annotations

import os
import socket

import pytest
from pytest_socket import SocketConnectBlockedError


def test_loopback_is_open():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_unix_sockets_are_open(tmp_path):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "2001:db8::1"])
def test_everything_else_is_shut(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.socket(family) as client,
        pytest.warns(UserWarning, match="tried to use socket"),
        pytest.raises(SocketConnectBlockedError),
    ):
        client.connect((address, 443))


def test_the_persons_own_settings_are_out_of_sight():
    assert not [name for name in os.environ if name.startswith(("AZURE_", "ARM_")) or name.lower().endswith("_proxy")]
    assert [name for name in os.environ if name.startswith("PULUMI_")] == ["PULUMI_HOME"]
