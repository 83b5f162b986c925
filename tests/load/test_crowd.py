"""A small crowd, two schedulers, one of them killed; and what the count would say of damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from azure_sandbox.testing import Sandbox
from tests.load.crowd import Report, live
from tests.plugins.postgres import Postgres
from tests.store.inspection import outside_of

ITEMS = 60


@pytest.mark.full
def test_every_item_is_rotated_once_and_damage_is_counted(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.create()
    with Sandbox() as sandbox:
        options: list[tuple[str, ...]] = [(), ()]
        crowd, report = live(
            sandbox, url, tmp_path, items=ITEMS, tenants=2, within=3, workers=2, options=options, lease_seconds=4
        )
        assert report.wrong == []
        assert (report.killed, len(report.start_delays), len(report.slot_delays)) == (1, ITEMS, ITEMS)

        outside = outside_of(url)
        held = outside.execute(
            "SELECT app_id, key_id, i.item_id FROM items i JOIN versions v USING (item_id) "
            "WHERE stage = 'current' ORDER BY i.name"
        )
        (app_id, key_id, _), (_, _, second), (_, _, third), *_ = ([str(value) for value in row] for row in held)
        sandbox.control.remove_secret(app_id, key_id)
        outside.execute("UPDATE versions SET stage = 'abandoned' WHERE stage = 'current' AND item_id = ?", second)
        # A value opens in its own version only: this one is lost, too.
        outside.execute("UPDATE versions SET number = number + 7 WHERE item_id = ?", third)
        damaged = Report(items=ITEMS, replicas=2)
        crowd.count(damaged, [])
    counted = (damaged.lost, damaged.missed, damaged.doubled, damaged.orphaned)
    assert counted == (2, 1, 1, 0), damaged.wrong
