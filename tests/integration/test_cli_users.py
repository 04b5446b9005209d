from __future__ import annotations

import pytest
from processes import Installation, assert_quiet, installation


@pytest.fixture
def place(database, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        yield place


ADA = ("users", "add", "--email", "Ada@example.com", "--name", "Ada Lovelace")


def test_users_add_prints_the_account_without_its_password(place: Installation, database):
    done = place.run(*ADA, "--roles", "editor,viewer", "--password", "correct-horse-7", "--json")
    assert done.returncode == 0, done.stderr
    assert "correct-horse-7" not in done.stdout + done.stderr
    (user,) = place.json("users", "list")
    assert {name: user[name] for name in ("id", "email", "name", "roles", "is_active")} == {
        "id": 1,
        "email": "Ada@example.com",
        "name": "Ada Lovelace",
        "roles": ["editor", "viewer"],
        "is_active": True,
    }
    assert set(user) == {"id", "email", "name", "roles", "is_active", "created_at", "updated_at"}
    assert user["created_at"].endswith("Z")
    ((stored,),) = database.execute("select password_hash from user_account")
    assert stored.startswith("$argon2id$")


def test_users_add_asks_for_what_is_omitted(place):
    done = place.run("users", "add", answers="ada@example.com\nAda\ncorrect-horse-7\ncorrect-horse-7\n")
    assert done.returncode == 0, done.stderr
    assert "correct-horse-7" not in done.stdout + done.stderr
    (user,) = place.json("users", "list")
    assert (user["email"], user["name"], user["roles"]) == ("ada@example.com", "Ada", ["viewer"])


REFUSED = {
    ("--password", "short"): "password: must have 8 to 1024 bytes, not 5",
    ("--password", "x" * 1025): "password: must have 8 to 1024 bytes, not 1025",
    ("--roles", "emperor"): "roles: there is no role 'emperor'; the roles are viewer, editor, admin",
    ("--roles", ","): "roles: must name at least one of viewer, editor, admin",
    ("--email", "nobody"): "email: must be an e-mail address",
    ("--name", "  "): "name: ",
}


def test_users_add_refuses_in_one_line_and_stores_nothing(place):
    for changed, said in REFUSED.items():
        line = place.refused(*ADA, "--password", "correct-horse-7", *changed)
        assert line.startswith(said)
        assert "correct-horse-7" not in line
    assert place.json("users", "list") == []


def test_email_is_taken_whatever_its_letter_case(place):
    assert place.run(*ADA, "--password", "correct-horse-7").returncode == 0
    line = place.refused(*ADA, "--email", "ADA@EXAMPLE.COM", "--password", "correct-horse-7")
    assert line == "an account with the e-mail address ADA@EXAMPLE.COM exists already"


def test_users_need_the_pepper(place):
    line = place.refused(*ADA, "--password", "correct-horse-7", ARGON2_SECRET_KEY_B64=None)
    assert line.startswith("ARGON2_SECRET_KEY_B64: is not set; ")
    # reading them does not
    assert place.run("users", "list", ARGON2_SECRET_KEY_B64=None).stdout == "(none)\n"


def test_roles_of_ones_own_can_be_given(place):
    done = place.run(
        *ADA, "--roles", "auditor", "--password", "correct-horse-7", ALLOWED_ROLES="viewer,auditor,admin"
    )
    assert done.returncode == 0, done.stderr
    assert place.json("users", "list")[0]["roles"] == ["auditor"]


def test_unreachable_database_is_one_line(place):
    line = place.refused("users", "list", PG_DSN_APP="postgresql://u:hunter22@127.0.0.1:1/d")
    assert line.startswith("the metadata database cannot be reached: Connection refused")
    assert_quiet(line, "hunter22")


def add_ada(place: Installation) -> None:
    assert place.run(*ADA, "--roles", "admin", "--password", "correct-horse-7").returncode == 0


def test_users_are_updated_by_address_id_and_name(place, database):
    add_ada(place)
    assert place.json("users", "update", "ADA@example.com", "--name", "A. L.")["name"] == "A. L."
    assert place.json("users", "update", "1", "--email", "al@example.com")["email"] == "al@example.com"
    assert place.json("users", "update", "A. L.", "--roles", "viewer,admin")["roles"] == ["admin", "viewer"]
    actor = place.json("audit", "list", "--limit", "1")[0]["actor"]
    assert actor.startswith("cli:")


def test_last_admin_stays_whatever_is_asked(place):
    add_ada(place)
    for asked in (
        ("update", "1", "--roles", "editor"),
        ("update", "1", "--deactivate"),
        ("delete", "1", "--yes"),
    ):
        assert "last active admin" in place.refused("users", *asked)
    assert place.json("users", "list")[0]["roles"] == ["admin"]


def test_users_delete_asks_and_does_nothing_without_a_yes(place):
    add_ada(place)
    eve = ("--email", "eve@x.org", "--name", "Eve", "--password", "correct-horse-7")
    assert place.run("users", "add", *eve).returncode == 0
    assert place.run("users", "delete", "eve@x.org", answers="n\n").returncode == 1
    assert len(place.json("users", "list")) == 2
    done = place.run("users", "delete", "eve@x.org", answers="y\n")
    assert (done.returncode, done.stdout) == (0, "deleted: eve@x.org\n")
    done = place.run("users", "delete", "1", answers="")
    assert (done.returncode, "no input for the prompt" in done.stderr) == (1, True)


def test_set_password_ends_sessions_and_asks_for_what_is_omitted(place, database):
    add_ada(place)
    ((before,),) = database.execute("select password_hash from user_account")
    database.execute(
        "insert into user_session (id, user_id, expires_at) values ('a', 1, clock_timestamp() + '1 hour')"
    )
    done = place.run("users", "set-password", "ada@example.com", answers="another-pw\nanother-pw\n")
    assert done.returncode == 0, done.stderr
    assert "another-pw" not in done.stdout + done.stderr
    assert database.execute("select is_revoked from user_session") == [(True,)]
    assert database.execute("select password_hash from user_account") != [(before,)]
    assert place.refused("users", "set-password", "1", "--password", "short").startswith(
        "password: must have"
    )


def test_names_that_several_have_are_no_argument(place):
    add_ada(place)
    assert place.run(*ADA, "--email", "b@example.com", "--password", "correct-horse-7").returncode == 0
    assert "several accounts are named Ada Lovelace" in place.refused("users", "update", "Ada Lovelace")
    for nobody in ("eve@example.com", "4711", str(2**80), "Eve"):
        assert place.refused("users", "update", nobody, "--name", "x").startswith("there is no user")


def test_tokens_are_made_listed_and_deleted(place, database):
    add_ada(place)
    made = place.json(
        "tokens", "add", "--user", "1", "--name", "wall", "--expires-at", "2140-01-01T00:00:00Z"
    )
    assert made["token"].startswith("pgs_")
    (listed,) = place.json("tokens", "list", "--user", "ada@example.com")
    assert listed == {name: value for name, value in made.items() if name != "token"}
    dump = str(database.execute("select t::text from api_token t") + database.execute("table audit_event"))
    assert made["token"] not in dump
    for bad, said in {
        ("--expires-at", "2020-01-01T00:00:00Z"): "expires_at: must be in the future",
        ("--query", "nothing"): "queries[0]: there is no query nothing",
        ("--name", ""): "name: ",
        ("--user", "9"): "there is no user 9",
    }.items():
        assert place.refused("tokens", "add", "--user", "1", "--name", "x", *bad).startswith(said)
    assert (
        place.run("tokens", "add", "--user", "1", "--name", "x", "--expires-at", "2140-01-01").returncode == 2
    )
    assert place.run("tokens", "delete", "wall", "--yes").stdout == "deleted: wall\n"
    assert place.json("tokens", "list") == []
    actions = [event["action"] for event in place.json("audit", "list", "--noun", "token")]
    assert actions == ["token.delete", "token.create"]
