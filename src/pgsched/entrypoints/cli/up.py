"""``pgsched up``: everything, nothing to configure."""

from __future__ import annotations

import click


@click.command()
@click.option("--demo", is_flag=True, help="With a small shop, its read-only role and some queries.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address the API listens on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def command(demo: bool, host: str, port: int) -> None:
    """Start Postgres (unless PG_DSN_APP names one), API and worker; Ctrl-C stops all of it."""
    import asyncio

    from pgsched.entrypoints.up.supervisor import up

    asyncio.run(up(host=host, port=port, demo=demo))
