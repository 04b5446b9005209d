"""What goes wrong at a source is a stored run with a stable code, and the next run goes on."""

from __future__ import annotations

import io
import json
import socket
from dataclasses import replace

import httpx
import pandas
import pytest
from postgres_fixtures import SourceDatabase, fresh_database, fresh_source
from processes import Installation, assert_quiet, ended_run, installation

#: rows of the wide result: some 6 MiB encoded
WIDE_ROWS = 6000


class Bad:
    """A worker, an API, a good source, and sources that are bad in several ways."""

    def __init__(self, place: Installation, database, source: SourceDatabase, url: str) -> None:
        self.place, self.database, self.source, self.url = place, database, source, url
        self._names = 0

    def run(self, sql: str, **options: str) -> dict:
        """Run a statement once, by hand; return the run's row."""
        self._names += 1
        name = f"case{self._names}"
        self.place.add_query(name, sql, **options)
        run_id = self.place.json("queries", "run", name)["id"]
        return ended_run(self.database, run_id)

    def shown(self, run: dict) -> dict:
        """The run as somebody without a login reads it."""
        return httpx.get(f"{self.url}/api/runs/{run['id']}").json()


@pytest.fixture(scope="module")
def bad(pg_server, migrated_template, tmp_path_factory):
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("bad"), database.url) as place,
        socket.socket() as mute,
    ):
        source.execute("create table secret_table (a int); revoke all on secret_table from reader")
        # accepts connections and never says a word
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        place.add_source(source)
        sources = {
            "closed": {"port": "1"},
            "nobody": {"password": "not-the-password-1"},
            "nowhere": {"dbname": "no_such_database"},
            "unresolved": {"host": "no-such-host.invalid"},
        }
        for name, wrong in sources.items():
            place.add_source(source, name=name, **wrong)
        place.add_source(replace(source, dbname=database.dbname), name="itself")
        place.worker()
        _, url = place.api()
        yield Bad(place, database, source, url), mute.getsockname()[1]


ONCE = {"max_attempts": "1"}


@pytest.mark.parametrize(
    ("source", "code", "said", "public"),
    [
        ("closed", "source_unreachable", "Connection refused", "the source cannot be reached"),
        ("unresolved", "source_unreachable", "cannot find host", "the source cannot be reached"),
        ("nobody", "source_auth", "password authentication failed", "the source refused the login"),
        ("nowhere", "source_auth", "does not exist", "the source refused the login"),
    ],
)
def test_source_that_gives_no_connection(bad, source, code, said, public):
    bad, _ = bad
    run = bad.run("select 1 as one", data_source=source, **ONCE)
    assert (run["status"], run["error_code"], run["attempt"]) == ("error", code, 1)
    assert said in run["error_message"]
    assert bad.shown(run)["error_message"] == public
    assert bad.shown(run)["result"] is None


def test_unreachable_source_is_tried_again(bad):
    bad, _ = bad
    run = bad.run("select 1 as one", data_source="closed", max_attempts="2", retry_backoff_s="1")
    assert (run["status"], run["error_code"], run["attempt"]) == ("error", "source_unreachable", 2)


def test_wrong_password_is_not_tried_again(bad):
    bad, _ = bad
    assert bad.run("select 1 as one", data_source="nobody")["attempt"] == 1


@pytest.mark.slow
def test_mute_source_is_given_up(bad):
    bad, port = bad
    # a run waits for an answer while another command does: two times ten seconds at once
    bad.database.execute(
        "insert into data_source (name, host, port, dbname, username)"
        " values ('mute', '127.0.0.1', %s, 'x', 'x')",
        [port],
    )
    bad.place.add_query("mute", "select 1 as one", data_source="mute", **ONCE)
    run_id = bad.place.json("queries", "run", "mute")["id"]
    added = bad.place.run(
        *("dsn", "add", "--name", "mute2", "--host", "127.0.0.1", "--port", str(port), "--dbname", "x"),
        *("--username", "x", "--password", "x-password", "--json"),
    )
    assert added.returncode == 0
    assert "within 10 s" in json.loads(added.stdout)["warnings"][0]
    run = ended_run(bad.database, run_id)
    assert (run["status"], run["error_code"]) == ("error", "source_unreachable")
    assert 9_000 < run["duration_ms"] < 15_000


@pytest.mark.parametrize(
    ("sql", "sqlstate", "message"),
    [
        ("select 1 / (select 0) as a", "22012", "division by zero"),
        ("select nothing from nowhere", "42P01", 'relation "nowhere" does not exist'),
        ("select * from secret_table", "42501", "permission denied for table secret_table"),
        ("select x::int from (values ('7'), ('seven')) v(x)", "22P02", "invalid input syntax"),
    ],
)
def test_sql_error_is_final_and_keeps_its_sqlstate(bad, sql, sqlstate, message):
    bad, _ = bad
    run = bad.run(sql)
    assert (run["status"], run["error_code"], run["attempt"]) == ("error", "query_failed", 1)
    assert run["error_sqlstate"] == sqlstate
    assert message in run["error_message"]
    assert message in bad.shown(run)["error_message"]


def test_reader_sees_the_primary_message_alone(bad):
    bad, _ = bad
    run = bad.run("select no_such_column_at_all from pg_class")
    assert "\n" not in bad.shown(run)["error_message"]
    assert bad.shown(run)["error_message"] == 'column "no_such_column_at_all" does not exist'
    assert "LINE" not in bad.shown(run)["error_message"]
    shown = bad.place.json("runs", "show", str(run["id"]))
    assert shown["error_message"] == run["error_message"]
    assert shown["error_message"].startswith(bad.shown(run)["error_message"])


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("delete from orders", "character 1"),
        ("select 1; select 2", "character 11"),
        ("select 1 +", "character 11"),
        ("select pg_read_file('x')", "character 8"),
    ],
)
def test_refused_sql_is_not_saved_and_says_where(bad, sql, said):
    bad, _ = bad
    line = bad.place.refused(
        *("queries", "add", "--name", "refused", "--sql", sql, "--data-source", "shop"),
        *("--schedule-expr", "PT1H"),
    )
    assert said in line
    assert bad.place.refused("queries", "show", "refused") == "there is no query refused"


def test_statement_ends_at_its_timeout(bad):
    bad, _ = bad
    run = bad.run("select pg_sleep(20)::text as x", timeout_ms="300")
    assert (run["status"], run["error_code"], run["attempt"]) == ("error", "query_timeout", 1)
    assert 300 <= run["duration_ms"] < 2000
    assert bad.shown(run)["error_message"] == "the query ran into its timeout"


MANY = "select n from generate_series(1, 1000) n"


def test_too_many_rows_are_cut(bad):
    bad, _ = bad
    run = bad.run(MANY, max_rows="10")
    assert (run["status"], run["rows_returned"], run["truncated"]) == ("success", 10, True)
    assert [row["n"] for row in bad.shown(run)["result"]["data"]] == list(range(1, 11))


def test_too_many_rows_are_an_error_where_asked(bad):
    bad, _ = bad
    run = bad.run(MANY, max_rows="10", on_limit="error")
    assert (run["status"], run["error_code"], run["rows_returned"]) == ("error", "limit_exceeded", None)
    assert "more than 10 rows" in run["error_message"]
    assert bad.database.execute("select 1 from query_run_blob where run_id = %s", [run["id"]]) == []


def test_too_many_rows_are_a_sample_where_asked(bad):
    bad, _ = bad
    run = bad.run(MANY, max_rows="50", on_limit="sample")
    assert (run["status"], run["rows_returned"], run["truncated"]) == ("success", 50, True)
    drawn = [row["n"] for row in bad.shown(run)["result"]["data"]]
    assert len(set(drawn)) == 50
    assert max(drawn) > 500, "of the whole, not of its beginning"


WIDE = f"select n, repeat('x', 1000) as filler from generate_series(1, {WIDE_ROWS}) n"


def test_large_result_is_stored_in_chunks_and_read_as_one(bad):
    bad, _ = bad
    run = bad.run(WIDE)
    assert (run["status"], run["rows_returned"], run["truncated"]) == ("success", WIDE_ROWS, False)
    ((form, keys, rows, size),) = bad.database.execute(
        "select format, array(select jsonb_object_keys(df_json)), row_count, byte_size"
        " from query_run_blob where run_id = %s",
        [run["id"]],
    )
    assert (form, keys, rows) == ("jsonb-chunks", ["schema"], WIDE_ROWS)
    assert size > 4 * 1024 * 1024
    chunks = bad.database.execute(
        "select seq, jsonb_array_length(data), token from query_run_chunk where run_id = %s order by seq",
        [run["id"]],
    )
    assert [seq for seq, *_ in chunks] == list(range(len(chunks)))
    assert sum(length for _, length, _ in chunks) == WIDE_ROWS
    assert {token for *_, token in chunks} == {run["token"]}
    result = bad.shown(run)["result"]
    assert sorted(result) == ["data", "schema"]
    assert [row["n"] for row in result["data"]] == list(range(1, WIDE_ROWS + 1))
    frame = pandas.read_json(io.StringIO(json.dumps(result)), orient="table")
    assert frame.shape == (WIDE_ROWS, 2)
    assert bad.place.json("runs", "show", str(run["id"]))["result"] == result


def test_too_many_bytes_are_cut(bad):
    bad, _ = bad
    run = bad.run(WIDE, max_bytes="100000")
    assert (run["status"], run["truncated"]) == ("success", True)
    assert 90 <= run["rows_returned"] < 100
    assert len(bad.shown(run)["result"]["data"]) == run["rows_returned"]


def test_failed_run_leaves_no_chunks(bad):
    bad, _ = bad
    run = bad.run(
        f"select n, repeat('x', 1000) as x, 1 / ({WIDE_ROWS} - n) as a from generate_series(1, 9999) n"
    )
    assert (run["status"], run["error_sqlstate"]) == ("error", "22012")
    assert bad.database.execute("select 1 from query_run_chunk where run_id = %s", [run["id"]]) == []


def test_own_database_is_no_source(bad):
    bad, _ = bad
    run = bad.run("select 1 as one", data_source="itself", **ONCE)
    assert (run["status"], run["error_code"]) == ("error", "is_metadata")
    report = bad.place.run("dsn", "test", "itself", "--json")
    assert report.returncode == 1
    assert json.loads(report.stdout)["error"]["code"] == "is_metadata"


def test_next_run_goes_on(bad):
    """Last on purpose: after all of the above the same worker still runs."""
    bad, _ = bad
    run = bad.run("select 1 as one")
    assert (run["status"], run["rows_returned"], run["error_message"]) == ("success", 1, None)
    said = bad.place.everything_said()
    assert "worker 1 is ready" in said
    assert "worker 2 is ready" not in said
    assert_quiet(said, bad.source.password, "not-the-password-1", "x-password")
