"""Options: those of a noun, derived from its parameters, and those that every command has.

Nothing is judged here but the form: what a value may be is said once, in ``domain.parameters``, so that the command
line, Pulumi and the policies refuse the same things with the same codes, and all of them at once.
"""

from __future__ import annotations

from typing import Any

import click

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.parameters import ACCOUNT_PARAMETERS, NOUNS, PARAMETERS, Kind, Parameter, Subject

_METAVARS = {
    Kind.PATH: "PATH",
    Kind.TEXT: "TEXT",
    Kind.INT: "NUMBER",
    Kind.GUID: "GUID",
    Kind.SECRET: "SECRET",
    Kind.TEXT_LIST: "TEXT",
    Kind.INT_LIST: "NUMBER",
    Kind.DURATION: "DURATION",
}
_SECRET_FORMS = "@FILE, - for stdin, env:NAME or file:PATH"  # noqa: S105 - about secrets


class Flag(click.Option):
    """An option with one value, however often and in whichever spelling it is given.

    Args:
        switch: It takes true or false, in any case; without a value it means true.
    """

    def __init__(self, *declarations: str, about: str, switch: bool = False, **attributes: Any) -> None:
        self.switch = switch
        if switch:
            attributes |= {"is_flag": False, "flag_value": "true", "metavar": "[true|false]"}
        super().__init__([*declarations], multiple=True, help=about, **attributes)

    def process_value(self, ctx: click.Context, value: Any) -> str | None:
        given: tuple[str, ...] = super().process_value(ctx, value)
        texts = dict.fromkeys(text.lower() if self.switch else text for text in given)
        if len(texts) > 1:
            raise Rejected(
                "ParameterInvalid",
                f"{self.opts[0]} is given more than once, with different values",
                hint="- and _ in a flag are the same; give it once",
                details={"property": self.name},
            )
        return next(iter(texts), None)


class Repeated(click.Option):
    """An option whose values form a list; not given at all is None, which is not the same as an empty list."""

    def __init__(self, *declarations: str, about: str, **attributes: Any) -> None:
        super().__init__([*declarations], multiple=True, help=about, **attributes)

    def process_value(self, ctx: click.Context, value: Any) -> tuple[str, ...] | None:
        given: tuple[str, ...] = super().process_value(ctx, value)
        return given or None


def truth(flag: str, text: str | None) -> bool:
    """What a switch says; not given means false.

    Raises:
        Rejected: ``ParameterInvalid``.
    """
    if text not in {None, "true", "false"}:
        raise Rejected("ParameterInvalid", f"{flag} is neither true nor false", hint=f"{flag} alone means true")
    return text == "true"


def version_number(flag: str, text: str | None) -> int | None:
    """A version's number. Raises: Rejected ``ParameterInvalid``."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Rejected("ParameterInvalid", f"{flag} is not a version's number", hint="a whole number from 1")
    return int(text)


def whole_number(flag: str, text: str | None, *, default: int, most: int) -> int:
    """A number from 1 to ``most``. Raises: Rejected ``ParameterInvalid``."""
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= most:
        raise Rejected("ParameterInvalid", f"{flag} is not in 1-{most}", hint="a whole number", details={"flag": flag})
    return number


def scope_flag() -> Flag:
    """``--path`` of commands that look at many items."""
    return Flag(
        "-p",
        "--path",
        "path",
        metavar="PATH",
        about="only this item, what lies below this folder, or what fits this with * and ?",
    )


def parameter_flags(subject: Subject, *, update: bool = False) -> list[click.Parameter]:
    """One option for each parameter that the command line has.

    Args:
        update: For a change: what identifies the credential is taken, so that it can be refused, but not advertised.
    """
    rows = (row for row in PARAMETERS[subject] if row.only != "pulumi")
    flags: list[click.Parameter] = [_flag(row, subject, update=update) for row in rows]
    if update:
        flags.insert(1, Flag("--new-name", "new_name", metavar="PATH", about="a new path; the id stays"))
    if update and subject == "secret":
        flags += tag_flags()
    return flags


def some_flags(subject: Subject, *names: str) -> list[click.Parameter]:
    """Options of an update for these parameters only."""
    return [_flag(row, subject, update=True) for row in PARAMETERS[subject] if row.name in names]


def account_flags() -> list[click.Parameter]:
    """One option for each setting of the account."""
    return [_flag(row, "secret", update=True) for row in ACCOUNT_PARAMETERS]


def tag_flags() -> list[click.Parameter]:
    """Options that add and remove single tags."""
    return [
        Repeated("--add-tag", "add_tag", metavar="TEXT", about="add a tag; the option may be repeated"),
        Repeated("--rm-tag", "rm_tag", metavar="TEXT", about="remove a tag; the option may be repeated"),
    ]


def name_flag(noun: str, *more: str) -> Flag:
    """``--name`` of a thing that exists."""
    return Flag("-n", "--name", *more, "name", metavar="PATH", about=f"path of the {noun}")


def common_flags() -> list[click.Parameter]:
    """What every command has."""
    return [
        Flag("--json", "json", switch=True, about="print the result, or the error, as JSON"),
        Flag(
            "--jq-expression",
            "jq_expression",
            metavar="PATH",
            about="print a part of the JSON result, e.g. .items[0].item_name; texts without quotes",
        ),
        Flag("--quiet", "quiet", switch=True, about="no talk on stderr but warnings and errors"),
        Flag(
            "--timeout",
            "timeout",
            metavar="DURATION",
            about="how long to wait for an operation: seconds, or a number with s, m or h; 10m unless set",
        ),
        Flag(
            "-u",
            "--gateway-url",
            "gateway_url",
            metavar="URL",
            about="address of a gateway; this release checks it and does the work itself",
        ),
        Flag("--debug", "debug", switch=True, about="log what is done to stderr, and tracebacks of internal errors"),
    ]


def _flag(row: Parameter, subject: Subject, *, update: bool) -> click.Option:
    hidden = update and row.immutable
    spellings = [f"-{alias}" if len(alias) == 1 else f"--{alias}" for alias in row.aliases]
    spellings.sort(key=len)  # short ones first, as people expect them
    declarations = [*(s for s in spellings if len(s) == 2), row.flag, *(s for s in spellings if len(s) > 2), row.name]
    about = _help(row, subject, update=update)
    if row.kind in {Kind.TEXT_LIST, Kind.INT_LIST}:
        return Repeated(*declarations, about=about, metavar=_METAVARS[row.kind], hidden=hidden)
    if row.kind is Kind.BOOL:
        return Flag(*declarations, about=about, switch=True, hidden=hidden)
    metavar = "|".join(row.choices) if row.kind is Kind.ENUM else _METAVARS[row.kind]
    return Flag(*declarations, about=about, metavar=metavar, hidden=hidden)


def _help(row: Parameter, subject: Subject, *, update: bool) -> str:
    said = row.help.format(subject=NOUNS[subject])
    if row.kind is Kind.SECRET:
        said += f" [{_SECRET_FORMS}]"
    if row.choice_aliases:
        said += f" [also: {', '.join(row.choice_aliases)}]"
    if row.required:
        said += " [required]"
    elif isinstance(row.default, str) and row.default and not update:
        said += f" [default: {row.default}]"
    return said
