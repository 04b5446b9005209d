"""The settings an embedded server is started with."""

from __future__ import annotations

from collections.abc import Mapping

from pgsched.adapters.embedded.ports import LOOPBACK

#: settings of every embedded server, handed over as ``-c`` so that no file in the data folder undoes them
SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    # No statement, and so no row and no password in one, reaches the log.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "jit": "off",
}
#: settings of a server whose data nobody will miss
CARELESS: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
