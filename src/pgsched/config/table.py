"""Every setting with its default and purpose, as data.

The reference page (docs/reference/settings.md) and ``.env.example`` are checked against this table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One variable of the environment that pgsched reads."""

    #: name of the variable
    variable: str
    #: text of the default as one would write it, None when unset is the default
    default: str | None
    #: what it is for, one line
    purpose: str
    #: whether its value must never be shown
    secret: bool = False
    #: whether ``.env`` may set it too
    in_dotenv: bool = True


#: all settings, in the order of the reference page
SETTINGS: tuple[Setting, ...] = (
    Setting(
        variable="PG_DSN_APP",
        default=None,
        purpose="metadata database; unset: the embedded Postgres under PGSCHED_HOME",
        secret=True,
    ),
    Setting(
        variable="PGSCHED_HOME",
        default="./.pgsched",
        purpose="embedded database and generated keys (mode 0700)",
    ),
    Setting(
        variable="PGSCHED_PG_BIN",
        default=None,
        purpose="folder of the Postgres programs for the embedded server (environment only, never from .env)",
        in_dotenv=False,
    ),
    Setting(
        variable="PUBLIC_KEY_B64_PATH",
        default="./public_key.base64",
        purpose="file of the libsodium public key, which seals the passwords of sources",
    ),
    Setting(
        variable="APP_PRIVATE_KEY_B64_PATH",
        default=None,
        purpose="file of the libsodium private key, which opens them (mode 0600)",
    ),
    Setting(
        variable="ARGON2_SECRET_KEY_B64",
        default=None,
        purpose="base64 of 32 to 64 bytes: the pepper of the password hashes",
        secret=True,
    ),
    Setting(variable="SESSION_TTL_HOURS", default="72", purpose="lifetime of a session, hours"),
    Setting(
        variable="SESSION_EXTEND_ON_USE_MIN",
        default="60",
        purpose="a session used within this many minutes of its end is extended to now + SESSION_TTL_HOURS",
    ),
    Setting(
        variable="SESSION_MAX_HOURS",
        default="720",
        purpose="no session lives longer than this from its login, hours",
    ),
    Setting(
        variable="ALLOWED_ROLES",
        default="viewer,editor,admin",
        purpose="roles that exist; must contain admin; roles of your own have a viewer's rights",
    ),
    Setting(
        variable="DEFAULT_QUERY_INTERVAL",
        default="21600",
        purpose="period of an interval query that names none, seconds",
    ),
    Setting(
        variable="DEFAULT_KEEP_RUNS",
        default=None,
        purpose="newest runs kept of a query that names no keep_runs (and the newest success); unset: all",
    ),
    Setting(
        variable="DEFAULT_KEEP_DAYS",
        default=None,
        purpose="days that runs are kept of a query that names no keep_days; unset: for ever",
    ),
    Setting(
        variable="AUDIT_KEEP_DAYS",
        default=None,
        purpose="days that the audit trail is kept, deleted in small batches by the workers; unset: for ever",
    ),
    Setting(
        variable="APP_NAME",
        default="pgsched-api",
        purpose="APP-NAME in the logs and name of the log file (the worker's default is pgsched-worker)",
    ),
    Setting(variable="LOG_DIR", default="./logs", purpose="folder of the log files"),
    Setting(
        variable="LOG_TO",
        default="file",
        purpose="where logs go: file (in LOG_DIR), stdout (for containers), both, or none",
    ),
    Setting(
        variable="LOG_SYSLOG",
        default=None,
        purpose="syslog server that logs are forwarded to as well: udp://host:514, tcp://host:601, unix:///dev/log",
    ),
    Setting(
        variable="RFC_ENTERPRISE_ID",
        default="32473",
        purpose="private enterprise number in the structured data of RFC 5424",
    ),
    Setting(
        variable="ROTATE_UTC", default="1", purpose="1: logs rotate at UTC midnight; 0: at local midnight"
    ),
    Setting(variable="GZIP_AFTER_DAYS", default="7", purpose="rotated logs are gzipped after this many days"),
    Setting(variable="KEEP_DAYS", default="200", purpose="rotated logs are deleted after this many days"),
    Setting(
        variable="MAX_LOG_BYTES",
        default="4096",
        purpose="most bytes of payload (structured data and message) in one log record",
    ),
    Setting(
        variable="REDACT_KEYS",
        default="password,new_password,current_password,token,authorization,secret",
        purpose="keys whose values are masked in logs, at any depth, any letter case",
    ),
    Setting(
        variable="TRUST_PROXY",
        default="1",
        purpose="1: X-Forwarded-For, -Proto and -Host count when the peer is in TRUSTED_PROXIES",
    ),
    Setting(
        variable="TRUSTED_PROXIES",
        default="127.0.0.0/8,::1",
        purpose="networks of the reverse proxies",
    ),
    Setting(
        variable="ALLOWED_HOSTS",
        default=None,
        purpose="Host names answered; unset: loopback names when bound to loopback, any when bound elsewhere",
    ),
    Setting(
        variable="CORS_ALLOWED_ORIGINS",
        default="*",
        purpose="origins that may read from a browser; * never travels with credentials",
    ),
    Setting(
        variable="PUBLIC_READ",
        default="1",
        purpose="1: runs of public queries are readable without a login; 0: public means users",
    ),
)
