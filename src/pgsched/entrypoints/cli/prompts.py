"""Prompts that also work without a terminal: from a pipe a line is read, and stdout holds data alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click import termui

#: how click asks for a password again
_AGAIN = "Repeat for confirmation"


def install() -> None:
    """Make click ask through this module, in this process.

    click itself prints prompts to stdout, where ``--json`` has its document, and getpass warns in three lines
    when there is no terminal to hide the input on.
    """
    hidden = _Hidden()
    termui.visible_prompt_func = _ask
    termui.hidden_prompt_func = hidden.ask
    # what it says about an answer, and the line end behind a hidden one, go where the prompt went
    termui.echo = _tell  # type: ignore[attr-defined]  # its own import of click.echo


def _tell(message: Any | None = None, *more: Any, **options: Any) -> None:
    click.echo(message, *more, **(options | {"err": True}))


def _ask(text: str) -> str:
    if sys.stdin.isatty() and sys.stdout.isatty():
        return input(text)
    return _line(text)


class _Hidden:
    """Asks for passwords. A pipe holds one line for each, and need not hold it again for confirmation."""

    def __init__(self) -> None:
        self._last = ""

    def ask(self, prompt: str) -> str:
        if sys.stdin.isatty() or _has_terminal():
            import getpass

            return getpass.getpass(prompt)
        if not prompt.startswith(_AGAIN):
            self._last = _line(prompt)
        else:
            again = sys.stdin.readline()
            if again and again.rstrip("\r\n") != self._last:
                raise click.ClickException("the two passwords differ; nothing was changed")
        return self._last


def _has_terminal() -> bool:
    """Whether getpass would find a terminal although stdin is a pipe, as ssh and psql look for one."""
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return False


def _line(prompt: str) -> str:
    """Read a line where nobody sees what is asked, unless stderr is a terminal."""
    shown = sys.stderr.isatty()
    if shown:
        click.echo(prompt, nl=False, err=True)
    line = sys.stdin.readline()
    if shown:
        # there is no terminal that would have shown the line end
        click.echo(err=True)
    if not line:
        raise click.ClickException("no input for the prompt; give the value as an option")
    return line.rstrip("\r\n")
