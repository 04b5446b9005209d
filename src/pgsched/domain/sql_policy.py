"""Which functions a scheduled query may call, judged by what they can do.

A reviewed table over the built-ins of Postgres 15 to 18 (with the names older servers used) and the
extensions that come with Postgres or are common beside it. Looked at were all functions that are
volatile or closed to PUBLIC, and those of any volatility that run SQL text. What is in no list only
computes or reads. The trusted fences stand behind: READ ONLY refuses writes to tables, but not locks,
signals, notifications, transaction ids, files, connections or settings, which is what this table is for.

Sources: PostgreSQL manual, chapters 9 (functions) and F (additional modules); pg_proc of live servers,
see ``bench/function_catalog.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What a refused function can do; the value completes the sentence "it …"."""

    WRITES = "writes: it changes sequences, large objects, catalogs, WAL or server state"
    ASSIGNS_XID = "assigns a transaction id, which a read-only run must not use up"
    SIGNALS = "signals the server, other sessions or their listeners"
    LOCKS = "takes or releases locks that others wait for"
    FILES = "reads or writes files of the server"
    CONNECTS = "opens connections from the server to elsewhere"
    SETTINGS = "changes settings of the session, which the other fences rely on"
    RUNS_SQL = "runs SQL text that cannot be judged here"
    UNREVIEWED = "is in pg_catalog, but in no version reviewed so far"
    USER_DEFINED = "is user-defined, and this source allows built-in functions only"


#: what to do instead, by effect
WAY_OUT = {
    Effect.ASSIGNS_XID: "use pg_current_xact_id_if_assigned() or pg_current_snapshot()",
    Effect.SETTINGS: "write the conversion into the query (AT TIME ZONE, to_char, explicit casts)",
    Effect.RUNS_SQL: "write the query itself, or grant a view over it and select from that",
    Effect.CONNECTS: "add the other database as a source of its own, or grant a foreign table",
    Effect.FILES: "let the server's owner load the data into a table and grant that",
    Effect.USER_DEFINED: "use built-ins, or allow_user_functions on the source",
}
#: what to do instead where WAY_OUT has nothing nearer
DEFAULT_WAY_OUT = "select from a table or view that the source's owner grants"

# pg_catalog's own, called bare or as pg_catalog.name. The names of servers before 15 are kept: a source
# may be old.
_BUILTINS: dict[Effect, str] = {
    Effect.WRITES: """
        nextval setval
        lo_creat lo_create lo_from_bytea lo_open lo_put lo_truncate lo_truncate64 lo_unlink lowrite
        lo_close lo_lseek lo_lseek64 lo_tell lo_tell64 loread
        brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list
        pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup
        pg_clear_attribute_stats pg_clear_relation_stats pg_restore_attribute_stats pg_restore_relation_stats
        pg_copy_logical_replication_slot pg_copy_physical_replication_slot
        pg_create_logical_replication_slot pg_create_physical_replication_slot pg_drop_replication_slot
        pg_replication_slot_advance
        pg_logical_slot_get_binary_changes pg_logical_slot_get_changes
        pg_logical_slot_peek_binary_changes pg_logical_slot_peek_changes
        pg_create_restore_point pg_logical_emit_message pg_log_standby_snapshot pg_switch_wal pg_switch_xlog
        pg_export_snapshot pg_extension_config_dump pg_import_system_collations pg_nextoid
        pg_stop_making_pinned_objects
        pg_replication_origin_advance pg_replication_origin_create pg_replication_origin_drop
        pg_replication_origin_session_reset pg_replication_origin_session_setup
        pg_replication_origin_xact_reset pg_replication_origin_xact_setup
        pg_stat_force_next_flush pg_stat_reset pg_stat_reset_backend_stats pg_stat_reset_replication_slot
        pg_stat_reset_shared pg_stat_reset_single_function_counters pg_stat_reset_single_table_counters
        pg_stat_reset_slru pg_stat_reset_subscription_stats
        """,
    Effect.ASSIGNS_XID: "txid_current pg_current_xact_id",
    Effect.SIGNALS: """
        pg_cancel_backend pg_terminate_backend pg_log_backend_memory_contexts pg_notify pg_promote
        pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old
        pg_wal_replay_pause pg_wal_replay_resume pg_xlog_replay_pause pg_xlog_replay_resume
        """,
    Effect.LOCKS: """
        pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
        pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
        pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock
        pg_try_advisory_xact_lock_shared
        """,
    Effect.FILES: """
        lo_import lo_export pg_read_file pg_read_file_old pg_read_binary_file pg_stat_file
        pg_ls_dir pg_ls_archive_statusdir pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir
        pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir
        pg_current_logfile pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings
        pg_available_wal_summaries pg_wal_summary_contents
        """,
    Effect.CONNECTS: "pg_sync_replication_slots",
    Effect.SETTINGS: "set_config",
    Effect.RUNS_SQL: """
        query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema
        table_to_xml table_to_xmlschema table_to_xml_and_xmlschema
        schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema
        database_to_xml database_to_xmlschema database_to_xml_and_xmlschema ts_stat
        """,
}

#: families of pg_catalog refused by prefix, so that a member added by a later version is refused too
_BUILTIN_PREFIXES: tuple[tuple[str, Effect], ...] = (
    ("binary_upgrade_", Effect.WRITES),
    ("pg_stat_reset", Effect.WRITES),
    ("pg_advisory_", Effect.LOCKS),
    ("pg_try_advisory_", Effect.LOCKS),
    ("pg_ls_", Effect.FILES),
    ("pg_read_", Effect.FILES),
)

# Functions of extensions: they live in whatever schema the extension was installed into.
_EXTENSIONS: dict[Effect, str] = {
    Effect.WRITES: """
        pg_stat_statements_reset heap_force_kill heap_force_freeze pg_truncate_visibility_map pg_prewarm
        autoprewarm_dump_now autoprewarm_start_worker pg_buffercache_evict pg_buffercache_evict_relation
        pg_buffercache_evict_all
        pg_stat_monitor_reset pg_stat_kcache_reset pg_qualstats_reset pg_store_plans_reset
        pg_wait_sampling_reset_profile
        """,
    Effect.SIGNALS: "pg_logfile_rotate",
    Effect.LOCKS: "bt_index_parent_check",
    Effect.FILES: """
        pg_file_read pg_file_length pg_file_rename pg_file_sync pg_file_unlink pg_file_write pg_logdir_ls
        get_raw_page pg_get_logical_snapshot_info pg_get_logical_snapshot_meta
        pg_get_wal_block_info pg_get_wal_record_info pg_get_wal_records_info pg_get_wal_stats
        pg_get_wal_records_info_till_end_of_wal pg_get_wal_stats_till_end_of_wal
        """,
    Effect.CONNECTS: """
        postgres_fdw_disconnect postgres_fdw_disconnect_all
        http http_get http_post http_put http_patch http_delete http_head oracle_execute
        """,
    Effect.SETTINGS: "set_limit isn_weak http_set_curlopt http_reset_curlopt",
    Effect.RUNS_SQL: """
        xpath_table run_command_on_workers run_command_on_shards run_command_on_placements
        run_command_on_all_nodes run_command_on_coordinator run_command_on_colocated_placements
        master_run_on_worker plpgsql_call_handler
        """,
}
_EXTENSION_PREFIXES: tuple[tuple[str, Effect], ...] = (
    ("dblink", Effect.CONNECTS),
    ("crosstab", Effect.RUNS_SQL),
    ("connectby", Effect.RUNS_SQL),
    ("pg_background_", Effect.RUNS_SQL),
)
#: schemas that belong to extensions whose functions write, connect or run SQL throughout
_EXTENSION_SCHEMAS = {
    "cron": Effect.RUNS_SQL,
    "dbms_sql": Effect.RUNS_SQL,
    "dbms_pipe": Effect.SIGNALS,
    "dbms_alert": Effect.SIGNALS,
    "utl_file": Effect.FILES,
    "aws_s3": Effect.CONNECTS,
    "aws_lambda": Effect.CONNECTS,
    "azure_storage": Effect.CONNECTS,
    "amqp": Effect.CONNECTS,
}

REFUSED_BUILTINS = {name: effect for effect, names in _BUILTINS.items() for name in names.split()}
REFUSED_EXTENSIONS = {name: effect for effect, names in _EXTENSIONS.items() for name in names.split()}

# Volatile or restricted built-ins that were reviewed and are allowed: they compute, read statistics and
# catalogs, or touch nothing beyond this session. pg_sleep* only wait, which every timeout ends.
_REVIEWED_ALLOWED = """
    amvalidate array_sample array_shuffle clock_timestamp current_query currtid2 currval lastval
    gen_random_uuid uuidv4 uuidv7 random random_normal setseed timeofday lo_get
    pg_sleep pg_sleep_for pg_sleep_until ts_rewrite
    pg_blocking_pids pg_safe_snapshot_blocking_pids pg_isolation_test_session_is_blocked pg_lock_status
    pg_collation_actual_version pg_database_collation_actual_version
    pg_config pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
    pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn
    pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_tablespace_size
    pg_total_relation_size
    pg_get_aios pg_get_backend_memory_contexts pg_get_loaded_modules pg_get_multixact_members
    pg_get_sequence_data pg_get_shmem_allocations pg_get_shmem_allocations_numa pg_get_wait_events
    pg_get_wal_replay_pause_state pg_get_wal_resource_managers pg_get_wal_summarizer_state
    pg_is_in_recovery pg_is_wal_replay_paused pg_jit_available pg_last_committed_xact
    pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp
    pg_notification_queue_usage pg_partition_ancestors pg_partition_tree pg_prepared_xact
    pg_replication_origin_oid pg_replication_origin_progress pg_replication_origin_session_is_setup
    pg_replication_origin_session_progress pg_show_replication_origin_status pg_sequence_last_value
    pg_stat_clear_snapshot pg_stat_get_backend_io pg_stat_get_backend_wal pg_stat_get_io
    pg_stat_get_recovery_prefetch pg_stat_have_stats
    pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls
    pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans
    pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated
    pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_newpage_updated
    pg_stat_get_xact_tuples_returned pg_stat_get_xact_tuples_updated
    pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status txid_status
"""
REVIEWED_ALLOWED = frozenset(_REVIEWED_ALLOWED.split())

#: views of pg_catalog that read configuration files when they are selected from
REFUSED_RELATIONS = frozenset({"pg_hba_file_rules", "pg_ident_file_mappings", "pg_file_settings"})

_BUILTIN_SCHEMAS = ("pg_catalog", "information_schema")


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """What Postgres itself defines, over all reviewed versions."""

    #: names of the functions of pg_catalog
    functions: frozenset[str]
    #: symbols of the operators of pg_catalog
    operators: frozenset[str]


def judge_function(
    name: Sequence[str], *, arguments: int, catalog: Catalog, allow_user_functions: bool
) -> Effect | None:
    """Return why the function must not be called, None when it may be.

    Args:
        name: the parts as the parser folded them, e.g. ``("pg_catalog", "nextval")``.
        arguments: how many arguments the call has (``ts_rewrite`` runs SQL text with two of them).
        catalog: the built-ins.
        allow_user_functions: whether functions that are no built-ins are allowed.
    """
    schema, last = (name[-2] if len(name) > 1 else None), name[-1]
    effect = REFUSED_EXTENSIONS.get(last) or _by_prefix(last, _EXTENSION_PREFIXES)
    if effect is None and schema is not None:
        effect = _EXTENSION_SCHEMAS.get(schema)
    if effect is None and schema in (None, "pg_catalog"):
        effect = REFUSED_BUILTINS.get(last) or _by_prefix(last, _BUILTIN_PREFIXES)
        if last == "ts_rewrite" and arguments == 2:
            effect = Effect.RUNS_SQL
    if effect is not None:
        return effect
    if schema == "pg_catalog" and last not in catalog.functions:
        return Effect.UNREVIEWED
    if allow_user_functions or _is_builtin(schema, last, catalog.functions):
        return None
    return Effect.USER_DEFINED


def judge_operator(name: Sequence[str], *, catalog: Catalog) -> Effect | None:
    """Return USER_DEFINED when the operator (``+``, or ``schema`` and ``+``) is no built-in, else None."""
    schema = name[-2] if len(name) > 1 else None
    return None if _is_builtin(schema, name[-1], catalog.operators) else Effect.USER_DEFINED


def way_out(effect: Effect) -> str:
    """Return what to do instead of calling a function with that effect."""
    return WAY_OUT.get(effect, DEFAULT_WAY_OUT)


def _is_builtin(schema: str | None, last: str, names: Collection[str]) -> bool:
    return schema in _BUILTIN_SCHEMAS or (schema is None and last in names)


def _by_prefix(name: str, prefixes: Sequence[tuple[str, Effect]]) -> Effect | None:
    return next((effect for prefix, effect in prefixes if name.startswith(prefix)), None)
