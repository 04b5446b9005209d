"""The settings as one frozen value, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar

from pgsched.config import dsn, values
from pgsched.config.dotenv_file import read_dotenv
from pgsched.config.table import SETTINGS
from pgsched.domain.errors import SettingFault

_T = TypeVar("_T")

#: file names in ``keys_dir``, as ``pgsched up`` writes them
PUBLIC_KEY_FILE = "public_key.base64"
PRIVATE_KEY_FILE = "private_key.base64"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyPaths:
    """Where the key files are expected; they need not exist."""

    #: the public key's file
    public: Path
    #: the private key's file, None where this installation has none
    private: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Every setting, typed and checked; paths are absolute.

    An attribute is named like its variable, in small letters. See ``table.SETTINGS`` for their purposes.
    """

    #: libpq ``key=value`` string, None for the embedded server; may hold a password
    pg_dsn_app: str | None = field(repr=False)
    #: folder of the embedded database and of generated keys
    pgsched_home: Path
    #: folder of the Postgres programs, None to look for them
    pgsched_pg_bin: Path | None
    #: explicit file of the public key, None when not set: see ``key_paths``
    public_key_b64_path: Path | None
    #: explicit file of the private key, None when not set: see ``key_paths``
    app_private_key_b64_path: Path | None
    #: base64 of 32 to 64 bytes; ``pepper`` decodes it
    argon2_secret_key_b64: str | None = field(repr=False)
    #: hours
    session_ttl_hours: int
    #: minutes
    session_extend_on_use_min: int
    #: hours
    session_max_hours: int
    #: roles that exist, in the order given; admin is among them
    allowed_roles: tuple[str, ...]
    #: seconds
    default_query_interval: int
    #: newest runs kept of a query that says nothing else, None for all
    default_keep_runs: int | None
    #: days that runs are kept of a query that says nothing else, None for ever
    default_keep_days: int | None
    audit_keep_days: int | None
    #: APP-NAME, None when not set: see ``app_name_for``
    app_name: str | None
    #: folder of the log files
    log_dir: Path
    #: ``file``, ``stdout`` or both; ``none``
    log_to: tuple[str, ...]
    #: syslog server that logs are forwarded to, None for none
    log_syslog: values.SyslogAddress | None
    #: private enterprise number
    rfc_enterprise_id: int
    #: whether logs rotate at UTC midnight, else at local midnight
    rotate_utc: bool
    #: days
    gzip_after_days: int
    #: days
    keep_days: int
    #: bytes of structured data and message in one record
    max_log_bytes: int
    #: in small letters
    redact_keys: tuple[str, ...]
    #: whether forwarded headers count at all
    trust_proxy: bool
    #: networks whose forwarded headers count
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    #: in small letters, IPv6 without brackets, ``*`` for any; None when not set
    allowed_hosts: tuple[str, ...] | None
    #: ``scheme://host[:port]`` in small letters without a default port, or ``*``
    cors_allowed_origins: tuple[str, ...]
    #: whether ``public`` queries are readable without a login
    public_read: bool
    #: working directory the relative paths were read against
    directory: Path
    #: what a person should know about how these were read, one line each
    notes: tuple[str, ...] = ()

    @property
    def keys_dir(self) -> Path:
        """Folder of generated keys."""
        return self.pgsched_home / "keys"

    @property
    def pepper(self) -> bytes | None:
        """The Argon2id pepper, 32 to 64 bytes, None when not set."""
        text = self.argon2_secret_key_b64
        return None if text is None else values.decode_pepper(text)

    @property
    def database_shown(self) -> str:
        """Name of the metadata database for messages, without its password."""
        return "the embedded Postgres" if self.pg_dsn_app is None else dsn.shown(self.pg_dsn_app)

    def app_name_for(self, service: str) -> str:
        """APP-NAME of a service's logs: APP_NAME, else ``pgsched-<service>``."""
        return self.app_name or f"pgsched-{service}"

    def key_paths(self) -> KeyPaths:
        """Say where the keys are: explicit settings win, else PGSCHED_HOME/keys, else ./public_key.base64.

        The two files are one pair: when either setting is given, PGSCHED_HOME/keys is not looked at, so that
        a password is never sealed with the generated public key for a private key from elsewhere. Asks the
        file system each time, because ``pgsched up`` makes keys after the settings were read.
        """
        public, private = self.public_key_b64_path, self.app_private_key_b64_path
        generated = self.keys_dir / PUBLIC_KEY_FILE
        if public is None and private is None and os.path.exists(generated):  # noqa: PTH110 (False, not an error, in a closed folder)
            generated_private = self.keys_dir / PRIVATE_KEY_FILE
            there = os.path.exists(generated_private)  # noqa: PTH110 (as above)
            return KeyPaths(public=generated, private=generated_private if there else None)
        return KeyPaths(public=public or self.directory / PUBLIC_KEY_FILE, private=private)


def load(environ: Mapping[str, str], directory: Path) -> Settings:
    """Read the settings from an environment and from ``directory/.env``; the environment wins.

    An empty value is an unset one, also where it overrides a line of ``.env``. Blanks around a value do not
    count. Relative paths are taken from ``directory``; ``~/`` is HOME.

    Raises:
        SettingFault: with one line that names the variable, the fault and the fix.
    """
    directory = directory.absolute()
    lines = read_dotenv(directory / ".env")
    texts: dict[str, str] = {}
    notes: list[str] = []
    for setting in SETTINGS:
        name = setting.variable
        if not setting.in_dotenv and name in lines:
            notes.append(f"{name} in .env is ignored; set it in the environment")
        text = environ.get(name, lines.get(name, "") if setting.in_dotenv else "").strip()
        if not text.isprintable() and any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise SettingFault(name, "holds a control character; remove it")
        if text:
            texts[name] = text
    return _Reader(texts=texts, directory=directory, home=environ.get("HOME", "")).settings(tuple(notes))


def decode_pepper(text: str) -> bytes:
    """Decode a pepper kept elsewhere than in the variable, 32 to 64 bytes.

    Raises:
        SettingFault: it is not base64 of that many bytes; never shows it.
    """
    try:
        return values.decode_pepper(text)
    except ValueError as error:
        raise SettingFault("ARGON2_SECRET_KEY_B64", str(error)) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    texts: Mapping[str, str] = field(repr=False)
    directory: Path
    home: str

    def settings(self, notes: tuple[str, ...]) -> Settings:
        return Settings(
            pg_dsn_app=self.maybe("PG_DSN_APP", dsn.conninfo),
            pgsched_home=self.value("PGSCHED_HOME", self.path),
            pgsched_pg_bin=self.maybe("PGSCHED_PG_BIN", self.path),
            public_key_b64_path=self.maybe("PUBLIC_KEY_B64_PATH", self.path),
            app_private_key_b64_path=self.maybe("APP_PRIVATE_KEY_B64_PATH", self.path),
            argon2_secret_key_b64=self.maybe("ARGON2_SECRET_KEY_B64", values.pepper),
            session_ttl_hours=self.value("SESSION_TTL_HOURS", values.whole_number(1, 87600)),
            session_extend_on_use_min=self.value(
                "SESSION_EXTEND_ON_USE_MIN", values.whole_number(0, 5256000)
            ),
            session_max_hours=self.value("SESSION_MAX_HOURS", values.whole_number(1, 87600)),
            allowed_roles=self.value("ALLOWED_ROLES", values.roles),
            # ten years: the horizon within which an expression must have an instant
            default_query_interval=self.value("DEFAULT_QUERY_INTERVAL", values.whole_number(1, 315360000)),
            default_keep_runs=self.maybe("DEFAULT_KEEP_RUNS", values.whole_number(1, 1000000000)),
            default_keep_days=self.maybe("DEFAULT_KEEP_DAYS", values.whole_number(1, 36500)),
            audit_keep_days=self.maybe("AUDIT_KEEP_DAYS", values.whole_number(1, 36500)),
            app_name=self.maybe("APP_NAME", values.app_name),
            log_dir=self.value("LOG_DIR", self.path),
            log_to=self.value("LOG_TO", values.log_targets),
            log_syslog=self.maybe("LOG_SYSLOG", values.syslog),
            rfc_enterprise_id=self.value("RFC_ENTERPRISE_ID", values.whole_number(0, 4294967295)),
            rotate_utc=self.value("ROTATE_UTC", values.switch),
            gzip_after_days=self.value("GZIP_AFTER_DAYS", values.whole_number(0, 36500)),
            keep_days=self.value("KEEP_DAYS", values.whole_number(1, 36500)),
            max_log_bytes=self.value("MAX_LOG_BYTES", values.whole_number(64, 1048576)),
            redact_keys=self.value("REDACT_KEYS", values.redact_keys),
            trust_proxy=self.value("TRUST_PROXY", values.switch),
            trusted_proxies=self.value("TRUSTED_PROXIES", values.networks),
            allowed_hosts=self.maybe("ALLOWED_HOSTS", values.hosts),
            cors_allowed_origins=self.value("CORS_ALLOWED_ORIGINS", values.origins),
            public_read=self.value("PUBLIC_READ", values.switch),
            directory=self.directory,
            notes=notes,
        )

    def value(self, variable: str, read: Callable[[str], _T]) -> _T:
        default = next(setting.default for setting in SETTINGS if setting.variable == variable)
        assert default is not None
        return self._read(variable, self.texts.get(variable, default), read)

    def maybe(self, variable: str, read: Callable[[str], _T]) -> _T | None:
        text = self.texts.get(variable)
        return None if text is None else self._read(variable, text, read)

    def path(self, text: str) -> Path:
        if text == "~" or text.startswith("~/"):
            if not self.home:
                raise ValueError("begins with ~ but HOME is not set; write the path in full")
            text = self.home + text[1:]
        elif text.startswith("~"):
            raise ValueError("begins with another user's ~; write the path in full")
        return self.directory / text

    @staticmethod
    def _read(variable: str, text: str, read: Callable[[str], _T]) -> _T:
        try:
            return read(text)
        except ValueError as error:
            raise SettingFault(variable, str(error)) from None
