"""``pgsched runs export``: a result as a file, or on stdout."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgsched.entrypoints.cli.opened import key_of, with_container

if TYPE_CHECKING:
    from rich.console import Console

    from pgsched.adapters.formats.shape import Shape
    from pgsched.application.ports.views import RunView, StoredRun
    from pgsched.entrypoints.container import Container

_FORMATS = ("table", "records", "columns", "csv", "ndjson", "parquet", "arrow")
#: formats by how the name of a file ends
_BY_SUFFIX = {
    ".csv": "csv",
    ".json": "records",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
}
#: ends of names that say what is not written here: other formats, and compressed ones
_OTHERS = re.compile(
    r"\.(7z|avro|br|bz2|db|feather|gz|html|lz4|ods|orc|pdf|sql|sqlite|tar|tgz|tsv|xlsx?|xml|xz|ya?ml|zip|zst)"
)
_BINARY = frozenset({"parquet", "arrow"})
#: formats that are one JSON document, to which a text file adds a line end
_ONE_LINE = frozenset({"table", "records", "columns"})


@click.command("export")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--latest", metavar="QUERY", help="The latest success of this query (name or id).")
@click.option("--params", metavar="NAME", help="The latest success with this parameter set.")
@click.option(
    "--format", "format_", type=click.Choice(_FORMATS), help="How the result is written.  [default: csv]"
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File to write, - for stdout."
)
@click.option("--columns", help="Names of columns joined by commas, in the order wanted.")
@click.option("--rows", metavar="OFFSET,LIMIT", help="Some of the rows only.")
@click.option(
    "--bigint",
    type=click.Choice(("number", "string")),
    default="number",
    show_default=True,
    help="Integers beyond 2^53 in JSON.",
)
@click.option("--csv-safe", is_flag=True, help="Keep spreadsheets from taking texts for formulas.")
def export(
    run: str | None,
    latest: str | None,
    params: str | None,
    format_: str | None,
    output: Path | None,
    columns: str | None,
    rows: str | None,
    bigint: str,
    csv_safe: bool,
) -> None:
    """Write the result of a RUN (its id), or of the latest success of a query, to a file or to stdout.

    A NAME in place of the id is that of a query.
    """
    from pgsched.adapters.formats.shape import Format, Shape, available
    from pgsched.domain.errors import InvalidInput
    from pgsched.entrypoints.http.parameters import Faults

    if (run is None) == (latest is None):
        raise click.UsageError("give the id of a run, or --latest QUERY")
    if run is not None and not (run.isascii() and run.isdigit()):
        latest = run
    if latest is None and params is not None:
        raise click.UsageError("--params goes with --latest QUERY: a run has one parameter set")
    if output == Path("-"):
        output = None
    chosen = format_ or _format_of(output)
    if Format(chosen) not in available():
        raise click.ClickException(f"{chosen} needs pyarrow: pip install 'pgsched[arrow]'")
    if chosen in _BINARY and output is None and sys.stdout.isatty():
        raise click.UsageError(f"{chosen} is not for a terminal; give --output FILE, or redirect")
    try:
        with Faults() as faults:
            offset, limit = faults.rows(rows)
            picked = faults.columns([] if columns is None else [columns])
    except InvalidInput as wrong:
        told = "; ".join(f"--{fault.field} {fault.message}" for fault in wrong.faults)
        raise click.UsageError(told) from None
    shape = Shape(
        format=Format(chosen),
        columns=picked,
        offset=offset,
        limit=limit,
        bigint_as_string=bigint == "string",
        csv_safe=csv_safe,
    )

    async def operation(container: Container) -> None:
        stored = await _found(container, run, latest, params)
        if shape.format is not Format.TABLE:
            _refuse_without_result(stored)
        await _export(container.run_view(), stored, shape, output)

    with_container(operation)


def _format_of(output: Path | None) -> str:
    """Return the format that a file's name says, csv where it says none.

    Raises:
        click.UsageError: it says one that is not written here.
    """
    suffix = "" if output is None else output.suffix.lower()
    if _OTHERS.fullmatch(suffix):
        raise click.UsageError(
            f"{output}: a name that ends in {suffix} is not for a format that is written here; "
            "give --format, or another name"
        )
    return _BY_SUFFIX.get(suffix, "csv")


async def _found(container: Container, run: str | None, latest: str | None, params: str | None) -> StoredRun:
    """Find the run that is meant.

    Raises:
        NotFound: there is no such run or query.
        click.ClickException: the query has no success, or none with these parameters; or the run has none.
    """
    from pgsched.domain.audience import EVERYTHING
    from pgsched.domain.errors import NotFound

    view = container.run_view()
    if latest is None:
        return await view.one(EVERYTHING, int(run or "0"), whole=False)
    try:
        return await view.latest(EVERYTHING, key_of(latest), whole=False, params=params)
    except NotFound:
        # one that is not there is told as such
        card = await container.query_view().card(EVERYTHING, key_of(latest))
    of_set = "" if params is None else f" with parameter set {params}"
    raise click.ClickException(
        f"query {card.name} has no success{of_set} yet; see: pgsched runs list {card.name}"
    )


def _refuse_without_result(stored: StoredRun) -> None:
    if stored.has_result:
        return
    run = stored.run
    if run.status in ("queued", "running"):
        raise click.ClickException(f"run {run.id} is {run.status} and has no result yet; try again later")
    code = f" ({run.error_code})" if run.error_code else ""
    raise click.ClickException(
        f"run {run.id} is {run.status}{code} and has no result; pgsched runs show {run.id} tells why"
    )


async def _export(view: RunView, stored: StoredRun, shape: Shape, output: Path | None) -> None:
    from pgsched.adapters.formats.writing import written
    from pgsched.entrypoints.cli.export_target import leaving_on_signals, opened

    with (
        leaving_on_signals(),
        opened(output) as target,
        _progress(stored, shape, shown=target.shows_progress) as progress,
    ):
        async for piece in written(_Counted(view, progress), stored, shape):
            target.write(piece)
        if shape.format.value in _ONE_LINE:
            target.write(b"\n")
    if output is not None and sys.stderr.isatty():
        click.echo(f"run {stored.run.id}: {target.size:,} bytes in {output}", err=True)


class _Counted:
    """A view whose rows are counted as they are handed out."""

    def __init__(self, view: RunView, progress: Callable[[int | None], None]) -> None:
        self._view = view
        self._progress = progress
        # the other questions are not asked of it
        self.latest, self.page, self.one, self.neighbour = view.latest, view.page, view.one, view.neighbour

    async def rows(
        self, stored: StoredRun, *, offset: int = 0, limit: int | None = None
    ) -> AsyncGenerator[bytes]:
        """Hand on the rows of the view; a second look at them begins the count anew."""
        from pgsched.adapters.formats.columns import rows_in

        self._progress(None)
        async with contextlib.aclosing(self._view.rows(stored, offset=offset, limit=limit)) as arrays:
            async for array in arrays:
                yield array
                self._progress(len(rows_in(array)))


@contextlib.contextmanager
def _cursor_shown_after(console: Console) -> Iterator[None]:
    """Show the cursor in the end: a signal may come while the bar is about to hide it."""
    try:
        yield
    finally:
        console.show_cursor()


@contextlib.contextmanager
def _progress(stored: StoredRun, shape: Shape, *, shown: bool) -> Iterator[Callable[[int | None], None]]:
    """Show a bar on a terminal; what it gives is told of rows done, None when they begin anew."""
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total = max(0, (stored.run.rows_returned or 0) - shape.offset)
    if shape.limit is not None:
        total = min(total, shape.limit)
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("rows"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with _cursor_shown_after(console), bar:
        task = bar.add_task("rows", total=total)

        def tell(rows: int | None) -> None:
            if rows is None:
                bar.reset(task)
            else:
                bar.advance(task, rows)

        yield tell
