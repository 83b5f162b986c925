"""The rules about interval, hour, zone, phase and reminders: one table for command line, Pulumi and policy pack."""

from __future__ import annotations

import pytest

from azure_rotator.domain.parameters import validate
from tests.rows import row

ITEM: dict[str, object] = {
    "name": "/prod/billing",
    "target_name": "/azure/prod",
    "rotator_type": "api-key",
    "authentication_credentials": "use-target-creds",
    "app_id": "22222222-2222-4222-8222-222222222222",
    "auto_rotate": True,
    "rotation_interval": 30,
}


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        pytest.param("rotation_interval", 1, 1, id="the shortest interval", marks=row("AK-49")),
        pytest.param("rotation_interval", "365", 365, id="the longest interval", marks=row("AK-49")),
        pytest.param("rotation_hour", 0, 0, id="midnight stays an hour", marks=row("AK-34")),
        pytest.param("rotation_hour", "23", 23, id="the last hour", marks=row("AK-34")),
        pytest.param("rotation_hour", 9.0, 9, id="a whole float is an hour", marks=row("AK-34")),
        pytest.param("time_zone", "Europe/Berlin", "Europe/Berlin", id="a zone", marks=row("AK-50")),
        pytest.param("rotation_offset", 29, 29, id="the last phase"),
        pytest.param("rotation_offset", 0, 0, id="the first phase"),
        pytest.param("rotation_event_in", ["1", 5.0, 5], (5, 1), id="reminders in order", marks=row("AK-52")),
    ],
)
def test_what_is_accepted(name: str, given: object, stored: object):
    values, problems = validate("secret", {**ITEM, "rotation_hour": 12, name: given})
    assert not problems
    assert (values[name], type(values[name])) == (stored, type(stored))


def test_what_is_not_said():
    values, problems = validate("secret", ITEM)
    assert not problems
    assert (values["time_zone"], values["rotation_event_in"]) == ("UTC", ())
    assert not {"rotation_hour", "rotation_offset"} & values.keys()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        *(
            pytest.param(
                {"rotation_interval": wrong}, [("rotation_interval", "IntervalOutOfRange")], marks=row("AK-49")
            )
            for wrong in (0, 366, -1, 1.5, "x", "", True)
        ),
        *(
            pytest.param({"rotation_hour": wrong}, [("rotation_hour", "HourOutOfRange")], marks=row("AK-34"))
            for wrong in (24, -1, 9.5, "nine", "", True)
        ),
        *(
            pytest.param({"time_zone": wrong}, [("time_zone", "TimeZoneInvalid")], marks=row("AK-50"))
            for wrong in ("Europe/Nowhere", "CET+1", "", "utc+2")
        ),
        *(
            pytest.param(
                {"rotation_event_in": [wrong]}, [("rotation_event_in", "NotificationInvalid")], marks=row("AK-52")
            )
            for wrong in (0, -1, 1.5, "x", 30, 31)
        ),
        pytest.param({"rotation_event_in": 5}, [("rotation_event_in", "ParameterInvalid")], id="a number is no list"),
        pytest.param(
            {"auto_rotate": True, "rotation_interval": None},
            [("rotation_interval", "ParameterMissing")],
            id="automatic rotation without an interval",
            marks=row("AK-33"),
        ),
        *(
            pytest.param({"rotation_offset": wrong, "rotation_hour": 9}, [("rotation_offset", "ParameterInvalid")])
            for wrong in (-1, 30, 1.5, "x")
        ),
        pytest.param({"rotation_offset": 3}, [("rotation_hour", "ParameterMissing")], id="a phase without an hour"),
        pytest.param(
            {"rotation_offset": 3, "rotation_hour": 9, "rotation_interval": None, "auto_rotate": False},
            [("rotation_interval", "ParameterMissing")],
            id="a phase of no interval",
        ),
        pytest.param(
            {"rotation_interval": 0, "rotation_hour": 24, "time_zone": "x", "rotation_event_in": [0]},
            [
                ("rotation_interval", "IntervalOutOfRange"),
                ("rotation_hour", "HourOutOfRange"),
                ("time_zone", "TimeZoneInvalid"),
                ("rotation_event_in", "NotificationInvalid"),
            ],
            id="all of them at once",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, object], expected: list[tuple[str, str]]):
    given = {name: value for name, value in {**ITEM, **changes}.items() if value is not None}
    _, problems = validate("secret", given)
    assert [(p.property, p.code) for p in problems] == expected
    assert all(p.hint for p in problems if p.code != "ParameterInvalid")
