"""Which events a forwarder wants, when they are due, what a receiver may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from azure_rotator.domain.forwarding import (
    EVENT_TYPES,
    due_at,
    is_address,
    is_receiver,
    next_try_at,
    origin_of,
    shown_url,
    wants,
)
from azure_rotator.domain.model import RunnerType
from azure_rotator.domain.parameters import validate
from azure_rotator.engine import notices
from tests.store import samples

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
EVENT = {"event_type": "rotation-parked", "item_name": "/prod/billing/api", "target_name": "/azure/prod"}

WANTED: dict[str, tuple[dict[str, tuple[str, ...]], bool]] = {
    "everything": ({}, True),
    "its type": ({"event_types": ("rotation-parked",)}, True),
    "one of its types": ({"event_types": ("usage", "rotation-parked")}, True),
    "another type": ({"event_types": ("usage",)}, False),
    "its item": ({"items": ("/prod/billing/api",)}, True),
    "a folder above, at any depth": ({"items": ("/prod/*",)}, True),
    "an end": ({"items": ("*/api",)}, True),
    "another folder": ({"items": ("/dev/*",)}, False),
    "one of two folders": ({"items": ("/dev/*", "/prod/*")}, True),
    "other letters": ({"items": ("/PROD/*",)}, False),
    "a beginning": ({"items": ("/prod",)}, False),
    "its Target": ({"targets": ("/azure/*",)}, True),
    "another Target": ({"targets": ("/other/*",)}, False),
    "its item, or another Target": ({"items": ("/prod/*",), "targets": ("/other/*",)}, True),
    "its Target, or another item": ({"items": ("/dev/*",), "targets": ("/azure/prod",)}, True),
    "its place, and another type": ({"items": ("/prod/*",), "event_types": ("usage",)}, False),
}


@pytest.mark.parametrize(("given", "wanted"), WANTED.values(), ids=list(WANTED))
def test_an_event_is_wanted_by(given: dict[str, tuple[str, ...]], wanted: bool):
    forwarder = samples.forwarder(
        event_types=given.get("event_types", ()),
        items_event_source_locations=given.get("items", ()),
        targets_event_source_locations=given.get("targets", ()),
    )
    assert wants(forwarder, **EVENT) is wanted


def test_every_event_that_is_written_can_be_asked_for():
    written = {notices.SUCCESS, notices.FAILURE, notices.PARKED, notices.RECOVERED}
    assert written <= set(EVENT_TYPES)


PERIODS = {
    "immediately": (RunnerType.IMMEDIATE, None, 50, 50),
    "at the end of the first period": (RunnerType.PERIODIC, 3, 50, 180),
    "at its last minute": (RunnerType.PERIODIC, 3, 179, 180),
    "an end belongs to the next": (RunnerType.PERIODIC, 3, 180, 360),
    "the longest": (RunnerType.PERIODIC, 24, 1441, 2880),
    "of a clock that is behind": (RunnerType.PERIODIC, 1, -5, 0),
}


@pytest.mark.parametrize(("runner", "every", "minute", "due"), PERIODS.values(), ids=list(PERIODS))
def test_an_event_is_due(runner: RunnerType, every: int | None, minute: int, due: int):
    forwarder = samples.forwarder(runner_type=runner, every=every, created_at=NOW)
    assert due_at(forwarder, NOW + timedelta(minutes=minute)) == NOW + timedelta(minutes=due)
    renamed = replace(forwarder, name="/other", modified_at=NOW + timedelta(minutes=7))
    assert due_at(renamed, NOW + timedelta(minutes=minute)) == NOW + timedelta(minutes=due)


TRIES = {
    "the first failure": (0, 1, None, 1),
    "the fourth": (7, 4, None, 15),
    "a receiver that asks for time": (0, 1, 600.0, 10),
    "the last one is at the end": (23 * 60, 12, None, 24 * 60),
    "or when it was asked for": (23 * 60, 12, 7200.0, 25 * 60),
    "none after the end": (24 * 60, 13, None, None),
    "though it was asked for": (24 * 60, 13, 7200.0, None),
}


@pytest.mark.parametrize(("minute", "attempts", "asked", "following"), TRIES.values(), ids=list(TRIES))
def test_it_is_tried_again(minute: int, attempts: int, asked: float | None, following: int | None):
    at = next_try_at(
        NOW + timedelta(minutes=minute),
        first_attempt_at=NOW,
        attempts=attempts,
        jitter=0.0,
        retry_after_seconds=asked,
    )
    assert at == (None if following is None else NOW + timedelta(minutes=following))


URLS = {
    "https://hooks.example/x": True,
    "https://hooks.example:8443/x?sig=a": True,
    "https://[::1]/x": True,
    "http://hooks.example/x": False,
    "https://ann:pw@hooks.example/x": False,
    "https://hooks.example/x#y": False,
    "https:///x": False,
    "https://hooks.example:0/x": False,
    "https://hooks.example:99999/x": False,
    "https://hooks.example/a b": False,
    "https://hooks.example/a\r\nX: y": False,
    "https://höks.example/": False,
    "hooks.example": False,
    "https://[::1/x": False,
    "https://hooks.example/" + "x" * 2000: False,
}


@pytest.mark.parametrize(("url", "good"), URLS.items(), ids=[repr(url)[:40] for url in URLS])
def test_a_receivers_address(url: str, good: bool):
    assert is_receiver(url) is good


def test_an_address_is_shown_without_its_key():
    assert shown_url("https://hooks.example:1/a?code=secret") == "https://hooks.example:1/a?***"
    assert shown_url("https://hooks.example/a") == "https://hooks.example/a"
    assert origin_of("https://hooks.example:1/a?code=secret") == "https://hooks.example:1"


@pytest.mark.parametrize("good", ["ops@example.org", "a.b+c@mail.example.org", "x@localhost"])
def test_an_e_mail_address(good: str):
    assert is_address(good)


@pytest.mark.parametrize(
    "bad",
    ["", "ops", "@x", "a@", "a@b\nBcc: c@d", "a@b, c@d", "<a@b>", "a b@c", "ä@b", "a@b..c", "a@b\n", "a@" + "b" * 260],
    ids=repr,
)
def test_what_is_no_e_mail_address(bad: str):
    assert not is_address(bad)


# --- parameters: every failed rule at once, each with its code

HOOK = {"name": "ops", "url": "https://hooks.example/x", "signing_key": "literal:" + "k" * 16}
MAIL = {"name": "ops", "email_to": ["ops@example.org"]}
PEM = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----"

RULES: dict[str, tuple[Any, dict[str, Any], list[tuple[str, str]]]] = {
    "a webhook": ("webhook", {}, []),
    "a mail": ("email", {}, []),
    "nothing given": (
        "webhook",
        {"name": None, "url": None, "signing_key": None},
        [("name", "ParameterMissing"), ("url", "ParameterMissing"), ("signing_key", "ParameterMissing")],
    ),
    "nobody to write to": ("email", {"email_to": []}, [("email_to", "ParameterMissing")]),
    "no address": ("email", {"email_to": ["a@b", "x\nBcc: y@z"]}, [("email_to", "ParameterInvalid")]),
    "another type's": ("email", {"signing_key": "x"}, [("signing_key", "ParameterIrrelevant")]),
    "periodic": ("webhook", {"runner_type": "periodic", "every": "24"}, []),
    "periodic without hours": ("webhook", {"runner_type": "periodic"}, [("every", "ParameterMissing")]),
    "hours of nothing": ("webhook", {"every": 3}, [("every", "ParameterIrrelevant")]),
    "too many hours": ("email", {"runner_type": "periodic", "every": 25}, [("every", "IntervalOutOfRange")]),
    "no hour": ("email", {"runner_type": "periodic", "every": 0}, [("every", "IntervalOutOfRange")]),
    "no such runner": ("email", {"runner_type": "hourly"}, [("runner_type", "ParameterInvalid")]),
    "no such event": ("webhook", {"event_types": ["rotated"]}, [("event_types", "NotificationInvalid")]),
    "in clear": ("webhook", {"url": "http://hooks.example"}, [("url", "ParameterInvalid")]),
    "a short key": ("webhook", {"signing_key": "literal:short"}, [("signing_key", "ParameterInvalid")]),
    "a key elsewhere": ("webhook", {"signing_key": "env:KEY"}, []),
    "a user": ("webhook", {"auth_type": "user-pass", "username": "ann", "password": "x"}, []),
    "a user without anything": (
        "webhook",
        {"auth_type": "user-pass"},
        [("username", "ParameterMissing"), ("password", "ParameterMissing")],
    ),
    "a token": ("webhook", {"auth_type": "bearer-token", "auth_token": "x"}, []),
    "a token of two lines": (
        "webhook",
        {"auth_type": "bearer-token", "auth_token": "x\nY: z"},
        [("auth_token", "ParameterInvalid")],
    ),
    "a token and a password": (
        "webhook",
        {"auth_type": "bearer-token", "auth_token": "x", "password": "y"},
        [("password", "ParameterIrrelevant")],
    ),
    "a token for nothing": ("webhook", {"auth_token": "x"}, [("auth_token", "ParameterIrrelevant")]),
    "a certificate": ("webhook", {"auth_type": "certificate", "client_certificate": PEM}, []),
    "no certificate": (
        "webhook",
        {"auth_type": "certificate", "client_certificate": "x"},
        [("client_certificate", "ParameterInvalid")],
    ),
    "one behind a pass phrase": (
        "webhook",
        {"auth_type": "certificate", "client_certificate": PEM + "\nProc-Type: 4,ENCRYPTED"},
        [("client_certificate", "ParameterInvalid")],
    ),
}


@pytest.mark.parametrize(("subject", "changes", "expected"), RULES.values(), ids=list(RULES))
def test_parameters(subject: Any, changes: dict[str, Any], expected: list[tuple[str, str]]):
    _, problems = validate(subject, (HOOK if subject == "webhook" else MAIL) | changes)
    assert [(problem.property, problem.code) for problem in problems] == expected
    told = "".join(problem.message + problem.hint for problem in problems)
    assert "literal:" not in told
    assert "short" not in told


def test_globs_get_their_leading_slash():
    values, _ = validate("email", MAIL | {"items_event_source_locations": ["prod/*", "*/api", "/a"]})
    assert values["items_event_source_locations"] == ("/prod/*", "*/api", "/a")
