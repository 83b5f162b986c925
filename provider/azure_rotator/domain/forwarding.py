"""Which events a forwarder wants, when they are due, and what a receiver may be (features 2.4, 3.8). Pure.

due ── sent ──> delivered
 ^ │
 │ └ failed ──> due again after 1, 2, 4 … minutes ── 24 hours after the first try ──> given up
 └──────────────────┘
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from azure_rotator.domain.backoff import pause, retry_delay
from azure_rotator.domain.model import Forwarder, RunnerType, WebhookAuth

EVENT_TYPES = (
    "rotated-secret-success",
    "rotated-secret-failure",
    "next-automatic-rotation",
    "credential-expiring",
    "rotation-parked",
    "rotation-overdue",
    "rotation-recovered",
    "rotation-usage",
    "usage",
)
MIN_EVERY_HOURS, MAX_EVERY_HOURS = 1, 24
SHORTEST_SIGNING_KEY = 16
RETRIED_FOR = timedelta(hours=24)
KEPT_FOR = timedelta(days=30)
REFUSED = "DeliveryRefused"
"""The code of a receiver that does not take these very events; ``DeliveryFailed``: nothing gets through."""

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_LONGEST_ADDRESS = 254
_LONGEST_URL = 2_000


def wants(forwarder: Forwarder, *, event_type: str, item_name: str, target_name: str) -> bool:
    """Whether the event goes to this forwarder. No type named: all of them; no place named: from everywhere; else from
    an item that fits one of the globs, or that is on a Target that does."""
    if forwarder.event_types and event_type not in forwarder.event_types:
        return False
    items, targets = forwarder.items_event_source_locations, forwarder.targets_event_source_locations
    if not items and not targets:
        return True
    return _fits(item_name, items) or _fits(target_name, targets)


def _fits(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def rooted(glob: str) -> str:
    """A glob as paths are written, with the leading slash; one that begins with ``*`` begins anywhere."""
    return glob if glob.startswith(("/", "*")) else f"/{glob}"


def due_at(forwarder: Forwarder, occurred_at: datetime) -> datetime:
    """When an event is sent first: at once, or at the end of the period it lies in. Periods are counted from the
    instant the forwarder was made, so that nothing need be stored of them."""
    if forwarder.runner_type is RunnerType.IMMEDIATE or forwarder.every is None:
        return occurred_at
    period = timedelta(hours=forwarder.every)
    return occurred_at + period - (occurred_at - forwarder.created_at) % period


def next_try_at(
    now: datetime, *, first_attempt_at: datetime, attempts: int, jitter: float, retry_after_seconds: float | None
) -> datetime | None:
    """When to try again after the ``attempts``-th failure (from 1); None: it is given up. The last try is at the end of
    the 24 hours, or when the receiver asked for it."""
    end = first_attempt_at + RETRIED_FOR
    if now >= end:
        return None
    asked = now + pause(retry_after_seconds or 0)
    return min(now + retry_delay(attempts, jitter=jitter, retry_after_seconds=retry_after_seconds), max(end, asked))


# --- receivers


def is_address(text: str) -> bool:
    """Whether it is one plain e-mail address, and nothing that a header or a command could be made of."""
    return len(text) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


def is_receiver(url: str) -> bool:
    """Whether events may be sent there: HTTPS, a host, no user, password or fragment."""
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme == "https"
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and not parts.fragment
        and port != 0
    )


def origin_of(url: str) -> str:
    """Scheme, host and port: what messages may say. Path and query often hold the receiver's key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def shown_url(url: str) -> str:
    """The address as it may be shown: without its query, which often holds a key (``sig=``, ``code=``)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + ("?***" if parts.query else "")


def is_header_text(value: str) -> bool:
    """Whether it can stand in a header of a request."""
    return value.isascii() and value.isprintable()


def is_certificate_with_key(value: str) -> bool:
    """Whether it looks like a certificate and its private key in PEM, the key not behind a pass phrase."""
    locked = "ENCRYPTED" in value
    return "-----BEGIN CERTIFICATE-----" in value and "PRIVATE KEY-----" in value and not locked


WEBHOOK_CREDENTIALS = {
    WebhookAuth.USER_PASS: "password",
    WebhookAuth.BEARER_TOKEN: "auth_token",
    WebhookAuth.CERTIFICATE: "client_certificate",
}
"""The parameter that is the credential, by the way of authentication."""
