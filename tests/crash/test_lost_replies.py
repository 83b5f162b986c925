"""A write that was done and not answered, or answered with an error, in every step, with reads and logins that lag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.crash.estate import AT_ONCE, ITEM, Estate, delete, reconcile, rotate
from tests.crash.jobs import Call
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.full]

LOST: Mapping[str, Mapping[str, Any]] = {
    "cut": {"drop": True},
    "500": {"preset": "internal-500"},
    "503": {"preset": "unavailable-503"},
    "504": {"preset": "gateway-timeout-504"},
    "409, concurrency": {"preset": "concurrency-409"},
    "503, concurrency": {"preset": "concurrency-503"},
    "502, a page": {"preset": "html-502"},
}
NO_VALUE: Mapping[str, Mapping[str, Any]] = {
    "half a body": {"preset": "truncated-json"},
    "no secretText": {"preset": "no-secret-text"},
    "200, a page": {"preset": "html-200"},
}
LAGS: Mapping[str, Mapping[str, Any]] = {
    "at once": {},
    "reads lag": {"read_lag_seconds": 20},
    "the next reads miss it": {"read_lag_reads": 2},
    "front ends lag": {"visible_after": [1, 18]},
    "removals lag": {"removed_after": [0, 40], "remove_lag_seconds": 10},
    "everything lags": {
        "read_lag_seconds": 8,
        "visible_after": [2, 25, 4],
        "removed_after": [0, 30],
        "remove_lag_seconds": 15,
    },
}


def _seldom(table: Mapping[str, Any], *always: str) -> list[Any]:
    """The rows of a table as parameters; all but some run in the full tests only."""
    return [
        pytest.param(value, id=name, marks=[] if name in always else [pytest.mark.full])
        for name, value in table.items()
    ]


def _lose(estate: Estate, operation: str, how: Mapping[str, Any], *, when: str = "after", times: int = 1) -> None:
    estate.lab.control.add_fault(operation, app=estate.app_id, **{"when": when, "times": times, **how})


def _begin_to_lag(estate: Estate, lag: Mapping[str, Any]) -> None:
    """What there is so far has long propagated."""
    estate.lab.control.advance("2m")
    estate.lab.control.set_behaviour(estate.app_id, **lag)


def _later(estate: Estate) -> None:
    """When everything has propagated and the retries of the quiet steps are due, somebody reconciles."""
    estate.lab.control.advance("10m")
    problems = estate.run(reconcile()).ok().results[0].facts["problems"]
    assert problems == []


# --- addPassword ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", _seldom({"once": 1, "twice": 2}, "once"))
@pytest.mark.parametrize("how", _seldom({**LOST, **NO_VALUE}, "cut", "503", "504", "no secretText"))
@row("F04")
def test_the_reply_of_a_mint_is_lost(estate: Estate, how: Mapping[str, Any], times: int) -> None:
    estate.begin(estate.create())
    inspector = estate.inspector()
    _lose(estate, "graph.addPassword", how, times=times)
    answer = estate.run(rotate()).ok()
    assert answer.results[0].facts["version"] == 2
    assert inspector.violations() == []
    assert len(estate.minted()) == 2


@pytest.mark.parametrize("lag", _seldom(LAGS, "everything lags"))
@pytest.mark.parametrize("calls", ["create", "create by itself", "rotate"])
@row("F03", "F04")
def test_the_reply_of_a_mint_is_lost_while_azure_lags(estate: Estate, lag: Mapping[str, Any], calls: str) -> None:
    start: Mapping[str, Sequence[Call]] = {"rotate": [estate.create()]}
    then: Mapping[str, Call] = {
        "create": estate.create(),
        "create by itself": estate.create_by_itself(),
        "rotate": rotate(),
    }
    estate.begin(*start.get(calls, ()))
    inspector = estate.inspector()
    _begin_to_lag(estate, lag)
    _lose(estate, "graph.addPassword", LOST["cut"])
    estate.run(then[calls]).ok()
    assert inspector.violations(reconciled=False, late=True, log_in=False) == []
    _later(estate)
    assert inspector.violations() == []
    assert len(estate.minted()) == len(start.get(calls, ())) + 1


@pytest.mark.parametrize("how", _seldom(LOST, "503, concurrency"))
def test_the_mint_fails_before_it_is_done(estate: Estate, how: Mapping[str, Any]) -> None:
    estate.begin(estate.create())
    inspector = estate.inspector()
    _lose(estate, "graph.addPassword", how, when="before", times=2)
    estate.run(rotate()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 2


# --- removePassword ---------------------------------------------------------------------------------------------------

_PHASES = pytest.mark.parametrize("when", ["before", "after"])
_LAGS = pytest.mark.parametrize("lag", _seldom(LAGS, "everything lags"))
_LOST = pytest.mark.parametrize("how", _seldom(LOST, "cut", "503"))


@_PHASES
@_LOST
def test_the_reply_of_a_retirement_is_lost(estate: Estate, how: Mapping[str, Any], when: str) -> None:
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    _lose(estate, "graph.removePassword", how, when=when)
    status = estate.run(rotate()).ok().results[0].facts["status"]
    assert status == "RotationPartialSucceeded"
    assert inspector.violations(reconciled=False) == []
    _later(estate)
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


@_PHASES
@_LAGS
@pytest.mark.parametrize("itself", [False, True], ids=["target", "itself"])
def test_the_reply_of_a_retirement_is_lost_while_azure_lags(
    estate: Estate, lag: Mapping[str, Any], when: str, itself: bool
) -> None:
    create = estate.create_by_itself if itself else estate.create
    estate.begin(create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    _begin_to_lag(estate, lag)
    _lose(estate, "graph.removePassword", LOST["504"], when=when)
    estate.run(rotate()).ok()
    _later(estate)
    assert inspector.violations() == []
    assert len(estate.minted()) == 1


@_PHASES
@_LAGS
@pytest.mark.parametrize("skip", [0, 1], ids=["previous", "current"])
@pytest.mark.parametrize("itself", [False, True], ids=["target", "itself"])
def test_the_reply_of_a_removal_in_a_delete_is_lost(
    estate: Estate, lag: Mapping[str, Any], when: str, skip: int, itself: bool
) -> None:
    create = estate.create_by_itself if itself else estate.create
    estate.begin(create(), rotate())
    inspector = estate.inspector()
    _begin_to_lag(estate, lag)
    _lose(estate, "graph.removePassword", {**LOST["503"], "skip": skip}, when=when)
    estate.run(delete()).ok()
    _later(estate)
    assert inspector.violations() == []
    assert estate.minted() == []


@_PHASES
@_LAGS
def test_the_reply_of_the_removal_in_an_undone_create_is_lost(
    estate: Estate, lag: Mapping[str, Any], when: str
) -> None:
    estate.begin()
    inspector = estate.inspector()
    _begin_to_lag(estate, lag)
    estate.lab.control.add_fault("login.token", app=estate.app_id, preset="wrong-secret", times=None)
    _lose(estate, "graph.removePassword", LOST["cut"], when=when)
    answer = estate.run(estate.create())
    assert answer.codes == ["VerificationTimeout"]
    _later(estate)
    assert inspector.violations() == []
    assert estate.minted() == []
    assert estate.run(Call(use="secrets.describe", options={"name": ITEM})).codes == ["ItemNotFound"]


@_PHASES
@_LAGS
def test_the_reply_of_an_orphans_removal_is_lost(estate: Estate, lag: Mapping[str, Any], when: str) -> None:
    """First the mint's reply, then that of the removal of what it left."""
    estate.begin(estate.create())
    inspector = estate.inspector()
    _begin_to_lag(estate, lag)
    _lose(estate, "graph.addPassword", LOST["503"])
    _lose(estate, "graph.removePassword", LOST["503"], when=when)
    estate.run(rotate()).ok()
    _later(estate)
    assert inspector.violations() == []
    assert len(estate.minted()) == 2


# --- already gone -----------------------------------------------------------------------------------------------------


def _remove_by_hand(estate: Estate, stage: str) -> None:
    with estate.store.raw() as connection:
        (key_id,) = connection.execute("SELECT key_id FROM versions WHERE stage = ?", (stage,)).fetchone()
    estate.lab.control.remove_secret(estate.app_id, key_id)


@row("F31")
def test_a_previous_secret_that_somebody_removed_is_retired(estate: Estate) -> None:
    estate.begin(estate.create(), rotate())
    _remove_by_hand(estate, "previous")
    inspector = estate.inspector()
    estate.lab.control.advance("25h")
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    with estate.store.raw() as connection:
        assert connection.execute("SELECT stage FROM versions ORDER BY number").fetchall() == [
            ("revoked",),
            ("current",),
        ]


@row("F31")
def test_a_current_secret_that_somebody_removed_does_not_keep_the_item_from_being_deleted(estate: Estate) -> None:
    estate.begin(estate.create())
    _remove_by_hand(estate, "current")
    inspector = estate.inspector()
    estate.run(delete(), reconcile()).ok()
    assert inspector.violations() == []
    assert estate.minted() == []
