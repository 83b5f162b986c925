"""The columns: what they refuse, and that the model fits them."""

from __future__ import annotations

import traceback
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Table, insert, literal, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, StatementError

from azure_rotator.domain.errors import Corrupt, RotatorError
from azure_rotator.domain.model import (
    Account,
    AuditLine,
    Delivery,
    Event,
    Folder,
    Forwarder,
    RotatedSecret,
    Rotation,
    Target,
    TargetVersion,
    Version,
)
from azure_rotator.domain.secrettext import SealedBytes, SecretText
from azure_rotator.store import tables
from azure_rotator.store.column_types import Instant, Sealed, by_code_point, database_now
from azure_rotator.store.leases import is_free
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.inspection import Inspection

CANARY = "canary-in-a-statement"

# --- credentials

PLAIN = {"text": CANARY, "bytes": CANARY.encode(), "open secret": SecretText(CANARY)}


@pytest.mark.parametrize("plain", PLAIN.values(), ids=list(PLAIN))
@pytest.mark.parametrize("column", ["sealed_secret", "sealed_login", "sealed_value"])
def test_plain_text_cannot_be_stored_and_is_not_told(
    store: SqlUnitOfWork, outside: Inspection, column: str, plain: Any
):
    target = samples.add_target(store)
    item = samples.item(target.target_id, **({"sealed_login": plain} if column == "sealed_login" else {}))
    create = samples.rotation(item.item_id)
    version = samples.version(
        item.item_id, create.rotation_id, **({"sealed_value": plain} if column == "sealed_value" else {})
    )
    if column == "sealed_secret":
        write = partial(store.insert_target, samples.target(name="/plain", sealed_secret=plain), samples.line())
    else:
        write = partial(store.insert_item, item, version, create, samples.line())
    before = outside.everything()
    with pytest.raises(Exception, match="SealedBytes only") as refused:
        write()
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    assert outside.everything() == before


def test_no_error_quotes_what_was_bound(store: SqlUnitOfWork):
    """SQLAlchemy's own errors show the statement with its parameters, unless they are hidden."""
    values = tables.values_of(samples.target(sealed_secret=CANARY))
    with pytest.raises(StatementError, match="SealedBytes only") as refused, store._db.writing() as connection:
        connection.execute(insert(tables.targets), values)
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    with pytest.raises((IntegrityError, RotatorError)) as broken, store._db.writing() as connection:
        connection.execute(insert(tables.meta), {"store_id": CANARY[:16], "key_check": None})
    assert CANARY[:16] not in "".join(traceback.format_exception(broken.value))


def test_a_sealed_value_is_never_written_into_a_statement():
    statement = select(literal(SealedBytes(b"\x00sealed"), Sealed()))
    with pytest.raises(Exception, match="Could not render literal value"):
        statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})


def test_every_credential_column_is_sealed():
    named = {
        f"{table.name}.{column.name}"
        for table in tables.metadata.tables.values()
        for column in table.columns
        if column.name.startswith("sealed_")
    }
    typed = {
        f"{table.name}.{column.name}"
        for table in tables.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Sealed)
    }
    columns = {"targets.sealed_secret", "items.sealed_login", "versions.sealed_value", "mints.sealed_evidence"}
    columns |= {"target_versions.sealed_secret"}
    columns |= {f"forwarders.sealed_{part}" for part in ("url", "credential", "signing_key")}
    assert named == typed == columns


# --- instants

INSTANTS = {
    "UTC": datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
    "another zone": datetime(2026, 3, 1, 11, 0, tzinfo=timezone(timedelta(hours=2))),
    "with microseconds": datetime(2026, 3, 1, 9, 0, 0, 999_999, tzinfo=UTC),
}


@pytest.mark.parametrize("instant", INSTANTS.values(), ids=list(INSTANTS))
def test_an_instant_is_stored_in_utc_to_the_second(store: SqlUnitOfWork, outside: Inspection, instant: datetime):
    store.write_audit(samples.line(at=instant))
    (line,) = store.audit_lines()
    assert (line.at, line.at.utcoffset(), line.at.microsecond) == (samples.NOW, timedelta(0), 0)
    stored = "2026-03-01 09:00:00" if outside.database == "sqlite" else samples.NOW
    assert outside.execute("SELECT at FROM audit") == [(stored,)]
    assert list(store.audit_lines(since=instant)) == [line]


def test_an_instant_without_a_zone_is_refused(store: SqlUnitOfWork):
    naive = datetime(2026, 3, 1, 9, 0)  # noqa: DTZ001 - that is the point
    with pytest.raises(Exception, match="without a time zone"):
        store.write_audit(samples.line(at=naive))
    with pytest.raises(Exception, match="without a time zone"):
        store.audit_lines(since=naive)


def test_postgresql_keeps_the_zone():
    bind = Instant().bind_processor(postgresql.dialect())
    assert bind is not None
    assert bind(INSTANTS["another zone"]) == samples.NOW
    assert bind(INSTANTS["another zone"]).tzinfo is UTC


# --- the model

MODEL: dict[str, tuple[type[Any], Table]] = {
    "Target": (Target, tables.targets),
    "RotatedSecret": (RotatedSecret, tables.items),
    "Version": (Version, tables.versions),
    "Rotation": (Rotation, tables.rotations),
    "AuditLine": (AuditLine, tables.audit),
    "Event": (Event, tables.events),
    "TargetVersion": (TargetVersion, tables.target_versions),
    "Folder": (Folder, tables.folders),
    "Account": (Account, tables.account),
    "Forwarder": (Forwarder, tables.forwarders),
    "Delivery": (Delivery, tables.deliveries),
}
ONLY_THE_STORES = {"versions.key_id_lower", "rotations.worker", "rotations.lease_until"} | {
    "items.scheduled_for",
    "items.reminded_for",
    "items.remind_at",
    "audit.sequence",
    "events.sequence",
    "account.account_id",
    "deliveries.worker",
    "deliveries.lease_until",
}


def test_every_field_has_a_column_and_every_column_a_field():
    extra = set()
    for model, table in MODEL.values():
        names = {field.name for field in fields(model)}
        assert names <= set(table.columns.keys()), f"{model.__name__} has fields without a column"
        extra |= {f"{table.name}.{name}" for name in set(table.columns.keys()) - names}
    assert extra == ONLY_THE_STORES


UNKNOWN_WORDS = {
    "items.state": lambda store, item: store.find_item(item_id=item.item_id),
    "items.rotator_type": lambda store, item: store.list_items(),
    "versions.stage": lambda store, item: store.versions(item.item_id),
    "rotations.trigger": lambda store, item: store.get_rotation(store.versions(item.item_id)[0].rotation_id),
    "targets.connection_type": lambda store, item: store.list_targets(),
}


@pytest.mark.parametrize(("column", "read"), UNKNOWN_WORDS.items(), ids=list(UNKNOWN_WORDS))
def test_a_word_that_no_release_wrote_is_corruption(store: SqlUnitOfWork, outside: Inspection, column: str, read):
    item, _ = samples.add_item(store)
    table, _, name = column.partition(".")
    outside.execute(f"UPDATE {table} SET \"{name}\" = 'teapot'")  # noqa: S608 - names from the table above
    with pytest.raises(Corrupt) as refused:
        read(store, item)
    assert refused.value.code == "StoreCorrupt"


def test_an_unknown_word_is_not_written(store: SqlUnitOfWork, outside: Inspection):
    target = samples.add_target(store)
    before = outside.everything()
    wrong = samples.item(target.target_id, state="teapot")
    with pytest.raises(Exception, match="teapot"):
        store.insert_item(wrong, None, samples.rotation(wrong.item_id), samples.line())
    assert outside.everything() == before


# --- both databases


def test_the_databases_clock_is_asked_in_its_own_words():
    condition = is_free(tables.permits.c.lease_until)
    assert "julianday('now')" in str(condition.compile(dialect=sqlite.dialect()))
    assert "statement_timestamp()" in str(condition.compile(dialect=postgresql.dialect()))


def test_names_are_ordered_alike_in_every_language_of_a_database():
    statement = select(tables.items.c.name).order_by(by_code_point(tables.items.c.name))
    assert str(statement.compile(dialect=sqlite.dialect())).endswith("ORDER BY items.name")
    assert str(statement.compile(dialect=postgresql.dialect())).endswith('ORDER BY items.name COLLATE "C"')


def test_the_databases_clock_is_now(store: SqlUnitOfWork):
    before = datetime.now(UTC).timestamp()
    with store._db.reading() as connection:
        now = connection.execute(select(database_now())).scalar_one()
    after = datetime.now(UTC).timestamp()
    assert before - 0.002 <= now <= after + 0.002


PLANS = {
    "what is due": ("next_attempt_at <= :x", 5, "ix_rotations_due"),
    "what is due in a lane": ("lane = 'lane-7' AND next_attempt_at <= :x", 400, "ix_rotations_lane"),
}


@pytest.mark.parametrize(("condition", "days", "index"), PLANS.values(), ids=list(PLANS))
def test_what_is_open_is_found_by_an_index(store: SqlUnitOfWork, database: str, condition: str, days: int, index: str):
    due = [samples.NOW + number * samples.DAY for number in range(500)]
    many = [
        samples.rotation(samples.new_id(), lane=f"lane-{number % 50}", next_attempt_at=at)
        for number, at in enumerate(due)
    ]
    with store._db.writing() as connection:
        connection.execute(insert(tables.rotations), [tables.values_of(rotation) for rotation in many])
        connection.exec_driver_sql("ANALYZE rotations")
        is_open = tables.OPEN.compile(dialect=connection.dialect)
        explain = "EXPLAIN QUERY PLAN" if database == "sqlite" else "EXPLAIN"
        statement = f"{explain} SELECT rotation_id FROM rotations WHERE {is_open} AND {condition}"  # noqa: S608
        plan = connection.execute(text(statement), {"x": due[days].isoformat()}).fetchall()
    assert any(index in str(tuple(row)) for row in plan), plan
