"""The program as a process: its streams, its start, its reference page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from azure_rotator import _version
from azure_rotator.cli import reference, reference_page
from azure_rotator.cli.tree import ALIASES, TREE, find, leaves, load
from azure_rotator.domain.errors import EXIT_CODES
from azure_rotator.domain.parameters import PARAMETERS
from tests.cli.conftest import CREATES, PROGRAM, Terminal
from tests.rows import row

ROOT = Path(__file__).resolve().parents[2]
ASCII = "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0"
COMMANDS = [path for path, _ in leaves()]


def shell(terminal: Terminal, line: str) -> subprocess.CompletedProcess[bytes]:
    env = os.environ | terminal.settings | {"PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", line], env=env, capture_output=True, check=False)


# --- streams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        ("azure-rotator target list", 0, b"NAME", b""),
        ("azure-rotator target list | true; exit ${PIPESTATUS[0]}", 141, b"", b""),
        ("azure-rotator --help | true", 0, b"", b""),
        ("azure-rotator target list > /dev/full", 1, b"", b"could not be written to stdout: No space left on device"),
        ("azure-rotator target list >&-", 1, b"", b"could not be written to stdout: it is closed"),
        ("azure-rotator target list 2>&-", 0, b"NAME", b""),
        ("azure-rotator target get -n nowhere 2>&-", 4, b"", b""),
        ("azure-rotator target get -n nowhere 2>/dev/full", 4, b"", b""),
        ("azure-rotator target get -n nowhere >&-", 4, b"", b"(TargetNotFound)"),
        ("azure-rotator target create azure -n x --client-secret - <&-", 2, b"", b"stdin is closed"),
        (
            "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 azure-rotator target get -n t",
            0,
            b"description:               gr\\xfcn",
            b"",
        ),
        ("LC_ALL=C.UTF-8 azure-rotator target get -n t", 0, "description:               grün".encode(), b""),
        ("python -m azure_rotator.cli.reference", 0, b"# azure-rotator: command line", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_streams_may_be_closed_full_or_plain(stocked: Terminal, line: str, code: int, out: bytes, err: bytes):
    stocked.told("target", "update", "azure", "-n", "t", "--description", "grün")
    done = shell(stocked, line)
    assert done.returncode == code, done
    assert out in done.stdout
    assert err in done.stderr
    if not err:
        assert done.stderr == b""
    assert b"Traceback" not in done.stderr


def test_version(terminal: Terminal):
    done = terminal.process("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"azure-rotator {_version.__version__}\n")


# --- start --------------------------------------------------------------------------------------------------------

HEAVY = (
    *(
        "sqlalchemy",
        "alembic",
        "structlog",
        "cryptography",
        "azure",
        "msal",
        "msgraph",
        "kiota_abstractions",
        "aiohttp",
    ),
    *("pulumi", "asyncio", "azure_rotator.wiring", "azure_rotator.engine", "azure_rotator.store"),
    *("azure_rotator.cloud", "azure_rotator.crypto", "azure_rotator.resources"),
)


@pytest.mark.parametrize(
    ("argv", "more"),
    [
        (["--help"], ["azure_rotator.domain.parameters", "azure_rotator.telemetry", "azure_rotator.cli.secrets"]),
        (["rotated-secret", "--help"], ["azure_rotator.domain.parameters", "azure_rotator.cli.secrets"]),
        (["--version"], ["azure_rotator.domain.parameters"]),
        *[([*path, "--help"], []) for path in COMMANDS],
        (["target", "create", "azure"], []),
        (["rotated-secret", "create", "azure", "--rotator-type", "x"], []),
        (["target", "lst"], []),
    ],
    ids=" ".join,
)
def test_help_and_usage_errors_import_nothing_that_works(terminal: Terminal, argv: list[str], more: list[str]):
    program = (
        "import json, sys; from azure_rotator.cli import main; main(sys.argv[1:]);"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert loaded.isdisjoint([*HEAVY, *more])


def test_a_command_that_only_reads_the_store_loads_no_graph_sdk(stocked: Terminal):
    program = (
        "import sys; from azure_rotator.cli import main; main(['target', 'list']); print('msgraph' in sys.modules)"
    )
    env = os.environ | stocked.settings
    done = subprocess.run([sys.executable, "-c", program, "target", "list"], env=env, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == b"False"


# --- the tree and its reference page ------------------------------------------------------------------------------


@row("AK-35")
def test_the_reference_page_is_what_the_parser_says():
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference_page(), "run `make docs`"


@row("AK-35")
def test_the_reference_page_has_every_command_flag_alias_code_and_setting():
    page = reference_page()
    sections = dict(re.findall(r"^## `(azure-rotator [a-z -]+)`\n(.*?)(?=^## )", page, flags=re.MULTILINE | re.DOTALL))
    assert set(sections) == {" ".join(("azure-rotator", *path)) for path in COMMANDS}
    shared = page.partition("## Options of every command")[2].partition("\n## ")[0]
    for path, leaf in leaves():
        section = sections[" ".join(("azure-rotator", *path))]
        for option in load(leaf).params:
            for flag in option.opts if not getattr(option, "hidden", False) else ():
                if flag.startswith("-") and "_" not in flag:
                    assert f"{flag} " in section + shared or f"{flag}," in section + shared, (path, flag)
    for subject, parameters in PARAMETERS.items():
        section = sections[" ".join(("azure-rotator", *CREATES[subject]))]
        for parameter in parameters:
            assert (parameter.flag in section) == (parameter.only != "pulumi")
    for code, number in EXIT_CODES.items():
        assert re.search(rf"^\| {number} \| .*`{code}`", page, flags=re.MULTILINE)
    for name in (*ALIASES, *reference.SETTINGS):
        assert f"| `{name}` |" in page


def test_every_setting_of_the_page_is_read_somewhere():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "provider" / "azure_rotator").rglob("*.py"))
    for name in reference.SETTINGS:
        short = name.removeprefix("AZURE_ROTATOR_")
        assert f'"{name}"' in sources or f'"{short}"' in sources, name


def test_every_alias_leads_to_a_command_and_hides_none():
    for alias, path in ALIASES.items():
        assert path in COMMANDS
        assert find(TREE, (alias,)) is None


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_the_common_flags(terminal: Terminal, path: tuple[str, ...]):
    shown = terminal.told(*path, "-h").out
    for flag in ("--json", "--jq-expression", "--quiet", "--timeout", "-u, --gateway-url", "--debug", "-h, --help"):
        assert f"{flag} " in shown
