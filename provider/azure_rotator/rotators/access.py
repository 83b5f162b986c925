"""Whether somebody may change an application, by reads alone: his grants, and where they take it his ownership."""

from __future__ import annotations

from collections.abc import Iterable

from azure_rotator.domain.errors import Forbidden
from azure_rotator.domain.grants import OWNED_APPLICATIONS, may_change_applications, may_change_every_application
from azure_rotator.domain.ports import Application, Directory, Grants, Identity, PasswordCredential, ServicePrincipal


def refuse_without_grant(acting: Identity, grants: Grants, app_id: str) -> None:
    """Raises: Forbidden ``AzurePermissionMissing``."""
    if not may_change_applications(grants.roles):
        raise Forbidden(
            "AzurePermissionMissing",
            f"{acting.label} has neither {OWNED_APPLICATIONS} nor Application.ReadWrite.All",
            hint=f"grant {OWNED_APPLICATIONS} and make its service principal an owner of application {app_id}",
        )


def refuse_non_owner(
    directory: Directory,
    acting: Identity,
    grants: Grants,
    application: Application,
    principal: ServicePrincipal | None = None,
) -> None:
    """Refuse who does not own what the secret is on: the application, or its service principal where that is given.

    Raises:
        Forbidden: ``AzurePermissionMissing``.
    """
    if may_change_every_application(grants.roles):
        return
    if principal is None:
        owners, what = directory.owner_ids(acting, application.object_id), "application"
    else:
        owners, what = (
            directory.principal_owner_ids(acting, principal.object_id),
            "the service principal of application",
        )
    if grants.principal_id not in owners:
        raise Forbidden(
            "AzurePermissionMissing",
            f"{acting.label} is not an owner of {what} {application.app_id}, which {OWNED_APPLICATIONS} needs",
            hint=f"make service principal {grants.principal_id} an owner of it, or grant Application.ReadWrite.All",
        )


def listed(passwords: Iterable[PasswordCredential], key_id: str) -> PasswordCredential | None:
    """The client secret of this keyId; GUIDs compare without case."""
    return next((one for one in passwords if one.key_id.lower() == key_id.lower()), None)
