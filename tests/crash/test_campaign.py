"""Campaigns of kills: zeros on both databases, and red as soon as the engine is broken on purpose."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest

from azure_rotator.config import PROCRASTINATE, ROWS
from tests.crash.campaign import Hit, Outcome
from tests.crash.estate import AT_ONCE, Estate, Lab, reconcile, rotate
from tests.crash.invariants import Kind, Violation
from tests.crash.kills import Commit, Instant, Request
from tests.crash.older import made_older
from tests.crash.plans import ADD, AIMED_AT, KINDS, ROTATE, TAKEOVERS, Plan, plan
from tests.crash.run import run
from tests.crash.tally import STATES, Tally, told
from tests.rows import row

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

KILLS, EVERYDAY_KILLS = 60, 20
EVERYDAY_SEED = 1


@row("AK-23", "F05")
@pytest.mark.parametrize(
    ("database", "dispatchers", "kills"),
    [
        pytest.param("sqlite", (ROWS,), EVERYDAY_KILLS, id="sqlite"),
        pytest.param("postgresql", (ROWS,), KILLS, marks=pytest.mark.full, id="postgresql"),
        pytest.param("postgresql", (PROCRASTINATE,), KILLS, marks=pytest.mark.full, id="procrastinate"),
        pytest.param("postgresql", (PROCRASTINATE, ROWS), KILLS, marks=pytest.mark.full, id="both"),
    ],
)
def test_killed_wherever_it_may_be_nothing_is_lost_orphaned_touched_or_stuck(
    lab: Lab, database: str, dispatchers: Sequence[str], kills: int
) -> None:
    tally = run(lab, kills=kills, seed=EVERYDAY_SEED, database=database, dispatchers=dispatchers)
    print("\n".join(tally.lines()))
    assert tally.kills >= kills
    assert tally.passed, "\n".join(map(told, tally.red))


# Without its intent a secret is orphaned.
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("no intent", Kind.ORPHANED, id="no intent"),
        pytest.param("remove all others", Kind.FOREIGN, id="remove all others", marks=pytest.mark.full),
    ],
)
def test_a_campaign_with_a_broken_port_is_red(lab: Lab, name: str, kind: Kind) -> None:
    """Where the port matters: what a random instant meets differs from run to run, and most kills are elsewhere."""
    seed = next(seed for seed in itertools.count(EVERYDAY_SEED) if _dies_first_in_a_mint(plan(seed)))
    tally = run(lab, kills=KILLS, seed=seed, database="sqlite", sabotage=[name], until_red=True, at_once=2)
    assert not tally.passed
    assert tally.broken[kind.value]


def _dies_first_in_a_mint(one: Plan) -> bool:
    """Right after Entra made the secret of a rotation, the first that is killed in this life, beside a foreign one."""
    act = next(act for act in one.acts if act.blows)
    inside = Request(number=1, operation=ADD, when="after")
    return one.kind == "api-key" and act.deed is ROTATE and act.blows[0] == inside and not (act.faults or one.lag)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_newer_version_finds_what_an_older_one_left(lab: Lab, database: str) -> None:
    """The store of a killed rotation, as 0.1.0 would have left it, is upgraded and the rotation comes to its end."""
    estate: Estate = lab.estate(database=database)
    estate.begin(estate.create(revoke_after=AT_ONCE))
    inspector = estate.inspector()
    estate.start(rotate(), kill_after="store_pending").code()
    estate.store.wait_for_leases()
    made_older(estate.store, "0001")
    if database == "sqlite":
        assert estate.store.query("SELECT version_num FROM alembic_version") == [("0001",)]
        assert not estate.store.query("SELECT 1 FROM sqlite_master WHERE name = 'folders'")
    estate.run(reconcile()).ok()
    assert inspector.violations() == []
    assert len(estate.minted()) == 1
    estate.store.remove()


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_seed_is_a_plan() -> None:
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)
    assert str(plan(7)).startswith("seed 7: ")


def test_plans_have_every_kind_takeover_call_and_kind_of_point() -> None:
    plans = [plan(seed) for seed in range(300)]
    acts = [act for one in plans for act in one.acts]
    blows = [blow for act in acts for blow in act.blows]
    assert {one.kind for one in plans} == KINDS.keys()
    assert {takeover for act in acts for takeover in act.takeovers} == set(TAKEOVERS)
    assert {type(blow) for blow in blows} == {Commit, Request, Instant}
    assert {blow.operation for blow in blows if isinstance(blow, Request)} > set(AIMED_AT)
    assert {fault.name for act in acts for fault in act.faults}
    assert {act.scheduled for act in acts if act.deed.schedulable} == {True, False}


# --- what is told -----------------------------------------------------------------------------------------------------


def _outcome(hits: Counter[str], *violations: Violation) -> Outcome:
    made = [
        Hit(blow=Request(number=1, operation=at, when="after"), at=at, state=state, trigger="manual")
        for at, state in zip(hits.elements(), _round(STATES), strict=False)
    ]
    return Outcome(plan=plan(1), hits=made, violations=list(violations))


def _round(words: tuple[str, ...]) -> list[str]:
    return [words[number % len(words)].removeprefix("delete: ") for number in range(9999)]


def _tally(hits: dict[str, int], *violations: Violation) -> Tally:
    tally = Tally("sqlite", sorted(hits))
    tally.add(_outcome(Counter(hits), *violations))
    return tally


def test_the_last_line_counts_what_must_be_zero() -> None:
    lines = list(_tally({"login.token": 30}).lines())
    assert lines[-2:] == [
        "sqlite, seeds 1-1",
        "campaigns 1, kills 30, lost 0, orphaned 0, foreign touched 0, stuck 0",
    ]


@pytest.mark.parametrize("kind", Kind)
def test_any_broken_promise_is_red(kind: Kind) -> None:
    tally = _tally({"login.token": 30}, Violation(kind=kind, what="made up"))
    assert not tally.passed
    assert f"{kind.value}: 1" in list(tally.lines()) or f"{kind.value} 1" in list(tally.lines())[-1]


def test_a_state_or_call_that_hardly_any_kill_met_is_red_when_there_were_enough() -> None:
    assert _tally({"login.token": 99, "graph.addPassword": 0}).passed
    assert "graph.addPassword" in _tally({"login.token": 2000, "graph.addPassword": 19}).rare
    assert "graph.addPassword" not in _tally({"login.token": 2000, "graph.addPassword": 21}).rare
