"""``pgsched status``: one screen with workers, queue, lateness, failures and stale queries."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click

from pgsched.entrypoints.cli.opened import with_container
from pgsched.entrypoints.cli.output import cell, emit, json_option, timestamp

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pgsched.application.ports.upkeep import Figures
    from pgsched.entrypoints.container import Container

#: most queries looked at
_QUERIES = 10_000
#: most stale or paused queries shown
_SHOWN = 10


@click.command("status")
@click.option("--watch", is_flag=True, help="Show it anew until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@json_option
def command(watch: bool, interval: float, as_json: bool) -> None:
    """Show workers, queue, lateness, failures and stale queries on one screen."""
    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other")

    async def operation(container: Container) -> None:
        if watch:
            await _watch(container, interval)
            return
        figures = await container.figures_view().figures(queries=_QUERIES)
        if as_json:
            emit(_wire(figures), as_json)
        else:
            from rich.console import Console

            Console(highlight=False).print(_screen(figures))

    # Ctrl-C is how watching ends
    with suppress(KeyboardInterrupt) if watch else nullcontext():
        with_container(operation)


async def _watch(container: Container, interval: float) -> None:
    """Show it again and again: in place on a terminal, else one after the other."""
    from rich.console import Console
    from rich.live import Live

    from pgsched.domain.errors import DatabaseFault

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            try:
                shown: RenderableType = _screen(await container.figures_view().figures(queries=_QUERIES))
            except DatabaseFault as fault:
                shown = cell(fault.detail)
            if live is None:
                console.print(shown)
            else:
                live.update(shown, refresh=True)
            await asyncio.sleep(interval)


def _wire(figures: Figures) -> dict[str, Any]:
    stale, paused = _stale(figures), _paused(figures)
    return {
        "now": figures.now,
        "workers": [
            {
                "id": worker.id,
                "host": worker.host,
                "pid": worker.pid,
                "version": worker.version,
                "alive": worker.alive,
                "running": worker.running,
                "concurrency": worker.concurrency,
                "seen_at": worker.seen_at,
            }
            for worker in figures.workers
        ],
        "queue": {
            "waiting": figures.waiting,
            "later": figures.later,
            "running": figures.running,
            "stuck": figures.stuck,
            "longest_wait_s": figures.longest_wait_s,
            "planning_delay_s": figures.planning_delay_s,
        },
        "lateness_s": None
        if figures.recent_lateness_s is None
        else {"p50": figures.recent_lateness_s[0], "p95": figures.recent_lateness_s[1]},
        "sources": figures.sources,
        "queries": {"total": figures.query_count, "stale": stale, "paused": paused},
        "failures": figures.failures,
    }


def _stale(figures: Figures) -> list[str]:
    from pgsched.domain.freshness import is_stale

    return [
        each.job.spec.name
        for each in figures.queries
        if is_stale(each.job, each.last_success_at, figures.now)
    ]


def _paused(figures: Figures) -> list[str]:
    return [each.job.spec.name for each in figures.queries if each.job.paused_at is not None]


def _screen(figures: Figures) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    lateness = figures.recent_lateness_s
    late = (
        "no scheduled run yet"
        if lateness is None
        else f"{lateness[0]:.2f} s median, {lateness[1]:.2f} s 95 %"
    )
    head = Table.grid(padding=(0, 2))
    for name, value, bad in (
        ("now", timestamp(figures.now), False),
        ("queue", f"{figures.waiting} waiting, {figures.running} running, {figures.later} for later", False),
        ("longest wait", f"{figures.longest_wait_s:.0f} s", figures.longest_wait_s > 60),
        ("stuck", str(figures.stuck), figures.stuck > 0),
        ("planning behind", f"{figures.planning_delay_s:.0f} s", figures.planning_delay_s > 60),
        ("lateness", late, False),
        ("stale queries", _names(_stale(figures)), bool(_stale(figures))),
        ("paused queries", _names(_paused(figures)), bool(_paused(figures))),
    ):
        head.add_row(Text(name, style="bold"), Text(value, style="red" if bad else ""))
    parts: list[RenderableType] = [head]
    workers = _table("Workers", "id", "host", "process", "version", "running", "seen")
    for worker in figures.workers:
        age = (figures.now - worker.seen_at).total_seconds()
        workers.add_row(
            str(worker.id),
            cell(worker.host),
            str(worker.pid),
            cell(worker.version),
            f"{worker.running} of {worker.concurrency}",
            f"{age:.0f} s ago" if worker.alive else f"gone, {age:.0f} s ago",
            style="" if worker.alive else "red",
        )
    parts.append(
        workers if figures.workers else Text("no worker is running; start one: pgsched worker", "red")
    )
    sources = _table("Sources", "id", "name", "running", "waiting")
    for source in figures.sources[:_SHOWN]:
        sources.add_row(
            str(source.id),
            cell(source.name),
            f"{source.running} of {source.max_concurrency}",
            str(source.waiting),
        )
    failures = _table("Latest failures", "run", "query", "at", "code", "message")
    for failure in figures.failures:
        failures.add_row(
            str(failure.run_id),
            cell(failure.query),
            timestamp(failure.at)[:19],
            failure.code,
            cell(failure.message),
        )
    parts += [table for table in (sources, failures) if table.row_count]
    return Group(*parts)


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=column not in ("message",), overflow="ellipsis")
    return table


def _names(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(cell, names[:_SHOWN])) + more
