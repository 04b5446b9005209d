"""pgsched runs SQL on a schedule against read-only Postgres sources and keeps every run."""

__version__ = "0.1.0"
