"""``pgsched sql``: the SQL guard by hand, without any database."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING

import click

from pgsched.domain.sql_guard import MAX_SQL_BYTES, Rule, Verdict
from pgsched.entrypoints.cli.jsonl import lines_as_they_come

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.adapters.guard.grammar import PostgresGrammarGuard

#: longest line of ``--jsonl`` input read, bytes: a statement of MAX_SQL_BYTES escaped to the last character
MAX_LINE_BYTES = MAX_SQL_BYTES * 6 + 4096


@click.group()
def group() -> None:
    """Judge SQL as a new source would, offline."""


@group.command()
@click.argument(
    "source",
    metavar="FILE|-",
    required=False,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one line of JSON.")
@click.option("--jsonl", is_flag=True, help='Read lines {"sql":…}, answer a line of JSON each.')
@click.option(
    "--no-user-functions", is_flag=True, help="Refuse functions that are not built in, as a source may."
)
@click.pass_context
def check(
    context: click.Context, source: str | None, *, as_json: bool, jsonl: bool, no_user_functions: bool
) -> None:
    """Say whether the statement in FILE (or on standard input, -) may run: exit 0 allowed, 1 refused.

    With --jsonl the exit code is 0 when every line was answered, and FILE may be left out: standard input.
    """
    if as_json and jsonl:
        raise click.UsageError("--json and --jsonl exclude each other")
    if source is None:
        # a person who forgets the file would wait for a command that waits for the person
        if not jsonl:
            raise click.UsageError("Missing argument 'FILE|-'.")
        source = "-"
    from pgsched.adapters.guard.grammar import PostgresGrammarGuard

    guard = PostgresGrammarGuard()
    with click.open_file(source, "rb") as stream:
        if jsonl:
            for lines in lines_as_they_come(stream, MAX_LINE_BYTES):
                asked = [_statement_of(line) for line in lines]
                statements = [each for each in asked if isinstance(each, str)]
                verdicts = iter(_checked(guard, statements, allow_user_functions=not no_user_functions))
                answers = [next(verdicts) if isinstance(each, str) else each for each in asked]
                click.echo("\n".join(map(_as_json, answers)))
            return
        raw = stream.read(len(codecs.BOM_UTF8) + MAX_SQL_BYTES + 1)
    # editors put it there, and psql passes it over too
    raw = raw.removeprefix(codecs.BOM_UTF8)
    verdict = _check_bytes(guard, raw, allow_user_functions=not no_user_functions)
    if as_json:
        click.echo(_as_json(verdict))
    elif verdict.allowed:
        click.echo(verdict.detail)
    else:
        place = f" at character {verdict.position}" if verdict.position is not None else ""
        click.echo(f"refused ({verdict.code}){place}: {verdict.detail}", err=True)
    context.exit(0 if verdict.allowed else 1)


def _check_bytes(guard: PostgresGrammarGuard, raw: bytes, *, allow_user_functions: bool) -> Verdict:
    try:
        sql = raw.decode()
    except UnicodeDecodeError as error:
        if len(raw) <= MAX_SQL_BYTES:
            return Verdict.refused(
                Rule.BAD_CHARACTERS,
                f"byte {error.start + 1} (0x{raw[error.start]:02x}) is not UTF-8; save the file as UTF-8",
                len(raw[: error.start].decode()) + 1,
            )
        sql = raw.decode(errors="replace")  # too long, whatever it is
    [verdict] = _checked(guard, [sql], allow_user_functions=allow_user_functions)
    return verdict


def _checked(
    guard: PostgresGrammarGuard, statements: Sequence[str], *, allow_user_functions: bool
) -> list[Verdict]:
    from pgsched.application.statements import as_written, by_itself

    asked = [by_itself(sql) for sql in statements]
    verdicts = guard.check_all(
        [(one.sql, len(one.names)) for one in asked], allow_user_functions=allow_user_functions
    )
    return [
        as_written(verdict, one.sql, sql)
        for verdict, one, sql in zip(verdicts, asked, statements, strict=True)
    ]


def _statement_of(line: bytes) -> str | Verdict:
    """Return the statement in a line of ``--jsonl``, or the verdict on a line that has none."""
    if len(line) > MAX_LINE_BYTES:
        return Verdict.refused(Rule.TOO_LONG, f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return Verdict.refused(Rule.INVALID_REQUEST, 'the line is not JSON; write {"sql": "SELECT …"}')
    sql = request.get("sql") if isinstance(request, dict) else None
    if not isinstance(sql, str):
        return Verdict.refused(Rule.INVALID_REQUEST, 'the line has no text "sql"; write {"sql": "SELECT …"}')
    return sql


def _as_json(verdict: Verdict) -> str:
    return json.dumps(
        {
            "allowed": verdict.allowed,
            "code": verdict.code,
            "detail": verdict.detail,
            "position": verdict.position,
        }
    )
