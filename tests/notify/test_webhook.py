"""Webhooks against a real HTTPS server: what arrives, who is believed, what an answer means."""

from __future__ import annotations

import base64
import logging
import time
import traceback
from typing import Any

import pytest

from azure_rotator.domain.errors import Rejected, RotatorError, Unavailable
from azure_rotator.domain.model import WebhookAuth
from azure_rotator.notify.webhook import Webhooks
from tests.notify.notices import KEY, NOW, TOKEN, event, to_webhook
from tests.plugins.receivers import HOST, Answer, Authority, Webhook

PASSWORD = "söhne:& a-password"


def refused(url: str, *, seconds: float = 10.0, **changes: Any) -> RotatorError:
    with pytest.raises(RotatorError) as error:
        Webhooks(seconds=seconds).send(to_webhook(url, **changes))
    assert error.value.code == ("DeliveryRefused" if isinstance(error.value, Rejected) else "DeliveryFailed")
    shown = "".join(traceback.format_exception(error.value))
    for secret in (KEY, TOKEN, PASSWORD, "sig=abc"):
        assert secret not in shown
    return error.value


def test_the_body_is_the_list_of_the_contract(webhook: Webhook):
    second = event(2, event_type="rotated-secret-success", version=3, message="rotated", error_code=None)
    Webhooks(seconds=10).send(to_webhook(webhook.url, event(), second))
    (call,) = webhook.calls
    assert call.events == [
        {
            "item_name": "/prod/billing",
            "item_type": "ROTATED_SECRET",
            "event_type": "rotated-secret-failure",
            "event_id": "event-1",
            "occurred_at": "2026-03-01T09:00:00Z",
            "trigger": "automatic",
            "version": None,
            "payload": {"event_message": "Graph refuses söhne", "error_code": "AzurePermissionMissing"},
        },
        {
            "item_name": "/prod/billing",
            "item_type": "ROTATED_SECRET",
            "event_type": "rotated-secret-success",
            "event_id": "event-2",
            "occurred_at": "2026-03-01T09:00:00Z",
            "trigger": "automatic",
            "version": 3,
            "payload": {"event_message": "rotated", "error_code": None},
        },
    ]
    assert (call.path, call.headers["content-type"]) == ("/hook", "application/json")


def test_it_is_signed_with_the_instant_of_sending(webhook: Webhook):
    Webhooks(seconds=10).send(to_webhook(webhook.url))
    assert webhook.calls[0].signed_at(KEY) == int(NOW.timestamp())
    with pytest.raises(AssertionError):
        webhook.calls[0].signed_at(KEY + "x")


def test_the_query_of_the_address_arrives_and_is_not_logged(webhook: Webhook, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        Webhooks(seconds=10).send(to_webhook(f"{webhook.url}?sig=abc-of-the-receiver"))
    assert webhook.calls[0].path == "/hook?sig=abc-of-the-receiver"
    assert "abc-of-the-receiver" not in caplog.text
    assert KEY not in caplog.text


LOGINS = {
    "nobody": (None, None, None),
    "a user": (WebhookAuth.USER_PASS, PASSWORD, "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()),
    "a token": (WebhookAuth.BEARER_TOKEN, TOKEN, f"Bearer {TOKEN}"),
}


@pytest.mark.parametrize(("way", "credential", "header"), LOGINS.values(), ids=list(LOGINS))
def test_the_receiver_is_told_who_sends(webhook: Webhook, way, credential, header):
    Webhooks(seconds=10).send(to_webhook(webhook.url, auth_type=way, username="ann", credential=credential))
    assert webhook.calls[0].headers.get("authorization") == header
    assert webhook.calls[0].presented is None


def test_a_client_certificate_is_presented(webhook: Webhook, authority: Authority):
    way = {"auth_type": WebhookAuth.CERTIFICATE, "credential": authority.client()}
    Webhooks(seconds=10).send(to_webhook(webhook.url, **way))
    assert webhook.calls[0].presented == "the-client"


ANSWERS: dict[str, tuple[Answer, type[RotatorError], str, float | None]] = {
    "a body that it refuses": (Answer(400), Rejected, "answered 400", None),
    "one too large": (Answer(413), Rejected, "answered 413", None),
    "no login": (Answer(401), Unavailable, "answered 401", None),
    "no such address": (Answer(404), Unavailable, "answered 404", None),
    "a time-out": (Answer(408), Unavailable, "answered 408", None),
    "a limit": (Answer(429, {"Retry-After": "120"}), Unavailable, "answered 429", 120.0),
    "a limit until an instant": (
        Answer(429, {"Retry-After": "Sun, 01 Mar 2026 09:05:00 GMT"}),
        Unavailable,
        "answered 429",
        300.0,
    ),
    "a limit until the past": (Answer(503, {"Retry-After": "Sun, 01 Mar 2026 08:00:00 GMT"}), Unavailable, "503", 0.0),
    "a limit in words": (Answer(503, {"Retry-After": "soon"}), Unavailable, "answered 503", None),
    "a fault": (Answer(500), Unavailable, "answered 500", None),
    "a redirect": (Answer(307, {"Location": "https://localhost/elsewhere"}), Unavailable, "answered 307", None),
}


@pytest.mark.parametrize(("answer", "kind", "told", "wait"), ANSWERS.values(), ids=list(ANSWERS))
def test_an_answer_that_is_no_yes_is_told(webhook: Webhook, answer, kind, told, wait):
    webhook.answers = [answer]
    error = refused(f"{webhook.url}?sig=abc")
    assert type(error) is kind
    assert told in error.message
    assert webhook.origin in error.message
    assert error.hint
    assert getattr(error, "retry_after_seconds", None) == wait
    assert len(webhook.calls) == 1, "one call, nothing is followed or repeated"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_a_yes(webhook: Webhook, status: int):
    webhook.answers = [Answer(status)]
    Webhooks(seconds=10).send(to_webhook(webhook.url))


def test_a_receiver_that_does_not_answer_is_left(webhook: Webhook):
    webhook.during = lambda call: time.sleep(0.6)
    began = time.monotonic()
    error = refused(webhook.url, seconds=0.3)
    assert "gave no answer within 0.3 s" in error.message
    assert time.monotonic() - began < 5


def test_a_receiver_that_is_not_there_is_told(trusted: Authority):
    assert "cannot be reached" in refused(f"https://{HOST}:9/hook").message


def test_a_certificate_of_nobody_we_trust_is_refused(webhook: Webhook, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "no certificate that is trusted" in refused(webhook.url, auth_type=WebhookAuth.BEARER_TOKEN).message
    assert webhook.calls == []


def test_a_certificate_of_another_host_is_refused(trusted: Authority):
    with Webhook(trusted.server("elsewhere.example")).serving() as other:
        assert "no certificate that is trusted" in refused(other.url).message
    assert other.calls == []


BROKEN: dict[str, dict[str, Any]] = {
    "a token of two lines": {"auth_type": WebhookAuth.BEARER_TOKEN, "credential": f"{TOKEN}\r\nX: y"},
    "no certificate": {"auth_type": WebhookAuth.CERTIFICATE, "credential": f"-----BEGIN {TOKEN}"},
}


@pytest.mark.parametrize("given", BROKEN.values(), ids=list(BROKEN))
def test_a_credential_of_the_wrong_form_is_told_and_nothing_is_sent(webhook: Webhook, given):
    assert "is not asked" in refused(webhook.url, **given).message
    assert webhook.calls == []
