"""A client secret as the directory keeps it: dates, hint and a salted hash; the value itself is never kept."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

Origin = Literal["seed", "minted", "portal"]
"""Who made a secret: the seed file, an addPassword call, or the control API (a person in the portal)."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
DEFAULT_LIFE = timedelta(days=730)
"""Azure's life of a secret whose end is not given: two years."""


def mint_value() -> str:
    """Make a secretText as Entra makes them today: 40 characters, ``8Q~`` after the third."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(37))
    return f"{body[:3]}8Q~{body[3:]}"


def digest_of(value: str, salt: bytes) -> str:
    """Hash a value for keeping. Client secrets are long and random, so one salted SHA-256 is enough."""
    return hashlib.sha256(salt + value.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One password credential of an application or service principal.

    A removed secret stays as a tombstone (``removed_at`` set): login front ends may go on accepting it for a while,
    and the truth report tells removed from never made.
    """

    key_id: str
    display_name: str | None
    hint: str
    starts_at: datetime
    ends_at: datetime
    salt: str
    digest: str
    origin: Origin
    added_at: datetime
    removed_at: datetime | None = None
    delivered: bool = True
    """False while no answer has carried the value to a caller: a secret that nobody knows."""

    def matches(self, value: str) -> bool:
        """Whether ``value`` is this secret's value, whatever its dates."""
        return hmac.compare_digest(digest_of(value, bytes.fromhex(self.salt)), self.digest)

    def is_current(self, now: datetime) -> bool:
        """Whether ``now`` lies between its dates (start inclusive, end exclusive)."""
        return self.starts_at <= now < self.ends_at

    @property
    def is_removed(self) -> bool:
        """Whether it was removed, however long ago."""
        return self.removed_at is not None

    def removed(self, at: datetime) -> Secret:
        """The tombstone of this secret."""
        return replace(self, removed_at=at)

    def state(self, now: datetime) -> str:
        """One word for reports: ``removed``, ``expired``, ``not-yet-valid`` or ``valid``."""
        if self.is_removed:
            return "removed"
        if now >= self.ends_at:
            return "expired"
        return "valid" if now >= self.starts_at else "not-yet-valid"

    def to_record(self) -> dict[str, Any]:
        """A JSON-able form for the state folder."""
        return {
            "key_id": self.key_id,
            "display_name": self.display_name,
            "hint": self.hint,
            "starts_at": self.starts_at.isoformat(),
            "ends_at": self.ends_at.isoformat(),
            "salt": self.salt,
            "digest": self.digest,
            "origin": self.origin,
            "added_at": self.added_at.isoformat(),
            "removed_at": self.removed_at.isoformat() if self.removed_at else None,
            "delivered": self.delivered,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Secret:
        """The inverse of :meth:`to_record`."""
        fields = dict(record)
        for name in ("starts_at", "ends_at", "added_at", "removed_at"):
            fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A secret just made, with its clear value, which exists only here and in the one answer that carries it."""

    secret: Secret
    value: str = field(repr=False)


def make_secret(
    *,
    origin: Origin,
    added_at: datetime,
    display_name: str | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    value: str | None = None,
    key_id: str | None = None,
) -> Minted:
    """Make a secret; a missing value is generated, a missing start is ``added_at``, a missing end is two years on."""
    clear = value if value is not None else mint_value()
    salt = os.urandom(16)
    start = starts_at or added_at
    secret = Secret(
        key_id=key_id or str(uuid.uuid4()),
        display_name=display_name,
        hint=clear[:3],
        starts_at=start,
        ends_at=ends_at or start + DEFAULT_LIFE,
        salt=salt.hex(),
        digest=digest_of(clear, salt),
        origin=origin,
        added_at=added_at,
        delivered=origin != "minted",
    )
    return Minted(secret=secret, value=clear)
