"""Commands that look after the whole store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from azure_rotator.cli.flags import Flag, name_flag, truth
from azure_rotator.cli.invocation import Invocation, command
from azure_rotator.cli.tables import table
from azure_rotator.domain.errors import Problem, Rejected, RotatorError
from azure_rotator.domain.instants import iso
from azure_rotator.domain.schedule import duration_seconds

if TYPE_CHECKING:
    from azure_rotator.engine.views import Reconciliation


@command(
    about="Go on with every operation that is due, then remove the client secrets that carry this store's stamp and "
    "that no version holds. What anybody else made is never touched.",
    flags=[
        Flag("--target", "target", metavar="PATH", about="only items of this Target"),
        Flag("--dry-run", "dry_run", switch=True, about="only list what would be done"),
    ],
)
def reconcile(call: Invocation, /, target: str | None, dry_run: str | None) -> None:
    only_list = truth("--dry-run", dry_run)
    with call.engine() as engine:
        done = engine.reconcile(target=target, dry_run=only_list)
    call.console.result(done.facts(), lambda: _reconciled(done))
    if done.problems:
        raise _failed(done)


@command(
    about="List the lines of the audit log, oldest first.",
    flags=[
        name_flag("Target or item"),
        Flag(
            "--since",
            "since",
            metavar="WHEN",
            about="from an instant (ISO 8601, UTC unless it says otherwise) on, or the last e.g. 90m, 12h, 7d",
        ),
        Flag("--action", "action", metavar="ACTION", about="only this action, e.g. rotate_item"),
    ],
)
def audit_list(call: Invocation, /, name: str | None, since: str | None, action: str | None) -> None:

    start = _instant(since)
    with call.engine() as engine:
        lines = engine.audit(name=name, since=start, action=action)
    rows: list[dict[str, object]] = [
        {
            "time": iso(line.at),
            "who": line.who,
            "action": line.action,
            "path": line.path,
            "result": line.result,
            "details": line.details,
        }
        for line in lines
    ]
    columns = {name: name.upper() for name in ("time", "who", "action", "path", "result", "details")}
    call.console.result({"lines": rows}, lambda: table(rows, columns, empty="no lines"))


def _reconciled(done: Reconciliation) -> str:
    operations = table(
        done.rotations,
        {
            "path": "PATH",
            "trigger": "OPERATION",
            "rotation_id": "ID",
            "state": "WAS",
            "state_after": "IS",
            "next_attempt_at": "NEXT STEP",
        },
        empty="no unfinished operations",
    )
    found = "would remove" if done.dry_run else "removed"
    orphans = [f"{found} {o.key_id} ({o.display_name}) of application {o.app_id}" for o in done.orphans]
    took = "would take over" if done.dry_run else "took over"
    drifted = [f"{took} {d['key_id']} of {d['path']}: it was regenerated outside" for d in done.drifted]
    return "\n".join([operations, *(orphans or ["no orphans"]), *drifted])


def _failed(done: Reconciliation) -> RotatorError:
    """What could not be looked at, as one error with a line each; the result is told by then."""
    problems = [
        Problem(
            property=str(p["where"]), code=str(p["code"]), message=f"{p['where']}: {p['message']}", hint=str(p["hint"])
        )
        for p in done.problems
    ]
    return RotatorError(
        problems[0].code,
        f"{len(problems)} places could not be reconciled",
        hint="the others were",
        details={
            "problems": [{"where": p.property, "code": p.code, "message": p.message, "hint": p.hint} for p in problems]
        },
    )


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    seconds = duration_seconds(text)
    if seconds is not None:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Rejected(
            "ParameterInvalid",
            "--since is neither an instant nor a duration",
            hint="e.g. 2030-01-31, 2030-01-31T12:00:00Z, or 12h for the last twelve hours",
        ) from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
