"""Every pgsched command that a page prints is one that the command line takes, arguments and all."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pgsched.entrypoints.cli.main import root

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def printed(page: Path) -> Iterator[str]:
    """The lines of shell blocks that run pgsched, continued lines joined, pipes and redirections cut off."""
    for block in re.findall(
        r"^ *```(?:sh|shell|bash)\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL
    ):
        text = re.sub(r"(?:^|\s)#[^\n'\"]*$", "", re.sub(r"\\\n\s*", " ", block), flags=re.MULTILINE)
        # a quoted argument may go over several lines
        lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()\n")
        lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
        words: list[str] = []
        try:
            tokens = [*lexer, "\n"]
        except ValueError:
            continue  # a here-document with a lone quote
        for token in tokens:
            if set(token) <= set("|&;<>()\n"):
                if words[:1] == ["pgsched"]:
                    yield shlex.join(words)
                words = []
            elif not (words == [] and re.fullmatch(r"\w+=.*", token, re.DOTALL)):
                words.append(token)


COMMANDS = sorted({(str(page.relative_to(ROOT)), line) for page in PAGES for line in printed(page)})


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_printed_command_is_understood(page: str, line: str) -> None:
    rest = shlex.split(line)[1:]
    command: click.Command = root
    context = click.Context(root)
    if rest[0].startswith("-"):
        assert rest in (["--version"], ["--help"])
        return
    while isinstance(command, click.Group):
        found = command.get_command(context, rest.pop(0))
        assert found is not None, line
        command = found
    # files that a reader has need not be here, and nobody is here to be asked
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            parameter.prompt = None
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    command.make_context(command.name, rest)


def test_pages_print_commands() -> None:
    assert len(COMMANDS) > 25
