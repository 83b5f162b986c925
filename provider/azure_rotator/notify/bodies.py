"""What is told of events: made from the fields of ``Event`` and nothing else, so that no credential can be in it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import Event

ITEM_TYPE = "ROTATED_SECRET"


def as_json(events: Sequence[Event]) -> bytes:
    """A webhook's body (features 3.8): a list, also of one."""
    return json.dumps([_fields(event) for event in events], ensure_ascii=False, separators=(",", ":")).encode()


def _fields(event: Event) -> dict[str, object]:
    return {
        "item_name": event.item_name,
        "item_type": ITEM_TYPE,
        "event_type": event.event_type,
        "event_id": event.event_id,
        "occurred_at": iso(event.occurred_at),
        "trigger": event.trigger,
        "version": event.version,
        "payload": {"event_message": event.message, "error_code": event.error_code},
    }


def subject(events: Sequence[Event]) -> str:
    """A mail's subject: event and item of the first, and how many there are."""
    first = f"{events[0].event_type}: {events[0].item_name}"
    return f"[azure-rotator] {first}" + (f" and {len(events) - 1} more" if len(events) > 1 else "")


def as_text(events: Sequence[Event], *, include_error: bool) -> str:
    """A mail's text. ``include_error``: whether what went wrong is told in words, not only by its code."""
    return "\n\n".join(_lines(event, include_error=include_error) for event in events) + "\n"


def _lines(event: Event, *, include_error: bool) -> str:
    told = event.message if include_error or event.error_code is None else "see azure-rotator rotated-secret describe"
    facts = {
        "item": event.item_name,
        "event": event.event_type,
        "time": iso(event.occurred_at),
        "trigger": event.trigger,
        "version": event.version,
        "error": event.error_code,
        "message": told,
        "id": event.event_id,
    }
    return "\n".join(f"{name + ':':<9}{_line(str(value))}" for name, value in facts.items() if value is not None)


def _line(text: str) -> str:
    """In one line: what begins a line of the mail is ours."""
    return " ".join(text.split())
