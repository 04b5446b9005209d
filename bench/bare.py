"""The limit for GET latest: uvicorn, set as pgsched sets it, answering the same bytes and doing nothing else.

``python -m bench.bare PORT FILE`` answers every request with what the file holds; one that has an
If-None-Match with 304.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def app_for(body: bytes) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that knows two answers."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    tag = [(b"etag", b'"1"')]

    async def app(scope: Any, _receive: object, send: Send) -> None:
        if any(name == b"if-none-match" for name, _ in scope["headers"]):
            await send({"type": "http.response.start", "status": 304, "headers": tag})
            await send({"type": "http.response.body", "body": b""})
            return
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
