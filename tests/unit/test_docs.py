"""The documentation says what the code does: reference pages against the code, links against the files."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

# Their classes are errors with codes of their own.
import pgsched.entrypoints.http.problems
import pgsched.entrypoints.up.children  # noqa: F401
from pgsched.adapters.postgres import schema
from pgsched.domain.errors import PgschedError
from pgsched.domain.runs import TRANSITIONS, RunStatus, SkipReason
from pgsched.domain.sql_guard import Rule
from pgsched.entrypoints.cli.main import root

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))


def page(path: str) -> str:
    return (ROOT / "docs" / path).read_text()


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {heading}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every table, without header lines."""
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    rules = [i for i, row in enumerate(cells) if set(row[0]) == {"-"}]
    return [row for i, row in enumerate(cells) if i not in rules and i + 1 not in rules]


def commands(command: click.Command = root, path: str = "pgsched") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what one types."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from commands(inner, f"{path} {name}")


COMMANDS = dict(commands())


def test_cli_page_has_a_section_for_each_command_and_no_other() -> None:
    assert re.findall(r"^## (.*)$", page("reference/cli.md"), re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_cli_page_lists_arguments_and_options_of(path: str) -> None:
    command = COMMANDS[path]
    context = click.Context(command)
    wanted = [
        " / ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
        if isinstance(parameter, click.Option)
        else parameter.make_metavar(context).replace("|", "\\|")
        for parameter in command.params
    ]
    text = section(page("reference/cli.md"), path)
    assert [row[0] for row in rows(text)] == wanted
    required = [row[0] for row in rows(text) if row[1] == "required"]
    assert required == [name for name, each in zip(wanted, command.params, strict=True) if each.required]


def subclasses(kind: type[PgschedError]) -> Iterator[type[PgschedError]]:
    yield kind
    for each in kind.__subclasses__():
        # errors that tests make up are nobody's business
        if each.__module__.startswith("pgsched."):
            yield from subclasses(each)


def test_errors_page_lists_each_error_with_its_code() -> None:
    listed = [(row[0], row[1]) for row in rows(section(page("reference/errors.md"), "Codes"))]
    assert len(listed) == len(set(listed))
    assert set(listed) == {(kind.code, kind.__name__) for kind in subclasses(PgschedError)}


def test_errors_page_lists_each_rule_of_the_guard() -> None:
    listed = [row[0] for row in rows(section(page("reference/errors.md"), "Rules of the guard"))]
    assert listed == [rule.value for rule in Rule]


def test_errors_page_lists_each_reason_to_skip() -> None:
    codes = rows(section(page("reference/errors.md"), "Codes of runs"))
    assert [row[0] for row in codes if row[1] == "skipped"] == [reason.value for reason in SkipReason]


def columns_of_the_schema() -> dict[str, list[tuple[str, str]]]:
    """Tables with names and types of their columns, read from the printed schema."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for name, body in re.findall(
        r"^create table (\w+) \((.*?)^\);", schema.printed(), re.MULTILINE | re.DOTALL
    ):
        lines = re.findall(r"^    (\w+) (\w+(?:\[\])?)", body, re.MULTILINE)
        tables[name] = [(column, kind) for column, kind in lines if column != "constraint"]
    for name, column, kind in re.findall(
        r"alter table (\w+)\s+add column (\w+) (\w+(?:\[\])?)", schema.printed(), re.MULTILINE
    ):
        tables[name].append((column, kind))
    return tables


def test_tables_page_lists_each_column_with_its_type() -> None:
    text = page("reference/tables.md")
    wanted = columns_of_the_schema()
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == set(wanted)
    for name, columns in wanted.items():
        assert [(row[0], row[1]) for row in rows(section(text, name))] == columns, name


def test_run_states_page_names_each_status_and_transition() -> None:
    text = page("explanation/run-states.md")
    drawn = re.findall(r"^ +(\w+) --> (\w+)(?::|$)", text, re.MULTILINE)
    assert sorted(drawn) == sorted(
        (before.value, after.value) for before in RunStatus for after in TRANSITIONS[before]
    )
    ends = set(re.findall(r"^ +(\w+) --> \[\*\]$", text, re.MULTILINE))
    assert ends == {status.value for status in RunStatus if status.is_terminal}
    assert [row[0] for row in rows(text)] == [status.value for status in RunStatus]


def anchors(text: str) -> set[str]:
    """What headings can be linked to by, as GitHub makes it of them."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve_in(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text()), target


def test_index_leads_to_every_page() -> None:
    index = page("README.md")
    kinds = [path for path in PAGES if path.parent.parent == ROOT / "docs" and path not in DECISIONS]
    assert kinds
    for path in kinds:
        assert f"]({path.relative_to(ROOT / 'docs')})" in index


def test_decisions_are_numbered_once_and_have_a_heading() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert len(numbers) == len(set(numbers)) >= 7
    for number, path in zip(numbers, DECISIONS, strict=True):
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
        assert re.match(rf"# 0*{number}[.:] \S", path.read_text()), path.name


def test_changelog_begins_with_what_is_unreleased() -> None:
    versions = re.findall(r"^## \[?([^\]\n]+)\]?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[:2] == ["Unreleased", "0.1.0"]


def test_example_of_swapped_adapters_runs_as_printed(tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```$", page("how-to/swap-adapters-in-tests.md"), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 2
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_page_of_refused_functions_is_printed_from_the_table() -> None:
    printed = subprocess.run(
        [sys.executable, "bench/policy_page.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert page("reference/sql-functions.md") == printed.stdout
