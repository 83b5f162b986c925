"""The Azure clouds: which host answers for what, and which token audiences each surface accepts.

Sources: "National clouds" and "Microsoft Graph national cloud deployments" on learn.microsoft.com, and
``azure.core.AzureClouds`` for the Resource Manager audiences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SurfaceName = Literal["login", "graph", "arm", "blob", "vault", "identity"]

GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
"""Microsoft Graph's own appId, the same in every tenant and cloud."""

ARM_APP_ID = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
"""Azure Resource Manager's own appId ("Windows Azure Service Management API")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One Azure cloud. Hosts are bare names; audiences are resource URIs without a trailing slash."""

    name: str
    login: str
    graph: tuple[str, ...]
    arm: str
    arm_audiences: tuple[str, ...]
    storage_suffix: str
    vault_suffix: str
    data_plane: tuple[str, ...] = ()

    @property
    def graph_audiences(self) -> tuple[str, ...]:
        """Audiences that this cloud's Graph accepts: its URIs, and its appId."""
        return (*(f"https://{host}" for host in self.graph), GRAPH_APP_ID)

    def blob_host(self, account: str) -> str:
        """The host name of an account's blob service."""
        return f"{account}.blob.{self.storage_suffix}"

    def vault_host(self, vault: str) -> str:
        """The host name of a key vault."""
        return f"{vault.lower()}.{self.vault_suffix}"


PUBLIC = Cloud(
    name="public",
    login="login.microsoftonline.com",
    graph=("graph.microsoft.com",),
    arm="management.azure.com",
    arm_audiences=("https://management.azure.com", "https://management.core.windows.net"),
    storage_suffix="core.windows.net",
    vault_suffix="vault.azure.net",
    data_plane=("https://storage.azure.com", "https://vault.azure.net"),
)
USGOV = Cloud(
    name="usgov",
    login="login.microsoftonline.us",
    graph=("graph.microsoft.us", "dod-graph.microsoft.us"),
    arm="management.usgovcloudapi.net",
    arm_audiences=("https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net"),
    storage_suffix="core.usgovcloudapi.net",
    vault_suffix="vault.usgovcloudapi.net",
    data_plane=("https://storage.azure.com", "https://vault.usgovcloudapi.net"),
)
CHINA = Cloud(
    name="china",
    login="login.chinacloudapi.cn",
    graph=("microsoftgraph.chinacloudapi.cn",),
    arm="management.chinacloudapi.cn",
    arm_audiences=("https://management.chinacloudapi.cn", "https://management.core.chinacloudapi.cn"),
    storage_suffix="core.chinacloudapi.cn",
    vault_suffix="vault.azure.cn",
    data_plane=("https://storage.azure.com", "https://vault.azure.cn"),
)

CLOUDS: Mapping[str, Cloud] = {cloud.name: cloud for cloud in (PUBLIC, USGOV, CHINA)}

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1"})
"""Names under which the TLS server may be met without the proxy; the path then tells the surface."""


def _surfaces() -> dict[str, tuple[Cloud, SurfaceName]]:
    table: dict[str, tuple[Cloud, SurfaceName]] = {}
    for cloud in CLOUDS.values():
        table[cloud.login] = (cloud, "login")
        table[cloud.arm] = (cloud, "arm")
        table.update(dict.fromkeys(cloud.graph, (cloud, "graph")))
    return table


HOSTS: Mapping[str, tuple[Cloud, SurfaceName]] = _surfaces()
"""Every emulated host name that is the same for everybody. The proxy connects to these and to :func:`data_host`s."""


def _data_zones() -> dict[str, tuple[Cloud, SurfaceName]]:
    table: dict[str, tuple[Cloud, SurfaceName]] = {}
    for cloud in CLOUDS.values():
        table[f"blob.{cloud.storage_suffix}"] = (cloud, "blob")
        table[cloud.vault_suffix] = (cloud, "vault")
    return table


_DATA_ZONES = _data_zones()

WILDCARDS = frozenset(f"*.{zone}" for zone in _DATA_ZONES)
"""What the server's certificate names for the hosts of accounts and vaults, which come and go."""


def data_host(host: str) -> tuple[Cloud, SurfaceName, str] | None:
    """Whose data plane a host name is: cloud, surface and the account's or vault's name; None for any other name."""
    name, _, zone = host.lower().partition(".")
    found = _DATA_ZONES.get(zone)
    return (*found, name) if found and name else None


def surface_for(host: str, path: str) -> tuple[Cloud | None, SurfaceName]:
    """Say who answers a request. Hosts that are not emulated don't come here: the proxy turns them away.

    Args:
        host: the Host header without its port, in any case.
        path: the request's path, with doubled slashes already collapsed.

    Returns:
        The cloud and the surface. The cloud is None on a loopback name, where any cloud's tenant is served.
    """
    host = host.lower()
    if host in HOSTS:
        return HOSTS[host]
    if (data := data_host(host)) is not None:
        return data[:2]
    first = path.lstrip("/").split("/", 1)[0].lower()
    if first in {"v1.0", "beta"}:
        return None, "graph"
    if first in {"subscriptions", "providers"}:
        return None, "arm"
    return None, "login"
