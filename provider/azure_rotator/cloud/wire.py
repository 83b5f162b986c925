"""One request to Microsoft Graph through msgraph-sdk. Imports the SDK: import it inside functions only.

The SDK builds the request (address, query, body, headers); what becomes of the answer is decided in ``faults`` and
``payloads``, so the answer is taken as it comes. Reading an application through the SDK's own model costs 1.5 s and
33 MB, once, for types that are not used here (design/azure 5).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from kiota_abstractions.authentication import (
    AccessTokenProvider,
    AllowedHostsValidator,
    BaseBearerTokenAuthenticationProvider,
)
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_abstractions.native_response_handler import NativeResponseHandler
from kiota_abstractions.request_information import RequestInformation
from kiota_http.kiota_client_factory import KiotaClientFactory
from kiota_http.middleware.options import RedirectHandlerOption, ResponseHandlerOption, RetryHandlerOption
from msgraph import GraphServiceClient
from msgraph.generated.applications.item.add_password.add_password_post_request_body import AddPasswordPostRequestBody
from msgraph.generated.applications.item.application_item_request_builder import ApplicationItemRequestBuilder
from msgraph.generated.applications.item.owners.owners_request_builder import OwnersRequestBuilder
from msgraph.generated.applications.item.remove_password.remove_password_post_request_body import (
    RemovePasswordPostRequestBody,
)
from msgraph.generated.applications_with_app_id.applications_with_app_id_request_builder import (
    ApplicationsWithAppIdRequestBuilder,
)
from msgraph.generated.models.password_credential import PasswordCredential
from msgraph.generated.models.password_profile import PasswordProfile
from msgraph.generated.models.user import User
from msgraph.generated.service_principals.item.add_password.add_password_post_request_body import (
    AddPasswordPostRequestBody as AddPrincipalPasswordPostRequestBody,
)
from msgraph.generated.service_principals.item.remove_password.remove_password_post_request_body import (
    RemovePasswordPostRequestBody as RemovePrincipalPasswordPostRequestBody,
)
from msgraph.generated.service_principals_with_app_id.service_principals_with_app_id_request_builder import (
    ServicePrincipalsWithAppIdRequestBuilder,
)
from msgraph.generated.users.item.change_password.change_password_post_request_body import (
    ChangePasswordPostRequestBody,
)
from msgraph.generated.users.item.member_of.member_of_request_builder import MemberOfRequestBuilder
from msgraph.generated.users.item.user_item_request_builder import UserItemRequestBuilder
from msgraph.graph_request_adapter import GraphRequestAdapter

from azure_rotator.cloud import connections
from azure_rotator.cloud.answers import Answer, read_answer
from azure_rotator.cloud.endpoints import Endpoints
from azure_rotator.cloud.loop import Kept
from azure_rotator.domain.secrettext import SecretText

# Twice over, for the client and for each request: kiota repeats POST on 429, 503 and 504, and a repeated addPassword
# makes secrets that nobody knows (design/azure 0.1). A redirect would carry the token somewhere else.
_RETRIES_OFF: Final = RetryHandlerOption(max_retries=0, should_retry=False)
_REDIRECTS_OFF: Final = RedirectHandlerOption(should_redirect=False)


class _Bearer(AccessTokenProvider):
    """Gives one token, to one host."""

    def __init__(self, token: str, host: str) -> None:
        self._token = token
        self._hosts = AllowedHostsValidator([host])

    async def get_authorization_token(
        self,
        uri: str,
        additional_authentication_context: dict[str, Any] = {},  # noqa: B006 - the SDK's signature
    ) -> str:
        return self._token if self._hosts.is_url_host_valid(uri) else ""

    def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
        return self._hosts


@asynccontextmanager
async def connect(
    kept: Kept, endpoints: Endpoints, token: SecretText, seconds: float
) -> AsyncIterator[GraphServiceClient]:
    """A Graph client with connections of its own."""
    async with connections.connect(kept, seconds) as bare:
        # Not GraphClientFactory: its transport does not pass a close on (msgraph-core 1.5), and leaks the connection.
        client = KiotaClientFactory.create_with_default_middleware(
            client=bare,
            options={
                RetryHandlerOption.get_key(): _RETRIES_OFF,
                RedirectHandlerOption.get_key(): _REDIRECTS_OFF,
            },
        )
        bearer = BaseBearerTokenAuthenticationProvider(_Bearer(token.reveal(), endpoints.graph_host))
        adapter = GraphRequestAdapter(bearer, client=client)
        adapter.base_url = endpoints.graph_url  # before the client is built, and without a slash at the end
        yield GraphServiceClient(request_adapter=adapter)


async def send(client: GraphServiceClient, request: RequestInformation) -> Answer:
    """Send one request, once. Raises what httpx raises when there is no answer."""
    request.add_request_options([ResponseHandlerOption(NativeResponseHandler()), _RETRIES_OFF, _REDIRECTS_OFF])
    response: Any = await client.request_adapter.send_primitive_async(request, "bytes", None)
    return read_answer(response.status_code, response.headers, response.content)


def get_application(client: GraphServiceClient, app_id: str) -> RequestInformation:
    """``GET applications(appId='…')``."""
    query = ApplicationsWithAppIdRequestBuilder.ApplicationsWithAppIdRequestBuilderGetQueryParameters(
        select=["id", "appId", "displayName", "passwordCredentials"]
    )
    return client.applications_with_app_id(app_id).to_get_request_information(
        RequestConfiguration(query_parameters=query)
    )


def get_room(client: GraphServiceClient, object_id: str) -> RequestInformation:
    """``GET applications/{id}``: what decides how many client secrets it may have."""
    query = ApplicationItemRequestBuilder.ApplicationItemRequestBuilderGetQueryParameters(
        select=["signInAudience", "passwordCredentials"]
    )
    return client.applications.by_application_id(object_id).to_get_request_information(
        RequestConfiguration(query_parameters=query)
    )


def get_load(client: GraphServiceClient, object_id: str) -> RequestInformation:
    """``GET applications/{id}``: its credentials, and what decides how many it may have."""
    query = ApplicationItemRequestBuilder.ApplicationItemRequestBuilderGetQueryParameters(
        select=["signInAudience", "passwordCredentials", "keyCredentials"]
    )
    return client.applications.by_application_id(object_id).to_get_request_information(
        RequestConfiguration(query_parameters=query)
    )


def get_creation(client: GraphServiceClient, object_id: str) -> RequestInformation:
    """``GET applications/{id}``: when it was made, which decides what policies apply."""
    query = ApplicationItemRequestBuilder.ApplicationItemRequestBuilderGetQueryParameters(select=["createdDateTime"])
    return client.applications.by_application_id(object_id).to_get_request_information(
        RequestConfiguration(query_parameters=query)
    )


def get_application_policies(client: GraphServiceClient, object_id: str) -> RequestInformation:
    """``GET applications/{id}/appManagementPolicies``: one at most, which takes the place of the tenant's."""
    return client.applications.by_application_id(object_id).app_management_policies.to_get_request_information()


def get_default_policy(client: GraphServiceClient) -> RequestInformation:
    """``GET policies/defaultAppManagementPolicy``."""
    return client.policies.default_app_management_policy.to_get_request_information()


def get_service_principal(client: GraphServiceClient, app_id: str) -> RequestInformation:
    """``GET servicePrincipals(appId='…')``."""
    builder = ServicePrincipalsWithAppIdRequestBuilder
    query = builder.ServicePrincipalsWithAppIdRequestBuilderGetQueryParameters(
        select=["id", "appId", "displayName", "accountEnabled", "passwordCredentials"]
    )
    return client.service_principals_with_app_id(app_id).to_get_request_information(
        RequestConfiguration(query_parameters=query)
    )


def get_owners(client: GraphServiceClient, object_id: str, page: str | None) -> RequestInformation:
    """``GET applications/{id}/owners``, or a further page of it."""
    owners = client.applications.by_application_id(object_id).owners
    if page is not None:
        return owners.with_url(page).to_get_request_information()
    query = OwnersRequestBuilder.OwnersRequestBuilderGetQueryParameters(select=["id"])
    return owners.to_get_request_information(RequestConfiguration(query_parameters=query))


def get_principal_owners(client: GraphServiceClient, object_id: str, page: str | None) -> RequestInformation:
    """``GET servicePrincipals/{id}/owners``, or a further page of it."""
    owners = client.service_principals.by_service_principal_id(object_id).owners
    return (owners.with_url(page) if page is not None else owners).to_get_request_information()


def add_password(client: GraphServiceClient, object_id: str, display_name: str, end_at: datetime) -> RequestInformation:
    """``POST applications/{id}/addPassword``. No start is sent: Entra's own clock decides it (F10)."""
    body = AddPasswordPostRequestBody(
        password_credential=PasswordCredential(display_name=display_name, end_date_time=end_at)
    )
    return client.applications.by_application_id(object_id).add_password.to_post_request_information(body)


def remove_password(client: GraphServiceClient, object_id: str, key_id: UUID) -> RequestInformation:
    """``POST applications/{id}/removePassword``."""
    body = RemovePasswordPostRequestBody(key_id=key_id)
    return client.applications.by_application_id(object_id).remove_password.to_post_request_information(body)


def add_principal_password(
    client: GraphServiceClient, object_id: str, display_name: str, end_at: datetime
) -> RequestInformation:
    """``POST servicePrincipals/{id}/addPassword``. As ``add_password``."""
    body = AddPrincipalPasswordPostRequestBody(
        password_credential=PasswordCredential(display_name=display_name, end_date_time=end_at)
    )
    principal = client.service_principals.by_service_principal_id(object_id)
    return principal.add_password.to_post_request_information(body)


def remove_principal_password(client: GraphServiceClient, object_id: str, key_id: UUID) -> RequestInformation:
    """``POST servicePrincipals/{id}/removePassword``."""
    body = RemovePrincipalPasswordPostRequestBody(key_id=key_id)
    principal = client.service_principals.by_service_principal_id(object_id)
    return principal.remove_password.to_post_request_information(body)


def get_user(client: GraphServiceClient, username: str) -> RequestInformation:
    """``GET users/{name}``."""
    query = UserItemRequestBuilder.UserItemRequestBuilderGetQueryParameters(
        select=["id", "userPrincipalName", "onPremisesSyncEnabled"]
    )
    return client.users.by_user_id(username).to_get_request_information(RequestConfiguration(query_parameters=query))


def get_member_of(client: GraphServiceClient, username: str, page: str | None) -> RequestInformation:
    """``GET users/{name}/memberOf``, or a further page of it: groups and directory roles."""
    member_of = client.users.by_user_id(username).member_of
    if page is not None:
        return member_of.with_url(page).to_get_request_information()
    query = MemberOfRequestBuilder.MemberOfRequestBuilderGetQueryParameters(select=["id", "displayName"])
    return member_of.to_get_request_information(RequestConfiguration(query_parameters=query))


def set_password(client: GraphServiceClient, username: str, password: SecretText) -> RequestInformation:
    """``PATCH users/{name}``. The flag is always sent: Entra's own default demands a change at the next sign-in."""
    profile = PasswordProfile(password=password.reveal(), force_change_password_next_sign_in=False)
    return client.users.by_user_id(username).to_patch_request_information(User(password_profile=profile))


def change_password(client: GraphServiceClient, present: SecretText, password: SecretText) -> RequestInformation:
    """``POST me/changePassword``, as the user whose token is sent."""
    body = ChangePasswordPostRequestBody(current_password=present.reveal(), new_password=password.reveal())
    # The SDK's own "me" is a placeholder that a middleware replaces; this address needs none.
    address = f"{client.request_adapter.base_url}/me/changePassword"
    return client.users.by_user_id("me").change_password.with_url(address).to_post_request_information(body)
