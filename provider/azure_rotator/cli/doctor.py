"""``doctor``: what keeps, or will keep, rotations from working, each with its fix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from azure_rotator.cli.flags import Flag
from azure_rotator.cli.invocation import Invocation, command
from azure_rotator.cli.tables import cell
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.findings import Finding, Outcome


@command(
    about="Look at the store and its key, at this machine's clock, at every Target and at every item's object in "
    "Azure (login, grants, ownership, locks, room, policies, shared key access, directory roles), and say how to mend "
    "what is wrong. Reads only.\n\n"
    "Fails only for what has failed. A warning is something to know; what the acting identity may not read is unknown, "
    "and the least role may not read much.",
    flags=[Flag("--target", "target", metavar="PATH", about="only this Target and its items, and the store")],
)
def doctor(call: Invocation, /, target: str | None) -> None:
    from azure_rotator.upkeep import store_findings

    found = store_findings(call.settings())
    if not _failures(found):
        with call.engine() as engine:
            found += engine.doctor(target=target)
    counts = Counter(one.outcome.value for one in found)
    facts: dict[str, object] = {
        "healthy": not _failures(found),
        "counts": {outcome.value: counts[outcome.value] for outcome in Outcome},
        "findings": [one.facts() for one in found],
    }
    call.console.result(facts, lambda: _shown(found))
    failures = _failures(found)
    if failures:
        raise RotatorError(
            failures[0].code,
            f"{len(failures)} of {len(found)} checks failed",
            hint="each has its fix beside it; the exit code is the first one's",
            details={"failed": [{"subject": one.subject, "check": one.check, "code": one.code} for one in failures]},
        )


def _failures(found: Sequence[Finding]) -> list[Finding]:
    return [one for one in found if one.outcome is Outcome.FAILED]


def _shown(found: Sequence[Finding]) -> str:
    """Subject by subject: a line for each check, and under it the fix."""
    width = max(len(one.check) for one in found)
    lines = []
    for subject, checks in groupby(found, key=lambda one: one.subject):
        lines.append(cell(subject))
        for one in checks:
            told = cell(one.message) if one.message else ""
            code = f" ({one.code})" if one.code else ""
            lines.append(f"  {one.outcome.value:<7}  {one.check:<{width}}  {told}{code}".rstrip())
            if one.fix:
                lines.append(f"  {'':<7}  {'':<{width}}  fix: {cell(one.fix)}")
    counts = Counter(one.outcome for one in found)
    lines.append(", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome]))
    return "\n".join(lines)
