"""``pgsched doctor``: look everything over, say what is wrong and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgsched.entrypoints.cli.output import emit, json_option

if TYPE_CHECKING:
    from pgsched.application.checkup import Finding

_MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@click.command("doctor")
@click.option("--no-sources", is_flag=True, help="Do not connect to the data sources.")
@click.option("--strict", is_flag=True, help="Exit 1 for warnings too.")
@json_option
def command(no_sources: bool, strict: bool, as_json: bool) -> int:
    """Check settings, database, clock, keys, sources, workers, disk, logs and queries; say what to do.

    For monitoring: exit 0 when there is no problem, 1 when there is one (with --strict a warning too).
    """
    import asyncio

    from pgsched.entrypoints.checkups import look

    findings = asyncio.run(look(sources=not no_sources))
    tolerated = ("ok",) if strict else ("ok", "warning")
    bad = [finding for finding in findings if finding.level not in tolerated]
    if as_json:
        emit({"ok": not bad, "checks": findings}, as_json)
    else:
        for finding in findings:
            click.echo(_line(finding))
    return 1 if bad else 0


def _line(finding: Finding) -> str:
    from pgsched.entrypoints.cli.output import cell

    advice = f"; {cell(finding.advice)}" if finding.advice else ""
    return f"{_MARKS[finding.level]:8} {finding.check:9} {cell(finding.detail)}{advice}"
