"""What pages print to be typed is linted: shell syntax, commands with their arguments, make's targets."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator

import click
import pytest
import yaml
from docs_pages import BLOCKS, PAGES, ROOT, RUN, SHELL, SHOWN, Block

from pgsched.entrypoints.cli.main import root

SHELL_BLOCKS = [block for block in BLOCKS if block.language in SHELL]


def commands_in(block: Block) -> Iterator[list[str]]:
    """The commands of a shell block, continued lines joined, pipes and redirections cut off."""
    text = re.sub(r"(?:^|\s)#[^\n'\"]*$", "", re.sub(r"\\\n\s*", " ", block.text), flags=re.MULTILINE)
    # a quoted argument may go over several lines
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    try:
        tokens = [*lexer, "\n"]
    except ValueError:
        return  # a here-document with a lone quote
    for token in tokens:
        if set(token) <= set("|&;<>()\n"):
            if words:
                yield words
            words = []
        elif not (words == [] and re.fullmatch(r"\w+=.*", token, re.DOTALL)):
            words.append(token)


TYPED = sorted(
    {
        (block.page, shlex.join(words))
        for block in SHELL_BLOCKS
        for words in commands_in(block)
        if words[0] == "pgsched"
    }
)
#: commands named in a sentence, which may leave out what is required
NAMED = sorted(
    {
        (page, found)
        for page in PAGES
        for found in re.findall(r"(?<!`)`(pgsched [^`\n]+)`(?!`)", (ROOT / page).read_text())
        if not re.search(r"[|<>…\[]", found)
    }
)
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words lead to, and the words left."""
    command: click.Command = root
    context = click.Context(root)
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest.pop(0))
        assert found is not None, words
        command = found
    return command, rest


@pytest.mark.parametrize(("page", "line"), TYPED)
def test_printed_command_is_understood(page: str, line: str) -> None:
    command, rest = command_of(shlex.split(line)[1:])
    if isinstance(command, click.Group):
        assert rest in (["--version"], ["--help"])
        return
    # files that a reader has need not be here, and nobody is here to be asked
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            parameter.prompt = None
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    command.make_context(command.name, rest)


@pytest.mark.parametrize(("page", "line"), NAMED)
def test_command_named_in_a_sentence_exists_with_its_options(page: str, line: str) -> None:
    words = [word for word in line.split()[1:] if word.upper() != word or word.startswith("-")]
    command, rest = command_of(words)
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= {
        *known,
        "--help",
        "--version",
    }


def test_pages_print_commands() -> None:
    assert len(TYPED) > 25
    assert len(NAMED) > 25


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_shell_block_is_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for words in commands_in(block):
        if words[0] == "make":
            assert {word for word in words[1:] if re.fullmatch(r"[a-z]+", word)} <= TARGETS, words


def test_each_block_says_what_it_is() -> None:
    for block in BLOCKS:
        assert block.language in (*RUN, *SHOWN), f"{block}: {block.language or 'no language'}"
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            yaml.safe_load(block.text)


def test_comments_about_running_stand_above_a_block_and_are_understood() -> None:
    for page in PAGES:
        said = re.findall(r"(?<!`)<!-- (?:not run|exits).*?-->", (ROOT / page).read_text())
        heeded = [block for block in BLOCKS if block.page == page and (block.not_run or block.exits)]
        assert len(said) == len(heeded), page
