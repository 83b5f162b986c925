"""Which Microsoft Graph app roles each call takes, app-only, with the roles' published ids; and Azure's own roles.

Source: the permissions table of microsoftgraph/microsoft-graph-devx-content (``permissions/new/permissions.json``)
and the "Microsoft Graph permissions reference" on learn.microsoft.com.
"""

from __future__ import annotations

from collections.abc import Mapping

APP_ROLE_IDS: Mapping[str, str] = {
    "Application.Read.All": "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30",
    "Application.ReadWrite.All": "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9",
    "Application.ReadWrite.OwnedBy": "18a4783c-866b-4cc7-a460-3d5e5662c884",
    "Directory.Read.All": "7ab1d382-f21e-4acd-a863-ba3e13f7da61",
    "Directory.ReadWrite.All": "19dbc75e-c2e2-444c-a770-ec69d8559fc7",
    "Policy.Read.All": "246dd0d5-5bd0-4def-940b-0421030a5b68",
    "Policy.ReadWrite.ApplicationConfiguration": "be74164b-cff1-491c-8741-e671cb536e13",
    "User.EnableDisableAccount.All": "3011c876-62b7-4ada-afa2-506cbbecc68c",
    "User.ManageIdentities.All": "c529cfca-c91b-489c-af2b-d92990b66ce6",
    "User.Read.All": "df021288-bdef-4463-88db-98f22de89214",
    "User.ReadBasic.All": "97235f07-e226-4f63-ace3-39588e11d3a1",
    "User.ReadWrite.All": "741f803b-c850-494e-b5df-cde7c675a1ca",
    "User.ReadWrite.CrossCloud": "5652f862-b626-407b-a3e6-248aeb95763c",
    "User-Mail.ReadWrite.All": "280d0935-0796-47d1-8d26-273470a3f17a",
    "User-PasswordProfile.ReadWrite.All": "cc117bb9-00cf-4eb8-b580-ea2a878fe8f7",
    "User-Phone.ReadWrite.All": "86ceff06-c822-49ff-989a-d912845ffe69",
}
"""Every role that a seed may grant."""

DELEGATED = frozenset(
    {"User.Read", "User.Read.All", "User.ReadWrite", "User-PasswordProfile.ReadWrite.All", "Directory.AccessAsUser.All"}
)
"""Every delegated permission that a seed may grant."""

PASSWORD_PROFILE = "User-PasswordProfile.ReadWrite.All"  # noqa: S105 (a permission's name)
"""Sets passwords, and nothing else: not even a read of the user."""

ENABLE_USERS = "User.EnableDisableAccount.All"
UPDATE_USERS = frozenset({"User.ReadWrite.All", "Directory.ReadWrite.All"})
"""Write a user's properties; never the password."""

OWNED_BY = "Application.ReadWrite.OwnedBy"
"""Writes only to objects that the caller's service principal owns; reads everything."""

_READ_ONE = frozenset(
    {
        "Application.Read.All",
        "Application.ReadWrite.All",
        OWNED_BY,
        "Directory.Read.All",
        "Directory.ReadWrite.All",
    }
)
_READ_MANY = _READ_ONE - {"Directory.ReadWrite.All"}
_WRITE = frozenset({"Application.ReadWrite.All", OWNED_BY, "Directory.ReadWrite.All"})
_POLICY = frozenset({"Policy.Read.All", "Policy.ReadWrite.ApplicationConfiguration"})

_READ_USERS = frozenset(
    {
        "Directory.Read.All",
        "Directory.ReadWrite.All",
        "User.Read.All",
        "User.ReadBasic.All",
        "User.ReadWrite.All",
        "User.ReadWrite.CrossCloud",
    }
)

ROLES: Mapping[str, frozenset[str]] = {
    "graph.listApplications": _READ_MANY,
    "graph.getApplication": _READ_ONE,
    "graph.listApplicationOwners": _READ_ONE,
    "graph.updateApplication": frozenset({"Application.ReadWrite.All", OWNED_BY}),
    "graph.addPassword": _WRITE,
    "graph.removePassword": _WRITE,
    "graph.listServicePrincipals": _READ_MANY,
    "graph.getServicePrincipal": _READ_ONE,
    "graph.listServicePrincipalOwners": _READ_ONE,
    "graph.listAppRoleAssignments": _READ_ONE,
    "graph.addServicePrincipalPassword": _WRITE,
    "graph.removeServicePrincipalPassword": _WRITE,
    "graph.getDefaultAppManagementPolicy": _POLICY,
    # The published table has only the POST of this path; reading takes the policy permissions (learn.microsoft.com,
    # "List appManagementPolicies").
    "graph.listUsers": _READ_USERS,
    "graph.getUser": _READ_USERS,
    "graph.updateUser": UPDATE_USERS
    | {
        PASSWORD_PROFILE,
        ENABLE_USERS,
        "User-Mail.ReadWrite.All",
        "User-Phone.ReadWrite.All",
        "User.ManageIdentities.All",
        "User.ReadWrite.CrossCloud",
    },
    # Neither is in the published table; "List memberOf" on learn.microsoft.com.
    "graph.listUserMemberOf": _READ_USERS - {"User.ReadBasic.All", "User.ReadWrite.CrossCloud"},
    # Only for users: no application can be "me".
    "graph.getMe": frozenset(),
    "graph.changePassword": frozenset(),
    "graph.listAppManagementPolicies": _POLICY | {"Application.Read.All"},
}
"""Operation to the roles of which an application needs any one."""

SCOPES: Mapping[str, frozenset[str]] = {
    "graph.getMe": frozenset({"User.Read", "User.ReadWrite", "User.Read.All"}),
    "graph.changePassword": frozenset({PASSWORD_PROFILE}),
}
"""Operation to the delegated permissions of which an application that acts as a user needs any one."""

KEY_OPERATOR = "Storage Account Key Operator Service Role"
"""May list and regenerate storage keys, and nothing else: not even read the account."""

VAULT_READERS = frozenset({"Key Vault Secrets User", "Key Vault Secrets Officer", "Key Vault Administrator"})
"""May read the secrets of a vault. No role of Resource Manager may, not even Owner."""

ARM_ROLES: Mapping[str, tuple[str, ...]] = {
    "Owner": ("*",),
    "Contributor": ("*",),
    "Reader": ("*/read",),
    "Storage Account Contributor": ("Microsoft.Storage/storageAccounts/*", "Microsoft.Authorization/*/read"),
    KEY_OPERATOR: (
        "Microsoft.Storage/storageAccounts/listkeys/action",
        "Microsoft.Storage/storageAccounts/regeneratekey/action",
    ),
    "Reader and Data Access": (
        "Microsoft.Storage/storageAccounts/read",
        "Microsoft.Storage/storageAccounts/listKeys/action",
        "Microsoft.Storage/storageAccounts/ListAccountSas/action",
    ),
    **dict.fromkeys(sorted(VAULT_READERS), ()),
}
"""Built-in Resource Manager roles by name, as globs of actions ("Azure built-in roles" on learn.microsoft.com)."""
