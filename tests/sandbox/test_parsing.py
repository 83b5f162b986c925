"""Durations, periods, instants and the environment: small pure parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from azure_sandbox.clock import Clock, format_instant, parse_duration, parse_instant, parse_period
from azure_sandbox.environment import applied, variables


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("2h", 7200), ("1d12h", 129600), ("1.5h", 5400), ("90", 90), ("-15m", -900), (" 5s ", 5)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "2 hours", "2w", "1h-2m", "P1D", "abc"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("P90D", timedelta(days=90)),
        ("P2W", timedelta(days=14)),
        ("PT4H30M", timedelta(hours=4.5)),
        ("P4DT12H", timedelta(days=4.5)),
    ],
)
def test_periods(text, period):
    assert parse_period(text) == period


@pytest.mark.parametrize("text", ["", "P", "PT", "P1Y", "P3M", "90D", "P-1D"])
def test_what_is_no_period(text):
    with pytest.raises(ValueError, match="not an ISO 8601 period"):
        parse_period(text)


@pytest.mark.parametrize(
    "at",
    [datetime(2030, 1, 31, 12, tzinfo=UTC), datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)],
)
def test_instants_come_back_as_they_went(at):
    assert parse_instant(format_instant(at)) == at


def test_a_fraction_has_seven_digits():
    assert format_instant(datetime(2030, 1, 31, 12, 0, 0, 1000, tzinfo=UTC)) == "2030-01-31T12:00:00.0010000Z"


@pytest.mark.parametrize("text", ["2030-01-31T12:00:00", "2030-01-31", "2030-01-31Z", "0001-01-01T00:00:00+05:00"])
def test_what_is_no_instant(text):
    with pytest.raises(ValueError, match="instant"):
        parse_instant(text)


def test_the_clock_moves_only_on_request_and_tells_its_keeper():
    saved: list[float] = []
    clock = Clock(0, saved.append)
    clock.set(datetime(2031, 1, 1, tzinfo=UTC))
    assert abs(clock.now() - datetime(2031, 1, 1, tzinfo=UTC)) < timedelta(seconds=5)
    before = clock.offset_seconds
    clock.advance(timedelta(hours=-2))
    assert clock.offset_seconds == before - 7200
    assert saved[-1] == clock.offset_seconds


def test_the_environment_drops_what_would_lead_past_the_sandbox(tmp_path):
    base = {"PATH": "/bin", "ALL_PROXY": "x", "no_proxy": "graph.microsoft.com", "SSL_CERT_DIR": "y", "NO_PROXY": "*"}
    changed = applied(base, variables(proxy_port=1, ca_file=tmp_path / "ca.pem"))
    assert changed["PATH"] == "/bin"
    assert not {"ALL_PROXY", "SSL_CERT_DIR"} & set(changed)
    # gRPC reads the lower-case one only: Pulumi's engine and its plugins meet on loopback.
    assert changed["NO_PROXY"] == changed["no_proxy"] == "127.0.0.1,localhost"
    assert changed["HTTPS_PROXY"] == changed["https_proxy"] == "http://127.0.0.1:1"
    assert changed["SSL_CERT_FILE"] == changed["REQUESTS_CA_BUNDLE"] == str(tmp_path / "ca.pem")
