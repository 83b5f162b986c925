"""The project's own rules catch what they are for."""

from __future__ import annotations

import sys

import pytest

from tools import checks


def test_a_mirror_in_the_lock_is_refused():
    text = 'source = { registry = "https://pypi.org/simple" }\nurl = "https://mirror.example/a.whl"\n'
    assert [*checks.lock(text)] == [
        "uv.lock: names mirror.example, not the public index; run `uv lock` without a mirror"
    ]


@pytest.mark.parametrize(
    ("source", "allowed", "offences"),
    [
        pytest.param("x.reveal()", [], 1, id="a call"),
        pytest.param("map(SecretText.reveal, values)", [], 1, id="the method handed on"),
        pytest.param("x.reveal()", ["a.py"], 0, id="an allowed file"),
        pytest.param("x.revealed", [], 0, id="another name"),
        pytest.param("pass", ["a.py"], 1, id="an allowance that nothing needs any more"),
    ],
)
def test_a_secret_is_opened_in_allowed_files_only(source, allowed, offences):
    assert len([*checks.reveals([("a.py", source)], allowed)]) == offences


@pytest.mark.parametrize(
    ("line", "offends"),
    [
        ("see /ro" + "ot/notes.md", True),
        ("dir = '/ho" + "me/ada/clone'", True),
        ("cd /wo" + "rk/main", True),
        ("in /opt/clone/file", True),
        ("a name like /x/y/s, or docs/work/plan", False),
        ("~/home/azure/x, $TOP/home/x/y, ./home/run/x", False),
    ],
)
def test_paths_of_a_machine_are_found(line, offends):
    assert bool([*checks.machine_paths([("README.md", line)], ("/opt/clone", "/"))]) is offends


@pytest.mark.parametrize(
    ("name", "source", "offends"),
    [
        pytest.param("cloud/graph.py", "from msgraph.generated import x", False, id="at home"),
        pytest.param(
            "engine/runner.py", "def f():\n    import msgraph_core", True, id="a family member inside a function"
        ),
        pytest.param("wiring.py", "import azure.identity as a", True, id="a module"),
        pytest.param("wiring.py", "from azure_rotator.cloud import graph", False, id="our own name begins alike"),
    ],
)
def test_a_third_party_is_imported_in_its_home_only(name, source, offends):
    table = {"azure": ["cloud"], "msgraph": ["cloud"]}
    assert bool([*checks.homes([(f"provider/azure_rotator/{name}", source)], table)]) is offends


@pytest.mark.parametrize("package", ["domain", "policy"])
def test_domain_and_policy_import_nothing_but_the_standard_library(package):
    root = checks.ROOT / "provider" / "azure_rotator"
    for file in [*(root / package).rglob("*.py"), *root.glob(f"{package}.py")]:
        for line, name in checks.imports(file.read_text(encoding="utf-8")):
            ours = f"{name}.".startswith(f"azure_rotator.{package}.")
            assert ours or name.partition(".")[0] in sys.stdlib_module_names, f"{file}:{line}: {name}"


def test_this_repository_keeps_them(capsys):
    assert checks.main() == 0, capsys.readouterr().out
