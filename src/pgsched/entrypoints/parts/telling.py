"""Builds what tells of a process: its metrics, its access log, its log files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsched.adapters.logs.access import BatchedAccessLog
    from pgsched.config import Settings
    from pgsched.entrypoints.http.metrics import Meter


def meter(access_log: BatchedAccessLog) -> Meter:
    from pgsched import __version__
    from pgsched.adapters.logs.failures import lost_records
    from pgsched.adapters.metrics.process import ProcessMetrics

    return ProcessMetrics(__version__, lost_records=lambda: lost_records() + access_log.lost)


def access_log() -> BatchedAccessLog:
    from pgsched.adapters.logs.access import BatchedAccessLog

    return BatchedAccessLog()


def configure_logs(settings: Settings, service: str) -> None:
    from pgsched.adapters.logs.configure import configure
    from pgsched.adapters.logs.forwarding import SyslogTarget
    from pgsched.entrypoints.notices import tell_on_stderr

    configure(
        app_name=settings.app_name_for(service),
        log_dir=settings.log_dir if "file" in settings.log_to else None,
        to_stdout="stdout" in settings.log_to,
        syslog=settings.log_syslog and SyslogTarget(**settings.log_syslog._asdict()),
        enterprise_id=settings.rfc_enterprise_id,
        rotate_utc=settings.rotate_utc,
        gzip_after_days=settings.gzip_after_days,
        keep_days=settings.keep_days,
        max_log_bytes=settings.max_log_bytes,
        redact_keys=settings.redact_keys,
    )
    tell_on_stderr(service)
    for note in settings.notes:
        logging.getLogger(__name__).warning("%s", note, extra={"action": "settings.note"})
