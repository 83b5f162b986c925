"""Three years of a hundred items in twelve zones; ``make soak`` does the same with two thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rows import row
from tests.soak.years import Years


@row("F55", "F58", "F60", "AK-51")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
def test_every_due_date_of_three_years_is_served_once_or_caught_up_once(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
):
    url = f"sqlite:///{tmp_path}/data/store.db"
    if database == "postgresql":
        url = request.getfixturevalue("postgres").create()
    report = Years(url, items=100, years=3, seed=1, intervals=(180, 365)).live()
    print(report)
    assert report.wrong == []
    assert report.rotations > 300
    assert report.kills > 20
    assert report.downtimes > 5
    assert report.caught_up > 5
