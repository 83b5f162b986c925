"""Where a credential might be found: collectors that turn each such place into text or bytes to be searched."""

from __future__ import annotations

import logging
import os
import sqlite3
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.leak.search import Canaries

_TESTS = str(Path(__file__).parents[1])

# SQLAlchemy asks its own level when an engine is made, and sets one above DEBUG when it is imported.
_WITH_LEVELS = ("sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "alembic", "msal", "azure", "asyncio")


# Longer than any form of a credential: where an addition begins, what stood before it is looked at again.
_OVERLAP = 1024


class Finding(NamedTuple):
    """Something from a place, and where in it; ``but`` names the canaries that may be in there."""

    source: str
    content: str | bytes
    but: frozenset[str]


class Evidence:
    """What was collected, by place; the order is kept, so that a report says where it began."""

    def __init__(self) -> None:
        self.found: dict[str, list[Finding]] = defaultdict(list)
        self._known: dict[tuple[str, str], bytes] = {}

    def add(self, place: str, source: str, content: str | bytes, *, but: Iterable[str] = ()) -> None:
        """Args: but: Names of the canaries that may be there."""
        self.found[place].append(Finding(source, content, frozenset(but)))

    def add_files(self, place: str, folder: Path, *, moment: str = "") -> None:
        """All files below a folder, as they are at this moment; of one that has only grown, what is new."""
        for name, content in files_below(folder):
            known = self._known.get((place, name), b"")
            self._known[place, name] = content
            begin = max(len(known) - _OVERLAP, 0) if content.startswith(known) else 0
            if content != known:
                self.add(place, f"{name} {moment}".rstrip(), content[begin:])

    def leaks(self, place: str, canaries: Canaries, *, tokens: bool = False) -> list[str]:
        """One line for each finding: which credential, in which form, where."""
        return [
            f"{leak} in {source}"
            for source, content, but in self.found[place]
            for leak in canaries.found(content, but=but, tokens=tokens)
        ]


# --- files ----------------------------------------------------------------------------------------------------------


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield str(file.relative_to(folder)), file.read_bytes()


# --- logs -----------------------------------------------------------------------------------------------------------


class _Collector(logging.Handler):
    """Keeps each record as a formatter would write it, and whatever else hangs on it."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__(logging.NOTSET)
        self._take = take
        self.loggers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.loggers.add(record.name.partition(".")[0])
        self._take("\n".join((record.name, self.format(record), repr(record.__dict__))))


@contextmanager
def every_log(take: Callable[[str], None]) -> Iterator[set[str]]:
    """Collect what any library logs, at DEBUG, while the block runs. Gives: the loggers' names, without what comes
    behind their first dot."""
    loggers = [logging.getLogger(name) for name in ("", *_WITH_LEVELS)]
    before = [logger.level for logger in loggers]
    collector = _Collector(take)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(collector)
    try:
        yield collector.loggers
    finally:
        loggers[0].removeHandler(collector)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


# --- errors ---------------------------------------------------------------------------------------------------------


def printed(error: BaseException) -> str:
    """What anybody prints of an error: its texts and attributes, its traceback, and those of whatever it came from."""
    texts = [str(error), repr(error), *(repr((each.args, vars(each))) for each in _chain(error))]
    return "\n".join([*texts, *traceback.format_exception(error)])


def with_locals(error: BaseException) -> str:
    """Its traceback as tools print it that add the local variables of every frame. The frames of the tests are left
    out: they hold the credentials themselves."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    _forget_locals_of_tests(shown)
    return "\n".join(shown.format())


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    if error is None:
        return
    yield error
    yield from _chain(error.__cause__)
    yield from _chain(error.__context__)
    for one in getattr(error, "exceptions", ()):
        yield from _chain(one)


def _forget_locals_of_tests(error: traceback.TracebackException | None) -> None:
    if error is None:
        return
    for frame in error.stack:
        if frame.filename.startswith(_TESTS):
            frame.locals = None
    for one in (error.__cause__, error.__context__, *(error.exceptions or ())):
        _forget_locals_of_tests(one)


# --- the store ------------------------------------------------------------------------------------------------------


def rows_of(database: Path) -> Iterator[tuple[str, str]]:
    """Table and content of each table, as readable text."""
    connection = sqlite3.connect(database)
    try:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608 - from the schema
            yield name, "\n".join(str(cell) for row in rows for cell in row)
    finally:
        connection.close()


# --- processes ------------------------------------------------------------------------------------------------------


def command_lines(of: int | None = None) -> dict[int, bytes]:
    """What a process list shows of a process's descendants: pid and arguments, joined by NUL.

    Args:
        of: A process; None: this one.
    """
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it ended meanwhile
        children[parent].append(int(folder.name))
    found: dict[int, bytes] = {}
    waiting = [*children[of or os.getpid()]]
    while waiting:
        pid = waiting.pop()
        waiting += children[pid]
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
    return found


# --- answers --------------------------------------------------------------------------------------------------------


def told(answer: Any) -> str:
    """All that an answer of the engine shows: of itself, and in each of its readable forms."""
    parts = [repr(answer), str(answer)]
    for name in ("facts", "arguments"):
        form = getattr(answer, name, None)
        if callable(form):
            parts.append(repr(form()))
    if isinstance(answer, list | tuple):
        parts += [told(one) for one in answer]
    return "\n".join(parts)
