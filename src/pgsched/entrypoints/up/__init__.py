"""``pgsched up``: everything on one machine, with nothing to configure."""
