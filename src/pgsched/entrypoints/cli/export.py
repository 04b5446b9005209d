"""``pgsched runs export``: a result as a file, or on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from pgsched.entrypoints.cli.opened import key_of, with_container

if TYPE_CHECKING:
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
_BINARY = frozenset({"parquet", "arrow"})


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
    from pgsched.entrypoints.http.parameters import Faults

    if (run is None) == (latest is None):
        raise click.UsageError("give the id of a run, or --latest QUERY")
    if run is not None and not (run.isascii() and run.isdigit()):
        latest = run
    if latest is None and params is not None:
        raise click.UsageError("--params goes with --latest QUERY: a run has one parameter set")
    if output == Path("-"):
        output = None
    chosen = format_ or (_BY_SUFFIX.get(output.suffix.lower(), "csv") if output else "csv")
    if Format(chosen) not in available():
        raise click.ClickException(f"{chosen} needs pyarrow: pip install 'pgsched[arrow]'")
    if chosen in _BINARY and output is None and sys.stdout.isatty():
        raise click.UsageError(f"{chosen} is not for a terminal; give --output FILE, or redirect")
    with Faults() as faults:
        offset, limit = faults.rows(rows)
        picked = faults.columns([] if columns is None else [columns])
    shape = Shape(
        format=Format(chosen),
        columns=picked,
        offset=offset,
        limit=limit,
        bigint_as_string=bigint == "string",
        csv_safe=csv_safe,
    )

    async def operation(container: Container) -> None:
        from pgsched.domain.audience import EVERYTHING

        view = container.run_view()
        if latest is not None:
            stored = await view.latest(EVERYTHING, key_of(latest), whole=False, params=params)
        else:
            stored = await view.one(EVERYTHING, int(run or "0"), whole=False)
        await _export(view, stored, shape, output)

    with_container(operation)


async def _export(view: RunView, stored: StoredRun, shape: Shape, output: Path | None) -> None:
    from pgsched.adapters.formats.writing import written

    if output is None:
        async for piece in written(view, stored, shape):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    size = 0
    with _replacing(output) as file, _progress(stored, shape) as progress:
        async for piece in written(_Counted(view, progress), stored, shape):
            file.write(piece)
            size += len(piece)
    if sys.stderr.isatty():
        click.echo(f"run {stored.run.id}: {size:,} bytes in {output}", err=True)


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
def _progress(stored: StoredRun, shape: Shape) -> Iterator[Callable[[int | None], None]]:
    """Show a bar on a terminal; what it gives is told of rows done, None when they begin anew."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total = max(0, (stored.run.rows_returned or 0) - shape.offset)
    if shape.limit is not None:
        total = min(total, shape.limit)
    bar = Progress(
        TextColumn("rows"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("rows", total=total)

        def tell(rows: int | None) -> None:
            if rows is None:
                bar.reset(task)
            else:
                bar.advance(task, rows)

        yield tell


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write beside the file and put it in its place when all is written: a half of it is never there.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    if path.exists() and not path.is_file():
        # a device or a pipe: there is nothing to put in its place
        with path.open("wb") as there:
            yield there
        return
    # A link is followed, so that the file it leads to is replaced and not the link.
    target = path.resolve()
    try:
        file = tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        # it names a file that nobody asked for
        error.filename = str(path)
        raise
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(_mode(target))
        Path(file.name).replace(target)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise


def _mode(target: Path) -> int:
    """Return the mode of the file that is replaced, else what the umask leaves of 0666."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        umask = os.umask(0o022)
        os.umask(umask)
        return 0o666 & ~umask
