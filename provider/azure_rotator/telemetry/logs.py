"""Logs, with redaction as the last thing that happens to a line, and the ``Observer`` that writes them.

The core never passes a credential to its ``Observer``. This module is for the day somebody does: whatever reaches a log
or the terminal goes through a ``Redactor``, which masks what is a credential by its type, by the name of its field, by
its shape, or because the person gave it to this very command.

    >>> Redactor().text("POST ?client_secret=abc&x=1 with Bearer eyJhbGciOiJub25lIn0.e30.")
    'POST ?client_secret=***&x=1 with Bearer ***'

structlog is imported when logging starts, not with this module: most commands never log.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol, TextIO, cast
from urllib.parse import quote, quote_plus

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.secrettext import SealedBytes, SecretText

VARIABLE: Final = "AZURE_ROTATOR_LOG"
FORMAT_VARIABLE: Final = "AZURE_ROTATOR_LOG_FORMAT"
FORMATS: Final = ("logfmt", "json")
LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MASK: Final = "***"

_LOGGER: Final = "azure_rotator"
_FIRST: Final = ("at", "level", "logger", "event")
# A value this short is no credential, and masking it would blot out half of every text.
_SHORTEST_KNOWN: Final = 6

# Whole words of a name; `key_id` and `client_secret_version` are about a credential, not one.
_CREDENTIAL_NAME: Final = re.compile(
    r"secret|passw|passphrase|token|credential|authorization|assertion|cookie|sealed|signature|connection_?string"
    r"|(?:^|[_-])(?:api|account|access|private|storage|signing|data)?[_-]?key$",
    re.IGNORECASE,
)
_ABOUT_A_CREDENTIAL: Final = re.compile(r"(?:[_-](?:ids?|name|version|type|at|count|reference)|Ids?)$")

_SHAPES: Final = (
    # Microsoft's own form of a client secret: three characters, a digit, "Q~", and the rest. Source: the
    # entry "Azure AD client secret" of public secret scanners.
    (re.compile(r"[A-Za-z0-9_~.\-]{3}[0-9]Q~[A-Za-z0-9_~.\-]{20,}"), MASK),
    # A JSON web token, whole or cut off: its header begins with {" in base64.
    (re.compile(r"eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*"), MASK),
    # 64 bytes in base64: a storage account key.
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}=="), MASK),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)(?!\*)[A-Za-z0-9._~+/=\-]{8,}"), rf"\1\2{MASK}"),
    # A store's key, as its file has it.
    (re.compile(r"(azure-rotator-key-1:)[A-Za-z0-9+/=]+"), rf"\1{MASK}"),
    # The password of a URL.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://[^\s:@/?#]*:)[^\s@/?#]+(?=@)"), rf"\1{MASK}"),
    # A field of a form, a query or a connection string.
    (
        re.compile(
            r"(?i)\b(client_secret|client_assertion|password|passwd|refresh_token|access_token|id_token"
            r"|accountkey|sharedaccesssignature|sig)(=)[^&;\s\"']+"
        ),
        rf"\1\2{MASK}",
    ),
)


class Redactor:
    """Masks credentials in texts and in the fields of log lines; the last processor of every log.

    A processor of structlog: in front of the renderer it looks at fields, behind it at the rendered text.
    """

    def __init__(self) -> None:
        self._known: list[str] = []

    def know(self, value: str) -> None:
        """A credential that was given to this process: mask it wherever it turns up, also quoted or encoded."""
        if len(value) >= _SHORTEST_KNOWN:
            forms = {value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""), quote_plus(value)}
            self._known = sorted({*self._known, *forms}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without anything that is, or looks like, a credential."""
        for value in self._known:
            text = text.replace(value, MASK)
        for shape, masked in _SHAPES:
            text = shape.sub(masked, text)
        return text

    def field(self, name: str, value: object) -> object:
        """A field's value, masked as a whole when its type or its name says that it is a credential."""
        if isinstance(value, SecretText | SealedBytes | bytes | bytearray | memoryview):
            return MASK
        if value is None or isinstance(value, bool):
            return value
        if _CREDENTIAL_NAME.search(name) and not _ABOUT_A_CREDENTIAL.search(name):
            return MASK
        if isinstance(value, int | float):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.field(str(key), inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.field("", inner) for inner in value]
        return self.text(str(value))

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        """As structlog calls it: with a dictionary of fields, or with what a renderer made of them."""
        if isinstance(event, Mapping):
            return {str(name): self.field(str(name), value) for name, value in event.items()}
        return self.text(str(event))

    def traceback(self, error: BaseException) -> str:
        """The traceback of an unexpected error as text: frames and messages, never local variables."""
        return self.text("".join(traceback.format_exception(error)))


class _Logger(Protocol):
    """As much of a structlog logger as an observer needs."""

    def log(self, level: int, event: str, **fields: object) -> None: ...


class Work:
    """Implements ``ports.Span``: a piece of work that goes on, and what is known of it by now.

    Attributes:
        name: ``rotation`` or ``step``.
        fields: As of the ``Observer``: ids, paths, states, codes.
        outer: What it is a part of.
    """

    def __init__(self, name: str, fields: Mapping[str, object], outer: Work | None) -> None:
        self.name = name
        self.fields = dict(fields)
        self.outer = outer

    def set(self, **fields: object) -> None:
        self.fields |= fields


Watcher = Callable[[Work], AbstractContextManager[None]]
"""Entered when a piece of work begins, and left when it ends, by its error if there is one."""

_WORK: ContextVar[Work | None] = ContextVar("azure_rotator_work", default=None)
# What tells the lines of one rotation from those of all others.
_NAMED = ("rotation_id", "path", "trace_id")


def _named_by_work() -> dict[str, object]:
    """Of which rotation a line of this thread is."""
    work = _WORK.get()
    found: dict[str, object] = {}
    while work is not None:
        found = {name: work.fields[name] for name in _NAMED if work.fields.get(name)} | found
        work = work.outer
    return found


class StructlogObserver:
    """The engine's ``Observer``: notes become log lines, which are seen only where logging was started. A line that is
    written during a rotation names it, whoever writes it.

    Args:
        watchers: Who else looks at each piece of work: metrics, traces.
        say_to: Where lines for a waiting person go: a stream, or a function that takes the line; None: nowhere.
        warn_to: A function that takes the warnings; None: they go where the other lines go.
        redactor: What masks the spoken lines.
    """

    def __init__(
        self,
        *,
        say_to: TextIO | Callable[[str], None] | None = None,
        warn_to: Callable[[str], None] | None = None,
        redactor: Redactor | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._watchers = watchers
        self._say_to = say_to
        self._warn_to = warn_to
        self._redactor = redactor or Redactor()
        self._logger: _Logger | None = None

    def note(self, event: str, **fields: object) -> None:
        self._log(logging.DEBUG, event, fields)

    def tell(self, event: str, **fields: object) -> None:
        self._log(logging.INFO, event, fields)

    @contextmanager
    def span(self, name: str, **fields: object) -> Iterator[Work]:
        work = Work(name, fields, _WORK.get())
        token = _WORK.set(work)
        try:
            with ExitStack() as stack:
                for watcher in self._watchers:
                    stack.enter_context(watcher(work))
                yield work
        finally:
            _WORK.reset(token)

    def _log(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        if not logging.getLogger(_LOGGER).isEnabledFor(level):
            return
        if self._logger is None:
            self._logger = _structlog_logger(self._redactor)
        self._logger.log(level, event, **fields)

    def say(self, message: str) -> None:
        line = self._redactor.text(message)
        if callable(self._say_to):
            self._say_to(line)
        elif self._say_to is not None:
            self._say_to.write(line + "\n")
            self._say_to.flush()

    def warn(self, message: str) -> None:
        if self._warn_to is None:
            self.say(f"warning: {message}")
        else:
            self._warn_to(self._redactor.text(message))


def level_of(environment: Mapping[str, str]) -> str | None:
    """The level that ``AZURE_ROTATOR_LOG`` asks for; None when it is not set.

    Raises:
        Rejected: ``ParameterInvalid``.
    """
    level = environment.get(VARIABLE, "").lower()
    if not level:
        return None
    if level not in LEVELS:
        raise Rejected(
            "ParameterInvalid", f"{VARIABLE} names no level of the log", hint=f"set it to one of: {', '.join(LEVELS)}"
        )
    return level


def format_of(environment: Mapping[str, str]) -> str:
    """The format that ``AZURE_ROTATOR_LOG_FORMAT`` asks for.

    Raises:
        Rejected: ``ParameterInvalid``.
    """
    wanted = environment.get(FORMAT_VARIABLE, "").lower() or FORMATS[0]
    if wanted not in FORMATS:
        raise Rejected(
            "ParameterInvalid",
            f"{FORMAT_VARIABLE} names no format of the log",
            hint=f"set it to one of: {', '.join(FORMATS)}",
        )
    return wanted


@contextmanager
def logging_to(
    stream: TextIO | None, level: str | None, redactor: Redactor, *, style: str = FORMATS[0]
) -> Iterator[None]:
    """Write log lines, ours and the libraries', to a stream while the block runs: one line each, redacted last.

    Libraries never log below ``info``: their debug lines hold whole requests. Those of ``info``, several for each
    request to Azure, come with our own of ``debug`` only.

    Args:
        level: One of ``LEVELS``; None: nothing is written, the libraries' warnings neither.
        style: One of ``FORMATS``.
    """
    root, own = logging.getLogger(), logging.getLogger(_LOGGER)
    handler: logging.Handler = logging.NullHandler()
    before = (root.level, own.level)
    if level is not None and stream is not None:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(_formatter(redactor, style))
        root.setLevel(logging.INFO if level == "debug" else max(LEVELS[level], logging.WARNING))
        own.setLevel(LEVELS[level])
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])


def _structlog_logger(redactor: Redactor) -> _Logger:
    import structlog

    made = structlog.wrap_logger(
        logging.getLogger(_LOGGER),
        processors=[redactor, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return cast("_Logger", made)


def _formatter(redactor: Redactor, style: str) -> logging.Formatter:
    import structlog

    logfmt = structlog.processors.LogfmtRenderer(key_order=list(_FIRST))
    renderer: Any = _as_json if style == "json" else logfmt
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,  # text without local variables
            _naming_the_rotation,
            redactor,
            renderer,
            redactor,
        ],
    )


def _naming_the_rotation(logger: object, method: str, event: Any) -> Any:
    # When the line is written, in the thread that wrote it: lines of libraries are named, too.
    return {**event, **{name: value for name, value in _named_by_work().items() if not event.get(name)}}


def _as_json(logger: object, method: str, event: Mapping[str, Any]) -> str:
    """One object a line. Masked once more as text, where a mask can only replace what stands between quotes."""
    first = {name: event[name] for name in _FIRST if name in event}
    return json.dumps(first | {name: value for name, value in event.items() if name not in first}, default=str)
