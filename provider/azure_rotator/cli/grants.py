"""What the acting identity must be allowed in Azure, by rotator type (features 3.9)."""

from __future__ import annotations

from collections.abc import Mapping

from azure_rotator.domain.model import RotatorType

GRANTS: Mapping[RotatorType, str] = {
    RotatorType.API_KEY: "Application.ReadWrite.OwnedBy, being owner of the application, or Application.ReadWrite.All",
}


def grants_text() -> str:
    """The grants laid out for a help text."""
    return "\n".join(
        [
            "\b",
            "What the acting identity must be granted in Azure, by rotator type:",
            *(f"  {rotator.value}: {grant}" for rotator, grant in GRANTS.items()),
            "With use-target-creds the Target acts, with use-user-creds the application itself.",
        ]
    )
