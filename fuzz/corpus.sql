-- One statement a line: in the manner of the documentation's own examples, on the canary's tables, then what a
-- hostile author would write. Mutations start from these.
SELECT * FROM orders
SELECT id, amount * 2 AS twice, note FROM orders WHERE amount > 10 ORDER BY amount DESC LIMIT 5
SELECT DISTINCT ON (customer_id) customer_id, at, amount FROM orders ORDER BY customer_id, at DESC
SELECT c.name, sum(o.amount) AS total FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.name HAVING sum(o.amount) > 30
SELECT * FROM customers NATURAL JOIN orders
SELECT * FROM customers c LEFT JOIN orders o USING (id) WHERE o.id IS NULL
SELECT c.name, l.amount FROM customers c CROSS JOIN LATERAL (SELECT amount FROM orders o WHERE o.customer_id = c.id ORDER BY at LIMIT 2) l
SELECT * FROM (VALUES (1, 'one'), (2, 'two'), (3, 'three')) AS t (num, letter)
VALUES (1, 'one'), (2, 'two'), (3, 'three')
TABLE customers
(SELECT name FROM customers WHERE name LIKE 'n%') UNION (SELECT email FROM customers WHERE email LIKE '1%')
SELECT id FROM customers EXCEPT ALL SELECT customer_id FROM orders INTERSECT SELECT 3
WITH regional AS (SELECT customer_id, SUM(amount) AS total FROM orders GROUP BY customer_id), top AS (SELECT customer_id FROM regional WHERE total > (SELECT SUM(total) / 10 FROM regional)) SELECT * FROM orders WHERE customer_id IN (SELECT customer_id FROM top)
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 100) SELECT sum(n) FROM t
WITH RECURSIVE search_tree(id, customer_id, depth) AS (SELECT id, customer_id, 1 FROM orders WHERE id = 1 UNION ALL SELECT o.id, o.customer_id, depth + 1 FROM orders o, search_tree s WHERE o.id = s.customer_id AND depth < 5) SEARCH DEPTH FIRST BY id SET ordercol SELECT * FROM search_tree ORDER BY ordercol
WITH RECURSIVE g(id, link) AS (SELECT id, customer_id FROM orders UNION ALL SELECT o.id, o.customer_id FROM orders o, g WHERE o.id = g.link) CYCLE id SET is_cycle USING path SELECT * FROM g LIMIT 10
WITH w AS NOT MATERIALIZED (SELECT * FROM orders) SELECT * FROM w AS w1 JOIN w AS w2 ON w1.id = w2.customer_id WHERE w2.id = 12
SELECT id, amount, avg(amount) OVER (PARTITION BY customer_id) FROM orders
SELECT id, rank() OVER (PARTITION BY customer_id ORDER BY amount DESC), sum(amount) OVER w FROM orders WINDOW w AS (ORDER BY at ROWS BETWEEN 3 PRECEDING AND CURRENT ROW EXCLUDE TIES)
SELECT first_value(amount) OVER (ORDER BY at), lag(amount, 1, 0.0) OVER (ORDER BY at), ntile(4) OVER (ORDER BY id), percent_rank() OVER (ORDER BY id) FROM orders
SELECT customer_id, date_trunc('day', at) AS d, count(*) FROM orders GROUP BY GROUPING SETS ((customer_id), (d), ())
SELECT customer_id, GROUPING(customer_id), sum(amount) FROM orders GROUP BY ROLLUP (customer_id, id % 3), CUBE (id % 2)
SELECT count(*) AS unfiltered, count(*) FILTER (WHERE amount < 5) AS filtered FROM orders
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount), mode() WITHIN GROUP (ORDER BY customer_id) FROM orders
SELECT array_agg(id ORDER BY amount DESC), string_agg(id::text, ',' ORDER BY id), jsonb_object_agg(id, amount), bool_and(amount > 0), corr(id, amount) FROM orders
SELECT customer_id, array(SELECT id FROM orders i WHERE i.customer_id = o.customer_id) FROM orders o
SELECT * FROM orders WHERE amount = ANY (ARRAY[1.5, 3.0]) OR (id, customer_id) IN (SELECT id, id FROM customers)
SELECT * FROM orders TABLESAMPLE BERNOULLI (50) REPEATABLE (7)
SELECT * FROM orders TABLESAMPLE SYSTEM (100)
SELECT * FROM ROWS FROM (generate_series(1, 3), json_each_text('{"a":"foo","b":"bar"}')) WITH ORDINALITY AS x (p, q, s, n)
SELECT * FROM generate_series('2026-03-01 00:00'::timestamp, '2026-03-04 12:00', '10 hours')
SELECT * FROM unnest(ARRAY[1, 2], ARRAY['foo', 'bar', 'baz']) AS x(a, b)
SELECT * FROM json_to_recordset('[{"a":1,"b":"foo"},{"a":"2","c":"bar"}]') AS x(a int, b text)
SELECT jt.* FROM orders, JSON_TABLE(doc, '$' COLUMNS (id FOR ORDINALITY, a int PATH '$.a', NESTED PATH '$.b[*]' COLUMNS (b int PATH '$'))) AS jt
SELECT JSON_QUERY(doc, '$.b' WITH WRAPPER), JSON_VALUE(doc, '$.a' RETURNING int DEFAULT 0 ON ERROR), JSON_EXISTS(doc, '$.b ? (@ > 1)') FROM orders
SELECT json_object('a': 1, 'b': amount ABSENT ON NULL), json_array(1, true, NULL NULL ON NULL), json_arrayagg(id ORDER BY id RETURNING jsonb) FROM orders GROUP BY amount
SELECT doc -> 'b' -> 0, doc ->> 'a', doc #>> '{b,1}', doc @> '{"a": 1}', doc ? 'a', doc - 'a', doc || '{"c": 3}', jsonb_path_query_array(doc, '$.b[*] ? (@ > 2)') FROM orders
SELECT jsonb_set(doc, '{b,0}', '9'), jsonb_pretty(doc), jsonb_strip_nulls(doc), jsonb_typeof(doc) FROM orders
SELECT xmltable.* FROM orders, XMLTABLE('/r' PASSING note COLUMNS a int PATH 'a', n FOR ORDINALITY)
SELECT xpath('/r/a/text()', note), xmlelement(name foo, xmlattributes(id AS n), 'cont', 'ent'), xmlforest(id, amount), xmlserialize(content note AS text), xmlagg(note) OVER () FROM orders
SELECT xml_is_well_formed('<a>'), xmlconcat('<a/>', '<b/>'), note IS DOCUMENT, xmlexists('//a' PASSING BY VALUE note) FROM orders
SELECT tags[1], tags[1:2], array_length(tags, 1), array_position(tags, '3'), tags || ARRAY['z'], array_to_string(tags, ','), cardinality(tags), tags @> ARRAY['a'] FROM customers
SELECT ARRAY[[1, 2], [3, 4]], (ARRAY[1, 2, 3])[2], ARRAY[1] || 2, '{1,2,3}'::int[] && '{3}'
SELECT int4range(10, 20) * int4range(15, 25), isempty(numrange(1, 5)), lower_inf(span), span -|- '[1,5)', multirange(span) FROM orders
SELECT to_tsvector('english', name) @@ to_tsquery('english', 'name & 3'), ts_rank(search, plainto_tsquery('order')), ts_headline('english', name, to_tsquery('name')) FROM customers, orders LIMIT 3
SELECT ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery), setweight(search, 'A'), numnode('a & b'::tsquery), ts_lexize('english_stem', 'stars') FROM orders LIMIT 1
SELECT CASE WHEN id = 1 THEN 'one' WHEN id = 2 THEN 'two' ELSE 'other' END, CASE customer_id WHEN 1 THEN 'a' END, COALESCE(note::text, 'none'), NULLIF(id, 3), GREATEST(id, 5), LEAST(1, 2, 3) FROM orders
SELECT EXTRACT(CENTURY FROM TIMESTAMP '2000-12-16 12:21:13'), date_part('day', now()), age(at), date_trunc('hour', at, 'Australia/Sydney'), date_bin('15 minutes', at, '2001-01-01'), at AT TIME ZONE 'Asia/Tokyo', make_date(2013, 7, 15), justify_interval(interval '1 mon -1 hour') FROM orders
SELECT CURRENT_TIME, CURRENT_DATE, CURRENT_TIMESTAMP(2), LOCALTIMESTAMP, now(), timeofday(), clock_timestamp(), transaction_timestamp()
SELECT (DATE '2001-02-16', DATE '2001-12-21') OVERLAPS (DATE '2001-10-30', DATE '2002-10-30')
SELECT 'Thomas' ~ 't.*ma', 'abc' SIMILAR TO '%(b|d)%', 'abc' LIKE '_b_' ESCAPE '!', regexp_replace('foobarbaz', 'b(..)', 'X\1Y', 'g'), regexp_matches('foobarbequebaz', '(bar)(beque)'), substring('foobar' from 'o(.)b'), regexp_split_to_table('the quick', '\s+')
SELECT format('INSERT INTO %I VALUES(%L)', 'locations', 'C:\Program Files'), quote_literal(E'O\'Reilly'), quote_ident('Foo bar'), concat_ws(',', 'abcde', 2, NULL, 22), overlay('Txxxxas' placing 'hom' from 2 for 4), trim(both 'x' from 'xTomxx'), position('om' in 'Thomas'), translate('12345', '143', 'ax')
SELECT convert_from('\x7465', 'UTF8'), encode('\x1234', 'base64'), sha256('canary'), get_byte('\x1234', 0), md5('x'), normalize(U&'\0061\0308bc', NFC), initcap('hi THOMAS'), to_hex(255), chr(65), reverse('abc')
SELECT E'caf\u00e9', U&'d\0061t\+000061', U&'d!0061t' UESCAPE '!', $$Dianne's horse$$, $q$[\t\r\n\v\\]$q$, B'1001', X'1FF', 1_500, 0x1F, 'a' 'b'
SELECT point(1, 2) <-> point(3, 4), box '((0,0),(1,1))' && box '((0,0),(2,2))', area(box '((0,0),(1,1))'), place <@ circle '((0,0),5)' FROM orders
SELECT inet '192.168.1/24' >>= inet '192.168.1.5', host(inet '10.1.2.3/8'), masklen('192.168.1.5/24'), macaddr '08:00:2b:01:02:03' & '00:00:00:ff:ff:ff'
SELECT pg_typeof(33), pg_column_size(doc), col_description('orders'::regclass, 1), format_type(23, null), to_regclass('orders'), pg_get_viewdef('order_totals'::regclass), pg_get_indexdef('orders_at'::regclass), obj_description('orders'::regclass) FROM orders LIMIT 1
SELECT current_database(), current_user, session_user, current_schema, current_schemas(true), version(), pg_backend_pid(), inet_server_port(), pg_postmaster_start_time(), current_setting('work_mem'), has_table_privilege('orders', 'select'), pg_table_is_visible('orders'::regclass)
SELECT pg_size_pretty(pg_total_relation_size('orders')), pg_relation_filepath('orders'), pg_database_size(current_database()), pg_tablespace_size('pg_default')
SELECT pg_current_snapshot(), pg_current_xact_id_if_assigned(), pg_visible_in_snapshot('3'::xid8, pg_current_snapshot()), txid_current_if_assigned(), age('3'::xid)
SELECT datname, numbackends, xact_commit FROM pg_stat_database
SELECT relname, n_live_tup, pg_stat_get_live_tuples(relid) FROM pg_stat_user_tables
SELECT * FROM information_schema.columns WHERE table_name = 'orders'
SELECT name, setting FROM pg_settings WHERE name LIKE 'work%'
SELECT pid, state, query FROM pg_stat_activity WHERE pg_blocking_pids(pid) <> '{}'
SELECT locktype, mode FROM pg_locks
SELECT * FROM pg_sequences
SELECT last_value FROM canary_seq
SELECT lo_get(4242), encode(data, 'escape') FROM pg_largeobject
SELECT (o).id, (o.doc).a FROM orders o
SELECT o.*, ROW(o.*), (SELECT o) FROM orders o WHERE ROW(o.id, 2) < ROW(3, o.customer_id)
SELECT o.id IS DISTINCT FROM 3, o.amount BETWEEN SYMMETRIC 10 AND 1, o.note IS NULL, (o.id > 3) IS NOT TRUE, NOT (o.id = 1 AND o.id = 2 OR o.id = 3) FROM orders o
SELECT 3 OPERATOR(pg_catalog.+) 4, 2 ^ 3, |/ 25.0, @ -5.0, 91 & 15, ~1, 1 << 4, 17 # 5, 5 % 4, -2 + -3
SELECT id FROM orders ORDER BY amount USING <, name COLLATE "C" NULLS FIRST FETCH FIRST 3 ROWS WITH TIES
SELECT shout(name), pg_sleep(0.001), random(), setseed(0.5), gen_random_uuid() FROM customers LIMIT 1
SELECT 1 FROM orders FOR READ ONLY
SELECT a.attname FROM pg_attribute a, pg_class c WHERE a.attrelid = c.oid AND c.relname = 'orders' AND attnum > 0
SELECT exists (SELECT FROM orders), (SELECT max(id) FROM orders), ARRAY(SELECT id FROM customers LIMIT 2), 1 = ALL (SELECT 1), 2 > SOME (VALUES (1), (3))
SELECT sneak()
SELECT nextval('canary_seq')
SELECT setval('canary_seq', 99), currval('canary_seq')
SELECT ('canary_seq'::regclass).nextval
SELECT s.nextval FROM (SELECT 'canary_seq'::regclass AS s) x
SELECT f.nextval FROM cast('canary_seq' AS regclass) AS f
SELECT lo_create(0), lo_put(4242, 0, 'x'), lo_unlink(4242), lo_import('/etc/passwd'), lo_export(4242, '/tmp/canary-stolen')
SELECT query_to_xml('delete from orders returning *', true, true, ''), table_to_xml('orders', true, true, ''), database_to_xml(true, true, '')
SELECT ts_rewrite('a'::tsquery, 'select ''a''::tsquery, lo_create(0)::text::tsquery')
SELECT * FROM ts_stat('select search from orders where nextval(''canary_seq'') > 0')
SELECT set_config('default_transaction_read_only', 'off', false), set_config('statement_timeout', '0', false), set_config('transaction_read_only', 'off', true)
SELECT pg_notify('canary', 'x'), pg_advisory_lock(1), pg_try_advisory_lock_shared(2), pg_advisory_unlock_all()
SELECT pg_terminate_backend(pid), pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'
SELECT txid_current(), pg_current_xact_id()
SELECT pg_export_snapshot(), pg_logical_emit_message(true, 'a', 'b'), pg_switch_wal(), pg_create_restore_point('x')
SELECT pg_stat_reset(), pg_stat_reset_shared('bgwriter'), pg_stat_reset_slru('Xact'), pg_reload_conf(), pg_rotate_logfile()
SELECT pg_create_physical_replication_slot('x'), pg_replication_origin_create('x'), pg_import_system_collations('public')
SELECT pg_read_file('PG_VERSION'), pg_ls_dir('.'), pg_stat_file('PG_VERSION'), pg_read_binary_file('PG_VERSION')
SELECT brin_summarize_new_values('orders_at'), gin_clean_pending_list('orders_search'), pg_nextoid('pg_class', 'oid', 'pg_class_oid_index')
SELECT * FROM pg_hba_file_rules, pg_file_settings
SELECT * INTO stolen FROM orders
SELECT * FROM orders FOR UPDATE
WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone
WITH a AS (SELECT 1), b AS (WITH c AS (UPDATE orders SET amount = 0 RETURNING *) SELECT * FROM c) SELECT * FROM b
WITH m AS (MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE RETURNING o.id) SELECT * FROM m
COMMIT; DELETE FROM orders
SELECT 1; DROP TABLE orders
INSERT INTO orders (id) VALUES (999)
UPDATE orders SET amount = 0
DELETE FROM orders
TRUNCATE orders
CREATE TABLE stolen AS SELECT * FROM orders
DO $$ BEGIN DELETE FROM orders; END $$
COPY orders TO PROGRAM 'id'
COPY (SELECT 1) TO '/tmp/canary-stolen'
EXPLAIN ANALYZE DELETE FROM orders
SET statement_timeout = 0
BEGIN READ WRITE
LOCK TABLE orders
NOTIFY canary, 'x'
CALL sneak()
DECLARE c CURSOR WITH HOLD FOR DELETE FROM orders
FETCH ALL FROM pgsched
MOVE 1 IN pgsched
CLOSE pgsched
