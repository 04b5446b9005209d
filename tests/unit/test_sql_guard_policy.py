"""The function policy decides everything that live servers say needs a decision."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from pgsched.adapters.guard.grammar import builtin_catalog
from pgsched.domain import sql_policy
from pgsched.domain.sql_policy import Effect, judge_function, judge_operator

CATALOG = builtin_catalog()
REVIEW = frozenset(
    " ".join(
        json.loads(files("pgsched.adapters.guard").joinpath("catalog.json").read_text())["review"]
    ).split()
)


def effect_of(*name: str, arguments: int = 1, allow: bool = True) -> Effect | None:
    return judge_function(name, arguments=arguments, catalog=CATALOG, allow_user_functions=allow)


def test_every_volatile_or_restricted_built_in_was_decided_once() -> None:
    refused = {name for name in REVIEW if effect_of(name) is not None}
    assert REVIEW - refused == sql_policy.REVIEWED_ALLOWED
    assert len(REVIEW) > 200


def test_no_function_is_in_two_lists() -> None:
    assert not set(sql_policy.REFUSED_BUILTINS) & set(sql_policy.REFUSED_EXTENSIONS)
    assert not set(sql_policy.REFUSED_BUILTINS) & sql_policy.REVIEWED_ALLOWED


def test_refused_names_are_those_of_servers() -> None:
    older = {"pg_start_backup", "pg_stop_backup", "pg_switch_xlog"}
    older |= {"pg_xlog_replay_pause", "pg_xlog_replay_resume"}
    assert set(sql_policy.REFUSED_BUILTINS) - CATALOG.functions == older


@pytest.mark.parametrize("effect", [e for e in Effect if e not in (Effect.UNREVIEWED, Effect.USER_DEFINED)])
def test_every_effect_refuses_something(effect: Effect) -> None:
    assert effect in {*sql_policy.REFUSED_BUILTINS.values(), *sql_policy.REFUSED_EXTENSIONS.values()}


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


def test_a_pg_catalog_name_no_version_has_is_refused() -> None:
    assert effect_of("pg_catalog", "pg_new_in_30") is Effect.UNREVIEWED
    assert effect_of("pg_new_in_30") is None


def test_operators_of_pg_catalog_are_built_in() -> None:
    assert judge_operator(["+"], catalog=CATALOG) is None
    assert judge_operator(["pg_catalog", "@>"], catalog=CATALOG) is None
    assert judge_operator(["app", "+"], catalog=CATALOG) is Effect.USER_DEFINED
    assert judge_operator(["<===>"], catalog=CATALOG) is Effect.USER_DEFINED
