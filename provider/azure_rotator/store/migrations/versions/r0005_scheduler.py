"""What the scheduler has planned, what is parked, and up to when budgets of requests are spoken for.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_UNPLANNED = sa.text(
    "state = 'active' AND enabled IS true AND next_rotation_at IS NOT NULL "
    "AND (scheduled_for IS NULL OR scheduled_for != next_rotation_at)"
)
_PAUSED = sa.text("not_before IS NOT NULL")


def upgrade() -> None:
    op.add_column("items", sa.Column("scheduled_for", sa.DateTime(timezone=True)))
    op.add_column("rotations", sa.Column("parked", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("permits", sa.Column("booked_until", sa.Double()))
    op.create_index(
        "ix_items_unplanned",
        "items",
        ["next_rotation_at"],
        sqlite_where=sa.text(str(_UNPLANNED).replace("IS true", "IS 1")),
        postgresql_where=_UNPLANNED,
    )
    op.create_index("ix_permits_paused", "permits", ["not_before"], sqlite_where=_PAUSED, postgresql_where=_PAUSED)
