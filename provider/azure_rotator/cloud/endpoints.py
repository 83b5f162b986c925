"""The clouds' addresses, as ``azure-cloud`` names them.

Sources: "National clouds", "Microsoft Graph national cloud deployments", "Compare Azure Government and global Azure"
and "Azure in China developer guide" on learn.microsoft.com; Resource Manager's audiences: ``azure.core.AzureClouds``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.kinds import STORAGE_SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Host names of one Azure cloud: where to log in, Microsoft Graph, Resource Manager, and what the names of key
    vaults end in (of storage accounts: ``domain.kinds.STORAGE_SUFFIXES``).

    Args:
        arm_audience: Whom a token for Resource Manager is made for; not its host in the US Government's cloud.
    """

    cloud: str
    login_host: str
    graph_host: str
    arm_host: str
    arm_audience: str
    vault_suffix: str

    @property
    def graph_url(self) -> str:
        return f"https://{self.graph_host}/v1.0"

    @property
    def graph_scope(self) -> str:
        # Always given: without it the SDK asks for a token for whatever host it was pointed at.
        return f"https://{self.graph_host}/.default"

    @property
    def arm_url(self) -> str:
        return f"https://{self.arm_host}"

    @property
    def arm_scope(self) -> str:
        return f"https://{self.arm_audience}/.default"

    def blob_host(self, account: str) -> str:
        """Where a storage account's blob service answers."""
        return f"{account}.blob.{STORAGE_SUFFIXES[self.cloud]}"


CLOUDS: Mapping[str, Endpoints] = {
    one.cloud: one
    for one in (
        Endpoints(
            cloud="AzureCloud",
            login_host="login.microsoftonline.com",
            graph_host="graph.microsoft.com",
            arm_host="management.azure.com",
            arm_audience="management.azure.com",
            vault_suffix="vault.azure.net",
        ),
        Endpoints(
            cloud="AzureUSGovernment",
            login_host="login.microsoftonline.us",
            graph_host="graph.microsoft.us",
            arm_host="management.usgovcloudapi.net",
            arm_audience="management.core.usgovcloudapi.net",
            vault_suffix="vault.usgovcloudapi.net",
        ),
        Endpoints(
            cloud="AzureChinaCloud",
            login_host="login.chinacloudapi.cn",
            graph_host="microsoftgraph.chinacloudapi.cn",
            arm_host="management.chinacloudapi.cn",
            arm_audience="management.chinacloudapi.cn",
            vault_suffix="vault.azure.cn",
        ),
    )
}


def endpoints_of(cloud: str) -> Endpoints:
    """The addresses of a cloud.

    Raises:
        Rejected: ``ParameterInvalid``, no such cloud.
    """
    found = CLOUDS.get(cloud)
    if found is None:
        raise Rejected(
            "ParameterInvalid", f"azure cloud {cloud!r} is not known", hint=f"one of {', '.join(sorted(CLOUDS))}"
        )
    return found
