"""What the acting identity must be allowed in Azure, by rotator type (features 3.9)."""

from __future__ import annotations

from collections.abc import Mapping

from azure_rotator.domain.model import RotatorType
from azure_rotator.domain.parameters import SERVED_ROTATORS

_APPLICATION = (
    "Application.ReadWrite.OwnedBy, with its service principal an owner of the application",
    "or Application.ReadWrite.All",
)
GRANTS: Mapping[RotatorType, tuple[str, ...]] = {
    RotatorType.API_KEY: _APPLICATION,
    RotatorType.TARGET: _APPLICATION,
    RotatorType.PASSWORD: (
        "the Target acts: User-PasswordProfile.ReadWrite.All, for administrators also a directory role above theirs",
        "the user acts: delegated User-PasswordProfile.ReadWrite.All on the Target's client, no MFA demand",
    ),
    RotatorType.STORAGE_ACCOUNT: ("the role Storage Account Key Operator Service Role on the account",),
}


def grants_text() -> str:
    """The grants of the rotators that this release serves, laid out for a help text."""
    lines = ["\b", "Grants that the acting identity needs in Azure, by rotator type:"]
    for rotator, grants in GRANTS.items():
        if rotator in SERVED_ROTATORS:
            lines += [f"  {rotator.value}", *(f"    {grant}" for grant in grants)]
    lines += ["With use-target-creds the Target acts, with use-user-creds the application itself."]
    return "\n".join(lines)
