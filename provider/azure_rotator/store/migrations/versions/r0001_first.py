"""The first schema.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# The schema as it was at this revision: nothing here follows ``tables`` when that moves on.
_INSTANT = sa.DateTime(timezone=True)
_WORD = sa.String(40)
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("store_id", sa.String(16), nullable=False),
        sa.Column("key_check", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("store_id", name="pk_meta"),
    )
    op.create_table(
        "targets",
        sa.Column("target_id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("connection_type", _WORD, nullable=False),
        sa.Column("tenant_id", sa.Text()),
        sa.Column("client_id", sa.Text()),
        sa.Column("secret_reference", sa.Text()),
        sa.Column("sealed_secret", sa.LargeBinary()),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("delete_protection", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("modified_at", _INSTANT, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("target_id", name="pk_targets"),
    )
    _rule("uq_targets_name", "targets", "name", where="deleted IS false")
    op.create_table(
        "items",
        sa.Column("item_id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("target_id", sa.String(16), nullable=False),
        sa.Column("rotator_type", _WORD, nullable=False),
        sa.Column("authentication", _WORD, nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("api_id", sa.Text()),
        sa.Column("auto_rotate", sa.Boolean(), nullable=False),
        sa.Column("rotation_interval", sa.Integer()),
        sa.Column("revoke_after", sa.Text()),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("delete_protection", sa.Boolean(), nullable=False),
        sa.Column("skip_dry_run", sa.Boolean(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("modified_at", _INSTANT, nullable=False),
        sa.Column("accessed_at", _INSTANT),
        sa.Column("last_rotation_at", _INSTANT),
        sa.Column("next_rotation_at", _INSTANT),
        sa.Column("rotator_status", _WORD),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_text", sa.Text()),
        sa.Column("sealed_login", sa.LargeBinary()),
        sa.Column("arguments_digest", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("item_id", name="pk_items"),
        sa.ForeignKeyConstraint(["target_id"], ["targets.target_id"], name="fk_items_target_id"),
    )
    _rule("uq_items_name", "items", "name", where="state != 'undoing'")
    _index("ix_items_target", "items", "target_id")
    op.create_table(
        "rotations",
        sa.Column("rotation_id", sa.String(16), nullable=False),
        sa.Column("item_id", sa.String(16), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("trigger", _WORD, nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("next_attempt_at", _INSTANT, nullable=False),
        sa.Column("mint_uncertain", sa.Boolean(), nullable=False),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("proof_deadline_at", _INSTANT),
        sa.Column("replaced_version_id", sa.String(16)),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_text", sa.Text()),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("lease_until", sa.Double()),
        sa.PrimaryKeyConstraint("rotation_id", name="pk_rotations"),
    )
    _rule(
        "uq_rotations_delete",
        "rotations",
        "item_id",
        "trigger",
        where="\"trigger\" = 'delete' AND state != 'done' AND closed IS false",
    )
    _rule("uq_rotations_idempotency_key", "rotations", "idempotency_key")
    _rule(
        "uq_rotations_unpublished",
        "rotations",
        "item_id",
        where=(
            "\"trigger\" != 'delete' AND (state IN ('planned', 'minting', 'minted', 'proving') "
            "OR state = 'failed' AND closed IS false)"
        ),
    )
    _index("ix_rotations_due", "rotations", "next_attempt_at", where="state != 'done' AND closed IS false")
    _index("ix_rotations_item", "rotations", "item_id")
    _index("ix_rotations_lane", "rotations", "lane", "next_attempt_at", where="state != 'done' AND closed IS false")
    op.create_table(
        "mints",
        sa.Column("mint_id", sa.String(16), nullable=False),
        sa.Column("rotation_id", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("mint_id", name="pk_mints"),
        sa.ForeignKeyConstraint(["rotation_id"], ["rotations.rotation_id"], name="fk_mints_rotation_id"),
    )
    op.create_table(
        "versions",
        sa.Column("version_id", sa.String(16), nullable=False),
        sa.Column("item_id", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("stage", _WORD, nullable=False),
        sa.Column("origin", _WORD, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("key_id_lower", sa.Text(), nullable=False),
        sa.Column("sealed_value", sa.LargeBinary()),
        sa.Column("rotation_id", sa.String(16), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT),
        sa.Column("retire_at", _INSTANT),
        sa.Column("revoked_at", _INSTANT),
        sa.PrimaryKeyConstraint("version_id", name="pk_versions"),
        sa.ForeignKeyConstraint(["item_id"], ["items.item_id"], name="fk_versions_item_id"),
        sa.ForeignKeyConstraint(["rotation_id"], ["rotations.rotation_id"], name="fk_versions_rotation_id"),
    )
    _rule("uq_versions_current", "versions", "item_id", where="stage = 'current'")
    _rule("uq_versions_key_id", "versions", "key_id_lower", where="stage != 'revoked'")
    _rule("uq_versions_number", "versions", "item_id", "number", where="stage != 'abandoned'")
    _index("ix_versions_item", "versions", "item_id")
    op.create_table(
        "permits",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("lease_until", sa.Double()),
        sa.Column("not_before", _INSTANT),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("lane", name="pk_permits"),
    )
    op.create_table(
        "audit",
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
    )
    _index("ix_audit_path", "audit", "path")
    op.create_table(
        "events",
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("item_id", sa.String(16), nullable=False),
        sa.Column("item_name", sa.String(255), nullable=False),
        sa.Column("occurred_at", _INSTANT, nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.PrimaryKeyConstraint("sequence", name="pk_events"),
    )
    _rule("uq_events_event_id", "events", "event_id")


def downgrade() -> None:
    raise NotImplementedError("the first schema has nothing before it")


def _rule(name: str, table: str, *columns: str, where: str | None = None) -> None:
    _index(name, table, *columns, where=where, unique=True)


def _index(name: str, table: str, *columns: str, where: str | None = None, unique: bool = False) -> None:
    op.create_index(
        name,
        table,
        list(columns),
        unique=unique,
        # SQLite has no word for false in an index's condition.
        sqlite_where=sa.text(where.replace("IS false", "IS 0")) if where else None,
        postgresql_where=sa.text(where) if where else None,
    )
