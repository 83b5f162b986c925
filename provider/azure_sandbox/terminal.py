"""What the commands of ``azure-sandbox`` share: one voice for errors, the state folder, tables."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from functools import update_wrapper
from pathlib import Path
from typing import Any, NoReturn

import click

from azure_sandbox.client import Control, ControlError
from azure_sandbox.process import STATE_VARIABLE, Running, StartFailed, default_state, find


def fail(message: str, hint: str | None = None) -> NoReturn:
    """Say on stderr what went wrong and what to do, and exit with 1."""
    click.echo(f"azure-sandbox: error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    raise SystemExit(1)


def state_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--state`` to a command, which gets it as its first argument, absolute."""

    @click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        envvar=STATE_VARIABLE,
        show_envvar=True,
        help="Folder that holds the sandbox; one sandbox runs on each. Default: the user's state folder.",
    )
    def with_state(*args: Any, state: Path | None, **kwargs: Any) -> None:
        function((state or default_state()).absolute(), *args, **kwargs)

    return update_wrapper(with_state, function)


def running_on(state: Path) -> Running:
    """The sandbox that runs on a folder; exits when none does."""
    running = find(state)
    if running is None:
        fail(f"no sandbox runs on {state}", "azure-sandbox start" + state_flag(state))
    return running


def control_of(state: Path) -> Control:
    """The control of the sandbox that runs on a folder; exits when none does."""
    return running_on(state).control


def state_flag(state: Path) -> str:
    """What a command that is suggested needs to meet the same folder."""
    return "" if state == default_state().absolute() else f" --state {shlex.quote(str(state))}"


def table(rows: Iterable[tuple[object, ...]], header: tuple[str, ...]) -> None:
    """Print rows below a header; None is a dash."""
    lines = [header, *(tuple("-" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


class Group(click.Group):
    """Turns the control API's refusals into the command line's one voice."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ControlError as error:
            fail(str(error))
        except StartFailed as error:
            fail(str(error))
