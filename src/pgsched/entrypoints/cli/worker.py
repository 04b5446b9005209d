"""``pgsched worker``: plan and run what is due."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=32, show_default=True, help="Runs at once."
)
def command(concurrency: int) -> None:
    """Plan and run what is due, until SIGTERM or Ctrl-C; then finish or hand back what runs."""
    from pgsched.entrypoints.loop import run_on_fast_loop
    from pgsched.entrypoints.worker import serve

    run_on_fast_loop(serve(concurrency))
