"""A Postgres server of pgsched's own, for whoever has none: found, started, kept and stopped."""
