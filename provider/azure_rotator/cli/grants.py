"""What the acting identity must be allowed in Azure, by rotator type (features 3.9)."""

from __future__ import annotations

from azure_rotator.domain.grants import GRANTS


def grants_text() -> str:
    """The grants laid out for a help text."""
    return "\n".join(
        [
            "\b",
            "What the acting identity must be granted in Azure, by rotator type:",
            *(f"  {rotator.value}: {grant}" for rotator, grant in GRANTS.items()),
            "With use-target-creds the Target acts, with use-user-creds the application or the user.",
        ]
    )
