"""The store's disk is full, from any write on: what was minted goes or is found, what is current stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.crash.estate import AT_ONCE, Estate, Lab, reconcile, rotate
from tests.crash.invariants import Violation
from tests.crash.operations import BY_NAME, Operation
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.full, pytest.mark.timeout(600)]

_FIT_AT_MOST = 50
OPERATIONS = [
    pytest.param(BY_NAME["create"], id="create"),
    pytest.param(BY_NAME["rotate, retire at once"], id="rotate"),
    pytest.param(BY_NAME["create by itself"], id="create by itself", marks=pytest.mark.full),
    pytest.param(BY_NAME["delete"], id="delete", marks=pytest.mark.full),
]


def _full_from(lab: Lab, operation: Operation, write: int) -> tuple[set[str | None], list[Violation]]:
    """What a run says that cannot write any more from its n-th write on, and what is wrong then and later."""
    estate = lab.estate(apart=operation.apart)
    estate.begin(*operation.start(estate))
    inspector = estate.inspector()
    answer = estate.run(*operation.calls(estate), full_from=write)
    found = inspector.violations(reconciled=False)
    estate.store.wait_for_leases()
    estate.run(reconcile()).ok()
    found += inspector.violations()
    return set(answer.codes), found


@pytest.mark.parametrize("operation", OPERATIONS)
@row("F19")
def test_from_any_write_on_the_disk_is_full(lab: Lab, operation: Operation) -> None:
    estate = lab.estate(apart=operation.apart)
    estate.begin(*operation.start(estate))
    writes = len(estate.run(*operation.calls(estate)).ok().commits)
    with ThreadPoolExecutor(3) as pool:
        came = list(pool.map(lambda write: _full_from(lab, operation, write), range(1, writes + 1)))
    assert [(write, found) for write, (_, found) in enumerate(came, 1) if found] == []
    # What had to be said was said; once everything is done, a lease that is not given back is nobody's trouble.
    assert {"StoreUnavailable"} in [codes for codes, _ in came]
    assert {code for codes, _ in came for code in codes} <= {None, "StoreUnavailable"}


@row("F19", "AK-28")
def test_a_secret_that_could_not_be_stored_is_removed_at_once(estate: Estate) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    current = {s.key_id for s in estate.lab.control.secrets(estate.app_id) if s.is_alive}
    order = estate.lab.estate()
    order.begin(order.create(revoke_after=AT_ONCE))
    write = list(order.run(rotate()).ok().commits).index("store_pending") + 1
    assert estate.run(rotate(), full_from=write).codes == ["StoreUnavailable"]
    secrets = estate.lab.control.secrets(estate.app_id)
    assert {s.key_id for s in secrets if s.is_alive} == current
    assert sum(s.origin == "minted" and not s.is_alive for s in secrets) == 1


def test_a_store_that_may_not_grow(estate: Estate) -> None:
    """The real thing: SQLite counts pages. Rotations fit into the last ones for a while, then one does not."""
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    with estate.store.raw() as connection:
        (size,) = connection.execute("PRAGMA page_count").fetchone()
    for _ in range(_FIT_AT_MOST):
        answer = estate.run(rotate(), max_pages=size)
        if answer.codes != [None]:
            break
    assert answer.codes == ["StoreUnavailable"]
    assert "disk is full" in answer.results[0].message
    assert inspector.violations(reconciled=False) == []
    estate.store.wait_for_leases()
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1
