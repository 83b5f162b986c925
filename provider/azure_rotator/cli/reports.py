"""``report``: what was not rotated, what was not read, and every rule at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure_rotator.cli.flags import Flag, scope_flag, whole_number
from azure_rotator.cli.invocation import Invocation, command
from azure_rotator.cli.tables import table
from azure_rotator.domain.neglect import MANY_VERSIONS, ROTATION_OVERDUE_DAYS, STALE_DAYS, UNUSED_DAYS

if TYPE_CHECKING:
    from azure_rotator.engine.reports import Report

_MOST_DAYS = 3_650
_ROTATED = {"days_since_rotation": "DAYS", "last_rotation_date": "LAST ROTATION"}
_READ = {"days_since_read": "DAYS", "access_date": "LAST READ"}
_RULES = {"days_since_rotation": "NOT ROTATED", "days_since_read": "NOT READ", "versions": "VERSIONS"}


def _days_flag(what: str) -> Flag:
    return Flag("--days", "days", metavar="NUMBER", about=f"not {what} for so many days [default: {STALE_DAYS}]")


@command(
    about="List the items that were never rotated, that were not rotated for some time, and that were not when they "
    "were due; the longest first. Beside each stands what else is neglected about it, as `report rules` tells it. It "
    "ends with 0, whatever it finds.",
    flags=[_days_flag("rotated"), scope_flag()],
)
def overdue(call: Invocation, /, days: str | None, path: str | None) -> None:
    span = whole_number("--days", days, default=STALE_DAYS, most=_MOST_DAYS)
    with call.engine() as engine:
        found = engine.reports.overdue(days=span, path=path)
    _tell(call, found, _ROTATED)


@command(
    about="List the items that nobody has read for some time, and those that are as old and nobody has ever read; the "
    "longest first. It ends with 0, whatever it finds.",
    flags=[_days_flag("read"), scope_flag()],
)
def unused(call: Invocation, /, days: str | None, path: str | None) -> None:
    span = whole_number("--days", days, default=STALE_DAYS, most=_MOST_DAYS)
    with call.engine() as engine:
        found = engine.reports.unused(days=span, path=path)
    _tell(call, found, _READ)


@command(
    about="List every item that breaks a rule: overdue, not rotated within the hour after it was due; "
    f"rotation-overdue: not rotated for {ROTATION_OVERDUE_DAYS} days; stale: for {STALE_DAYS}; auto-rotate-off; "
    f"too-many-versions: more than {MANY_VERSIONS}; description-missing; tags-missing; unused and never-read: not read "
    f"for {UNUSED_DAYS} days. It ends with 0, whatever it finds.",
    flags=[scope_flag()],
)
def rules(call: Invocation, /, path: str | None) -> None:
    with call.engine() as engine:
        found = engine.reports.rules(path=path)
    _tell(call, found, _RULES)


def _tell(call: Invocation, found: Report, columns: dict[str, str]) -> None:
    every = {"item_name": "NAME", "rotator_type": "TYPE", **columns, "codes": "FINDINGS"}
    call.console.result(found.facts(), lambda: _shown(found, every))


def _shown(found: Report, columns: dict[str, str]) -> str:
    rows = [{**entry.facts(found.now), "codes": [one.rule.value for one in entry.neglects]} for entry in found.entries]
    return f"{table(rows, columns, empty='nothing to report')}\n{len(rows)} of {found.looked_at} items"
