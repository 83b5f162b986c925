"""Validated arguments as the use cases read them."""

from __future__ import annotations

from collections.abc import Mapping

Arguments = Mapping[str, object]


def optional_text(value: object) -> str | None:
    return None if value is None else str(value)


def optional_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def optional_bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def days(values: Arguments) -> int | None:
    """The rotation interval."""
    return optional_int(values.get("rotation_interval"))


def tags(values: Arguments) -> tuple[str, ...]:
    return texts(values, "tags")


def texts(values: Arguments, name: str) -> tuple[str, ...]:
    given = values.get(name)
    return tuple(str(text) for text in given) if isinstance(given, list | tuple) else ()


def numbers(values: Arguments, name: str) -> tuple[int, ...]:
    given = values.get(name)
    return tuple(int(number) for number in given) if isinstance(given, list | tuple) else ()
