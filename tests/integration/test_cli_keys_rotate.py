"""Rotating keys under a running worker, killed half-way, until the old key is gone."""

from __future__ import annotations

import json
import stat

import pytest
from processes import PATIENCE_S, Installation, Process, ended_run, eventually, installation

#: sources beside the one that runs: enough that a rotation can be met half-way
SOURCES = 1500


@pytest.fixture
def place(database, source_db, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        # the same envelope opens for each: a name is no part of what it is bound to
        database.execute(
            "insert into data_source"
            " (name, host, port, dbname, username, enc_password, enc_algo, key_version)"
            " select 'copy' || n, host, port, dbname, username, enc_password, enc_algo, key_version"
            " from data_source, generate_series(1, %s) n",
            [SOURCES],
        )
        yield place


def on_version(database, version: int) -> int:
    ((count,),) = database.execute("select count(*) from data_source where key_version = %s", [version])
    return count


def killed_half_way(place: Installation, database) -> None:
    """Begin to rotate, or go on, and kill it as soon as it has sealed something."""
    before = on_version(database, 2)
    rotating: Process = place.start("keys", "rotate")
    eventually(lambda: on_version(database, 2) > before or rotating.process.poll() is not None, every_s=0.002)
    assert rotating.process.poll() is None, rotating.err
    rotating.kill()
    assert before < on_version(database, 2) < SOURCES + 1


def versions_in(path) -> list[str]:
    return [line.partition(":")[0] for line in path.read_text().splitlines()]


def test_rotation_survives_three_kills_while_runs_go_on(place, database):
    place.add_query("every_second", "select 1 as one", schedule_expr="PT1S")
    worker = place.worker()
    for _ in range(3):
        killed_half_way(place, database)
    done = place.json("keys", "rotate")
    assert (done["version"], done["failures"], done["unfinished"]) == (2, [], True)
    assert on_version(database, 2) == SOURCES + 1
    assert place.json("keys", "check")["sources"] == SOURCES + 1
    listed = place.json("keys", "list")
    assert [(row["version"], row["seals"], row["opens"], row["sources"]) for row in listed] == [
        (2, True, True, SOURCES + 1),
        (1, False, True, 0),
    ]
    finished = place.json("keys", "rotate", "--finish")
    assert (finished["retired"], finished["unfinished"]) == ([1], False)
    for name, mode in (("public", 0o644), ("private", 0o600)):
        path = place.folder / name
        assert versions_in(path) == ["2"]
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert not list(place.folder.glob(".*"))
    # the worker that ran all the time opens what only the new key opens, and failed at nothing
    ended_run(database, place.json("queries", "run", "every_second")["id"], within_s=PATIENCE_S)
    worker.end()
    # on a busy machine an instant may find the last run not over: skipped is no failure
    assert database.execute(
        "select count(*) from query_run where status not in ('success', 'skipped') or attempt > 1"
    ) == [(0,)]
    assert "keys.reread" in place.log("worker")


def test_rotation_tells_which_password_does_not_open_and_keeps_the_old_key(place, database):
    database.execute("update data_source set enc_password = 'damaged' where name = 'copy7'")
    done = place.run("keys", "rotate", "--json")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: source copy7 (key version 1): the sealed password does not open")
    assert done.stderr.count("\n") == 1
    assert [each["source"] for each in json.loads(done.stdout)["failures"]] == ["copy7"]
    assert on_version(database, 1) == 1
    assert place.run("keys", "rotate", "--finish").returncode == 1
    assert versions_in(place.folder / "private") == ["1", "2"]
    assert place.run("keys", "check").returncode == 1
    database.execute("delete from data_source where name = 'copy7'")
    assert place.json("keys", "rotate", "--finish")["retired"] == [1]


def test_rotation_is_refused_where_the_private_key_is_not(place):
    told = place.refused("keys", "rotate", APP_PRIVATE_KEY_B64_PATH=None)
    assert told.startswith("no private key is configured here")
    assert place.run("keys", "rotate", "--finish", "--prepare").returncode == 2
