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


def document_rows(condition: str) -> str:
    """Return the statement for the rows shown of a result in one document, from ``offset`` to ``end``."""
    return f"""
        select coalesce(jsonb_agg(shown.item order by shown.place), '[]') as data
        from (
            select e.item, row_number() over (order by e.place) as place
            from query_run_blob b
                cross join jsonb_array_elements(b.df_json -> 'data') with ordinality e (item, place)
            where b.run_id = %(run_id)s and {condition}) shown
        where shown.place > %(offset)s::bigint
            and (%(end)s::bigint is null or shown.place <= %(end)s::bigint)"""


def chunk_rows(condition: str) -> str:
    """Return the statement for the rows shown of one chunk; no row of it when the chunk is gone."""
    return f"""
        select (select coalesce(jsonb_agg(e.item order by e.place), '[]')
            from jsonb_array_elements(c.data) with ordinality e (item, place) where {condition}) as data
        from query_run_chunk c
        where c.run_id = %(run_id)s and c.token = %(token)s and c.seq = %(seq)s"""
