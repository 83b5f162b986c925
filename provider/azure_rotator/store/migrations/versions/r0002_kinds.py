"""Storage keys, passwords and the Target's own secret: what they are, and what is journaled before each is changed.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_WORD = sa.String(40)


def upgrade() -> None:
    op.add_column("targets", sa.Column("client_secret_id", sa.Text()))
    op.add_column("targets", sa.Column("azure_cloud", sa.String(40), nullable=False, server_default="AzureCloud"))
    for name in ("subscription_id", "resource_group_name", "resource_name"):
        op.add_column("targets", sa.Column(name, sa.Text()))
    op.add_column("items", sa.Column("username", sa.Text()))
    op.add_column("items", sa.Column("storage_key_name", sa.String(40)))
    op.add_column("items", sa.Column("storage_key_mode", _WORD))
    op.add_column("items", sa.Column("resource_group_name", sa.Text()))
    op.add_column("items", sa.Column("resource_name", sa.Text()))
    op.add_column("items", sa.Column("rotate_on_read", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("items", sa.Column("credential_lifetime", sa.Integer()))
    op.add_column("items", sa.Column("password_length", sa.Integer()))
    for name in ("use_capital_letters", "use_lower_letters", "use_numbers", "use_special_characters"):
        op.add_column("items", sa.Column(name, sa.Boolean()))
    op.add_column("versions", sa.Column("expires_note", sa.Text()))
    op.add_column("rotations", sa.Column("mint_id", sa.String(16)))
    op.add_column("mints", sa.Column("slot", sa.String(40)))
    op.add_column("mints", sa.Column("sealed_evidence", sa.LargeBinary()))
    op.add_column("mints", sa.Column("seen_at", sa.DateTime(timezone=True)))
    op.create_table(
        "holdings",
        sa.Column("item_id", sa.String(16), nullable=False),
        sa.Column("holding", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("item_id", "holding", name="pk_holdings"),
        sa.ForeignKeyConstraint(["item_id"], ["items.item_id"], name="fk_holdings_item_id"),
    )
    op.create_index("uq_holdings_holding", "holdings", ["holding"], unique=True)


def downgrade() -> None:
    raise NotImplementedError("the columns hold what cannot be made again: restore a backup instead")
