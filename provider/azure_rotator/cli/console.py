"""What a command says, and where: the result to stdout, everything else to stderr, every line of it redacted.

An error is told as people read it, one line each with its fix::

    error: there is no Target "/azure/prod" (TargetNotFound)
    hint: azure-rotator target list shows them

or, with ``--json``, as one object on one line:
``{"error": {"code", "message", "hint", "exit_code", "details"}}``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from azure_rotator.domain.errors import RotatorError

if TYPE_CHECKING:
    from azure_rotator.cli.paths import Path
    from azure_rotator.telemetry import Redactor

Facts = Mapping[str, object]


class ResultLost(Exception):
    """Nobody reads our stdout any more; there is nobody to tell, either."""


class Console:
    """The streams of one command.

    Attributes:
        as_json: Results and errors as JSON.
        quiet: No talk: only warnings and errors go to stderr.
        debug: Tracebacks of unexpected errors, and log lines.
        path: What of the result is asked for; None: all of it.
        redactor: Masks what goes to stderr.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.debug = debug
        self.path: Path | None = None

    @cached_property
    def redactor(self) -> Redactor:
        from azure_rotator.telemetry import Redactor

        return Redactor()

    # --- stdout ---------------------------------------------------------------------------------------------------

    def result(self, facts: Facts, human: Callable[[], str]) -> None:
        """Print the result: the part that was asked for, or JSON, or what people read.

        Raises:
            ResultLost: The reader has gone.
            RotatorError: ``InternalError``, it cannot be written.
        """
        import json  # not for help, which must be quick

        if self.path is not None:
            from azure_rotator.cli.paths import selected

            lines = [value if isinstance(value, str) else json.dumps(value) for value in selected(facts, self.path)]
            text = "\n".join(lines)
        else:
            text = json.dumps(facts, indent=2) if self.as_json else _showable(human())
        try:
            if sys.stdout is None:
                raise OSError(errno.EBADF, "it is closed")
            print(text, flush=True)
        except BrokenPipeError:
            _silence_stdout()
            raise ResultLost from None
        except (OSError, UnicodeEncodeError) as failed:
            _silence_stdout()
            why = getattr(failed, "strerror", None) or "the locale's encoding cannot write a character of it"
            raise RotatorError(
                "InternalError",
                f"the result could not be written to stdout: {why}",
                hint="the command itself is done: do not repeat it, look with describe or list",
            ) from None

    # --- stderr ---------------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """For the person who waits; not with --quiet."""
        if not self.quiet:
            self._tell(line)

    def warn(self, line: str) -> None:
        """For the person, --quiet or not."""
        self._tell(f"warning: {line}")

    @property
    def has_person(self) -> bool:
        """Whether somebody sits there who can be asked."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()

    def asked(self, question: str) -> str:
        """The line that the person types; empty when there is none."""
        if sys.stderr is None or sys.stdin is None:
            return ""
        print(self.redactor.text(question), end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip()

    def fail(self, error: RotatorError) -> int:
        """Tell an error. Returns: the exit code."""
        if self.as_json:
            import json

            body = {
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
                "exit_code": error.exit_code,
                "details": error.details,
            }
            self._tell(json.dumps({"error": body}, default=str))
        else:
            for code, message, hint in _each(error):
                self._tell(f"error: {message} ({code})")
                if hint:
                    self._tell(f"hint: {hint}")
        return error.exit_code

    def log_stream(self) -> TextIO | None:
        return sys.stderr

    def _tell(self, line: str) -> None:
        if sys.stderr is None:
            return
        with contextlib.suppress(OSError):  # there is nobody to tell that there is nobody to tell
            print(self.redactor.text(line), file=sys.stderr, flush=True)


def _each(error: RotatorError) -> Sequence[tuple[str, str, str]]:
    """Code, message and hint of every failure of an input, or of the one error."""
    problems = error.details.get("problems")
    if not isinstance(problems, list):
        return [(error.code, error.message, error.hint)]
    return [(str(p["code"]), str(p["message"]), str(p["hint"])) for p in problems]


def _showable(text: str) -> str:
    """With escapes for what the locale's encoding cannot write: to a person that is better than nothing."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _silence_stdout() -> None:
    """What Python flushes at its end must not complain a second time. Source: docs.python.org, "Note on SIGPIPE"."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass  # not a stream of the operating system: nobody flushes it
