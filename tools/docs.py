"""Generate the reference pages from the code: docs/cli.md, docs/sandbox-cli.md. With --check: fail if one is stale."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

DOCS = Path(__file__).resolve().parents[1] / "docs"
# Page, program, and where its parser is.
PROGRAMS = (
    ("cli.md", "azure-rotator", "azure_rotator.cli"),
    ("sandbox-cli.md", "azure-sandbox", "azure_sandbox.cli"),
)


def page(program: str, root: click.Command) -> str:
    """A program's commands, arguments and options, in the order in which its own help shows them."""
    lines = [f"# {program}: command line", "", "Generated from the parser by `make docs`; do not edit."]
    for path, command in _walk((program,), root):
        lines += ["", f"## `{' '.join(path)}`", "", _paragraph(command.help or command.short_help or "")]
        context = click.Context(command, info_name=" ".join(path))
        usage = " ".join(command.collect_usage_pieces(context))
        lines += ["", f"    {' '.join(path)} {usage}".rstrip()]
        children = _children(command, context)
        if children:
            lines += ["", *(f"- `{name}`: {child.get_short_help_str(limit=100)}" for name, child in children)]
        # `command.params`: --help is everywhere and says nothing.
        rows = [record for each in command.params if (record := each.get_help_record(context)) and record[1]]
        if rows:
            lines += ["", "| option | meaning |", "| --- | --- |"]
            lines += [f"| `{_cell(option)}` | {_cell(meaning)} |" for option, meaning in rows]
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _parser(module: str) -> click.Command | None:
    if importlib.util.find_spec(module) is None:
        return None
    found = importlib.import_module(module)
    # `main` may be a function that wraps the group to turn errors into exit codes.
    candidates = (getattr(found, name, None) for name in ("main", "cli", "root"))
    return next((each for each in candidates if isinstance(each, click.Command)), None)


def _walk(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    for name, child in _children(command, click.Context(command, info_name=path[-1])):
        yield from _walk((*path, name), child)


def _children(command: click.Command, context: click.Context) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return []
    named = ((name, command.get_command(context, name)) for name in command.list_commands(context))
    return [(name, child) for name, child in named if child and not child.hidden]


def _paragraph(text: str) -> str:
    # click's own marks: \b keeps line breaks, \f ends what is shown.
    return click.unstyle(inspect.cleandoc(text.partition("\f")[0]).replace("\b\n", "")).strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the pages, or compare them."""
    check, stale = "--check" in sys.argv[1:], []
    for name, program, module in PROGRAMS:
        root = _parser(module)
        if root is None:
            continue
        # A program may know more about itself than its parser does, exit codes for instance.
        own_page = getattr(importlib.import_module(module), "reference_page", None)
        text, file = own_page() if own_page else page(program, root), DOCS / name
        if not check:
            DOCS.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"docs/{name}")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
    for name in stale:
        print(f"docs/{name} is not what the parser says: run `make docs`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
