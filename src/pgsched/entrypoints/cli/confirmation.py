"""Asking for a name before something is gone for good."""

from __future__ import annotations

import click


def confirm_by_name(name: str, what: str) -> None:
    """Let the user type the name of what would be deleted.

    Raises:
        click.ClickException: another name was typed; nothing was changed.
    """
    asked = f"This deletes {what} for good. Type {name} to go on"
    typed = click.prompt(asked, default="", show_default=False)
    if typed != name:
        raise click.ClickException(f"{typed!r} is not {name!r}; nothing was changed")
