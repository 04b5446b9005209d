"""The reviewed table of extensions' functions that a scheduled query may not call, by what they can do.

Those that come with Postgres were reviewed like the built-ins (``domain/sql_functions.py``). Of those from
elsewhere, the common ones whose functions leave what READ ONLY guards are refused by name or pattern: they
run SQL text, open connections, read files, or change what is no table. What an extension does to tables
alone is left to READ ONLY (pgq, pgmq), so that its functions that tell how things are may be called, and so
is what has a name too common to be refused (pgTAP's ``is_empty``, AlloyDB's ``embedding``).

Sources: PostgreSQL manual, appendix F (additional modules), the extensions' own manuals.
"""

from __future__ import annotations

from pgsched.domain.sql_functions import Effect

# Functions of extensions: they live in whatever schema the extension was installed into.
_EXTENSIONS: dict[Effect, str] = {
    Effect.WRITES: """
        pg_truncate_visibility_map pg_prewarm autoprewarm_dump_now autoprewarm_start_worker
        pg_wait_sampling_reset_profile pgfadvise pgfadvise_dontneed pgfadvise_loader pgfadvise_willneed
        pg_set_next_oid pg_set_next_xid set_cluster_readonly unset_cluster_readonly
        create_distributed_table create_reference_table undistribute_table alter_distributed_table
        rebalance_table_shards replicate_table_shards start_metadata_sync_to_node
        start_metadata_sync_to_all_nodes stop_metadata_sync_to_node isolate_tenant_to_new_shard
        isolate_tenant_to_node create_distributed_function update_distributed_table_colocation
        truncate_local_data_after_distributing_table remove_local_tables_from_metadata
        master_activate_node master_add_inactive_node master_add_node master_add_secondary_node
        master_append_table_to_shard master_copy_shard_placement master_create_empty_shard
        master_disable_node master_drain_node master_drop_all_shards master_drop_sequences
        master_move_shard_placement master_remove_node master_set_node_property master_update_node
        alter_columnar_table_set alter_table_set_access_method
        add_job alter_job delete_job run_job create_hypertable create_distributed_hypertable
        drop_chunks move_chunk reorder_chunk compress_chunk decompress_chunk recompress_chunk
        add_dimension set_chunk_time_interval set_number_partitions set_integer_now_func
        add_compression_policy add_continuous_aggregate_policy add_columnstore_policy
        add_reorder_policy add_retention_policy remove_compression_policy
        remove_continuous_aggregate_policy remove_columnstore_policy remove_reorder_policy
        remove_retention_policy attach_tablespace detach_tablespace detach_tablespaces
        add_data_node attach_data_node delete_data_node detach_data_node
        timescaledb_pre_restore timescaledb_post_restore
        create_parent create_sub_parent run_maintenance partition_data_id partition_data_time
        partition_gap_fill drop_partition_id drop_partition_time undo_partition
        partition_table_concurrently
        create_graph drop_graph alter_graph create_vlabel create_elabel drop_label create_complete_graph
        """,
    Effect.SIGNALS: "pg_logfile_rotate pg_signal_process",
    Effect.LOCKS: """
        bt_index_parent_check lock_relation_if_exists lock_shard_metadata lock_shard_resources
        """,
    Effect.FILES: """
        pg_logdir_ls sys_eval sys_exec sys_bineval sys_fileread rds_file_util
        get_raw_page pg_get_logical_snapshot_info pg_get_logical_snapshot_meta
        pg_get_wal_fpi_info load_labels_from_file load_edges_from_file
        pg_bulkload install_rcmd plr_environ list_postgres_log_files read_intermediate_result
        read_intermediate_results pgpool_pgctl pgpool_recovery pgpool_remote_start
        st_setbandpath
        read_parquet read_csv read_json iceberg_scan iceberg_metadata iceberg_snapshots delta_scan
        """,
    Effect.CONNECTS: """
        http http_get http_post http_put http_patch http_delete http_head http_collect_response
        oracle_execute oracle_diag oracle_close_connections odbctableslist odbcquerysize
        jdbc_exec ogr_fdw_table_sql pg_curl_easy_perform fetch_intermediate_results
        citus_check_connection_to_node take_sample take_subsample
        ml_predict_row openai_embedding cohere_embedding
        """,
    Effect.SETTINGS: """
        set_limit set_smlar_limit isn_weak http_set_curlopt http_reset_curlopt
        set_user set_user_u reset_user set_session_auth sepgsql_setcon
        """,
    Effect.RUNS_SQL: """
        xpath_table plpgsql_call_handler schedule_in_database submit_job cypher index_advisor
        create_immv refresh_immv
        master_run_on_worker master_apply_delete_command master_modify_multiple_shards
        worker_apply_inter_shard_ddl_command worker_apply_sequence_command
        worker_apply_shard_ddl_command worker_create_or_alter_role worker_create_or_replace_object
        worker_partition_query_result worker_save_query_explain_analyze
        broadcast_intermediate_result create_intermediate_result distributed_exec
        lives_ok dies_ok throws_ok throws_like throws_ilike throws_matching throws_imatching
        performs_ok performs_within results_eq results_ne row_eq isnt_empty runtests do_tap
        set_eq set_ne set_has set_hasnt bag_eq bag_ne bag_has bag_hasnt
        """,
}
EXTENSION_PREFIXES: tuple[tuple[str, Effect], ...] = (
    ("dblink", Effect.CONNECTS),
    ("postgres_fdw_disconnect", Effect.CONNECTS),
    ("sqlite_fdw_disconnect", Effect.CONNECTS),
    ("curl_easy_perform", Effect.CONNECTS),
    ("clickhouse_raw_", Effect.CONNECTS),
    ("clickhousedb_raw_", Effect.CONNECTS),
    ("import_parquet", Effect.FILES),
    ("http_set_", Effect.SETTINGS),
    ("http_reset_", Effect.SETTINGS),
    ("pg_file_", Effect.FILES),
    ("pg_get_wal_record", Effect.FILES),
    ("pg_get_wal_block", Effect.FILES),
    ("pg_get_wal_stats", Effect.FILES),
    ("pg_buffercache_evict", Effect.WRITES),
    ("pg_buffercache_mark", Effect.WRITES),
    ("heap_force_", Effect.WRITES),
    ("citus_add_", Effect.WRITES),
    ("citus_remove_", Effect.WRITES),
    ("citus_set_", Effect.WRITES),
    ("citus_move_", Effect.WRITES),
    ("citus_rebalance_start", Effect.WRITES),
    ("citus_rebalance_stop", Effect.WRITES),
    ("citus_cleanup_", Effect.WRITES),
    ("citus_activate_", Effect.WRITES),
    ("citus_copy_", Effect.WRITES),
    ("citus_create_", Effect.WRITES),
    ("citus_disable_", Effect.WRITES),
    ("citus_drain_", Effect.WRITES),
    ("citus_drop_", Effect.WRITES),
    ("citus_internal", Effect.WRITES),
    ("citus_job_cancel", Effect.WRITES),
    ("citus_pause_", Effect.LOCKS),
    ("citus_schema_", Effect.WRITES),
    ("citus_split_", Effect.WRITES),
    ("citus_update_", Effect.WRITES),
    ("pldbg_", Effect.SIGNALS),
    ("run_command_on_", Effect.RUNS_SQL),
    ("crosstab", Effect.RUNS_SQL),
    ("connectby", Effect.RUNS_SQL),
    ("pg_background_", Effect.RUNS_SQL),
    ("pgr_", Effect.RUNS_SQL),
    ("_pgr_", Effect.RUNS_SQL),
    ("vrp_", Effect.RUNS_SQL),
    ("_vrp_", Effect.RUNS_SQL),
    ("hypopg_", Effect.SETTINGS),
)
#: of those, whose functions all take two arguments or more, so that ``t.name`` calls none (vrpRouting)
NO_ATTRIBUTE_PREFIXES = ("vrp_", "_vrp_")
#: extensions' functions refused by how they begin and end: pg_stat_statements_reset, pg_qualstats_reset_all
EXTENSION_ENDS: tuple[tuple[str, str, Effect], ...] = (
    ("pg_", "_reset", Effect.WRITES),
    ("pg_", "_reset_all", Effect.WRITES),
    ("citus_", "_reset", Effect.WRITES),
)
#: schemas that belong to extensions whose functions write, connect or run SQL throughout
EXTENSION_SCHEMAS = {
    "cron": Effect.RUNS_SQL,
    "dbms_sql": Effect.RUNS_SQL,
    "dbms_pipe": Effect.SIGNALS,
    "dbms_alert": Effect.SIGNALS,
    "dbms_lock": Effect.LOCKS,
    "dbms_job": Effect.RUNS_SQL,
    "dbms_aq": Effect.WRITES,
    "dbms_aqadm": Effect.WRITES,
    "dbms_mview": Effect.WRITES,
    "dbms_session": Effect.SETTINGS,
    "dbms_scheduler": Effect.RUNS_SQL,
    "utl_file": Effect.FILES,
    "utl_http": Effect.CONNECTS,
    "utl_mail": Effect.CONNECTS,
    "utl_smtp": Effect.CONNECTS,
    "utl_tcp": Effect.CONNECTS,
    "aws_s3": Effect.CONNECTS,
    "aws_lambda": Effect.CONNECTS,
    "aws_ml": Effect.CONNECTS,
    "aws_sagemaker": Effect.CONNECTS,
    "aws_comprehend": Effect.CONNECTS,
    "aws_bedrock": Effect.CONNECTS,
    "azure_storage": Effect.CONNECTS,
    "azure_ai": Effect.CONNECTS,
    "azure_openai": Effect.CONNECTS,
    "azure_cognitive": Effect.CONNECTS,
    "azure_ml": Effect.CONNECTS,
    "google_ml": Effect.CONNECTS,
    "ai": Effect.CONNECTS,
    "pgml": Effect.CONNECTS,
    "vectorize": Effect.CONNECTS,
    "openai": Effect.CONNECTS,
    "amqp": Effect.CONNECTS,
    "net": Effect.CONNECTS,
    "smtp_client": Effect.CONNECTS,
    "pgsmtp": Effect.CONNECTS,
    "supabase_functions": Effect.CONNECTS,
    "jobmon": Effect.CONNECTS,
    "duckdb": Effect.RUNS_SQL,
    "graphql": Effect.RUNS_SQL,
    "graphql_public": Effect.RUNS_SQL,
    "pgivm": Effect.RUNS_SQL,
    "pglater": Effect.RUNS_SQL,
    "pgtle": Effect.RUNS_SQL,
    "pgagent": Effect.RUNS_SQL,
    "parquet": Effect.FILES,
    "sqlj": Effect.FILES,
    "repmgr": Effect.SIGNALS,
    "pglogical": Effect.WRITES,
    "spock": Effect.WRITES,
    "pgactive": Effect.WRITES,
    "bdr": Effect.WRITES,
    "repack": Effect.WRITES,
    "squeeze": Effect.WRITES,
}

REFUSED_EXTENSIONS = {name: effect for effect, names in _EXTENSIONS.items() for name in names.split()}

# Volatile or restricted functions of the extensions that come with Postgres, reviewed and allowed: they look
# at pages, statistics and locks, compute, or are handlers that nobody can call with use. uuid_generate_* and
# gen_* only make random values.
_REVIEWED_EXTENSIONS = """
    bt_index_check gin_index_check verify_heapam
    brin_metapage_info brin_page_items brin_page_type brin_revmap_data bt_metap bt_multi_page_stats
    bt_page_items bt_page_stats fsm_page_contents gin_leafpage_items gin_metapage_info gin_page_opaque_info
    gist_page_items gist_page_items_bytea gist_page_opaque_info hash_bitmap_info hash_metapage_info
    hash_page_items hash_page_stats hash_page_type heap_page_item_attrs heap_page_items
    heap_tuple_infomask_flags page_checksum page_header tuple_data_split
    pg_buffercache_numa_pages pg_buffercache_pages pg_buffercache_summary pg_buffercache_usage_counts
    pg_check_frozen pg_check_visible pg_freespace pg_old_snapshot_time_mapping pg_relpages
    pg_stat_statements pg_stat_statements_info pg_visibility pg_visibility_map pg_visibility_map_summary
    pgrowlocks pgstatginindex pgstathashindex pgstatindex pgstattuple pgstattuple_approx
    gen_random_bytes gen_random_uuid gen_salt pgp_pub_encrypt pgp_pub_encrypt_bytea pgp_sym_encrypt
    pgp_sym_encrypt_bytea uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 normal_rand
    ssl_cipher ssl_client_cert_present ssl_client_dn ssl_client_dn_field ssl_client_serial
    ssl_extension_info ssl_is_used ssl_issuer_dn ssl_issuer_field ssl_version
    postgres_fdw_get_connections xslt_process
    file_fdw_handler file_fdw_validator postgres_fdw_handler postgres_fdw_validator
    plpgsql_validator plpython3_call_handler plpython3_validator
"""
REVIEWED_EXTENSIONS = frozenset(_REVIEWED_EXTENSIONS.split())
