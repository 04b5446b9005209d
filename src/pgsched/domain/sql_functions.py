"""The reviewed table of functions that a scheduled query may not call, by what they can do.

Made from pg_proc of live servers of Postgres 15, 16, 17 and 18 and the extensions that come with them (see
``bench/function_catalog.py``); names of servers before 15 are kept, a source may be old. Looked at was every
function that is volatile or closed to PUBLIC, and those of any volatility that run SQL text. A test holds
this table against the catalog: a function that a later version brings fails it until it is decided here.
Extensions are in ``domain/sql_extensions.py``.

Sources: PostgreSQL manual, chapters 9 (functions) and F (additional modules), the extensions' own manuals.
"""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What a refused function can do; the value completes the sentence "it …"."""

    WRITES = "writes: it changes sequences, large objects, catalogs, WAL or server state"
    ASSIGNS_XID = "assigns a transaction id, which a read-only run must not use up"
    SIGNALS = "signals the server, other sessions or their listeners"
    LOCKS = "takes or releases locks that others wait for"
    FILES = "reads or writes files of the server or runs programs there"
    CONNECTS = "opens connections from the server to elsewhere"
    SETTINGS = "changes settings of the session, which the other fences rely on"
    RUNS_SQL = "runs SQL text that cannot be judged here"
    UNREVIEWED = "is in pg_catalog, but in no version reviewed so far"
    USER_DEFINED = "is user-defined, and this source allows built-in functions only"


#: why an effect is refused although other fences stand behind the guard
WHY = {
    Effect.WRITES: "READ ONLY stops writes to tables and nextval, but not resets, slots, WAL or caches",
    Effect.ASSIGNS_XID: "every id used brings the server's wraparound nearer; READ ONLY does not refuse it",
    Effect.SIGNALS: "a signal is no write: READ ONLY lets it through",
    Effect.LOCKS: "advisory locks stop the applications that use them; READ ONLY lets them through",
    Effect.FILES: "what the server's account may read is more than any role was granted",
    Effect.CONNECTS: "the session over there is not read-only, and the server stands inside the firewall",
    Effect.SETTINGS: "statement_timeout, client_encoding and the like are fences themselves",
    Effect.RUNS_SQL: "whatever is refused here could hide in the text",
    Effect.UNREVIEWED: "nobody has looked at what it does",
    Effect.USER_DEFINED: "the source's admin said so; what it does inside cannot be seen offline",
}

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
DEFAULT_WAY_OUT = "select from a table or read-only view that the source's owner grants"

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

#: refused names that columns have, and that ``t.name`` cannot call: no server has them with one argument;
#: connectby has five and more, cypher (Apache AGE) does nothing outside of FROM, the two that embed (Lantern)
#: take a model as well, and run_job (TimescaleDB) is a procedure
NO_ATTRIBUTES = frozenset(
    {"set_config", "setval", "pg_notify", "txid_current", "connectby", "cypher"}
    | {"openai_embedding", "cohere_embedding", "run_job"}
)

#: families of pg_catalog refused by prefix, so that a member added by a later version is refused too
BUILTIN_PREFIXES: tuple[tuple[str, Effect], ...] = (
    ("binary_upgrade_", Effect.WRITES),
    ("pg_stat_reset", Effect.WRITES),
    ("pg_advisory_", Effect.LOCKS),
    ("pg_try_advisory_", Effect.LOCKS),
    ("pg_ls_", Effect.FILES),
    ("pg_read_", Effect.FILES),
    ("pg_create_", Effect.WRITES),
    ("pg_drop_", Effect.WRITES),
    ("pg_copy_", Effect.WRITES),
    ("pg_set_", Effect.WRITES),
    ("pg_clear_", Effect.WRITES),
    ("pg_restore_", Effect.WRITES),
    ("pg_switch_", Effect.WRITES),
    ("pg_backup_", Effect.WRITES),
    ("pg_logical_slot_", Effect.WRITES),
    ("pg_replication_slot_", Effect.WRITES),
    ("pg_terminate_", Effect.SIGNALS),
    ("pg_cancel_", Effect.SIGNALS),
    ("pg_log_", Effect.SIGNALS),
    ("pg_reload_", Effect.SIGNALS),
    ("pg_rotate_", Effect.SIGNALS),
    ("pg_wal_replay_", Effect.SIGNALS),
    ("pg_sync_", Effect.CONNECTS),
    ("query_to_xml", Effect.RUNS_SQL),
    ("cursor_to_xml", Effect.RUNS_SQL),
    ("table_to_xml", Effect.RUNS_SQL),
    ("schema_to_xml", Effect.RUNS_SQL),
    ("database_to_xml", Effect.RUNS_SQL),
)

REFUSED_BUILTINS = {name: effect for effect, names in _BUILTINS.items() for name in names.split()}

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
