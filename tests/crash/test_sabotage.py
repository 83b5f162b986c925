"""The engine broken on purpose by a port: the checker has to go red, or its green is worth nothing."""

from __future__ import annotations

import pytest

from tests.crash.estate import Estate, Lab, rotate
from tests.crash.invariants import Kind
from tests.crash.kills import kill_all, points, representative
from tests.crash.operations import BY_NAME
from tests.crash.sabotage import PORTS

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

# What it breaks, and what has to be reported. One that needs a crash to show is below.
SHOWN_BY_A_ROTATION = {
    "no proof": Kind.UNPROVEN,
    "remove all others": Kind.FOREIGN,
    "value logged": Kind.LEAKED,
}


def test_every_sabotage_has_its_test() -> None:
    assert PORTS.keys() == SHOWN_BY_A_ROTATION.keys() | {"no intent"}


@pytest.mark.parametrize("name", [None, *SHOWN_BY_A_ROTATION])
def test_a_broken_port_is_reported(estate: Estate, name: str | None) -> None:
    estate.begin(estate.create())
    inspector = estate.inspector()
    estate.run(rotate(), sabotage=[name] if name else []).ok()
    kinds = {violation.kind for violation in inspector.violations()}
    assert (SHOWN_BY_A_ROTATION[name] in kinds) if name else not kinds


@pytest.mark.full  # every day the campaigns show it
@pytest.mark.parametrize(("name", "kind"), [("no intent", Kind.ORPHANED), ("remove all others", Kind.FOREIGN)])
def test_a_crash_run_with_a_broken_port_is_red(lab: Lab, name: str, kind: Kind) -> None:
    operation = BY_NAME["rotate"]
    chosen = representative(points(lab, operation, thorough=False))
    kills = kill_all(lab, operation, [(point, "reconcile") for point in chosen], sabotage=[name])
    assert kind in {violation.kind for one in kills for violation in one.violations}
