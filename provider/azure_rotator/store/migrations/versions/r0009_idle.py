"""When an application is to be looked at for orphans, and what is asked for without reading every item.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_TO_SWEEP = sa.text("sweep_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("permits", sa.Column("sweep_at", sa.DateTime(timezone=True)))
    # Nobody knows what was worked on since its last look.
    op.execute("UPDATE permits SET sweep_at = '2026-01-01 00:00:00' WHERE lane LIKE 'application:%'")
    op.create_index("ix_permits_sweep_at", "permits", ["sweep_at"], sqlite_where=_TO_SWEEP, postgresql_where=_TO_SWEEP)
    op.create_index("ix_items_app", "items", ["app_id"])
