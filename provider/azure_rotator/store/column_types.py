"""Column types that refuse what must not be stored: a credential in clear, an instant without a zone."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import JSON, DateTime, Dialect, Double, LargeBinary, String
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from azure_rotator.domain.errors import Corrupt
from azure_rotator.domain.secrettext import SealedBytes

WORD_LENGTH = 40
_EnumT = TypeVar("_EnumT", bound=StrEnum)


class Sealed(TypeDecorator[SealedBytes]):
    """Bytes that only a ``SealedBytes`` can fill: plain text, and plain bytes too, cannot be bound by mistake."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, SealedBytes):
            raise TypeError(f"a sealed column takes SealedBytes only, not {type(value).__name__}")
        return value.data

    def process_literal_param(self, value: object, dialect: Dialect) -> str:
        raise TypeError("a sealed value is never written into the text of a statement")

    def process_result_value(self, value: Any, dialect: Dialect) -> SealedBytes | None:
        return None if value is None else SealedBytes(value)


class Instant(TypeDecorator[datetime]):
    """An aware instant, in UTC, truncated to seconds: what was stored and what is computed again compare equal.

    SQLite has no such type and gets ``2026-01-31 09:00:00``, which sorts as text.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            seconds: TypeEngine[Any] = sqlite.DATETIME(truncate_microseconds=True)  # type: ignore[no-untyped-call]
            return dialect.type_descriptor(seconds)
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant without a time zone is not stored")
        instant = value.astimezone(UTC).replace(microsecond=0)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(TypeDecorator[_EnumT]):
    """A member of one of the model's enumerations, as its word."""

    impl = String(WORD_LENGTH)
    cache_ok = True

    def __init__(self, words: type[_EnumT]) -> None:
        super().__init__(WORD_LENGTH)
        self.words = words

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> _EnumT | None:
        if value is None:
            return None
        try:
            return self.words(value)
        except ValueError:
            raise Corrupt("StoreCorrupt", f"the store holds a {self.words.__name__} that does not exist") from None


class Words(TypeDecorator[tuple[str, ...]]):
    """A tuple of strings, as a JSON list."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> list[str]:
        return list(value or ())

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...]:
        return tuple(value or ())


class Numbers(TypeDecorator[tuple[int, ...]]):
    """A tuple of whole numbers, as a JSON list."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> list[int]:
        return list(value or ())

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[int, ...]:
        return tuple(value or ())


class database_now(FunctionElement[float]):  # noqa: N801 - used like the SQL function it is
    """Seconds since 1970 by the *database's* clock: leases of several machines compare with one clock."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    # unixepoch('now', 'subsec') would be plainer but needs SQLite 3.42; julianday is exact to the millisecond.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    # Not clock_timestamp(): it is volatile, so no index bounds a comparison with it (55 ms against 1.4 ms a poll).
    return "CAST(extract(epoch FROM statement_timestamp()) AS DOUBLE PRECISION)"


class by_code_point(FunctionElement[str]):  # noqa: N801 - used like an SQL function
    """A text to order by: the same order on every database, whatever its language is."""

    type = String()
    inherit_cache = True


@compiles(by_code_point)
def _as_it_is(element: by_code_point, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(by_code_point, "postgresql")
def _in_c(element: by_code_point, compiler: SQLCompiler, **options: Any) -> str:
    return f'{compiler.process(element.clauses, **options)} COLLATE "C"'
