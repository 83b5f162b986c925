"""The state folder's database: documents, settings and the request journal in one SQLite file.

The whole directory lives in memory; this is its write-through copy. A change is committed before the answer is sent,
so ``kill -9`` loses nothing that a caller was told. (Write-ahead log without a sync per commit: a power cut may lose
the last moments, which a sandbox may.)
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL, app_id TEXT, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS journal_by_app ON journal (app_id, operation);
"""


class Store:
    """Documents by kind and id, settings by name, journal rows by number. One thread, one connection."""

    def __init__(self, path: Path) -> None:
        # Made 0600 before SQLite opens it: hashes and names are nobody else's business.
        path.touch(mode=0o600, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)
        self._depth = 0

    def close(self) -> None:
        """Close the file; nothing may be called afterwards."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is committed together on leaving, or not at all; may be nested."""
        if self._depth:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT")
        finally:
            self._depth = 0

    def put(self, kind: str, id_: str, body: dict[str, Any]) -> None:
        """Write one document, replacing what was there."""
        self._connection.execute(
            "INSERT INTO document VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, id_, json.dumps(body)),
        )

    def delete(self, kind: str, id_: str) -> None:
        """Delete one document; none is no error."""
        self._connection.execute("DELETE FROM document WHERE kind = ? AND id = ?", (kind, id_))

    def documents(self, kind: str) -> list[dict[str, Any]]:
        """All documents of a kind, in the order of their first writing."""
        rows = self._connection.execute("SELECT body FROM document WHERE kind = ? ORDER BY rowid", (kind,))
        return [json.loads(body) for (body,) in rows]

    def clear_documents(self) -> None:
        """Delete every document; settings and journal stay."""
        self._connection.execute("DELETE FROM document")

    def setting(self, name: str) -> Any:
        """A setting's value, or None."""
        row = self._connection.execute("SELECT body FROM setting WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def set_setting(self, name: str, value: Any) -> None:
        """Write one setting; the value must be JSON-able."""
        self._connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value)))

    def add_entry(self, operation: str, app_id: str | None, body: dict[str, Any]) -> int:
        """Append a journal row and return its number."""
        cursor = self._connection.execute(
            "INSERT INTO journal (operation, app_id, body) VALUES (?, ?, ?)", (operation, app_id, json.dumps(body))
        )
        return int(cursor.lastrowid or 0)

    def update_entry(self, seq: int, body: dict[str, Any]) -> None:
        """Rewrite a journal row, for what became of the answer."""
        self._connection.execute("UPDATE journal SET body = ? WHERE seq = ?", (json.dumps(body), seq))

    def entries(
        self,
        *,
        after: int = 0,
        operation: str | None = None,
        app_id: str | None = None,
        about: Mapping[str, str | None],
        limit: int | None = None,
    ) -> list[tuple[int, dict[str, Any]]]:
        """Journal rows with a number above ``after``, oldest first; ``limit`` keeps the newest ones.

        ``about``: the ``account`` and ``user`` that they name, in any case; None for any.
        """
        rows = self._connection.execute(
            "SELECT seq, body FROM journal WHERE seq > :after"
            " AND (:operation IS NULL OR operation = :operation) AND (:app_id IS NULL OR app_id = :app_id)"
            " AND (:account IS NULL OR lower(json_extract(body, '$.account')) = lower(:account))"
            " AND (:user IS NULL OR lower(json_extract(body, '$.user')) = lower(:user))"
            " ORDER BY seq DESC LIMIT :limit",
            {
                "after": after,
                "operation": operation,
                "app_id": app_id,
                "account": about.get("account"),
                "user": about.get("user"),
                "limit": -1 if limit is None else limit,
            },
        ).fetchall()
        return [(seq, json.loads(body)) for seq, body in reversed(rows)]

    def clear_entries(self) -> None:
        """Forget the journal; numbers go on from where they were."""
        self._connection.execute("DELETE FROM journal")
