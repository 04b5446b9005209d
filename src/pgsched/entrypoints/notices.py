"""What a service tells the person at its terminal: a few plain lines on stderr, beside its log file."""

from __future__ import annotations

import logging
from typing import Final

import click

#: actions of log records that a person should see at once: it is up, it waits and for what, it is back
TOLD: Final = frozenset(
    {
        "api.any_host",
        "api.ready",
        "api.waiting",
        "settings.note",
        "up.restart",
        "worker.back",
        "worker.draining",
        "worker.handed_back",
        "worker.no_private_key",
        "worker.not_handed_back",
        "worker.ready",
        "worker.waiting",
    }
)


class Notices(logging.Handler):
    """Prints the records whose ``action`` is one of ``TOLD``, one line each."""

    #: no answer to a request is one of ``TOLD``
    leaves_access = True

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message, without time and level: the log file has them."""
        if getattr(record, "action", None) in TOLD:
            click.echo(f"{self._service}: {' '.join(record.getMessage().split())}", err=True)


def tell_on_stderr(service: str) -> None:
    """Let this process tell its notices; calling it again replaces what the last call set up."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Notices)]:
        root.removeHandler(handler)
    root.addHandler(Notices(service))
