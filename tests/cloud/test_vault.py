"""``keyvault:`` references through azure-keyvault-secrets, against a vault on loopback over TLS."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import pytest

from azure_rotator.cloud import ProcessReferences
from azure_rotator.domain.errors import Forbidden, Rejected, RotatorError, Unavailable
from tests.rows import row

CANARY = "canary8Q~never-to-be-seen-0123456789abcd"
HERE = "keyvault:https://rotator.vault.azure.net/secrets/graph"


@pytest.fixture
def machine(azure, rotator, monkeypatch):
    """This process runs as the rotator."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("AZURE_TENANT_ID", rotator.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", rotator.app_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", rotator.secret)
    return rotator


@pytest.fixture
def resolve(machine, vault):
    return ProcessReferences().resolve


def refused(call) -> RotatorError:
    with pytest.raises(RotatorError) as caught:
        call()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert caught.value.hint
    return caught.value


def test_a_secret_is_read_at_each_use_and_the_login_is_kept(resolve, vault, machine):
    for value in ("one", " two\n"):
        vault.secrets["graph"] = value
        assert resolve(HERE).reveal() == value
    assert len(machine.requests("login.token")) == 1
    assert [path for _, path, had_token in vault.asked if had_token] == ["/secrets/graph/", "/secrets/graph/"]


def test_a_version_is_asked_for_where_one_is_meant(resolve, vault):
    vault.secrets["graph"] = "value"
    assert resolve(f"{HERE}/{'a1' * 16}").reveal() == "value"
    assert vault.asked[-1][1] == f"/secrets/graph/{'a1' * 16}"


CLOUDS = [("public", "vault.azure.net"), ("usgov", "vault.usgovcloudapi.net"), ("china", "vault.azure.cn")]


@row("B-14")
@pytest.mark.parametrize(("cloud", "suffix"), CLOUDS)
def test_each_cloud_has_its_own_vaults_and_login(vault, control, make_application, monkeypatch, cloud, suffix):
    app = make_application("machine", tenant=control.create_tenant(cloud=cloud).tenant_id)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("AZURE_TENANT_ID", app.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", app.app_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", app.secret)
    vault.secrets["graph"] = "value"
    assert ProcessReferences().resolve(f"keyvault:https://Rotator.{suffix}/secrets/graph").reveal() == "value"
    assert vault.asked[-1][0] == f"rotator.{suffix}"


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
def test_an_address_that_is_no_vaults_is_refused_before_anything_is_sent(resolve, vault, machine, address):
    error = refused(lambda: resolve(f"keyvault:{address}"))
    assert isinstance(error, Rejected)
    assert error.code == "ReferenceUnresolved"
    assert "vault.azure.net" in error.hint
    assert "graph" not in error.message
    assert not vault.asked
    assert not machine.requests("login.token")


def test_a_vault_that_asks_for_a_token_for_somebody_else_gets_none(resolve, vault, machine):
    vault.secrets["graph"] = "value"
    vault.resource = "https://graph.microsoft.com"
    error = refused(lambda: resolve(HERE))
    assert isinstance(error, Unavailable)
    assert not any(had_token for _, _, had_token in vault.asked)
    assert not machine.requests("login.token")


def failure(code: str, inner: str | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"code": code, "message": CANARY}
    return {"error": told | ({"innererror": {"code": inner}} if inner else {})}


REFUSALS = {
    "no such secret": ((404, failure("SecretNotFound"), {}), Rejected, "ReferenceUnresolved"),
    "disabled": ((403, failure("Forbidden", "SecretDisabled"), {}), Rejected, "ReferenceUnresolved"),
    "no role": ((403, failure("Forbidden", "ForbiddenByRbac"), {}), Forbidden, "AzurePermissionMissing"),
    "no policy": ((403, failure("Forbidden", "AccessDenied"), {}), Forbidden, "AzurePermissionMissing"),
    "firewall": ((403, failure("Forbidden", "ForbiddenByFirewall"), {}), Forbidden, "AzureRefused"),
    "another tenant's": ((401, failure("Unauthorized"), {}), Forbidden, "AzureAuthFailed"),
    "a bad request": ((400, failure("BadParameter"), {}), Rejected, "ReferenceUnresolved"),
    "throttled": ((429, failure("Throttled"), {"Retry-After": "7"}), Unavailable, "AzureThrottled"),
    "throttled, with garbage": ((429, failure("Throttled"), {"Retry-After": "soon"}), Unavailable, "AzureThrottled"),
    "500": ((500, failure("InternalError"), {}), Unavailable, "AzureUnavailable"),
    "503": ((503, failure("ServiceUnavailable"), {"Retry-After": "1"}), Unavailable, "AzureUnavailable"),
    "a page": ((200, "<html>Welcome</html>", {"Content-Type": "text/html"}), Unavailable, "AzureUnavailable"),
    "a proxy's 403": ((403, "<html>", {"Content-Type": "text/html"}), Unavailable, "AzureUnavailable"),
    "a redirect": ((302, "", {"Location": "https://rotator.example.com/"}), Unavailable, "AzureUnavailable"),
    "cut off": ((200, {"value": CANARY}, {"X-Cut": "yes"}), Unavailable, "AzureUnavailable"),
    "not JSON": ((200, f"{CANARY}", {}), Unavailable, "AzureUnavailable"),
    "empty": ((200, {"value": ""}, {}), Rejected, "ReferenceUnresolved"),
    "no value": ((200, {}, {}), Rejected, "ReferenceUnresolved"),
}


@pytest.mark.parametrize(("answer", "error", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_told_by_status_and_code_and_asked_for_once(resolve, vault, caplog, answer, error, code):
    caplog.set_level(logging.DEBUG)
    vault.answers["graph"] = answer
    told = refused(lambda: resolve(HERE))
    assert (type(told), told.code) == (error, code)
    assert "rotator.vault.azure.net" in told.message
    if told.code == "AzurePermissionMissing":
        assert told.details["permission"] == "Key Vault Secrets User"
    if isinstance(told, Unavailable):
        wait = {"7": 7.0, "1": 1.0}.get(str(answer[2].get("Retry-After")))
        assert (told.retry_after_seconds, told.applied) == (wait, "no")
    assert sum(had_token for _, _, had_token in vault.asked) == 1
    shown = "".join(traceback.TracebackException.from_exception(told, capture_locals=True).format())
    assert CANARY not in shown + repr(vars(told))
    assert "eyJ" not in shown + caplog.text
    assert CANARY not in caplog.text


def test_a_value_is_in_no_log(resolve, vault, caplog):
    caplog.set_level(logging.DEBUG)
    vault.secrets["graph"] = CANARY
    assert resolve(HERE).reveal() == CANARY
    assert CANARY not in caplog.text
    assert "eyJ" not in caplog.text


def test_a_process_without_an_identity_is_told_what_to_do(azure, vault, monkeypatch):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    error = refused(lambda: ProcessReferences().resolve(HERE))
    assert isinstance(error, Forbidden)
    assert error.code == "AzureAuthFailed"
    assert "managed" in error.hint


def test_a_vault_that_cannot_be_reached_is_an_outage(machine):
    error = refused(lambda: ProcessReferences().resolve(HERE))  # the sandbox's proxy knows no vaults
    assert isinstance(error, Unavailable)
    assert "HTTPS_PROXY" in error.hint


def test_a_missing_extra_is_told_with_how_to_install_it(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.keyvault.secrets.aio", None)
    error = refused(lambda: ProcessReferences().resolve(HERE))
    assert isinstance(error, Rejected)
    assert error.code == "ReferenceUnresolved"
    assert "azure-rotator[keyvault]" in error.hint
    assert HERE in error.message
