"""What a scheduler asks at every poll is found by an index of few rows, however many items there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.conftest import on_sqlite
from tests.store.inspection import StoreFile
from tests.store.samples import DAY, NOW

Ask = Callable[[SqlUnitOfWork], object]


@on_sqlite
@pytest.mark.parametrize(
    ("ask", "indexes"),
    [
        pytest.param(lambda s: s.unplanned(NOW, 500), {"ix_items_unplanned"}, id="due items"),
        pytest.param(lambda s: s.due(NOW, 8), {"ix_rotations_due", "permits"}, id="operations to run"),
        pytest.param(lambda s: s.postpone_paused(NOW), {"ix_permits_paused"}, id="pauses"),
        pytest.param(
            lambda s: s.reminders(NOW, 500), {"items", "ix_items_unreminded", "ix_items_remind_at"}, id="reminders"
        ),
        pytest.param(lambda s: s.next_delivery_at(), {"ix_deliveries_due"}, id="deliveries"),
        pytest.param(lambda s: s.take_sweeps(NOW, again_at=NOW + DAY, limit=10), {"ix_permits_sweep_at"}, id="sweeps"),
        pytest.param(
            lambda s: s.to_tell(ends_until=NOW, neglected_since=None, limit=100),
            {"ix_versions_expiry", "uq_rotations_unpublished"},
            id="the look around",
        ),
        pytest.param(lambda s: s.list_items(app_id="app-1"), {"ix_items_app"}, id="items of an application"),
    ],
)
def test_by_an_index_of_few_rows(store: SqlUnitOfWork, file: StoreFile, ask: Ask, indexes: set[str]):
    samples.add_item(store, next_rotation_at=NOW + timedelta(days=30))
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, values: Any, *___: object) -> None:
        asked.append((statement, values))

    event.listen(store._db.engine, "before_cursor_execute", note)
    ask(store)
    plans = [
        str(detail)
        for statement, values in asked
        if "SELECT" in statement
        for *_, detail in file.execute(f"EXPLAIN QUERY PLAN {statement}", *values)
    ]
    used = {name for plan in plans for name in re.findall(r"INDEX (\w+)", plan)}
    assert {re.sub(r"sqlite_autoindex_(\w+)_1", r"\1", name) for name in used} == indexes
    assert not [
        plan for plan in plans if re.match(r"SCAN (items|rotations|versions|permits|events)\b(?!.*INDEX)", plan)
    ]
