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
