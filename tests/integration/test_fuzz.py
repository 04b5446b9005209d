"""The fuzzer itself: it sees what gets past a fence, and a moment of it finds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from fuzz.arena import Arena, Throw  # noqa: E402
from fuzz.canary import furnished  # noqa: E402
from fuzz.judge import GuardFault, Judge  # noqa: E402

#: what would get past a guard that allowed it, and where that shows
PAST_THE_GUARD = {
    "delete from orders where id = 50": "tables",
    "select nextval('canary_seq')": "sequences",
    "select lo_create(777)": "large objects",
    "select txid_current()": "transaction ids",
    "select pg_advisory_lock(1)": "advisory locks",
    "select pg_notify('canary', 'x')": "notifications",
    "select pg_stat_reset_slru(null)": "statistics",
    "select pg_reload_conf(), pg_sleep(0.2)": "server",
    "create table stolen (a int)": "objects",
    "alter role canary_reader createdb": "roles",
    "alter role canary_writer set work_mem = '1MB'": "stored settings",
    "select pg_create_physical_replication_slot('x')": "replication",
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'": "victims",
}


async def test_arena_sees_what_gets_past_the_guard():
    async with furnished(None) as canary, Arena(canary) as arena:
        for sql, where in PAST_THE_GUARD.items():
            past = await arena.run([Throw(sql=sql, is_allowed=False, is_built_in=True)])
            assert [(fence, told) for fence, told, changed in past if where in changed][:1] == [
                ("the guard", sql)
            ], past
        # and neither of the other fences let any of it through
        assert arena.counts["cursor and READ ONLY"][0] == len(PAST_THE_GUARD)
        harmless = Throw(sql="select * from orders", is_allowed=True, is_built_in=True)
        assert await arena.run([harmless]) == []


def test_judge_tells_of_a_guard_that_dies():
    with Judge() as judge:
        assert [each.is_allowed for each in judge.verdicts(["select 1", "delete from t", "\ud800"])] == [
            True,
            False,
            False,
        ]
        judge._processes[0]._process.kill()
        with pytest.raises(GuardFault):
            judge.verdicts(["select 1"])
        assert [each.code for each in judge.verdicts(["select 1"])] == [None]


def test_a_moment_of_fuzzing_finds_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--minutes", "0.06", "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failures" in done.stdout
