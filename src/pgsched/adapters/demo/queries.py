"""The demo's queries: what a shop and a database administrator would look at first."""

from __future__ import annotations

from typing import Final, NamedTuple

from pgsched.domain.schedules import ScheduleType


class DemoQuery(NamedTuple):
    """One query of the demo."""

    name: str
    title: str
    description: str
    schedule_type: ScheduleType
    schedule_expr: str
    sql: str


_INTERVAL, _CRON = ScheduleType.INTERVAL, ScheduleType.CRON

QUERIES: Final = (
    DemoQuery(
        "orders_by_hour",
        "Orders and revenue by hour",
        "The last 24 hours of the shop, the newest first.",
        _INTERVAL,
        "PT10S",
        """\
select date_trunc('hour', o.ordered_at) as hour,
       count(distinct o.id) as orders,
       sum(l.quantity * l.price) as revenue
from shop_order o join order_line l on l.order_id = o.id
where o.ordered_at >= date_trunc('hour', now()) - interval '23 hours'
group by 1
order by 1 desc""",
    ),
    DemoQuery(
        "top_products",
        "Top products",
        "What sold most in the last 24 hours.",
        _INTERVAL,
        "PT30S",
        """\
select p.name as product, sum(l.quantity) as sold, sum(l.quantity * l.price) as revenue
from order_line l
join shop_order o on o.id = l.order_id
join product p on p.id = l.product_id
where o.ordered_at >= now() - interval '24 hours'
group by p.name
order by revenue desc
limit 5""",
    ),
    DemoQuery(
        "low_stock",
        "Stock that runs low",
        "Products closest to the level at which they are ordered again.",
        _INTERVAL,
        "PT15S",
        """\
select name as product, stock, reorder_at, stock <= reorder_at as order_now,
       round(100.0 * stock / reorder_at, 1) as percent_of_level
from product
order by stock::numeric / reorder_at
limit 6""",
    ),
    DemoQuery(
        "database_size",
        "Database size",
        "How large the shop's database is.",
        _CRON,
        "* * * * *",
        """\
select current_database() as database, pg_database_size(current_database()) as bytes,
       pg_size_pretty(pg_database_size(current_database())) as size""",
    ),
    DemoQuery(
        "cache_hit_ratio",
        "Cache hit ratio",
        "How often a block was found in Postgres's own cache.",
        _INTERVAL,
        "PT30S",
        """\
select datname as database, blks_hit as hits, blks_read as reads,
       round(blks_hit::numeric / nullif(blks_hit + blks_read, 0), 4) as ratio
from pg_stat_database
where datname = current_database()""",
    ),
    DemoQuery(
        "connections_by_state",
        "Connections by state",
        "Sessions of the server; those of other roles hide their state from a plain reader.",
        _INTERVAL,
        "PT20S",
        """\
select coalesce(state, 'hidden') as state, count(*) as connections
from pg_stat_activity
where datname is not null
group by 1
order by 2 desc, 1""",
    ),
    DemoQuery(
        "biggest_tables",
        "Biggest tables",
        "Tables of the shop with their indexes, largest first.",
        _CRON,
        "* * * * *",
        """\
select relname as table, n_live_tup as rows, pg_total_relation_size(relid) as bytes,
       pg_size_pretty(pg_total_relation_size(relid)) as size
from pg_stat_user_tables
order by bytes desc
limit 5""",
    ),
)
