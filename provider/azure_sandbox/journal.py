"""The request journal: every request with its time, caller and outcome, and never a secret value.

An entry is written in the transaction that commits what the request did, before any answer, so that a killed sandbox
or a dropped connection still leaves the truth: ``committed`` says whether the directory changed, ``status`` what the
caller was told (0: nothing, the connection was dropped or the caller had gone).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from azure_sandbox.store import Store

CREATIONS = frozenset({"graph.addPassword", "graph.addServicePrincipalPassword"})
REMOVALS = frozenset({"graph.removePassword", "graph.removeServicePrincipalPassword"})
REGENERATIONS = frozenset({"arm.regenerateKey"})
PASSWORD_CHANGES = frozenset({"graph.updateUser", "graph.changePassword"})
PASSWORD = "password"  # noqa: S105 (a word)
"""The ``key_id`` of an entry that set a user's password; an update of his name has none."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request.

    Attributes:
        at: when it arrived, ISO 8601, on the sandbox's clock.
        host: the Host header.
        operation: ``graph.addPassword``, ``login.token``, ``arm.unknown``, ...
        method: the HTTP method.
        path: the path, without the query.
        status: what was answered; 0 for a dropped connection, None while it is inside.
        principal: appId of the token's application; for logins the client_id that asked.
        tenant_id: the tenant it was about, if known.
        app_id: appId of the application it was about; for logins the client_id.
        object_id: object id of the application or service principal it was about.
        account: name of the storage account it was about.
        user: user principal name or object id of the user it was about, as the caller wrote it.
        key_id: the secret it made, removed or logged in with, the name of the storage key, or ``password``.
        display_name: the name of the secret it made or removed.
        error: the code it was refused with (``Authorization_RequestDenied``, ``AADSTS7000215``).
        accepted: whether a login was given a token; None for anything else.
        front_end: number of the login front end that served it.
        committed: whether the directory changed.
        delivered: whether the answer went out whole.
        fault: id of the fault that interfered.
        seq: number of the entry, growing; 0 before it is written.
    """

    at: str
    host: str
    operation: str
    method: str
    path: str
    status: int | None = None
    principal: str | None = None
    tenant_id: str | None = None
    app_id: str | None = None
    object_id: str | None = None
    account: str | None = None
    user: str | None = None
    key_id: str | None = None
    display_name: str | None = None
    error: str | None = None
    accepted: bool | None = None
    front_end: int | None = None
    committed: bool = False
    delivered: bool = False
    fault: str | None = None
    seq: int = 0

    def to_record(self) -> dict[str, Any]:
        """A JSON-able form."""
        return asdict(self)


class Journal:
    """Writes and reads entries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, entry: Entry) -> None:
        """Write an entry, or rewrite it once it has a number."""
        if entry.seq:
            self._store.update_entry(entry.seq, entry.to_record())
        else:
            entry.seq = self._store.add_entry(entry.operation, entry.app_id, entry.to_record())

    def entries(
        self,
        *,
        after: int = 0,
        operation: str | None = None,
        app_id: str | None = None,
        account: str | None = None,
        user: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Entries as records, oldest first, each with its ``seq``."""
        about = {"account": account, "user": user}
        rows = self._store.entries(after=after, operation=operation, app_id=app_id, about=about, limit=limit)
        return [record | {"seq": seq} for seq, record in rows]

    def clear(self) -> None:
        """Forget all entries."""
        self._store.clear_entries()


def count(entries: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Count what a list of entries did.

    Returns:
        ``requests``, ``creations``, ``removals``, ``regenerations`` and ``password_changes`` (committed ones, whatever
        was answered), ``undelivered`` (creations and regenerations whose answer never went out), ``logins`` and
        ``refused_logins``, ``faults``.
    """
    kinds = {
        "creations": CREATIONS,
        "removals": REMOVALS,
        "regenerations": REGENERATIONS,
        "password_changes": PASSWORD_CHANGES,
    }
    counted: Counter[str] = Counter()
    for entry in entries:
        counted["requests"] += 1
        for name, operations in kinds.items():
            done = entry["committed"] and entry["operation"] in operations
            counted[name] += done and (operations is not PASSWORD_CHANGES or entry["key_id"] == PASSWORD)
        told_once = entry["operation"] in CREATIONS | REGENERATIONS
        counted["undelivered"] += entry["committed"] and told_once and not entry["delivered"]
        counted["logins"] += entry["accepted"] is True
        counted["refused_logins"] += entry["accepted"] is False
        counted["faults"] += entry["fault"] is not None
    names = ("requests", *kinds, "undelivered", "logins", "refused_logins", "faults")
    return {name: counted[name] for name in names}
