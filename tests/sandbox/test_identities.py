"""Signing in without a secret: certificates, tokens of other issuers, managed identities; and the vaults they open."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import httpx
import jwt
import pytest

from azure_sandbox.clouds import CLOUDS
from azure_sandbox.environment import identity_variables
from azure_sandbox.testing import ApplicationInfo, ControlError, IdentityInfo, Sandbox, VaultInfo
from tests.sandbox.azure import GRAPH, OWNED_BY, Azure, code
from tests.sandbox.certificates import Certificate, certificate

BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ISSUER, SUBJECT = "https://issuer.example/cluster", "system:serviceaccount:prod:rotator"


@pytest.fixture(scope="module")
def own() -> Certificate:
    return certificate()


@pytest.fixture(scope="module")
def expired() -> Certificate:
    return certificate(days=-1)


@pytest.fixture(scope="module")
def foreign() -> Certificate:
    return certificate()


def assertion(
    azure: Azure, app: ApplicationInfo, signer: Certificate, *, algorithm: str = "RS256", x5t: str = "", **claims: Any
) -> str:
    now = int(time.time())
    endpoint = f"https://login.microsoftonline.com/{azure.tenant.tenant_id}/oauth2/v2.0/token"
    made = {"aud": endpoint, "iss": app.app_id, "sub": app.app_id, "jti": str(uuid.uuid4()), "iat": now}
    made |= {"nbf": now, "exp": now + 600, **claims}
    headers = {"x5t": x5t or signer.thumbprint} if algorithm == "RS256" else {"x5t#S256": signer.thumbprint_sha256}
    return jwt.encode(made, signer.key, algorithm=algorithm, headers=headers)


def exchange(azure: Azure, app: ApplicationInfo, token: str, **form: str | None) -> httpx.Response:
    fields: dict[str, Any] = {"client_assertion_type": BEARER, "client_assertion": token, **form}
    return azure.login(app, None, **fields)


# Certificates.


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_a_registered_certificate_signs_in(azure: Azure, own, algorithm):
    app = azure.app(OWNED_BY, certificates=[own.pem])
    answer = exchange(azure, app, assertion(azure, app, own, algorithm=algorithm))
    assert answer.status_code == 200, answer.text
    headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
    shown = azure.graph("GET", f"/applications/{app.object_id}", None, headers=headers).json()
    [key] = shown["keyCredentials"]
    assert (key["type"], key["usage"], key["key"]) == ("AsymmetricX509Cert", "Verify", None)


ASSERTIONS = {
    "another certificate": ("foreign", {}, 700027),
    "another certificate under the name of ours": ("foreign", {"x5t": "own"}, 700027),
    "an expired certificate": ("expired", {}, 1000502),
    "for somebody else": ("own", {"aud": "https://login.microsoftonline.com/elsewhere/oauth2/v2.0/token"}, 700023),
    "about somebody else": ("own", {"sub": "99999999-9999-4999-8999-999999999999"}, 700021),
    "outlived": ("own", {"exp": int(time.time()) - 3600, "nbf": int(time.time()) - 7200}, 700024),
    "not yet": ("own", {"nbf": int(time.time()) + 7200, "exp": int(time.time()) + 9000}, 700024),
    "no end": ("own", {"exp": None}, 50027),
}


@pytest.mark.parametrize(("signer", "changes", "number"), ASSERTIONS.values(), ids=ASSERTIONS.keys())
def test_an_assertion_that_proves_nothing(azure: Azure, own, expired, foreign, signer, changes, number):
    known = {"own": own, "expired": expired, "foreign": foreign}
    app = azure.app(certificates=[own.pem, expired.pem])
    given = dict(changes)
    if given.get("x5t") == "own":
        given["x5t"] = own.thumbprint
    answer = exchange(azure, app, assertion(azure, app, known[signer], **given))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.json()["error_codes"] == [number]


def test_an_assertion_needs_its_type_and_must_be_one(azure: Azure, own):
    app = azure.app(certificates=[own.pem])
    answer = exchange(azure, app, assertion(azure, app, own), client_assertion_type="saml")
    assert answer.json()["error_codes"] == [900144]
    assert exchange(azure, app, "nonsense").json()["error_codes"] == [50027]


def test_what_is_no_certificate_is_not_registered(azure: Azure):
    with pytest.raises(ControlError, match="a certificate can't be read"):
        azure.app(certificates=["nonsense"])


# Tokens of other issuers.


@pytest.fixture
def workload(azure: Azure) -> ApplicationInfo:
    return azure.app(federated_credentials=[{"issuer": ISSUER, "subject": SUBJECT}])


def test_a_trusted_issuers_token_signs_in(azure: Azure, workload):
    token = azure.control.workload_token(issuer=ISSUER, subject=SUBJECT)
    answer = exchange(azure, workload, token)
    assert answer.status_code == 200, answer.text


WORKLOADS = {
    "another issuer": ({"issuer": "https://other.example"}, 700211),
    "another subject": ({"subject": "system:serviceaccount:prod:other"}, 700213),
    "another audience": ({"audience": "api://something"}, 700212),
}


@pytest.mark.parametrize(("changes", "number"), WORKLOADS.values(), ids=WORKLOADS.keys())
def test_a_token_that_is_not_trusted(azure: Azure, workload, changes, number):
    token = azure.control.workload_token(**{"issuer": ISSUER, "subject": SUBJECT, **changes})
    answer = exchange(azure, workload, token)
    assert (answer.status_code, answer.json()["error_codes"]) == (401, [number])


def test_a_token_that_anybody_signed_is_not_trusted(azure: Azure, workload, foreign):
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": "api://AzureADTokenExchange", "nbf": now, "exp": now + 600}
    answer = exchange(azure, workload, jwt.encode(claims, foreign.key, algorithm="RS256"))
    assert (answer.status_code, answer.json()["error_codes"]) == (401, [7002127])


# Managed identities.


@pytest.fixture
def identity(azure: Azure) -> IdentityInfo:
    return azure.control.create_identity(tenant=azure.tenant.tenant_id, roles=["Application.Read.All"])


def ask(azure: Azure, path: str, **query: str) -> httpx.Response:
    headers = {"metadata": "true"}
    if path.startswith("/msi"):
        headers = {"x-identity-header": azure.sandbox.variables(identity="app-service")["IDENTITY_HEADER"]}
    given = {"api-version": "2018-02-01", "resource": "https://graph.microsoft.com", **query}
    with httpx.Client(trust_env=False) as http:
        return http.get(f"{azure.sandbox.identity_address}{path}", params=given, headers=headers)


IMDS, APP_SERVICE = "/metadata/identity/oauth2/token", "/msi/token"


@pytest.mark.parametrize("path", [IMDS, APP_SERVICE], ids=["a machine", "App Service"])
def test_a_managed_identity_gets_a_token_without_any_secret(azure: Azure, identity, path):
    answer = ask(azure, path, client_id=identity.client_id)
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert all(isinstance(value, str) for value in body.values())
    assert set(body) == {
        *("access_token", "client_id", "expires_in", "expires_on"),
        *("ext_expires_in", "not_before", "resource", "token_type"),
    }
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert (claims["appid"], claims["oid"]) == (identity.client_id, identity.object_id)
    assert claims["exp"] == int(body["expires_on"])
    headers = {"authorization": f"Bearer {body['access_token']}"}
    assert azure.graph("GET", "/applications", None, headers=headers).status_code == 200
    shown = azure.graph("GET", f"/servicePrincipals(appId='{identity.client_id}')", None, headers=headers).json()
    assert shown["servicePrincipalType"] == "ManagedIdentity"


def test_who_names_no_identity_gets_the_machines_own(alone: Azure):
    azure = alone
    assert ask(azure, IMDS).json()["error_description"] == "Identity not found"
    only = azure.control.create_identity(tenant=azure.tenant.tenant_id)
    assert ask(azure, IMDS).json()["client_id"] == only.client_id
    azure.control.create_identity(tenant=azure.tenant.tenant_id)
    assert ask(azure, IMDS).json()["error_description"].startswith("Multiple user assigned identities")
    system = azure.control.create_identity(tenant=azure.tenant.tenant_id, assigned="system")
    assert ask(azure, IMDS).json()["client_id"] == system.client_id
    azure.control.delete_identity(system.object_id)
    assert ask(azure, IMDS, client_id=system.client_id).status_code == 400
    azure.sandbox.restart()
    assert ask(azure, IMDS, client_id=only.client_id).status_code == 200


ASKED = {
    "no header": (IMDS, {}, {}, 400),
    "no resource": (IMDS, {"metadata": "true"}, {"resource": ""}, 400),
    "no version": (IMDS, {"metadata": "true"}, {"api-version": ""}, 400),
    "an unknown resource": (IMDS, {"metadata": "true"}, {"resource": "https://nothing.example"}, 400),
    "an unknown identity": (IMDS, {"metadata": "true"}, {"client_id": str(uuid.UUID(int=1))}, 400),
    "App Service without its header": (APP_SERVICE, {"metadata": "true"}, {}, 401),
    "another path": ("/metadata/instance", {"metadata": "true"}, {}, 404),
}


@pytest.mark.parametrize(("path", "headers", "changes", "status"), ASKED.values(), ids=ASKED.keys())
def test_a_question_that_is_refused(azure: Azure, identity, path, headers, changes, status):
    query = {"api-version": "2018-02-01", "resource": "https://graph.microsoft.com", "client_id": identity.client_id}
    with httpx.Client(trust_env=False) as http:
        answer = http.get(f"{azure.sandbox.identity_address}{path}", params={**query, **changes}, headers=headers)
    assert answer.status_code == status
    assert answer.json()


def test_the_plain_port_leads_to_nothing_but_identities(azure: Azure):
    with httpx.Client(trust_env=False) as http:
        for path in ("/v1.0/applications", f"/{azure.tenant.tenant_id}/v2.0/.well-known/openid-configuration"):
            assert http.get(f"{azure.sandbox.identity_address}{path}").status_code == 404


def test_the_environment_leads_to_one_source_of_identities(sandbox: Sandbox):
    assert sandbox.variables()["AZURE_POD_IDENTITY_AUTHORITY_HOST"] == sandbox.identity_address
    environment = sandbox.environment({"IDENTITY_ENDPOINT": "http://real"}, identity="imds")
    assert "IDENTITY_ENDPOINT" not in environment
    environment = sandbox.environment({}, identity="app-service")
    assert environment["IDENTITY_ENDPOINT"] == f"{sandbox.identity_address}/msi/token"
    assert "AZURE_POD_IDENTITY_AUTHORITY_HOST" not in environment
    with pytest.raises(ValueError, match="known: imds, app-service"):
        identity_variables(port=1, header="", source="arc")


# Vaults.


@pytest.fixture
def reader(azure: Azure) -> ApplicationInfo:
    return azure.app()


@pytest.fixture
def vault(azure: Azure, reader: ApplicationInfo) -> VaultInfo:
    return azure.control.create_vault(
        tenant=azure.tenant.tenant_id, secrets={"db-password": "of the vault"}, readers=[reader.app_id]
    )


def read(azure: Azure, url: str, caller: ApplicationInfo | None, query: str = "?api-version=7.4") -> httpx.Response:
    resource = next(f"https://{cloud.vault_suffix}" for cloud in CLOUDS.values() if cloud.vault_suffix in url)
    headers = {"authorization": f"Bearer {azure.token(caller, f'{resource}/.default')}"} if caller else {}
    return azure.http.get(f"{url}{query}", headers=headers)


def test_a_reader_reads_the_newest_version_and_older_ones_by_name(azure: Azure, vault, reader):
    url = vault.secrets["db-password"]
    first = read(azure, url, reader).json()
    assert (first["value"], first["attributes"]["enabled"]) == ("of the vault", True)
    assert azure.control.put_vault_secret(vault.name, "db-password", "a newer one") == url
    assert read(azure, url.replace("/secrets/db", "/SECRETS/DB"), reader).json()["value"] == "a newer one"
    assert read(azure, first["id"], reader).json()["value"] == "of the vault"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_without_a_token_the_vault_tells_where_to_get_one(azure: Azure, cloud):
    tenant = azure.control.create_tenant(cloud=cloud)
    vault = azure.control.create_vault(tenant=tenant.tenant_id, secrets={"x": "y"})
    answer = read(azure, vault.secrets["x"], None)
    assert (answer.status_code, code(answer)) == (401, "Unauthorized")
    names = CLOUDS[cloud]
    assert answer.headers["www-authenticate"] == (
        f'Bearer authorization="https://{names.login}/{tenant.tenant_id}", resource="https://{names.vault_suffix}"'
    )


def test_what_a_vault_refuses(azure: Azure, vault, reader):
    url, other = vault.secrets["db-password"], azure.app()
    azure.control.grant(other.app_id, "Owner", vault.resource_id)
    azure.control.put_vault_secret(vault.name, "off", "x", enabled=False)
    token = azure.token(reader, GRAPH)
    found = {
        "owner of the vault": read(azure, url, other),
        "no version": read(azure, url, reader, query=""),
        "nothing there": read(azure, f"{url}x", reader),
        "disabled": read(azure, f"https://{vault.host}/secrets/off", reader),
        "a token for Graph": azure.http.get(url, headers={"authorization": f"Bearer {token}"}),
        "another path": read(azure, f"https://{vault.host}/keys/x", reader),
        "another method": azure.http.put(
            f"{url}?api-version=7.4",
            headers={"authorization": f"Bearer {azure.token(reader, 'https://vault.azure.net/.default')}"},
        ),
    }
    assert {name: (answer.status_code, code(answer)) for name, answer in found.items()} == {
        "owner of the vault": (403, "Forbidden"),
        "no version": (400, "BadParameter"),
        "nothing there": (404, "SecretNotFound"),
        "disabled": (403, "Forbidden"),
        "a token for Graph": (401, "Unauthorized"),
        "another path": (404, "ResourceNotFound"),
        "another method": (405, "MethodNotAllowed"),
    }
    assert found["owner of the vault"].json()["error"]["innererror"] == {"code": "ForbiddenByRbac"}


def test_a_vaults_values_are_in_no_journal_and_not_readable_on_disk(alone: Azure):
    reader = alone.app()
    vault = alone.control.create_vault(
        tenant=alone.tenant.tenant_id, secrets={"x": "the-value-of-the-vault"}, readers=[reader.app_id]
    )
    assert read(alone, vault.secrets["x"], reader).status_code == 200
    assert "the-value-of-the-vault" not in repr(alone.control.journal())
    alone.sandbox.kill()
    for path in alone.sandbox.state.rglob("*"):
        assert b"the-value-of-the-vault" not in (path.read_bytes() if path.is_file() else b""), path.name
    alone.sandbox.start()
    assert read(alone, vault.secrets["x"], reader).json()["value"] == "the-value-of-the-vault"


def test_a_seed_has_identities_certificates_and_vaults(own_sandbox: Sandbox, http_for, own):
    seed = (
        own_sandbox.control.seed()
        + f"""
[[applications]]
name = "certified"
certificates = [{json.dumps(own.pem)}]
federated_credentials = [{{ issuer = "{ISSUER}", subject = "{SUBJECT}" }}]

[[managed_identities]]
name = "machine"
assigned = "system"
roles = ["Application.Read.All"]

[[vaults]]
subscription = "88888888-8888-4888-8888-888888888801"
resource_group = "demo"
name = "demo-vault"
secrets = {{ rotator = "seeded" }}

[[role_assignments]]
principal = "machine"
role = "Key Vault Secrets User"
scope = "/subscriptions/88888888-8888-4888-8888-888888888801"
"""
    )
    own_sandbox.control.load_seed(seed)
    azure = Azure(own_sandbox, http_for(own_sandbox), own_sandbox.control.create_tenant())
    token = ask(azure, IMDS, resource="https://vault.azure.net").json()["access_token"]
    url = "https://demo-vault.vault.azure.net/secrets/rotator?api-version=7.4"
    assert azure.http.get(url, headers={"authorization": f"Bearer {token}"}).json()["value"] == "seeded"
