"""The history of the schema, run by hub.store.migrate: one revision per change of hub.store.tables."""
