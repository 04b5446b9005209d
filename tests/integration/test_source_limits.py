"""Row and byte limits, and what stands at the end of a result that hit one."""

from __future__ import annotations

import resource
import threading

import pytest
from source_fixtures import address_of, run, run_at, statement

from pgsched.adapters.source import bounds, first_rows, sample
from pgsched.adapters.source.cursor import FETCH_ROWS
from pgsched.adapters.source.encoding import Row, RowEncoder
from pgsched.adapters.source.first_rows import BESIDE_BYTES
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.domain.errors import CostExceeded, LimitExceeded, QueryFailed, ResultRejected
from pgsched.domain.results import OnLimit

SERIES = "select g as n, repeat('x', 20) as t from generate_series(1, {count}) g"


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


@pytest.mark.parametrize("max_rows", [0, 1, 49, 50, 999, 1000, 1001, 2500])
async def test_truncate_stores_the_first_rows_and_says_so(source_db, sources, max_rows):
    outcome = await run(sources, source_db, SERIES.format(count=3000), max_rows=max_rows)
    assert [row["n"] for row in outcome.data] == list(range(1, max_rows + 1))
    assert (outcome.rows, outcome.truncated) == (max_rows, True)


@pytest.mark.parametrize("on_limit", [OnLimit.TRUNCATE, OnLimit.SAMPLE])
async def test_a_result_of_several_fetches_is_whole_and_its_connection_kept(source_db, sources, on_limit):
    pid, count = "pg_backend_pid() as pid", FETCH_ROWS
    sql = f"select {pid}, n from generate_series(1, {{}}) n"
    pids = set()
    for rows in (count - 1, count, count + 1, 2 * count, 2 * count + 1, 3 * count - 1):
        for most in (rows - 1, rows, 5 * count):
            outcome = await run(sources, source_db, sql.format(rows), max_rows=most, on_limit=on_limit)
            assert (outcome.rows, outcome.truncated) == (min(rows, most), most < rows)
            numbers = [row["n"] for row in outcome.data]
            assert numbers == sorted(set(numbers))
            pids |= {row["pid"] for row in outcome.data}
    assert len(pids) == 1


@pytest.mark.parametrize("on_limit", list(OnLimit))
@pytest.mark.parametrize("count", [0, 1, 50, 1000, 1001])
async def test_a_result_that_just_fits_is_whole(source_db, sources, on_limit, count):
    outcome = await run(sources, source_db, SERIES.format(count=count), max_rows=count, on_limit=on_limit)
    exact = await run(
        sources, source_db, SERIES.format(count=count), max_bytes=outcome.bytes, on_limit=on_limit
    )
    for whole in (outcome, exact):
        assert [row["n"] for row in whole.data] == list(range(1, count + 1))
        assert not whole.truncated


@pytest.mark.parametrize("short_by", [1, 40, 10_000])
async def test_bytes_are_counted_as_stored(source_db, sources, short_by):
    whole = await run(sources, source_db, SERIES.format(count=3000))
    cut = await run(sources, source_db, SERIES.format(count=3000), max_bytes=whole.bytes - short_by)
    assert cut.truncated
    assert whole.bytes - short_by - 40 < cut.bytes <= whole.bytes - short_by
    assert [row["n"] for row in cut.data] == list(range(1, cut.rows + 1))


async def test_a_first_row_too_large_leaves_no_rows(source_db, sources):
    outcome = await run(sources, source_db, "select repeat('x', 1000) t", max_bytes=500)
    assert (outcome.rows, outcome.bytes, outcome.truncated, outcome.data) == (0, 0, True, [])


@pytest.mark.parametrize("on_limit", [OnLimit.TRUNCATE, OnLimit.SAMPLE])
async def test_large_values_are_written_beside_the_loop(source_db, sources, monkeypatch, on_limit):
    # Regression: they were written on it, and a worker's other runs lost their leases meanwhile.
    threads, encode = [], RowEncoder.encode

    def watched(encoder: RowEncoder, rows: list[Row], **room: int) -> bytes:
        threads.append((threading.current_thread() is threading.main_thread(), len(rows[0][0] or b"")))
        return encode(encoder, rows, **room)

    monkeypatch.setattr(RowEncoder, "encode", watched)
    for count in (10, 100_000):
        sql = rf"""select ('"' || repeat('\u00e9', {count}) || '"')::json j"""
        outcome = await run(sources, source_db, sql, on_limit=on_limit)
        assert outcome.data == [{"j": "é" * count}]
    assert threads
    assert not any(is_main for is_main, size in threads if size > BESIDE_BYTES)
    assert on_limit is OnLimit.SAMPLE or any(is_main for is_main, _ in threads)


async def test_a_value_beyond_all_room_is_left_out_unwritten(source_db, sources):
    long = "array(select random() from generate_series(1, 100000))"
    grows = "('[' || repeat('1e399,', 100000) || '1]')::json"
    for value in (long, grows):
        sql = f"select case when g = 2 then {value} end a, g from generate_series(1, 3) g"
        outcome = await run(sources, source_db, sql, max_bytes=600_000)
        assert (outcome.rows, outcome.truncated) == (1, True)
        sampled = await run(sources, source_db, sql, max_bytes=600_000, on_limit=OnLimit.SAMPLE)
        assert [row["g"] for row in sampled.data] == [1, 3]
        with pytest.raises(LimitExceeded):
            await run(sources, source_db, sql, max_bytes=600_000, on_limit=OnLimit.ERROR)


async def test_values_that_grow_when_they_are_written_push_no_others_out_of_a_sample(source_db, sources):
    # 210 kB of text are 9 MB of JSON: numbers are written out
    grown = "array(select 1e300::float8 from generate_series(1, 30000))"
    sql = f"select g, case when g % 2 = 0 then {grown} else '{{1}}' end a from generate_series(1, 20) g"
    outcome = await run(sources, source_db, sql, max_bytes=8 << 20, on_limit=OnLimit.SAMPLE)
    assert [row["g"] for row in outcome.data] == list(range(1, 20, 2))
    assert outcome.truncated


async def test_what_was_cut_off_leaves_no_trace_in_the_schema(source_db, sources):
    sql = "select case when g < 5 then g end n, case when g = 5 then float8 'NaN' else 1 end f" \
          " from generate_series(1, 5) g"  # fmt: skip
    whole = await run(sources, source_db, sql)
    assert (whole.fields[0]["extDtype"], whole.fields[1]["nonFinite"]) == ("Int64", 1)
    for limits in ({"max_rows": 4}, {"max_bytes": whole.bytes - 1}):
        cut = await run(sources, source_db, sql, **limits)
        assert cut.rows == 4
        assert "extDtype" not in cut.fields[0]
        assert "nonFinite" not in cut.fields[1]


@pytest.mark.parametrize("limits", [{"max_rows": 10}, {"max_bytes": 100}])
async def test_error_stores_nothing_and_the_next_run_goes_on(source_db, sources, limits):
    with pytest.raises(LimitExceeded) as caught:
        await run(sources, source_db, SERIES.format(count=3000), on_limit=OnLimit.ERROR, **limits)
    assert str(*limits.values()) in caught.value.detail
    assert (await run(sources, source_db, "select 1 a")).data == [{"a": 1}]


async def test_a_sample_is_uniform_ordered_and_within_both_limits(source_db, sources):
    picked = [0] * 10
    for _ in range(30):
        outcome = await run(
            sources, source_db, SERIES.format(count=5000), max_rows=200, on_limit=OnLimit.SAMPLE
        )
        numbers = [row["n"] for row in outcome.data]
        assert numbers == sorted(set(numbers))
        assert (len(numbers), outcome.truncated, outcome.document["schema"]["sampled"]) == (200, True, True)
        for number in numbers:
            picked[(number - 1) // 500] += 1
    # 6000 picks into ten tenths: 600 each, standard deviation 23
    assert all(450 < count < 750 for count in picked)
    small = await run(sources, source_db, SERIES.format(count=5000), max_bytes=4000, on_limit=OnLimit.SAMPLE)
    assert 2000 < small.bytes <= 4000
    assert small.truncated


@pytest.mark.parametrize("giant", [1, 50, 100])
@pytest.mark.parametrize("value", ["repeat('x', 9500000)", r"repeat(E'\x01', 2000000)"])
async def test_a_row_too_large_is_left_out_of_a_sample_and_the_others_are_not(
    source_db, sources, giant, value
):
    sql = f"select g n, case when g = {giant} then {value} else 'a' end t from generate_series(1, 100) g"
    outcome = await run(sources, source_db, sql, on_limit=OnLimit.SAMPLE)
    assert [row["n"] for row in outcome.data] == [n for n in range(1, 101) if n != giant]
    assert (outcome.truncated, outcome.document["schema"]["sampled"]) == (True, True)


async def test_a_sample_of_nothing_but_rows_too_large_is_empty(source_db, sources):
    sql = "select repeat('x', 1001) t from generate_series(1, 100)"
    outcome = await run(sources, source_db, sql, on_limit=OnLimit.SAMPLE, max_bytes=1000)
    assert (outcome.rows, outcome.truncated) == (0, True)


@pytest.mark.parametrize("on_limit", [OnLimit.TRUNCATE, OnLimit.SAMPLE])
async def test_rows_that_arrive_together_are_handed_out_in_parts_that_can_be_stored(
    source_db, sources, on_limit
):
    wide = "select repeat('y', 4000000) t from generate_series(1, 20) g"
    wanted = statement(wide, max_bytes=100_000_000, on_limit=on_limit)
    async with sources.execute(address_of(source_db), wanted) as stream:
        sizes = [len(batch.data) async for batch in stream]
    assert (stream.rows, stream.truncated) == (20, False)
    assert max(sizes) < 6_000_000


async def test_a_row_beyond_what_jsonb_holds_is_refused_before_it_is_written(source_db, sources, monkeypatch):
    for module in (bounds, first_rows, sample):
        monkeypatch.setattr(module, "MOST_ROW_BYTES", 2_000_000)
    sql = "select 1 as n, repeat('x', 1 + g * 1999999) t, repeat('y', g) u from generate_series(0, 1) g"
    with pytest.raises(ResultRejected, match='row 2 has 2,000,002 bytes, 2,000,000 of them in column "t"'):
        await run(sources, source_db, sql)
    for cut in ({"max_rows": 1}, {"max_bytes": 1_999_999}, {"on_limit": OnLimit.SAMPLE}):
        outcome = await run(sources, source_db, sql, **cut)
        assert (outcome.rows, outcome.truncated) == (1, True)


async def test_a_connection_is_not_kept_with_the_buffers_of_large_rows(source_db, sources, monkeypatch):
    monkeypatch.setattr(first_rows, "PART_BYTES", 500)
    monkeypatch.setattr(first_rows, "LARGE_BYTES", 1000)
    for size, kept in ((1000, 1), (1001, 0)):
        await run(sources, source_db, f"select repeat('x', {size}) t")
        assert sources.kept() == kept


async def test_memory_does_not_grow_with_the_result(source_db, sources):
    wide = statement(
        "select repeat('y', 100000) t from generate_series(1, 3000) g", max_rows=10_000, max_bytes=1 << 30
    )
    # what one pass needs, then ten times as much
    await run_at(sources, address_of(source_db), statement("select repeat('y', 100000) t", max_rows=10))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = 0
    async with sources.execute(address_of(source_db), wide) as stream:
        async for batch in stream:
            assert len(batch.data) < 8 << 20
            rows += batch.rows
    assert rows == 3000
    # 300 MB went by
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


async def test_a_statement_that_costs_too_much_is_not_run(sources, source_db):
    costly = "select a from generate_series(1, 1000) a, generate_series(1, 1000) b"
    with pytest.raises(CostExceeded, match=r"a cost of \d+\.\d\d, the source allows 1000 \(max_cost\)"):
        await run(sources, source_db, costly, max_cost=1000)
    assert (await run(sources, source_db, "select 1 as n -- cheap", max_cost=1000)).data == [{"n": 1}]
    with pytest.raises(QueryFailed) as failed:
        await run(sources, source_db, "select 1,\n nope", max_cost=1000)
    assert failed.value.position == len("select 1,\n ") + 1
