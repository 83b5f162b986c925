"""The tables. A column is named as the model's field it holds; ``values_of`` and ``columns_of`` map both ways.

The rules that must hold however many processes write are indexes here, not code elsewhere:

- one Target a name among those not deleted; one item a name among those not being undone;
- one version a number among an item's versions that are not abandoned, and one current version an item;
- one holder a keyId among versions that may still exist in Azure (keyIds compare without case);
- one item a storage key, user or Target's own secret; one folder a path;
- one forwarder a name; one delivery a forwarder and event;
- one rotation an idempotency key; one unpublished rotation and one open delete an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    false,
    literal_column,
    or_,
    true,
)

from azure_rotator.domain.model import (
    AuthMode,
    ConnectionType,
    ForwarderType,
    GraceTiming,
    ItemState,
    Origin,
    RotationState,
    RotatorStatus,
    RotatorType,
    RunnerType,
    Stage,
    StorageKeyMode,
    Trigger,
    WebhookAuth,
)
from azure_rotator.store.column_types import Instant, Numbers, Sealed, Word, Words

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

ID = String(16)
# SQLite counts only in a column that is exactly INTEGER PRIMARY KEY.
SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("store_id", ID, primary_key=True),
    Column("key_check", String(64), nullable=False),
)

targets = Table(
    "targets",
    metadata,
    Column("target_id", ID, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("owner", Text, nullable=False),
    Column("connection_type", Word(ConnectionType), nullable=False),
    Column("tenant_id", Text),
    Column("client_id", Text),
    Column("secret_reference", Text),
    Column("sealed_secret", Sealed),
    Column("description", Text, nullable=False),
    Column("delete_protection", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("modified_at", Instant, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("client_secret_id", Text),
    Column("azure_cloud", String(40), nullable=False, server_default="AzureCloud"),
    Column("subscription_id", Text),
    Column("resource_group_name", Text),
    Column("resource_name", Text),
    Column("max_versions", Integer),
    Column("keep_prev_version", Boolean),
)

# Every client secret that a Target was given or minted for, as far as they are kept; the newest is the Target's own.
target_versions = Table(
    "target_versions",
    metadata,
    Column("target_id", ID, ForeignKey("targets.target_id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("secret_reference", Text),
    Column("sealed_secret", Sealed),
    Column("client_secret_id", Text),
    Column("created_at", Instant, nullable=False),
)

folders = Table(
    "folders",
    metadata,
    Column("folder_id", ID, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("tags", Words, nullable=False),
    Column("delete_protection", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("modified_at", Instant, nullable=False),
    Column("revision", Integer, nullable=False),
)

# One row, made by the first change; without it everything has the product's default.
account = Table(
    "account",
    metadata,
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("default_versioning", Boolean, nullable=False),
    Column("max_versions", Integer, nullable=False),
    Column("items_deletion_protection", Boolean, nullable=False),
    Column("max_rotation_interval_enable", Boolean, nullable=False),
    Column("max_rotation_interval", Integer, nullable=False),
    Column("password_length", Integer, nullable=False),
    Column("use_capital_letters", Boolean, nullable=False),
    Column("use_lower_letters", Boolean, nullable=False),
    Column("use_numbers", Boolean, nullable=False),
    Column("use_special_characters", Boolean, nullable=False),
    Column("invalid_characters", Text, nullable=False),
    Column("usage_event_enable", Boolean, nullable=False),
    Column("usage_event_interval", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
)

items = Table(
    "items",
    metadata,
    Column("item_id", ID, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("owner", Text, nullable=False),
    Column("state", Word(ItemState), nullable=False),
    Column("target_id", ID, ForeignKey("targets.target_id"), nullable=False),
    Column("rotator_type", Word(RotatorType), nullable=False),
    Column("authentication", Word(AuthMode), nullable=False),
    Column("app_id", Text, nullable=False),
    Column("api_id", Text),
    Column("auto_rotate", Boolean, nullable=False),
    Column("rotation_interval", Integer),
    Column("revoke_after", Text),
    Column("description", Text, nullable=False),
    Column("tags", Words, nullable=False),
    Column("delete_protection", Boolean, nullable=False),
    Column("skip_dry_run", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("modified_at", Instant, nullable=False),
    Column("accessed_at", Instant),
    Column("last_rotation_at", Instant),
    Column("next_rotation_at", Instant),
    Column("rotator_status", Word(RotatorStatus)),
    Column("error_code", Text),
    Column("error_text", Text),
    Column("sealed_login", Sealed),
    Column("arguments_digest", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("username", Text),
    Column("storage_key_name", String(40)),
    Column("storage_key_mode", Word(StorageKeyMode)),
    Column("resource_group_name", Text),
    Column("resource_name", Text),
    Column("rotate_on_read", Boolean, nullable=False, server_default=false()),
    Column("credential_lifetime", Integer),
    Column("password_length", Integer),
    Column("use_capital_letters", Boolean),
    Column("use_lower_letters", Boolean),
    Column("use_numbers", Boolean),
    Column("use_special_characters", Boolean),
    Column("max_versions", Integer),
    Column("keep_prev_version", Boolean),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("grace_rotation", Boolean, nullable=False, server_default=false()),
    Column("grace_rotation_interval", Integer),
    Column("grace_rotation_hour", Integer),
    Column("grace_rotation_timing", Word(GraceTiming)),
    Column("rotation_hour", Integer),
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    Column("rotation_offset", Integer),
    Column("rotation_event_in", Numbers, nullable=False, server_default="[]"),
    Column("counted_from", Instant),
    # The due instant for which the scheduler last planned a rotation: another one is to be planned when it differs.
    Column("scheduled_for", Instant),
    # The due instant for which reminders were last planned, and when the next of them is to be told.
    Column("reminded_for", Instant),
    Column("remind_at", Instant),
)

# How often which outcome came of an item's rotations: ``ok``, or an error's code. What the item was is written down
# too, and the row outlives it: a sum never gets smaller.
outcomes = Table(
    "outcomes",
    metadata,
    Column("item_id", ID, primary_key=True),
    Column("code", String(80), primary_key=True),
    Column("target_id", ID, nullable=False),
    Column("rotator_type", Word(RotatorType), nullable=False),
    Column("count", Integer, nullable=False),
)

# What an item manages besides client secrets, whose keyIds are ruled by ``uq_versions_key_id``: a key of a storage
# account, a user's password, a Target's own secret. One item a credential.
holdings = Table(
    "holdings",
    metadata,
    Column("item_id", ID, ForeignKey("items.item_id"), primary_key=True),
    Column("holding", String(400), primary_key=True),
)

rotations = Table(
    "rotations",
    metadata,
    Column("rotation_id", ID, primary_key=True),
    # No foreign key: the journal outlives its items, so that a stamp found years later is still known to be ours.
    Column("item_id", ID, nullable=False),
    Column("lane", Text, nullable=False),
    Column("trigger", Word(Trigger), nullable=False),
    Column("state", Word(RotationState), nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("next_attempt_at", Instant, nullable=False),
    Column("mint_uncertain", Boolean, nullable=False),
    Column("confirmations", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("proof_deadline_at", Instant),
    Column("replaced_version_id", ID),
    Column("error_code", Text),
    Column("error_text", Text),
    Column("closed", Boolean, nullable=False),
    Column("fence", Integer, nullable=False),
    # Who holds it, until when by the database's clock; both null when nobody does.
    Column("worker", Text),
    Column("lease_until", Double),
    Column("mint_id", ID),
    Column("revoke_now", Boolean, nullable=False, server_default=false()),
    Column("due_at", Instant),
    Column("parked", Boolean, nullable=False, server_default=false()),
)

# One row per attempt to mint, written before the attempt: what a stamp names.
mints = Table(
    "mints",
    metadata,
    Column("mint_id", ID, primary_key=True),
    Column("rotation_id", ID, ForeignKey("rotations.rotation_id"), nullable=False),
    Column("slot", String(40)),
    Column("sealed_evidence", Sealed),
    Column("seen_at", Instant),
)

versions = Table(
    "versions",
    metadata,
    Column("version_id", ID, primary_key=True),
    Column("item_id", ID, ForeignKey("items.item_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("stage", Word(Stage), nullable=False),
    Column("origin", Word(Origin), nullable=False),
    Column("key_id", Text, nullable=False),
    # A keyId in lower case; of what has a name of its own (a storage key, a user) the version's id, since that name
    # comes back with each version. A column and not an index on lower(key_id): neither SQLite nor Alembic can compare
    # an index on an expression.
    Column("key_id_lower", Text, nullable=False),
    Column("sealed_value", Sealed),
    Column("rotation_id", ID, ForeignKey("rotations.rotation_id"), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("retire_at", Instant),
    Column("revoked_at", Instant),
    Column("expires_note", Text),
)

permits = Table(
    "permits",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("worker", Text),
    Column("lease_until", Double),
    Column("not_before", Instant),
    Column("fence", Integer, nullable=False),
    # Of a tenant or subscription: up to when its budget of requests is spoken for, in seconds since 1970. Of a turn:
    # when the next one may be taken.
    Column("booked_until", Double),
    # Of an application: when it is to be looked at for orphans. Null: nobody has worked on it since the last look.
    Column("sweep_at", Instant),
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", SEQUENCE, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("details", JSON, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("sequence", SEQUENCE, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("item_id", ID, nullable=False),
    Column("item_name", String(255), nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("version", Integer),
    Column("message", Text, nullable=False),
    Column("error_code", Text),
)

forwarders = Table(
    "forwarders",
    metadata,
    Column("forwarder_id", ID, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("forwarder_type", Word(ForwarderType), nullable=False),
    Column("runner_type", Word(RunnerType), nullable=False),
    Column("every", Integer),
    Column("event_types", Words, nullable=False),
    Column("items_event_source_locations", Words, nullable=False),
    Column("targets_event_source_locations", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("modified_at", Instant, nullable=False),
    Column("url", Text),
    Column("sealed_url", Sealed),
    Column("auth_type", Word(WebhookAuth)),
    Column("username", Text),
    Column("credential_reference", Text),
    Column("sealed_credential", Sealed),
    Column("signing_reference", Text),
    Column("sealed_signing_key", Sealed),
    Column("email_to", Words, nullable=False),
    Column("include_error", Boolean, nullable=False),
    Column("revision", Integer, nullable=False),
)

# Written together with the event, one for each forwarder that wants it: nobody has to find out later which events are
# new, for a lower sequence may be committed after a higher one (docs/adr/0013).
deliveries = Table(
    "deliveries",
    metadata,
    Column("forwarder_id", ID, ForeignKey("forwarders.forwarder_id"), primary_key=True),
    Column("event_id", Text, ForeignKey("events.event_id"), primary_key=True),
    Column("next_attempt_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_attempt_at", Instant),
    Column("attempted_at", Instant),
    Column("delivered_at", Instant),
    Column("given_up_at", Instant),
    Column("error_code", Text),
    Column("error_text", Text),
    Column("worker", Text),
    Column("lease_until", Double),
)


def _word(text: str) -> ColumnElement[str]:
    # A literal, not a parameter: SQLite uses a partial index only where the query repeats its condition word for word.
    return literal_column(f"'{text}'", String())


def _is_any(column: Column[Any], *words: str) -> ColumnElement[bool]:
    return column.in_([_word(word) for word in words])


# A rotation that somebody still has to work on.
OPEN = and_(rotations.c.state != _word(RotationState.DONE), rotations.c.closed.is_(false()))
UNPUBLISHED_STATES = (RotationState.PLANNED, RotationState.MINTING, RotationState.MINTED, RotationState.PROVING)
UNPUBLISHED = and_(
    rotations.c.trigger != _word(Trigger.DELETE),
    or_(
        _is_any(rotations.c.state, *UNPUBLISHED_STATES),
        and_(rotations.c.state == _word(RotationState.FAILED), rotations.c.closed.is_(false())),
    ),
)
OPEN_DELETE = and_(rotations.c.trigger == _word(Trigger.DELETE), OPEN)
# An item whose schedule runs.
# Said otherwise than below: SQLite would take this one's index, of many rows, for what is asked at every poll.
SCHEDULED = and_(
    items.c.state == _word(ItemState.ACTIVE), items.c.enabled.is_not(false()), items.c.next_rotation_at.is_not(None)
)
# An item whose schedule runs, and what it is due for is not planned yet.
UNPLANNED = and_(
    items.c.state == _word(ItemState.ACTIVE),
    items.c.enabled.is_(true()),
    items.c.next_rotation_at.is_not(None),
    or_(items.c.scheduled_for.is_(None), items.c.scheduled_for != items.c.next_rotation_at),
)
# An item whose schedule runs, and the reminders of what it is due for are not planned yet.
UNREMINDED = and_(
    items.c.state == _word(ItemState.ACTIVE),
    items.c.enabled.is_(true()),
    items.c.next_rotation_at.is_not(None),
    or_(items.c.reminded_for.is_(None), items.c.reminded_for != items.c.next_rotation_at),
)
TO_REMIND = items.c.remind_at.is_not(None)
NAMED = items.c.state != _word(ItemState.UNDOING)
# A delivery that somebody still has to make.
WAITING = and_(deliveries.c.delivered_at.is_(None), deliveries.c.given_up_at.is_(None))
HELD = versions.c.stage != _word(Stage.REVOKED)
IS_CURRENT = versions.c.stage == _word(Stage.CURRENT)
EXPIRES = and_(IS_CURRENT, versions.c.expires_at.is_not(None))


def _rule(name: str, *columns: Column[Any], where: ColumnElement[bool] | None = None) -> str:
    Index(name, *columns, unique=True, sqlite_where=where, postgresql_where=where)
    return name


TARGET_NAME = _rule("uq_targets_name", targets.c.name, where=targets.c.deleted.is_(false()))
ITEM_NAME = _rule("uq_items_name", items.c.name, where=NAMED)
VERSION_NUMBER = _rule(
    "uq_versions_number", versions.c.item_id, versions.c.number, where=versions.c.stage != _word(Stage.ABANDONED)
)
ONE_CURRENT = _rule("uq_versions_current", versions.c.item_id, where=IS_CURRENT)
KEY_ID = _rule("uq_versions_key_id", versions.c.key_id_lower, where=HELD)
HOLDING = _rule("uq_holdings_holding", holdings.c.holding)
IDEMPOTENCY_KEY = _rule("uq_rotations_idempotency_key", rotations.c.idempotency_key)
ONE_UNPUBLISHED = _rule("uq_rotations_unpublished", rotations.c.item_id, where=UNPUBLISHED)
# The trigger is constant here; it is indexed so that SQLite, which reports columns, tells this rule from the one above.
ONE_DELETE = _rule("uq_rotations_delete", rotations.c.item_id, rotations.c.trigger, where=OPEN_DELETE)
FOLDER_NAME = _rule("uq_folders_name", folders.c.name)
FORWARDER_NAME = _rule("uq_forwarders_name", forwarders.c.name)
EVENT_ID = _rule("uq_events_event_id", events.c.event_id)

Index("ix_rotations_due", rotations.c.next_attempt_at, sqlite_where=OPEN, postgresql_where=OPEN)
Index("ix_deliveries_due", deliveries.c.next_attempt_at, sqlite_where=WAITING, postgresql_where=WAITING)
Index("ix_rotations_lane", rotations.c.lane, rotations.c.next_attempt_at, sqlite_where=OPEN, postgresql_where=OPEN)
Index("ix_items_unplanned", items.c.next_rotation_at, sqlite_where=UNPLANNED, postgresql_where=UNPLANNED)
Index("ix_items_unreminded", items.c.next_rotation_at, sqlite_where=UNREMINDED, postgresql_where=UNREMINDED)
Index("ix_items_remind_at", items.c.remind_at, sqlite_where=TO_REMIND, postgresql_where=TO_REMIND)
PAUSED = permits.c.not_before.is_not(None)
Index("ix_permits_paused", permits.c.not_before, sqlite_where=PAUSED, postgresql_where=PAUSED)
TO_SWEEP = permits.c.sweep_at.is_not(None)
Index("ix_permits_sweep_at", permits.c.sweep_at, sqlite_where=TO_SWEEP, postgresql_where=TO_SWEEP)
Index("ix_rotations_item", rotations.c.item_id)
Index("ix_items_target", items.c.target_id)
Index("ix_items_app", items.c.app_id)
Index("ix_versions_item", versions.c.item_id)
# Everything that counting items asks of them: the rows themselves, ten times as large, are left alone.
Index(
    "ix_items_census",
    items.c.target_id,
    items.c.rotator_type,
    items.c.state,
    items.c.enabled,
    items.c.next_rotation_at,
    items.c.last_rotation_at,
    items.c.created_at,
)
Index("ix_outcomes_census", outcomes.c.target_id, outcomes.c.rotator_type, outcomes.c.code, outcomes.c.count)
Index("ix_items_scheduled", items.c.next_rotation_at, sqlite_where=SCHEDULED, postgresql_where=SCHEDULED)
Index("ix_versions_expiry", versions.c.expires_at, sqlite_where=EXPIRES, postgresql_where=EXPIRES)
Index("ix_audit_path", audit.c.path)
Index("ix_events_item", events.c.item_id, events.c.sequence)


def values_of(value: DataclassInstance) -> dict[str, Any]:
    """The fields of a model value by column name. Not ``asdict``: it would copy the values inside."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def columns_of(table: Table, model: type[DataclassInstance]) -> tuple[Column[Any], ...]:
    """The columns that make up a model value, and none that only the store knows."""
    return tuple(table.c[field.name] for field in fields(model))


def labelled(prefix: str, columns: Sequence[Column[Any]]) -> list[ColumnElement[Any]]:
    """Columns of one table among those of others, to be taken out again by ``part_of``."""
    return [column.label(f"{prefix}/{column.name}") for column in columns]


def part_of(row: RowMapping, prefix: str, columns: Sequence[Column[Any]]) -> dict[str, Any]:
    """What a row has of the columns that were labelled with this prefix, by their own names."""
    return {column.name: row[f"{prefix}/{column.name}"] for column in columns}
