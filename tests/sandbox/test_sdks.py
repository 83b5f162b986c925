"""The real SDKs, in processes of their own, with nothing but the environment to lead them.

Each program runs as a user's would: default credentials objects, default clients, official host names.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import uuid

import pytest
from cryptography.hazmat.primitives import serialization

from tests.sandbox.azure import OWNED_BY, Azure
from tests.sandbox.certificates import certificate

PRELUDE = """
import asyncio, json, sys
from azure.identity.aio import ClientSecretCredential as AsyncCredential
from azure.identity import ClientSecretCredential
given = json.loads(sys.argv[1])
SCOPES = ["https://graph.microsoft.com/.default"]

def graph_client(credential, **retry):
    from msgraph import GraphServiceClient
    return GraphServiceClient(credential, scopes=SCOPES)

async def as_rotator(work):
    async with AsyncCredential(given["tenant"], given["rotator"], given["secret"]) as credential:
        return await work(graph_client(credential))
"""

PROGRAMS = {
    "sync login, instance discovery on": """
        token = ClientSecretCredential(given["tenant"], given["rotator"], given["secret"]).get_token(*SCOPES)
        print(bool(token.token))
        """,
    "async login": """
        async def main():
            async with AsyncCredential(given["tenant"], given["rotator"], given["secret"]) as credential:
                print(bool((await credential.get_token(*SCOPES)).token))
        asyncio.run(main())
        """,
    "a wrong secret, sync": """
        from azure.core.exceptions import ClientAuthenticationError
        try:
            ClientSecretCredential(given["tenant"], given["rotator"], "wrong").get_token(*SCOPES)
        except ClientAuthenticationError as error:
            print("AADSTS7000215" in str(error))
        """,
    "a wrong secret, async": """
        from azure.core.exceptions import ClientAuthenticationError
        async def main():
            async with AsyncCredential(given["tenant"], given["rotator"], "wrong") as credential:
                try:
                    await credential.get_token(*SCOPES)
                except ClientAuthenticationError as error:
                    print(error.response.status_code == 401 and "AADSTS7000215" in str(error))
        asyncio.run(main())
        """,
    "an unknown tenant, sync": """
        from azure.core.exceptions import ClientAuthenticationError
        try:
            ClientSecretCredential("99999999-9999-4999-8999-999999999999", given["rotator"], "x").get_token(*SCOPES)
        except ClientAuthenticationError as error:
            print("Unable to get authority configuration" in str(error))
        """,
    "add, read, log in, remove": """
        from datetime import datetime, timedelta, timezone
        from uuid import UUID
        from msgraph.generated.applications.item.add_password.add_password_post_request_body import (
            AddPasswordPostRequestBody)
        from msgraph.generated.applications.item.remove_password.remove_password_post_request_body import (
            RemovePasswordPostRequestBody)
        from msgraph.generated.models.password_credential import PasswordCredential
        async def work(graph):
            app = await graph.applications_with_app_id(given["app"]).get()
            ends = datetime.now(timezone.utc) + timedelta(days=90)
            body = AddPasswordPostRequestBody(
                password_credential=PasswordCredential(display_name="sdk", end_date_time=ends))
            made = await graph.applications.by_application_id(app.id).add_password.post(body)
            assert isinstance(made.key_id, UUID) and made.end_date_time == ends, made.end_date_time
            async with AsyncCredential(given["tenant"], given["app"], made.secret_text) as credential:
                assert (await credential.get_token(*SCOPES)).token
            found = await graph.applications.by_application_id(app.id).get()
            [mine] = [item for item in found.password_credentials if item.key_id == made.key_id]
            assert (mine.display_name, mine.secret_text, mine.hint) == ("sdk", None, made.secret_text[:3])
            remove = graph.applications.by_application_id(app.id).remove_password
            await remove.post(RemovePasswordPostRequestBody(key_id=made.key_id))
            print(True)
        asyncio.run(as_rotator(work))
        """,
    "filters and owners": """
        from kiota_abstractions.base_request_configuration import RequestConfiguration
        from msgraph.generated.applications.applications_request_builder import ApplicationsRequestBuilder as Builder
        async def work(graph):
            query = Builder.ApplicationsRequestBuilderGetQueryParameters(
                filter=f"appId eq '{given['app']}'", select=["id", "appId"], count=True)
            found = await graph.applications.get(RequestConfiguration(query_parameters=query))
            assert found.odata_count == 1 and found.value[0].app_id == given["app"]
            owners = await graph.applications.by_application_id(found.value[0].id).owners.get()
            me = await graph.service_principals_with_app_id(given["rotator"]).get()
            assert [owner.id for owner in owners.value] == [me.id]
            roles = await graph.service_principals.by_service_principal_id(me.id).app_role_assignments.get()
            print(len(roles.value) == 3)
        asyncio.run(as_rotator(work))
        """,
    "a foreign application": """
        from msgraph.generated.applications.item.add_password.add_password_post_request_body import (
            AddPasswordPostRequestBody)
        from msgraph.generated.models.o_data_errors.o_data_error import ODataError
        async def work(graph):
            add = graph.applications.by_application_id(given["foreign"]).add_password
            try:
                await add.post(AddPasswordPostRequestBody())
            except ODataError as error:
                inner = error.error.inner_error
                print((error.response_status_code, error.error.code) == (403, "Authorization_RequestDenied")
                      and bool(inner.request_id))
        asyncio.run(as_rotator(work))
        """,
    "Resource Manager refuses without a role": """
        from azure.core.exceptions import HttpResponseError
        from azure.mgmt.storage import StorageManagementClient
        with ClientSecretCredential(given["tenant"], given["rotator"], given["secret"]) as credential:
            with StorageManagementClient(credential, given["subscription"]) as client:
                try:
                    client.storage_accounts.get_properties("group", given["foreign_account"])
                except HttpResponseError as error:
                    print((error.status_code, error.error.code) == (403, "AuthorizationFailed"))
        """,
    "a key operator lists and regenerates": """
        from azure.mgmt.storage import StorageManagementClient
        with ClientSecretCredential(given["tenant"], given["rotator"], given["secret"]) as credential:
            with StorageManagementClient(credential, given["subscription"]) as client:
                before = client.storage_accounts.list_keys("group", given["account"]).keys_property
                after = client.storage_accounts.regenerate_key(
                    "group", given["account"], {"keyName": "key2"}).keys_property
                print([key.key_name for key in after] == ["key1", "key2"] and after[0].value == before[0].value
                      and after[1].value != before[1].value and after[1].creation_time > before[1].creation_time
                      and str(getattr(after[1].permissions, "value", after[1].permissions)).upper() == "FULL")
        """,
    "a user signs in through a confidential client, by MSAL": """
        import msal
        app = msal.ConfidentialClientApplication(
            given["rotator"], client_credential=given["secret"],
            authority="https://login.microsoftonline.com/" + given["tenant"])
        scopes = ["https://graph.microsoft.com/.default"]
        good = app.acquire_token_by_username_password(given["user"], given["password"], scopes)
        bad = app.acquire_token_by_username_password(given["user"], "wrong", scopes)
        print("access_token" in good and good["id_token_claims"]["preferred_username"] == given["user"]
              and bad["error_codes"] == [50126])
        """,
    "a password is set": """
        from msgraph.generated.models.password_profile import PasswordProfile
        from msgraph.generated.models.user import User
        async def work(graph):
            profile = PasswordProfile(password="Correct-horse-42-battery", force_change_password_next_sign_in=False)
            await graph.users.by_user_id(given["user"]).patch(User(password_profile=profile))
            found = await graph.users.by_user_id(given["user"]).get()
            print(found.user_principal_name == given["user"])
        asyncio.run(as_rotator(work))
        """,
    "a managed identity": """
        from azure.identity import ManagedIdentityCredential
        with ManagedIdentityCredential(client_id=given["identity"]) as credential:
            print(bool(credential.get_token("https://graph.microsoft.com/.default").token))
        """,
    "a workload identity": """
        import tempfile
        from azure.identity import WorkloadIdentityCredential
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(given["workload_token"])
            file.flush()
            with WorkloadIdentityCredential(
                    tenant_id=given["tenant"], client_id=given["rotator"], token_file_path=file.name) as credential:
                print(bool(credential.get_token("https://graph.microsoft.com/.default").token))
        """,
    "a certificate": """
        from azure.identity import CertificateCredential
        with CertificateCredential(given["tenant"], given["rotator"], certificate_data=given["pem"].encode()) as found:
            print(bool(found.get_token("https://graph.microsoft.com/.default").token))
        """,
    "a locked account": """
        from azure.core.exceptions import ResourceExistsError
        from azure.mgmt.storage import StorageManagementClient
        with ClientSecretCredential(given["tenant"], given["rotator"], given["secret"]) as credential:
            with StorageManagementClient(credential, given["subscription"]) as client:
                try:
                    client.storage_accounts.list_keys("group", given["locked_account"])
                except ResourceExistsError as error:
                    print((error.status_code, error.error.code) == (409, "ScopeLocked"))
        """,
}


def run(azure: Azure, program: str, **more: str) -> subprocess.CompletedProcess[str]:
    import json

    own = certificate()
    trusted = {"issuer": "https://issuer.example", "subject": "the workload"}
    rotator = azure.app(OWNED_BY, certificates=[own.pem], federated_credentials=[trusted])
    app = azure.app(owners=(rotator.app_id,))
    key = own.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    azure.control.update_application(
        rotator.app_id, roles=[OWNED_BY, "User.Read.All", "User-PasswordProfile.ReadWrite.All"], delegated=["User.Read"]
    )
    user = azure.control.create_user(tenant=azure.tenant.tenant_id)
    place = {"tenant": azure.tenant.tenant_id, "subscription": str(uuid.uuid4())}
    accounts = [azure.control.create_account(**place, operators=[rotator.app_id]) for _ in range(2)]
    azure.control.lock(accounts[1].resource_id)
    given = {
        "identity": azure.control.create_identity(tenant=azure.tenant.tenant_id).client_id,
        "workload_token": azure.control.workload_token(**trusted),
        "pem": key.decode() + own.pem,
        "user": user.upn,
        "password": user.password,
        "subscription": place["subscription"],
        "account": accounts[0].name,
        "locked_account": accounts[1].name,
        "foreign_account": azure.control.create_account(**place).name,
        "tenant": azure.tenant.tenant_id,
        "rotator": rotator.app_id,
        "secret": rotator.secrets["boot"],
        "app": app.app_id,
        "object": app.object_id,
        "foreign": azure.app().object_id,
        **more,
    }
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(program), json.dumps(given)]
    environment = azure.sandbox.environment(system_roots=True)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_the_sdk_meets_what_it_expects(azure: Azure, program):
    done = run(azure, program)
    assert done.stdout == "True\n", done.stderr[-3000:]


def test_graphs_default_retry_mints_twice_after_a_504_that_came_too_late(azure: Azure):
    """The trap that a rotation must not fall into; the sandbox can set it."""
    program = """
        from msgraph.generated.applications.item.add_password.add_password_post_request_body import (
            AddPasswordPostRequestBody)
        async def work(graph):
            add = graph.applications.by_application_id(given["object"]).add_password
            print(bool((await add.post(AddPasswordPostRequestBody())).secret_text))
        asyncio.run(as_rotator(work))
        """
    azure.control.add_fault(
        "graph.addPassword", tenant=azure.tenant.tenant_id, when="after", status=504, headers={"Retry-After": "1"}
    )
    done = run(azure, program)
    assert done.stdout == "True\n", done.stderr[-3000:]
    minted = [secret for secret in azure.control.secrets() if secret.tenant_id == azure.tenant.tenant_id]
    assert [secret.delivered for secret in minted if secret.origin == "minted"] == [False, True]


def test_a_government_tenant_is_met_under_its_own_names(azure: Azure):
    azure.tenant = azure.control.create_tenant(cloud="usgov")
    program = """
        from azure.identity import AzureAuthorityHosts
        credential = ClientSecretCredential(
            given["tenant"], given["app_id"], given["value"], authority=AzureAuthorityHosts.AZURE_GOVERNMENT)
        print(bool(credential.get_token("https://graph.microsoft.us/.default").token))
        """
    app = azure.app(OWNED_BY)
    done = run(azure, program, app_id=app.app_id, value=app.secrets["boot"])
    assert done.stdout == "True\n", done.stderr[-3000:]
