"""The options that describe a query, for adding one and for changing one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from pgsched.entrypoints.cli.instants import instant_of
from pgsched.entrypoints.cli.opened import key_of
from pgsched.entrypoints.cli.parameters import declarations, sets

#: every policy, in the order of semantics: option, type, what it means, its default
_POLICIES: tuple[tuple[str, Any, str, str], ...] = (
    ("visibility", click.Choice(["public", "users", "restricted"]), "Who reads", "public"),
    (
        "overlap-policy",
        click.Choice(["skip", "queue", "queue_all", "cancel_previous", "allow"]),
        "When the earlier run is not over",
        "skip",
    ),
    ("misfire-policy", click.Choice(["once", "all", "skip"]), "Instants found too late", "once"),
    ("misfire-window", str, "ISO 8601 duration; older instants never run", "P1D"),
    ("start-deadline-s", int, "Seconds a run may wait after its instant", "no limit"),
    ("jitter-s", int, "Seconds over which starts are spread", "0"),
    ("max-attempts", int, "Tries of one run", "3"),
    ("retry-backoff-s", int, "Seconds before the second try, then doubling", "5"),
    ("timeout-ms", int, "Milliseconds a statement may take", "300000"),
    ("max-rows", int, "Rows stored of one run", "10000"),
    ("max-bytes", int, "Bytes of encoded rows stored of one run", "8 MiB"),
    ("on-limit", click.Choice(["truncate", "sample", "error"]), "At either limit", "truncate"),
    ("pause-after-failures", int, "Final errors in a row that pause the query, 0 never", "0"),
    ("keep-runs", int, "Runs kept", "all"),
    ("keep-days", int, "Days that runs are kept", "for ever"),
    ("fresh-for", str, "ISO 8601 duration after which the newest result is stale", "never"),
)


def policy_options(*, with_defaults: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds an option for each policy."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        text = "Whether /metrics tells the numbers of its newest result; of a public query only"
        told = f"{text} [default: no]." if with_defaults else f"{text}."
        function = click.option("--expose-metrics/--no-expose-metrics", default=None, help=told)(function)
        for name, kind, text, default in reversed(_POLICIES):
            told = f"{text} [default: {default}]." if with_defaults else f"{text}."
            function = click.option(f"--{name}", type=kind, help=told)(function)
        return function

    return decorate


def fields_given(options: Mapping[str, Any]) -> dict[str, object]:
    """Return the fields that options describe: what was not given is absent."""
    given = {name: value for name, value in options.items() if value is not None}
    if "sql" in given:
        given["sql_text"] = _sql_text(given.pop("sql"))
    if "data_source" in given and isinstance(key := key_of(given["data_source"]), int):
        del given["data_source"]
        given["data_source_id"] = key
    for name, read in (("parameters", declarations), ("param_sets", sets)):
        if not given.get(name):
            given.pop(name, None)
        else:
            given[name] = read(given[name])
    if "start_at" in given:
        given["start_at"] = instant_of(given["start_at"], "--start-at")
    return given


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
