"""Event forwarders, and the deliveries of events to them.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_ID = sa.String(16)
_INSTANT = sa.DateTime(timezone=True)
_WORD = sa.String(40)


def upgrade() -> None:
    op.create_table(
        "forwarders",
        sa.Column("forwarder_id", _ID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("forwarder_type", _WORD, nullable=False),
        sa.Column("runner_type", _WORD, nullable=False),
        sa.Column("every", sa.Integer()),
        sa.Column("event_types", sa.JSON(), nullable=False),
        sa.Column("items_event_source_locations", sa.JSON(), nullable=False),
        sa.Column("targets_event_source_locations", sa.JSON(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("modified_at", _INSTANT, nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("sealed_url", sa.LargeBinary()),
        sa.Column("auth_type", _WORD),
        sa.Column("username", sa.Text()),
        sa.Column("credential_reference", sa.Text()),
        sa.Column("sealed_credential", sa.LargeBinary()),
        sa.Column("signing_reference", sa.Text()),
        sa.Column("sealed_signing_key", sa.LargeBinary()),
        sa.Column("email_to", sa.JSON(), nullable=False),
        sa.Column("include_error", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("forwarder_id", name="pk_forwarders"),
    )
    op.create_table(
        "deliveries",
        sa.Column("forwarder_id", _ID, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("next_attempt_at", _INSTANT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_attempt_at", _INSTANT),
        sa.Column("attempted_at", _INSTANT),
        sa.Column("delivered_at", _INSTANT),
        sa.Column("given_up_at", _INSTANT),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_text", sa.Text()),
        sa.Column("worker", sa.Text()),
        sa.Column("lease_until", sa.Double()),
        sa.PrimaryKeyConstraint("forwarder_id", "event_id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["forwarder_id"], ["forwarders.forwarder_id"], name="fk_deliveries_forwarder_id"),
        sa.ForeignKeyConstraint(["event_id"], ["events.event_id"], name="fk_deliveries_event_id"),
    )
    op.create_index("uq_forwarders_name", "forwarders", ["name"], unique=True)
    waiting = sa.text("delivered_at IS NULL AND given_up_at IS NULL")
    op.create_index(
        "ix_deliveries_due", "deliveries", ["next_attempt_at"], sqlite_where=waiting, postgresql_where=waiting
    )
