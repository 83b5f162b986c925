from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from azure_rotator.domain.forwarding import shown_url
from azure_rotator.domain.model import Event, ForwarderType
from azure_rotator.domain.ports import Notice
from azure_rotator.domain.secrettext import SecretText
from tests.store import samples

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
KEY = "a-signing-key-of-thirty-two-bytes"
TOKEN = "a-token-that-nobody-may-see"


def event(number: int = 1, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": f"event-{number}",
        "event_type": "rotated-secret-failure",
        "item_id": "abcdefghijklmnop",
        "item_name": "/prod/billing",
        "occurred_at": NOW,
        "trigger": "automatic",
        "version": None,
        "message": "Graph refuses söhne",
        "error_code": "AzurePermissionMissing",
    }
    return Event(**(fields | changes))


def to_webhook(url: str, *events: Event, credential: str | None = TOKEN, **changes: Any) -> Notice:
    given = {"auth_type": None, "url": shown_url(url)} | changes
    return Notice(
        forwarder=samples.forwarder(**given),
        events=events or (event(),),
        at=NOW,
        url=SecretText(url),
        credential=SecretText(credential) if credential else None,
        signing_key=SecretText(KEY),
    )


def by_mail(*events: Event, **changes: Any) -> Notice:
    given = {"forwarder_type": ForwarderType.EMAIL, "email_to": ("ops@example.org",), "url": None} | changes
    return Notice(forwarder=samples.forwarder(**given), events=events or (event(),), at=NOW)
