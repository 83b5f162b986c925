"""Nouns to reason about; a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from azure_rotator.domain.model import (
    AuthMode,
    ItemState,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    RotatorType,
    Stage,
    Trigger,
    Version,
)
from azure_rotator.domain.names import encode_id

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def id_of(number: int) -> str:
    return encode_id(number.to_bytes(10, "big"))


ITEM_ID = id_of(1)
OPERATION = id_of(2)


def item(**changes: Any) -> RotatedSecret:
    fields: dict[str, Any] = {
        "item_id": ITEM_ID,
        "name": "/prod/billing",
        "owner": "",
        "state": ItemState.ACTIVE,
        "target_id": id_of(3),
        "rotator_type": RotatorType.API_KEY,
        "authentication": AuthMode.TARGET,
        "app_id": "22222222-2222-4222-8222-222222222222",
        "api_id": None,
        "auto_rotate": False,
        "rotation_interval": None,
        "revoke_after": None,
        "description": "",
        "tags": (),
        "delete_protection": False,
        "skip_dry_run": False,
        "created_at": NOW,
        "modified_at": NOW,
    }
    return RotatedSecret(**(fields | changes))


def rotation(**changes: Any) -> Rotation:
    fields: dict[str, Any] = {
        "rotation_id": OPERATION,
        "item_id": ITEM_ID,
        "lane": "application:t:a",
        "trigger": Trigger.MANUAL,
        "state": RotationState.PLANNED,
        "idempotency_key": "k",
        "created_at": NOW,
        "updated_at": NOW,
        "next_attempt_at": NOW,
    }
    return Rotation(**(fields | changes))


def version(number: int, stage: Stage, **changes: Any) -> Version:
    fields: dict[str, Any] = {
        "version_id": id_of(1_000 + number),
        "item_id": ITEM_ID,
        "number": number,
        "stage": stage,
        "origin": Origin.MINTED,
        "key_id": f"00000000-0000-4000-8000-{number:012d}",
        "sealed_value": None,
        "rotation_id": OPERATION,
        "created_at": NOW,
    }
    return Version(**(fields | changes))
