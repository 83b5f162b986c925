"""Users: their passwords as hashes, what a sign-in demands of them besides, and which passwords Entra takes.

Sources: "Password policies and account restrictions" and "Combined password policy and check for weak passwords" on
learn.microsoft.com; the scoring of weak passwords follows "How are passwords evaluated" there.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

Origin = Literal["seed", "reset", "change", "portal"]
"""Who set a password: the seed, an administrator's PATCH, the user's own change, or the control API."""

_KEPT_PASSWORDS = 24
_SHORTEST, _LONGEST = 8, 256
_CLASSES = (r"[A-Z]", r"[a-z]", r"[0-9]", r"[^A-Za-z0-9]")
_ALLOWED = re.compile(r"[A-Za-z0-9 @#$%^&*\-_!+=\[\]{}|\\:',.?/`~\"();<>]*")
_LOOKALIKES = str.maketrans("0134$5@7", "oleassat")
_WEAK = ("password", "passwort", "qwerty", "letmein", "welcome", "admin", "microsoft", "azure", "abcdef", "123456")
_NEEDED_POINTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """One password that a user has or had; people choose short ones, so the hash is a slow one."""

    salt: str
    digest: str
    set_at: datetime
    origin: Origin

    def matches(self, value: str) -> bool:
        """Whether ``value`` is this password."""
        return hmac.compare_digest(_digest(value, bytes.fromhex(self.salt)), self.digest)


def make_password(value: str, *, at: datetime, origin: Origin) -> Password:
    """Hash a password."""
    salt = os.urandom(16)
    return Password(salt=salt.hex(), digest=_digest(value, salt), set_at=at, origin=origin)


@dataclass(slots=True, kw_only=True)
class User:
    """A user of one tenant.

    Attributes:
        passwords: oldest first, the last is the present one; none for a user who cannot sign in with any.
        roles: directory roles by display name.
        synchronised: mastered on premises, so that nobody can set his password here.
        federated: another identity provider signs him in.
        mfa: a sign-in needs a second factor after a right password.
        conditional_access: a policy blocks the sign-in after a right password.
        force_change: the password must be changed at the next sign-in.
        behaviour: settings of his own, on top of the global ones.
    """

    object_id: str
    tenant_id: str
    upn: str
    name: str
    created_at: datetime
    passwords: tuple[Password, ...] = ()
    roles: tuple[str, ...] = ()
    enabled: bool = True
    synchronised: bool = False
    federated: bool = False
    mfa: bool = False
    conditional_access: bool = False
    force_change: bool = False
    behaviour: dict[str, Any] = field(default_factory=dict)

    @property
    def password(self) -> Password | None:
        """The present password."""
        return self.passwords[-1] if self.passwords else None

    @property
    def domain(self) -> str:
        """The part of his name after the at sign."""
        return self.upn.partition("@")[2]

    def set_password(self, value: str, *, at: datetime, origin: Origin, force_change: bool) -> None:
        """Make ``value`` the present password; the earlier ones are remembered as hashes."""
        self.passwords = (*self.passwords, make_password(value, at=at, origin=origin))[-_KEPT_PASSWORDS:]
        self.force_change = force_change

    def seen_password(self, now: datetime, visible_after: timedelta) -> Password | None:
        """The password that a login front end with this delay knows; what the seed set has long propagated."""
        for password in reversed(self.passwords):
            if password.origin == "seed" or now >= password.set_at + visible_after:
                return password
        return self.passwords[0] if self.passwords else None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able form for the state folder."""
        names = [name for name in self.__dataclass_fields__ if name not in {"passwords", "created_at"}]
        return {
            **{name: getattr(self, name) for name in names},
            "created_at": self.created_at.isoformat(),
            "passwords": [
                {"salt": old.salt, "digest": old.digest, "set_at": old.set_at.isoformat(), "origin": old.origin}
                for old in self.passwords
            ],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> User:
        """The inverse of :meth:`to_record`; a record of an earlier release has one password without a date."""
        given = dict(record)
        born = datetime.fromisoformat(given.get("created_at") or "2024-01-01T00:00:00+00:00")
        salt, digest = given.pop("salt", ""), given.pop("digest", "")
        kept = [
            Password(**old | {"set_at": datetime.fromisoformat(old["set_at"])}) for old in given.get("passwords", ())
        ]
        if digest and not kept:
            kept = [Password(salt=salt, digest=digest, set_at=born, origin="seed")]
        given |= {"created_at": born, "passwords": tuple(kept), "roles": tuple(given.get("roles", ()))}
        return cls(**given)


def is_refused(value: str, user: User, banned: Iterable[str] = ()) -> bool:
    """Whether Entra's rules refuse a password for a user; the service tells no more than that either.

    Args:
        value: the candidate.
        user: whose names may not be in it.
        banned: the tenant's own weak words.
    """
    if not _SHORTEST <= len(value) <= _LONGEST or not _ALLOWED.fullmatch(value):
        return True
    if sum(re.search(kind, value) is not None for kind in _CLASSES) < 3:
        return True
    words = {*_WEAK, *banned, user.upn.partition("@")[0], user.domain.partition(".")[0], *user.name.split()}
    return _points(value, {word.lower() for word in words if len(word) >= 4}) < _NEEDED_POINTS


def _points(value: str, words: Iterable[str]) -> int:
    """A point for each weak word and for each other character, with look-alikes undone."""
    plain = value.lower().translate(_LOOKALIKES)
    found = 0
    for word in sorted((word.translate(_LOOKALIKES) for word in words), key=len, reverse=True):
        found += plain.count(word)
        plain = plain.replace(word, "")
    return found + len(plain)


def _digest(value: str, salt: bytes) -> str:
    return hashlib.scrypt(value.encode(), salt=salt, n=2**12, r=8, p=1).hex()
