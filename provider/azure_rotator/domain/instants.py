"""Instants as people and programs read them."""

from __future__ import annotations

from datetime import datetime
from typing import overload


@overload
def iso(instant: datetime) -> str: ...
@overload
def iso(instant: None) -> None: ...
@overload
def iso(instant: datetime | None) -> str | None: ...
def iso(instant: datetime | None) -> str | None:
    """ISO 8601 in whole seconds of UTC, ending in ``Z``; None stays None.

    >>> from datetime import UTC
    >>> iso(datetime(2026, 3, 1, 9, tzinfo=UTC))
    '2026-03-01T09:00:00Z'
    """
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ") if instant else None
