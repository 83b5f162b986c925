"""What the acting identity must be allowed in Azure (features 3.9), and what a token's roles say about it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from azure_rotator.domain.model import RotatorType

ALL_APPLICATIONS = frozenset({"Application.ReadWrite.All", "Directory.ReadWrite.All"})
OWNED_APPLICATIONS = "Application.ReadWrite.OwnedBy"
PASSWORDS = "User-PasswordProfile.ReadWrite.All"
# Broader ones that include it ("Microsoft Graph permissions reference"); User.ReadWrite.All does not.
SET_PASSWORDS = frozenset({PASSWORDS, "Directory.AccessAsUser.All"})
KEY_OPERATOR = "Storage Account Key Operator Service Role"

GRANTS: Mapping[RotatorType, str] = {
    RotatorType.API_KEY: f"{OWNED_APPLICATIONS}, being owner of the application, or Application.ReadWrite.All",
    RotatorType.TARGET: f"{OWNED_APPLICATIONS}, being owner of its own application, or Application.ReadWrite.All",
    RotatorType.PASSWORD: f"{PASSWORDS}, and for administrators a directory role above theirs; with use-user-creds "
    "the same as a delegated permission of the Target's application, and no MFA demand",
    RotatorType.STORAGE_ACCOUNT: f'the role "{KEY_OPERATOR}" on the account',
}


def may_change_applications(roles: Collection[str]) -> bool:
    """Whether a Graph token with these roles may change applications, perhaps only those it owns."""
    return OWNED_APPLICATIONS in roles or may_change_every_application(roles)


def may_change_every_application(roles: Collection[str]) -> bool:
    return bool(ALL_APPLICATIONS & set(roles))


def may_set_passwords(roles: Collection[str]) -> bool:
    return bool(SET_PASSWORDS & set(roles))
