"""``keyvault:`` references through azure-keyvault-secrets, against the sandbox's vaults."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import Any

import pytest

from azure_rotator.cloud import ProcessReferences
from azure_rotator.domain.errors import Forbidden, Rejected, RotatorError, Unavailable
from tests.rows import row

CANARY = "canary8Q~never-to-be-seen-0123456789abcd"


def become(app, monkeypatch) -> None:
    """This process runs as an application."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("AZURE_TENANT_ID", app.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", app.app_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", app.secret)


@pytest.fixture
def machine(azure, rotator, monkeypatch):
    """This process runs as the rotator."""
    become(rotator, monkeypatch)
    return rotator


@pytest.fixture
def vault(control, machine):
    """A vault that the process's identity may read."""
    return control.create_vault(tenant=machine.info.tenant_id, secrets={"graph": CANARY}, readers=[machine.app_id])


@pytest.fixture
def here(vault) -> str:
    return f"keyvault:https://{vault.host}/secrets/graph"


@pytest.fixture
def asked(control, machine):
    """Requests to vaults: whether each had a token that is good for vaults."""

    def count() -> list[bool]:
        entries = control.journal(operation="vault.getSecret")
        return [one.principal is not None for one in entries if one.tenant_id == machine.info.tenant_id]

    return count


@pytest.fixture
def resolve(machine):
    return ProcessReferences().resolve


def refused(call) -> RotatorError:
    with pytest.raises(RotatorError) as caught:
        call()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert caught.value.hint
    return caught.value


def test_a_secret_is_read_at_each_use_and_the_login_is_kept(resolve, control, vault, here, machine, asked):
    for value in ("one", " two\n"):
        control.put_vault_secret(vault.name, "graph", value)
        assert resolve(here).reveal() == value
    assert len(machine.requests("login.token")) == 1
    assert sum(asked()) == 2


def test_a_version_is_read_where_one_is_meant(resolve, control, vault, here):
    control.put_vault_secret(vault.name, "graph", "newer")
    assert resolve(here).reveal() == "newer"
    error = refused(lambda: resolve(f"{here}/{'a1' * 16}"))
    assert error.code == "ReferenceUnresolved"
    assert "a1a1" in error.message


CLOUDS = [("public", "vault.azure.net"), ("usgov", "vault.usgovcloudapi.net"), ("china", "vault.azure.cn")]


@row("B-14")
@pytest.mark.parametrize(("cloud", "suffix"), CLOUDS)
def test_each_cloud_has_its_own_vaults_and_login(azure, control, make_application, monkeypatch, cloud, suffix):
    tenant = control.create_tenant(cloud=cloud).tenant_id
    app = make_application("machine", tenant=tenant)
    become(app, monkeypatch)
    vault = control.create_vault(tenant=tenant, secrets={"graph": "value"}, readers=[app.app_id])
    assert vault.host.endswith(f".{suffix}")
    assert ProcessReferences().resolve(f"keyvault:https://{vault.host.upper()}/secrets/graph").reveal() == "value"


ELSEWHERE = [
    "https://rotator.vault.azure.net.example.com/secrets/graph",
    "https://vault.azure.net/secrets/graph",
    "https://a.b.vault.azure.net/secrets/graph",
    "https://rotator.vaultXazure.net/secrets/graph",
    "https://rotator.example.com/secrets/graph",
    "https://169.254.169.254/secrets/graph",
    "https://localhost/secrets/graph",
    "http://rotator.vault.azure.net/secrets/graph",
    "https://rotator.vault.azure.net:8443/secrets/graph",
    "https://user@rotator.vault.azure.net/secrets/graph",
    "https://rotator.vault.azure.net@example.com/secrets/graph",
    "https://rotator.vault.azure.net/secrets/graph?x=https://example.com",
    "https://rotator.vault.azure.net/secrets/graph#x",
    "https://rotator.vault.azure.net/secrets/../keys/graph",
    "https://rotator.vault.azure.net/keys/graph",
    "https://rotator.vault.azure.net/secrets/",
    "https://rotator.vault.azure.net/secrets/graph/newest",
    "https://rotator.vault.azure.net/secrets/gra ph",
    "https://rotator.vault.azure.net/secrets/graph\n",
    "rotator/graph",
    "",
]


@pytest.mark.parametrize("address", ELSEWHERE)
def test_an_address_that_is_no_vaults_is_refused_before_anything_is_sent(resolve, machine, asked, address):
    error = refused(lambda: resolve(f"keyvault:{address}"))
    assert isinstance(error, Rejected)
    assert error.code == "ReferenceUnresolved"
    assert "vault.azure.net" in error.hint
    assert "graph" not in error.message
    assert not asked()
    assert not machine.requests("login.token")


def test_a_vault_that_asks_for_a_token_for_somebody_else_gets_none(resolve, control, machine, here, asked):
    challenge = (
        'Bearer authorization="https://login.microsoftonline.com/common", resource="https://graph.microsoft.com"'
    )
    fault = {"status": 401, "code": "Unauthorized", "headers": {"WWW-Authenticate": challenge}}
    control.add_fault("vault.getSecret", tenant=machine.info.tenant_id, times=None, **fault)
    assert isinstance(refused(lambda: resolve(here)), Unavailable)
    assert asked() == [False]
    assert not machine.requests("login.token")


def test_a_vault_that_the_identity_may_not_read_names_the_role(resolve, control, machine):
    closed = control.create_vault(tenant=machine.info.tenant_id, secrets={"graph": CANARY})
    error = refused(lambda: resolve(f"keyvault:https://{closed.host}/secrets/graph"))
    assert (type(error), error.code) == (Forbidden, "AzurePermissionMissing")
    assert error.details["permission"] == "Key Vault Secrets User"
    assert closed.host in error.message


def test_a_disabled_secret_and_one_that_is_not_there_are_told(resolve, control, vault, here):
    control.put_vault_secret(vault.name, "graph", CANARY, enabled=False)
    for reference, words in ((here, "disabled"), (f"{here}-other", "no such secret")):
        error = refused(lambda reference=reference: resolve(reference))
        assert (type(error), error.code) == (Rejected, "ReferenceUnresolved")
        assert words in error.message
        assert reference in error.message


def failure(code: str, inner: str | None = None) -> str:
    told: dict[str, Any] = {"code": code, "message": CANARY}
    return json.dumps({"error": told | ({"innererror": {"code": inner}} if inner else {})})


PAGE = {"body": "<html>Welcome</html>", "content_type": "text/html"}
REFUSALS = {
    "no policy": ({"status": 403, "body": failure("Forbidden", "AccessDenied")}, Forbidden, "AzurePermissionMissing"),
    "firewall": ({"status": 403, "body": failure("Forbidden", "ForbiddenByFirewall")}, Forbidden, "AzureRefused"),
    "a bad request": ({"status": 400, "body": failure("BadParameter")}, Rejected, "ReferenceUnresolved"),
    "throttled": (
        {"status": 429, "body": failure("Throttled"), "headers": {"Retry-After": "7"}},
        Unavailable,
        "AzureThrottled",
    ),
    "throttled, with garbage": (
        {"status": 429, "body": failure("Throttled"), "headers": {"Retry-After": "soon"}},
        Unavailable,
        "AzureThrottled",
    ),
    "500": ({"status": 500, "body": failure("InternalError")}, Unavailable, "AzureUnavailable"),
    "503": (
        {"status": 503, "body": failure("ServiceUnavailable"), "headers": {"Retry-After": "1"}},
        Unavailable,
        "AzureUnavailable",
    ),
    "a page": ({"status": 200, **PAGE}, Unavailable, "AzureUnavailable"),
    "a proxy's 403": ({"status": 403, **PAGE}, Unavailable, "AzureUnavailable"),
    "a redirect": (
        {"status": 302, "body": "", "headers": {"Location": "https://rotator.example.com/"}},
        Unavailable,
        "AzureUnavailable",
    ),
    "dropped": ({"drop": True}, Unavailable, "AzureUnavailable"),
    "cut off": ({"when": "after", "cut": 0.5}, Unavailable, "AzureUnavailable"),
    "not JSON": ({"status": 200, "body": CANARY}, Unavailable, "AzureUnavailable"),
    "empty": ({"status": 200, "body": '{"value": ""}'}, Rejected, "ReferenceUnresolved"),
    "no value": ({"when": "after", "without": ["value"]}, Rejected, "ReferenceUnresolved"),
}


@pytest.mark.parametrize(("fault", "error", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_told_by_status_and_code_and_asked_for_once(
    resolve, control, machine, here, asked, caplog, fault, error, code
):
    caplog.set_level(logging.DEBUG)
    control.add_fault("vault.getSecret", principal=machine.app_id, tenant=machine.info.tenant_id, times=None, **fault)
    told = refused(lambda: resolve(here))
    assert (type(told), told.code) == (error, code)
    assert here.split("/")[2] in told.message
    if isinstance(told, Unavailable):
        wait = {"7": 7.0, "1": 1.0}.get(str(fault.get("headers", {}).get("Retry-After")))
        assert (told.retry_after_seconds, told.applied) == (wait, "no")
    # What broke off on a kept connection aiohttp asks once more by itself, since it is a GET.
    assert asked() in ([False, True], [False, True, True] if "drop" in fault else None)
    shown = "".join(traceback.TracebackException.from_exception(told, capture_locals=True).format())
    assert CANARY not in shown + repr(vars(told))
    assert "eyJ" not in shown + caplog.text
    assert CANARY not in caplog.text


def test_a_token_that_the_vault_refuses_is_told(resolve, control, machine, here):
    fault = {"status": 401, "code": "Unauthorized"}
    control.add_fault("vault.getSecret", principal=machine.app_id, times=None, **fault)
    error = refused(lambda: resolve(here))
    assert (type(error), error.code) == (Forbidden, "AzureAuthFailed")


def test_a_value_is_in_no_log(resolve, here, caplog):
    caplog.set_level(logging.DEBUG)
    assert resolve(here).reveal() == CANARY
    assert CANARY not in caplog.text
    assert "eyJ" not in caplog.text


def test_a_process_without_an_identity_is_told_what_to_do(resolve, here, monkeypatch):
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    error = refused(lambda: resolve(here))
    assert isinstance(error, Forbidden)
    assert error.code == "AzureAuthFailed"
    assert "managed" in error.hint


def test_a_vault_that_cannot_be_reached_is_an_outage(resolve, here, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    error = refused(lambda: resolve(here))
    assert isinstance(error, Unavailable)
    assert "HTTPS_PROXY" in error.hint


def test_a_missing_extra_is_told_with_how_to_install_it(resolve, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.keyvault.secrets.aio", None)
    error = refused(lambda: resolve(here))
    assert isinstance(error, Rejected)
    assert error.code == "ReferenceUnresolved"
    assert "azure-rotator[keyvault]" in error.hint
    assert here in error.message
