"""The limit for GET latest: uvicorn, set as pgsched sets it, answering the same bytes and doing nothing else.

``python -m bench.bare PORT FILE`` answers every request with what the file holds.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def app_for(body: bytes) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that knows one answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def app(_scope: object, _receive: object, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


if __name__ == "__main__":
    uvicorn.run(
        app_for(Path(sys.argv[2]).read_bytes()),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
