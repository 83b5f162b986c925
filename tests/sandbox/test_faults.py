"""Faults: which requests they meet, what becomes of the work, what the caller sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from azure_sandbox.testing import ControlError, Sandbox
from tests.sandbox.azure import NOBODY, Azure, code


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def minted(azure: Azure, app) -> list[str]:
    return [secret.key_id for secret in azure.control.secrets(app.app_id) if secret.origin == "minted"]


ANSWERS = {
    "500": ({"preset": "internal-500"}, 500, "InternalServerError"),
    "503": ({"preset": "unavailable-503"}, 503, "ServiceUnavailable"),
    "504": ({"preset": "gateway-timeout-504"}, 504, "UnknownError"),
    "429": ({"preset": "throttled"}, 429, "TooManyRequests"),
    "409": ({"preset": "concurrency-409"}, 409, "Directory_ConcurrencyViolation"),
    "503, concurrency": ({"preset": "concurrency-503"}, 503, "Directory_ConcurrencyViolation"),
    "400, concurrency": ({"preset": "concurrency-400"}, 400, "Directory_ConcurrencyViolation"),
    "403, full": ({"preset": "object-full"}, 403, "Directory_ResourceSizeExceeded"),
    "a status of one's own": ({"status": 418, "code": "Teapot", "message": "short and stout"}, 418, "Teapot"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("spec", "status", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_error_before_changes_nothing_and_one_after_hides_what_was_done(azure: Azure, when, spec, status, expected):
    rotator, app = azure.rotator_and_workload()
    azure.control.add_fault("graph.addPassword", app=app.app_id, when=when, **spec)
    answer = azure.add(app, rotator)
    assert (answer.status_code, code(answer)) == (status, expected)
    assert len(minted(azure, app)) == (1 if when == "after" else 0)
    [entry] = azure.control.journal(app=app.app_id, operation="graph.addPassword")
    assert entry.status == status
    assert entry.committed == (when == "after")
    assert entry.fault is not None
    assert azure.control.counts(app=app.app_id)["undelivered"] == (1 if when == "after" else 0)
    assert azure.add(app, rotator).status_code == 200


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_dropped_connection_says_nothing_about_the_work(azure: Azure, when):
    rotator, app = azure.rotator_and_workload()
    azure.control.add_fault("graph.addPassword", app=app.app_id, when=when, preset="dropped")
    with pytest.raises(httpx.TransportError):
        azure.add(app, rotator)
    assert len(minted(azure, app)) == (1 if when == "after" else 0)
    [entry] = azure.control.journal(app=app.app_id, operation="graph.addPassword")
    assert (entry.status, entry.delivered) == (0, False)


def test_a_cut_body_is_committed_work_that_nobody_can_read(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    azure.control.add_fault("graph.addPassword", app=app.app_id, preset="truncated-json")
    with pytest.raises(httpx.RemoteProtocolError):
        azure.add(app, rotator)
    assert [secret.delivered for secret in azure.control.secrets(app.app_id)] == [True, False]


def test_an_answer_may_lack_the_secret_text(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    azure.control.add_fault("graph.addPassword", app=app.app_id, preset="no-secret-text")
    body = azure.minted(app, rotator)
    assert "secretText" not in body
    assert minted(azure, app) == [body["keyId"]]
    assert not azure.control.secrets(app.app_id)[-1].delivered


def test_a_gateway_in_between_may_answer_in_html(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    azure.control.add_fault("graph.addPassword", app=app.app_id, preset="html-200", when="after")
    answer = azure.add(app, rotator)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert len(minted(azure, app)) == 1


@pytest.mark.parametrize("retry_after", ["120", "0.249", "Wed, 21 Oct 2037 07:28:00 GMT", "soon"])
def test_retry_after_is_whatever_the_fault_says(azure: Azure, retry_after):
    rotator, app = azure.rotator_and_workload()
    azure.control.add_fault(
        "graph.getApplication", app=app.app_id, preset="throttled", headers={"Retry-After": retry_after}
    )
    answer = azure.graph("GET", f"/applications/{app.object_id}", rotator)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, retry_after)


@pytest.mark.parametrize(
    ("preset", "status", "expected"),
    [("wrong-secret", 401, "AADSTS7000215"), ("unknown-app", 400, "AADSTS700016")],
)
def test_a_login_may_be_refused_as_entra_does_at_its_worst(azure: Azure, preset, status, expected):
    app = azure.app()
    azure.control.add_fault("login.token", app=app.app_id, preset=preset, times=2)
    for _ in range(2):
        answer = azure.login(app, app.secrets["boot"])
        assert (answer.status_code, code(answer)) == (status, expected)
    assert azure.accepts(app, app.secrets["boot"])


def test_a_login_may_be_answered_with_an_error_of_no_number(azure: Azure):
    app = azure.app()
    azure.control.add_fault("login.token", app=app.app_id, status=503)
    answer = azure.login(app, app.secrets["boot"])
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


def test_resource_manager_fails_in_its_own_shape(azure: Azure):
    app = azure.app()
    azure.control.add_fault("arm.*", principal=app.app_id, status=503, code="ServerBusy", message="later")
    answer = azure.arm("GET", f"/subscriptions/{NOBODY}/providers/Microsoft.Storage/storageAccounts", app)
    assert answer.json() == {"error": {"code": "ServerBusy", "message": "later"}}


def test_skip_and_times_choose_among_the_matching_requests(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    fault = azure.control.add_fault("graph.addPassword", app=app.app_id, status=503, skip=1, times=2)
    assert [azure.add(app, rotator).status_code for _ in range(5)] == [200, 503, 503, 200, 200]
    assert fault.hits == 2


def test_times_none_is_for_good(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    fault = azure.control.add_fault("graph.*", app=app.app_id, status=503, times=None)
    assert {azure.add(app, rotator).status_code for _ in range(4)} == {503}
    fault.remove()
    assert azure.add(app, rotator).status_code == 200


MATCHES = {
    "its operation": ({"operation": "graph.addPassword"}, True),
    "another operation": ({"operation": "graph.removePassword"}, False),
    "a glob": ({"operation": "graph.add*"}, True),
    "the appId": ({"app": "app"}, True),
    "the object id": ({"app": "object"}, True),
    "another application": ({"app": "other"}, False),
    "the caller": ({"principal": "rotator"}, True),
    "another caller": ({"principal": "app"}, False),
    "the tenant": ({"tenant": "tenant"}, True),
    "another tenant": ({"tenant": "other"}, False),
    "the method": ({"method": "post"}, True),
    "another method": ({"method": "GET"}, False),
    "the path": ({"path": "/v1.0/applications/*/addPassword"}, True),
    "another path": ({"path": "/v1.0/servicePrincipals/*"}, False),
    "the host": ({"host": "graph.microsoft.com"}, True),
    "another host": ({"host": "graph.microsoft.us"}, False),
}


@pytest.mark.parametrize(("spec", "meets"), MATCHES.values(), ids=MATCHES.keys())
def test_a_fault_meets_only_what_it_names(azure: Azure, spec, meets):
    rotator, app = azure.rotator_and_workload()
    names = {
        "app": app.app_id.upper(),
        "object": app.object_id,
        "other": NOBODY,
        "rotator": rotator.app_id,
        "tenant": azure.tenant.tenant_id,
    }
    spec = {
        name: names.get(value, value) if name in {"app", "principal", "tenant"} else value
        for name, value in spec.items()
    }
    azure.token(rotator)
    # The tenant keeps faults without an application of their own from the other tests of this sandbox.
    fault = azure.control.add_fault(**{"tenant": azure.tenant.tenant_id, "status": 418, **spec})
    assert azure.add(app, rotator).status_code == (418 if meets else 200)
    assert fault.hits == (1 if meets else 0)
    fault.remove()


def test_a_delay_outlasts_an_impatient_caller(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    azure.token(rotator)
    azure.control.add_fault("graph.addPassword", app=app.app_id, delay_seconds=0.3)
    with pytest.raises(httpx.TimeoutException):
        azure.graph("POST", f"/applications/{app.object_id}/addPassword", rotator, timeout=0.1)
    assert azure.add(app, rotator).status_code == 200


# Holds.


@pytest.mark.parametrize(("when", "inside"), [("before", 0), ("after", 1)])
def test_a_held_call_is_inside_until_it_is_released(azure: Azure, background, when, inside):
    rotator, app = azure.rotator_and_workload()
    azure.token(rotator)
    fault = azure.control.add_fault("graph.addPassword", app=app.app_id, when=when, hold=True)
    call: Future[httpx.Response] = background.submit(azure.add, app, rotator)
    fault.wait_reached()
    assert len(minted(azure, app)) == inside
    assert not call.done()
    fault.release()
    assert call.result(10).status_code == 200
    assert len(minted(azure, app)) == 1
    assert azure.control.secrets(app.app_id)[-1].delivered


def test_a_hold_may_end_in_an_error(azure: Azure, background):
    rotator, app = azure.rotator_and_workload()
    azure.token(rotator)
    fault = azure.control.add_fault("graph.addPassword", app=app.app_id, when="after", hold=True, status=504)
    call = background.submit(azure.add, app, rotator)
    fault.wait_reached()
    fault.release()
    assert call.result(10).status_code == 504
    assert len(minted(azure, app)) == 1


def test_removing_a_fault_lets_go_of_whom_it_holds(azure: Azure, background):
    rotator, app = azure.rotator_and_workload()
    azure.token(rotator)
    fault = azure.control.add_fault("graph.addPassword", app=app.app_id, hold=True, times=2)
    calls = [background.submit(azure.add, app, rotator) for _ in range(2)]
    fault.wait_reached(2)
    fault.remove()
    assert [call.result(10).status_code for call in calls] == [200, 200]


def test_waiting_for_nobody_ends(azure: Azure):
    fault = azure.control.add_fault("graph.addPassword", app=NOBODY, hold=True)
    with pytest.raises(TimeoutError):
        fault.wait_reached(timeout_seconds=0.05)
    fault.remove()


CALLER = """
import os, ssl, sys, httpx
url, token = sys.argv[1:]
with httpx.Client(timeout=60) as client:
    client.post(url, headers={"authorization": "Bearer " + token})
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_caller_that_is_killed_inside_leaves_its_request_to_azure(azure: Azure, when):
    rotator, app = azure.rotator_and_workload()
    fault = azure.control.add_fault("graph.addPassword", app=app.app_id, when=when, hold=True)
    url = f"https://graph.microsoft.com/v1.0/applications/{app.object_id}/addPassword"
    command = [sys.executable, "-c", CALLER, url, azure.token(rotator)]
    with subprocess.Popen(command, env=azure.sandbox.environment()) as caller:
        fault.wait_reached()
        os.kill(caller.pid, signal.SIGKILL)
        caller.wait()
    fault.release()
    while (entry := azure.control.journal(app=app.app_id, operation="graph.addPassword")[-1:]) == [] or (
        entry[0].status is None
    ):
        pass
    assert (entry[0].status, entry[0].committed, entry[0].delivered) == (0, True, False)
    [key_id] = minted(azure, app)
    assert [secret.delivered for secret in azure.control.secrets(app.app_id) if secret.key_id == key_id] == [False]


def test_stopping_lets_go_of_held_calls(alone: Azure, background):
    rotator, app = alone.rotator_and_workload()
    alone.token(rotator)
    fault = alone.control.add_fault("graph.addPassword", app=app.app_id, hold=True)
    call = background.submit(alone.add, app, rotator)
    fault.wait_reached()
    alone.sandbox.restart()
    assert call.exception(10) is None or isinstance(call.exception(), httpx.TransportError)
    assert alone.control.faults() == []


# Collisions.


def test_overlapping_writes_to_one_application_collide(azure: Azure, background):
    rotator, app = azure.rotator_and_workload(behaviour={"write_seconds": 2})
    other = azure.app(owners=(rotator.app_id,), behaviour={"write_seconds": 2})
    azure.token(rotator)
    calls = [background.submit(azure.add, target, rotator) for target in (app, app, other)]
    answers = [call.result(10) for call in calls]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409]
    [collided] = [answer for answer in answers if answer.status_code == 409]
    assert code(collided) == "Directory_ConcurrencyViolation"
    assert len(minted(azure, app)) == len(minted(azure, other)) == 1


# What is no fault.

NONSENSE = {
    "an unknown preset": ({"preset": "bad-luck"}, "unknown preset"),
    "an unknown setting": ({"colour": "red"}, "unknown fault setting colour"),
    "no phase": ({"when": "during"}, "when is before or after"),
    "a genuine answer that is not there yet": ({"when": "before", "without": ["secretText"]}, "need when = after"),
    "a cut of more than all": ({"when": "after", "cut": 2}, "cut is a share"),
    "an interim status": ({"status": 100}, "no final HTTP status"),
    "a status that is a word": ({"status": "bad"}, "status takes int, not 'bad'"),
    "a yes that is a number": ({"hold": 1}, "hold takes bool, not 1"),
}


@pytest.mark.parametrize(("spec", "message"), NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_refused_with_a_reason(sandbox: Sandbox, spec, message):
    with pytest.raises(ControlError, match=message) as refused:
        sandbox.control.add_fault("graph.*", **spec)
    assert refused.value.status == 400
