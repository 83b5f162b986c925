"""Rows to test with: valid by themselves, each with ids of its own; a test names only what it is about."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, insert

from azure_rotator.domain.model import (
    AuditLine,
    AuthMode,
    ConnectionType,
    Event,
    Forwarder,
    ForwarderType,
    ItemState,
    Mint,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    RotatorType,
    RunnerType,
    Stage,
    Target,
    Trigger,
    Version,
    WebhookAuth,
)
from azure_rotator.domain.names import encode_id
from azure_rotator.domain.ports import Claim, Failure, Publication
from azure_rotator.domain.secrettext import SealedBytes
from azure_rotator.store import tables
from azure_rotator.store.unit_of_work import SqlUnitOfWork

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
DAY = timedelta(days=1)
LANE = "application:tenant-1:app-1"

_count = itertools.count(1)


def mint(claim: Claim, mint_id: str | None = None) -> Mint:
    """An attempt to mint by whoever holds the claim."""
    return Mint(mint_id=mint_id or new_id(), rotation_id=claim.rotation_id)


def new_id() -> str:
    return encode_id(next(_count).to_bytes(10, "big"))


def guid() -> str:
    return f"0A0B0C0D-0000-4000-8000-{next(_count):012d}"


def line(action: str = "create_item", path: str = "/prod/api", **changes: Any) -> AuditLine:
    fields: dict[str, Any] = {"at": NOW, "who": "ann", "action": action, "path": path, "result": "ok", "details": {}}
    return AuditLine(**(fields | changes))


def event(item: RotatedSecret, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": new_id(),
        "event_type": "rotated-secret-success",
        "item_id": item.item_id,
        "item_name": item.name,
        "occurred_at": NOW,
        "trigger": "manual",
        "version": 2,
        "message": "rotated",
    }
    return Event(**(fields | changes))


def target(**changes: Any) -> Target:
    fields: dict[str, Any] = {
        "target_id": new_id(),
        "name": "/azure/prod",
        "owner": "ann",
        "connection_type": ConnectionType.CREDENTIALS,
        "tenant_id": "tenant-1",
        "client_id": "client-1",
        "secret_reference": None,
        "sealed_secret": SealedBytes(b"\x00sealed target secret"),
        "description": "",
        "delete_protection": False,
        "version": 1,
        "created_at": NOW,
        "modified_at": NOW,
    }
    return Target(**(fields | changes))


def forwarder(**changes: Any) -> Forwarder:
    fields: dict[str, Any] = {
        "forwarder_id": new_id(),
        "name": "/ops",
        "forwarder_type": ForwarderType.WEBHOOK,
        "runner_type": RunnerType.IMMEDIATE,
        "every": None,
        "event_types": (),
        "items_event_source_locations": (),
        "targets_event_source_locations": (),
        "created_at": NOW,
        "modified_at": NOW,
        "url": "https://hooks.example/x?***",
        "sealed_url": SealedBytes(b"\x00sealed url"),
        "auth_type": WebhookAuth.BEARER_TOKEN,
        "sealed_credential": SealedBytes(b"\x00sealed token"),
        "sealed_signing_key": SealedBytes(b"\x00sealed signing key"),
    }
    return Forwarder(**(fields | changes))


def item(target_id: str, **changes: Any) -> RotatedSecret:
    fields: dict[str, Any] = {
        "item_id": new_id(),
        "name": "/prod/api",
        "owner": "ann",
        "state": ItemState.ACTIVE,
        "target_id": target_id,
        "rotator_type": RotatorType.API_KEY,
        "authentication": AuthMode.TARGET,
        "app_id": "app-1",
        "api_id": None,
        "auto_rotate": True,
        "rotation_interval": 90,
        "revoke_after": "24h",
        "description": "",
        "tags": ("team-a", "blue"),
        "delete_protection": False,
        "skip_dry_run": False,
        "created_at": NOW,
        "modified_at": NOW,
    }
    return RotatedSecret(**(fields | changes))


def rotation(item_id: str, **changes: Any) -> Rotation:
    rotation_id = new_id()
    fields: dict[str, Any] = {
        "rotation_id": rotation_id,
        "item_id": item_id,
        "lane": LANE,
        "trigger": Trigger.MANUAL,
        "state": RotationState.PLANNED,
        "idempotency_key": f"request:{rotation_id}",
        "created_at": NOW,
        "updated_at": NOW,
        "next_attempt_at": NOW,
    }
    return Rotation(**(fields | changes))


def version(item_id: str, rotation_id: str, **changes: Any) -> Version:
    fields: dict[str, Any] = {
        "version_id": new_id(),
        "item_id": item_id,
        "number": 1,
        "stage": Stage.CURRENT,
        "origin": Origin.MINTED,
        "key_id": guid(),
        "sealed_value": SealedBytes(b"\x00sealed value"),
        "rotation_id": rotation_id,
        "created_at": NOW,
    }
    return Version(**(fields | changes))


def add_target(store: SqlUnitOfWork, **changes: Any) -> Target:
    made = target(**{"name": f"/azure/{next(_count)}", **changes})
    store.insert_target(made, line("create_target", made.name))
    return made


def add_crowd(store: SqlUnitOfWork, count: int, *targets_of: Target, **changes: Any) -> list[RotatedSecret]:
    """So many items with a current version 1 each, in one transaction, as no use case makes them: in turn of these
    Targets. A change of the item, or ``expires_at`` of its version, may be a function of its number."""
    rows: dict[Table, list[dict[str, Any]]] = {tables.items: [], tables.rotations: [], tables.versions: []}
    made = []
    for number in range(count):
        own = {name: change(number) if callable(change) else change for name, change in changes.items()}
        expires_at = own.pop("expires_at", None)
        one = item(targets_of[number % len(targets_of)].target_id, **{"name": f"/crowd/{next(_count)}", **own})
        first = rotation(one.item_id, trigger=Trigger.CREATE, state=RotationState.DONE)
        current = version(one.item_id, first.rotation_id, expires_at=expires_at)
        made.append(one)
        rows[tables.items].append(tables.values_of(one))
        rows[tables.rotations].append(tables.values_of(first))
        rows[tables.versions].append(tables.values_of(current) | {"key_id_lower": current.key_id.lower()})
    with store._db.writing() as connection:
        for table, values in rows.items():
            connection.execute(insert(table), values)
    return made


def add_item(store: SqlUnitOfWork, *, target_id: str | None = None, **changes: Any) -> tuple[RotatedSecret, Version]:
    """An active item with a current version 1, made by a rotation that is done."""
    made = item(target_id or add_target(store).target_id, **{"name": f"/prod/{next(_count)}", **changes})
    first = rotation(made.item_id, trigger=Trigger.CREATE, state=RotationState.DONE)
    current = version(made.item_id, first.rotation_id)
    store.insert_item(made, current, first, line(path=made.name))
    return made, current


def claimed(store: SqlUnitOfWork, made: Rotation, worker: str = "worker-1", now: datetime = NOW) -> Claim:
    claim = store.claim(made.rotation_id, worker, now)
    assert claim is not None, "nobody else should hold it"
    return claim


def started(store: SqlUnitOfWork, item_id: str, **changes: Any) -> tuple[Rotation, Claim]:
    """A new rotation of the item, claimed."""
    made = store.insert_rotation(rotation(item_id, **changes))
    return made, claimed(store, made)


def with_pending(
    store: SqlUnitOfWork, item_id: str, *, number: int = 2, **changes: Any
) -> tuple[Rotation, Claim, Version]:
    """A new rotation that has minted."""
    made, claim = started(store, item_id, **changes)
    pending = version(item_id, made.rotation_id, number=number, stage=Stage.PENDING)
    store.begin_minting(claim, NOW, mint(claim))
    store.store_pending(claim, pending, NOW + timedelta(minutes=5), NOW)
    return made, claim, pending


def publication(made: RotatedSecret, pending: Version, replaced: Version | None, **changes: Any) -> Publication:
    fields: dict[str, Any] = {
        "version_id": pending.version_id,
        "replaced_version_id": replaced.version_id if replaced else None,
        "retire_at": LATER + DAY if replaced else None,
        "retire_early": (),
        "published_at": LATER,
        "counted_from": LATER,
        "next_rotation_at": LATER + 90 * DAY,
        "next_attempt_at": LATER + DAY,
        "events": (event(made),),
        "audit": line("rotate_item", made.name),
    }
    return Publication(**(fields | changes))


def published(
    store: SqlUnitOfWork, made: RotatedSecret, replaced: Version, *, number: int = 2, **changes: Any
) -> tuple[Rotation, Version]:
    """A rotation of the item that was published and given back; the old version waits to be retired."""
    done, claim, pending = with_pending(store, made.item_id, number=number)
    store.publish(claim, publication(made, pending, replaced, **changes))
    store.release(claim)
    return done, pending


@dataclass(frozen=True)
class Scene:
    """A rotation that has minted, and all that a step of it may need."""

    store: SqlUnitOfWork
    item: RotatedSecret
    current: Version
    made: Rotation
    claim: Claim
    pending: Version


def scene(store: SqlUnitOfWork) -> Scene:
    made_item, current = add_item(store)
    made, claim, pending = with_pending(store, made_item.item_id)
    return Scene(store=store, item=made_item, current=current, made=made, claim=claim, pending=pending)


FAILURE = Failure(code="AzureThrottled", text="Graph asks to wait")
