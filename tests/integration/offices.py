"""Sources and queries over HTTP: a server, its database, a source, and somebody of each role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from people import People, people_over
from postgres_fixtures import Database, SourceDatabase, fresh_database, fresh_source

from pgsched.adapters.crypto.keygen import generate_pair, write_pair
from pgsched.adapters.crypto.keyring import PublicKeyring

SECRET = "canary-source-password"
ENDLESS = "select pg_sleep(60)::text as x"
#: everything that a refused write could have changed
STATE = """
select (select jsonb_agg(to_jsonb(s) order by id) from data_source s),
       (select jsonb_agg(to_jsonb(j) - 'consecutive_failures' order by id) from query_job j),
       (select jsonb_agg(to_jsonb(r) order by id) from query_run r),
       (select jsonb_agg(to_jsonb(g) order by id) from query_grant g),
       (select count(*) from audit_event)"""
NO_KEYS = ["0", "4711", "-1", str(2**63), str(2**64), "9" * 5000, "1.0", "%31%00", "٣", "a b", "nowhere"]

ADMIN_PATHS = [
    ("GET", "/api/datasources"),
    ("POST", "/api/datasources"),
    ("GET", "/api/datasources/shop"),
    ("PATCH", "/api/datasources/shop"),
    ("DELETE", "/api/datasources/shop?force=1"),
    ("POST", "/api/datasources/shop/test"),
]
EDITOR_PATHS = [
    ("GET", "/api/admin/sources"),
    ("GET", "/api/admin/queries"),
    ("POST", "/api/admin/queries"),
    ("GET", "/api/admin/queries/sales"),
    ("PATCH", "/api/admin/queries/sales"),
    ("DELETE", "/api/admin/queries/sales?force=1"),
    ("POST", "/api/admin/queries/sales/test"),
    ("POST", "/api/admin/queries/sales/run"),
    ("POST", "/api/admin/runs/1/cancel"),
    ("POST", "/api/admin/sql/check"),
    ("POST", "/api/admin/schedule/next"),
]


@dataclass(frozen=True, kw_only=True)
class Office:
    """A server, its database, a source, and somebody of each kind."""

    people: People
    database: Database
    source: SourceDatabase
    public: bytes
    admin: httpx.Client
    editor: httpx.Client
    viewer: httpx.Client
    token: httpx.Client
    nobody: httpx.Client

    def state(self) -> object:
        return self.people.sql(STATE)

    def new_source(self, **changes: object) -> dict[str, Any]:
        source = self.source
        given = {
            "name": "shop",
            "host": source.host,
            "port": source.port,
            "dbname": source.dbname,
            "username": source.username,
            "password": source.password,
            "sslmode": "disable",
        }
        return given | changes

    def add_source(self, **changes: object) -> dict[str, Any]:
        made = self.admin.post("/api/datasources", json=self.new_source(**changes))
        assert made.status_code == 201, made.text
        return made.json()

    def add_query(self, **changes: object) -> dict[str, Any]:
        made = self.editor.post("/api/admin/queries", json=new_query(**changes))
        assert made.status_code == 201, made.text
        return made.json()


def new_query(**changes: object) -> dict[str, Any]:
    given = {
        "name": "sales",
        "title": "Sales",
        "sql_text": "select n, 'é' as x from generate_series(1, 5) n",
        "data_source": "shop",
        "schedule_type": "interval",
        "schedule_expr": "PT1H",
        "enabled": False,
    }
    return given | changes


@pytest.fixture(scope="module")
def key_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("keys")
    write_pair(generate_pair(), public=folder / "public", private=folder / "private")
    return {
        "PUBLIC_KEY_B64_PATH": str(folder / "public"),
        "APP_PRIVATE_KEY_B64_PATH": str(folder / "private"),
    }


@pytest.fixture(scope="module")
def open_office(pg_server, migrated_template, key_settings: dict[str, str]) -> Iterator[Office]:
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        people_over(database, **key_settings) as people,
    ):
        ids = {role: people.account(role, role) for role in ("admin", "editor", "viewer")}
        ring = PublicKeyring.load(key_settings["PUBLIC_KEY_B64_PATH"])
        yield Office(
            people=people,
            database=database,
            source=source,
            public=ring.keys[1],
            **{role: people.session(each) for role, each in ids.items()},
            token=people.client(token=people.token(ids["admin"])),
            nobody=people.client(),
        )


@pytest.fixture
def office(open_office: Office) -> Iterator[Office]:
    """The place without sources and queries."""
    yield open_office
    open_office.people.sql("delete from query_job")
    open_office.people.sql("delete from data_source")
