"""Runs the revisions on the connection hub.store.migrate hands over, inside its transaction."""

from alembic import context

from hub.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    # SQLite cannot alter most things in place: the table is then made anew and its rows copied.
    render_as_batch=True,
)
context.run_migrations()
