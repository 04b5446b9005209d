"""The function policy decides everything that live servers say needs a decision."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from pgsched.adapters.guard.grammar import builtin_catalog
from pgsched.domain import sql_extensions, sql_functions
from pgsched.domain.sql_functions import Effect
from pgsched.domain.sql_policy import judge_function, judge_operator, judge_relation

CATALOG = builtin_catalog()
RAW = json.loads(files("pgsched.adapters.guard").joinpath("catalog.json").read_text())
REVIEW, MEMBERS = (frozenset(" ".join(RAW[key]).split()) for key in ("review", "extensions"))


def effect_of(*name: str, arguments: int = 1, allow: bool = True) -> Effect | None:
    return judge_function(name, arguments=arguments, catalog=CATALOG, allow_user_functions=allow)


def test_every_volatile_or_restricted_built_in_was_decided_once() -> None:
    refused = {name for name in REVIEW if effect_of(name) is not None}
    assert REVIEW - refused == sql_functions.REVIEWED_ALLOWED
    assert len(REVIEW) > 200


def test_the_catalog_is_of_every_major_version_supported() -> None:
    assert RAW["versions"] == [15, 16, 17, 18]


def test_every_volatile_or_restricted_function_of_an_extension_was_decided() -> None:
    refused = {name for name in MEMBERS if effect_of("anywhere", name) is not None}
    assert MEMBERS - refused == sql_extensions.REVIEWED_EXTENSIONS
    assert len(refused) > 50


def test_every_effect_says_why_it_is_refused() -> None:
    assert set(sql_functions.WHY) == set(Effect)


def test_no_function_is_in_two_lists() -> None:
    assert not set(sql_functions.REFUSED_BUILTINS) & set(sql_extensions.REFUSED_EXTENSIONS)
    assert not set(sql_functions.REFUSED_BUILTINS) & sql_functions.REVIEWED_ALLOWED


def test_refused_names_are_those_of_servers() -> None:
    older = {"pg_start_backup", "pg_stop_backup", "pg_switch_xlog"}
    older |= {"pg_xlog_replay_pause", "pg_xlog_replay_resume"}
    assert set(sql_functions.REFUSED_BUILTINS) - CATALOG.functions == older


@pytest.mark.parametrize("effect", [e for e in Effect if e not in (Effect.UNREVIEWED, Effect.USER_DEFINED)])
def test_every_effect_refuses_something(effect: Effect) -> None:
    assert effect in {*sql_functions.REFUSED_BUILTINS.values(), *sql_extensions.REFUSED_EXTENSIONS.values()}


def test_a_schema_of_its_own_makes_a_function_user_defined() -> None:
    assert effect_of("nextval") is Effect.WRITES
    assert effect_of("pg_catalog", "nextval") is Effect.WRITES
    assert effect_of("app", "nextval") is None
    assert effect_of("app", "nextval", allow=False) is Effect.USER_DEFINED


def test_an_extension_is_refused_in_any_schema() -> None:
    assert effect_of("anywhere", "dblink_exec") is Effect.CONNECTS
    assert effect_of("cron", "schedule") is Effect.RUNS_SQL


def test_ts_rewrite_runs_sql_with_two_arguments_only() -> None:
    assert effect_of("ts_rewrite", arguments=2) is Effect.RUNS_SQL
    assert effect_of("ts_rewrite", arguments=3) is None


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("pg_stat_anything_reset", Effect.WRITES),
        ("pg_qualstats_reset_all", Effect.WRITES),
        ("dblink_of_tomorrow", Effect.CONNECTS),
        ("crosstab99", Effect.RUNS_SQL),
        ("pg_file_anything", Effect.FILES),
        ("run_command_on_everything", Effect.RUNS_SQL),
    ],
)
def test_extensions_are_refused_by_pattern_in_any_schema(name: str, effect: Effect) -> None:
    assert effect_of("anywhere", name) is effect_of(name) is effect


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        # pgRouting, vrpRouting
        ("pgr_dijkstra", Effect.RUNS_SQL),
        ("_pgr_bddijkstra", Effect.RUNS_SQL),
        ("public.vrp_pickdeliver", Effect.RUNS_SQL),
        # pgTAP
        ("lives_ok", Effect.RUNS_SQL),
        ("tap.throws_ok", Effect.RUNS_SQL),
        ("results_eq", Effect.RUNS_SQL),
        ("performs_ok", Effect.RUNS_SQL),
        ("set_hasnt", Effect.RUNS_SQL),
        # foreign data wrappers
        ("jdbc_exec", Effect.CONNECTS),
        ("clickhouse_raw_query", Effect.CONNECTS),
        ("oracle_execute", Effect.CONNECTS),
        ("sqlite_fdw_disconnect_all", Effect.CONNECTS),
        ("import_parquet_s3", Effect.FILES),
        # whole schemas
        ("parquet.metadata", Effect.FILES),
        ("net.http_get", Effect.CONNECTS),
        ("net.worker_restart", Effect.CONNECTS),
        ("graphql.resolve", Effect.RUNS_SQL),
        ("jobmon.add_step", Effect.CONNECTS),
        ("spock.replicate_ddl", Effect.WRITES),
        ("pgtle.install_extension", Effect.RUNS_SQL),
        # Citus, TimescaleDB, pg_partman, pg_ivm
        ("worker_apply_shard_ddl_command", Effect.RUNS_SQL),
        ("run_command_on_shards", Effect.RUNS_SQL),
        ("citus_drain_node", Effect.WRITES),
        ("citus_stat_statements_reset", Effect.WRITES),
        ("add_job", Effect.WRITES),
        ("partman.run_maintenance", Effect.WRITES),
        ("pgivm.create_immv", Effect.RUNS_SQL),
        # the planner's and the session's state
        ("hypopg_create_index", Effect.SETTINGS),
        ("set_user", Effect.SETTINGS),
        ("index_advisor", Effect.RUNS_SQL),
    ],
)
def test_common_extensions_are_refused_by_what_they_do(name: str, effect: Effect) -> None:
    assert effect_of(*name.split(".")) is effect


COMPUTING = """
    st_area st_intersects st_asgeojson st_transform st_makeenvelope st_clusterdbscan st_asmvt st_value
    st_summarystats st_fromgdalraster postgis_full_version topology.getfaceedges
    topology.st_getfacegeometry cosine_distance l2_distance vector_dims inner_product subvector
    binary_quantize embedding similarity word_similarity show_trgm show_limit hstore akeys each skeys
    uuid_generate_v4 unaccent earth_distance ll_to_earth earth_box texticregexeq digest crypt
    levenshtein soundex dmetaphone time_bucket time_bucket_gapfill locf interpolate first last histogram
    hypertable_size show_chunks approximate_row_count hll_cardinality hll_add_agg hll_union_agg
    hll_hash_text hll_set_defaults tdigest tdigest_percentile approx_percentile percentile_agg
    pgq.get_queue_info pgmq.metrics_all citus_version citus_table_size citus_rebalance_status
    citus_job_list citus_get_active_worker_nodes pg_qualstats pg_stat_kcache pg_reset hypopg is_empty
    master_data set_of add_days app.run_report net_amount network.host pgrx_version dbms_random.value
    nvl to_char last_day oracle.add_months h3_lat_lng_to_cell ltree2text subpath cube_distance intset
    regexp_instr jsonb_matches_schema
"""


@pytest.mark.parametrize("name", COMPUTING.split())
def test_functions_that_compute_or_read_stay_allowed(name: str) -> None:
    assert effect_of(*name.split(".")) is None


@pytest.mark.parametrize(
    "name", ["pg_create_from_nothing", "pg_drop_all", "pg_set_anything", "pg_log_all", "query_to_xmlish"]
)
def test_families_of_built_ins_are_refused_before_they_exist(name: str) -> None:
    assert effect_of(name) is not None
    assert effect_of("app", name) is None


@pytest.mark.parametrize("name", ["set_conf\u0130g", "pg_l\u0130st", "pg_read_f\u0130le", "dbl\u0130nk"])
def test_a_letter_that_turkish_servers_fold_into_ascii_hides_nothing(name: str) -> None:
    assert effect_of(name) == effect_of(name.replace("\u0130", "i"))
    assert judge_relation("", "pg_f\u0130le_settings") is Effect.FILES


def test_a_pg_catalog_name_no_version_has_is_refused() -> None:
    assert effect_of("pg_catalog", "pg_new_in_30") is Effect.UNREVIEWED
    assert effect_of("pg_new_in_30") is None


def test_operators_of_pg_catalog_are_built_in() -> None:
    assert judge_operator(["+"], catalog=CATALOG) is None
    assert judge_operator(["pg_catalog", "@>"], catalog=CATALOG) is None
    assert judge_operator(["app", "+"], catalog=CATALOG) is Effect.USER_DEFINED
    assert judge_operator(["<===>"], catalog=CATALOG) is Effect.USER_DEFINED
