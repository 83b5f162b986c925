"""Directory roles: their published template ids, and who may set whose password.

Source: "Microsoft Entra built-in roles" and "Privileged roles and permissions: who can reset passwords" on
learn.microsoft.com.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

DIRECTORY_ROLES: Mapping[str, str] = {
    "Global Administrator": "62e90394-69f5-4237-9190-012177145e10",
    "Privileged Authentication Administrator": "7be44c8a-adaf-4e2a-84d6-ab2649e08a13",
    "Privileged Role Administrator": "e8611ab8-c189-46e8-94e1-60213ab1f814",
    "Authentication Administrator": "c4e39bd9-1100-46d3-8c65-fb160da0071f",
    "User Administrator": "fe930be7-5e62-47db-91af-98c3a49a38b1",
    "Helpdesk Administrator": "729827e3-9c14-49f7-bb1b-9608f156bbb8",
    "Password Administrator": "966707d0-3269-4727-9be2-8c3a10f19b9d",
    "Groups Administrator": "fdd7a751-b60b-444a-984c-02652fe8fa1c",
    "Application Administrator": "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",
    "Security Administrator": "194ae4cb-b126-40b2-bd5b-6091b380977d",
    "Directory Readers": "88d8e3e3-8f55-4a1e-953a-9b9898b8876b",
    "Guest Inviter": "95e79109-95c0-4d8e-aee3-d01accf2d47b",
    "Message Center Reader": "790c1fb9-7f7d-4f88-86a1-ef1f95c05c1b",
    "Reports Reader": "4a5d8f65-41da-4de4-8968-e035b65339cf",
}
"""Every directory role that a seed may give, by display name."""

_ABOVE_ALL = frozenset({"Global Administrator", "Privileged Authentication Administrator"})
_MAY_RESET: Mapping[str, frozenset[str]] = {
    "Authentication Administrator": frozenset({"Authentication Administrator"}),
    "Directory Readers": frozenset(
        {"Password Administrator", "Helpdesk Administrator", "Authentication Administrator", "User Administrator"}
    ),
    "Groups Administrator": frozenset({"User Administrator"}),
    "Guest Inviter": frozenset(
        {"Password Administrator", "Helpdesk Administrator", "Authentication Administrator", "User Administrator"}
    ),
    "Helpdesk Administrator": frozenset({"Helpdesk Administrator", "User Administrator"}),
    "Message Center Reader": frozenset(
        {"Helpdesk Administrator", "Authentication Administrator", "User Administrator"}
    ),
    "Password Administrator": frozenset(
        {"Password Administrator", "Helpdesk Administrator", "Authentication Administrator", "User Administrator"}
    ),
    "Reports Reader": frozenset({"Helpdesk Administrator", "Authentication Administrator", "User Administrator"}),
    "User Administrator": frozenset({"User Administrator"}),
}
"""Role of the user whose password it is to the roles that may set it, besides those above all."""

RESETTERS = _ABOVE_ALL | frozenset().union(*_MAY_RESET.values())
"""Roles that may set the passwords of users without any role."""


def may_reset(actor: Iterable[str], target: Iterable[str]) -> bool:
    """Whether somebody with the roles ``actor`` may set the password of a user with the roles ``target``."""
    held = frozenset(actor)
    return all(held & (_ABOVE_ALL | _MAY_RESET.get(role, frozenset())) for role in target)
