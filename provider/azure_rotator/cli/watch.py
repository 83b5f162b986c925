"""``status`` and ``schedule``: how fresh items are, when they are due and why, and the load of the days to come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure_rotator.cli.flags import Flag, name_flag, scope_flag, whole_number
from azure_rotator.cli.invocation import Invocation, command
from azure_rotator.cli.tables import cell, table
from azure_rotator.domain.errors import Rejected, RotatorError
from azure_rotator.domain.model import RotatorType

if TYPE_CHECKING:
    from azure_rotator.engine.watch import Freshness, Load, Schedule, Status

Facts = dict[str, object]

_COUNT, _MOST_DATES = 12, 1_000
_DAYS, _MOST_DAYS = 90, 3_650
_STATUS = {
    "name": "NAME",
    "kind": "TYPE",
    "age": "AGE",
    "next": "NEXT RUN",
    "outcome": "LAST OUTCOME",
    "why": "WHY",
}
_DATES = {"due_at": "DUE", "wall_clock": "WALL CLOCK", "previous_until": "PREVIOUS UNTIL", "reasons": "WHY"}
_LOAD = {"date": "DAY", "total": "TOTAL", **{kind.value: kind.value.upper() for kind in RotatorType}}


@command(
    about="Show of every item how old its current credential is against its interval, when it is rotated next, how the "
    "last rotation ended and why it is due or not; the worst first. Azure is not asked.\n\n"
    "A + after the age says that the credential was adopted, and may be older in Azure. Overdue is what was not begun "
    "within the hour after it was due.",
    flags=[scope_flag()],
)
def status(call: Invocation, /, path: str | None) -> None:
    with call.engine() as engine:
        found = engine.watch.status(path=path)
    call.console.result(found.facts(), lambda: _status_shown(found))


@command(
    about="Show the next due dates of an item, as instants and on the wall clock of its time zone, and why it is due "
    "or not; or, without --name, how many rotations of which kind are due on each of the coming days (in UTC; what is "
    "overdue is due today). Every rotation is taken to run at its time. Azure is not asked.",
    flags=[
        name_flag("item"),
        Flag("--count", "count", metavar="NUMBER", about=f"with --name: how many due dates [default: {_COUNT}]"),
        Flag("--days", "days", metavar="NUMBER", about=f"without --name: how many days [default: {_DAYS}]"),
        scope_flag(),
    ],
)
def schedule(call: Invocation, /, name: str | None, count: str | None, days: str | None, path: str | None) -> None:
    beside = {"--days": days, "--path": path} if name is not None else {"--count": count}
    wrong = [flag for flag, given in beside.items() if given is not None]
    if wrong:
        message = f"{wrong[0]} does not go {'with' if name is not None else 'without'} --name"
        raise Rejected("ParameterInvalid", message, hint="--name with --count, or --days with --path")
    if name is not None:
        wanted = whole_number("--count", count, default=_COUNT, most=_MOST_DATES)
        with call.engine() as engine:
            found = engine.watch.schedule(name=name, count=wanted)
        call.console.result(found.facts(), lambda: _dates_shown(found))
        if found.problem is not None:
            raise found.problem
        return
    span = whole_number("--days", days, default=_DAYS, most=_MOST_DAYS)
    with call.engine() as engine:
        load = engine.watch.load(days=span, path=path)
    call.console.result(load.facts(), lambda: _load_shown(load))
    if load.problems:
        raise RotatorError(
            str(load.problems[0]["code"]),
            f"the due dates of {len(load.problems)} items cannot be told",
            hint="what is shown is the rest",
            details={"problems": list(load.problems)},
        )


def _status_shown(found: Status) -> str:
    counts = found.counts
    total = f"{counts.pop('items')} items"
    bad = [f"{number} {what}" for what, number in counts.items() if number]
    lines = table([_line(one) for one in found.items], _STATUS, empty="no Rotated Secrets")
    return f"{lines}\n{total}: {', '.join(bad) or 'all well'}" if found.items else lines


def _line(one: Freshness) -> Facts:
    item, facts = one.standing.item, one.facts()
    return {
        "name": item.name,
        "kind": item.rotator_type.value,
        "age": _age(one),
        "next": _next(one, facts),
        "outcome": _outcome(one),
        "why": one.chain[-1].code.value,
    }


def _age(one: Freshness) -> str:
    """``12d / 30d``; hours on the first day, since what is a day old may be due."""
    item, age = one.standing.item, one.age
    if age is None:
        return "no value"
    old = f"{age.days}d" if age.days else f"{age.seconds // 3_600}h"
    adopted = "+" if one.adopted else ""
    interval = f"{item.rotation_interval}d" if item.auto_rotate and item.rotation_interval else "-"
    return f"{old}{adopted} / {interval}{' expired' if one.expired else ''}"


def _next(one: Freshness, facts: Facts) -> str | None:
    item = one.standing.item
    hour = f" ({item.rotation_hour:02}:00 {item.time_zone})" if item.rotation_hour is not None else ""
    again = f"; goes on at {facts['next_attempt_at']}" if one.next_attempt_at else ""
    due = facts["next_rotation_date"]
    if due is None:
        return again.removeprefix("; ") or None
    return f"{'overdue since ' if one.overdue else ''}{due}{hour}{again}"


def _outcome(one: Freshness) -> str | None:
    item = one.standing.item
    code = f" ({item.error_code})" if item.error_code else ""
    if one.parked:
        return f"parked{code}"
    return f"{item.rotator_status.value}{code}" if item.rotator_status else None


def _dates_shown(found: Schedule) -> str:
    facts = found.facts()
    zone = found.standing.item.time_zone
    lines = [f"{found.standing.item.name}: {found.chain[-1].text}", ""]
    width = max(len(reason.code) for reason in found.chain)
    lines += [f"  {reason.code.value:<{width}}  {cell(reason.text)}" for reason in found.chain]
    dates = facts["dates"]
    if isinstance(dates, list) and dates:
        shown = [{**one, "wall_clock": _wall(one["wall_clock"], zone)} for one in dates]
        lines += ["", table(shown, _DATES, empty="")]
    return "\n".join(lines)


def _wall(clock: str | None, zone: str) -> str | None:
    """``2027-01-15 09:00 America/New_York`` of the instant's ISO form there; seconds only where there are any."""
    return None if clock is None else f"{clock[:19].replace('T', ' ').removesuffix(':00')} {zone}"


def _load_shown(found: Load) -> str:
    rows = found.facts()["load"]
    shown = rows if isinstance(rows, list) else []
    kinds = {name: header for name, header in _LOAD.items() if any(row[name] for row in shown)}
    lines = [table(shown, kinds, empty="nothing is due")]
    lines.append(
        f"{found.total} rotations of {found.items} items from {found.first} on in {found.count} days (UTC)"
        + (f", {found.overdue} of them overdue" if found.overdue else "")
    )
    return "\n".join(lines)
