"""Accounts over HTTP: what may be changed by whom, and that an admin is always left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from people import PASSWORD, People, code, people_over
from postgres_fixtures import Database

NO_IDS = [
    "0",
    "4711",
    "-1",
    str(2**63),
    str(2**64),
    "9" * 5000,
    "x",
    "1.0",
    "1e3",
    "%31%00",
    "٣",
    "me%2f1",
    "1 ",
]


@pytest.fixture
def people(database: Database) -> Iterator[People]:
    with people_over(database) as people:
        yield people


def new(**changes: object) -> dict[str, object]:
    given = {"email": "eve@example.com", "name": "Eve", "password": "correct-horse-8", "roles": ["viewer"]}
    return {**given, **changes}


def test_admin_adds_lists_shows_changes_and_deletes(people: People) -> None:
    root = people.account("root", "admin")
    admin = people.session(root)
    made = admin.post("/api/users", json=new(roles=["viewer", "editor", "viewer"]))
    user = made.json()
    assert (made.status_code, made.headers["location"]) == (201, f"/api/users/{user['id']}")
    assert user["roles"] == ["editor", "viewer"]
    assert "correct-horse-8" not in made.text
    page = admin.get("/api/users", params={"limit": 1, "offset": 1}).json()
    assert page == {"items": [user], "total": 2, "limit": 1, "offset": 1}
    assert admin.get(f"/api/users/{user['id']}").json() == user
    changed = admin.patch(f"/api/users/{user['id']}", json={"name": "Eva"}).json()
    assert changed == {**user, "name": "Eva", "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > user["updated_at"]
    assert admin.delete(f"/api/users/{user['id']}").status_code == 204
    assert code(admin.get(f"/api/users/{user['id']}")) == (404, "not_found")
    assert people.login("eve", "correct-horse-8").status_code == 401


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "ä@example.com"}, "email"),
        ({"email": "a@" + "b" * 300}, "email"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"password": "1234567"}, "password"),
        ({"password": "ä" * 513}, "password"),
        ({"roles": ["emperor"]}, "roles"),
        ({"roles": []}, "roles"),
        ({"roles": "admin"}, "roles"),
        ({"roles": ["Admin"]}, "roles"),
        ({"id": 7}, "id"),
        ({"is_active": False}, "is_active"),
        ({"password_hash": "x"}, "password_hash"),
        ({"name": None}, "name"),
    ],
)
def test_account_that_breaks_a_rule_is_refused_by_its_field(
    people: People, changes: dict[str, object], field: str
) -> None:
    answer = people.session(people.account("root", "admin")).post("/api/users", json=new(**changes))
    assert code(answer) == (400, "invalid_request")
    assert {fault["field"] for fault in answer.json()["errors"]} == {field}
    assert people.sql("select count(*) from user_account") == [(1,)]


def test_addresses_are_taken_once_whatever_their_letter_case(people: People) -> None:
    admin, eve = people.session(people.account("root", "admin")), people.account("eve")
    assert code(admin.post("/api/users", json=new(email="EVE@example.com"))) == (409, "email_taken")
    assert code(admin.patch(f"/api/users/{eve}", json={"email": "Root@Example.com"})) == (409, "email_taken")
    assert admin.patch(f"/api/users/{eve}", json={"email": "Eve@Example.com"}).status_code == 200


def test_ids_of_any_size_are_not_found(people: People) -> None:
    admin = people.session(people.account("root", "admin"))
    for uid in NO_IDS:
        for answer in (
            admin.get(f"/api/users/{uid}"),
            admin.patch(f"/api/users/{uid}", json={"name": "x"}),
            admin.delete(f"/api/users/{uid}"),
            admin.post(f"/api/users/{uid}/password", json={"new_password": "correct-horse-9"}),
            admin.delete(f"/api/tokens/{uid}"),
        ):
            assert answer.status_code in (404, 405), (uid, answer.request.method)


def test_users_change_themselves_but_not_what_they_may(people: People) -> None:
    ada, eve = people.account("ada"), people.account("eve")
    client = people.session(ada)
    assert client.get(f"/api/users/{ada}").json()["name"] == "Ada"
    changed = client.patch(f"/api/users/{ada}", json={"name": "A", "email": "a@example.com"}).json()
    assert (changed["name"], changed["email"]) == ("A", "a@example.com")
    for change in ({"roles": ["admin"]}, {"roles": ["viewer"]}, {"is_active": True}, {"is_active": None}):
        assert code(client.patch(f"/api/users/{ada}", json=change)) == (403, "forbidden")
    for uid in (eve, 4711):
        assert code(client.get(f"/api/users/{uid}")) == (403, "forbidden")
        assert code(client.patch(f"/api/users/{uid}", json={"name": "x"})) == (403, "forbidden")
    assert code(client.patch(f"/api/users/{ada}", json={"updated_at": "x"})) == (400, "invalid_request")


def test_patch_leaves_what_is_absent_and_null_is_the_default_where_there_is_one(people: People) -> None:
    admin = people.session(people.account("root", "admin"))
    eve = people.account("eve", "editor", active=False)
    before = admin.get(f"/api/users/{eve}").json()
    assert admin.patch(f"/api/users/{eve}", json={}).json() == before
    assert admin.patch(f"/api/users/{eve}", json={"is_active": None}).json()["is_active"] is True
    for change in ({"name": None}, {"email": None}, {"roles": None}, {"is_active": "no"}, {"is_active": 0}):
        assert code(admin.patch(f"/api/users/{eve}", json=change)) == (400, "invalid_request")


def test_if_match_lets_only_who_saw_the_newest_change(people: People) -> None:
    admin, eve = people.session(people.account("root", "admin")), people.account("eve")
    path = f"/api/users/{eve}"
    first = admin.get(path).headers["etag"]
    second = admin.patch(path, json={"name": "B"}, headers={"If-Match": f'"other", {first}'}).headers["etag"]
    assert second != first
    for stale in (first, f"W/{second}", '"x"', "", f"{second}x"):
        answer = admin.patch(path, json={"name": "C"}, headers={"If-Match": stale})
        assert code(answer) == (412, "precondition_failed"), stale
    assert admin.get(path).json()["name"] == "B"
    for fresh in (second, "*"):
        assert admin.patch(path, json={"name": "B"}, headers={"If-Match": fresh}).status_code == 200
    assert admin.patch(path, json={"name": "D"}).status_code == 200


def test_of_many_that_saw_the_same_one_changes_it(people: People) -> None:
    admin, eve = people.session(people.account("root", "admin")), people.account("eve")
    seen = admin.get(f"/api/users/{eve}").headers["etag"]
    with ThreadPoolExecutor(6) as pool:
        statuses = list(
            pool.map(
                lambda n: (
                    admin.patch(
                        f"/api/users/{eve}", json={"name": f"N{n}"}, headers={"If-Match": seen}
                    ).status_code
                ),
                range(6),
            )
        )
    assert sorted(statuses) == [200] + [412] * 5


def test_paths_say_every_method_they_take(people: People) -> None:
    for path, methods in {
        "/api/users": "GET HEAD OPTIONS POST",
        "/api/users/1": "DELETE GET HEAD OPTIONS PATCH",
        "/api/tokens": "GET HEAD OPTIONS POST",
        "/api/auth/login": "OPTIONS POST",
    }.items():
        for answer in (people.client().options(path), people.client().put(path)):
            assert sorted(answer.headers["allow"].split(", ")) == methods.split()


# passwords


def test_own_password_takes_the_current_one_and_keeps_the_session_it_is_done_in(people: People) -> None:
    ada = people.account("ada")
    here, there = people.session(ada), people.session(ada)
    path = f"/api/users/{ada}/password"
    for body in (
        {"new_password": "correct-horse-9"},
        {"new_password": "correct-horse-9", "current_password": "wrong-wrong"},
        {"new_password": "correct-horse-9", "current_password": None},
    ):
        assert code(here.post(path, json=body)) == (403, "wrong_password")
    body = {"new_password": "short", "current_password": PASSWORD}
    assert code(here.post(path, json=body)) == (400, "invalid_request")
    assert there.get("/api/users/me").status_code == 200
    body["new_password"] = "correct-horse-9"
    assert here.post(path, json=body).status_code == 204
    assert (here.get("/api/users/me").status_code, there.get("/api/users/me").status_code) == (200, 401)
    assert people.login("ada").status_code == 401
    assert people.login("ada", "correct-horse-9").status_code == 200


def test_borrowed_session_is_no_way_to_guess_the_password(people: People) -> None:
    ada = people.account("ada")
    client = people.session(ada)
    body = {"new_password": "correct-horse-9", "current_password": "wrong-wrong"}
    answers = [code(client.post(f"/api/users/{ada}/password", json=body)) for _ in range(6)]
    assert answers == [(403, "wrong_password")] * 5 + [(429, "too_many_requests")]


def test_admin_sets_anothers_password_without_the_current_one_and_own_with_it(people: People) -> None:
    root, ada = people.account("root", "admin"), people.account("ada")
    admin, theirs = people.session(root), people.session(ada)
    body = {"new_password": "correct-horse-9"}
    assert admin.post(f"/api/users/{ada}/password", json=body).status_code == 204
    assert theirs.get("/api/users/me").status_code == 401
    assert code(admin.post(f"/api/users/{root}/password", json=body)) == (403, "wrong_password")
    assert code(people.session(ada).post(f"/api/users/{root}/password", json=body)) == (403, "forbidden")


# the last admin


def test_last_admin_can_neither_be_demoted_nor_deactivated_nor_deleted(people: People) -> None:
    root = people.account("root", "admin")
    people.account("off", "admin", active=False)
    admin = people.session(root)
    for change in ({"roles": ["editor"]}, {"is_active": False}):
        assert code(admin.patch(f"/api/users/{root}", json=change)) == (409, "last_admin")
    assert code(admin.delete(f"/api/users/{root}")) == (409, "last_admin")
    assert admin.get("/api/users/me").status_code == 200
    people.account("second", "admin")
    assert admin.patch(f"/api/users/{root}", json={"roles": ["editor"]}).status_code == 200
    assert admin.get("/api/users/me").status_code == 401


@pytest.mark.parametrize("way", ["demote", "deactivate", "delete"])
def test_admins_who_turn_on_each_other_at_once_leave_one(people: People, way: str) -> None:
    ids = [people.account(f"admin{n}", "admin") for n in range(4)]
    clients = [people.session(admin) for admin in ids]
    together = threading.Barrier(len(ids))

    def turn(n: int) -> int:
        path = f"/api/users/{ids[(n + 1) % len(ids)]}"
        together.wait(20)
        if way == "delete":
            return clients[n].delete(path).status_code
        change = {"roles": ["viewer"]} if way == "demote" else {"is_active": False}
        return clients[n].patch(path, json=change).status_code

    with ThreadPoolExecutor(len(ids)) as pool:
        statuses = list(pool.map(turn, range(len(ids))))
    # who was turned on before it was his turn is out; nobody saw an error that is none of theirs
    assert set(statuses) <= {200, 204, 401, 409}
    [(left,)] = people.sql(
        "select count(*) from user_account u join user_role r on r.user_id = u.id"
        " where u.is_active and r.role = 'admin'"
    )
    assert left == len(ids) - sum(status in (200, 204) for status in statuses)
    assert left >= 1


def test_login_that_a_new_password_overtakes_opens_nothing(people: People) -> None:
    ada = people.account("ada")
    admin = people.session(people.account("root", "admin"))
    together = threading.Barrier(5)

    def log_in(_: int) -> str | None:
        together.wait(20)
        return people.login("ada").cookies.get("sid")

    def set_password() -> None:
        together.wait(20)
        body = {"new_password": "correct-horse-9"}
        assert admin.post(f"/api/users/{ada}/password", json=body).status_code == 204

    with ThreadPoolExecutor(5) as pool:
        setting = pool.submit(set_password)
        sids = [sid for sid in pool.map(log_in, range(4)) if sid]
        setting.result()
    assert [people.client(sid=sid).get("/api/users/me").status_code for sid in sids] == [401] * len(sids)
    assert people.sql("select count(*) from user_session where user_id = %s and not is_revoked", [ada]) == [
        (0,)
    ]
