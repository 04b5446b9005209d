"""Bodies: what is refused, with which words, and that absent is not null."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from pgsched.domain.errors import InvalidInput
from pgsched.entrypoints.http import bodies


class Shape(msgspec.Struct, kw_only=True):
    name: str
    size: int | UnsetType | None = UNSET
    items: list[int | str] | UnsetType = UNSET


def test_absent_null_and_given_are_told_apart() -> None:
    assert bodies.decode(b'{"name":"a"}', Shape).size is UNSET
    assert bodies.decode(b'{"name":"a","size":null}', Shape).size is None
    assert bodies.decode(b'{"name":"a","size":7}', Shape).size == 7


def test_every_fault_is_told_at_once_with_its_field() -> None:
    with pytest.raises(InvalidInput) as caught:
        bodies.decode(b'{"size":"7","items":[1,2.5],"is_admin":true}', Shape)
    assert {fault.field: fault.message for fault in caught.value.faults} == {
        "is_admin": "is not a field of this",
        "name": "is required",
        "size": "expected int | null, got str",
        "items[1]": "expected int | str, got float",
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"null", "must be a JSON object"),
        (b'["name"]', "must be a JSON object"),
        (b'{"name":"a"} {}', "not JSON"),
        (b"{'name':'a'}", "not JSON"),
        (b'\xef\xbb\xbf{"name":"a"}', "not JSON"),
        (b'{"name":"\xff"}', "not UTF-8 (byte 10)"),
        ('{"name":"a"}'.encode("utf-16-le"), "not JSON"),
        (b'{"name":"a","name":"b"}', "name: is there more than once"),
        (b'{"name":"a","items":[{"x":1,"x":2}]}', "x: is there more than once"),
        (b'{"name":"a\\u0000b"}', "name: holds the character NUL"),
        (b'{"name":"\\ud83d"}', "name: holds half a surrogate pair"),
        (b'{"name":"a","\\udc00":1}', "half a surrogate pair"),
        (b'{"name":"a","items":["\\udfff"]}', "items[0]: holds half"),
        (b'{"name":"a","size":9223372036854775808}', "beyond 64 bits"),
        (b'{"name":"a","size":' + b"9" * 500_000 + b"}", "beyond 64 bits"),
        (b'{"name":"a","size":1e999}', "out of range"),
        (b'{"name":"a","size":NaN}', "NaN is no number of JSON"),
        (b'{"name":"a","size":-Infinity}', "-Infinity is no number of JSON"),
        (b'{"name":"a","size":true}', "expected int | null, got bool"),
        (b"[" * 500_000, "deeper than 32"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "deeper than 32"),
    ],
)
def test_body_is_refused_with_what_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        bodies.decode(body, Shape)
    assert said in caught.value.detail
    assert len(caught.value.detail) < 300


def test_brackets_in_texts_and_beside_each_other_are_not_depth() -> None:
    assert bodies.decode(b'{"name":"' + b"[{" * 100 + b'\\"[["}', Shape).name.startswith("[{[{")
    with pytest.raises(InvalidInput, match="items"):
        bodies.decode(b'{"name":"a","items":[' + b",".join([b"[]"] * 100) + b"]}", Shape)


def test_emoji_as_a_surrogate_pair_is_a_character() -> None:
    assert bodies.decode(b'{"name":"\\ud83d\\ude00"}', Shape).name == "😀"


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,0123eE+-.\\untrf ', max_size=40).map(str.encode))
def test_whatever_comes_is_a_shape_or_invalid(body: bytes) -> None:
    with suppress(InvalidInput):
        assert isinstance(bodies.decode(body, Shape), Shape)
