"""Versions that are kept, items that are disabled, graceful rotation, folders, Targets' versions, account settings.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.String(16)
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    for table in ("targets", "items"):
        op.add_column(table, sa.Column("max_versions", sa.Integer()))
        op.add_column(table, sa.Column("keep_prev_version", sa.Boolean()))
    op.add_column("items", sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("items", sa.Column("grace_rotation", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("items", sa.Column("grace_rotation_interval", sa.Integer()))
    op.add_column("items", sa.Column("grace_rotation_hour", sa.Integer()))
    op.add_column("items", sa.Column("grace_rotation_timing", sa.String(40)))
    op.add_column("rotations", sa.Column("revoke_now", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "target_versions",
        sa.Column("target_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("secret_reference", sa.Text()),
        sa.Column("sealed_secret", sa.LargeBinary()),
        sa.Column("client_secret_id", sa.Text()),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("target_id", "version", name="pk_target_versions"),
        sa.ForeignKeyConstraint(["target_id"], ["targets.target_id"], name="fk_target_versions_target_id"),
    )
    # What a Target has now; of what it had before nothing is left.
    op.execute(
        "INSERT INTO target_versions "
        "(target_id, version, secret_reference, sealed_secret, client_secret_id, created_at) "
        "SELECT target_id, version, secret_reference, sealed_secret, client_secret_id, modified_at "
        "FROM targets WHERE version > 0 AND (secret_reference IS NOT NULL OR sealed_secret IS NOT NULL)"
    )
    op.create_table(
        "folders",
        sa.Column("folder_id", _ID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("delete_protection", sa.Boolean(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("modified_at", _INSTANT, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("folder_id", name="pk_folders"),
    )
    op.create_index("uq_folders_name", "folders", ["name"], unique=True)
    op.create_table(
        "account",
        sa.Column("account_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("default_versioning", sa.Boolean(), nullable=False),
        sa.Column("max_versions", sa.Integer(), nullable=False),
        sa.Column("items_deletion_protection", sa.Boolean(), nullable=False),
        sa.Column("max_rotation_interval_enable", sa.Boolean(), nullable=False),
        sa.Column("max_rotation_interval", sa.Integer(), nullable=False),
        sa.Column("password_length", sa.Integer(), nullable=False),
        sa.Column("use_capital_letters", sa.Boolean(), nullable=False),
        sa.Column("use_lower_letters", sa.Boolean(), nullable=False),
        sa.Column("use_numbers", sa.Boolean(), nullable=False),
        sa.Column("use_special_characters", sa.Boolean(), nullable=False),
        sa.Column("invalid_characters", sa.Text(), nullable=False),
        sa.Column("usage_event_enable", sa.Boolean(), nullable=False),
        sa.Column("usage_event_interval", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_account"),
    )


def downgrade() -> None:
    raise NotImplementedError("the columns hold what cannot be made again: restore a backup instead")
