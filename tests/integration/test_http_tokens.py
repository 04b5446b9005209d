"""Tokens and the audit trail over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from http_fixtures import Rows
from people import People, code, people_over
from postgres_fixtures import Database

SECRETS = ("correct-horse", "$argon2id$", "pgs_")


@pytest.fixture
def people(database: Database) -> Iterator[People]:
    with people_over(database) as people:
        yield people


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(conninfo=database.conninfo)


def names(client) -> set[str]:
    answer = client.get("/api/queries")
    assert answer.status_code == 200
    return {item["name"] for item in answer.json()["items"]}


def test_token_is_shown_once_and_only_its_hash_is_kept(people: People) -> None:
    client = people.session(people.account("ada"))
    answer = client.post("/api/tokens", json={"name": "wall", "expires_at": "2140-01-01T01:00:00+01:00"})
    made = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    text = made.pop("token")
    assert text.startswith("pgs_")
    assert made["expires_at"] == "2140-01-01T00:00:00Z"
    assert client.get("/api/tokens").json() == {"items": [made], "total": 1, "limit": 50, "offset": 0}
    kept = people.sql("select t::text from api_token t") + people.sql("table audit_event")
    assert text not in str(kept)
    assert people.client(token=text).get("/api/queries").status_code == 200
    assert client.get("/api/tokens").json()["items"][0]["last_used_at"] is not None


def test_token_reads_what_its_owner_may_narrowed_by_its_queries(people: People, rows: Rows) -> None:
    ada, root = people.account("ada"), people.account("root", "admin")
    open_, inner, hidden = (
        rows.query(name, visibility=visibility)
        for name, visibility in (("open", "public"), ("inner", "users"), ("hidden", "restricted"))
    )
    for query_id in (open_, inner, hidden):
        rows.run(query_id)
    session = people.session(ada)
    assert names(people.client(token=people.token(ada))) == {"open", "inner"}
    assert names(people.client(token=people.token(root))) == {"open", "inner", "hidden"}
    text = session.post("/api/tokens", json={"name": "t", "queries": ["inner", inner]}).json()["token"]
    narrowed = people.client(token=text)
    assert names(narrowed) == {"inner"}
    assert narrowed.get("/api/queries/open/runs/latest").status_code == 404
    assert narrowed.get("/api/queries/inner/runs/latest").status_code == 200
    nothing = session.post("/api/tokens", json={"name": "t", "queries": []}).json()["token"]
    assert names(people.client(token=nothing)) == set()
    # what is granted to the token itself comes on top
    [(token_id,)] = people.sql("select max(id) from api_token")
    people.sql("insert into query_grant (query_id, token_id) values (%s, %s)", [hidden, token_id])
    assert names(people.client(token=nothing)) == {"hidden"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "t", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "t", "expires_at": "2140-01-01"}, "expires_at"),
        ({"name": "t", "expires_at": 5}, "expires_at"),
        ({"name": "t", "queries": ["nowhere"]}, "queries[0]"),
        ({"name": "t", "queries": ["open", "hidden"]}, "queries[1]"),
        ({"name": "t", "queries": [2**62, -1, 0, "a b"]}, "queries[0]"),
        ({"name": "t", "queries": [1.5]}, "queries[0]"),
        ({"name": "t", "queries": ["open"] * 501}, "queries"),
        ({"name": "t", "queries": "open"}, "queries"),
        ({"name": "t", "token": "pgs_mine"}, "token"),
        ({"name": "t", "user_id": 1}, "user_id"),
    ],
)
def test_token_that_breaks_a_rule_is_refused_by_its_field(
    people: People, rows: Rows, body: dict[str, object], field: str
) -> None:
    rows.query("open")
    rows.query("hidden", visibility="restricted")
    answer = people.session(people.account("ada")).post("/api/tokens", json=body)
    assert code(answer) == (400, "invalid_request")
    assert answer.json()["errors"][0]["field"] == field
    assert people.sql("select count(*) from api_token") == [(0,)]


def test_token_that_is_not_valid_is_401_everywhere(people: People) -> None:
    ada, off = people.account("ada"), people.account("off", active=False)
    good = people.token(ada)
    swapped = good[:-1] + ("0" if good[-1] != "0" else "1")
    bad = {
        "expired": people.token(ada, expires_at="clock_timestamp()"),
        "owner inactive": people.token(off),
        "unknown": "pgs_" + "0" * 49,
        "checksum": swapped,
        "case": good.upper(),
        "cut": good[:-1],
        "two": f"{good} {good}",
        "sid": people.sid(ada),
    }
    for why, text in bad.items():
        client = people.client(token=text)
        for path in ("/", "/healthz", "/api/queries", "/api/users/me", "/nowhere", "/schema/openapi.json"):
            answer = client.get(path)
            assert code(answer) == (401, "not_authenticated"), (why, path)
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert people.client(Authorization="Bearer").get("/api/queries").status_code == 401
    assert people.client(Authorization=f"bearer  {good}").get("/api/queries").status_code == 200
    # in the header only
    for client in (people.client(), people.client(Cookie=f"token={good}; Authorization=Bearer {good}")):
        asked = {"access_token": good, "token": good, "Authorization": f"Bearer {good}"}
        assert client.get("/api/users/me", params=asked).status_code == 401


def test_token_dies_when_it_is_deleted_and_with_its_owner(people: People) -> None:
    root = people.account("root", "admin")
    admin = people.session(root)
    deactivated, deleted = people.account("one"), people.account("two")
    texts = [people.token(owner) for owner in (root, deactivated, deleted)]

    def statuses() -> list[int]:
        return [people.client(token=text).get("/api/queries").status_code for text in texts]

    assert statuses() == [200, 200, 200]
    admin.patch(f"/api/users/{deactivated}", json={"is_active": False})
    assert statuses() == [200, 401, 200]
    admin.patch(f"/api/users/{deactivated}", json={"is_active": True})
    admin.delete(f"/api/users/{deleted}")
    assert statuses() == [200, 401, 401]
    [(token_id,)] = people.sql("select id from api_token")
    assert admin.delete(f"/api/tokens/{token_id}").status_code == 204
    assert statuses() == [401, 401, 401]
    assert code(admin.delete(f"/api/tokens/{token_id}")) == (404, "not_found")


def test_tokens_are_each_ones_own_except_for_an_admin_who_may_delete(people: People) -> None:
    ada, eve = people.account("ada"), people.account("eve")
    people.token(ada)
    [(token_id,)] = people.sql("select id from api_token")
    assert people.session(eve).get("/api/tokens").json()["total"] == 0
    assert code(people.session(eve).delete(f"/api/tokens/{token_id}")) == (404, "not_found")
    assert (
        people.session(people.account("root", "admin")).delete(f"/api/tokens/{token_id}").status_code == 204
    )


def test_token_counts_where_a_session_is_shown_too(people: People) -> None:
    ada = people.account("ada")
    both = people.client(sid=people.sid(ada), token=people.token(ada))
    assert code(both.get("/api/users/me")) == (403, "forbidden")
    assert people.client(sid=people.sid(ada), token="x").get("/api/queries").status_code == 401
    # of another scheme it is a proxy's affair
    assert (
        people.client(sid=people.sid(ada), Authorization="Basic eDp5").get("/api/users/me").status_code == 200
    )


# the trail


def test_trail_says_who_changed_what_from_where_and_holds_no_secret(people: People) -> None:
    root = people.account("root", "admin")
    admin = people.session(root, X_Forwarded_For="192.0.2.7")
    user = {"email": "eve@example.com", "name": "Eve", "password": "correct-horse-8", "roles": ["viewer"]}
    made = admin.post("/api/users", json=user, headers={"X-Request-Id": "req-1"}).json()
    path = f"/api/users/{made['id']}"
    admin.patch(path, json={"name": "Eva", "roles": ["editor"]})
    admin.post(f"{path}/password", json={"new_password": "correct-horse-9"})
    admin.post("/api/tokens", json={"name": "wall"})
    admin.delete(path)
    events = admin.get("/api/audit").json()["items"]
    assert [event["action"] for event in reversed(events)] == [
        "user.create",
        "user.update",
        "user.set_password",
        "token.create",
        "user.delete",
    ]
    created, updated, password = events[-1], events[-2], events[-3]
    assert {name: created[name] for name in ("actor_id", "actor", "ip", "request_id", "noun", "noun_id")} == {
        "actor_id": root,
        "actor": "root@example.com",
        "ip": "192.0.2.7",
        "request_id": "req-1",
        "noun": "user",
        "noun_id": str(made["id"]),
    }
    assert (updated["old"], updated["new"]) == (
        {"name": "Eve", "roles": ["viewer"]},
        {"name": "Eva", "roles": ["editor"]},
    )
    assert (password["old"], password["new"]) == ({"password": "***"}, {"password": "***"})
    assert not any(secret in str(events) for secret in SECRETS)


def test_trail_is_narrowed_and_its_parameters_are_checked(people: People) -> None:
    admin = people.session(people.account("root", "admin"))
    for name in ("one", "two"):
        admin.post("/api/tokens", json={"name": name})
    [second, first] = admin.get("/api/audit").json()["items"]

    def found(**asked: object) -> list[str]:
        return [event["noun_name"] for event in admin.get("/api/audit", params=asked).json()["items"]]

    assert found(actor="ROOT@example.com", action="token.create", noun="token") == ["two", "one"]
    assert found(noun_id=first["noun_id"]) == ["one"]
    assert found(start=second["at"]) == ["two"]
    assert found(end=second["at"]) == ["one"]
    assert found(limit=1, offset=1) == ["one"]
    assert found(actor="cli:root") == []
    for asked in (
        "limit=501",
        "offset=-1",
        "start=yesterday",
        "actor=%00",
        "noun=%0a",
        f"action={'x' * 301}",
    ):
        assert code(admin.get(f"/api/audit?{asked}")) == (400, "invalid_request"), asked
    for asked in ("actor=%ff", "noun_id=' or 1=1 --", "noun_id=%F0%9F%98%80"):
        assert admin.get(f"/api/audit?{asked}").json()["items"] == [], asked


def test_change_that_is_refused_leaves_no_trail(people: People) -> None:
    root = people.account("root", "admin")
    admin = people.session(root)
    admin.delete(f"/api/users/{root}")
    admin.patch(f"/api/users/{root}", json={"roles": ["viewer"]})
    admin.post("/api/tokens", json={"name": ""})
    people.login("root", "wrong")
    assert people.sql("select count(*) from audit_event") == [(0,)]
