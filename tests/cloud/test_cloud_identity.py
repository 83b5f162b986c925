"""The cloud identity: azure-identity's default chain, kept in the process, renewed when Graph refuses its token.

In the sandbox the chain ends at its first member, the service principal of the environment; which member it is makes no
difference to what is tested here.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from azure_rotator.cloud import EntraLogin, GraphDirectory
from azure_rotator.domain.errors import Forbidden, Rejected, RotatorError, Unavailable
from azure_rotator.domain.ports import Identity

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


@pytest.fixture
def metadata_endpoint(azure, monkeypatch, rotator):
    """A virtual machine's metadata endpoint, whose identity is the rotator; the queries that it was asked with."""
    token = EntraLogin()._token(rotator.identity()).value.reveal()
    asked: list[dict[str, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            real = self.headers.get("Metadata") == "true"  # the chain first looks whether anybody is there
            query = parse_qs(urlsplit(self.path).query)
            told = {"access_token": token, "expires_in": "3599", "expires_on": "4102444800", "token_type": "Bearer"}
            told |= {"resource": query.get("resource", [""])[0]}
            body = json.dumps(told if real else {"error": "invalid_request"}).encode()
            if real:
                asked.append(query)
            self.send_response(200 if real else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


@pytest.mark.parametrize("client_id", [None, "0c0fee00-1111-4222-8333-444455556666"])
def test_a_managed_identity_acts_and_a_user_assigned_one_is_named(metadata_endpoint, directory, workload, client_id):
    acting = replace(CLOUD, client_id=client_id)
    for _ in range(2):
        directory.get_application(acting, workload.app_id)
    (asked,) = metadata_endpoint
    assert asked["resource"] == ["https://graph.microsoft.com"]
    assert asked.get("client_id") == ([client_id] if client_id else None)


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


def test_a_certificate_of_the_environment_signs_the_login(azure, login, monkeypatch, rotator, tmp_path):
    monkeypatch.setenv("AZURE_TENANT_ID", rotator.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", rotator.app_id)
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(certificate(tmp_path)))
    with pytest.raises(Forbidden) as caught:  # the sandbox has no certificates, so it refuses this very one
        login.prove(CLOUD)
    assert caught.value.details["aadsts"] == 700027
    assert "AZURE_CLIENT_CERTIFICATE_PATH" in caught.value.hint


def certificate(folder):
    """A certificate with its key, as a file for azure-identity."""
    made = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("rotator.example.com", key_type=trustme.KeyType.RSA)
    file = folder / "rotator.pem"
    file.write_bytes(made.private_key_and_cert_chain_pem.bytes())
    return file
