"""The entry point: arguments in, exit code out; no exception leaves it, and no traceback unless asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from azure_rotator.cli.console import Console, ResultLost
from azure_rotator.cli.tree import root
from azure_rotator.domain.errors import Rejected, RotatorError

PROGRAM: Final = "azure-rotator"

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it
UNREAD: Final = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments without the program's name; None: this process's.

    Returns:
        The exit code (features 3.15).
    """
    return run(root, sys.argv[1:] if argv is None else argv)


def run(commands: click.Command, argv: Sequence[str]) -> int:
    """Run a command of these."""
    # How to tell an error must be known before the arguments are understood: they may be the error.
    console = Console(as_json=_has(argv, "--json"), quiet=_has(argv, "--quiet"), debug=_has(argv, "--debug"))
    try:
        _refuse_undecodable(argv)
        done = commands.main(args=list(argv), prog_name=PROGRAM, standalone_mode=False, obj=console)
    except RotatorError as error:
        return console.fail(error)
    except click.exceptions.NoArgsIsHelpError as asked:
        print(asked.format_message(), file=sys.stderr)
        return asked.exit_code
    except click.ClickException as error:
        return console.fail(_usage(error))
    except click.Abort:
        console.fail(
            RotatorError(
                "InternalError",
                "interrupted",
                hint="what was begun is in the journal; azure-rotator reconcile finishes or undoes it",
            )
        )
        return INTERRUPTED
    except ResultLost:
        return UNREAD
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback, no value, no hidden exit code
        return _internal(console, error)
    # Exit code of --help and --version; commands return nothing.
    return done if isinstance(done, int) else 0


def _internal(console: Console, error: Exception) -> int:
    if console.debug:
        console.warn(console.redactor.traceback(error).rstrip())
    hint = "this is a bug: report it with the traceback above" if console.debug else "--debug shows where"
    # The kind only: what the message of a foreign error holds, nobody knows.
    return console.fail(RotatorError("InternalError", f"unexpected {type(error).__name__}", hint=hint))


def _usage(error: click.ClickException) -> Rejected:
    """click's refusals in our voice. A stray word is not repeated: it may be a credential behind a missing flag."""
    context = getattr(error, "ctx", None)
    where = f"{context.command_path} --help" if isinstance(context, click.Context) else "--help"
    hint = f"{where} lists the options"
    if isinstance(error, click.exceptions.NoSuchOption):
        name = error.option_name
        likely = ", ".join(option for option in error.possibilities or () if option.startswith("--"))
        if isinstance(context, click.Context) and isinstance(context.command, click.Group):
            likely, hint = "", f"options stand after the command; {hint}"
        return Rejected(
            "ParameterInvalid",
            f"there is no option {name.partition('=')[0]}",
            hint=f"did you mean {likely}?" if likely else hint,
        )
    if isinstance(error, click.exceptions.BadOptionUsage):
        return Rejected("ParameterInvalid", f"option {error.option_name} needs a value", hint=hint)
    return Rejected("ParameterInvalid", "there is a word that belongs to no option", hint=f"{hint}; values follow them")


def _refuse_undecodable(argv: Sequence[str]) -> None:
    for number, argument in enumerate(argv, 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Rejected(
                "ParameterInvalid", f"argument {number} is not text in this locale's encoding", hint="use UTF-8"
            ) from None


def _has(argv: Sequence[str], flag: str) -> bool:
    given = [argument for argument in argv if argument.partition("=")[0] == flag]
    return bool(given) and not given[-1].lower().endswith("=false")
