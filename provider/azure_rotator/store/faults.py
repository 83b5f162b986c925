"""The one place where driver errors become ours: by code, never by text.

The one exception is which unique rule was broken: SQLite tells it in its message only, as ``table.column, …``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
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

# SQLSTATE class or code -> the same. Without a code there is no connection: libpq tells why in words only.
_POSTGRESQL_UNAVAILABLE: Mapping[str, tuple[str, str]] = {
    "": ("there is no connection to its server", "look at the server, its address, its database and the network"),
    "08": ("there is no connection to its server", "look at the server, its address and the network"),
    "25006": ("it is read-only", "connect to the primary server"),
    "25P03": ("this process stood still in the middle of a transaction", "run the command again"),
    "28": ("its server refuses the login", "look at the user and password in AZURE_ROTATOR_STORE"),
    "3D": ("there is no such database", "create the database first"),
    "3F": ("there is no such schema in its database", "create the schema first"),
    "40": ("another transaction was in the way", "run the command again"),
    "42501": ("its server does not allow this user to do that", "grant it what docs/operations.md says"),
    "53100": ("its disk is full", "free some space on the server's disk"),
    "53": ("its server is out of resources", "look at the server's memory and connections"),
    "55P03": ("another process holds its lock", "wait for the other azure-rotator process, or end it"),
    "57014": ("its server gave the statement up", "look at the server's load and its statement_timeout"),
    "57": ("its server is going down", "run the command again when the server is back"),
}
_NO_LOGIN = ("its server refuses the login", "look at the user, password and database in AZURE_ROTATOR_STORE")
# A commit whose answer is lost may have happened.
_NO_ANSWER = ("", "08", "57")
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
def translated(label: str, *, committing: bool = False) -> Iterator[None]:
    """Turn what the driver raises inside into our errors. A bug of ours passes as it is on SQLite; PostgreSQL's
    messages quote whole rows, so there it is told by its code and its statement without values.

    Args:
        committing: This is the COMMIT, which a server may have done although its answer is lost.

    Raises:
        Unavailable: ``StoreUnavailable``; ``applied`` says whether the transaction may have been.
        Corrupt: ``StoreCorrupt``.
        RuleBroken: A unique index refused.
        RotatorError: ``InternalError``, PostgreSQL refused what should not have been asked.
    """
    try:
        yield
    except IntegrityError as error:
        rule = _broken_rule(error)
        if rule is not None:
            raise RuleBroken(rule) from None
        if isinstance(error.orig, sqlite3.Error):
            raise
        raise _bug(error, label) from None
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            ours = sqlite_fault(error.orig, label)
            if ours is None:
                raise
        else:
            ours = _postgresql_fault(error, label, committing=committing) or _bug(error, label)
        raise ours from None
    except PoolTimeout:
        raise _unavailable(label, "all its connections are in use", "use fewer workers", "pool") from None


def _broken_rule(error: IntegrityError) -> str | None:
    if isinstance(error.orig, sqlite3.Error):
        return _RULES.get(str(error.orig).partition(": ")[2])
    diagnostics = getattr(error.orig, "diag", None)
    name = getattr(diagnostics, "constraint_name", None)
    return name if name in _RULES.values() else None


def sqlite_fault(error: sqlite3.Error, label: str) -> RotatorError | None:
    """Our error for one of the ``sqlite3`` module; None for a bug of ours."""
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


def _postgresql_fault(error: DBAPIError, label: str, *, committing: bool) -> RotatorError | None:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state in _POSTGRESQL_CORRUPT:
        return _corrupt(label, state)
    if not state and not isinstance(error, OperationalError | InterfaceError):
        return None  # the driver's own refusal of what it was given: a bug of ours
    known = _POSTGRESQL_UNAVAILABLE.get(state) or _POSTGRESQL_UNAVAILABLE.get(state[:2])
    if known is None:
        return None
    connection = getattr(error.orig, "pgconn", None)
    if not state and (getattr(connection, "used_password", False) or getattr(connection, "needs_password", False)):
        known = _NO_LOGIN
    lost = committing and any(state[:2] == kind for kind in _NO_ANSWER)
    return _unavailable(label, *known, state or "connection", applied="unknown" if lost else "no")


def _bug(error: DBAPIError, label: str) -> RotatorError:
    diagnostics = getattr(error.orig, "diag", None)
    named = ("sqlstate", "table_name", "column_name", "constraint_name")
    details = {name: getattr(diagnostics, name, None) for name in named}
    kind = type(error.orig).__name__
    return RotatorError(
        "InternalError",
        f"the store {label} refused a statement ({kind})",
        hint="report this with --json: it should not happen",
        details={**details, "statement": error.statement},
    )


def _unavailable(label: str, what: str, hint: str, code: str, *, applied: str = "no") -> Unavailable:
    return Unavailable(
        "StoreUnavailable", f"the store {label}: {what}", hint=hint, details={"driver_code": code}, applied=applied
    )


def _corrupt(label: str, code: str) -> Corrupt:
    return Corrupt(
        "StoreCorrupt",
        f"the store {label} is damaged or is not a store at all",
        hint=_CORRUPT_HINT,
        details={"driver_code": code},
    )
