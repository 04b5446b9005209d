"""A service that cannot do its work says why in one line, and ends where waiting would not help."""

from __future__ import annotations

import base64
import socket

import pytest
from postgres_fixtures import Database
from processes import assert_quiet, ended_run, eventually, free_port, installation

from pgsched.adapters.crypto.keygen import generate_pair, write_pair


@pytest.fixture
def place(database, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        yield place


@pytest.mark.parametrize("service", ["worker", "api", "up"])
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"ROTATE_UTC": "perhaps"}, "ROTATE_UTC: 'perhaps' is neither 1 nor 0; write 1 for yes or 0 for no"),
        ({"ALLOWED_ROLES": "viewer"}, "ALLOWED_ROLES: does not contain admin"),
        ({"PG_DSN_APP": "mysql://root:hunter22@h/d"}, "PG_DSN_APP: "),
    ],
    ids=["switch", "roles", "dsn"],
)
def test_bad_setting_stops_the_start(place, service, settings, line):
    said = place.refused(service, **settings)
    assert said.startswith(line)
    assert "hunter22" not in said


def test_api_without_a_pepper_does_not_start(place):
    line = place.refused("api", "--port", str(free_port()), ARGON2_SECRET_KEY_B64=None)
    assert line.startswith("ARGON2_SECRET_KEY_B64: is not set; ")


@pytest.mark.parametrize("service", ["api", "up"])
def test_port_in_use_is_told(place, service):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = place.refused(service, "--port", str(port))
    assert line == f"port {port} on 127.0.0.1 is in use; choose another with --port"


def test_without_a_database_there_is_nothing_to_wait_for(place):
    for service in ("worker", "api"):
        line = place.refused(service, PG_DSN_APP=None)
        assert line.endswith("is not running; start `pgsched up` or set PG_DSN_APP")


def test_missing_key_file_stops_the_worker(place):
    (place.folder / "private").unlink()
    line = place.refused("worker")
    assert line.startswith(f"the private key file {place.folder / 'private'} does not exist; ")


def test_open_key_file_stops_the_worker(place):
    (place.folder / "private").chmod(0o644)
    line = place.refused("worker")
    assert "is open to others (mode 0644); run: chmod 0600 " in line


def test_worker_without_a_private_key_says_so_and_its_runs_too(place, database: Database, source_db):
    place.add_source(source_db)
    place.add_query("sealed", "select 1 as one")
    worker = place.worker(APP_PRIVATE_KEY_B64_PATH=None)
    assert worker.err.splitlines()[0].startswith("worker: no private key is configured; ")
    run = ended_run(database, place.json("queries", "run", "sealed")["id"])
    assert (run["status"], run["error_code"]) == ("error", "no_private_key")
    assert run["error_public"] == "the source's password cannot be opened"


def test_wrong_key_is_a_stored_run(place, database, source_db):
    place.add_source(source_db)
    place.add_query("sealed", "select 1 as one")
    write_pair(generate_pair(), public=place.folder / "public", private=place.folder / "private", force=True)
    place.worker()
    run = ended_run(database, place.json("queries", "run", "sealed")["id"])
    assert (run["status"], run["error_code"], run["attempt"]) == ("error", "cannot_open", 1)
    assert run["error_message"].endswith("set the source's password again")
    assert run["error_public"] == "the source's password cannot be opened"
    assert_quiet(place.everything_said(), source_db.password)


def test_missing_schema_is_told_and_waited_for(empty_database, tmp_path):
    with installation(tmp_path / "place", empty_database.url) as place:
        for command in (("users", "list"), ("dsn", "list"), ("queries", "list"), ("runs", "list", "x")):
            assert "pgsched db upgrade" in place.refused(*command)
        worker = place.start("worker")
        api, _ = place.api()
        eventually(lambda: "pgsched db upgrade" in worker.err)
        eventually(lambda: "pgsched db upgrade" in api.err)
        assert len(worker.err.splitlines()) == 1
        assert place.run("db", "upgrade").returncode == 0
        eventually(lambda: "is ready" in worker.err, within_s=5)
        assert_quiet(place.everything_said())


def test_newer_schema_is_told_and_left_alone(database, tmp_path):
    database.execute("insert into schema_migration (version, name) values (9999, 'of_a_later_pgsched')")
    with installation(tmp_path / "place", database.url) as place:
        assert "upgrade pgsched" in place.refused("db", "upgrade")
        for command in (
            ("users", "list"),
            ("dsn", "list"),
            ("queries", "list"),
            ("status",),
            ("keys", "list"),
        ):
            assert place.refused(*command).endswith("; upgrade pgsched")
        worker = place.start("worker")
        api = place.start("api", "--port", str(free_port()))
        apis = place.start("api", "--port", str(free_port()), "--processes", "2")
        for service in (worker, api, apis):
            assert service.process.wait(30) == 1
            assert service.err.splitlines()[-1].startswith(
                "Error: the schema is version 9999 and this program"
            )
            assert service.err.splitlines()[-1].endswith("; upgrade pgsched")
        assert database.execute("select count(*) from worker") == [(0,)]
        assert_quiet(place.everything_said())


def test_pepper_of_another_size_is_refused_without_showing_it(place):
    short = base64.b64encode(b"too-short-a-secret").decode()
    line = place.refused("api", ARGON2_SECRET_KEY_B64=short)
    assert line.startswith("ARGON2_SECRET_KEY_B64: decodes to 18 bytes; ")
    assert short not in line
