"""How long a failed step and a refused proof wait."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.domain.backoff import MAX_ATTEMPTS, listed_delay, lone_proof_delay, pause, proof_delay, retry_delay
from tests.unit.domain.steady import steady


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [(1, 1), (2, 2), (3, 4), (4, 8), (8, 128), (9, 256), (10, 360), (11, 360), (24, 360), (10_000, 360)],
)
def test_each_failure_doubles_the_wait_up_to_six_hours(attempts: int, minutes: int):
    assert retry_delay(attempts, jitter=0.0, retry_after_seconds=None) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("attempts", "retry_after", "seconds"),
    [
        pytest.param(1, 120, 120, id="what the service asks for is obeyed"),
        pytest.param(1, 30, 60, id="a shorter wish does not hurry us"),
        pytest.param(1, 120.2, 121, id="instants are whole seconds, so a fraction counts as one"),
        pytest.param(10, 7 * 3600, 7 * 3600, id="beyond six hours, too"),
        pytest.param(1, 0, 60, id="no pause asked for"),
        pytest.param(1, None, 60, id="nothing asked for"),
    ],
)
def test_a_pause_that_the_service_asks_for_is_never_undercut(attempts: int, retry_after: float | None, seconds: int):
    assert retry_delay(attempts, jitter=0.0, retry_after_seconds=retry_after) == timedelta(seconds=seconds)


@steady
@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 10_000))
def test_jitter_adds_at_most_a_tenth_and_never_goes_beyond_six_hours(
    attempts: int, jitter: float, retry_after: float | None
):
    plain = retry_delay(attempts, jitter=0.0, retry_after_seconds=None)
    delay = retry_delay(attempts, jitter=jitter, retry_after_seconds=retry_after)
    assert delay >= plain
    assert delay >= timedelta(seconds=retry_after or 0)
    if not retry_after:
        assert delay <= min(plain * 1.1, timedelta(hours=6))


def test_a_day_and_more_is_given_to_an_outage():
    total = sum((retry_delay(n, jitter=0.0, retry_after_seconds=None) for n in range(1, MAX_ATTEMPTS)), timedelta())
    assert timedelta(days=3) < total < timedelta(days=5)


@pytest.mark.parametrize(("elapsed", "seconds"), [(0, 1), (1, 1), (2, 2), (4, 4), (8, 8), (16, 15), (299, 15)])
def test_a_refused_proof_is_tried_again_soon(elapsed: int, seconds: int):
    assert proof_delay(timedelta(seconds=elapsed)) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 1), (2, 2), (5, 16), (15, 16_384), (16, 21_600), (10_000, 21_600)]
)
def test_what_goes_on_being_listed_is_looked_at_less_and_less(attempts: int, seconds: int):
    assert listed_delay(attempts) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("asked", "seconds"), [(0.249, 1), (120, 120), (86_400, 86_400), (999_999_999, 86_400)])
def test_a_pause_is_whole_seconds_and_a_day_at_most(asked: float, seconds: int):
    assert pause(asked) == timedelta(seconds=seconds)


def test_proofs_reach_beyond_the_usual_delays_within_a_handful_of_tries():
    """4 to 18 seconds are usual (microsoft-graph-docs 17966): about six token requests, not twenty."""
    tries, waited = 0, timedelta()
    while waited < timedelta(seconds=18):
        tries += 1
        waited += proof_delay(waited)
    assert tries <= 6


@pytest.mark.parametrize(
    ("elapsed", "delay"),
    [(0, 5), (3, 2), (5, 15), (12, 8), (20, None), (3_600, None)],
)
def test_a_value_that_stands_alone_is_tried_three_times_in_twenty_seconds(elapsed: int, delay: int | None):
    assert lone_proof_delay(timedelta(seconds=elapsed)) == (None if delay is None else timedelta(seconds=delay))


@given(st.integers(min_value=0, max_value=60))
def test_whenever_it_begins_there_are_three_tries_at_most(begin: int):
    """Entra locks an account after ten wrong passwords, whoever tried them."""
    elapsed, tries = timedelta(seconds=begin), 1
    while (delay := lone_proof_delay(elapsed)) is not None:
        elapsed, tries = elapsed + delay, tries + 1
    assert tries <= 3
