"""``pgsched schedule``: what a schedule means, without a database."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import IO

import click
from click.core import ParameterSource

from pgsched.domain.errors import InvalidInput, PgschedError
from pgsched.domain.schedules import ScheduleType
from pgsched.entrypoints.cli.jsonl import bounded_lines
from pgsched.entrypoints.next_instants import MOST, answer_to
from pgsched.entrypoints.next_instants import next_instants as instants_after

#: longest line of ``--jsonl``, in bytes; far more than any request needs
_LONGEST_LINE = 1 << 20


@click.group(name="schedule")
def group() -> None:
    """Schedules: when is something due."""


@group.command(name="next")
@click.option(
    "--type", "kind", type=click.Choice([kind.value for kind in ScheduleType]), help="Kind of schedule."
)
@click.option("--expr", help="Cron expression, or ISO 8601 duration (PT6H, P1D) or whole seconds.")
@click.option(
    "--timezone", default="UTC", show_default=True, help="IANA name of the zone whose clock counts."
)
@click.option(
    "--after", help="ISO 8601; instants strictly later are shown. Without offset: in the zone. [default: now]"
)
@click.option("--anchor", help="ISO 8601; first instant of an interval. [default: what --after is]")
@click.option(
    "-n", "most", type=click.IntRange(1, MOST), default=5, show_default=True, help="How many instants."
)
@click.option("--json", "as_json", is_flag=True, help='Print one line {"next":[…]}.')
@click.option("--jsonl", is_flag=True, help="Answer requests from standard input, a line each.")
@click.pass_context
def next_instants(
    context: click.Context,
    *,
    kind: str | None,
    expr: str | None,
    timezone: str,
    after: str | None,
    anchor: str | None,
    most: int,
    as_json: bool,
    jsonl: bool,
) -> None:
    """Print the next instants of a schedule, in its zone's local time, one a line.

    They are strictly later than --after; so an interval whose anchor is --after shows anchor + period first,
    although its run at the anchor is its first.

    With --jsonl each line is {"type","expr","timezone","after","anchor","n"}, named as the options (the last
    four may be missing), and is answered by one line {"next":[…]} or {"error":{"code","detail"}}, in order;
    an empty line is answered by an error too.
    """
    if jsonl:
        _refuse_options_beside_jsonl(context)
        _answer_lines(sys.stdin.buffer)
        return
    if kind is None or expr is None:
        raise click.UsageError("--type and --expr are needed (or --jsonl)")
    instants = instants_after(kind=kind, expr=expr, timezone=timezone, after=after, anchor=anchor, most=most)
    click.echo(
        json.dumps({"next": instants}) if as_json else "\n".join(instants), nl=bool(as_json or instants)
    )


def _refuse_options_beside_jsonl(context: click.Context) -> None:
    for name in ("kind", "expr", "timezone", "after", "anchor", "most", "as_json"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError("--jsonl reads everything from its lines: give it no other option")


def _answer_lines(lines: IO[bytes]) -> None:
    for line in bounded_lines(lines, _LONGEST_LINE):
        try:
            answer: Mapping[str, object] = {"next": _answer(line)}
        except PgschedError as error:
            answer = {"error": {"code": error.code, "detail": error.detail}}
        # a program waits for the answer to one line before it writes the next
        click.echo(json.dumps(answer))


def _answer(line: bytes) -> list[str]:
    if len(line) > _LONGEST_LINE:
        raise InvalidInput(f"the line is longer than {_LONGEST_LINE} bytes")
    try:
        request = json.loads(line.decode())
    except (ValueError, RecursionError):  # also bad UTF-8 and numbers of thousands of digits
        raise InvalidInput("the line is not JSON; write an object such as " + _EXAMPLE) from None
    if not isinstance(request, dict):
        raise InvalidInput("the line is not a JSON object; write one such as " + _EXAMPLE)
    return answer_to(request)


_EXAMPLE = (
    '{"type":"cron","expr":"0 6 * * *","timezone":"Europe/Berlin","after":"2026-03-29T00:00:00Z","n":5}'
)
