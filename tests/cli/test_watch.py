"""``status``, ``schedule`` and ``report`` at the terminal: tables for people, facts for programs, no call of Azure."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest

from tests.cli.conftest import Place, Terminal, offline_item, offline_target
from tests.cli.test_bad_input import refused
from tests.rows import row

NEW_YORK = "America/New_York"
DAY = timedelta(days=1)


def changed(terminal: Terminal, statement: str, *values: object) -> None:
    """What time and failures would have written."""
    with closing(sqlite3.connect(terminal.store)) as connection, connection:
        connection.execute(statement, values)


def days_ago(days: float) -> str:
    """An instant as the store has it."""
    return (datetime.now(UTC).replace(microsecond=0) - days * DAY).isoformat()


@pytest.fixture
def shelf(terminal: Terminal) -> Terminal:
    """Four items: well, overdue, failed and off."""
    terminal.told(*offline_target())
    for number, (name, *more) in enumerate(
        [
            ("prod/well", "--auto-rotate", "--rotation-interval", "30", "--tags", "x", "--description", "d"),
            ("prod/late", "--auto-rotate", "--rotation-interval", "30"),
            ("prod/sick", "--auto-rotate", "--rotation-interval", "30"),
            ("test/off",),
        ]
    ):
        terminal.told(*offline_item(name, *more, key=number), stdin="made-up")
    changed(terminal, "UPDATE items SET next_rotation_at = ? WHERE name = '/prod/late'", days_ago(5))
    changed(
        terminal,
        "UPDATE items SET rotator_status = 'RotationFailed', error_code = 'AzureThrottled', error_text = 'asked to "
        "wait' WHERE name = '/prod/sick'",
    )
    changed(
        terminal,
        "UPDATE versions SET created_at = ? WHERE item_id = (SELECT item_id FROM items WHERE name = '/prod/late')",
        days_ago(35),
    )
    return terminal


# --- the hour and its zone, everywhere


@row("AK-34", "AK-50")
@pytest.mark.parametrize(("month", "instant"), [(1, "14:00:00Z"), (7, "13:00:00Z")], ids=["January", "July"])
def test_an_hour_is_shown_with_its_zone_everywhere(stocked: Terminal, month: int, instant: str):
    today = datetime.now(UTC).date()
    due_on = next(day for year in (0, 1) if (day := date(today.year + year, month, 15)) > today + DAY)
    schedule = ["--rotation-interval", str((due_on - today).days), "--rotation-hour", "9", "--time-zone", NEW_YORK]
    stocked.told(*offline_item("s", "--auto-rotate", *schedule, key=1), stdin="made-up")
    told = stocked.told("describe-item", "-n", "s", "--json").json
    details = told["rotated_secret_details"]
    assert (details["rotation_hour"], details["time_zone"]) == (9, NEW_YORK)
    due = told["next_rotation_date"]
    # Created after 9 in New York, it is the day after.
    assert due in {f"{day}T{instant}" for day in (due_on, due_on + DAY)}
    dates = stocked.told("schedule", "-n", "s", "--count", "1", "--json").json
    assert (dates["rotation_hour"], dates["time_zone"], dates["next_rotation_date"]) == (9, NEW_YORK, due)
    assert [(one["due_at"], one["wall_clock"][10:19]) for one in dates["dates"]] == [(due, "T09:00:00")]
    (status,) = stocked.told("status", "--path", "/s", "--json").json["items"]
    assert (status["rotation_hour"], status["time_zone"], status["next_run"]) == (9, NEW_YORK, due)
    listed = stocked.told("list-items", "--filter", "/s", "--json").json["items"][0]["rotated_secret_details"]
    assert (listed["rotation_hour"], listed["time_zone"]) == (9, NEW_YORK)
    assert f"{due} (09:00 {NEW_YORK})" in stocked.told("status").out
    shown = stocked.told("schedule", "-n", "s").out
    assert f"at 09:00 in {NEW_YORK}" in shown
    assert f"{due[:10]} 09:00 {NEW_YORK}" in shown
    described = stocked.told("describe-item", "-n", "s").out.splitlines()
    assert [line.split() for line in described if line.startswith(("rotation_hour", "time_zone"))] == [
        ["rotation_hour:", "9"],
        ["time_zone:", NEW_YORK],
    ]


@row("AK-34")
def test_midnight_stays_an_hour_everywhere_and_none_is_none(stocked: Terminal):
    stocked.told(
        *offline_item("s", "--auto-rotate", "--rotation-interval", "30", "--rotation-hour", "0", key=1), stdin="made-up"
    )
    assert stocked.told("describe-item", "-n", "s", "--json").json["rotated_secret_details"]["rotation_hour"] == 0
    dates = stocked.told("schedule", "-n", "s", "--json").json
    assert (dates["rotation_hour"], dates["time_zone"]) == (0, "UTC")
    assert {one["due_at"][11:] for one in dates["dates"]} == {"00:00:00Z"}
    assert "at 00:00 in UTC" in stocked.told("schedule", "-n", "s").out
    assert "(00:00 UTC)" in stocked.told("status", "--path", "s").out
    stocked.told("rotated-secret", "update", "azure", "-n", "s", "--description", "else", "--quiet")
    assert stocked.told("status", "--path", "s", "--json").json["items"][0]["rotation_hour"] == 0
    stocked.told("rotated-secret", "update", "azure", "-n", "s", "--rotation-hour", "", "--quiet")
    after = stocked.told("schedule", "-n", "s", "--json").json
    assert (after["rotation_hour"], after["reasons"][0]["code"]) == (None, "interval")
    assert "hour" not in [reason["code"] for reason in after["reasons"]]


@row("AK-34", "AK-50")
@pytest.mark.parametrize(
    ("given", "code"),
    [
        (("--rotation-hour", "24"), "HourOutOfRange"),
        (("--rotation-hour", "-1"), "HourOutOfRange"),
        (("--rotation_hour", "9.5"), "HourOutOfRange"),
        (("--time-zone", "Europe/Nowhere"), "TimeZoneInvalid"),
        (("--tz", "+02:00"), "TimeZoneInvalid"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_no_hour_or_zone_has_no_side_effect(stocked: Terminal, given: tuple[str, ...], code: str):
    before = stocked.rows()
    words = offline_item("s", "--auto-rotate", "--rotation-interval", "30", *given, key=1)
    refused(stocked(*words, stdin="made-up"), code, 2)
    refused(stocked("rotated-secret", "update", "azure", "-n", "old", *given), code, 2)
    assert stocked.rows() == before


# --- schedule


def test_the_schedule_of_an_item_says_why(shelf: Terminal):
    said = shelf.told("schedule", "-n", "prod/late", "--count", "2")
    first, _, interval, chance, overdue, _, header, *dates = said.out.splitlines()
    assert first.startswith("/prod/late: it was due at ")
    assert [line.split()[0] for line in (interval, chance, overdue)] == ["interval", "next-chance", "overdue"]
    assert header.split() == ["DUE", "WALL", "CLOCK", "PREVIOUS", "UNTIL", "WHY"]
    assert [line.endswith(", overdue") for line in dates] == [True, False]
    assert said.err == ""


def test_what_rotates_never_by_itself_says_so(shelf: Terminal):
    assert shelf.told("schedule", "-n", "test/off", "--json").json["dates"] == []
    assert shelf.told("schedule", "-n", "test/off").out.splitlines() == [
        "/test/off: auto_rotate is off: it rotates only when asked to",
        "",
        "  auto-rotate-off  auto_rotate is off: it rotates only when asked to",
    ]


def test_the_load_of_the_days_to_come(shelf: Terminal):
    load = shelf.told("schedule", "--days", "31", "--json").json
    today = datetime.now(UTC).date()
    assert (load["items"], load["overdue"], load["total"]) == (3, 1, 4)
    assert [(day["date"], day["total"], day["api-key"]) for day in load["load"]] == [
        (str(today), 1, 1),
        (str(today + 30 * DAY), 3, 3),  # the late one, caught up with today, is due again then
    ]
    header, *days, total = shelf.told("schedule").out.splitlines()
    assert header.split() == ["DAY", "TOTAL", "API-KEY"]
    assert [line.split()[1:] for line in days] == [["1", "1"], ["3", "3"], ["3", "3"]]
    assert total == f"7 rotations of 3 items from {today} on in 90 days (UTC), 1 of them overdue"
    assert shelf.told("schedule", "--path", "test").out.splitlines()[0] == "nothing is due"


def test_a_zone_that_this_machine_does_not_know_hides_nothing_else(shelf: Terminal):
    changed(shelf, "UPDATE items SET time_zone = 'Europe/Newtown', rotation_hour = 9 WHERE name = '/prod/sick'")
    one = shelf("schedule", "-n", "prod/sick", "--json")
    assert (one.code, one.error["code"], len(one.json["dates"])) == (2, "TimeZoneInvalid", 1)
    assert one.json["reasons"][-2]["code"] == "zone-unknown"
    load = shelf("schedule", "--json")
    assert (load.code, load.json["total"]) == (2, 6)
    assert [problem["item_name"] for problem in load.json["problems"]] == ["/prod/sick"]
    assert "zone-unknown" in [
        reason["code"] for item in shelf.told("status", "--json").json["items"] for reason in item["reasons"]
    ]


# --- status


def test_every_item_is_told_the_worst_first(shelf: Terminal):
    header, *lines, total = shelf.told("status").out.splitlines()
    assert header.split() == ["NAME", "TYPE", "AGE", "NEXT", "RUN", "LAST", "OUTCOME", "WHY"]
    assert [line.split()[0] for line in lines] == ["/prod/late", "/prod/sick", "/prod/well", "/test/off"]
    late, sick, well, off = lines
    assert "35d+ / 30d" in late
    assert "overdue since" in late
    assert late.endswith("overdue")
    assert "RotationFailed (AzureThrottled)" in sick
    assert "0h+ / 30d" in well
    assert well.endswith("not-yet")
    assert "0h+ / -" in off
    assert off.endswith("auto-rotate-off")
    assert total == "4 items: 1 overdue, 1 failed"


def test_a_program_gets_every_fact(shelf: Terminal):
    told = shelf.told("status", "--json").json
    assert told["counts"] == {"items": 4, "expired": 0, "overdue": 1, "parked": 0, "failed": 1}
    late = told["items"][0]
    assert (late["item_name"], late["age_days"], late["overdue"]) == ("/prod/late", 35, True)
    assert [reason["code"] for reason in late["reasons"]] == ["interval", "next-chance", "overdue"]
    assert "made-up" not in str(told)


PATHS = {
    "/prod": ["/prod/late", "/prod/sick", "/prod/well"],
    "test/": ["/test/off"],
    "prod/well": ["/prod/well"],
    "/*/s*": ["/prod/sick"],
    "*/w?ll": ["/prod/well"],
    "/": ["/prod/late", "/prod/sick", "/prod/well", "/test/off"],
    "/pro": [],
}


def test_paths_are_items_folders_and_patterns(shelf: Terminal):
    found = {path: shelf.told("status", "--path", path, "--json").json["items"] for path in PATHS}
    assert {path: [one["item_name"] for one in items] for path, items in found.items()} == PATHS


def test_nothing_is_asked_of_azure_and_nothing_is_changed(place: Place):
    place.terminal.told(*place.item("--auto-rotate", "--rotation-interval", "30"))
    before, asked = place.terminal.rows(), len(place.control.journal(app=place.workload.app_id))
    for words in (("status",), ("schedule",), ("schedule", "-n", "s"), ("report", "rules")):
        said = place.terminal.told(*words)
        assert place.workload.secret not in said.out
    assert place.terminal.rows() == before
    assert len(place.control.journal(app=place.workload.app_id)) == asked
    assert "h / 30d" in place.terminal.told("status").out, "a minted one is as old as it is"


# --- report


@row("B-17")
def test_the_overdue_report_has_what_was_never_rotated_and_what_is_stale(shelf: Terminal):
    changed(shelf, "UPDATE items SET last_rotation_at = ? WHERE name = '/prod/well'", days_ago(89))
    changed(shelf, "UPDATE items SET last_rotation_at = ? WHERE name = '/prod/sick'", days_ago(91))
    found = shelf.told("report", "overdue", "--json").json
    names = [item["item_name"] for item in found["items"]]
    assert (found["days"], found["looked_at"]) == (90, 4)
    assert names == ["/prod/sick", "/prod/late", "/test/off"]
    assert (found["counts"]["stale"], found["counts"]["never-rotated"], found["counts"]["overdue"]) == (1, 2, 1)
    assert found["items"][0]["days_since_rotation"] == 91
    longer = shelf.told("report", "overdue", "--days", "92", "--json").json["items"]
    assert [item["item_name"] for item in longer] == ["/prod/late", "/test/off"]
    header, *lines, total = shelf.told("report", "overdue", "--path", "test").out.splitlines()
    assert header.split() == ["NAME", "TYPE", "DAYS", "LAST", "ROTATION", "FINDINGS"]
    assert [line.split()[:4] for line in lines] == [["/test/off", "api-key", "0", "-"]]
    assert total == "1 of 1 items"


@row("B-17")
def test_the_unused_report_has_what_nobody_reads(shelf: Terminal):
    assert shelf.told("report", "unused").out.splitlines() == ["nothing to report", "0 of 4 items"]
    changed(shelf, "UPDATE items SET created_at = ?", days_ago(100))
    changed(shelf, "UPDATE items SET accessed_at = ? WHERE name = '/prod/well'", days_ago(95))
    shelf.told("get-rotated-secret-value", "-n", "prod/sick")
    found = shelf.told("report", "unused", "--json").json["items"]
    assert [(item["item_name"], item["findings"][-1]["code"]) for item in found] == [
        ("/prod/late", "never-read"),
        ("/test/off", "never-read"),
        ("/prod/well", "unused"),
    ]
    assert shelf.told("report", "unused", "--days", "96", "--path", "prod/well", "--json").json["items"] == []


@row("B-27")
def test_the_rules_are_told_of_every_item_that_breaks_one(shelf: Terminal):
    found = {item["item_name"]: item for item in shelf.told("report", "rules", "--json").json["items"]}
    codes = {name: [one["code"] for one in item["findings"]] for name, item in found.items()}
    assert codes == {  # and not what is new and well
        "/prod/late": ["overdue", "never-rotated", "description-missing", "tags-missing"],
        "/prod/sick": ["never-rotated", "description-missing", "tags-missing"],
        "/test/off": ["never-rotated", "auto-rotate-off", "description-missing", "tags-missing"],
    }


# --- refusals


REFUSALS = {
    "schedule -n nowhere": ("ItemNotFound", 4),
    "schedule -n prod/wel": ("ItemNotFound", 4),
    "schedule -n /a//b": ("NameInvalid", 2),
    "schedule -n prod/well --days 9": ("ParameterInvalid", 2),
    "schedule -n prod/well --path /prod": ("ParameterInvalid", 2),
    "schedule --count 9": ("ParameterInvalid", 2),
    "schedule -n prod/well --count 0": ("ParameterInvalid", 2),
    "schedule --days 3651": ("ParameterInvalid", 2),
    "schedule --days 1.5": ("ParameterInvalid", 2),
    "status --path /a//b": ("NameInvalid", 2),
    "report overdue --days -1": ("ParameterInvalid", 2),
    "report unused --days x": ("ParameterInvalid", 2),
    "report rules --days 9": ("ParameterInvalid", 2),
}


def test_refusals(shelf: Terminal):
    for words, (code, exit_code) in REFUSALS.items():
        refused(shelf(*words.split()), code, exit_code)
