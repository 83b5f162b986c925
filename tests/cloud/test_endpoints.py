"""The clouds' addresses, held against what Microsoft's own SDKs know of them."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from azure.core import AzureClouds
from azure.identity import AzureAuthorityHosts
from azure.mgmt.core.tools import get_arm_endpoints
from msgraph_core import NationalClouds

from azure_rotator.cloud.endpoints import CLOUDS, endpoints_of
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.kinds import STORAGE_SUFFIXES
from tests.rows import row

KNOWN = {
    "AzureCloud": (AzureClouds.AZURE_PUBLIC_CLOUD, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD, NationalClouds.Global),
    "AzureUSGovernment": (AzureClouds.AZURE_US_GOVERNMENT, AzureAuthorityHosts.AZURE_GOVERNMENT, NationalClouds.US_GOV),
    "AzureChinaCloud": (AzureClouds.AZURE_CHINA_CLOUD, AzureAuthorityHosts.AZURE_CHINA, NationalClouds.China),
}


@row("B-14")
@pytest.mark.parametrize("name", KNOWN)
def test_login_graph_and_resource_manager_are_where_the_sdks_say(name):
    arm_cloud, login, graph = KNOWN[name]
    endpoints, arm = CLOUDS[name], get_arm_endpoints(arm_cloud)
    assert endpoints.login_host == login
    assert endpoints.graph_url == f"{graph.value}/v1.0"
    assert endpoints.arm_url == arm["resource_manager"].rstrip("/")
    assert [endpoints.arm_scope] == arm["credential_scopes"]


@row("B-14")
def test_nothing_is_shared_between_clouds():
    assert set(KNOWN) == set(CLOUDS) == set(STORAGE_SUFFIXES)
    for part in asdict(CLOUDS["AzureCloud"]):
        assert len({getattr(one, part) for one in CLOUDS.values()}) == len(CLOUDS)


@row("B-14")
@pytest.mark.parametrize("name", KNOWN)
def test_what_is_handed_out_names_the_same_storage_as_is_proven(name):
    assert CLOUDS[name].blob_host("account") == f"account.blob.{STORAGE_SUFFIXES[name]}"


def test_an_unknown_cloud_is_the_users_to_mend():
    with pytest.raises(Rejected) as caught:
        endpoints_of("AzureMoonCloud")
    assert "AzureUSGovernment" in caught.value.hint
