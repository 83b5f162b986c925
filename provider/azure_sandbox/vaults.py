"""Key vaults and their secrets, as the directory keeps them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from azure_sandbox.safe import Safe

_NAME = re.compile(r"[A-Za-z](?:-?[A-Za-z0-9]){2,23}")
SECRET_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
"""What a vault's secret may be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSecret:
    """One version of a vault's secret; the value is sealed."""

    name: str
    version: str
    sealed_value: str = field(repr=False)
    created_at: datetime
    enabled: bool = True


@dataclass(slots=True, kw_only=True)
class Vault:
    """A key vault that asks Azure's roles who may come in; ``secrets`` holds all versions, oldest first."""

    tenant_id: str
    subscription_id: str
    resource_group: str
    name: str
    secrets: tuple[VaultSecret, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"vault {self.name!r}: a name has 3 to 24 letters, digits and single dashes")

    @property
    def resource_id(self) -> str:
        """Its Resource Manager id."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.KeyVault/vaults/{self.name}"
        )

    def find(self, name: str, version: str | None = None) -> VaultSecret | None:
        """A version of a secret, in any case; without one the newest."""
        found = [item for item in self.secrets if item.name.lower() == name.lower()]
        if version:
            found = [item for item in found if item.version == version.lower()]
        return found[-1] if found else None

    def put(self, name: str, value: str, safe: Safe, now: datetime, *, enabled: bool = True) -> VaultSecret:
        """Add a version.

        Raises:
            ValueError: a vault's secret can't be called so.
        """
        if not SECRET_NAME.fullmatch(name):
            raise ValueError(f"vault {self.name}: a secret can't be called {name!r}")
        made = VaultSecret(
            name=name, version=uuid.uuid4().hex, sealed_value=safe.seal(value), created_at=now, enabled=enabled
        )
        self.secrets = (*self.secrets, made)
        return made

    def to_record(self) -> dict[str, Any]:
        """A JSON-able form for the state folder."""
        names = ("tenant_id", "subscription_id", "resource_group", "name")
        return {
            **{name: getattr(self, name) for name in names},
            "secrets": [
                {
                    "name": item.name,
                    "version": item.version,
                    "sealed_value": item.sealed_value,
                    "created_at": item.created_at.isoformat(),
                    "enabled": item.enabled,
                }
                for item in self.secrets
            ],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Vault:
        """The inverse of :meth:`to_record`."""
        secrets = tuple(
            VaultSecret(**item | {"created_at": datetime.fromisoformat(item["created_at"])})
            for item in record["secrets"]
        )
        return cls(**{**record, "secrets": secrets})
