"""The rows of a stored result, a chunk at a time: a page is read from the chunks that hold it alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from pgsched.adapters.postgres import row_filters
from pgsched.adapters.postgres.reading import Reader, Row
from pgsched.application.ports.views import StoredRun
from pgsched.domain.errors import NotFound

# The chunks of the claim that succeeded: what an older one was still writing when it was lost stays unseen.
_CHUNKS: Final = """
select r.token, c.seq, c.row_count
from query_run_blob b join query_run r on r.id = b.run_id
    left join query_run_chunk c on c.run_id = b.run_id and c.token = r.token
where b.run_id = %(run_id)s order by c.seq"""


def _part(before: str, count: str) -> str:
    """Return the expression for the rows asked for of a chunk ``c``: a JSON array as text, NULL without one.

    ``before`` and ``count`` say how many rows stand before the chunk and in it. To cut it takes the server
    less than to write all of it, and both sides less to carry.
    """
    return f"""case
        when c.data is null then null
        when {before} >= %(offset)s and (%(end)s::bigint is null or {before} + {count} <= %(end)s)
        then c.data::text
        else (
            select '[' || coalesce(string_agg(e.item::text, ',' order by e.place), '') || ']'
            from jsonb_array_elements(c.data) with ordinality e (item, place)
            where e.place > %(offset)s - {before}
                and (%(end)s::bigint is null or e.place <= %(end)s - {before})) end"""


# The chunks that hold some of the rows asked for, the first few with those rows: a page takes one round trip.
# How many rows a chunk has is kept beside it, so the others are not read.
_AT_ONCE: Final = 3
_PAGE: Final = f"""
with stored as (
    select b.format, r.token from query_run_blob b join query_run r on r.id = b.run_id
    where b.run_id = %(run_id)s),
chunk as (
    select c.token, c.seq, c.row_count,
        (sum(c.row_count) over (order by c.seq) - c.row_count)::bigint as before
    from query_run_chunk c
    where c.run_id = %(run_id)s and c.token = (select token from stored)),
wanted as (
    select *, row_number() over (order by seq) as place from chunk
    where before + row_count > %(offset)s and (%(end)s::bigint is null or before < %(end)s))
select s.format, w.token, w.seq, w.row_count, w.before, {_part("w.before", "w.row_count")} as data
from stored s left join wanted w on true
    left join query_run_chunk c
        on w.place <= {_AT_ONCE} and c.run_id = %(run_id)s and c.token = w.token and c.seq = w.seq
order by w.seq"""

_CHUNK: Final = f"""
select {_part("%(before)s::bigint", "%(row_count)s::bigint")} as data
from query_run_chunk c where run_id = %(run_id)s and token = %(token)s and seq = %(seq)s"""

_INT64: Final = 2**63

_array = msgspec.json.Decoder(list[msgspec.Raw])


async def stored_rows(
    reader: Reader, stored: StoredRun, *, offset: int, limit: int | None
) -> AsyncGenerator[bytes]:
    """Hand out the rows shown of a result as JSON arrays of bounded size, those of one page if asked for.

    Raises:
        NotFound: the run was deleted meanwhile.
    """
    parameters: Row = {"run_id": stored.run.id}
    end = None if limit is None else min(offset + limit, _INT64 - 1)
    offset = min(offset, _INT64 - 1)
    if stored.rows is None:
        async for piece in _all_shown(reader, stored.run.id, offset=offset, end=end):
            yield piece
        return
    condition = row_filters.shown(stored.rows, parameters)
    chunks = await reader.ask(_CHUNKS, parameters)
    if not chunks:
        raise NotFound("result of run", stored.run.id)
    if chunks[0]["seq"] is None:
        parameters |= {"offset": offset, "end": end}
        for row in await reader.ask(row_filters.document_rows(condition), parameters):
            yield row["data"]
        return
    left = limit
    for chunk in chunks:
        if left is not None and left <= 0:
            return
        found = {**parameters, "token": chunk["token"], "seq": chunk["seq"]}
        rows = await reader.ask(row_filters.chunk_rows(condition), found)
        if not rows:
            raise NotFound("result of run", stored.run.id)
        shown = _array.decode(rows[0]["data"])
        part = shown[offset : None if left is None else offset + left]
        offset = max(0, offset - len(shown))
        if part:
            left = None if left is None else left - len(part)
            yield b"[%b]" % b",".join(part)


async def _all_shown(reader: Reader, run_id: int, *, offset: int, end: int | None) -> AsyncGenerator[bytes]:
    parameters: Row = {"run_id": run_id, "offset": offset, "end": end}
    chunks = await reader.ask(_PAGE, parameters)
    if not chunks:
        raise NotFound("result of run", run_id)
    if chunks[0]["format"] == "jsonb":
        for row in await reader.ask(row_filters.document_rows("true"), parameters):
            yield row["data"]
        return
    while chunks:
        chunk = chunks.pop(0)
        if chunk["seq"] is None:
            return
        data = chunk["data"]
        if data is None:
            rows = await reader.ask(_CHUNK, {**chunk, **parameters})
            if not rows:
                raise NotFound("result of run", run_id)
            data = rows[0]["data"]
        yield data.encode()
