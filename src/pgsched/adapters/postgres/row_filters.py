"""Row filters applied by the database: jsonb compares as ``domain/row_filters`` says, and keeps digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgsched.domain.audience import RowFilter
from pgsched.domain.row_filters import filter_json


def shown(filters: Sequence[RowFilter], parameters: dict[str, Any]) -> str:
    """Return the condition for showing a row object ``e.item``; its values go into ``parameters``."""
    any_of = []
    for number, wanted in enumerate(filters):
        all_of = ["true"]
        for place, (column, values) in enumerate(wanted.items()):
            name, listed = f"column_{number}_{place}", f"values_{number}_{place}"
            parameters[name] = column
            parameters[listed] = [filter_json(value) for value in values]
            all_of.append(f"e.item -> %({name})s::text = any(%({listed})s::text[]::jsonb[])")
        any_of.append(f"({' and '.join(all_of)})")
    return f"({' or '.join(any_of) or 'false'})"


def count(condition: str) -> str:
    """Return the statement that counts the rows shown of each of the runs ``%(run_ids)s``."""
    return f"""
        select b.run_id, case b.format
            when 'jsonb' then (
                select count(*) from jsonb_array_elements(b.df_json -> 'data') e (item) where {condition})
            else (
                select count(*) from query_run_chunk c cross join jsonb_array_elements(c.data) e (item)
                where c.run_id = b.run_id and c.token = r.token and {condition})
            end as shown
        from query_run_blob b join query_run r on r.id = b.run_id
        where b.run_id = any(%(run_ids)s::bigint[])"""


def document(condition: str) -> str:
    """Return the statement for the format and the document of a run, of its rows those shown."""
    return f"""
        select b.format, case b.format when 'jsonb' then jsonb_set(b.df_json, '{{data}}', coalesce((
                select jsonb_agg(e.item order by e.place)
                from jsonb_array_elements(b.df_json -> 'data') with ordinality e (item, place)
                where {condition}), '[]')) else b.df_json end as df_json
        from query_run_blob b where b.run_id = %(run_id)s"""


def chunks(condition: str) -> str:
    """Return the statement for the chunks of a run, of their rows those shown; empty chunks are left out."""
    return f"""
        select jsonb_agg(e.item order by e.place) as data
        from query_run_chunk c join query_run r on r.id = c.run_id and r.token = c.token
            cross join jsonb_array_elements(c.data) with ordinality e (item, place)
        where c.run_id = %(run_id)s and {condition}
        group by c.seq order by c.seq"""
