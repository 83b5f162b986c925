"""The tables: which answer of Azure becomes which error. No network."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from azure_rotator.cloud import graph_faults, login_faults, storage_faults
from azure_rotator.cloud.answers import Answer, read_answer, retry_after
from azure_rotator.cloud.faults import Attempt
from azure_rotator.domain.errors import EXIT_CODES, Forbidden, NotFound, Reach, Rejected, RotatorError, Unavailable

WRITE = Attempt(
    who='target "/prod"', subject="application 42", doing="add a client secret", host="graph.microsoft.com", writes=True
)
REGENERATE = replace(WRITE, subject="storage account one", doing="regenerate key1", host="management.azure.com")
LOGIN = Attempt(who='target "/prod"', subject='target "/prod"', doing="log in", host="login.microsoftonline.com")
# A text of Azure's must decide nothing and go nowhere.
TEXT = "AADSTS7000215 canary-text Not allowed to add 3 passwords. Too many requests. No password credential found"


def graph_answer(
    status: int, code: str | None, *, headers: dict[str, str] | None = None, message: str = TEXT
) -> Answer:
    body = {"error": {"code": code, "message": message, "innerError": {"date": "2026-03-29T13:23:55"}}}
    return read_answer(status, headers or {}, json.dumps(body).encode())


def login_answer(status: int, number: int | None, *, headers: dict[str, str] | None = None, error="invalid_client"):
    body: dict[str, Any] = {"error": error, "error_description": "canary-text Trace ID: 1"}
    if number is not None:
        body |= {"error_codes": [number], "error_description": f"AADSTS{number}: canary-text Trace ID: 1"}
    return read_answer(status, headers or {}, json.dumps(body).encode())


GRAPH = [
    # status, code, error, product code, applied
    (400, "CredentialInvalidLifetimeAsPerAppPolicy", Rejected, "LifetimeNotAllowed", None),
    (400, "KeyCredentialsInvalidEndDate", Rejected, "LifetimeNotAllowed", None),
    (400, "CredentialTypeNotAllowedAsPerAppPolicy", Rejected, "CredentialTypeNotAllowed", None),
    (400, "Directory_ResourceSizeExceeded", Forbidden, "CredentialLimitReached", None),
    (403, "Directory_ResourceSizeExceeded", Forbidden, "CredentialLimitReached", None),
    (403, "Directory_QuotaExceeded", Forbidden, "CredentialLimitReached", None),
    (400, "Directory_ConcurrencyViolation", Unavailable, "AzureUnavailable", "unknown"),
    (409, "Directory_ConcurrencyViolation", Unavailable, "AzureUnavailable", "unknown"),
    (503, "Directory_ConcurrencyViolation", Unavailable, "AzureUnavailable", "unknown"),
    (400, "Request_BadRequest", Rejected, "AzureRefused", None),
    (400, "Something_New", Rejected, "AzureRefused", None),
    (401, "InvalidAuthenticationToken", Forbidden, "AzureAuthFailed", None),
    (401, "Something_New", Forbidden, "AzureAuthFailed", None),
    (403, "Authorization_RequestDenied", Forbidden, "AzurePermissionMissing", None),
    (403, "Something_New", Forbidden, "AzurePermissionMissing", None),
    (404, "Request_ResourceNotFound", NotFound, "ApplicationNotFound", None),
    (404, "Something_New", NotFound, "ApplicationNotFound", None),
    (409, "Something_New", Unavailable, "AzureUnavailable", "unknown"),
    (429, "TooManyRequests", Unavailable, "AzureThrottled", "no"),
    (429, None, Unavailable, "AzureThrottled", "no"),
    (500, "InternalServerError", Unavailable, "AzureUnavailable", "unknown"),
    (503, "ServiceUnavailable", Unavailable, "AzureUnavailable", "unknown"),
    (500, "Authorization_RequestDenied", Unavailable, "AzureUnavailable", "unknown"),
    (500, "Directory_ResourceSizeExceeded", Unavailable, "AzureUnavailable", "unknown"),
    (504, "UnknownError", Unavailable, "AzureUnavailable", "unknown"),
]


@pytest.mark.parametrize(("status", "code", "error", "product_code", "applied"), GRAPH)
def test_a_refusal_of_graph_is_told_by_status_and_code(status, code, error, product_code, applied):
    told = graph_faults.graph_refused(WRITE, graph_answer(status, code))
    assert (type(told), told.code) == (error, product_code)
    assert getattr(told, "applied", None) == applied
    assert told.message.startswith("application 42: ")
    assert told.hint
    assert told.details["status"] == status
    shown_nowhere("canary-text", told)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 418, 451])
@pytest.mark.parametrize("content", [b"", b"<html>Access denied by policy</html>", b"[]", b'{"error": {"code": 5}}'])
def test_an_answer_that_graph_did_not_write_says_nothing_about_the_application(status, content):
    told = graph_faults.graph_refused(WRITE, read_answer(status, {}, content))
    assert isinstance(told, Unavailable)
    assert told.applied == "unknown"
    assert "HTTPS_PROXY" in told.hint


def test_a_read_that_failed_has_changed_nothing():
    read = Attempt(who="a", subject="application 42", doing="read it", host="graph.microsoft.com")
    told = graph_faults.graph_refused(read, graph_answer(503, "ServiceUnavailable"))
    assert isinstance(told, Unavailable)
    assert told.applied == "no"


def test_a_missing_permission_is_named():
    told = graph_faults.graph_refused(WRITE, graph_answer(403, "Authorization_RequestDenied"))
    assert told.details["permission"] == "Application.ReadWrite.OwnedBy"
    assert 'target "/prod"' in told.message
    for word in ("Application.ReadWrite.OwnedBy", "owner", "Application.ReadWrite.All"):
        assert word in told.hint


def test_the_policy_that_forbids_is_named():
    policy = "8b1f2c34-0000-4000-8000-0123456789ab"
    answer = graph_answer(400, "CredentialTypeNotAllowedAsPerAppPolicy", message=f"as per assigned policy '{policy}'.")
    told = graph_faults.graph_refused(WRITE, answer)
    assert told.details["policy_id"] == policy
    assert policy in told.message


ARM = [
    (401, "InvalidAuthenticationToken", Forbidden, "AzureAuthFailed", None),
    (401, "InvalidAuthenticationTokenTenant", Forbidden, "AzureAuthFailed", None),
    (401, "Something_New", Forbidden, "AzureAuthFailed", None),
    (403, "AuthorizationFailed", Forbidden, "AzurePermissionMissing", None),
    (403, "Something_New", Forbidden, "AzurePermissionMissing", None),
    (403, "RequestDisallowedByPolicy", Forbidden, "AzureRefused", None),
    (403, "ReadOnlyDisabledSubscription", Forbidden, "AzureRefused", None),
    (409, "MissingSubscriptionRegistration", Forbidden, "AzureRefused", None),
    (409, "ScopeLocked", Forbidden, "ResourceLocked", None),
    (404, "ResourceNotFound", NotFound, "ResourceNotFound", None),
    (404, "ResourceGroupNotFound", NotFound, "ResourceNotFound", None),
    (404, "SubscriptionNotFound", NotFound, "ResourceNotFound", None),
    (404, "Something_New", NotFound, "ResourceNotFound", None),
    (400, "InvalidSubscriptionId", NotFound, "ResourceNotFound", None),
    (400, "InvalidValuesForRequestParameters", Rejected, "AzureRefused", None),
    (409, "StorageAccountOperationInProgress", Unavailable, "AzureUnavailable", "no"),
    (409, "Something_New", Unavailable, "AzureUnavailable", "unknown"),
    (412, "Something_New", Unavailable, "AzureUnavailable", "unknown"),
    (429, "TooManyRequests", Unavailable, "AzureThrottled", "no"),
    (500, "InternalServerError", Unavailable, "AzureUnavailable", "unknown"),
    (503, "ScopeLocked", Unavailable, "AzureUnavailable", "unknown"),
    (504, "GatewayTimeout", Unavailable, "AzureUnavailable", "unknown"),
    (200, None, Unavailable, "AzureUnavailable", "unknown"),
]


@pytest.mark.parametrize(("status", "code", "error", "product_code", "applied"), ARM)
def test_a_refusal_of_resource_manager_is_told_by_status_and_code(status, code, error, product_code, applied):
    told = storage_faults.arm_refused(REGENERATE, graph_answer(status, code))
    assert (type(told), told.code) == (error, product_code)
    assert getattr(told, "applied", None) == applied
    assert told.message.startswith("storage account one: ")
    assert told.hint
    shown_nowhere("canary-text", told)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_an_answer_that_resource_manager_did_not_write_says_nothing_about_the_account(status):
    told = storage_faults.arm_refused(REGENERATE, read_answer(status, {}, b"<html>Access denied by policy</html>"))
    assert isinstance(told, Unavailable)
    assert told.applied == "unknown"


def test_the_missing_role_and_its_account_are_named():
    told = storage_faults.arm_refused(REGENERATE, graph_answer(403, "AuthorizationFailed"))
    assert told.details["permission"] == "Storage Account Key Operator Service Role"
    assert "storage account one" in told.hint


BLOB = [
    (403, "AuthenticationFailed", "AzureAuthFailed"),
    (401, "InvalidAuthenticationInfo", "AzureAuthFailed"),
    (403, "Something_New", "AzureAuthFailed"),
    (403, "KeyBasedAuthenticationNotPermitted", None),
    (403, "AuthorizationFailure", None),
    (403, "AccountIsDisabled", None),
    (400, "InvalidQueryParameterValue", None),
    (404, "ResourceNotFound", None),
    (503, "ServerBusy", "AzureThrottled"),
    (500, "InternalError", "AzureUnavailable"),
    (403, None, "AzureUnavailable"),
    (307, None, "AzureUnavailable"),
]


@pytest.mark.parametrize(("status", "code", "product_code"), BLOB)
def test_a_refusal_of_the_blob_service_is_about_the_key_or_proves_nothing(status, code, product_code):
    headers = {"x-ms-error-code": code} if code else {}
    told = storage_faults.blob_refused(REGENERATE, read_answer(status, headers, b"<Error>canary-text</Error>"))
    assert (told.code if told else None) == product_code
    if told:
        assert told.hint
        assert getattr(told, "applied", "no") == "no"
        shown_nowhere("canary-text", told)


def test_who_acts_on_users_is_told_what_users_take():
    user = replace(WRITE, subject="user u", about="user")
    denied = graph_faults.graph_refused(user, graph_answer(403, "Authorization_RequestDenied"))
    assert denied.details["permission"] == "User-PasswordProfile.ReadWrite.All"
    assert "Privileged Authentication Administrator" in denied.hint  # F49: administrators
    own = graph_faults.graph_refused(
        replace(user, about="own password"), graph_answer(403, "Authorization_RequestDenied")
    )
    assert "delegated" in own.hint
    gone = graph_faults.graph_refused(user, graph_answer(404, "Request_ResourceNotFound"))
    assert (type(gone), gone.code) == (NotFound, "UserNotFound")


SIGN_INS = [
    (400, 50126, Forbidden, "AzureAuthFailed", None),
    (400, 50055, Forbidden, "AzureAuthFailed", None),
    (400, 50057, Forbidden, "AzureAuthFailed", None),
    (401, 7000218, Forbidden, "AzureAuthFailed", None),
    (400, 700016, Forbidden, "AzureAuthFailed", None),
    (400, 50034, NotFound, "UserNotFound", None),
    (400, 50053, Unavailable, "AzureThrottled", 60.0),
    (503, 50034, Unavailable, "AzureUnavailable", None),
    (503, None, Unavailable, "AzureUnavailable", None),
]


@pytest.mark.parametrize(("status", "number", "error", "code", "wait"), SIGN_INS)
def test_a_refused_sign_in_is_told_by_its_number(status, number, error, code, wait):
    told = login_faults.sign_in_refused(replace(LOGIN, about="own password"), login_answer(status, number))
    assert (type(told), told.code) == (error, code)
    assert told.details.get("aadsts") == number
    assert getattr(told, "retry_after_seconds", None) == wait
    assert getattr(told, "applied", "no") == "no"
    assert told.hint
    shown_nowhere("canary-text", told)


LOGINS = [
    (401, 7000215, "AzureAuthFailed"),
    (401, 7000222, "AzureAuthFailed"),
    (401, 7000218, "AzureAuthFailed"),
    (400, 700016, "AzureAuthFailed"),
    (400, 700038, "AzureAuthFailed"),
    (400, 7000112, "AzureAuthFailed"),
    (400, 90002, "AzureAuthFailed"),
    (400, 53003, "AzureAuthFailed"),
    (400, 123456, "AzureAuthFailed"),
    (400, 90055, "AzureThrottled"),
    (400, 50196, "AzureThrottled"),
    (429, None, "AzureThrottled"),
    (400, 90033, "AzureUnavailable"),
    (500, None, "AzureUnavailable"),
    (503, 90006, "AzureUnavailable"),
    (503, 7000215, "AzureUnavailable"),
]


@pytest.mark.parametrize(("status", "number", "code"), LOGINS)
def test_a_refused_login_is_told_by_its_number(status, number, code):
    told = login_faults.login_refused(LOGIN, login_answer(status, number))
    assert told.code == code
    assert told.details.get("aadsts") == number
    assert isinstance(told, Forbidden if code == "AzureAuthFailed" else Unavailable)
    assert getattr(told, "applied", "no") == "no"
    assert told.hint
    shown_nowhere("canary-text", told)
    if code == "AzureAuthFailed":
        assert f"AADSTS{number}" in told.message


def test_each_known_number_has_words_of_its_own():
    said = [fault.says for fault in login_faults.LOGIN_FAULTS.values()]
    assert len(set(said)) == len(said)


def test_a_known_number_counts_more_than_an_unknown_one():
    body = {"error": "invalid_client", "error_codes": [1, 7000222], "error_description": ""}
    told = login_faults.login_refused(LOGIN, read_answer(401, {}, json.dumps(body).encode()))
    assert told.details["aadsts"] == 7000222


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"error": ["x"]}', b'{"error_codes": "x"}', b"\xff\xfe"])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404])
def test_a_login_answer_that_entra_did_not_write_is_no_refusal(status, content):
    told = login_faults.login_refused(LOGIN, read_answer(status, {}, content))
    assert isinstance(told, Unavailable)
    assert told.code == "AzureUnavailable"


def test_every_code_has_an_exit_code():
    rows = [*graph_faults.GRAPH_FAULTS.values(), *storage_faults.ARM_FAULTS.values()]
    assert {fault.code for fault in rows} <= EXIT_CODES.keys()


WAITS = [
    ("120", 120.0),
    ("0", 0.0),
    ("0.249", 0.249),
    (" 7 ", 7.0),
    ("Sun, 29 Mar 2026 13:24:55 GMT", 60.0),
    ("Sun, 29 Mar 2026 13:22:55 GMT", 0.0),
    ("", None),
    ("soon", None),
    ("-5", None),
    ("nan", None),
    ("inf", None),
    ("1e3", None),
    ("99999999999999999999", None),
    ("Sun, 99 Mar 2026 13:24:55 GMT", None),
    ("٣", None),
]


@pytest.mark.parametrize(("text", "seconds"), WAITS)
def test_retry_after_is_read_in_every_form_and_garbage_is_tolerated(text, seconds):
    headers = {"retry-after": text, "date": "Sun, 29 Mar 2026 13:23:55 GMT"}
    assert retry_after(headers) == seconds
    told = graph_faults.graph_refused(WRITE, graph_answer(429, "TooManyRequests", headers=headers))
    assert isinstance(told, Unavailable)
    assert told.retry_after_seconds == seconds


def test_retry_after_counts_from_the_services_own_clock():
    headers = {"retry-after": "Mon, 01 Jan 2035 00:00:30 GMT", "date": "Mon, 01 Jan 2035 00:00:00 GMT"}
    assert retry_after(headers) == 30.0


MILLISECONDS = [
    ({"retry-after-ms": "1500"}, 1.5),
    ({"x-ms-retry-after-ms": "250"}, 0.25),
    ({"retry-after": "2", "retry-after-ms": "1500"}, 2.0),
    ({"retry-after-ms": "soon"}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), MILLISECONDS)
def test_resource_manager_may_count_in_milliseconds(headers, seconds):
    assert retry_after(headers) == seconds


def test_the_services_clock_is_compared_with_ours():
    ahead = datetime.now(UTC) + timedelta(minutes=7)
    skew = read_answer(200, {"date": format_datetime(ahead, usegmt=True)}, b"").clock_skew
    assert skew is not None
    assert abs(skew - timedelta(minutes=7)) < timedelta(seconds=2)
    for date in ("", "yesterday", "Sun, 99 Mar 2026 13:24:55 GMT"):
        assert read_answer(200, {"date": date}, b"").clock_skew is None


def test_no_retry_after_is_none():
    told = graph_faults.graph_refused(WRITE, graph_answer(429, "TooManyRequests"))
    assert isinstance(told, Unavailable)
    assert told.retry_after_seconds is None


def test_the_request_id_goes_along_for_microsofts_support():
    request_id = "0c0fee00-1111-4222-8333-444455556666"
    told = graph_faults.graph_refused(
        WRITE, graph_answer(500, "InternalServerError", headers={"request-id": request_id})
    )
    assert told.details["request_id"] == request_id


@pytest.mark.parametrize("code", ["a b", "x" * 101, "<script>", "", None, 5])
def test_a_code_that_is_none_is_not_passed_on(code):
    assert graph_answer(400, code).code is None


def test_an_answer_does_not_show_its_body():
    answer = read_answer(200, {}, b'{"secretText": "canary-value"}')
    assert answer.body == {"secretText": "canary-value"}
    assert "canary" not in repr(answer)


def shown_nowhere(text: str, error: RotatorError) -> None:
    assert text not in f"{error!r} {error} {error.args} {error.hint} {error.details}"


LIMITS = {
    "Graph": (lambda: graph_faults.graph_refused(WRITE, graph_answer(429, "TooManyRequests")), Reach.TENANT),
    "the login host": (lambda: login_faults.login_refused(LOGIN, login_answer(429, None)), Reach.TENANT),
    "a limit of logins": (lambda: login_faults.login_refused(LOGIN, login_answer(400, 90055)), Reach.TENANT),
    "a user's lock-out": (lambda: login_faults.sign_in_refused(LOGIN, login_answer(400, 50053)), Reach.OBJECT),
    "Resource Manager": (lambda: storage_faults.arm_refused(REGENERATE, graph_answer(429, "x")), Reach.SUBSCRIPTION),
    "one account's blob service": (
        lambda: storage_faults.blob_refused(REGENERATE, read_answer(503, {"x-ms-error-code": "ServerBusy"}, b"")),
        Reach.OBJECT,
    ),
    "an outage": (lambda: graph_faults.graph_refused(WRITE, graph_answer(503, "x")), Reach.OBJECT),
    "a collision": (
        lambda: graph_faults.graph_refused(WRITE, graph_answer(503, "Directory_ConcurrencyViolation")),
        Reach.OBJECT,
    ),
}


@pytest.mark.parametrize(("refused", "reach"), LIMITS.values(), ids=list(LIMITS))
def test_whose_requests_are_to_pause(refused, reach: Reach):
    told = refused()
    assert isinstance(told, Unavailable)
    assert told.reach is reach
