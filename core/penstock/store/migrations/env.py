"""Alembic's environment: migrations run on the connection, and in the transaction, of who asked for them."""

from __future__ import annotations

from alembic import context

from penstock.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
