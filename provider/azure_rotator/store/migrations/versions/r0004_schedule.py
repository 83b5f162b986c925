"""Hours, zones, phases and reminders of items; the due instant that a rotation serves; an item's newest event.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("items", sa.Column("rotation_hour", sa.Integer()))
    op.add_column("items", sa.Column("time_zone", sa.Text(), nullable=False, server_default="UTC"))
    op.add_column("items", sa.Column("rotation_offset", sa.Integer()))
    op.add_column("items", sa.Column("rotation_event_in", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("items", sa.Column("counted_from", _INSTANT))
    op.add_column("rotations", sa.Column("due_at", _INSTANT))
    op.create_index("ix_events_item", "events", ["item_id", "sequence"])
