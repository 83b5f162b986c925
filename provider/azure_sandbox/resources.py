"""Directory objects as Microsoft Graph shows them. No secret value is ever among them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from azure_sandbox.clock import format_instant
from azure_sandbox.clouds import GRAPH_APP_ID
from azure_sandbox.credential import Secret
from azure_sandbox.directory_roles import DIRECTORY_ROLES
from azure_sandbox.objects import Application, ServicePrincipal
from azure_sandbox.people import User
from azure_sandbox.permissions import APP_ROLE_IDS
from azure_sandbox.policy import AppPolicy
from azure_sandbox.trust import read_certificate


def credential_resource(secret: Secret, *, value: str | None = None) -> dict[str, Any]:
    """A passwordCredential; ``value`` is given once, in addPassword's answer, and null ever after."""
    return {
        "customKeyIdentifier": None,
        "displayName": secret.display_name,
        "endDateTime": format_instant(secret.ends_at),
        "hint": secret.hint,
        "keyId": secret.key_id,
        "secretText": value,
        "startDateTime": format_instant(secret.starts_at),
    }


def application_resource(application: Application, secrets: Sequence[Secret]) -> dict[str, Any]:
    """An application with the secrets that this read shows."""
    return {
        "id": application.object_id,
        "deletedDateTime": None,
        "appId": application.app_id,
        "applicationTemplateId": None,
        "disabledByMicrosoftStatus": None,
        "createdDateTime": format_instant(application.created_at),
        "displayName": application.name,
        "description": None,
        "groupMembershipClaims": None,
        "identifierUris": list(application.identifier_uris),
        "isFallbackPublicClient": None,
        "notes": None,
        "publisherDomain": None,
        "signInAudience": application.audience,
        "tags": [],
        "tokenEncryptionKeyId": None,
        "addIns": [],
        "appRoles": [],
        "keyCredentials": [_certificate_resource(application, pem) for pem in application.certificates],
        "passwordCredentials": [credential_resource(secret) for secret in secrets],
        "requiredResourceAccess": [],
    }


def _certificate_resource(application: Application, pem: str) -> dict[str, Any]:
    certificate = read_certificate(pem)
    return {
        "customKeyIdentifier": certificate.thumbprint,
        "displayName": f"CN={application.name}",
        "endDateTime": format_instant(certificate.ends_at),
        "key": None,
        "keyId": str(uuid.uuid5(uuid.UUID(application.object_id), certificate.thumbprint)),
        "startDateTime": format_instant(certificate.starts_at),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    }


def service_principal_resource(principal: ServicePrincipal, secrets: Sequence[Secret]) -> dict[str, Any]:
    """A service principal; Microsoft Graph's own lists the app roles that it offers."""
    return {
        "id": principal.object_id,
        "deletedDateTime": None,
        "accountEnabled": principal.enabled,
        "alternativeNames": [],
        "appDisplayName": principal.name,
        "appId": principal.app_id,
        "appOwnerOrganizationId": principal.tenant_id,
        "appRoleAssignmentRequired": False,
        "disabledByMicrosoftStatus": None,
        "displayName": principal.name,
        "servicePrincipalNames": [principal.app_id],
        "servicePrincipalType": "ManagedIdentity" if principal.managed else "Application",
        "signInAudience": "AzureADMyOrg",
        "tags": [],
        "addIns": [],
        "appRoles": _graph_roles() if principal.app_id == GRAPH_APP_ID else [],
        "keyCredentials": [],
        "oauth2PermissionScopes": [],
        "passwordCredentials": [credential_resource(secret) for secret in secrets],
    }


def owner_resource(owner: ServicePrincipal | User) -> dict[str, Any]:
    """An owner, with the few properties that a list of owners is read for."""
    if isinstance(owner, User):
        return {
            "@odata.type": "#microsoft.graph.user",
            "id": owner.object_id,
            "displayName": owner.name,
            "userPrincipalName": owner.upn,
        }
    return {
        "@odata.type": "#microsoft.graph.servicePrincipal",
        "id": owner.object_id,
        "appId": owner.app_id,
        "displayName": owner.name,
        "servicePrincipalType": "Application",
    }


def user_resource(user: User, *, basics: bool, chosen: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A user: the properties of a read that selects none, and the further ones that ``chosen`` names in lower case.

    Args:
        user: the user.
        basics: leave out all but the basic profile, as for callers who may read no more.
        chosen: what the read selects.
    """
    shown: dict[str, Any] = {
        "businessPhones": [],
        "displayName": user.name,
        "givenName": user.name.partition(" ")[0],
        "jobTitle": None,
        "mail": None,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": user.name.partition(" ")[2] or None,
        "userPrincipalName": user.upn,
        "id": user.object_id,
    }
    further: dict[str, Any] = {
        "accountEnabled": user.enabled,
        "createdDateTime": format_instant(user.created_at),
        "lastPasswordChangeDateTime": format_instant(user.password.set_at) if user.password else None,
        "onPremisesSyncEnabled": True if user.synchronised else None,
        "passwordPolicies": None,
        "passwordProfile": None,
        "userType": "Member",
    }
    return shown if basics else shown | {name: value for name, value in further.items() if name.lower() in chosen}


def directory_role_resource(role: str, role_id: str) -> dict[str, Any]:
    """A directory role that a user is a member of."""
    return {
        "@odata.type": "#microsoft.graph.directoryRole",
        "id": role_id,
        "deletedDateTime": None,
        "description": role,
        "displayName": role,
        "roleTemplateId": DIRECTORY_ROLES[role],
    }


def assignment_resource(principal: ServicePrincipal, graph: ServicePrincipal, role: str) -> dict[str, Any]:
    """The grant of one Graph app role to a service principal."""
    return {
        "id": uuid.uuid5(uuid.UUID(principal.object_id), role).hex,
        "deletedDateTime": None,
        "appRoleId": APP_ROLE_IDS[role],
        "createdDateTime": format_instant(principal.created_at),
        "principalDisplayName": principal.name,
        "principalId": principal.object_id,
        "principalType": "ServicePrincipal",
        "resourceDisplayName": graph.name,
        "resourceId": graph.object_id,
    }


def policy_resource(policy: AppPolicy) -> dict[str, Any]:
    """An application's own app management policy."""
    return {
        "id": policy.policy_id,
        "displayName": "Credential policy",
        "description": "Restrictions on credentials",
        "isEnabled": policy.enabled,
        "restrictions": {"passwordCredentials": policy.restrictions(), "keyCredentials": []},
    }


def default_policy_resource(policy: AppPolicy | None) -> dict[str, Any]:
    """The tenant's default app management policy; switched off where the tenant has none."""
    restrictions = {"passwordCredentials": policy.restrictions() if policy else [], "keyCredentials": []}
    return {
        "id": policy.policy_id if policy else "00000000-0000-0000-0000-000000000000",
        "displayName": "Default app management tenant policy",
        "description": "Default tenant policy that enforces app management restrictions on applications and service"
        " principals.",
        "isEnabled": policy is not None and policy.enabled,
        "applicationRestrictions": restrictions,
        "servicePrincipalRestrictions": restrictions,
    }


def _graph_roles() -> list[dict[str, Any]]:
    return [
        {
            "allowedMemberTypes": ["Application"],
            "description": name,
            "displayName": name,
            "id": role_id,
            "isEnabled": True,
            "origin": "Application",
            "value": name,
        }
        for name, role_id in APP_ROLE_IDS.items()
    ]
