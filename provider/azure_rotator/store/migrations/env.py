"""What Alembic runs: the connection and its transaction are ``opening``'s."""

from __future__ import annotations

from alembic import context

from azure_rotator.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a column by rebuilding its table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
