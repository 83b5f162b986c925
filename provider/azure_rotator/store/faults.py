"""The one place where driver errors become ours: by code, never by text.

The one exception is which unique rule was broken: SQLite tells it in its message only, as ``table.column, …``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from azure_rotator.domain.errors import Corrupt, RotatorError, Unavailable
from azure_rotator.store.tables import metadata

_PRIMARY = 0xFF  # the low byte of an extended SQLite code is its kind

# kind -> what happened, and what to do
_SQLITE_UNAVAILABLE: Mapping[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("its disk is full", "free some space on that disk, then run the command again"),
    sqlite3.SQLITE_BUSY: ("another process holds its lock", "wait for the other azure-rotator process, or end it"),
    sqlite3.SQLITE_LOCKED: ("another process holds its lock", "wait for the other azure-rotator process, or end it"),
    sqlite3.SQLITE_PROTOCOL: ("its lock cannot be taken", "keep the store on a local disk, not on a network share"),
    sqlite3.SQLITE_IOERR: ("the disk answers with an error", "look at the disk and at the system's log"),
    sqlite3.SQLITE_READONLY: ("it is read-only", "let this user write to the file and to its folder"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "let this user read and write the file and its folder"),
    sqlite3.SQLITE_PERM: ("it cannot be opened", "let this user read and write the file and its folder"),
    sqlite3.SQLITE_NOMEM: ("there is not enough memory", "free some memory, then run the command again"),
}
_SQLITE_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})

# SQLSTATE class or code -> the same for PostgreSQL
_POSTGRESQL_UNAVAILABLE: Mapping[str, tuple[str, str]] = {
    "": ("its server does not answer", "look at the server, its address and the network"),
    "08": ("its server does not answer", "look at the server, its address and the network"),
    "25006": ("it is read-only", "connect to the primary server"),
    "28": ("its server refuses the login", "look at the user and password in AZURE_ROTATOR_STORE"),
    "3D": ("there is no such database", "create the database first"),
    "40": ("it was busy", "run the command again"),
    "53100": ("its disk is full", "free some space on the server's disk"),
    "53": ("its server is out of resources", "look at the server's memory and connections"),
    "55P03": ("another process holds its lock", "wait for the other azure-rotator process, or end it"),
    "57": ("its server is going down", "run the command again when the server is back"),
}
_POSTGRESQL_CORRUPT = frozenset({"XX001", "XX002"})
_CORRUPT_HINT = "stop using it, and restore a backup of this store together with its key"

_RULES: Mapping[str, str] = {
    ", ".join(f"{table.name}.{column.name}" for column in index.columns): str(index.name)
    for table in metadata.tables.values()
    for index in table.indexes
    if index.unique
}


class RuleBroken(Corrupt):
    """A unique rule refused a row. The methods that expect it make a ``Conflict`` of it; anywhere else it is a fault.

    Args:
        rule: The index's name, one of ``tables``.
    """

    def __init__(self, rule: str) -> None:
        super().__init__(
            "StoreCorrupt",
            f"a rule of the store refused a row ({rule}); nothing was changed",
            hint="report this: it should not happen",
            details={"rule": rule},
        )
        self.rule = rule


@contextmanager
def translated(label: str) -> Iterator[None]:
    """Turn what the driver raises inside into our errors; what is a bug of ours passes as it is.

    Raises:
        Unavailable: ``StoreUnavailable``; the transaction was not applied.
        Corrupt: ``StoreCorrupt``.
        RuleBroken: A unique index refused.
    """
    try:
        yield
    except IntegrityError as error:
        rule = _broken_rule(error)
        if rule is None:
            raise
        raise RuleBroken(rule) from None
    except DBAPIError as error:
        ours = _sqlite_fault(error.orig, label) if isinstance(error.orig, sqlite3.Error) else _sql_fault(error, label)
        if ours is None:
            raise
        raise ours from None
    except PoolTimeout:
        raise _unavailable(label, "all its connections are in use", "use fewer workers", "pool") from None


def _broken_rule(error: IntegrityError) -> str | None:
    if isinstance(error.orig, sqlite3.Error):
        return _RULES.get(str(error.orig).partition(": ")[2])
    diagnostics = getattr(error.orig, "diag", None)
    name = getattr(diagnostics, "constraint_name", None)
    return name if name in _RULES.values() else None


def _sqlite_fault(error: sqlite3.Error, label: str) -> RotatorError | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    name: str = getattr(error, "sqlite_errorname", None) or "undecodable text"
    if code is None:
        # The sqlite3 module's own: text that is not UTF-8 is the only one that data can cause.
        return _corrupt(label, name) if type(error) is sqlite3.OperationalError else None
    if code & _PRIMARY in _SQLITE_CORRUPT:
        return _corrupt(label, name)
    if code & _PRIMARY in _SQLITE_UNAVAILABLE:
        return _unavailable(label, *_SQLITE_UNAVAILABLE[code & _PRIMARY], name)
    return None


def _sql_fault(error: DBAPIError, label: str) -> RotatorError | None:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state in _POSTGRESQL_CORRUPT:
        return _corrupt(label, state)
    known = _POSTGRESQL_UNAVAILABLE.get(state) or _POSTGRESQL_UNAVAILABLE.get(state[:2])
    return _unavailable(label, *known, state or "connection") if known else None


def _unavailable(label: str, what: str, hint: str, code: str) -> Unavailable:
    return Unavailable(
        "StoreUnavailable", f"the store {label}: {what}", hint=hint, details={"driver_code": code}, applied="no"
    )


def _corrupt(label: str, code: str) -> Corrupt:
    return Corrupt(
        "StoreCorrupt",
        f"the store {label} is damaged or is not a store at all",
        hint=_CORRUPT_HINT,
        details={"driver_code": code},
    )
