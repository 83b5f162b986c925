"""Where a store lies: the setting ``AZURE_ROTATOR_STORE`` as a value. Needs no SQLAlchemy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from azure_rotator.domain.errors import Rejected

SETTING = "AZURE_ROTATOR_STORE"
_SQLITE = "sqlite:///"
_SCHEME = re.compile(r"[a-z][a-z0-9+]*(?=://)")
_POSTGRESQL = frozenset({"postgresql", "postgresql+psycopg"})
# Strict, because what is not recognised as a password could be shown as something else.
_ADDRESS = re.compile(
    r"""(?:[^@/?\#\s]*@)?                                     # user and password, other signs percent-encoded
        (?P<server>(?:[\w.%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?  # a host and its port
            (?:,(?:[\w.%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?)*)  # and others to try
        (?P<database>/[\w.%~+-]*)?
        (?:\?(?:\w+=[^&\#\s]*(?:&\w+=[^&\#\s]*)*)?)?             # libpq's options
    """,
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A store's place.

    Args:
        path: The SQLite file, absolute; None for PostgreSQL.
        url: The PostgreSQL URL as libpq has it, with its password, for the driver only; None for SQLite.
        label: How messages name the store; never holds a password.
    """

    path: Path | None
    url: str | None = field(repr=False)
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
            raise refused("names no file")
        if "?" in name or "\0" in name:
            raise refused("has options or characters that a file name cannot have")
        path = Path(name).absolute()
        return Location(path=path, url=None, label=str(path))
    scheme = _SCHEME.match(url)
    if scheme and scheme.group() in _POSTGRESQL:
        address = url.partition("://")[2]
        parts = _ADDRESS.fullmatch(address)
        if parts is None:
            raise refused("has a sign in its user, password, host, database or options that must be percent-encoded")
        label = f"postgresql://{parts['server']}{parts['database'] or ''}"
        return Location(path=None, url=f"postgresql://{address}", label=label)
    raise refused(f"has the scheme {scheme.group()}" if scheme else "is no URL of a store")


def refused(why: str) -> Rejected:
    """The setting cannot be used; the text of it is never in the message."""
    return Rejected(
        "ParameterInvalid",
        f"the setting {SETTING} {why}",
        hint=f"set {SETTING} to sqlite:////absolute/path/store.db or postgresql://user@host/database",
        details={"property": "store"},
    )
