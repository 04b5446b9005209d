from __future__ import annotations

import json

import pytest
from certificates import CERTIFICATE, KEY_TEXT, OTHER_CERTIFICATE, PRIVATE_KEY
from processes import Installation, free_port, installation


@pytest.fixture
def place(database, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        yield place


def add(source, *changed: str, name: str = "shop") -> tuple[str, ...]:
    return (
        *("dsn", "add", "--name", name, "--host", source.host, "--port", str(source.port)),
        *("--dbname", source.dbname, "--username", source.username, *changed),
    )


def test_dsn_add_seals_the_password_and_never_shows_it(place: Installation, database, source_db):
    done = place.run(*add(source_db), "--password", source_db.password, "--key-version", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    added = json.loads(done.stdout)
    assert added["warnings"] == []
    assert (added["has_password"], added["enc_algo"], added["key_version"]) == (True, "sealedbox-v1", 1)
    assert (added["sslmode"], added["max_concurrency"]) == ("prefer", 4)
    ((sealed,),) = database.execute("select enc_password from data_source")
    assert source_db.password.encode() not in sealed
    (listed,) = place.json("dsn", "list")
    assert listed == {name: value for name, value in added.items() if name != "warnings"}
    shown = place.run("dsn", "list").stdout
    assert source_db.password not in done.stdout + shown
    assert "enc_password" not in done.stdout


def test_dsn_add_asks_for_the_password(place, source_db):
    done = place.run(*add(source_db), answers=f"{source_db.password}\n{source_db.password}\n")
    assert done.returncode == 0, done.stderr
    assert source_db.password not in done.stdout + done.stderr
    assert place.run("dsn", "test", "shop").returncode == 0


def test_dsn_add_without_a_password_to_read_is_refused(place, source_db):
    done = place.run(*add(source_db), answers="")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("no input for the prompt; give the value as an option")
    assert place.json("dsn", "list") == []


def test_dsn_add_saves_what_cannot_be_reached_with_a_warning(place, source_db):
    closed = str(free_port())
    done = place.run(*add(source_db, "--port", closed), "--password", "hunter22-secret", "--json")
    assert done.returncode == 0
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning.startswith("saved, but the source cannot be used yet: ")
    assert done.stderr == f"Warning: {warning}\n"
    assert "hunter22-secret" not in done.stdout + done.stderr
    assert [source["port"] for source in place.json("dsn", "list")] == [int(closed)]


def test_dsn_add_warns_of_a_role_that_can_write(place, source_db):
    server = source_db.server
    given = ("--username", server.user, "--password", server.password)
    done = place.run(*add(source_db, *given), "--json")
    assert done.returncode == 0
    warnings = json.loads(done.stdout)["warnings"]
    assert any("superuser" in warning for warning in warnings)
    assert len(done.stderr.splitlines()) == len(warnings)


REFUSED = {
    ("--name", "1shop"): "name: ",
    ("--host", "/var/run/postgresql"): "host: must be one host name or IP address",
    ("--host", "a,b"): "host: must be one host name or IP address; lists are not taken",
    ("--port", "70000"): "port: must be 1 to 65535, not 70000",
    ("--max-concurrency", "0"): "max_concurrency: must be 1 to 1000, not 0",
    ("--key-version", "7"): "key_version: is 7, but the key that seals is 1",
}


def test_dsn_add_refuses_in_one_line_and_stores_nothing(place, source_db):
    for changed, said in REFUSED.items():
        line = place.refused(*add(source_db), "--password", "hunter22-secret", *changed)
        assert line.startswith(said)
        assert "hunter22-secret" not in line
    assert place.json("dsn", "list") == []


def test_dsn_takes_certificates_and_no_key(place, source_db):
    file = place.folder / "root.pem"
    option = ("--sslrootcert", str(file))
    file.write_text(f"# one\n{CERTIFICATE}\n# two\n{OTHER_CERTIFICATE}\n")
    password = ("--password", source_db.password)
    assert place.run(*add(source_db), *password, *option).returncode == 0
    for pem, told in (
        (CERTIFICATE + PRIVATE_KEY, "sslrootcert: holds a private key"),
        (PRIVATE_KEY + "é" + CERTIFICATE, "sslrootcert: holds a private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "sslrootcert: cannot be read"),
    ):
        file.write_text(pem)
        # told before a password is asked for
        lines = (
            place.refused(*add(source_db, *option, name="other")),
            place.refused("dsn", "update", "shop", *password, *option),
        )
        assert all(line.startswith(told) for line in lines), lines
        assert KEY_TEXT not in "".join(lines) + place.everything_said()
    assert KEY_TEXT not in str(place.json("audit", "list"))
    assert [source["name"] for source in place.json("dsn", "list")] == ["shop"]


def test_dsn_add_needs_the_public_key_alone(place, source_db):
    (place.folder / "private").unlink()
    done = place.run(*add(source_db), "--password", source_db.password, APP_PRIVATE_KEY_B64_PATH=None)
    assert done.returncode == 0, done.stderr
    line = place.refused("dsn", "test", "shop", APP_PRIVATE_KEY_B64_PATH=None)
    assert line.endswith("set APP_PRIVATE_KEY_B64_PATH")
    nothing = {"PUBLIC_KEY_B64_PATH": None, "APP_PRIVATE_KEY_B64_PATH": None}
    line = place.refused(*add(source_db, name="other"), "--password", "hunter22-secret", **nothing)
    assert "pgsched keys gen" in line


def test_dsn_name_is_taken_once(place, source_db):
    place.add_source(source_db)
    line = place.refused(*add(source_db), "--password", source_db.password)
    assert line == "a data source named shop exists already; choose another name or update that one"


def test_dsn_test_answers_by_name_and_by_id(place, source_db):
    place.add_source(source_db)
    for key in ("shop", "1"):
        report = place.json("dsn", "test", key)
        assert report["ok"] is True
        assert report["latency_ms"] >= 0
        assert report["server_version"].startswith(str(source_db.server.major))
        assert report["warnings"] == []
        assert "error" not in report
    assert place.run("dsn", "test", "shop").stdout.startswith("ok: Postgres ")
    assert place.refused("dsn", "test", "nothing") == "there is no data source nothing"
    assert (
        place.refused("dsn", "test", "99999999999999999999") == "there is no data source 99999999999999999999"
    )


def test_dsn_test_of_a_refused_login_exits_1(place, source_db):
    place.add_source(source_db, password="not-the-password-1")
    done = place.run("dsn", "test", "shop", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["ok"], report["error"]["code"]) == (False, "source_auth")
    assert "password authentication failed" in place.refused("dsn", "test", "shop")
    assert "not-the-password-1" not in done.stdout + done.stderr


def test_dsn_wants_its_options(place):
    done = place.run("dsn", "add", "--name", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing option '--host'" in done.stderr
