"""Paths into a result, as in jq: ``.value.client_secret``, ``.items[0].item_name``, ``.items[].item_name``.

    >>> selected({"items": [{"name": "a"}, {"name": "b"}]}, parse(".items[].name"))
    ['a', 'b']

A path that leads nowhere gives null, as in jq, also where jq would fail for the type: the command is done by then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from azure_rotator.domain.errors import Rejected

EACH = None
Step = str | int | None
Path = tuple[Step, ...]

_STEP = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)   # .name
      | \.?\["(?P<quoted>[^"\\]*)"\]         # ["any name"]
      | \.?\[(?P<index>-?[0-9]{1,9})\]       # [0], [-1]
      | \.?(?P<each>\[\])                    # []
    """,
    re.VERBOSE,
)


def parse(expression: str) -> Path:
    """Read an expression.

    Raises:
        Rejected: ``ParameterInvalid``.
    """
    steps: list[Step] = []
    rest = expression.strip()
    at = 1 if rest == "." else 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None:
            break
        if match["each"]:
            steps.append(EACH)
        elif match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(match["name"] if match["name"] is not None else match["quoted"])
        at = match.end()
    if not rest.startswith(".") or at < len(rest):
        raise Rejected(
            "ParameterInvalid",
            f"--jq-expression {expression!r} is not a path",
            hint="a path has steps .name, [0] and [] only, e.g. .value.client_secret or .items[0].item_name",
        )
    return tuple(steps)


def selected(value: object, path: Path) -> list[object]:
    """The values that the path leads to: one, or with ``[]`` any number."""
    found: list[object] = [value]
    for step in path:
        found = [inner for outer in found for inner in _step(outer, step)]
    return found


def _step(value: object, step: Step) -> Iterable[object]:
    if step is EACH:
        if isinstance(value, Mapping):
            return list(value.values())
        return value if isinstance(value, list | tuple) else []
    if isinstance(step, str):
        return [value.get(step) if isinstance(value, Mapping) else None]
    if isinstance(value, Sequence) and not isinstance(value, str) and -len(value) <= step < len(value):
        return [value[step]]
    return [None]
