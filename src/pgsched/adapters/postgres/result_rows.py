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

_CHUNK: Final = """
select data from query_run_chunk where run_id = %(run_id)s and token = %(token)s and seq = %(seq)s"""

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
    condition = None if stored.rows is None else row_filters.shown(stored.rows, parameters)
    chunks = await reader.ask(_CHUNKS, parameters)
    if not chunks:
        raise NotFound("result of run", stored.run.id)
    if chunks[0]["seq"] is None:
        end = None if limit is None else min(offset + limit, _INT64 - 1)
        parameters |= {"offset": min(offset, _INT64 - 1), "end": end}
        for row in await reader.ask(row_filters.document_rows(condition or "true"), parameters):
            yield row["data"]
        return
    statement = _CHUNK if condition is None else row_filters.chunk_rows(condition)
    left = limit
    for chunk in chunks:
        if left is not None and left <= 0:
            return
        count = chunk["row_count"]
        if condition is None and offset >= count:
            # How many rows it has is kept beside it: it need not be read to be passed over.
            offset -= count
            continue
        rows = await reader.ask(statement, {**parameters, "token": chunk["token"], "seq": chunk["seq"]})
        if not rows:
            raise NotFound("result of run", stored.run.id)
        data: bytes = rows[0]["data"]
        if condition is None and not offset and (left is None or left >= count):
            yield data
            left = None if left is None else left - count
            continue
        shown = _array.decode(data)
        part = shown[offset : None if left is None else offset + left]
        offset = max(0, offset - len(shown))
        if part:
            left = None if left is None else left - len(part)
            yield b"[%b]" % b",".join(part)
