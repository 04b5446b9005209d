"""Prompts that also work without a terminal: from a pipe a line is read, and stdout holds data alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click import termui


def install() -> None:
    """Make click ask through this module, in this process.

    click itself prints prompts to stdout, where ``--json`` has its document, and getpass warns in three lines
    when there is no terminal to hide the input on.
    """
    termui.visible_prompt_func = _ask
    termui.hidden_prompt_func = _ask_hidden


def _ask(text: str) -> str:
    if sys.stdin.isatty() and sys.stdout.isatty():
        return input(text)
    click.echo(text, nl=False, err=True)
    return _line()


def _ask_hidden(prompt: str) -> str:
    if sys.stdin.isatty() or _has_terminal():
        import getpass

        return getpass.getpass(prompt)
    click.echo(prompt, nl=False, err=True)
    return _line()


def _has_terminal() -> bool:
    """Whether getpass would find a terminal although stdin is a pipe, as ssh and psql look for one."""
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return False


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    # there is no terminal that would have shown the line end
    click.echo(err=True)
    return line.rstrip("\r\n")
