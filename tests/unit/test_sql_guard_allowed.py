"""Statements people schedule in real life: none may be refused."""

from __future__ import annotations

import pytest

from pgsched.adapters.guard.grammar import PostgresGrammarGuard

GUARD = PostgresGrammarGuard()

BUILTIN_ONLY = [
    "select 1",
    "SELECT 1;",
    "select 1 ;; -- done",
    "/* head */ select 1 /* tail */",
    "(select 1)",
    "((select 1) union (select 2)) order by 1",
    "select",
    "table t",
    "values (1, 'a'), (2, 'b')",
    "select * from (values (1), (2)) as v(a)",
    "with x as (select 1) select * from x",
    "with x as materialized (table t), y as not materialized (values (1)) select * from x, y",
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) select * from n",
    "with recursive g as (select a, b from e union all select g.a, e.b from g, e where e.a = g.b)"
    " search depth first by a set o cycle a set is_cycle using path select * from g",
    "select count(*), count(distinct a), sum(b) filter (where c > 0) from t group by d having count(*) > 1",
    "select a, b, sum(c) from t group by grouping sets ((a), (b), ())",
    "select a, grouping(a), sum(c) from t group by rollup (a), cube (b)",
    "select row_number() over (partition by a order by b desc nulls last), lag(c, 1, 0) over w from t"
    " window w as (order by d rows between 3 preceding and current row exclude ties)",
    "select percentile_cont(0.95) within group (order by ms), mode() within group (order by a) from t",
    "select string_agg(a, ', ' order by a), array_agg(distinct b), jsonb_object_agg(k, v) from t",
    "select t.a, l.b from t cross join lateral (select b from u where u.a = t.a order by c limit 3) l",
    "select * from t left join u using (a) full join v on v.b = u.b natural join w",
    "select * from generate_series(now() - interval '7 days', now(), '1 hour') with ordinality as g(at, n)",
    "select * from rows from (generate_series(1, 3), unnest(array['a', 'b'])) as r(a, b)",
    "select * from unnest(array[1, 2], array['a', 'b']) as u(a, b)",
    "select * from t tablesample bernoulli (10) repeatable (42)",
    "select * from t tablesample system (1)",
    "select date_trunc('hour', at at time zone 'Europe/Berlin'), extract(dow from at), age(at) from t",
    "select current_date - 7, now() - '1 month'::interval, localtimestamp, current_timestamp(0)",
    "select to_char(at, 'YYYY-MM-DD'), to_timestamp(0), make_interval(days => 3) from t",
    "select date_bin('15 min', at, '2001-01-01') from t",
    "select clock_timestamp(), statement_timestamp(), timeofday(), random(), gen_random_uuid(), setseed(0.5)",
    "select case a when 1 then 'x' else 'y' end, coalesce(a, b), nullif(a, 0), greatest(a, b), least(1, 2)",
    "select a::text, cast(b as numeric(10, 2)), '1'::int, interval '1' day, date '2026-01-01', b'101', x'ff'",
    "select 'O''Brien', E'a\\n', $$a;b$$, $q$ drop table t; $q$, U&'\\00e9', 'a'\n'b' from t",
    "select doc->'a'->>'b', doc #>> '{a,b}', doc @> '{\"a\":1}', doc ? 'a' from t",
    "select jsonb_path_query(doc, '$.a[*]') from t",
    "select * from jsonb_to_recordset('[]') as r(a int, b text), jsonb_each_text('{}')",
    "select * from json_table('[]'::jsonb, '$[*]' columns (id int path '$.id', n for ordinality)) as j",
    "select json_object('a': 1), json_array(1, 2 returning json), doc is json from t",
    "select json_query(doc, '$.a' with wrapper), json_query(doc, '$.a' keep quotes) from t",
    "select json_exists(doc, '$.b' false on error), json_value(doc, '$.c' returning int) from t",
    "select json_value(doc, '$.c' passing 1 as x), json_value(doc format json, '$' null on empty) from t",
    "select json_array(null null on null), json_array(a format json), json_array(select a from t)",
    "select json_arrayagg(a null on null), json_arrayagg(a format json), json_objectagg(a: b) from t",
    "select json('{}' with unique keys), json(a format json), json_object('{a,b}'), json_object(a, b) from t",
    "select json_object(returning json)",
    "select * from xmltable('/r' passing ('<r/>'::xml) columns a int path 'a'), xpath('/a', '<a/>'::xml) x",
    "select xmlelement(name a, xmlattributes(1 as b)), xmlserialize(content x as text) from t",
    "select substring(a from 1 for 3), position('a' in b), trim(both from c) from t",
    "select overlay(a placing 'b' from 1), normalize(a) from t",
    "select regexp_replace(a, '\\s+', ' ', 'g'), split_part(a, ',', 1), format('%s %I', a, b) from t",
    "select a ilike '%x%', a similar to 'b', a ~* 'c', a not like 'd', a between symmetric 1 and 2 from t",
    "select * from t where (a, b) in (select c, d from u) and not exists (select from v)",
    "select * from t where a = any ('{1,2}')",
    'select * from t order by a using <, b collate "C" desc limit 10 offset 5',
    "select * from t order by a fetch first 10 rows with ties",
    "select distinct on (a) a, b from t order by a, c desc",
    "select 1 union select 2 intersect select 3 except all select 4",
    "select row(1, 2) = row(1, 2), (t.*)::text, (t).a, array[[1], [2]], (array[1, 2])[1:2] from t",
    "select array(select a from t), (select max(b) from t), exists (select 1)",
    "select a is distinct from b, a is null, b is not true, a isnull from t",
    "select to_tsvector('english', a) @@ plainto_tsquery('b'), ts_rank(v, q), ts_rewrite(q, q, q) from t",
    "select '10.0.0.0/8'::inet >> inet '10.1.2.3', int4range(1, 5) && int4range(3, 9)",
    "select pg_size_pretty(pg_database_size(current_database())), pg_total_relation_size('t'), version()",
    "select datname, numbackends, round(100.0 * blks_hit / nullif(blks_hit + blks_read, 0), 2)"
    " from pg_stat_database",
    "select state, count(*) from pg_stat_activity group by state",
    "select relname, n_live_tup, pg_relation_size(relid) from pg_stat_user_tables order by 3 desc limit 20",
    "select query, calls, mean_exec_time from pg_stat_statements order by total_exec_time desc",
    "select * from pg_locks l join pg_stat_activity a using (pid)"
    " where cardinality(pg_blocking_pids(pid)) > 0",
    "select pid, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) from pg_stat_replication",
    "select slot_name, active from pg_replication_slots",
    "select table_name from information_schema.tables where table_schema not in ('pg_catalog')",
    "select pg_get_viewdef('v'::regclass), obj_description('t'::regclass), current_setting('work_mem')",
    "select (a, b) overlaps (c, d), a is nfc normalized, collation for (a), at at local, system_user from t",
    "select xmlexists('//a' passing by value x), x is document, xmlpi(name p) from t",
    "select current_catalog, current_schema, current_role, session_user, trim(leading 'x' from a) from t",
    "select a like 'b' escape '!', a similar to 'b' escape '!', substring(a similar 'b' escape '!') from t",
    "select json_serialize('{}' returning text), json_arrayagg(a order by b returning jsonb) from t",
    "select interval '1' hour * 2, time '10:00' at time zone 'UTC', bit '1', numeric(3, 1) '1.5'",
    "select inet_server_addr(), pg_backend_pid(), pg_is_in_recovery(), pg_postmaster_start_time()",
    "select currval('s'), lastval(), pg_sequence_last_value('s'), last_value from s",
    "select pg_current_xact_id_if_assigned(), txid_current_if_assigned(), pg_current_snapshot()",
    "select pg_sleep(0.1), pg_sleep_for('1 second'), lo_get(1)",
    "select md5(a), sha256(a::bytea), encode(b, 'hex'), hashtext(a) from t",
    "select nextval, setval as pg_notify, t.upper, (t).b, s.t.a, (a).b[1].c, t.* from s.t",
    "select t.cypher, t.set_config, (t).setval, t.pg_reset, s.t.pg_notify, t.txid_current from s.t",
    'select "select", "for update", "into" from "insert" as "delete"',
    "select 'select nextval(1); drop table t' as a -- ; drop table t",
    "select uuidv7(), random(1, 6), array_shuffle(array[1]), pg_catalog.now()",
    "select insert, update, delete_, merge, copy from t",
    "select * from only t, s.u as x(a, b), db.s.w",
    "select 1_000, 0xff, 1e10, .5, 'é😀'",
]
# Functions, operators and sampling methods that are not built in.
WITH_USER_FUNCTIONS = [
    "select public.revenue(1)",
    "select revenue_of(a) from t",
    "select * from reports.monthly('2026-01-01')",
    "select app.nextval('not the built-in one')",
    "select \"NextVal\"('s')",
    "select st_area(geom), similarity(a, b), uuid_generate_v4(), digest('a', 'sha256') from t",
    "select time_bucket('1 hour', at), first(a, at) from t group by 1",
    "select a operator(public.+) b from t",
    "select a <===> b from t",
    "select a <===> all (select b from u) from t",
    "select 1 from t order by a using operator(s.<<<)",
    "select * from t tablesample system_rows (10)",
]


# Built in on newer servers; an older one calls a user-defined function.
NEWER = [
    ("select 1, »json_scalar(1)", "to_json(…)"),
    ("select »json('{}') from t", "(…)::json"),
    ("select »json_serialize('{}')", "RETURNING text"),
    ("select »json_exists(doc, '$.a') from t", "FALSE ON ERROR"),
    ("select * from »json_query(cast('{}' as json), '$.a')", "RETURNING jsonb"),
    ("select t.a from t where »json_value(doc, '$.a') = 'x'", "RETURNING text"),
    ("select »json_array(1, a) from t", "RETURNING json"),
    ("select »json_array()", "RETURNING json"),
    ("select »json_object()", "json_build_object()"),
    ("select »json_arrayagg(a order by b) filter (where c) over w from t window w as ()", "RETURNING json"),
    ("select json_value(»json_scalar(1), '$' returning int)", "to_json(…)"),
]


@pytest.mark.parametrize(("marked", "way_out"), NEWER)
def test_what_older_servers_take_for_a_call_is_refused_without_user_functions(
    marked: str, way_out: str
) -> None:
    sql = marked.replace("»", "")
    assert GUARD.check(sql).allowed
    verdict = GUARD.check(sql, allow_user_functions=False)
    assert (verdict.code, verdict.position) == ("user_function_not_allowed", marked.index("»") + 1)
    assert way_out in verdict.detail


@pytest.mark.parametrize("sql", BUILTIN_ONLY + WITH_USER_FUNCTIONS)
def test_guard_allows(sql: str) -> None:
    verdict = GUARD.check(sql)
    assert verdict.allowed, verdict
    assert (verdict.code, verdict.position) == (None, None)


@pytest.mark.parametrize("sql", [sql for sql in BUILTIN_ONLY if "pg_stat_statements" not in sql])
def test_guard_without_user_functions_still_allows_built_ins(sql: str) -> None:
    assert GUARD.check(sql, allow_user_functions=False).allowed


@pytest.mark.parametrize("sql", WITH_USER_FUNCTIONS)
def test_guard_without_user_functions_refuses_the_others(sql: str) -> None:
    assert GUARD.check(sql, allow_user_functions=False).code == "user_function_not_allowed"
