"""What is neglected about an item, as far as its stored facts tell: rules with names (features B-17, B-27). Pure.

Old or unread credentials, and what makes an item hard to look after. The names are the same in every report.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from azure_rotator.domain.due import DueCode, reasons
from azure_rotator.domain.model import Standing

STALE_DAYS = 90
ROTATION_OVERDUE_DAYS = 180
UNUSED_DAYS = 30
MANY_VERSIONS = 10


class Rule(StrEnum):
    """The names of the rules."""

    # Not rotated.
    OVERDUE = "overdue"  # by its own schedule, as in ``domain.due``
    ROTATION_OVERDUE = "rotation-overdue"  # whatever its schedule says
    STALE = "stale"
    NEVER_ROTATED = "never-rotated"
    # Not looked after.
    AUTO_ROTATE_OFF = "auto-rotate-off"
    TOO_MANY_VERSIONS = "too-many-versions"
    DESCRIPTION_MISSING = "description-missing"
    TAGS_MISSING = "tags-missing"
    # Not read.
    UNUSED = "unused"
    NEVER_READ = "never-read"


NOT_ROTATED = frozenset({Rule.OVERDUE, Rule.ROTATION_OVERDUE, Rule.STALE, Rule.NEVER_ROTATED})
NOT_READ = frozenset({Rule.UNUSED, Rule.NEVER_READ})


@dataclass(frozen=True, slots=True, kw_only=True)
class Neglect:
    """A rule that an item breaks.

    Args:
        text: For people: lower case.
    """

    rule: Rule
    text: str


def neglects(
    standing: Standing, now: datetime, *, stale_days: int = STALE_DAYS, unused_days: int = UNUSED_DAYS
) -> tuple[Neglect, ...]:
    """Every rule that the item breaks, in the order of ``Rule``.

    Args:
        stale_days: It is stale when it was not rotated for so many days.
        unused_days: It is unused when nobody has read it for so many days; one that nobody has ever read, when it is
            that old.
    """
    i = standing.item
    rotated_for, read_for = now - (i.last_rotation_at or i.created_at), now - (i.accessed_at or i.created_at)
    chain = reasons(i, standing.current, standing.rotation, now)
    late = [reason.text for reason in chain if reason.code is DueCode.OVERDUE]
    since = "not rotated" if i.last_rotation_at else "not rotated since its creation"
    unread = read_for >= timedelta(days=unused_days)
    broken = {
        Rule.OVERDUE: (bool(late), "".join(late)),
        Rule.ROTATION_OVERDUE: (
            rotated_for >= timedelta(days=ROTATION_OVERDUE_DAYS),
            f"{since} for {rotated_for.days} days, {ROTATION_OVERDUE_DAYS} or more",
        ),
        Rule.STALE: (
            rotated_for >= timedelta(days=stale_days),
            f"{since} for {rotated_for.days} days, {stale_days} or more",
        ),
        Rule.NEVER_ROTATED: (i.last_rotation_at is None, "never rotated: how old it is in Azure is not known here"),
        Rule.AUTO_ROTATE_OFF: (not i.auto_rotate, "auto_rotate is off"),
        Rule.TOO_MANY_VERSIONS: (
            standing.versions > MANY_VERSIONS,
            f"{standing.versions} versions are kept, more than {MANY_VERSIONS}",
        ),
        Rule.DESCRIPTION_MISSING: (not i.description.strip(), "it has no description"),
        Rule.TAGS_MISSING: (not i.tags, "it has no tags"),
        Rule.UNUSED: (
            i.accessed_at is not None and unread,
            f"not read for {read_for.days} days, {unused_days} or more",
        ),
        Rule.NEVER_READ: (
            i.accessed_at is None and unread,
            f"never read, and {read_for.days} days old, {unused_days} or more",
        ),
    }
    return tuple(Neglect(rule=rule, text=text) for rule, (so, text) in broken.items() if so)
