"""What is neglected about an item: each rule at its edge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.model import Stage, Standing
from azure_rotator.domain.neglect import Rule, neglects
from tests.rows import row
from tests.unit.domain import samples
from tests.unit.domain.samples import NOW

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
WELL: dict[str, Any] = {
    "auto_rotate": True,
    "rotation_interval": 365,
    "description": "billing",
    "tags": ("red",),
    "created_at": NOW - 400 * DAY,
    "last_rotation_at": NOW - DAY,
    "accessed_at": NOW - DAY,
    "next_rotation_at": NOW + 364 * DAY,
}


def broken(versions: int = 3, *, stale_days: int = 90, unused_days: int = 30, **changes: Any) -> list[str]:
    item = samples.item(**{**WELL, **changes})
    standing = Standing(item=item, current=samples.version(2, Stage.CURRENT), rotation=None, versions=versions)
    return [one.rule.value for one in neglects(standing, NOW, stale_days=stale_days, unused_days=unused_days)]


@row("B-17", "B-27")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"last_rotation_at": NOW - 90 * DAY + SECOND}, [], id="not stale by a second"),
        pytest.param({"last_rotation_at": NOW - 90 * DAY}, ["stale"], id="stale"),
        pytest.param({"last_rotation_at": NOW - 180 * DAY + SECOND}, ["stale"], id="stale to the last"),
        pytest.param({"last_rotation_at": NOW - 180 * DAY}, ["rotation-overdue", "stale"], id="for 180 days"),
        pytest.param(
            {"last_rotation_at": NOW - 5 * DAY, "stale_days": 5}, ["stale"], id="stale by as many days as are asked for"
        ),
        pytest.param({"next_rotation_at": NOW - timedelta(hours=1)}, ["overdue"], id="it was due an hour ago"),
        pytest.param({"next_rotation_at": NOW - timedelta(minutes=59)}, [], id="it still has its hour"),
        pytest.param(
            {"last_rotation_at": None}, ["rotation-overdue", "stale", "never-rotated"], id="never rotated, and old"
        ),
        pytest.param({"last_rotation_at": None, "created_at": NOW - DAY}, ["never-rotated"], id="never rotated"),
        pytest.param({"auto_rotate": False, "next_rotation_at": None}, ["auto-rotate-off"], id="not by itself"),
        pytest.param({"versions": 10}, [], id="ten versions"),
        pytest.param({"versions": 11}, ["too-many-versions"], id="eleven versions"),
        pytest.param({"description": " "}, ["description-missing"], id="a blank description"),
        pytest.param({"tags": ()}, ["tags-missing"], id="no tags"),
        pytest.param({"accessed_at": NOW - 30 * DAY + SECOND}, [], id="read in time"),
        pytest.param({"accessed_at": NOW - 30 * DAY}, ["unused"], id="unused"),
        pytest.param({"accessed_at": NOW - 30 * DAY, "unused_days": 31}, [], id="unused, for less than asked for"),
        pytest.param({"accessed_at": None}, ["never-read"], id="never read"),
        pytest.param({"accessed_at": None, "created_at": NOW - 30 * DAY + SECOND}, [], id="new, and not read yet"),
    ],
)
def test_rules(changes: dict[str, Any], expected: list[str]):
    assert broken(**changes) == expected


def test_each_rule_is_told_with_its_number():
    item = samples.item(created_at=NOW - 200 * DAY)
    standing = Standing(item=item, current=None, rotation=None, versions=12)
    assert {one.rule: one.text for one in neglects(standing, NOW)} == {
        Rule.ROTATION_OVERDUE: "not rotated since its creation for 200 days, 180 or more",
        Rule.STALE: "not rotated since its creation for 200 days, 90 or more",
        Rule.NEVER_ROTATED: "never rotated: how old it is in Azure is not known here",
        Rule.AUTO_ROTATE_OFF: "auto_rotate is off",
        Rule.TOO_MANY_VERSIONS: "12 versions are kept, more than 10",
        Rule.DESCRIPTION_MISSING: "it has no description",
        Rule.TAGS_MISSING: "it has no tags",
        Rule.NEVER_READ: "never read, and 200 days old, 30 or more",
    }
