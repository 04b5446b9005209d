"""How to reach the embedded server, and as whom."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlencode

#: libpq parameters every connection to the embedded server pins, so that no PG* variable of this
#: machine changes them; require_auth keeps the password from whoever else sits on the port.
PINS = {
    "sslmode": "disable",
    "gssencmode": "disable",
    "channel_binding": "disable",
    "require_auth": "scram-sha-256",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionInfo:
    """Address and credentials of one role on the embedded server."""

    #: address of the server, always a loopback literal
    host: str
    #: TCP port
    port: int
    #: name of the role
    user: str
    #: the role's password, in clear; kept out of repr
    password: str = field(repr=False)
    #: database to open
    dbname: str

    def dsn(self) -> str:
        """Return a ``postgresql://`` URL for use inside this process; it holds the password.

        Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
        """
        user, password, dbname = (quote(text, safe="") for text in (self.user, self.password, self.dbname))
        query = urlencode({"hostaddr": self.host, **PINS})
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{dbname}?{query}"

    def keywords(self) -> dict[str, str]:
        """Return the same as libpq keywords, for ``psycopg.connect(**…)``."""
        return {
            "host": self.host,
            "hostaddr": self.host,
            "port": str(self.port),
            "user": self.user,
            "password": self.password,
            "dbname": self.dbname,
            **PINS,
        }

    def on(self, dbname: str) -> ConnectionInfo:
        """Return the same role on another database."""
        return replace(self, dbname=dbname)
