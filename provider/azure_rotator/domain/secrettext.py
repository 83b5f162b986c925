"""The two types a credential may have: open (``SecretText``) and sealed (``SealedBytes``).

A ``SecretText`` shows nothing in ``repr``, ``str``, ``format`` and cannot be pickled or copied into JSON by accident;
the only way to its content is ``reveal()``, which lint allows in few named places.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn


class SecretText:
    """A credential in clear, for as short as possible."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The credential itself. Call it at the very edge only: sealing, an Azure request, get-value's output."""
        return self._value

    def satisfies(self, predicate: Callable[[str], bool]) -> bool:
        """Whether the credential has a form, e.g. ``is_guid``; the predicate keeps nothing."""
        return predicate(self._value)

    def derived(self, make: Callable[[str], str]) -> SecretText:
        """Another credential that contains this one, e.g. a connection string."""
        return SecretText(make(self._value))

    def __repr__(self) -> str:
        return "SecretText(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretText):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._value), _bytes(other._value))

    def __hash__(self) -> NoReturn:
        raise TypeError("a SecretText is not hashable: a hash in a log or a set is a trace of the value")

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretText cannot be pickled or copied")


def _bytes(value: str) -> bytes:
    # An environment variable may hold what is not UTF-8, as lone surrogates; a strict codec's error would quote it all.
    return value.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class SealedBytes:
    """A credential as it is stored: opened only with the store's key and the place it was sealed for."""

    data: bytes

    def __repr__(self) -> str:
        return f"SealedBytes({len(self.data)} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFor:
    """The place a ciphertext belongs to; moved elsewhere it does not open.

    Args:
        table: The table's name.
        row: The row's id.
        version: The version number inside the row, 0 where there is none.
    """

    table: str
    row: str
    version: int = 0
