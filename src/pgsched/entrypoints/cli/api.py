"""``pgsched api``: serve the HTTP API."""

from __future__ import annotations

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on one socket."
)
def command(host: str, port: int, processes: int) -> None:
    """Serve the HTTP API and the page of queries, until SIGTERM or Ctrl-C."""
    from pgsched.entrypoints.api import serve
    from pgsched.entrypoints.loop import run_on_fast_loop

    run_on_fast_loop(serve(host=host, port=port, processes=processes))
