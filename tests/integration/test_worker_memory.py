"""A worker that may not have more than 256 MB meets queries that return 200 million rows, all at once."""

from __future__ import annotations

import resource

from processes import ended_run, installation

MB = 1 << 20
#: the source gives them one after another; generate_series alone would collect them on its disk before
ROWS = "select a, b, repeat('x', 100) as x from generate_series(1, 20000) a, generate_series(1, {}) b"
ENDLESS = ROWS.format(10_000)
#: statement, options, and how the run ends: error code, whether it is cut, fewest and most rows stored
CASES = {
    "rows": (ENDLESS, {}, (None, True, 10_000, 10_000)),
    "bytes": (ENDLESS, {"max_rows": "1000000000", "max_bytes": str(16 * MB)}, (None, True, 100_000, 200_000)),
    "error": (ENDLESS, {"max_rows": "100000", "on_limit": "error"}, ("limit_exceeded", False, None, None)),
    # every row is looked at, so it gets a hundredth of them
    "sample": (ROWS.format(100), {"on_limit": "sample"}, (None, True, 10_000, 10_000)),
}


def test_worker_with_little_memory_stops_at_the_limits_and_lives(source_db, database, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        for name, (sql, options, _) in CASES.items():
            place.add_query(name, sql, **options)
        place.add_query("after", "select 1 as one")
        worker = place.worker()
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (256 * MB, 256 * MB))
        ids = {name: place.json("queries", "run", name)["id"] for name in CASES}
        for name, (_, _, (code, truncated, least, most)) in CASES.items():
            run = ended_run(database, ids[name], within_s=120)
            assert (name, run["error_code"], run["truncated"]) == (name, code, truncated)
            if least is not None:
                assert least <= run["rows_returned"] <= most
        after = ended_run(database, place.json("queries", "run", "after")["id"])
        assert (after["status"], after["rows_returned"], after["attempt"]) == ("success", 1, 1)
        assert worker.process.poll() is None
