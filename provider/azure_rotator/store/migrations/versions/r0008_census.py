"""What is counted for those who watch: how often which outcome came of an item's rotations.

Revision ID: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SCHEDULED = sa.text("state = 'active' AND enabled IS NOT false AND next_rotation_at IS NOT NULL")
_EXPIRES = sa.text("stage = 'current' AND expires_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "outcomes",
        sa.Column("item_id", sa.String(16), nullable=False),
        sa.Column("code", sa.String(80), nullable=False),
        sa.Column("target_id", sa.String(16), nullable=False),
        sa.Column("rotator_type", sa.String(40), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("item_id", "code", name="pk_outcomes"),
    )
    op.create_index("ix_outcomes_census", "outcomes", ["target_id", "rotator_type", "code", "count"])
    op.create_index(
        "ix_items_census",
        "items",
        ["target_id", "rotator_type", "state", "enabled", "next_rotation_at", "last_rotation_at", "created_at"],
    )
    op.create_index(
        "ix_items_scheduled",
        "items",
        ["next_rotation_at"],
        sqlite_where=sa.text(str(_SCHEDULED).replace("IS NOT false", "IS NOT 0")),
        postgresql_where=_SCHEDULED,
    )
    op.create_index("ix_versions_expiry", "versions", ["expires_at"], sqlite_where=_EXPIRES, postgresql_where=_EXPIRES)
