"""The policy rules: pure functions over the properties of a Rotated Secret; standard library only.

The policy pack of this repository (``policies/``) and other people's packs use the same ones. A rule takes the checked
inputs of a ``RotatedSecret`` and the rule's configuration, and gives one message for each violation::

    >>> [rule.name for rule in RULES]
    ['rotation-enabled', 'rotation-interval']
    >>> list(rotation_interval({"auto_rotate": True, "rotation_interval": 120.0}, {}))
    ['rotation_interval is 120 days, more than the 90 that are allowed']

A rule never fails: whatever a property holds, it has an answer. (An exception would end the whole operation.) It reads
single keys, because in a preview a key may be unknown, and reading that one raises what the pack's host understands as
"cannot tell yet"; the rule runs again when the value is there. No message quotes the value of a credential's property:
rules see secrets as plain text (pulumi-policy#241).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ROTATED_SECRET = "pulumi-python:dynamic/azure-rotator:RotatedSecret"  # noqa: S105 - a type token
"""The resource type that the rules are about; it is compared exactly."""

MIN_INTERVAL_DAYS = 1
MAX_INTERVAL_DAYS = 365
"""The product's own bounds, as ``domain.schedule`` has them; this module imports nothing of the product."""

DEFAULT_MAX_DAYS = 90

Properties = Mapping[str, Any]
Level = Literal["mandatory", "advisory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One policy.

    Args:
        name: In kebab case; what a configuration file calls it.
        level: What it is unless configured otherwise.
        violations: From checked inputs and configuration to messages.
        config_schema: JSON schema of the configuration's properties, as Pulumi takes it.
    """

    name: str
    description: str
    level: Level
    violations: Callable[[Properties, Properties], Iterator[str]]
    config_schema: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def rotation_enabled(properties: Properties, config: Properties) -> Iterator[str]:
    """``auto_rotate`` is on."""
    if properties.get("auto_rotate") is not True:
        yield "auto_rotate is off: the credential grows old; set auto_rotate to True and a rotation_interval"


def rotation_interval(properties: Properties, config: Properties) -> Iterator[str]:
    """``rotation_interval`` is in 1-365, and at most ``maxDays`` (90 unless configured).

    Whether there must be one is decided by ``auto_rotate``: without it there is nothing to judge here.
    """
    limit = _days(config.get("maxDays", DEFAULT_MAX_DAYS))
    if limit is None:
        yield f"maxDays in the configuration of rotation-interval is not a number in {_RANGE}"
        return
    given = properties.get("rotation_interval")
    if given is None:
        if properties.get("auto_rotate") is True:
            yield f"rotation_interval is missing; set it to at most {limit:g} days"
        return
    days = _days(given)
    if days is None or days != int(days):
        yield f"rotation_interval is not a whole number of days in {_RANGE}"
    elif days > limit:
        yield f"rotation_interval is {days:g} days, more than the {limit:g} that are allowed"


_RANGE = f"{MIN_INTERVAL_DAYS}-{MAX_INTERVAL_DAYS}"


def _days(value: object) -> float | None:
    """A number within the range of intervals; Pulumi's numbers are floats (pulumi#13830)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if MIN_INTERVAL_DAYS <= value <= MAX_INTERVAL_DAYS else None


RULES: tuple[Rule, ...] = (
    Rule(
        name="rotation-enabled",
        description="Every Rotated Secret rotates by itself.",
        level="mandatory",
        violations=rotation_enabled,
    ),
    Rule(
        name="rotation-interval",
        description=f"The rotation interval is within {_RANGE} days and at most the configured maximum.",
        level="mandatory",
        violations=rotation_interval,
        config_schema={
            "maxDays": {
                "type": "number",
                "minimum": MIN_INTERVAL_DAYS,
                "maximum": MAX_INTERVAL_DAYS,
                "default": DEFAULT_MAX_DAYS,
                "description": "The longest interval that is allowed, in days.",
            }
        },
    ),
)
"""The rules, in the order they are reported."""
