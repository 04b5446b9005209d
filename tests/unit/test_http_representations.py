"""Encodings of a body, and which of them a client is sent, or told that it has."""

from __future__ import annotations

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.entrypoints.http.representations import (
    LEAST_COMPRESSED,
    Represented,
    prefers_gzip,
    represented,
)

BODY = b'{"n": 1}' * 500
PLAIN, SMALL = b'"a-1"', b'"a-1-gzip"'


async def made(body: bytes = BODY, kind: bytes = b"application/json") -> Represented:
    headers = [
        (b"cache-control", b"private, no-cache"),
        (b"vary", b"Accept"),
        (b"etag", PLAIN),
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
    ]
    return await represented(headers, body)


async def test_each_encoding_has_its_own_tag_length_and_headers() -> None:
    answer = await made()
    assert answer.gzipped.body is not None
    assert gzip.decompress(answer.gzipped.body) == answer.plain.body == BODY
    for encoded, tag in ((answer.plain, PLAIN), (answer.gzipped, SMALL)):
        headers = dict(encoded.headers)
        assert len(headers) == len(encoded.headers)
        assert headers[b"etag"] == encoded.tag == tag
        assert headers[b"vary"] == b"Accept, Accept-Encoding"
        assert int(headers[b"content-length"]) == len(encoded.body)
        assert headers.get(b"content-encoding") == (b"gzip" if tag == SMALL else None)
        assert dict(encoded.unchanged) == {
            name: headers[name] for name in (b"cache-control", b"vary", b"etag")
        }


async def test_compression_is_the_same_bytes_each_time() -> None:
    first, second = await made(), await made()
    assert first == second


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"x" * (LEAST_COMPRESSED - 1), b"application/json"),
        (BODY, b"application/vnd.apache.parquet"),
        (random.Random(0).randbytes(2000), b"text/csv"),
    ],
    ids=["small", "packed already", "does not shrink"],
)
async def test_what_gains_nothing_is_not_compressed(body: bytes, kind: bytes) -> None:
    answer = await made(body, kind)
    assert answer.gzipped.body is None
    assert answer.chosen(b"gzip", None) == (200, answer.plain)


@pytest.mark.parametrize(
    ("header", "gzipped"),
    [
        (b"gzip", True),
        (b"GZIP", True),
        (b"gzip, deflate, br", True),
        (b"x-gzip", True),
        (b"*", True),
        (b"br;q=1.0, gzip;q=0.5", True),
        (b"gzip;q=0.5, identity;q=1", False),
        (b"gzip;q=0", False),
        (b"*;q=0", False),
        (b"gzip;q=0, *", False),
        (b"identity", False),
        (b"deflate, br", False),
        (b"gzip;q=nonsense", False),
        (b"", False),
    ],
)
async def test_accept_encoding_decides(header: bytes, gzipped: bool) -> None:
    assert prefers_gzip(header) is gzipped
    answer = await made()
    assert answer.chosen(header, None) == (200, answer.gzipped if gzipped else answer.plain)


@pytest.mark.parametrize(
    ("accept_encoding", "if_none_match", "known"),
    [
        (None, PLAIN, PLAIN),
        (None, b'W/"a-1"', PLAIN),
        (None, b'"x",W/"a-1","y"', PLAIN),
        (None, b"*", PLAIN),
        (b"gzip", b" * ", PLAIN),
        # any encoding is acceptable to who names none
        (None, SMALL, SMALL),
        (b"gzip", SMALL, SMALL),
        # what it kept before it took gzip is still good
        (b"gzip", PLAIN, PLAIN),
        (b"identity", SMALL, None),
        (b"gzip;q=0", SMALL, None),
        (None, b'"a"', None),
        (None, b"a-1", None),
        (None, b"", None),
        (None, b'"a-1', None),
        (None, b'"x,"a-1', None),
    ],
)
async def test_if_none_match_is_compared_weakly_with_what_is_acceptable(
    accept_encoding: bytes | None, if_none_match: bytes, known: bytes | None
) -> None:
    answer = await made()
    status, encoded = answer.chosen(accept_encoding, if_none_match)
    assert (status, encoded.tag) == (
        (200, PLAIN if status == 200 else b"") if known is None else (304, known)
    )


@given(st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=40))
async def test_no_header_confuses_it(accept_encoding: bytes | None, if_none_match: bytes | None) -> None:
    answer = await made()
    status, encoded = answer.chosen(accept_encoding, if_none_match)
    assert status in (200, 304)
    assert encoded in (answer.plain, answer.gzipped)
