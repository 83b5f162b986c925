"""The clouds' addresses, as ``azure-cloud`` names them.

Sources: "National clouds" and "Microsoft Graph national cloud deployments" on learn.microsoft.com.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from azure_rotator.domain.errors import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Host names of one Azure cloud: where to log in, and its Microsoft Graph."""

    cloud: str
    login_host: str
    graph_host: str

    @property
    def graph_url(self) -> str:
        return f"https://{self.graph_host}/v1.0"

    @property
    def graph_scope(self) -> str:
        # Always given: without it the SDK asks for a token for whatever host it was pointed at.
        return f"https://{self.graph_host}/.default"


CLOUDS: Mapping[str, Endpoints] = {
    one.cloud: one
    for one in (
        Endpoints(cloud="AzureCloud", login_host="login.microsoftonline.com", graph_host="graph.microsoft.com"),
        Endpoints(cloud="AzureUSGovernment", login_host="login.microsoftonline.us", graph_host="graph.microsoft.us"),
        Endpoints(
            cloud="AzureChinaCloud",
            login_host="login.chinacloudapi.cn",
            graph_host="microsoftgraph.chinacloudapi.cn",
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
