"""Storage accounts and their keys, and the management locks that lie on them and above them.

Sources: "Storage Accounts - Regenerate Key" and "- List Keys" on learn.microsoft.com; the shape of key values as
GitHub's and Microsoft's secret scanners know them.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from azure_sandbox.safe import Safe

ACCESS_KEYS = ("key1", "key2")
KERBEROS_KEYS = ("kerb1", "kerb2")
KEY_NAMES = (*ACCESS_KEYS, *KERBEROS_KEYS)
DIRECTORY_SERVICES = ("None", "AADDS", "AD", "AADKERB")
LOCK_LEVELS = ("ReadOnly", "CanNotDelete")

_NAME = re.compile(r"[a-z0-9]{3,24}")
_KEY_BYTES = 64


def mint_key() -> str:
    """Make an access key as Azure makes them: 64 bytes in base64, ``+ASt`` after the 76th character."""
    text = base64.b64encode(os.urandom(_KEY_BYTES)).decode()
    return f"{text[:76]}+ASt{text[80:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageKey:
    """One key. The value is sealed; the previous one is remembered because the data plane may lag.

    Attributes:
        created_at: None for a key that is older than Azure's record of it.
        replaced_at: when the previous value was replaced; None for the first value.
    """

    name: str
    sealed_value: str = field(repr=False)
    created_at: datetime | None
    sealed_previous: str | None = field(default=None, repr=False)
    replaced_at: datetime | None = None

    def accepted(self, safe: Safe, now: datetime, lag: timedelta) -> str:
        """The value that the data plane takes now; ``lag`` is how late it hears of a regeneration."""
        if self.sealed_previous is not None and self.replaced_at is not None and now < self.replaced_at + lag:
            return safe.open(self.sealed_previous)
        return safe.open(self.sealed_value)


@dataclass(slots=True, kw_only=True)
class StorageAccount:
    """A storage account, addressed as in Resource Manager; ids compare without case.

    Attributes:
        keys: key1 and key2, then the Kerberos keys that were made.
        allow_shared_key: None is as good as True, and is what an account has that nobody set.
        directory_service: who authenticates file shares; ``AADDS`` accounts have Kerberos keys from the start.
        key_policy_days: after how many days keys should be rotated; a reminder, nothing expires.
        sas_period: how long a shared access signature should live, ``DD.HH:MM:SS``; a reminder too.
    """

    tenant_id: str
    subscription_id: str
    resource_group: str
    name: str
    created_at: datetime
    location: str = "westeurope"
    keys: tuple[StorageKey, ...] = ()
    allow_shared_key: bool | None = None
    directory_service: str = "None"
    key_policy_days: int | None = None
    sas_period: str | None = None
    behaviour: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"storage account {self.name!r}: a name has 3 to 24 lower-case letters and digits")
        if self.directory_service not in DIRECTORY_SERVICES:
            known = ", ".join(DIRECTORY_SERVICES)
            raise ValueError(f"{self.name}: unknown directory service {self.directory_service!r}; known: {known}")

    @property
    def resource_id(self) -> str:
        """Its Resource Manager id."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Storage/storageAccounts/{self.name}"
        )

    def find_key(self, name: str) -> StorageKey | None:
        """The key of this name, in any case; None for one that was never made."""
        return next((key for key in self.keys if key.name == name.lower()), None)

    def furnish(self, safe: Safe, *, at: datetime | None, values: Mapping[str, str] | None = None) -> None:
        """Give it the keys that an account of its kind is born with.

        Args:
            safe: what seals the values.
            at: their creation time; None for keys older than Azure's record.
            values: chosen values by name; the others are made up.
        """
        born_with = KEY_NAMES if self.directory_service == "AADDS" else ACCESS_KEYS
        chosen = values or {}
        self.keys = tuple(
            StorageKey(name=name, sealed_value=safe.seal(chosen.get(name) or mint_key()), created_at=at)
            for name in KEY_NAMES
            if name in born_with or name in chosen
        )

    def regenerate(self, name: str, safe: Safe, now: datetime) -> StorageKey:
        """Give one key a new value, and make a Kerberos key that was not there; the others stay as they are.

        Raises:
            ValueError: no key has this name.
        """
        if name not in KEY_NAMES:
            raise ValueError(f"no key is called {name!r}; known: {', '.join(KEY_NAMES)}")
        old = self.find_key(name)
        made = StorageKey(
            name=name,
            sealed_value=safe.seal(mint_key()),
            created_at=now,
            sealed_previous=old.sealed_value if old else None,
            replaced_at=now if old else None,
        )
        keys = {key.name: key for key in self.keys} | {name: made}
        self.keys = tuple(keys[known] for known in KEY_NAMES if known in keys)
        return made

    def to_record(self) -> dict[str, Any]:
        """A JSON-able form for the state folder."""
        names = [name for name in self.__dataclass_fields__ if name not in {"keys", "created_at"}]
        return {
            **{name: getattr(self, name) for name in names},
            "created_at": self.created_at.isoformat(),
            "keys": [_key_record(key) for key in self.keys],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> StorageAccount:
        """The inverse of :meth:`to_record`; a record of an earlier release has no keys and no date."""
        given = dict(record)
        given["created_at"] = _instant(given.get("created_at")) or datetime.fromisoformat("2024-01-01T00:00:00+00:00")
        given["keys"] = tuple(
            StorageKey(**key | {name: _instant(key[name]) for name in ("created_at", "replaced_at")})
            for key in given.get("keys", ())
        )
        return cls(**given)

    def changed(self, **changes: Any) -> StorageAccount:
        """A copy with settings replaced and checked."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A management lock on a subscription, a group or a resource; it holds for all below.

    ReadOnly refuses every POST, listKeys among them; CanNotDelete refuses nothing that this sandbox does.
    """

    tenant_id: str
    scope: str
    name: str
    level: str = "ReadOnly"
    notes: str | None = None

    def __post_init__(self) -> None:
        if self.level not in LOCK_LEVELS:
            raise ValueError(f"lock {self.name}: unknown level {self.level!r}; known: {', '.join(LOCK_LEVELS)}")

    def covers(self, scope: str) -> bool:
        """Whether ``scope`` is the lock's own or lies below it."""
        return f"{scope.rstrip('/')}/".lower().startswith(f"{self.scope.rstrip('/')}/".lower())

    @property
    def lock_id(self) -> str:
        """Its Resource Manager id."""
        return f"{self.scope.rstrip('/')}/providers/Microsoft.Authorization/locks/{self.name}"


def _key_record(key: StorageKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "sealed_value": key.sealed_value,
        "created_at": key.created_at.isoformat() if key.created_at else None,
        "sealed_previous": key.sealed_previous,
        "replaced_at": key.replaced_at.isoformat() if key.replaced_at else None,
    }


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
