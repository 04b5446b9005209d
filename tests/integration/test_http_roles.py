"""Every endpoint for every kind of caller, and an unchanged database after whatever is refused.

To add an endpoint, add a row: method, path, and the statuses for

    anonymous  viewer  editor  admin  token

(the token is a viewer's; an admin's token and a viewer's get the same but where ``HIGHER`` says so). A token
that is not valid is 401 everywhere and needs no column. A name in braces is made afresh for every request by
``Stage.make``, so that a write that succeeds takes nothing from the next one; so are sessions.
``test_every_operation_has_a_row`` misses rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
from http_fixtures import Rows
from people import PASSWORD, People, people_over
from postgres_fixtures import Database, Server, fresh_database

from pgsched.entrypoints.http.app import openapi_document

CALLERS = ("anonymous", "viewer", "editor", "admin", "token")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A server with one caller of each kind, and what makes things for them to ask for."""

    people: People
    rows: Rows
    ids: dict[str, int]
    clients: dict[str, httpx.Client]
    fixed: dict[str, object]
    connection: psycopg.Connection
    everything: str
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    def make(self, name: str, caller: str) -> object:
        """What a name in braces stands for."""
        number = next(self.numbers)
        match name:
            case "user":  # somebody else
                return self.people.account(f"other{number}")
            case "self":
                return self.ids[caller]
            case "own_session":
                self.people.sid(self.ids[caller])
                return self._newest("select id from user_session where user_id = %s", "created_at", caller)
            case "own_token":
                self.people.token(self.ids[caller])
                return self._newest("select id from api_token where user_id = %s", "id", caller)
            case "others_token":
                self.people.token(self.people.account(f"other{number}"))
                return self._newest("select id from api_token where user_id <> %s", "id", caller)
            case "query":  # without runs
                return self.rows.query()
            case "waiting_run":
                return self.rows.run(self.rows.query(), status="queued")
            case "source" | "sealed_source":  # without queries
                return self.people.sql(
                    "insert into data_source"
                    " (name, host, dbname, username, enc_password, enc_algo, key_version)"
                    " values (%s, 'localhost', 'shop', 'reader', %s, %s, %s) returning id",
                    [f"alone{number}", *((b"x", "sealedbox-v1", 1) if name != "source" else [None] * 3)],
                )[0][0]
            case "number":
                return number
            case _:
                return self.fixed[name]

    def _newest(self, statement: str, by: str, caller: str) -> object:
        return self.people.sql(f"{statement} order by {by} desc limit 1", [self.ids[caller]])[0][0]

    def client(self, caller: str) -> httpx.Client:
        """A client of a caller; a session is a new one, since logins and logouts take it."""
        if caller not in ("viewer", "editor", "admin"):
            return self.clients[caller]
        client = self.clients["anonymous"]
        client.headers["Cookie"] = f"sid={self.people.sid(self.ids[caller])}"
        return client

    def fingerprint(self) -> list[tuple]:
        """What every table holds, but for when something was last used and who failed to log in."""
        return self.connection.execute(self.everything).fetchall()


def everything_of(connection: psycopg.Connection) -> str:
    """A statement that returns a hash of each table's rows."""
    tables = connection.execute(
        "select tablename from pg_tables where schemaname = 'public' and tablename <> 'login_failure'"
    )
    return " union all ".join(
        f"select '{table}', md5(coalesce(string_agg(row, '|' order by row), '')) from"
        " (select (to_jsonb(t) - '{last_seen_at,last_used_at}'::text[])::text as row"
        f" from {table} t) r"
        for (table,) in tables
    )


@pytest.fixture(scope="module")
def stage(pg_server: Server, migrated_template: str) -> Iterator[Stage]:
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        people_over(database) as people,
        psycopg.connect(database.conninfo, autocommit=True) as connection,
    ):
        yield _stage(people, database, connection)


def _stage(people: People, database: Database, connection: psycopg.Connection) -> Stage:
    ids = {role: people.account(role, role) for role in ("viewer", "editor", "admin")}
    rows = Rows(conninfo=database.conninfo)
    fixed: dict[str, object] = {}
    for name, visibility in (("open", "public"), ("inner", "users"), ("hidden", "restricted")):
        query_id = rows.query(name, visibility=visibility)
        for minute in range(3):
            fixed[f"{name}_run{minute}"] = rows.run(query_id, minute)
    clients = {
        "anonymous": people.client(),
        "token": people.client(token=people.token(ids["viewer"])),
        "admin_token": people.client(token=people.token(ids["admin"])),
        "unknown_token": people.client(token="pgs_" + "0" * 49),
        "expired_token": people.client(token=people.token(ids["admin"], expires_at="clock_timestamp()")),
        "inactive_token": people.client(token=people.token(people.account("off", "admin", active=False))),
    }
    # whom names in braces mean where nobody is asking for himself
    ids |= {"anonymous": ids["viewer"], "token": ids["viewer"], "admin_token": ids["admin"]}
    ids |= dict.fromkeys(("unknown_token", "expired_token", "inactive_token"), ids["viewer"])
    return Stage(
        people=people,
        rows=rows,
        ids=ids,
        clients=clients,
        fixed=fixed,
        connection=connection,
        everything=everything_of(connection),
    )


USER = {"email": "new{number}@example.com", "name": "New", "password": "correct-horse-8", "roles": ["viewer"]}
PASSWORDS = {"new_password": PASSWORD, "current_password": PASSWORD}
LOGIN = {"email": "viewer@example.com", "password": PASSWORD}

SOURCE = {"name": "new{number}", "host": "localhost", "dbname": "shop", "username": "reader"}
QUERY = {
    "name": "made{number}",
    "title": "Made",
    "sql_text": "select 1 as one",
    "data_source": "source1",
    "schedule_type": "interval",
    "schedule_expr": "PT1H",
}
SCHEDULE = {"type": "cron", "expr": "0 6 * * *", "timezone": "UTC"}

#: method, path, statuses in the order of CALLERS, body
ROWS: list[tuple[str, str, str, Any]] = [
    ("GET", "/", "200 200 200 200 200", None),
    ("GET", "/healthz", "200 200 200 200 200", None),
    ("GET", "/readyz", "200 200 200 200 200", None),
    ("GET", "/metrics", "200 200 200 200 200", None),
    ("GET", "/schema/openapi.json", "200 200 200 200 200", None),
    # reading: what may not be seen is not there
    ("GET", "/api/queries", "200 200 200 200 200", None),
    ("GET", "/api/queries/open", "200 200 200 200 200", None),
    ("GET", "/api/queries/inner", "404 200 200 200 200", None),
    ("GET", "/api/queries/hidden", "404 404 200 200 404", None),
    ("GET", "/api/queries/open/runs", "200 200 200 200 200", None),
    ("GET", "/api/queries/inner/runs", "404 200 200 200 200", None),
    ("GET", "/api/queries/hidden/runs", "404 404 200 200 404", None),
    ("GET", "/api/queries/open/runs/latest", "200 200 200 200 200", None),
    ("GET", "/api/queries/inner/runs/latest", "404 200 200 200 200", None),
    ("GET", "/api/queries/hidden/runs/latest", "404 404 200 200 404", None),
    ("GET", "/api/runs/{open_run1}", "200 200 200 200 200", None),
    ("GET", "/api/runs/{inner_run1}", "404 200 200 200 200", None),
    ("GET", "/api/runs/{hidden_run1}", "404 404 200 200 404", None),
    ("GET", "/api/queries/open/runs/{open_run1}/prev", "200 200 200 200 200", None),
    ("GET", "/api/queries/hidden/runs/{hidden_run1}/prev", "404 404 200 200 404", None),
    ("GET", "/api/queries/open/runs/{hidden_run1}/prev", "404 404 404 404 404", None),
    ("GET", "/api/queries/open/runs/{open_run1}/next", "200 200 200 200 200", None),
    ("GET", "/api/queries/hidden/runs/{hidden_run1}/next", "404 404 200 200 404", None),
    ("GET", "/api/queries/open/runs/{hidden_run1}/next", "404 404 404 404 404", None),
    # logging in; a token is nobody who logs out
    ("POST", "/api/auth/login", "200 200 200 200 200", LOGIN),
    ("POST", "/api/auth/login", "401 401 401 401 401", LOGIN | {"email": "nobody{number}@example.com"}),
    ("GET", "/api/users/me", "401 200 200 200 403", None),
    ("GET", "/api/users/me/sessions", "401 200 200 200 403", None),
    ("DELETE", "/api/users/me/sessions/{own_session}", "401 204 204 204 403", None),
    ("DELETE", "/api/users/me/sessions/f00", "401 404 404 404 403", None),
    # accounts
    ("GET", "/api/users", "401 403 403 200 403", None),
    ("POST", "/api/users", "401 403 403 201 403", USER),
    ("POST", "/api/users", "401 403 403 400 403", USER | {"roles": ["emperor"]}),
    ("POST", "/api/users", "401 403 403 409 403", USER | {"email": "ADMIN@example.com"}),
    ("GET", "/api/users/{user}", "401 403 403 200 403", None),
    ("GET", "/api/users/{self}", "401 200 200 200 403", None),
    ("GET", "/api/users/4711", "401 403 403 404 403", None),
    ("PATCH", "/api/users/{user}", "401 403 403 200 403", {"name": "Other {number}"}),
    ("PATCH", "/api/users/{self}", "401 200 200 200 403", {"name": "Same {number}"}),
    ("PATCH", "/api/users/{self}", "401 403 403 200 403", {"is_active": True}),
    ("PATCH", "/api/users/{user}", "401 403 403 200 403", {"roles": ["editor"]}),
    ("PATCH", "/api/users/{user}", "401 403 403 409 403", {"email": "editor@example.com"}),
    ("PATCH", "/api/users/{self}", "401 403 403 409 403", {"roles": ["viewer"]}),
    ("PATCH", "/api/users/4711", "401 403 403 404 403", {"name": "x"}),
    ("DELETE", "/api/users/{user}", "401 403 403 204 403", None),
    ("DELETE", "/api/users/{self}", "401 403 403 409 403", None),
    ("DELETE", "/api/users/4711", "401 403 403 404 403", None),
    ("POST", "/api/users/{user}/password", "401 403 403 204 403", {"new_password": "correct-horse-8"}),
    ("POST", "/api/users/{self}/password", "401 204 204 204 403", PASSWORDS),
    ("POST", "/api/users/{self}/password", "401 403 403 403 403", {"new_password": "correct-horse-8"}),
    # tokens: each one's own, but an admin may take away anybody's
    ("GET", "/api/tokens", "401 200 200 200 403", None),
    ("POST", "/api/tokens", "401 201 201 201 403", {"name": "t"}),
    ("POST", "/api/tokens", "401 400 201 201 403", {"name": "t", "queries": ["hidden"]}),
    ("DELETE", "/api/tokens/{own_token}", "401 204 204 204 403", None),
    ("DELETE", "/api/tokens/{others_token}", "401 404 404 204 403", None),
    ("DELETE", "/api/tokens/4711", "401 404 404 404 403", None),
    # sources: admins alone; editors learn what they are called
    ("GET", "/api/datasources", "401 403 403 200 403", None),
    ("POST", "/api/datasources", "401 403 403 201 403", SOURCE),
    ("POST", "/api/datasources", "401 403 403 409 403", SOURCE | {"name": "source1"}),
    ("POST", "/api/datasources", "401 403 403 400 403", SOURCE | {"host": "/var/run"}),
    ("GET", "/api/datasources/source1", "401 403 403 200 403", None),
    ("GET", "/api/datasources/nowhere", "401 403 403 404 403", None),
    ("PATCH", "/api/datasources/{source}", "401 403 403 200 403", {"max_concurrency": 7}),
    ("PATCH", "/api/datasources/{sealed_source}", "401 403 403 400 403", {"host": "elsewhere"}),
    ("DELETE", "/api/datasources/{source}", "401 403 403 204 403", None),
    ("DELETE", "/api/datasources/source1", "401 403 403 409 403", None),
    ("POST", "/api/datasources/{source}/test", "401 403 403 200 403", None),
    ("GET", "/api/admin/sources", "401 403 200 200 403", None),
    # queries: editors and admins
    ("GET", "/api/admin/queries", "401 403 200 200 403", None),
    ("POST", "/api/admin/queries", "401 403 201 201 403", QUERY),
    ("POST", "/api/admin/queries", "401 403 400 400 403", QUERY | {"sql_text": "delete from t"}),
    ("POST", "/api/admin/queries", "401 403 409 409 403", QUERY | {"name": "open"}),
    ("GET", "/api/admin/queries/hidden", "401 403 200 200 403", None),
    ("GET", "/api/admin/queries/nowhere", "401 403 404 404 403", None),
    ("PATCH", "/api/admin/queries/{query}", "401 403 200 200 403", {"title": "Other"}),
    ("PATCH", "/api/admin/queries/open", "401 403 400 400 403", {"schedule_expr": ""}),
    ("DELETE", "/api/admin/queries/{query}", "401 403 204 204 403", None),
    ("DELETE", "/api/admin/queries/open", "401 403 409 409 403", None),
    ("POST", "/api/admin/queries/open/test", "401 403 502 502 403", None),
    ("GET", "/api/admin/queries/open/grants", "401 403 200 200 403", None),
    ("PUT", "/api/admin/queries/{query}/grants", "401 403 200 200 403", {"roles": [{"name": "viewer"}]}),
    ("PUT", "/api/admin/queries/open/grants", "401 403 400 400 403", {"roles": [{"name": "nobody"}]}),
    ("POST", "/api/admin/queries/{query}/run", "401 403 202 202 403", None),
    ("POST", "/api/admin/queries/{query}/run", "401 403 400 400 403", {"params": "unknown"}),
    ("POST", "/api/admin/queries/open/test", "401 403 400 400 403", {"params": "unknown"}),
    ("POST", "/api/admin/runs/{waiting_run}/cancel", "401 403 202 202 403", None),
    ("POST", "/api/admin/runs/{open_run1}/cancel", "401 403 409 409 403", None),
    ("GET", "/api/admin/queries/hidden/ledger", "401 403 200 200 403", None),
    ("GET", "/api/admin/queries/hidden/grants", "401 403 200 200 403", None),
    ("PUT", "/api/admin/queries/{query}/grants", "401 403 200 200 403", {"roles": [{"name": "viewer"}]}),
    ("PUT", "/api/admin/queries/{query}/grants", "401 403 400 400 403", {"users": [{"id": 4711}]}),
    ("PUT", "/api/admin/queries/nowhere/grants", "401 403 404 404 403", {"roles": []}),
    ("POST", "/api/admin/sql/check", "401 403 200 200 403", {"sql": "select 1"}),
    ("POST", "/api/admin/schedule/next", "401 403 200 200 403", SCHEDULE),
    ("GET", "/api/audit", "401 403 403 200 403", None),
    ("POST", "/api/auth/logout", "401 204 204 204 403", None),
]

#: where an admin's token reads more than a viewer's
HIGHER = re.compile(r"/api/queries/hidden|/api/runs/\{hidden_")


def filled(value: Any, make: Callable[[str], object]) -> Any:
    """Put what they stand for in the place of names in braces."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: str(make(match[1])), value)
    if isinstance(value, dict):
        return {name: filled(inner, make) for name, inner in value.items()}
    return [filled(inner, make) for inner in value] if isinstance(value, list) else value


def ask(stage: Stage, caller: str, method: str, path: str, body: Any) -> tuple[int, bool]:
    """Send one request; return its status, and whether the database is as it was."""
    wanted = filled(path, lambda name: stage.make(name, caller))
    sent = filled(body, lambda name: stage.make(name, caller))
    client = stage.client(caller)
    before = stage.fingerprint()
    try:
        answer = client.request(method, wanted, json=sent)
    finally:
        client.headers.pop("Cookie", None)
        client.cookies.clear()
    return answer.status_code, stage.fingerprint() == before


@pytest.mark.parametrize(
    ("method", "path", "statuses", "body"),
    ROWS,
    ids=[f"{n:02}-{method}{path}" for n, (method, path, *_) in enumerate(ROWS)],
)
def test_each_caller_gets_what_is_theirs_and_a_refusal_changes_nothing(
    stage: Stage, method: str, path: str, statuses: str, body: Any
) -> None:
    expected = dict(zip(CALLERS, map(int, statuses.split()), strict=True))
    columns = dict(expected)
    columns["admin_token"] = expected["admin" if HIGHER.search(path) else "token"]
    columns |= {f"{why}_token": 401 for why in ("unknown", "expired", "inactive")}
    found, moved = {}, set()
    for caller in columns:
        found[caller], unchanged = ask(stage, caller, method, path, body)
        if not unchanged and (found[caller] >= 400 or method == "GET"):
            moved.add(caller)
    assert found == columns
    assert moved == set()


def test_every_operation_has_a_row() -> None:
    asked = {(method, re.sub(r"\{\w+\}", "x", path)) for method, path, *_ in ROWS}

    def has_row(method: str, path: str) -> bool:
        shape = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
        return any(method == asked_method and shape.fullmatch(way) for asked_method, way in asked)

    missing = [
        f"{method.upper()} {path}"
        for path, item in openapi_document("0")["paths"].items()
        for method in item
        if not has_row(method.upper(), path)
    ]
    assert missing == []
