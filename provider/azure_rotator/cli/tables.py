"""Results as people read them: aligned ``name: value`` lines, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def pairs(facts: Mapping[str, object]) -> str:
    """One line a fact; a mapping inside is told after the others, with its own names."""
    flat = list(_flat(facts))
    width = max((len(name) for name, _ in flat), default=0) + 1
    return "\n".join(f"{name + ':':<{width}} {cell(value)}".rstrip() for name, value in flat)


def table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str], *, empty: str) -> str:
    """Rows under a header.

    Args:
        columns: Header by name of the fact.
        empty: What to say when there is no row.
    """
    if not rows:
        return empty
    lines = [[*columns.values()], *([cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def cell(value: object) -> str:
    """A value in one line that does nothing to the terminal, whoever wrote it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(cell(entry) for entry in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={cell(entry)}" for name, entry in value.items()) or "-"
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(value))


def _flat(facts: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    inner: list[tuple[str, object]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            inner += _flat(value)
        else:
            yield name, value
    yield from inner
