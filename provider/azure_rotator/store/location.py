"""Where a store lies: the setting ``AZURE_ROTATOR_STORE`` as a value. Needs no SQLAlchemy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from azure_rotator.domain.errors import Rejected

SETTING = "AZURE_ROTATOR_STORE"
_SQLITE = "sqlite:///"
_SCHEME = re.compile(r"[a-z][a-z0-9+]*(?=://)")
_POSTGRESQL = frozenset({"postgresql", "postgresql+psycopg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A store's place.

    Args:
        path: The SQLite file, absolute; None for PostgreSQL.
        url: The PostgreSQL URL with its password, for the driver only; None for SQLite.
        label: How messages name the store; never holds a password.
    """

    path: Path | None
    url: str | None
    label: str

    @property
    def folder(self) -> Path | None:
        """The folder of a SQLite file, where no key may lie."""
        return self.path.parent if self.path else None


def locate(url: str) -> Location:
    """Read the setting: ``sqlite:////absolute/path``, ``sqlite:///relative/path`` or ``postgresql://…``.

    Raises:
        Rejected: ``ParameterInvalid``. The text is not echoed, since it may hold a password; at most its scheme is.
    """
    if url.startswith(_SQLITE):
        name = url.removeprefix(_SQLITE)
        if not name or name.startswith(":memory:") or name.endswith("/"):
            raise _refused("names no file")
        if "?" in name or "\0" in name:
            raise _refused("has options or characters that a file name cannot have")
        path = Path(name).absolute()
        return Location(path=path, url=None, label=str(path))
    scheme = _SCHEME.match(url)
    if scheme and scheme.group() in _POSTGRESQL:
        address = url.partition("://")[2]
        server = address.partition("?")[0].rpartition("@")[2]
        return Location(path=None, url=f"postgresql+psycopg://{address}", label=f"postgresql://{server}")
    raise _refused(f"has the scheme {scheme.group()}" if scheme else "is no URL of a store")


def _refused(why: str) -> Rejected:
    return Rejected(
        "ParameterInvalid",
        f"the setting {SETTING} {why}",
        hint=f"set {SETTING} to sqlite:////absolute/path/store.db or postgresql://user@host/database",
        details={"property": "store"},
    )
