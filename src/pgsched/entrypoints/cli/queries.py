"""``pgsched queries``: scheduled queries."""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgsched.entrypoints.cli.instants import instant_of
from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgsched.domain.jobs import Job
    from pgsched.domain.runs import Run
    from pgsched.entrypoints.container import Container

_LIST_COLUMNS = (
    "id",
    "name",
    "title",
    "data_source",
    "schedule_type",
    "schedule_expr",
    "timezone",
    "enabled",
    "next_run_at",
)
_RUN_COLUMNS = ("id", "status", "trigger", "scheduled_at", "rows_returned", "error_code", "error_message")

#: every policy, in the order of semantics: option, type, what it means
_POLICIES: tuple[tuple[str, Any, str], ...] = (
    ("visibility", click.Choice(["public", "users", "restricted"]), "Who reads [default: public]."),
    (
        "overlap-policy",
        click.Choice(["skip", "queue", "queue_all", "cancel_previous", "allow"]),
        "When the earlier run is not over [default: skip].",
    ),
    ("misfire-policy", click.Choice(["once", "all", "skip"]), "Instants found too late [default: once]."),
    ("misfire-window", str, "ISO 8601 duration; older instants never run [default: P1D]."),
    ("start-deadline-s", int, "Seconds a run may wait after its instant [default: no limit]."),
    ("jitter-s", int, "Seconds over which starts are spread [default: 0]."),
    ("max-attempts", int, "Tries of one run [default: 3]."),
    ("retry-backoff-s", int, "Seconds before the second try, then doubling [default: 5]."),
    ("timeout-ms", int, "Milliseconds a statement may take [default: 300000]."),
    ("max-rows", int, "Rows stored of one run [default: 10000]."),
    ("max-bytes", int, "Bytes of encoded rows stored of one run [default: 8 MiB]."),
    ("on-limit", click.Choice(["truncate", "sample", "error"]), "At either limit [default: truncate]."),
    ("pause-after-failures", int, "Final errors in a row that pause the query, 0 never [default: 0]."),
    ("keep-runs", int, "Runs kept [default: all]."),
    ("keep-days", int, "Days that runs are kept [default: for ever]."),
)


def _policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, kind, text in reversed(_POLICIES):
        function = click.option(f"--{name}", type=kind, help=text)(function)
    return function


@click.group()
def group() -> None:
    """Scheduled queries."""


@group.command("add")
@click.option("--name", required=True, help="Unique name: letters, digits, _ . -")
@click.option("--title", help="What people call it [default: the name].")
@click.option("--description", default="", help="What it shows and for whom.")
@click.option("--sql", required=True, help="One SELECT, or @FILE (@- for standard input).")
@click.option("--data-source", required=True, help="NAME or id of the source.")
@click.option(
    "--schedule-type",
    type=click.Choice(["cron", "interval"]),
    default="interval",
    show_default=True,
)
@click.option(
    "--schedule-expr",
    help="Five cron fields, or an ISO 8601 duration such as PT6H [interval: DEFAULT_QUERY_INTERVAL].",
)
@click.option("--timezone", default="UTC", show_default=True, help="IANA name of the zone.")
@click.option("--start-at", help="First instant of an interval, ISO 8601 with an offset [default: now].")
@click.option("--enabled/--disabled", default=True, show_default=True)
@_policy_options
@json_option
def add(
    sql: str,
    data_source: str,
    schedule_expr: str | None,
    start_at: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Add a query. The guard and the schedule are asked, the source is not."""
    from pgsched.domain.errors import BadSchedule, FieldFault
    from pgsched.domain.jobs import JobSpec, MisfirePolicy, OverlapPolicy, Visibility
    from pgsched.domain.results import OnLimit
    from pgsched.domain.schedules import ScheduleType

    text = _sql_text(sql)
    starts = None if start_at is None else instant_of(start_at, "--start-at")
    kinds: dict[str, Any] = {
        "schedule_type": ScheduleType,
        "visibility": Visibility,
        "overlap_policy": OverlapPolicy,
        "misfire_policy": MisfirePolicy,
        "on_limit": OnLimit,
    }
    values: dict[str, Any] = {
        name: kinds.get(name, _same)(value) for name, value in given.items() if value is not None
    }
    values.setdefault("title", values["name"])

    async def operation(container: Container) -> tuple[Job, str]:
        expr = schedule_expr
        if expr is None:
            if values["schedule_type"] is ScheduleType.CRON:
                raise BadSchedule.of(
                    FieldFault(field="schedule_expr", message="a cron schedule needs an expression")
                )
            expr = f"PT{container.settings().default_query_interval}S"
        source = await container.sources().get(key_of(data_source))
        spec = JobSpec(sql_text=text, data_source_id=source.id, schedule_expr=expr, **values)
        return await container.add_job()(spec, start_at=starts), source.name

    job, source_name = with_container(operation)
    emit(_row(job, source_name), as_json, _LIST_COLUMNS)


@group.command("list")
@json_option
def list_queries(as_json: bool) -> None:
    """List the queries."""

    async def operation(container: Container) -> tuple[Sequence[Job], dict[int, str]]:
        sources = await container.sources().all()
        return await container.jobs().all(), {source.id: source.name for source in sources}

    jobs, names = with_container(operation)
    emit([_row(job, names.get(job.spec.data_source_id)) for job in jobs], as_json, _LIST_COLUMNS)


@group.command("show")
@click.argument("name_or_id")
@json_option
def show(name_or_id: str, as_json: bool) -> None:
    """Show a query with its SQL, schedule and policies."""

    async def operation(container: Container) -> tuple[Job, str]:
        job = await container.jobs().get(key_of(name_or_id))
        return job, (await container.sources().get(job.spec.data_source_id)).name

    emit(_row(*with_container(operation)), as_json)


@group.command("run")
@click.argument("name_or_id")
@click.option("--wait", is_flag=True, help="Wait until the run is over; exit 1 unless it succeeded.")
@click.option("--timeout", "timeout_s", type=float, help="Most seconds to wait.")
@json_option
def run(name_or_id: str, wait: bool, timeout_s: float | None, as_json: bool) -> int:
    """Queue a run now, of a disabled query too, and print it."""
    from pgsched.domain.audience import EVERYTHING
    from pgsched.domain.runs import RunStatus

    async def operation(container: Container) -> Run:
        import asyncio

        job = await container.jobs().get(key_of(name_or_id))
        queued = await container.queue().request(job.id)
        if not wait:
            return queued
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while not (await container.queue().status_of(queued.id)).is_terminal:
            if give_up is not None and time.monotonic() > give_up:
                click.echo(f"Error: run {queued.id} is not over after {timeout_s:g} s", err=True)
                break
            await asyncio.sleep(0.1)
        return (await container.run_view().one(EVERYTHING, queued.id)).run

    ended = with_container(operation)
    emit(ended, as_json, _RUN_COLUMNS)
    if not wait or ended.status is RunStatus.SUCCESS:
        return 0
    if ended.error_message:
        click.echo(f"Error: run {ended.id} ended as {ended.status}: {ended.error_code}", err=True)
    return 1


def _same(value: Any) -> Any:
    return value


def _sql_text(given: str) -> str:
    """Read ``@FILE`` and ``@-``; anything else is the statement itself."""
    if not given.startswith("@"):
        return given
    if given == "@-":
        raw = sys.stdin.buffer.read()
    else:
        try:
            raw = Path(given[1:]).read_bytes()
        except OSError as error:
            raise click.BadParameter(f"{given[1:]}: {error.strerror}", param_hint="--sql") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.BadParameter(
            f"{given[1:]} is not UTF-8: byte {error.start + 1}", param_hint="--sql"
        ) from None


def _row(job: Job, source_name: str | None) -> dict[str, object]:
    spec = job.spec
    row: dict[str, object] = {"id": job.id, "data_source": source_name}
    row.update({entry.name: getattr(spec, entry.name) for entry in fields(spec)})
    row.update(
        anchor_at=job.anchor_at,
        next_run_at=job.next_run_at,
        consecutive_failures=job.consecutive_failures,
        paused_at=job.paused_at,
        pause_reason=job.pause_reason,
        created_at=job.created_at,
        updated_at=job.updated_at,
    )
    return row
