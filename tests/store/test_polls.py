"""What a scheduler asks at every poll is found by an index of few rows, however many items there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from azure_rotator.crypto.envelope import EnvelopeSealer
from azure_rotator.store.opening import create, open_store
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.idle.estate import fill
from tests.plugins.postgres import Postgres
from tests.store import release, samples
from tests.store.conftest import on_sqlite
from tests.store.inspection import StoreFile, outside_of
from tests.store.samples import DAY, NOW

Ask = Callable[[SqlUnitOfWork], object]


def _asked(store: SqlUnitOfWork, ask: Ask) -> list[tuple[str, Any]]:
    """The questions among what the store says to its database, with their values."""
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, values: Any, *___: object) -> None:
        asked.append((statement, values))

    event.listen(store._db.engine, "before_cursor_execute", note)
    ask(store)
    event.remove(store._db.engine, "before_cursor_execute", note)
    return [(statement, values) for statement, values in asked if "SELECT" in statement]


# The primary keys by PostgreSQL's names.
_by_an_index = pytest.mark.parametrize(
    ("ask", "indexes"),
    [
        pytest.param(lambda s: s.unplanned(NOW, 500), {"ix_items_unplanned"}, id="due items"),
        pytest.param(lambda s: s.due(NOW, 8), {"ix_rotations_due", "pk_permits"}, id="operations to run"),
        pytest.param(lambda s: s.postpone_paused(NOW), {"ix_permits_paused"}, id="pauses"),
        pytest.param(
            lambda s: s.reminders(NOW, 10), {"pk_items", "ix_items_unreminded", "ix_items_remind_at"}, id="reminders"
        ),
        pytest.param(lambda s: s.next_delivery_at(), {"ix_deliveries_due"}, id="deliveries"),
        pytest.param(lambda s: s.take_sweeps(NOW, again_at=NOW + DAY, limit=10), {"ix_permits_sweep_at"}, id="sweeps"),
        pytest.param(
            lambda s: s.to_tell(ends_until=NOW + 14 * DAY, neglected_since=None, limit=100),
            {"ix_versions_expiry", "uq_rotations_unpublished"},
            id="the look around",
        ),
        pytest.param(lambda s: s.list_items(app_id="app-1"), {"ix_items_app"}, id="items of an application"),
    ],
)


@on_sqlite
@_by_an_index
def test_by_an_index_of_few_rows(store: SqlUnitOfWork, file: StoreFile, ask: Ask, indexes: set[str]):
    samples.add_item(store, next_rotation_at=NOW + timedelta(days=30))
    plans = [
        str(detail)
        for statement, values in _asked(store, ask)
        for *_, detail in file.execute(f"EXPLAIN QUERY PLAN {statement}", *values)
    ]
    used = {name for plan in plans for name in re.findall(r"INDEX (\w+)", plan)}
    assert {re.sub(r"sqlite_autoindex_(\w+)_1", r"pk_\1", name) for name in used} == indexes
    assert not [
        plan for plan in plans if re.match(r"SCAN (items|rotations|versions|permits|events)\b(?!.*INDEX)", plan)
    ]


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[SqlUnitOfWork]:
    """A store in PostgreSQL with so many rows, counted by its planner, that reading all of them does not pay."""
    url = postgres.create()
    create(url, store_id=release.STORE_ID, key_check=release.KEY.check_value)
    fill(url, EnvelopeSealer(release.KEY), 3_000, now=NOW, acting=("tenant-1", "client-1", release.VALUE))
    outside = outside_of(url)
    outside.execute("UPDATE permits SET sweep_at = ?", NOW + DAY)
    outside.execute("UPDATE items SET reminded_for = next_rotation_at")
    with closing(open_store(url)) as store:
        store.insert_forwarder(samples.forwarder(forwarder_id="everything"), samples.line())
    outside.execute(
        "INSERT INTO deliveries (forwarder_id, event_id, next_attempt_at, attempts, delivered_at)"
        " SELECT 'everything', event_id, occurred_at, 1, occurred_at FROM events"
    )
    outside.execute("ANALYZE")
    with closing(open_store(url)) as store:
        yield store
    postgres.drop(url)


@_by_an_index
def test_by_an_index_of_few_rows_on_postgresql(filled: SqlUnitOfWork, ask: Ask, indexes: set[str]):
    asked = _asked(filled, ask)
    with filled._db.reading() as connection:
        plans = [
            line
            for statement, values in asked
            for (line,) in connection.exec_driver_sql(f"EXPLAIN {statement}", values)
        ]
    told = "\n".join(plans)
    assert set(re.findall(r"Scan (?:Backward )?(?:using|on) ((?:ix|pk|uq)_\w+)", told)) == indexes, told
    assert "Seq Scan" not in told, told
