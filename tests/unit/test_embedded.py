"""The embedded adapter's decisions that need no machine."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from pgsched.adapters.embedded.binaries import Programs, folder_version
from pgsched.adapters.embedded.connection import ConnectionInfo
from pgsched.adapters.embedded.data_folder import last_words, locales
from pgsched.adapters.embedded.server_settings import CARELESS, SETTINGS


def info(**changes) -> ConnectionInfo:
    return ConnectionInfo(
        **{"host": "127.0.0.1", "port": 5432, "user": "u", "password": "p", "dbname": "d", **changes}
    )


def programs(major: int) -> Programs:
    return Programs(bindir=Path("/bin"), major=major, version=f"{major}.1")


def test_connection_info_keeps_the_password_out_of_its_repr():
    assert "correct horse" not in repr(info(password="correct horse"))


printable = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1)


@given(user=printable, password=printable, dbname=printable)
def test_dsn_is_read_by_libpq_as_it_was_meant(user, password, dbname):
    read = conninfo_to_dict(info(user=user, password=password, dbname=dbname).dsn())
    assert (read["user"], read["password"], read["dbname"]) == (user, password, dbname)
    assert (read["hostaddr"], read["port"]) == ("127.0.0.1", "5432")
    assert (read["sslmode"], read["require_auth"]) == ("disable", "scram-sha-256")


def test_on_changes_the_database_alone():
    assert info().on("other") == info(dbname="other")


def test_version_folders_sort_by_number_not_by_letter():
    names = ["/usr/lib/postgresql/9.6/bin", "/usr/lib/postgresql/18/bin", "/usr/pgsql-16/bin"]
    assert sorted(map(Path, names), key=folder_version)[-1] == Path("/usr/lib/postgresql/18/bin")


def test_last_words_are_the_reason_not_the_noise_after_it():
    output = (
        '2026-01-01 LOG:  starting\n2026-01-01 FATAL:  data directory "x" has wrong ownership\n'
        "2026-01-01 LOG:  database system is shut down\n"
    )
    assert last_words(output) == 'FATAL:  data directory "x" has wrong ownership'


def test_last_words_of_silence_say_so():
    assert last_words("\n \n") == "it said nothing"


def test_locale_is_the_built_in_one_where_there_is_one():
    assert [options[0] for options in locales(programs(17))] == ["--locale-provider=builtin"]
    assert locales(programs(15)) == [("--locale=C.UTF-8",), ("--locale=C",)]


def test_a_durable_server_keeps_what_it_committed():
    assert not set(CARELESS) & set(SETTINGS)


def test_the_server_listens_on_loopback_alone():
    assert SETTINGS["listen_addresses"] == "127.0.0.1"
    assert SETTINGS["unix_socket_directories"] == ""
