"""The command ``pgsched``: finds commands without importing the others, and tells every fault once.

Exit codes: 0 done, 1 refused or failed (one line on stderr), 2 wrong usage, 130 interrupted, 141 the reader
of a pipe is gone. With PGSCHED_DEBUG=1 in the environment a failure also shows its traceback.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

import click

from pgsched import __version__
from pgsched.domain.errors import InvalidInput, PgschedError
from pgsched.entrypoints.cli import prompts

#: what a shell shows for a program that SIGPIPE ended, as most end behind ``| head``
READER_GONE = 141


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a command lives; nothing is imported before it is called."""

    #: module that holds it
    module: str
    #: its name in the module
    attribute: str
    #: its line in ``pgsched --help``
    summary: str


def _place(name: str, attribute: str, summary: str) -> Place:
    return Place(module=f"pgsched.entrypoints.cli.{name}", attribute=attribute, summary=summary)


#: every command by its name, in the order of ``--help``
COMMANDS: dict[str, Place] = {
    "up": _place("up", "command", "Start everything: database, API, page of queries and worker."),
    "api": _place("api", "command", "Serve the HTTP API and the page of queries."),
    "worker": _place("worker", "command", "Plan and run what is due."),
    "db": _place("db", "group", "Migrate or print the metadata database's schema."),
    "keys": _place("keys", "group", "Make, rotate, list and check the keys that seal passwords."),
    "users": _place("users", "group", "Accounts that may log in."),
    "tokens": _place("tokens", "group", "API tokens that read for an account."),
    "grants": _place("grants", "group", "Who reads a restricted query, and which of its rows."),
    "audit": _place("audit", "group", "Who changed what."),
    "dsn": _place("dsn", "group", "Data sources that queries run against."),
    "queries": _place("queries", "group", "Scheduled queries."),
    "runs": _place("runs", "group", "Past and present runs, with their results."),
    "sql": _place("sql", "group", "Check SQL with the guard alone, without a database."),
    "schedule": _place("schedule", "group", "Show the next instants of a schedule."),
    "status": _place("status", "command", "Show workers, queue, lateness, failures and stale queries."),
    "doctor": _place("doctor", "command", "Check everything and say what to do."),
    "openapi": _place("openapi", "command", "Print the OpenAPI document of the HTTP API."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, and whose help imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Name the commands in their order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (same)
        """Import one command."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        command: click.Command = getattr(import_module(place.module), place.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog="Settings come from the environment or a .env file: see docs/reference/settings.md.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def root() -> None:
    """Run SQL on a schedule against read-only Postgres sources, keep every run, serve the results."""


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; what went wrong stands on stderr in one line."""
    _open_streams()
    # what a terminal's encoding lacks is escaped, never a reason to fail
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    prompts.install()
    try:
        code = root.main(args=arguments, prog_name="pgsched", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        return _aborted(error)
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as error:
        # click's way out when the reader of a pipe is gone, with a stdout that complains no more
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            return READER_GONE
        return error.code if isinstance(error.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup as group:
        return _failed(_leaf(group))
    except Exception as error:  # the one place where every fault ends
        return _failed(error)
    # a command returns None, or its exit code where finding something is not a failure to do it
    return code if isinstance(code, int) else 0


def _open_streams() -> None:
    """Let streams that were closed at the start lead nowhere: Python has None for them, its users do not."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 (as long as the process)


def one_line(error: BaseException) -> str:
    """Say what went wrong in one line without ``Error:``; secrets and tracebacks stay out."""
    if isinstance(error, PgschedError):
        told = [error.detail]
        if isinstance(error, InvalidInput):
            told += [fault.message for fault in error.faults if fault.message not in error.detail]
        return _joined("; ".join(told))
    if isinstance(error, OSError) and error.strerror:
        # the system's own words for a file or a socket; other errors may quote what they were given
        place = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return _joined(f"{place}{error.strerror}")
    return f"internal error ({type(error).__name__}); run with PGSCHED_DEBUG=1 for the trace"


def _failed(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    if os.environ.get("PGSCHED_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    click.echo(f"Error: {one_line(error)}", err=True)
    return 1


def _aborted(error: click.Abort) -> int:
    """Tell Ctrl-C (quiet) from an end of input or a "no" at a prompt."""
    if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
        return 130
    ended = error.__cause__ or error.__context__
    what = "no input for the prompt; give the value as an option" if ended else "aborted; nothing was changed"
    click.echo(f"Error: {what}", err=True)
    return 1


def _reader_gone() -> int:
    """Leave quietly: Python would complain when it flushes stdout at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Choose the one to tell of what several tasks raised: pgsched's own error before any other."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, PgschedError)), leaves[0])


def _joined(text: str) -> str:
    """Bring a text onto one line of visible characters."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
