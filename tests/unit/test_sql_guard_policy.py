"""The function policy decides everything that live servers say needs a decision."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from pgsched.adapters.guard.grammar import builtin_catalog
from pgsched.domain import sql_functions
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
    assert MEMBERS - refused == sql_functions.REVIEWED_EXTENSIONS
    assert len(refused) > 50


def test_every_effect_says_why_it_is_refused() -> None:
    assert set(sql_functions.WHY) == set(Effect)


def test_no_function_is_in_two_lists() -> None:
    assert not set(sql_functions.REFUSED_BUILTINS) & set(sql_functions.REFUSED_EXTENSIONS)
    assert not set(sql_functions.REFUSED_BUILTINS) & sql_functions.REVIEWED_ALLOWED


def test_refused_names_are_those_of_servers() -> None:
    older = {"pg_start_backup", "pg_stop_backup", "pg_switch_xlog"}
    older |= {"pg_xlog_replay_pause", "pg_xlog_replay_resume"}
    assert set(sql_functions.REFUSED_BUILTINS) - CATALOG.functions == older


@pytest.mark.parametrize("effect", [e for e in Effect if e not in (Effect.UNREVIEWED, Effect.USER_DEFINED)])
def test_every_effect_refuses_something(effect: Effect) -> None:
    assert effect in {*sql_functions.REFUSED_BUILTINS.values(), *sql_functions.REFUSED_EXTENSIONS.values()}


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
