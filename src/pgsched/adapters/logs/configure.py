"""Turning logging on, once per process, at the start of a service."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from pgsched.adapters.logs.forwarding import SyslogForwarder, SyslogTarget
from pgsched.adapters.logs.log_file import LogFile
from pgsched.adapters.logs.redaction import Redactor
from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter
from pgsched.adapters.logs.streams import StandardOutput
from pgsched.adapters.logs.tidy import tidy

_MARK = "_pgsched"


def configure(
    *,
    app_name: str,
    log_dir: Path | None,
    enterprise_id: int = 32473,
    rotate_utc: bool = True,
    gzip_after_days: int = 7,
    keep_days: int = 200,
    max_log_bytes: int = 4096,
    redact_keys: Iterable[str] = (),
    level: int = logging.INFO,
    to_stdout: bool = False,
    syslog: SyslogTarget | None = None,
) -> None:
    """Send every record of this process to ``log_dir/<app_name>.log``, and to stdout and a syslog if asked.

    Without ``log_dir`` no file is written. A folder that cannot be written does not stop the program: its
    records go to stderr after one warning. Calling it again replaces what the last call set up.
    """
    formatter = Rfc5424Formatter(
        app_name=app_name,
        enterprise_id=enterprise_id,
        max_bytes=max_log_bytes,
        redactor=Redactor(redact_keys),
    )
    handlers: list[logging.Handler] = []
    if log_dir is not None:
        folder = log_dir

        def after_rotation(today: date) -> None:
            tidy(folder, app_name, today=today, gzip_after_days=gzip_after_days, keep_days=keep_days)

        file = LogFile(
            folder=folder,
            app_name=app_name,
            formatter=formatter,
            utc=rotate_utc,
            after_rotation=after_rotation,
        )
        handlers.append(file)
    if to_stdout:
        handlers.append(StandardOutput(formatter))
    if syslog is not None:
        handlers.append(SyslogForwarder(syslog, formatter))
    root = logging.getLogger()
    unconfigure()
    for handler in handlers:
        setattr(handler, _MARK, True)
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    # what no line shows is not looked up for each (Logging HOWTO, "Optimization")
    logging.logThreads = logging.logMultiprocessing = False


def unconfigure() -> None:
    """Take away the handlers that ``configure`` added, and close their files."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if hasattr(handler, _MARK)]:
        root.removeHandler(handler)
        handler.close()
