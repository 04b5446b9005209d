from __future__ import annotations

import json

import pytest
from processes import installation


@pytest.fixture
def place(database, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        yield place


def test_grants_are_added_shown_set_and_removed(place, database, source_db):
    place.add_source(source_db)
    place.add_query("sales", "select 1 as one", "--disabled", visibility="restricted")
    place.json(
        *("users", "add", "--email", "ada@example.com", "--name", "Ada", "--roles", "viewer"),
        *("--password", "correct-horse-7"),
    )
    filters = (
        "--filter",
        "region=north",
        "--filter",
        "region=west",
        "--filter",
        "year=2026",
        "--filter",
        'n="1"',
    )
    held = place.json("grants", "add", "sales", "--user", "ada@example.com", "--role", "viewer", *filters)
    shown = {"region": ["north", "west"], "year": [2026], "n": ["1"]}
    assert [each["row_filter"] for each in held["users"] + held["roles"]] == [shown, shown]
    assert place.json("grants", "show", "sales") == held
    assert "ada@example.com" in place.run("grants", "show", "sales").stdout
    fewer = place.json("grants", "remove", "sales", "--role", "viewer")
    assert (len(fewer["users"]), fewer["roles"]) == (1, [])
    assert place.refused("grants", "remove", "sales", "--role", "viewer") == "roles: viewer has no grant"
    done = place.run("grants", "set", "sales", "-", "--json", answers=json.dumps(held))
    assert json.loads(done.stdout) == held
    assert place.run("grants", "set", "sales", "-", answers="[]").returncode == 2
    assert place.run("grants", "add", "sales").returncode == 2
    assert "there is no user nobody" in place.refused("grants", "add", "sales", "--user", "nobody")
    assert place.refused("grants", "show", "nothing") == "there is no query nothing"
    assert database.execute("select count(*) from audit_event where action = 'grant.update'") == [(3,)]
