"""The cloud identity: azure-identity's default chain, kept in the process, renewed when Graph refuses its token.

Where it makes no difference which member of the chain it is, it is the first one, the service principal of the
environment.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from azure_rotator.cloud import EntraLogin, GraphDirectory
from azure_rotator.domain.errors import Forbidden, Rejected, RotatorError, Unavailable
from azure_rotator.domain.ports import Identity
from tests.sandbox.certificates import certificate

CLOUD = Identity(tenant_id=None, client_id=None, secret=None, label='target "/cloud"')
END = datetime.now(UTC) + timedelta(days=90)


@pytest.fixture
def machine(azure, rotator, monkeypatch):
    """This process runs as the rotator."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("AZURE_TENANT_ID", rotator.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", rotator.app_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", rotator.secret)
    return rotator


def logins(app) -> int:
    return len(app.requests("login.token"))


def test_it_logs_in_once_for_many_calls(machine, workload, directory):
    for _ in range(3):
        directory.get_application(CLOUD, workload.app_id)
    directory.add_password(CLOUD, workload.object_id, "stamp", END)
    assert logins(machine) == 1


def test_a_proof_and_its_grants_are_asked_for_anew(machine, login):
    login.prove(CLOUD)
    login.prove(CLOUD)
    assert login.grants(CLOUD).principal_id == machine.info.service_principal_id
    assert logins(machine) == 3


def test_a_token_that_has_run_out_is_renewed_once_and_the_write_is_done_once(machine, control, workload, directory):
    directory.get_application(CLOUD, workload.app_id)
    control.advance("2h")
    new = directory.add_password(CLOUD, workload.object_id, "stamp", END)
    assert logins(machine) == 2
    answers = [entry.status for entry in workload.requests("graph.addPassword")]
    assert answers == [401, 200]
    assert new.key_id in workload.live_key_ids()
    directory.get_application(CLOUD, workload.app_id)
    assert logins(machine) == 2


def test_a_new_token_that_is_refused_too_is_the_end(machine, control, workload, directory):
    control.add_fault("graph.*", app=workload.app_id, status=401, code="InvalidAuthenticationToken", times=None)
    with pytest.raises(Forbidden) as caught:
        directory.add_password(CLOUD, workload.object_id, "stamp", END)
    assert caught.value.code == "AzureAuthFailed"
    assert len(workload.requests("graph.addPassword")) == 2
    assert logins(machine) == 2


def test_a_renewal_does_not_make_a_call_longer(machine, control, workload):
    directory = GraphDirectory(request_seconds=1.0)
    control.add_fault("login.token", app=machine.app_id, delay_seconds=0.8, times=None)
    refusal = {"status": 401, "code": "InvalidAuthenticationToken"}
    control.add_fault("graph.*", app=workload.app_id, delay_seconds=0.8, times=None, **refusal)
    with pytest.raises(Unavailable) as caught:  # not Forbidden, which the second answer would have been
        directory.add_password(CLOUD, workload.object_id, "stamp", END)
    assert caught.value.applied == "no"


def test_a_secrets_token_is_not_renewed_since_it_was_new(azure, rotator, control, workload, directory):
    control.add_fault("graph.*", app=workload.app_id, status=401, code="InvalidAuthenticationToken", times=None)
    with pytest.raises(Forbidden):
        directory.add_password(rotator.identity(), workload.object_id, "stamp", END)
    assert len(workload.requests("graph.addPassword")) == 1
    assert logins(rotator) == 1


def test_no_identity_is_told_with_what_to_do(azure, monkeypatch, workload):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for call in (
        lambda: EntraLogin().prove(CLOUD),
        lambda: GraphDirectory().get_application(CLOUD, workload.app_id),
    ):
        with pytest.raises(Forbidden) as caught:
            call()
        assert caught.value.code == "AzureAuthFailed"
        assert 'target "/cloud"' in caught.value.message
        assert "managed" in caught.value.hint
        assert caught.value.__context__ is None


def test_a_refused_identity_is_told_by_its_number(machine, monkeypatch):
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "nonsense")
    with pytest.raises(Forbidden) as caught:
        EntraLogin().prove(CLOUD)
    assert caught.value.details["aadsts"] == 7000215


def test_an_identity_that_worked_and_falls_silent_is_an_outage(machine, control, workload, directory):
    directory.get_application(CLOUD, workload.app_id)
    control.advance("2h")
    control.add_fault("login.token", app=machine.app_id, preset="dropped", times=None)
    with pytest.raises(RotatorError) as caught:
        directory.get_application(CLOUD, workload.app_id)
    assert isinstance(caught.value, Unavailable)


# --- whose identity it may be ---------------------------------------------------------------------------------------


@pytest.fixture
def developer(azure, monkeypatch, tmp_path):
    """A machine on which a person is logged in with every tool there is; each tool notes that it was asked."""
    asked = tmp_path / "asked"
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("az", "azd", "pwsh", "powershell"):
        script = tools / name
        script.write_text(f"#!/bin/sh\necho {name} >> {asked}\nexit 1\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    # No metadata endpoint answers here; the real address would be waited for.
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    return asked


@pytest.mark.parametrize("words", [None, "dev", "azureclicredential"])
def test_a_persons_login_is_never_used(developer, login, monkeypatch, words):
    if words:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", words)
    with pytest.raises(RotatorError) as caught:
        login.prove(CLOUD)
    assert isinstance(caught.value, Rejected if words else Forbidden)
    assert caught.value.hint
    assert not developer.exists()


SOURCES = ["imds", "app-service"]


@pytest.fixture(params=SOURCES)
def source(request, sandbox, azure, monkeypatch):
    """This process runs on a virtual machine, or in App Service, and has no other identity."""
    for name in ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in sandbox.variables(identity=request.param).items():
        monkeypatch.setenv(name, value)
    return request.param


@pytest.mark.parametrize("assigned", ["system", "user"])
def test_a_managed_identity_acts(source, control, tenant, workload, directory, assigned):
    roles = ["Application.ReadWrite.All"]
    identity = control.create_identity(tenant=tenant.tenant_id, roles=roles, assigned=assigned)
    acting = replace(CLOUD, client_id=identity.client_id if assigned == "user" else None)
    try:
        directory.get_application(acting, workload.app_id)
        new = directory.add_password(acting, workload.object_id, "stamp", END)
    finally:
        control.delete_identity(identity.object_id)
    assert new.key_id in workload.live_key_ids()
    (entry,) = workload.requests("graph.addPassword")
    assert entry.principal == identity.client_id


def test_a_managed_identity_that_is_not_assigned_is_no_identity(source, workload, directory):
    acting = replace(CLOUD, client_id="0c0fee00-1111-4222-8333-444455556666")
    with pytest.raises(RotatorError) as caught:
        directory.get_application(acting, workload.app_id)
    assert isinstance(caught.value, Forbidden)
    assert caught.value.code == "AzureAuthFailed"


def test_a_workload_identity_acts(azure, control, make_application, workload, directory, monkeypatch, tmp_path):
    issuer, subject = "https://issuer.example/cluster", "system:serviceaccount:prod:rotator"
    trusted = [{"issuer": issuer, "subject": subject}]
    pod = make_application("pod", roles=["Application.ReadWrite.All"], federated_credentials=trusted, secrets=[])
    token = tmp_path / "token"
    token.write_text(control.workload_token(issuer=issuer, subject=subject))
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
    monkeypatch.setenv("AZURE_TENANT_ID", pod.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", pod.app_id)
    new = directory.add_password(CLOUD, workload.object_id, "stamp", END)
    assert new.key_id in workload.live_key_ids()
    (entry,) = workload.requests("graph.addPassword")
    assert entry.principal == pod.app_id


def test_the_chain_is_for_machines_only(azure):
    from azure_rotator.cloud.credentials import cloud_credential
    from azure_rotator.cloud.endpoints import CLOUDS

    chain: Any = cloud_credential(None, CLOUDS["AzureCloud"])
    first, _, last = chain.credentials  # between them workload identity, or what says that it is not set up
    assert [type(one).__name__ for one in (first, last)] == ["EnvironmentCredential", "ManagedIdentityCredential"]


@pytest.mark.parametrize("words", ["nonsense", "dev"])
def test_an_environment_that_leaves_nobody_is_the_users_to_mend(azure, login, monkeypatch, words):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", words)
    with pytest.raises(Rejected) as caught:
        login.prove(CLOUD)
    assert "AZURE_TOKEN_CREDENTIALS" in caught.value.hint


@pytest.mark.parametrize("registered", [True, False])
def test_a_certificate_of_the_environment_signs_the_login(
    azure, login, make_application, monkeypatch, tmp_path, registered
):
    own = certificate()
    app = make_application("certified", secrets=[], certificates=[own.pem if registered else certificate().pem])
    key = own.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "rotator.pem"
    file.write_bytes(key + own.pem.encode())
    monkeypatch.setenv("AZURE_TENANT_ID", app.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", app.app_id)
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(file))
    if registered:
        login.prove(CLOUD)
        assert login.grants(CLOUD).principal_id == app.info.service_principal_id
        return
    with pytest.raises(Forbidden) as caught:
        login.prove(CLOUD)
    assert caught.value.details["aadsts"] == 700027
    assert "AZURE_CLIENT_CERTIFICATE_PATH" in caught.value.hint
