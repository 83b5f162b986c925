"""The rules as functions: what each says of which inputs, and that nothing makes one fail."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import azure_rotator.policy
from azure_rotator.domain import schedule
from azure_rotator.policy import ROTATED_SECRET, RULES, rotation_enabled, rotation_interval
from azure_rotator.resources.secret import RotatedSecret
from tests.rows import row
from tests.unit.domain.steady import steady

OFF = "auto_rotate is off: the credential grows old; set auto_rotate to True and a rotation_interval"
MISSING = "rotation_interval is missing; set it to at most 90 days"
LIMIT = "maxDays in the configuration of rotation-interval is not a number in 1-365"
RANGE = "rotation_interval is not a whole number of days in 1-365"

ENABLED: list[tuple[str, Any, list[str]]] = [
    ("on", True, []),
    ("off", False, [OFF]),
    ("left out", None, [OFF]),
    ("a text", "true", [OFF]),
    ("a number", 1.0, [OFF]),
]


@row("AK-68")
@pytest.mark.parametrize(("value", "messages"), [r[1:] for r in ENABLED], ids=[r[0] for r in ENABLED])
def test_rotation_enabled(value, messages):
    properties = {} if value is None else {"auto_rotate": value}
    assert list(rotation_enabled(properties, {})) == messages


def above(days: str, limit: str) -> list[str]:
    return [f"rotation_interval is {days} days, more than the {limit} that are allowed"]


INTERVALS: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("one day", {"rotation_interval": 1.0}, {}, []),
    ("the default limit", {"rotation_interval": 90.0}, {}, []),
    ("above it", {"rotation_interval": 91.0}, {}, above("91", "90")),
    ("above it, and rotation off", {"rotation_interval": 91.0, "auto_rotate": False}, {}, above("91", "90")),
    ("a configured limit", {"rotation_interval": 30}, {"maxDays": 30.0}, []),
    ("above a configured limit", {"rotation_interval": 31}, {"maxDays": 30.0}, above("31", "30")),
    ("a higher limit", {"rotation_interval": 365}, {"maxDays": 365}, []),
    ("zero", {"rotation_interval": 0}, {}, [RANGE]),
    ("366, whatever the limit", {"rotation_interval": 366}, {"maxDays": 365}, [RANGE]),
    ("negative", {"rotation_interval": -1}, {}, [RANGE]),
    ("no whole number", {"rotation_interval": 1.5}, {}, [RANGE]),
    ("a text", {"rotation_interval": "x"}, {}, [RANGE]),
    ("a boolean", {"rotation_interval": True}, {}, [RANGE]),
    ("not a number", {"rotation_interval": math.nan}, {}, [RANGE]),
    ("infinite", {"rotation_interval": math.inf}, {}, [RANGE]),
    ("missing with rotation on", {"auto_rotate": True}, {}, [MISSING]),
    ("missing with rotation off", {"auto_rotate": False}, {}, []),
    ("a limit that is none", {}, {"maxDays": "many"}, [LIMIT]),
]  # fmt: skip


@row("AK-49", "AK-68")
@pytest.mark.parametrize(
    ("properties", "config", "messages"), [r[1:] for r in INTERVALS], ids=[r[0] for r in INTERVALS]
)
def test_rotation_interval(properties, config, messages):
    assert list(rotation_interval(properties, config)) == messages


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING = SCALAR | st.lists(SCALAR, max_size=2) | st.dictionaries(st.text(max_size=5), SCALAR, max_size=2)
KEYS = st.sampled_from(["auto_rotate", "rotation_interval", "maxDays", "name", "api_key"])


@row("AK-68")
@steady
@given(st.dictionaries(KEYS, ANYTHING), st.dictionaries(KEYS, ANYTHING))
def test_whatever_a_property_holds_a_rule_has_an_answer(properties, config):
    for rule in RULES:
        for message in rule.violations(properties, config):
            assert message


def test_no_rule_quotes_or_even_reads_a_credential():
    class Watched(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return super().get(key, default)

        def __getitem__(self, key: str) -> Any:
            raise AssertionError(key)

        __iter__ = keys = values = items = __getitem__  # type: ignore[assignment]

    read: set[str] = set()
    for rule in RULES:
        list(rule.violations(Watched(auto_rotate=True, api_key="canary8Q~"), {}))
    assert read == {"auto_rotate", "rotation_interval"}


def test_the_type_token_is_that_of_the_resource():
    assert f"pulumi-python:{RotatedSecret._resource_type_name}" == ROTATED_SECRET


def test_the_rules_are_these():
    assert [(rule.name, rule.level, list(rule.config_schema)) for rule in RULES] == [
        ("rotation-enabled", "mandatory", []),
        ("rotation-interval", "mandatory", ["maxDays"]),
    ]


def test_the_module_needs_the_standard_library_only():
    tree = ast.parse(Path(azure_rotator.policy.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules == {"__future__", "collections.abc", "dataclasses", "math", "typing"}


def test_the_bounds_are_those_of_the_product():
    ours = (azure_rotator.policy.MIN_INTERVAL_DAYS, azure_rotator.policy.MAX_INTERVAL_DAYS)
    assert ours == (schedule.MIN_INTERVAL_DAYS, schedule.MAX_INTERVAL_DAYS)
