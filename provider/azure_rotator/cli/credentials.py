"""Credentials in arguments: literal, ``@FILE``, ``-`` (stdin), or a reference that the engine resolves at each use.

What is read here is read at once and passed on as ``literal:…``, so that a value that only looks like a reference is
not taken for one. Whatever was given is made known to the console, which masks it in all it says.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from azure_rotator.cli.console import Console
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.parameters import (
    LITERAL_PREFIX,
    Subject,
    is_reference,
    literal_text,
    parameter,
    secret_parameters,
)

MAX_BYTES = 64 * 1024


def with_credentials(console: Console, subject: Subject, given: Mapping[str, object]) -> dict[str, object]:
    """The arguments with every credential read.

    Raises:
        Rejected: ``ReferenceUnresolved`` for a file or a stdin that gives none; two credentials from one stdin.
    """
    values = dict(given)
    from_stdin: list[str] = []
    for name in sorted(secret_parameters(subject)):
        argument = values.get(name)
        if not isinstance(argument, str):
            continue
        flag = parameter(subject, name).flag
        if argument == "-":
            from_stdin.append(flag)
            value = _from_stdin(flag, from_stdin)
        elif argument.startswith("@"):
            value = _from_file(flag, argument[1:])
        elif argument == "" or is_reference(argument):
            continue
        else:
            console.redactor.know(literal_text(argument))
            console.warn(
                f"{flag} holds the credential itself: the process list shows it and the shell's history keeps it; "
                f"better {flag} @FILE, {flag} - (stdin) or {flag} env:NAME"
            )
            continue
        console.redactor.know(value)
        values[name] = LITERAL_PREFIX + value
    return values


def _from_stdin(flag: str, flags: list[str]) -> str:
    if len(flags) > 1:
        raise Rejected(
            "ParameterInvalid",
            f"{' and '.join(flags)} cannot both be read from stdin",
            hint="give one of them as @FILE or env:NAME",
        )
    if sys.stdin is None:
        raise _unread(flag, "stdin is closed")
    if sys.stdin.isatty():
        from getpass import getpass  # the terminal does not show what is typed

        return getpass(f"{flag}: ", stream=sys.stderr)
    # The bytes: how Python would decode them is a matter of the locale.
    return _checked(flag, "stdin", sys.stdin.buffer.read(MAX_BYTES + 1))


def _from_file(flag: str, name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "that is no file's name"
    else:
        return _checked(flag, f"the file {name}", content)
    raise _unread(flag, f"the file {name} cannot be read: {problem}")


def _checked(flag: str, where: str, content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _unread(flag, f"{where} holds more than {MAX_BYTES // 1024} KiB, which no credential does")
    text = _decoded(content)
    if text is None:
        raise _unread(flag, f"{where} is not UTF-8 text")
    value = text.removesuffix("\n").removesuffix("\r")  # an editor's or echo's; other white space belongs to the value
    if not value:
        raise _unread(flag, f"{where} is empty")
    return value


def _decoded(content: bytes) -> str | None:
    # Python's own error would carry what was read.
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _unread(flag: str, problem: str) -> Rejected:
    return Rejected(
        "ReferenceUnresolved",
        f"{flag}: {problem}",
        hint=f"{flag} takes @FILE, - (stdin), env:NAME or file:PATH; put literal: before a value that begins with @",
    )
