"""The reference pages are made from the parser, so they cannot drift."""

from __future__ import annotations

import sys

import click

from tools import docs


@click.group()
def program() -> None:
    """Does things.

    In two paragraphs.
    """


@program.command()
@click.argument("name")
@click.option("--times", type=int, help="How often | at most.")
def greet(name: str, times: int) -> None:
    """Say hello."""


@program.command(hidden=True)
def secret() -> None:
    """Not for users."""


def test_a_page_holds_every_command_with_its_options():
    page = docs.page("prog", program)
    assert page.splitlines()[4:] == [
        "## `prog`",
        "",
        "Does things.",
        "",
        "In two paragraphs.",
        "",
        "    prog [OPTIONS] COMMAND [ARGS]...",
        "",
        "- `greet`: Say hello.",
        "",
        "## `prog greet`",
        "",
        "Say hello.",
        "",
        "    prog greet [OPTIONS] NAME",
        "",
        "| option | meaning |",
        "| --- | --- |",
        "| `--times INTEGER` | How often \\| at most. |",
    ]


def test_a_stale_or_missing_page_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    monkeypatch.setattr(docs, "PROGRAMS", (("page.md", "prog", __name__),))
    monkeypatch.setitem(sys.modules, __name__, type("M", (), {"main": program, "__spec__": object()}))
    monkeypatch.setattr("sys.argv", ["docs", "--check"])
    assert docs.main() == 1
    assert "docs/page.md is not what the parser says: run `make docs`" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["docs"])
    assert docs.main() == 0
    monkeypatch.setattr("sys.argv", ["docs", "--check"])
    assert docs.main() == 0
