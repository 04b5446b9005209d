"""Somebody who tries: each case on a real server, its status, and that nothing changed or leaked.

Cases are data: who asks, what they send, and what must come back. After each of them every table must hold
what it held before, but for what counts tries and uses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from postgres_fixtures import Database, Server, fresh_database, fresh_source, template_of
from processes import Installation, installation

#: secrets put into every input that takes one; found nowhere else
CANARIES = {
    "viewer": "canary-password-viewer-6rQ1",
    "editor": "canary-password-editor-x81f",
    "admin": "canary-password-admin-Zk20",
    "source": "canary-source-secret-41uW",
}
#: columns that count uses, and tables that keep tries and the trail of what was done
UNCOUNTED = {"login_failure", "access_epoch", "source_kept", "worker"}
#: what a worker counts in its own time
UNCOUNTED |= {"run_tally", "run_tally_bucket", "run_tally_mark", "run_tally_open"}
USED = {
    "user_session": ("last_seen_at", "expires_at"),
    "api_token": ("last_used_at",),
}

OTHER_SITE = {"Origin": "https://evil.example"}


@dataclass(frozen=True, kw_only=True)
class World:
    """A server that somebody may try at, with somebody of every kind."""

    url: str
    place: Installation
    database: Database
    #: clients by who they are; each has its own cookies or token
    clients: dict[str, httpx.Client]
    #: ids that paths name: ``{viewer}``, ``{query}`` …
    ids: dict[str, Any]
    tokens: dict[str, str]

    def contents(self) -> dict[str, list[str]]:
        """Every row of every table that a refused request must leave alone."""
        tables = [
            name
            for (name,) in self.database.execute(
                """select relname::text from pg_class
                where relkind = 'r' and relnamespace = 'public'::regnamespace"""
            )
            if name not in UNCOUNTED
        ]
        found = {}
        for table in tables:
            columns = "".join(f" - '{name}'" for name in USED.get(table, ()))
            rows = self.database.execute(f"select (to_jsonb(t){columns})::text from {table} t order by 1")
            found[table] = [row for (row,) in rows]
        return found

    def filled(self, text: str) -> str:
        """A path or text with the ids it names."""
        return re.sub(r"\{(\w+)\}", lambda match: str(self.ids[match[1]]), text)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One try."""

    name: str
    who: str = "anonymous"
    method: str = "GET"
    path: str
    status: int
    code: str | None = None
    json: Any = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def case(name: str, request: str, status: int, code: str | None = None, **more: Any) -> Any:
    """A case of ``WHO METHOD PATH``."""
    who, method, path = request.split(" ", 2)
    made = Case(name=name, who=who, method=method, path=path, status=status, code=code, **more)
    return pytest.param(made, id=name)


JSON = {"Content-Type": "application/json"}


def raw(text: str | bytes, **headers: str) -> dict[str, Any]:
    """A body as its bytes."""
    body = text.encode() if isinstance(text, str) else text
    return {"body": body, "headers": {**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}}


NEW_SOURCE = {"name": "other", "host": "127.0.0.1", "dbname": "shop", "username": "reader"}
NEW_QUERY = {
    "name": "mine",
    "title": "Mine",
    "sql_text": "select 1",
    "data_source": "shop",
    "schedule_type": "interval",
    "schedule_expr": "PT1H",
}
NEW_USER = {"email": "new@example.com", "name": "New", "password": "long enough 1", "roles": ["viewer"]}


def with_(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**values, **changes}


MASS_ASSIGNMENT = [
    case("own roles", "viewer PATCH /api/users/{viewer}", 403, "forbidden", json={"roles": ["admin"]}),
    case("own activity", "viewer PATCH /api/users/{viewer}", 403, "forbidden", json={"is_active": True}),
    case(
        "roles beside a name",
        "viewer PATCH /api/users/{viewer}",
        403,
        "forbidden",
        json={"name": "Me", "roles": ["viewer", "admin"]},
    ),
    case("own id", "viewer PATCH /api/users/{viewer}", 400, "invalid_request", json={"id": 1}),
    case("own hash", "viewer PATCH /api/users/{viewer}", 400, "invalid_request", json={"password_hash": "x"}),
    case(
        "own password by patch",
        "viewer PATCH /api/users/{viewer}",
        400,
        "invalid_request",
        json={"password": "long enough 1"},
    ),
    case(
        "created_at",
        "viewer PATCH /api/users/{viewer}",
        400,
        "invalid_request",
        json={"created_at": "2020-01-01T00:00:00Z"},
    ),
    case("somebody else", "viewer PATCH /api/users/{admin}", 403, "forbidden", json={"name": "Mine"}),
    case(
        "somebody else as editor", "editor PATCH /api/users/{admin}", 403, "forbidden", json={"name": "Mine"}
    ),
    case(
        "somebody else's password",
        "editor POST /api/users/{admin}/password",
        403,
        "forbidden",
        json={"new_password": "long enough 1", "current_password": CANARIES["editor"]},
    ),
    case(
        "own password without the current one",
        "viewer POST /api/users/{viewer}/password",
        403,
        "wrong_password",
        json={"new_password": "long enough 1"},
    ),
    case(
        "own password with a wrong one",
        "viewer POST /api/users/{viewer}/password",
        403,
        "wrong_password",
        json={"new_password": "long enough 1", "current_password": "not the one"},
    ),
    case("account by a viewer", "viewer POST /api/users", 403, "forbidden", json=NEW_USER),
    case("account by an editor", "editor POST /api/users", 403, "forbidden", json=NEW_USER),
    case("account by nobody", "anonymous POST /api/users", 401, "not_authenticated", json=NEW_USER),
    case("account by a token", "token POST /api/users", 403, "forbidden", json=NEW_USER),
    case("account with an id", "admin POST /api/users", 400, "invalid_request", json=with_(NEW_USER, id=99)),
    case(
        "account with is_admin",
        "admin POST /api/users",
        400,
        "invalid_request",
        json=with_(NEW_USER, is_admin=True),
    ),
    case(
        "account with a role that is none",
        "admin POST /api/users",
        400,
        "invalid_request",
        json=with_(NEW_USER, roles=["root"]),
    ),
    case(
        "account with an address taken in capitals",
        "admin POST /api/users",
        409,
        "email_taken",
        json=with_(NEW_USER, email="ADMIN@EXAMPLE.COM"),
    ),
    case(
        "last admin deactivates themself",
        "admin PATCH /api/users/{admin}",
        409,
        "last_admin",
        json={"is_active": False},
    ),
    case("last admin deletes themself", "admin DELETE /api/users/{admin}", 409, "last_admin"),
    case("source by an editor", "editor POST /api/datasources", 403, "forbidden", json=NEW_SOURCE),
    case("sources read by an editor", "editor GET /api/datasources", 403, "forbidden"),
    case(
        "source with a ciphertext column",
        "admin POST /api/datasources",
        400,
        "invalid_request",
        json=with_(NEW_SOURCE, enc_password="AAAA"),
    ),
    case(
        "source that says it has a password",
        "admin POST /api/datasources",
        400,
        "invalid_request",
        json=with_(NEW_SOURCE, has_password=True),
    ),
    case(
        "query's plan",
        "editor PATCH /api/admin/queries/{query}",
        400,
        "invalid_request",
        json={"next_run_at": "2020-01-01T00:00:00Z"},
    ),
    case("query's id", "editor PATCH /api/admin/queries/{query}", 400, "invalid_request", json={"id": 9}),
    case(
        "query's visibility that is none",
        "editor PATCH /api/admin/queries/{query}",
        400,
        "invalid_request",
        json={"visibility": "everyone"},
    ),
    case("query by a viewer", "viewer POST /api/admin/queries", 403, "forbidden", json=NEW_QUERY),
    case("query by a token of an admin", "token POST /api/admin/queries", 403, "forbidden", json=NEW_QUERY),
    case(
        "query that writes",
        "editor POST /api/admin/queries",
        400,
        "sql_not_allowed",
        json=with_(NEW_QUERY, sql_text="delete from orders"),
    ),
    case("dry run by a viewer", "viewer POST /api/admin/queries/{query}/test", 403, "forbidden"),
    case("run by a viewer", "viewer POST /api/admin/queries/{query}/run", 403, "forbidden"),
    case(
        "grants by a viewer",
        "viewer PUT /api/admin/queries/{query}/grants",
        403,
        "forbidden",
        json={"users": [], "roles": [], "tokens": []},
    ),
    case("trail by an editor", "editor GET /api/audit", 403, "forbidden"),
    case("somebody else's token", "viewer DELETE /api/tokens/{token}", 404, "not_found"),
    case("token by a token", "token POST /api/tokens", 403, "forbidden", json={"name": "more"}),
    case(
        "token with a chosen text",
        "viewer POST /api/tokens",
        400,
        "invalid_request",
        json={"name": "mine", "token": "pgs_chosen"},
    ),
]

IDS = [
    case(f"id {text}", f"admin {method} {path}", 404, "not_found", json=body)
    for text in ["0", "-1", "99999999999999999999", "1e3", "0x1", "%EF%BC%91", "1%00", "1%2F", "%20", "null"]
    for method, path, body in [("GET", f"/api/users/{text}", None)]
] + [
    case("run beyond 64 bits", "anonymous GET /api/runs/9223372036854775808", 404, "not_found"),
    case("run of another query", "anonymous GET /api/queries/{query}/runs/1/next", 404, "not_found"),
    case("restricted query", "anonymous GET /api/queries/{secret}", 404, "not_found"),
    case("restricted query by name", "viewer GET /api/queries/payroll", 404, "not_found"),
    case("restricted query's runs", "viewer GET /api/queries/payroll/runs", 404, "not_found"),
    case("restricted query's latest", "token GET /api/queries/payroll/runs/latest", 404, "not_found"),
    case("restricted run by its id", "viewer GET /api/runs/{secret_run}", 404, "not_found"),
    case(
        "restricted run beside a public query",
        "viewer GET /api/queries/{query}/runs/{secret_run}/prev",
        404,
        "not_found",
    ),
    case(
        "place of a restricted run",
        "viewer GET /api/queries/{query}/runs?before={secret_run}",
        404,
        "not_found",
    ),
    case("query by a path upwards", "anonymous GET /api/queries/..%2f..%2fadmin%2fqueries", 404, "not_found"),
    case("query's name with a quote", "anonymous GET /api/queries/x'%20or%201=1--", 404, "not_found"),
    case("search with a quote", "editor GET /api/admin/queries?q='%3Bdrop%20table%20query_job", 200),
    case("search with NUL", "editor GET /api/admin/queries?q=%00", 200),
    case("wildcards are letters", "editor GET /api/admin/queries?q=%25%25", 200),
]

PATHS = [
    case("two slashes", "anonymous GET //api/users", 404, "not_found"),
    case("two slashes inside", "anonymous GET /api//users", 404, "not_found"),
    case("capitals", "anonymous GET /API/USERS", 404, "not_found"),
    case("matrix parameter", "anonymous GET /api/users;x=1", 404, "not_found"),
    case("dot segment", "anonymous GET /api/queries/%2e%2e/users", 404, "not_found"),
    case("backslash", "anonymous GET /api%5Cusers", 404, "not_found"),
    case(
        "override by header",
        "anonymous POST /api/queries",
        405,
        "method_not_allowed",
        headers={"X-HTTP-Method-Override": "DELETE"},
    ),
    case("override by parameter", "anonymous POST /api/queries?_method=DELETE", 405, "method_not_allowed"),
    case("override of a read", "anonymous GET /api/queries", 200, headers={"X-HTTP-Method": "DELETE"}),
    case("TRACE", "anonymous TRACE /api/queries", 405, "method_not_allowed"),
    case("PROPFIND", "anonymous PROPFIND /api/queries", 405, "method_not_allowed"),
    case(
        "rewritten URL",
        "anonymous GET /api/queries/nothing",
        404,
        "not_found",
        headers={"X-Original-URL": "/api/users", "X-Rewrite-URL": "/api/users"},
    ),
    case("PUT on a user", "admin PUT /api/users/{viewer}", 405, "method_not_allowed", json=NEW_USER),
]

CREDENTIALS = [
    case(
        f"bearer {number}",
        "anonymous GET /api/queries",
        401,
        "not_authenticated",
        headers={"Authorization": f"Bearer {text}"},
    )
    for number, text in enumerate(
        ["x", "pgs_", "pgs_" + "A" * 40, "A" * 6000, "' or 1=1 --", "null", "{}", "x y"], 1
    )
] + [
    case(
        "small letters",
        "anonymous GET /api/queries",
        401,
        "not_authenticated",
        headers={"Authorization": "bearer x"},
    ),
    case(
        "token in the query string",
        "anonymous GET /api/users/me?token={token_text}",
        401,
        "not_authenticated",
    ),
    case(
        "access_token in the query string",
        "anonymous GET /api/users?access_token={token_text}",
        401,
        "not_authenticated",
    ),
    case(
        "token as a session",
        "anonymous GET /api/users/me",
        401,
        "not_authenticated",
        headers={"Cookie": "sid={token_text}"},
    ),
    case(
        "nonsense as a session",
        "anonymous GET /api/users/me",
        401,
        "not_authenticated",
        headers={"Cookie": "sid=' or 1=1 --"},
    ),
    case(
        "hash of a session as a session",
        "anonymous GET /api/users/me",
        401,
        "not_authenticated",
        headers={"Cookie": "sid={viewer_hash}"},
    ),
    case(
        "session as a token",
        "anonymous GET /api/queries",
        401,
        "not_authenticated",
        headers={"Authorization": "Bearer {viewer_sid}"},
    ),
    case(
        "an empty session beside a real one",
        "anonymous GET /api/users",
        401,
        "not_authenticated",
        headers={"Cookie": "sid=; sid="},
    ),
    case(
        "basic",
        "anonymous GET /api/users",
        401,
        "not_authenticated",
        headers={"Authorization": "Basic YWRtaW46YWRtaW4="},
    ),
    case(
        "user in a header",
        "anonymous GET /api/users",
        401,
        "not_authenticated",
        headers={"X-Remote-User": "admin@example.com", "X-Forwarded-User": "admin@example.com"},
    ),
    case(
        "login without a password",
        "anonymous POST /api/auth/login",
        400,
        "invalid_request",
        json={"email": "admin@example.com"},
    ),
    case(
        "login with a list",
        "anonymous POST /api/auth/login",
        400,
        "invalid_request",
        json={"email": ["admin@example.com"], "password": "x"},
    ),
    case(
        "login with an operator",
        "anonymous POST /api/auth/login",
        400,
        "invalid_request",
        json={"email": "admin@example.com", "password": {"$ne": None}},
    ),
    case(
        "login with a null password",
        "anonymous POST /api/auth/login",
        400,
        "invalid_request",
        json={"email": "admin@example.com", "password": None},
    ),
    case(
        "login with a hash",
        "anonymous POST /api/auth/login",
        401,
        "invalid_credentials",
        json={"email": "admin@example.com", "password": "{admin_password_hash}"},
    ),
]

ORIGINS = [
    case(
        f"write from {name}", "admin POST /api/tokens", 403, "bad_origin", json={"name": "x"}, headers=headers
    )
    for name, headers in {
        "another site": OTHER_SITE,
        "null": {"Origin": "null"},
        "a name that begins alike": {"Origin": "http://127.0.0.1.evil.example"},
        "another port": {"Origin": "http://127.0.0.1:1"},
        "another scheme": {"Origin": "https://127.0.0.1"},
        "a file": {"Origin": "file://"},
        "cross-site by Sec-Fetch-Site": {"Sec-Fetch-Site": "cross-site"},
        "another site that says same-origin": {**OTHER_SITE, "Sec-Fetch-Site": "same-origin"},
    }.items()
] + [
    case(
        "login from another site",
        "anonymous POST /api/auth/login",
        403,
        "bad_origin",
        json={"email": "admin@example.com", "password": CANARIES["admin"]},
        headers=OTHER_SITE,
    ),
    case("logout from another site", "admin POST /api/auth/logout", 403, "bad_origin", headers=OTHER_SITE),
    case(
        "plain text as a form would send it",
        "admin POST /api/tokens",
        415,
        "unsupported_media_type",
        **raw('{"name":"x"}', Content_Type="text/plain"),
    ),
    case(
        "a form",
        "admin POST /api/tokens",
        415,
        "unsupported_media_type",
        **raw("name=x", Content_Type="application/x-www-form-urlencoded"),
    ),
    case(
        "a multipart form",
        "admin POST /api/tokens",
        415,
        "unsupported_media_type",
        **raw("--x\r\n\r\n--x--", Content_Type="multipart/form-data; boundary=x"),
    ),
    case("another Host", "anonymous GET /api/queries", 400, "bad_host", headers={"Host": "evil.example"}),
    case(
        "another Host behind the proxy",
        "anonymous GET /api/queries",
        400,
        "bad_host",
        headers={"X-Forwarded-Host": "evil.example"},
    ),
    case(
        "a Host with a path", "anonymous GET /api/queries", 400, "bad_host", headers={"Host": "127.0.0.1/x"}
    ),
    case(
        "a Host that rebinds",
        "anonymous GET /api/queries",
        400,
        "bad_host",
        headers={"Host": "127.0.0.1.nip.io"},
    ),
]

BODIES = [
    case(f"body: {name}", "admin POST /api/tokens", status, code, **raw(body))
    for name, body, status, code in [
        ("huge", b'{"name":"' + b"x" * 2_000_000 + b'"}', 413, "too_large"),
        ("deep", b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "invalid_request"),
        ("deep objects", b'{"name":' * 5_000 + b"1" + b"}" * 5_000, 400, "invalid_request"),
        ("a number beyond doubles", b'{"name":1e999}', 400, "invalid_request"),
        ("a number of 5000 digits", b'{"name":' + b"9" * 5000 + b"}", 400, "invalid_request"),
        ("lone surrogate", b'{"name":"\\ud800"}', 400, "invalid_request"),
        ("surrogates in UTF-8", b'{"name":"\xed\xa0\x80"}', 400, "invalid_request"),
        ("NUL", b'{"name":"a\\u0000b"}', 400, "invalid_request"),
        ("bytes that are no text", b'{"name":"\xff\xfe"}', 400, "invalid_request"),
        ("UTF-16", '{"name":"x"}'.encode("utf-16"), 400, "invalid_request"),
        ("BOM", b'\xef\xbb\xbf{"name":"x"}', 400, "invalid_request"),
        ("names twice", b'{"name":"x","name":"y"}', 400, "invalid_request"),
        ("a list", b'[{"name":"x"}]', 400, "invalid_request"),
        ("a text", b'"name"', 400, "invalid_request"),
        ("nothing", b"", 400, "invalid_request"),
        ("NaN", b'{"name":NaN}', 400, "invalid_request"),
        ("two documents", b'{"name":"x"}{"name":"y"}', 400, "invalid_request"),
        ("a prototype", b'{"name":"x","__proto__":{"is_admin":true}}', 400, "invalid_request"),
        ("a class", b'{"name":"x","__class__":"Account"}', 400, "invalid_request"),
        ("a number for a text", b'{"name":1}', 400, "invalid_request"),
        ("control characters", b'{"name":"a\\u0007b"}', 400, "invalid_request"),
        ("an empty name", b'{"name":""}', 400, "invalid_request"),
        ("a query that is not there", b'{"name":"x","queries":[999999]}', 400, "invalid_request"),
        ("an end in the past", b'{"name":"x","expires_at":"2001-01-01T00:00:00Z"}', 400, "invalid_request"),
    ]
] + [
    case(
        "compressed body",
        "admin POST /api/tokens",
        415,
        "unsupported_media_type",
        **raw(b"\x1f\x8b\x08\x00", Content_Encoding="gzip"),
    ),
    case(
        "another charset",
        "admin POST /api/tokens",
        415,
        "unsupported_media_type",
        **raw('{"name":"x"}', Content_Type="application/json; charset=utf-7"),
    ),
]

FORMATS = [
    case(f"parameter {text}", f"anonymous GET /api/queries/orders/runs{text}", 400, "invalid_request")
    for text in [
        "/latest?format=exe",
        "/latest?format=../../etc/passwd",
        "/latest?format=",
        "/latest?status=gone",
        "/latest?bigint=float",
        "/latest?rows=-1,5",
        "/latest?rows=0,99999999999999999999",
        "/latest?rows=a",
        "/latest?columns=nope",
        "?limit=0",
        "?limit=501",
        "?limit=-1",
        "?limit=1.5",
        "?limit=%EF%BC%91",
        "?limit=1e2",
        "?limit=",
        "?start=now",
        "?end=2026-01-01",
        "?before=x",
        "?after=1%20or%201=1",
        "?include=everything",
    ]
] + [
    case(
        "nothing acceptable",
        "anonymous GET /api/queries/orders/runs/latest",
        406,
        "format_unavailable",
        headers={"Accept": "image/png"},
    ),
]

SOURCES = (
    [
        case(
            f"host {text!r}",
            "admin POST /api/datasources",
            400,
            "invalid_request",
            json=with_(NEW_SOURCE, host=text),
        )
        for text in [
            "",
            "/var/run/postgresql",
            "@abstract",
            "a.example,b.example",
            "host=evil password=x",
            "0x7f.1",
            "2130706433",
            "127.0.0.1 hostaddr=203.0.113.1",
            "127.0.0.1\nhost=evil",
            "[::1]",
            "evil.example:5432",
            "postgresql://evil.example/shop",
            "fe80::1%eth0",
            "a" * 300,
        ]
    ]
    + [
        case(
            f"stored password and another {name}",
            "admin PATCH /api/datasources/{source}",
            400,
            "password_required",
            json=changes,
        )
        for name, changes in {
            "host": {"host": "evil.example"},
            "port": {"port": 1},
            "database": {"dbname": "postgres"},
            "role": {"username": "postgres"},
            "weaker encryption": {"sslmode": "disable"},
            "host beside a name": {"name": "renamed", "host": "evil.example"},
        }.items()
    ]
    + [
        case(
            "ciphertext of another source",
            "admin POST /api/datasources",
            400,
            None,
            json=with_(NEW_SOURCE, host="evil.example", enc_password_b64="{ciphertext}"),
        ),
        case(
            "ciphertext moved to another role",
            "admin PATCH /api/datasources/{source}",
            400,
            None,
            json={"username": "postgres", "enc_password_b64": "{ciphertext}"},
        ),
        case(
            "ciphertext that is none",
            "admin POST /api/datasources",
            400,
            None,
            json=with_(NEW_SOURCE, enc_password_b64="AAAA"),
        ),
        case(
            "password twice",
            "admin POST /api/datasources",
            400,
            "invalid_request",
            json=with_(NEW_SOURCE, password="x", enc_password_b64="AAAA"),
        ),
        case("source in use", "admin DELETE /api/datasources/{source}", 409, "in_use"),
        case("query with runs", "admin DELETE /api/admin/queries/{query}", 409, "has_runs"),
    ]
)

CASES = [
    *MASS_ASSIGNMENT,
    *IDS,
    *PATHS,
    *CREDENTIALS,
    *ORIGINS,
    *BODIES,
    *FORMATS,
    *SOURCES,
]


def test_there_are_enough_cases() -> None:
    assert len({each.id for each in CASES}) == len(CASES) >= 90


@pytest.fixture(scope="module")
def world(pg_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with a source, a public and a restricted query with a run each, and somebody of every kind."""
    folder = tmp_path_factory.mktemp("abuse")
    with (
        fresh_database(pg_server, template=template_of(pg_server)) as database,
        fresh_source(pg_server) as source,
        installation(folder, database.conninfo) as place,
    ):
        # a role of its own: roles are shared by all tests of the server
        source.server.execute(f"create role canary login password '{CANARIES['source']}'")
        try:
            yield _peopled(place, database, source)
        finally:
            place.close()
            source.server.execute("drop role canary")


def _peopled(place: Installation, database: Database, source: Any) -> World:
    people = {}
    for role in ("viewer", "editor", "admin"):
        people[role] = place.json(
            "users",
            "add",
            "--email",
            f"{role}@example.com",
            "--name",
            role.title(),
            "--roles",
            role,
            "--password",
            CANARIES[role],
        )["id"]
    place.add_source(source, username="canary", password=CANARIES["source"])
    ids: dict[str, Any] = dict(people)
    ids["source"] = place.json("dsn", "list")[0]["id"]
    ids["query"] = place.add_query("orders", "select 1 as a, 'x' as b")["id"]
    ids["secret"] = place.add_query("payroll", "select 'canary-row-9Pq' as salary", visibility="restricted")[
        "id"
    ]
    place.worker()
    for name in ("orders", "payroll"):
        place.json("queries", "run", name, "--wait")
    ids["secret_run"] = place.json("runs", "list", "payroll")[0]["id"]
    _, url = place.api()
    clients = {"anonymous": httpx.Client(base_url=url, timeout=30)}
    for role in people:
        clients[role] = httpx.Client(base_url=url, timeout=30)
        answer = clients[role].post(
            "/api/auth/login", json={"email": f"{role}@example.com", "password": CANARIES[role]}
        )
        assert answer.status_code == 200, answer.text
    token = clients["admin"].post("/api/tokens", json={"name": "page", "queries": [ids["query"]]}).json()
    clients["token"] = httpx.Client(
        base_url=url, timeout=30, headers={"Authorization": f"Bearer {token['token']}"}
    )
    ids["token"], ids["token_text"] = token["id"], token["token"]
    ids["viewer_sid"] = clients["viewer"].cookies["sid"]
    ((ids["viewer_hash"],),) = database.execute(
        "select id from user_session where user_id = %s", [people["viewer"]]
    )
    ((ids["admin_password_hash"],),) = database.execute(
        "select password_hash from user_account where id = %s", [people["admin"]]
    )
    ((ids["ciphertext"],),) = database.execute(
        "select translate(encode(enc_password, 'base64'), E'\\n', '') from data_source"
    )
    return World(
        url=url, place=place, database=database, clients=clients, ids=ids, tokens={"page": token["token"]}
    )


def _send(world: World, tried: Case) -> httpx.Response:
    client = world.clients[tried.who]
    headers = {name: world.filled(value) for name, value in tried.headers.items()}
    content = tried.body
    if tried.json is not None:
        content = world.filled(json.dumps(tried.json)).encode()
        headers = {**JSON, **headers}
    request = client.build_request(tried.method, world.filled(tried.path), content=content, headers=headers)
    if tried.path.startswith("//"):
        # the client's own parser takes it for a host
        request.url = httpx.URL(world.url)
        request.extensions["target"] = tried.path.encode()
    return client.send(request)


@pytest.mark.parametrize("tried", CASES)
def test_try_comes_to_nothing(world: World, tried: Case) -> None:
    before = world.contents()
    answer = _send(world, tried)
    assert answer.status_code == tried.status, answer.text[:500]
    if tried.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == tried.status
        assert tried.code in (None, problem["code"])
    assert {"x-request-id", "x-content-type-options", "content-security-policy"} <= answer.headers.keys()
    assert "set-cookie" not in answer.headers
    for canary in [*CANARIES.values(), "canary-row"]:
        assert canary not in answer.text
    assert world.contents() == before


def test_canaries_stand_in_no_log(world: World) -> None:
    said = world.place.everything_said()
    secrets = [*CANARIES.values(), "canary-row", *world.tokens.values(), world.ids["viewer_sid"]]
    assert [secret for secret in secrets if secret in said] == []
    assert "Traceback" not in said
