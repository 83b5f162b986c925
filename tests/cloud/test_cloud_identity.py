"""The cloud identity: azure-identity's default chain, kept in the process, renewed when Graph refuses its token.

In the sandbox the chain ends at its first member, the service principal of the environment; which member it is makes no
difference to what is tested here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from azure_rotator.cloud import EntraLogin, GraphDirectory
from azure_rotator.domain.errors import Forbidden, RotatorError, Unavailable
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
