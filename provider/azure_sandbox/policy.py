"""App management policies: what a tenant forbids about client secrets, and the refusals that follow.

Source: "appManagementPolicy resource type" on learn.microsoft.com; the error texts as recorded in
KelvinTegelaar/CIPP-API 1970 and microsoftgraph/microsoft-graph-docs 15650.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from azure_sandbox.clock import parse_period


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPolicy:
    """One policy, of a tenant or of one application (which then replaces the tenant's).

    Attributes:
        policy_id: a GUID, named in refusals.
        max_lifetime: ISO 8601 period (``P90D``) that no new secret may outlive; None for no bound.
        forbid_passwords: True forbids addPassword altogether (restriction ``passwordAddition``).
        enabled: False switches the whole policy off.
    """

    policy_id: str
    max_lifetime: str | None = None
    forbid_passwords: bool = False
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.max_lifetime is not None:
            parse_period(self.max_lifetime)

    def refusal(self, life: timedelta) -> tuple[str, str] | None:
        """The error code and text for adding a secret that lives ``life``; None when it is allowed."""
        if not self.enabled:
            return None
        if self.forbid_passwords:
            return (
                "CredentialTypeNotAllowedAsPerAppPolicy",
                f"Credential type not allowed as per assigned policy '{self.policy_id}'.",
            )
        if self.max_lifetime is not None and life > parse_period(self.max_lifetime):
            return (
                "CredentialInvalidLifetimeAsPerAppPolicy",
                f"Credential lifetime exceeds the max value allowed as per assigned policy '{self.policy_id}'.",
            )
        return None

    def restrictions(self) -> list[dict[str, Any]]:
        """The ``passwordCredentials`` restrictions as Graph shows them."""
        shown: list[dict[str, Any]] = []
        if self.forbid_passwords:
            shown.append(_restriction("passwordAddition", None))
        if self.max_lifetime is not None:
            shown.append(_restriction("passwordLifetime", self.max_lifetime))
        return shown

    def to_record(self) -> dict[str, Any]:
        """A JSON-able form."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> AppPolicy | None:
        """The inverse of :meth:`to_record`; None stays None."""
        return cls(**record) if record is not None else None


def _restriction(kind: str, max_lifetime: str | None) -> dict[str, Any]:
    return {
        "restrictionType": kind,
        "state": "enabled",
        "maxLifetime": max_lifetime,
        "restrictForAppsCreatedAfterDateTime": "2019-01-01T00:00:00Z",
    }
