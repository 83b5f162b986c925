"""Validated arguments as the use cases read them."""

from __future__ import annotations

from collections.abc import Mapping

Arguments = Mapping[str, object]


def optional_text(value: object) -> str | None:
    return None if value is None else str(value)


def days(values: Arguments) -> int | None:
    """The rotation interval."""
    interval = values.get("rotation_interval")
    return interval if isinstance(interval, int) else None


def tags(values: Arguments) -> tuple[str, ...]:
    given = values.get("tags")
    return tuple(str(tag) for tag in given) if isinstance(given, list | tuple) else ()
