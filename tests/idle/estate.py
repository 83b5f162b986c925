"""A store with any number of items in seconds: a thousand are rows of the model, the others copies by the database.

Of a thousand items 950 have a client secret of an application of their own, 30 a user's password, 20 a storage key; 5
are parked, 10 have a secret that ends in a week and is not rotated, of 100 the replaced secret is still to be removed.
The others are due within 90 days, none soon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, product
from typing import Any

from sqlalchemy import Column, ColumnElement, Insert, Table, event, func, insert, literal, select, text, update

from azure_rotator.domain.kinds import lane
from azure_rotator.domain.model import RotatedSecret, RotationState, RotatorType, Target, Trigger
from azure_rotator.domain.ports import Sealer
from azure_rotator.domain.secrettext import SealedBytes, SecretText
from azure_rotator.engine.context import target_place
from azure_rotator.store import tables
from azure_rotator.store.connect import Database
from azure_rotator.store.location import locate
from tests.store import samples

BLOCK = 1_000
FIRST_DUE = timedelta(hours=8)
_DAY = timedelta(days=1)
_SPREAD = 90 * _DAY
_PARKED, _ENDING, _RETIRING = 200, 100, 10  # one in so many
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SAMPLE = "aaaa"  # what the ids of the samples begin with; each copy has letters of its own in this place
_AFTER_SAMPLE = "aaab"
_KEYS: dict[Table, Column[Any]] = {
    tables.items: tables.items.c.item_id,
    tables.rotations: tables.rotations.c.rotation_id,
    tables.mints: tables.mints.c.mint_id,
    tables.versions: tables.versions.c.version_id,
    tables.events: tables.events.c.event_id,
}
_IDS = ("item_id", "version_id", "rotation_id", "mint_id", "event_id")
_NAMES = ("name", "app_id", "username", "resource_name", "lane", "idempotency_key", "key_id", "key_id_lower")

_NONE: Mapping[str, datetime] = {}

Row = dict[str, Any]


def fill(
    url: str,
    sealer: Sealer,
    count: int,
    *,
    now: datetime,
    acting: tuple[str, str, str],
    sweeps: Mapping[str, datetime] = _NONE,
) -> None:
    """Fill a new store with so many items, by the thousand.

    Args:
        acting: The Target's tenant, client id and secret.
        sweeps: Applications that there are, and when each is to be looked at for orphans.
    """
    tenant_id, client_id, secret = acting
    target = samples.target(
        tenant_id=tenant_id, client_id=client_id, subscription_id="5b0", resource_group_name="group"
    )
    sealed = sealer.seal(SecretText(secret), target_place(target.target_id, target.version))
    rows = _sample_rows(target, now, list(sweeps))
    database = Database(locate(url))
    if locate(url).path is not None:
        event.listen(database.engine, "connect", _hurry)
    try:
        with database.writing() as connection:
            connection.execute(insert(tables.targets).values({**tables.values_of(target), "sealed_secret": sealed}))
            for table, values in rows.items():
                connection.execute(insert(table), values)
        for letters in islice(product(_LETTERS, repeat=len(_SAMPLE)), 1, count // BLOCK):
            with database.writing() as connection:
                for table in rows:
                    connection.execute(_copy(table, "".join(letters)))
        with database.writing() as connection:
            lanes = select(tables.rotations.c.lane, literal(1)).distinct()
            connection.execute(insert(tables.permits).from_select(["lane", "fence"], lanes))
            for app_id, at in sweeps.items():
                place = f"application:{tenant_id}:{app_id}"
                connection.execute(update(tables.permits).where(tables.permits.c.lane == place).values(sweep_at=at))
        if locate(url).path is None:  # what the server does by itself in a while
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
    finally:
        database.close()


def _hurry(connection: Any, _: object) -> None:
    """Room for all indexes, and no wait for the disk: a million take SQLite three minutes instead of seven."""
    for pragma in ("cache_size=-512000", "synchronous=OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _sample_rows(target: Target, now: datetime, app_ids: Sequence[str]) -> dict[Table, list[Row]]:
    rows: dict[Table, list[Row]] = {table: [] for table in _KEYS}
    for number in range(BLOCK):
        item = _item(number, target.target_id, now, app_ids)
        due, last = item.next_rotation_at, item.last_rotation_at
        is_parked = number % _PARKED == 1
        rows[tables.items].append(
            {**tables.values_of(item), "reminded_for": due, "scheduled_for": due if is_parked else None}
        )
        mint_id = samples.new_id()
        waits = number % _RETIRING == 5
        done = samples.rotation(
            item.item_id,
            lane=lane(item, target),
            state=RotationState.PUBLISHED if waits else RotationState.DONE,
            created_at=last,
            next_attempt_at=now + _DAY if waits else last,
            mint_id=mint_id,
        )
        rows[tables.rotations].append(tables.values_of(done))
        rows[tables.mints].append({"mint_id": mint_id, "rotation_id": done.rotation_id})
        # As long as a sealed value is.
        version = samples.version(
            item.item_id,
            done.rotation_id,
            number=2,
            created_at=last,
            expires_at=now + 7 * _DAY if due is None else due + _SPREAD,
            sealed_value=SealedBytes(bytes(160)),
        )
        rows[tables.versions].append({**tables.values_of(version), "key_id_lower": version.key_id.lower()})
        rows[tables.events].append(tables.values_of(samples.event(item, occurred_at=last)))
        if is_parked:
            failed = samples.rotation(
                item.item_id,
                lane=lane(item, target),
                trigger=Trigger.AUTOMATIC,
                state=RotationState.FAILED,
                parked=True,
                next_attempt_at=due,
                error_code="AzurePermissionMissing",
                error_text="it may not",
            )
            rows[tables.rotations].append(tables.values_of(failed))
            told = samples.event(item, event_type="rotated-secret-failure", occurred_at=now - timedelta(hours=2))
            rows[tables.events].append(tables.values_of(told))
    return rows


def _item(number: int, target_id: str, now: datetime, app_ids: Sequence[str]) -> RotatedSecret:
    ends = number % _ENDING == 0
    due = None if ends else now + FIRST_DUE + (_SPREAD - FIRST_DUE) * number / BLOCK
    facts: Row = {"rotator_type": RotatorType.API_KEY, "app_id": f"app-{number}"}
    if number < len(app_ids):
        facts["app_id"] = app_ids[number]
    elif number % 100 in {50, 51, 52}:
        facts = {"rotator_type": RotatorType.PASSWORD, "app_id": "", "username": f"user-{number}"}
    elif number % 100 in {60, 61}:
        facts = {"rotator_type": RotatorType.STORAGE_ACCOUNT, "app_id": "", "resource_name": f"account{number}"}
    return samples.item(
        target_id,
        name=f"/idle/{number}",
        created_at=now - 2 * _SPREAD,
        last_rotation_at=now - _DAY if due is None else due - _SPREAD,
        next_rotation_at=due,
        auto_rotate=not ends,
        rotation_hour=number % 24 if number % 2 else None,
        time_zone="Europe/Berlin",
        rotation_event_in=(5,),
        **facts,
    )


def _copy(table: Table, letters: str) -> Insert:
    """The samples once more, under other ids and names."""
    key, copied = _KEYS[table], [column for column in table.c if column.name != "sequence"]
    found = select(*(_copied(column, letters) for column in copied)).where(key >= _SAMPLE, key < _AFTER_SAMPLE)
    return insert(table).from_select([column.name for column in copied], found)


def _copied(column: Column[Any], letters: str) -> ColumnElement[Any]:
    if column.name in _IDS:
        return literal(letters) + func.substr(column, len(letters) + 1)
    return column + literal(f"-{letters}") if column.name in _NAMES else column
