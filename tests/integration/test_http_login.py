"""Logging in and out over HTTP: cookies, sessions, who has to wait, and what ends a session."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator
from http.cookies import SimpleCookie

import httpx
import pytest
from argon2.low_level import Type, hash_secret_raw
from people import PASSWORD, People, code, people_over
from postgres_fixtures import Database, fresh_database

from pgsched.domain.sessions import sid_hash


@pytest.fixture
def people(database: Database) -> Iterator[People]:
    with people_over(database) as people:
        yield people


def cookie_of(answer) -> SimpleCookie:
    return SimpleCookie(answer.headers["set-cookie"])


def sid_of(answer) -> str:
    return cookie_of(answer)["sid"].value


# logging in


def test_login_answers_the_user_and_sets_a_fresh_cookie(people: People) -> None:
    ada = people.account("ada", "editor", "viewer")
    answer = people.login("ADA")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    user = answer.json()
    assert list(user) == ["id", "email", "name", "roles", "is_active", "created_at", "updated_at"]
    assert (user["id"], user["email"], user["roles"]) == (ada, "ada@example.com", ["editor", "viewer"])
    sid = cookie_of(answer)["sid"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", sid.value)
    assert (sid["httponly"], sid["samesite"], sid["path"], sid["secure"]) == (True, "Lax", "/", "")
    assert sid["max-age"] == str(720 * 3600)
    assert sid_of(people.login("ada")) != sid.value
    assert people.client(sid=sid.value).get("/api/users/me").json() == user
    assert sid.value not in str(people.sql("table user_session") + people.sql("table audit_event"))


def test_cookie_is_secure_when_the_request_came_by_https(people: People) -> None:
    people.account("ada")
    assert cookie_of(people.login("ada", X_Forwarded_Proto="https"))["sid"]["secure"] is True
    assert cookie_of(people.login("ada", X_Forwarded_Proto="http"))["sid"]["secure"] == ""


def test_refused_logins_are_alike(people: People) -> None:
    people.account("ada")
    people.account("off", active=False)
    refused = [
        people.login("ada", "wrong"),
        people.login("nobody"),
        people.login("off"),
        people.login("ada", "x" * 5000),
        people.login("ada", ""),
        people.login("not an address"),
    ]
    assert {code(answer) for answer in refused} == {(401, "invalid_credentials")}
    assert len({answer.text for answer in refused}) == 1
    assert all("set-cookie" not in answer.headers for answer in refused)
    assert people.sql("select count(*) from user_session") == [(0,)]


def test_login_bodies_that_are_none_are_told_apart_from_wrong_passwords(people: People) -> None:
    client = people.client()
    for body, wanted in [
        ({}, 400),
        ({"email": "a@b"}, 400),
        ({"email": 1, "password": PASSWORD}, 400),
        ({"email": "a@b", "password": None}, 400),
        ({"email": "a@b", "password": PASSWORD, "roles": ["admin"]}, 400),
        (["a@b", PASSWORD], 400),
    ]:
        assert client.post("/api/auth/login", json=body).status_code == wanted, body
    form = client.post("/api/auth/login", data={"email": "a@b", "password": PASSWORD})
    assert code(form) == (415, "unsupported_media_type")
    plain = client.post("/api/auth/login", content=b'{"email":"a@b"}', headers={"Content-Type": "text/plain"})
    assert code(plain) == (415, "unsupported_media_type")
    assert code(client.post("/api/auth/login")) == (415, "unsupported_media_type")
    huge = b'{"email":"' + b"a" * (1 << 20) + b'"}'
    assert code(
        client.post("/api/auth/login", content=huge, headers={"Content-Type": "application/json"})
    ) == (413, "too_large")
    assert people.sql("select count(*) from login_failure") == [(0,)]


def test_login_never_takes_a_sid_that_it_is_given_and_ends_the_one_before(people: People) -> None:
    ada = people.account("ada")
    planted = "A" * 43
    answer = people.login("ada", Cookie=f"sid={planted}")
    assert sid_of(answer) != planted
    assert people.client(sid=planted).get("/api/users/me").status_code == 401
    before = people.sid(ada)
    after = sid_of(people.login("ada", Cookie=f"sid={before}"))
    assert people.client(sid=before).get("/api/users/me").status_code == 401
    assert people.client(sid=after).get("/api/users/me").status_code == 200


def test_stored_hash_is_renewed_at_login_when_parameters_moved(people: People) -> None:
    ada = people.account("ada")
    # cheaper than what is made now
    digest = hash_secret_raw(PASSWORD.encode(), b"somesalt", 1, 64, 1, 32, Type.ID)
    weak = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + base64.b64encode(digest).decode().rstrip("=")
    people.sql("update user_account set password_hash = %s", [weak])
    assert people.login("ada").status_code == 200
    [(renewed,)] = people.sql("select password_hash from user_account where id = %s", [ada])
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1,keyid=")
    assert people.login("ada").status_code == 200


# who has to wait


def test_sixth_try_of_an_account_from_one_address_waits_and_its_owner_does_not(people: People) -> None:
    people.account("ada")
    guesser = {"X_Forwarded_For": "192.0.2.66"}
    assert [people.login("ada", "wrong", **guesser).status_code for _ in range(5)] == [401] * 5
    put_off = people.login("ada", PASSWORD, **guesser)
    assert code(put_off) == (429, "too_many_requests")
    assert 1 <= int(put_off.headers["retry-after"]) <= 10
    assert people.login("ada", X_Forwarded_For="192.0.2.1").status_code == 200
    # neither the success elsewhere nor tries that were put off move the guesser's wait
    assert people.login("ada", **guesser).status_code == 429
    assert people.sql("select count(*) from login_failure") == [(5,)]
    people.sql("update login_failure set at = at - interval '11 s'")
    assert people.login("ada", "wrong", **guesser).status_code == 401
    assert 11 <= int(people.login("ada", **guesser).headers["retry-after"]) <= 20
    people.sql("update login_failure set at = at - interval '21 s'")
    assert people.login("ada", **guesser).status_code == 200
    assert people.sql("select count(*) from login_failure") == [(0,)]


def test_unknown_accounts_wait_like_known_ones(people: People) -> None:
    statuses = [people.login("nobody", X_Forwarded_For="192.0.2.66").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]


def test_spraying_from_one_network_waits_from_the_twentieth_failure_on(people: People) -> None:
    people.account("ada")
    for n in range(19):
        people.sql("insert into login_failure (email, ip) values (%s, '2001:db8:1:2::/64')", [f"u{n}@x"])
    assert people.login("nobody", X_Forwarded_For="2001:db8:1:2::99").status_code == 401
    assert people.login("ada", X_Forwarded_For="2001:db8:1:2:ffff::1").status_code == 429
    assert people.login("ada", X_Forwarded_For="2001:db8:1:3::1").status_code == 200


def test_account_under_attack_lets_its_owner_in_from_where_nobody_failed(people: People) -> None:
    people.account("ada")
    for n in range(60):
        people.sql(
            "insert into login_failure (email, ip) values ('ada@example.com', %s)", [f"198.51.100.{n}"]
        )
    assert people.login("ada", X_Forwarded_For="192.0.2.1").status_code == 200
    assert people.login("ada", "wrong", X_Forwarded_For="192.0.2.2").status_code == 401
    assert people.login("ada", X_Forwarded_For="192.0.2.2").status_code == 429


def test_forwarded_addresses_of_strangers_do_not_count(database: Database) -> None:
    with people_over(database, TRUSTED_PROXIES="10.0.0.0/8") as people:
        statuses = [people.login("ada", X_Forwarded_For=f"192.0.2.{n}").status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]


# sessions


def test_sessions_are_listed_and_ended_by_their_owner_alone(people: People) -> None:
    ada, eve = people.account("ada"), people.account("eve")
    sid = sid_of(people.login("ada", User_Agent="Firefox", X_Forwarded_For="192.0.2.1"))
    other = people.sid(ada)
    people.sid(ada, expires_at="clock_timestamp()")
    client = people.client(sid=sid)
    page = client.get("/api/users/me/sessions").json()
    assert (page["total"], page["limit"], page["offset"]) == (2, 50, 0)
    mine = next(item for item in page["items"] if item["is_current"])
    assert (mine["id"], mine["ip"], mine["user_agent"]) == (sid_hash(sid), "192.0.2.1", "Firefox")
    assert code(people.session(eve).delete(f"/api/users/me/sessions/{mine['id']}")) == (404, "not_found")
    for nonsense in ("x", "a" * 500, "%00", "..%2f", "%ff", "é"):
        assert client.delete(f"/api/users/me/sessions/{nonsense}").status_code == 404
    assert client.delete(f"/api/users/me/sessions/{sid_hash(other)}").status_code == 204
    assert client.delete(f"/api/users/me/sessions/{sid_hash(other)}").status_code == 404
    assert people.client(sid=other).get("/api/users/me").status_code == 401
    assert client.get("/api/users/me/sessions?limit=1&offset=1").json()["items"] == []
    assert client.get("/api/users/me/sessions?limit=0").status_code == 400


def test_logout_takes_no_body_or_an_empty_object(people: People) -> None:
    client = people.session(people.account("ada"))
    text = {"Content-Type": "text/plain"}
    assert code(client.post("/api/auth/logout", content="{}", headers=text)) == (
        415,
        "unsupported_media_type",
    )
    assert code(client.post("/api/auth/logout", json={"all": True})) == (400, "invalid_request")
    assert client.get("/api/users/me").status_code == 200
    assert client.post("/api/auth/logout", json={}).status_code == 204


def test_logout_ends_the_session_and_takes_the_cookie_back(people: People) -> None:
    sid = people.sid(people.account("ada"))
    answer = people.client(sid=sid).post("/api/auth/logout")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (sid_of(answer), cookie_of(answer)["sid"]["max-age"]) == ("", "0")
    assert code(people.client(sid=sid).post("/api/auth/logout")) == (401, "not_authenticated")
    assert people.client(sid=sid).get("/api/users/me").status_code == 401
    assert people.sql("select action from audit_event") == [("session.revoke",)]


def test_cookies_that_open_nothing_show_nothing(people: People) -> None:
    ada, off = people.account("ada"), people.account("off", active=False)
    dead = {
        "expired": people.sid(ada, expires_at="clock_timestamp()"),
        "revoked": people.sid(ada, is_revoked="true"),
        "inactive": people.sid(off),
        "unknown": "B" * 43,
        "odd": "é;",
        "hash": sid_hash(people.sid(ada)),
        "empty": "",
    }
    for why, sid in dead.items():
        client = people.client(Cookie=f"sid={sid}".encode())
        assert client.get("/api/queries").status_code == 200, why
        assert code(client.get("/api/users/me")) == (401, "not_authenticated"), why


def test_two_different_sids_are_none(people: People) -> None:
    ada, eve = people.sid(people.account("ada")), people.sid(people.account("eve"))
    for shown, status in {
        f"sid={ada}; sid={eve}": 401,
        f"sid={ada}; sid={ada}": 200,
        f"theme=dark; sid={ada}; xsid={eve}": 200,
        f'sid="{ada}"': 200,
        f"SID={ada}": 401,
        f"theme=sid={ada}": 401,
    }.items():
        assert people.client(Cookie=shown).get("/api/users/me").status_code == status, shown


def test_use_puts_the_end_off_inside_the_absolute_life(people: People) -> None:
    ada = people.account("ada")

    def left(created: str, expires: str) -> tuple[int, int]:
        """Hours from now to the end, and minutes since the last use, after a request."""
        sid = people.sid(
            ada,
            created_at=f"clock_timestamp() - interval '{created}'",
            expires_at=f"clock_timestamp() + interval '{expires}'",
            last_seen_at="clock_timestamp() - interval '10 min'",
        )
        assert people.client(sid=sid).get("/api/users/me").status_code == 200
        [(hours, minutes)] = people.sql(
            "select round(extract(epoch from expires_at - clock_timestamp()) / 3600)::int,"
            " round(extract(epoch from clock_timestamp() - last_seen_at) / 60)::int"
            " from user_session where id = %s",
            [sid_hash(sid)],
        )
        return hours, minutes

    assert left("1 hour", "71 hours") == (71, 0)
    assert left("71 hours", "59 min") == (72, 0)
    assert left("700 hours", "59 min") == (20, 0)


def test_use_is_noted_once_a_minute(people: People) -> None:
    client = people.client(sid=people.sid(people.account("ada")))
    seen = set()
    for _ in range(3):
        assert client.get("/api/users/me").status_code == 200
        seen |= set(people.sql("select last_seen_at from user_session"))
    assert len(seen) == 1


def test_what_takes_rights_away_ends_the_sessions_and_what_does_not_keeps_them(people: People) -> None:
    admin = people.session(people.account("root", "admin"))
    for change, status in [
        ({"name": "New"}, 200),
        ({"email": "new@example.com"}, 200),
        ({"roles": ["viewer"]}, 200),
        ({"roles": ["editor"]}, 401),
        ({"is_active": False}, 401),
    ]:
        user = people.account(f"user{len(people.clients)}")
        sid = people.sid(user)
        assert admin.patch(f"/api/users/{user}", json=change).status_code == 200
        assert people.client(sid=sid).get("/api/users/me").status_code == status, change
        assert admin.patch(f"/api/users/{user}", json={"is_active": True}).status_code == 200
        assert people.client(sid=sid).get("/api/users/me").status_code == status, change
        admin.delete(f"/api/users/{user}")
        assert people.client(sid=sid).get("/api/users/me").status_code == 401
    user = people.account("last")
    sid = people.sid(user)
    assert admin.post(f"/api/users/{user}/password", json={"new_password": "another-1"}).status_code == 204
    assert people.client(sid=sid).get("/api/users/me").status_code == 401


# pages of other sites

OWN = "https://dash.example.com"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Origin": OWN}, True),
        ({"Origin": OWN.upper() + ":443"}, True),
        ({"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "*"}, False),
        ({"Origin": "http://dash.example.com"}, False),
        ({"Origin": OWN + ":8443"}, False),
        ({"Origin": OWN + ".evil.test"}, False),
        ({"Origin": "https://evil.test"}, False),
        ({"Origin": OWN, "Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "Cross-Site"}, False),
    ],
)
def test_writes_by_cookie_and_logins_are_taken_from_this_origin_alone(
    origin_people: People, headers: dict[str, str], passes: bool
) -> None:
    people, wanted = origin_people, None if passes else "bad_origin"
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "dash.example.com", **headers}
    [(ada,)] = people.sql("select id from user_account where name = 'Ada'")
    client = people.session(ada)
    told = code(client.post("/api/tokens", json={"name": "t"}, headers=proxied))
    assert told == (201 if passes else 403, wanted)
    logins = people.client().post(
        "/api/auth/login/", json={"email": "ada@example.com", "password": PASSWORD}, headers=proxied
    )
    assert code(logins) == (200 if passes else 403, wanted)
    # reading is CORS's affair, and a token is nothing that a browser adds by itself
    assert client.get("/api/users/me", headers=proxied).status_code == 200
    by_token = people.client(token=people.token(ada)).post("/api/tokens", json={"name": "t"}, headers=proxied)
    assert code(by_token) == (403, "forbidden")


@pytest.fixture(scope="module")
def origin_people(pg_server, migrated_template) -> Iterator[People]:
    """One server for all origins; ``*`` beside a name lets nobody write but that name."""
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        people_over(database, CORS_ALLOWED_ORIGINS="*,https://friend.example") as people,
    ):
        people.account("ada")
        yield people


def test_many_logins_at_once_wait_or_are_told_to_and_nobody_else_does(people: People) -> None:
    people.account("ada")

    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=people.url, timeout=60, limits=httpx.Limits()) as client:
            body = {"email": "ada@example.com", "password": PASSWORD}
            coming = [asyncio.create_task(client.post("/api/auth/login", json=body)) for _ in range(120)]
            while not any(each.done() for each in coming):
                # others are answered meanwhile
                assert (await client.get("/api/queries")).status_code == 200
                await asyncio.sleep(0.02)
            return await asyncio.gather(*coming)

    answers = asyncio.run(crowd())
    let_in = [each for each in answers if each.status_code == 200]
    told = [each for each in answers if each.status_code == 429]
    assert len(let_in) + len(told) == 120
    assert len(let_in) >= 10
    assert all(
        code(each)[1] == "too_many_requests" and int(each.headers["retry-after"]) >= 1 for each in told
    )
    assert len({sid_of(each) for each in let_in}) == len(let_in)
    # being told to wait is no failure: the next one in peace is let in
    assert people.login("ada").status_code == 200
