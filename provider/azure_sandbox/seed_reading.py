"""Reading the tables of a seed: known keys, names, ids and instants."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_NAMESPACE = uuid.UUID("6f1c1a52-3f0e-4d6b-9d1c-5a6e0e3f7a10")


class BadSeed(ValueError):
    """A seed that can't be loaded; the message says where and why. Nothing was changed."""


def check_keys(kind: str, record: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse what is no table, and keys that nobody reads.

    Raises:
        BadSeed: one of these.
    """
    if not isinstance(record, Mapping):
        raise BadSeed(f"{kind}: expected a table, not {record!r}")
    if unknown := sorted(set(record) - known):
        raise BadSeed(f"{kind}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def need(kind: str, record: Mapping[str, Any], key: str) -> str:
    """A text that must be there."""
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise BadSeed(f"{kind}: {key} is missing")
    return value


def instant(where: str, value: object) -> datetime | None:
    """An aware instant, from TOML or as ISO 8601; None stays None."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise BadSeed(f"{where}: not an instant: {value!r}") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise BadSeed(f"{where}: an instant needs a date, a time and an offset, as 2030-01-31T12:00:00Z")
    return value


def is_guid(text: str) -> bool:
    """Whether a text has the shape of a GUID."""
    return re.fullmatch(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", text) is not None


def guid(where: str, text: str | None) -> str | None:
    """A GUID in lower case; None stays None."""
    if text is None:
        return None
    if not is_guid(text):
        raise BadSeed(f"{where}: {text!r} is no GUID")
    return text.lower()


def derived(scope: str, kind: str, name: str) -> str:
    """The id of something that the seed gives a name but no id: the same each time."""
    return str(uuid.uuid5(_NAMESPACE, f"{scope} {kind} {name}"))
