"""The environment variables that lead a program to the sandbox, and keep it from everywhere else.

Azure's Python SDKs read them through three HTTP clients: requests (REQUESTS_CA_BUNDLE), aiohttp and httpx
(SSL_CERT_FILE), all three HTTPS_PROXY.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

UNSET = (
    "ALL_PROXY",
    "all_proxy",
    "SSL_CERT_DIR",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
)
"""Variables that would lead past the sandbox, its roots or its identities."""


IDENTITY_SOURCES = ("imds", "app-service")
"""Where a program may find managed identities: a virtual machine's metadata service, or App Service's endpoint."""


def identity_variables(*, port: int, header: str, source: str = "imds") -> dict[str, str]:
    """The variables that lead to the managed identities.

    Args:
        port: where the identity endpoints listen, in plain http, as on a real machine.
        header: what App Service's endpoint wants to be shown.
        source: one of :data:`IDENTITY_SOURCES`.

    Raises:
        ValueError: another source.
    """
    if source not in IDENTITY_SOURCES:
        raise ValueError(f"unknown identity source {source!r}; known: {', '.join(IDENTITY_SOURCES)}")
    if source == "imds":
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{port}"}
    return {"IDENTITY_ENDPOINT": f"http://127.0.0.1:{port}/msi/token", "IDENTITY_HEADER": header}


def variables(*, proxy_port: int, ca_file: Path) -> dict[str, str]:
    """The variables to set, but for the identities'.

    ``NO_PROXY`` names loopback and nothing else: whatever a person had in it would lead past the guard. Both spellings,
    because gRPC reads the lower-case one only: without it Pulumi's engine and its plugins, which meet on loopback,
    would be sent through the proxy.
    """
    loopback = "127.0.0.1,localhost"
    proxy = f"http://127.0.0.1:{proxy_port}"
    return {
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "HTTP_PROXY": proxy,
        "http_proxy": proxy,
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        "REQUESTS_CA_BUNDLE": str(ca_file),
        "CURL_CA_BUNDLE": str(ca_file),
        "SSL_CERT_FILE": str(ca_file),
    }


def applied(base: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """``base`` with the sandbox's variables set and the interfering ones gone."""
    return {name: value for name, value in base.items() if name not in UNSET} | dict(changes)
