"""What reminders are planned.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_UNREMINDED = sa.text(
    "state = 'active' AND enabled IS true AND next_rotation_at IS NOT NULL "
    "AND (reminded_for IS NULL OR reminded_for != next_rotation_at)"
)
_TO_REMIND = sa.text("remind_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("items", sa.Column("reminded_for", sa.DateTime(timezone=True)))
    op.add_column("items", sa.Column("remind_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_items_unreminded",
        "items",
        ["next_rotation_at"],
        sqlite_where=sa.text(str(_UNREMINDED).replace("IS true", "IS 1")),
        postgresql_where=_UNREMINDED,
    )
    op.create_index("ix_items_remind_at", "items", ["remind_at"], sqlite_where=_TO_REMIND, postgresql_where=_TO_REMIND)
