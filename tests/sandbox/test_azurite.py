"""Azurite behind the blob services: somebody else's check of what a rotated key opens.

Collected only where AZURITE_DIR names a folder in which ``npm install azurite`` was done; slow, so in the full run.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azure_sandbox.process import StartFailed
from azure_sandbox.testing import AccountInfo, ApplicationInfo, Sandbox
from tests.sandbox.azure import Azure
from tests.sandbox.signing import signed

pytestmark = pytest.mark.full

FOLDER = Path(os.environ["AZURITE_DIR"])
LIST = "/?comp=list"
VERSION = "?api-version=2026-09-01"


@pytest.fixture(scope="module")
def backed() -> Iterator[Sandbox]:
    with Sandbox(azurite=FOLDER) as running:
        yield running
        log = (running.state / "server.log").read_text()
    assert not log, f"the server complained:\n{log}"


@pytest.fixture
def azure(backed: Sandbox, http_for) -> Azure:
    return Azure(backed, http_for(backed), backed.control.create_tenant())


@pytest.fixture
def operator(azure: Azure) -> ApplicationInfo:
    return azure.app()


@pytest.fixture
def account(azure: Azure, operator: ApplicationInfo) -> AccountInfo:
    return azure.control.create_account(tenant=azure.tenant.tenant_id, operators=[operator.app_id])


def send(azure: Azure, account: AccountInfo, target: str, key: str, **request) -> httpx.Response:
    return azure.http.send(signed(account.blob_host, target, key, **request))


def regenerated(azure: Azure, account: AccountInfo, operator: ApplicationInfo, name: str) -> str:
    path = f"{account.resource_id}/regenerateKey{VERSION}"
    keys = azure.arm("POST", path, operator, json={"keyName": name}).json()["keys"]
    return next(key["value"] for key in keys if key["keyName"] == name)


def test_each_key_is_rotated_in_turn_and_the_data_stays_within_reach(azure: Azure, account, operator):
    keys = dict(account.keys)
    assert send(azure, account, "/things?restype=container", keys["key1"], method="PUT").status_code == 201
    assert send(azure, account, "/things/one", keys["key1"], method="PUT", body=b"content").status_code == 201
    for name, other in (("key1", "key2"), ("key2", "key1")):
        old, keys[name] = keys[name], regenerated(azure, account, operator, name)
        refused = send(azure, account, LIST, old)
        assert (refused.status_code, refused.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
        assert "<Code>AuthenticationFailed</Code>" in refused.text
        for value in (keys[name], keys[other]):
            assert send(azure, account, LIST, value).status_code == 200
            assert send(azure, account, "/things/one", value).content == b"content"


@pytest.mark.parametrize("mode", ["named", "alternate"])
def test_azure_rotator_rotates_under_the_eyes_of_azurite(azure: Azure, backed, account, operator, tmp_path, mode):
    """Five rotations: what is handed out opens, what was regenerated is refused, the other key works throughout."""
    store = {"AZURE_ROTATOR_STORE": f"sqlite:///{tmp_path}/store.db", "AZURE_ROTATOR_KEY_FILE": f"{tmp_path}/key/k"}
    environment = {**os.environ, **backed.environment(), **store}

    def told(*argv: str, stdin: str = "") -> dict[str, Any]:
        command = [str(Path(sys.executable).with_name("azure-rotator")), *argv, "--json"]
        done = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def handed_out() -> tuple[str, str]:
        value = told("rotated-secret", "get-value", "-n", "blobs")["value"]
        return value["key_name"], value["key"]

    where = ("--subscription-id", account.subscription_id, "--resource-group-name", account.resource_group)
    who = ("--tenant-id", azure.tenant.tenant_id, "--client-id", operator.app_id, "--client-secret", "-")
    target = ("target", "create", "azure", "-n", "azure", *who, *where, "--resource-name", account.name)
    told(*target, stdin=operator.secrets["boot"])
    item = ("rotated-secret", "create", "azure", "-n", "blobs", "--target-name", "azure")
    named = ("--storage-account-key-name", "key1", "--storage-key-mode", mode)
    told(*item, "--rotator-type", "azure-storage-account", *named)
    assert handed_out() == ("key1", account.keys["key1"])
    for _ in range(5):
        before = dict(backed.control.account(account.name).keys)
        old_name, old = handed_out()
        told("rotate-secret", "-n", "blobs")
        name, new = handed_out()
        keys = backed.control.account(account.name).keys
        assert keys[name] == new != old
        assert name == (old_name if mode == "named" else {"key1": "key2", "key2": "key1"}[old_name])
        assert send(azure, account, LIST, before[name]).status_code == 403
        assert {send(azure, account, LIST, keys[one]).status_code for one in ("key1", "key2")} == {200}
        assert send(azure, account, LIST, old).status_code == (403 if mode == "named" else 200)


def test_a_head_tells_the_length_of_what_it_leaves_out(azure: Azure, account):
    key = account.keys["key2"]
    send(azure, account, "/things?restype=container", key, method="PUT")
    send(azure, account, "/things/one", key, method="PUT", body=b"content")
    answer = send(azure, account, "/things/one", key, method="HEAD")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "7", b"")


def test_what_azurite_lacks_is_added(azure: Azure, account):
    azure.control.update_account(account.name, allow_shared_key=False)
    answer = send(azure, account, LIST, account.keys["key1"])
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "KeyBasedAuthenticationNotPermitted")


def test_an_account_made_later_is_known_at_once_and_a_fault_comes_first(azure: Azure, account):
    later = azure.control.create_account(tenant=azure.control.create_tenant(cloud="china").tenant_id)
    assert send(azure, later, LIST, later.keys["key1"]).status_code == 200
    azure.control.add_fault("blob.*", account=later.name, preset="key-refused")
    assert send(azure, later, LIST, later.keys["key1"]).status_code == 403
    told = [(entry.operation, entry.status) for entry in azure.control.journal(account=later.name)]
    assert told == [("blob.listContainers", 200), ("blob.listContainers", 403)]


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_it_ends_with_the_sandbox_and_the_blobs_stay(tmp_path: Path, http_for, ending):
    sandbox = Sandbox(tmp_path / "state", azurite=FOLDER).start()
    azure = Azure(sandbox, http_for(sandbox), sandbox.control.create_tenant())
    account = azure.control.create_account(tenant=azure.tenant.tenant_id)
    key = account.keys["key1"]
    send(azure, account, "/things?restype=container", key, method="PUT")
    pid = sandbox.control.status()["pid"]
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ended = os.pidfd_open(int(child))
    getattr(sandbox, ending)()
    readable, _, _ = select.select([ended], [], [], 30)
    os.close(ended)
    assert readable, "azurite goes on without its sandbox"
    sandbox.start()
    azure.http = http_for(sandbox)
    assert "<Name>things</Name>" in send(azure, account, LIST, key).text
    sandbox.stop()


def test_a_folder_without_it_is_told(tmp_path: Path):
    with pytest.raises(StartFailed, match="npm install azurite there first"):
        Sandbox(tmp_path / "state", azurite=tmp_path).start()
