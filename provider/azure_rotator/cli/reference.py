"""``docs/cli.md``: the reference page, made from the parser and the error codes, so that it cannot drift.

$ make docs                                # or: python -m azure_rotator.cli.reference > docs/cli.md
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator

import click

from azure_rotator import telemetry
from azure_rotator.cli import scheduler
from azure_rotator.cli.flags import common_flags
from azure_rotator.cli.invocation import GATEWAY_VARIABLE
from azure_rotator.cli.program import INTERRUPTED, PROGRAM, UNREAD
from azure_rotator.cli.tree import ALIASES, leaves, load, root
from azure_rotator.domain.errors import EXIT_CODES

SETTINGS = {
    "AZURE_ROTATOR_STORE": "the store: `sqlite:////absolute/path` or `postgresql://…`; unless set a file in the "
    "user's data folder",
    "AZURE_ROTATOR_KEY_FILE": "the file with the store's key; in the user's configuration folder unless set",
    "AZURE_ROTATOR_KEY": "the key itself, instead of the file",
    "AZURE_ROTATOR_TIMEOUT": "seconds that a command waits for an operation, as `--timeout`",
    "AZURE_ROTATOR_LEASE": "seconds after which the operation of a process that stopped is taken over",
    "AZURE_ROTATOR_DISPATCHER": "as `--dispatcher` of `scheduler run`; `db upgrade` then makes its tables, too",
    "AZURE_ROTATOR_WHO": "who acts, in the audit log; the login name unless set",
    "AZURE_ROTATOR_SMTP_HOST": "the mail server of e-mail forwarders, for the process that delivers",
    "AZURE_ROTATOR_SMTP_PORT": "its port; 587 with `starttls`, 465 with `smtps` unless set",
    "AZURE_ROTATOR_SMTP_TLS": "`starttls` (the default) or `smtps`; nothing is sent in clear",
    "AZURE_ROTATOR_SMTP_USERNAME": "the login there, with `AZURE_ROTATOR_SMTP_PASSWORD`; none unless set",
    "AZURE_ROTATOR_SMTP_PASSWORD": "the password of that login",
    "AZURE_ROTATOR_SMTP_FROM": "the sender's address",
    telemetry.VARIABLE: f"log lines on stderr from this level on: {', '.join(telemetry.LEVELS)}",
    telemetry.FORMAT_VARIABLE: "how they are written: `logfmt` (the default) or `json`, an object a line",
    scheduler.PORT_VARIABLE: "as `--metrics-port` of `scheduler run`; not looked at with `--once`",
    scheduler.ADDRESS_VARIABLE: "as `--metrics-address`",
    GATEWAY_VARIABLE: "as `--gateway-url`",
}
_KINDS = {
    1: "internal error, the store's, and a receiver's of events",
    2: "usage: fix the input",
    3: "denied",
    4: "not found",
    5: "conflict",
    6: "gateway",
    7: "Azure refused, or did not answer",
}


def page() -> str:
    """The page as Markdown."""
    return "\n".join(line.rstrip() for line in _lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield from (f"# {PROGRAM}: command line", "", "Generated from the parser by `make docs`; do not edit.", "")
    yield _paragraphs(root.help or "")
    yield from ("", "    azure-rotator --version", "    azure-rotator COMMAND --help", "")
    yield from ("| command | |", "| --- | --- |")
    for path, leaf in leaves():
        name = " ".join(path)
        yield f"| [`{name}`](#{PROGRAM}-{name.replace(' ', '-')}) | {_cell(leaf.summary)} |"
    yield from ("", "## Options of every command", "")
    yield from _options(common_flags())
    yield from _secret_arguments()
    yield from ("", "## Environment", "", "| variable | meaning |", "| --- | --- |")
    yield from (f"| `{variable}` | {meaning} |" for variable, meaning in SETTINGS.items())
    for path, leaf in leaves():
        yield from _command(path, load(leaf))
    yield from ("", "## Aliases", "", "Names of the source document.", "", "| alias | command |", "| --- | --- |")
    yield from (f"| `{alias}` | `{' '.join(path)}` |" for alias, path in ALIASES.items())
    yield from _exit_codes()


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    name = " ".join((PROGRAM, *path))
    yield from ("", f"## `{name}`", "", _paragraphs(command.help or ""), "", f"    {name} [OPTIONS]")
    common = {flag.name for flag in common_flags()}
    own = [flag for flag in command.params if flag.name not in common]
    if own:
        yield ""
        yield from _options(own)
    if command.epilog:
        yield from ("", "```text", inspect.cleandoc(command.epilog.replace("\b\n", "")), "```")


def _options(flags: Iterable[click.Parameter]) -> Iterator[str]:
    yield from ("| option | meaning |", "| --- | --- |")
    for flag in flags:
        record = flag.get_help_record(click.Context(root))
        if record is not None:
            yield f"| `{_cell(record[0])}` | {_cell(record[1])} |"


def _secret_arguments() -> Iterator[str]:
    yield from ("", "## Credentials in arguments", "")
    yield from (
        "| form | what happens |",
        "| --- | --- |",
        "| `@FILE` | read at once; one line end is taken off |",
        "| `-` | read at once from stdin; on a terminal it is asked for and not shown |",
        "| `env:NAME`, `file:PATH` | a reference, read by the process that talks to Azure; a Target keeps it as such |",
        "| anything else | the credential itself, with a warning: the process list and the shell's history show it |",
        "| `literal:VALUE` | the credential itself, also where it looks like one of the forms above |",
    )


def _exit_codes() -> Iterator[str]:
    yield from ("", "## Exit codes", "")
    yield from ("An error is told on stderr, as `error: MESSAGE (CODE)` and a line `hint:`; with `--json` as", "")
    yield '    {"error": {"code": …, "message": …, "hint": …, "exit_code": …, "details": {…}}}'
    yield from ("", "| exit | meaning | codes |", "| --- | --- | --- |", "| 0 | done | |")
    codes: dict[int, list[str]] = defaultdict(list)
    for code, number in EXIT_CODES.items():
        codes[number].append(f"`{code}`")
    for number, meaning in _KINDS.items():
        yield f"| {number} | {meaning} | {' '.join(codes[number])} |"
    yield f"| {INTERRUPTED} | interrupted; what was begun is in the journal, `reconcile` finishes or undoes it | |"
    yield f"| {UNREAD} | nobody read the result to its end | |"


def _paragraphs(text: str) -> str:
    return inspect.cleandoc(text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
