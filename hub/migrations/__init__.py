"""The history of the schema, run by hub.store.migrate: one revision in ``versions`` per change of hub.store.tables.

A revision is written by hand, in the shape of the newest one, with ``op.batch_alter_table`` for every change of an
existing table (the only way on SQLite). tests/engine/test_migrations.py fails until the revisions lead exactly to the
tables, and shows the difference.
"""
