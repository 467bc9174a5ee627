"""The database: tables, the unit of work, inbox, effects, secrets and queries. Nothing above knows SQL."""
