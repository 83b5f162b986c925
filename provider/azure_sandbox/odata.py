"""The parts of OData that Graph callers use on directory lists: $filter, $select, $top, $count and paging."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

_EQUALS = re.compile(r"\s*([A-Za-z]+)\s+eq\s+'((?:[^']|'')*)'\s*", re.IGNORECASE)
_IN = re.compile(r"\s*([A-Za-z]+)\s+in\s*\(\s*('(?:[^']|'')*'(?:\s*,\s*'(?:[^']|'')*')*)\s*\)\s*", re.IGNORECASE)
_STARTS = re.compile(r"\s*startsWith\(\s*([A-Za-z]+)\s*,\s*'((?:[^']|'')*)'\s*\)\s*", re.IGNORECASE)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_PAGE = 100


class UnsupportedQuery(Exception):
    """A query option that Graph, or this sandbox, refuses: 400 Request_UnsupportedQuery."""


class InvalidQuery(Exception):
    """A query that can't be read: 400 Request_BadRequest."""


def compile_filter(text: str, filterable: frozenset[str]) -> Callable[[Row], bool]:
    """Turn ``appId eq '…'``, ``displayName in ('…','…')`` or ``startsWith(displayName,'…')`` into a predicate.

    Raises:
        UnsupportedQuery: the property can't be filtered on.
        InvalidQuery: another expression.
    """
    if match := _EQUALS.fullmatch(text):
        name, wanted = _property(match[1], filterable), [_unquote(match[2])]
    elif match := _IN.fullmatch(text):
        name, wanted = _property(match[1], filterable), [_unquote(item) for item in _LITERAL.findall(match[2])]
    elif match := _STARTS.fullmatch(text):
        name, prefix = _property(match[1], filterable), _unquote(match[2]).lower()
        return lambda row: str(row.get(name) or "").lower().startswith(prefix)
    else:
        raise InvalidQuery("Invalid filter clause")
    lowered = {value.lower() for value in wanted}
    return lambda row: str(row.get(name) or "").lower() in lowered


def page(rows: Sequence[Row], query: Mapping[str, str], url: str) -> dict[str, Any]:
    """Cut one page out of the rows.

    Returns:
        ``value``, with ``@odata.count`` when it was asked for and ``@odata.nextLink`` when there is more.

    Raises:
        InvalidQuery: $top or $skiptoken is no number, or $top is not within 1 and 999.
    """
    top = _number(query.get("$top", str(_PAGE)), "$top")
    skip = _number(query.get("$skiptoken", "0"), "$skiptoken")
    if not 1 <= top <= 999:
        raise InvalidQuery(f"Invalid page size specified: '{top}'. Must be between 1 and 999 inclusive.")
    shown: dict[str, Any] = {}
    if query.get("$count", "").lower() == "true":
        shown["@odata.count"] = len(rows)
    if skip + top < len(rows):
        shown["@odata.nextLink"] = f"{url}?$top={top}&$skiptoken={skip + top}"
    shown["value"] = [dict(row) for row in rows[skip : skip + top]]
    return shown


def select(row: Row, query: Mapping[str, str]) -> dict[str, Any]:
    """The selected properties of a row, in its order; unknown names are passed over, as Graph does with nulls.
    Annotations such as ``@odata.type`` are no properties, and stay."""
    wanted = selected(query)
    return {name: value for name, value in row.items() if not wanted or name.startswith("@") or name.lower() in wanted}


def selected(query: Mapping[str, str]) -> frozenset[str]:
    """The names in $select, in lower case; empty when everything is wanted."""
    return frozenset(name.strip().lower() for name in query.get("$select", "").split(",") if name.strip())


def context_suffix(query: Mapping[str, str]) -> str:
    """``(id,appId)`` as it stands in @odata.context for a $select; empty without one."""
    names = [name.strip() for name in query.get("$select", "").split(",") if name.strip()]
    return f"({','.join(names)})" if names else ""


def _property(name: str, filterable: frozenset[str]) -> str:
    for known in filterable:
        if known.lower() == name.lower():
            return known
    raise UnsupportedQuery(f"Unsupported or invalid query filter clause specified for property '{name}'.")


def _unquote(text: str) -> str:
    return text.replace("''", "'")


def _number(text: str, name: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise InvalidQuery(f"The value '{text}' of '{name}' is not a whole number.")
    return int(text)
