"""The public names, and what importing them loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import azure_rotator

PUBLIC = {
    "AuthenticationCredentials",
    "AzureTarget",
    "ConnectionType",
    "GraceTiming",
    "RotatedSecret",
    "RotatorType",
    "StorageKeyMode",
    "__version__",
    "get_value",
}
HEAVY = ("pulumi", "grpc", "dill", "sqlalchemy", "alembic", "cryptography", "azure", "msgraph", "kiota", "aiohttp")


def test_the_public_names_are_these():
    assert set(azure_rotator.__all__) == PUBLIC
    assert set(dir(azure_rotator)) >= PUBLIC
    for name in PUBLIC:
        assert getattr(azure_rotator, name)


def test_the_types_of_the_public_names_are_told():
    stub = ast.parse(Path(azure_rotator.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    names = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names == PUBLIC


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'azure_rotator' has no attribute 'Rotator'"):
        azure_rotator.Rotator  # type: ignore[attr-defined]  # noqa: B018


def loaded(program: str) -> set[str]:
    """The modules that a fresh interpreter has after these lines."""
    printed = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(printed.stdout.split())


def heavy(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules if name.partition(".")[0].startswith(HEAVY)} - {"azure_rotator"}


def test_the_package_alone_loads_nothing():
    before, after = loaded(""), loaded("import azure_rotator")
    assert {name for name in after - before if name.startswith("azure_rotator")} == {
        "azure_rotator",
        "azure_rotator._version",
    }
    assert not heavy(after)
    assert not {"typing", "re", "importlib"} & (after - before)


def test_the_enums_need_no_pulumi():
    enums = sorted(PUBLIC - {"RotatedSecret", "AzureTarget", "get_value", "__version__"})
    assert not heavy(loaded(f"from azure_rotator import {', '.join(enums)}"))


@pytest.mark.parametrize("name", ["RotatedSecret", "AzureTarget", "get_value"])
def test_a_resource_loads_pulumi_and_no_engine_store_or_cloud(name):
    after = loaded(f"from azure_rotator import {name}")
    assert heavy(after) - heavy(loaded("import pulumi, pulumi.dynamic")) == set()
    ours = {name.split(".")[1] for name in after if name.startswith("azure_rotator.")}
    assert ours == {"_version", "config", "domain", "resources"}
