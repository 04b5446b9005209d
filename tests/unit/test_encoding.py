"""Postgres's text forms, written as JSON."""

from __future__ import annotations

import contextlib
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsched.adapters.source.arrays import encode_arrays
from pgsched.adapters.source.checks import Malformed
from pgsched.adapters.source.encoding import ColumnWriter, RowEncoder
from pgsched.adapters.source.json_values import NoRoom, Room, float_json, integer_json, json_fragments
from pgsched.adapters.source.timestamps import UtcClock, plain_timestamp, text_in_utc
from pgsched.domain.errors import ProtocolBroken, QueryFailed
from pgsched.domain.results import LARGEST_BESIDE_NULL, ColumnType, Kind, built_in_type

texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


def column(kind: Kind, **changes: object) -> ColumnType:
    return ColumnType(oid=0, name="", kind=kind, **changes)


def written(kind: Kind, values: list[bytes | None], **changes: object) -> list[object]:
    before, fragments, after = ColumnWriter(column(kind, **changes)).write(values)
    return [json.loads(before + fragment + after) for fragment in fragments]


@given(st.lists(st.none() | texts))
def test_texts_and_nulls_come_back(values):
    sent = [None if value is None else value.encode() for value in values]
    assert written(Kind.TEXT, sent) == values


@given(st.lists(st.none() | st.floats()))
def test_floats_come_back_or_are_null(values):
    def postgres(value: float) -> bytes:
        if math.isnan(value):
            return b"NaN"
        if math.isinf(value):
            return b"Infinity" if value > 0 else b"-Infinity"
        text = repr(value).removesuffix(".0")
        return text.encode()

    expected = [None if value is None or not math.isfinite(value) else value for value in values]
    assert written(Kind.FLOAT, [None if v is None else postgres(v) for v in values]) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_json_is_never_taken_for_an_integer(value):
    text = float_json(repr(value).removesuffix(".0").encode(), Room())
    assert isinstance(json.loads(text), float)
    # what jsonb makes of it, written out, still has a fraction
    assert "." in format(Decimal(text.decode()), "f")


@given(st.integers())
def test_integers_beyond_64_bits_get_a_fraction(value):
    text = integer_json(str(value).encode())
    assert text.endswith(b".0") == (not -(2**63) <= value < 2**64)
    assert int(Decimal(text.decode())) == value


def test_a_float_of_more_digits_than_a_float8_has_is_none():
    for text in (b"1e+300000000", b"0e+300000000", b"1e+0309"):
        with pytest.raises(Malformed):
            float_json(text, Room())


def test_integers_of_many_digits_are_no_fault():
    assert integer_json(b"9" * 5000) == b"9" * 5000 + b".0"
    assert integer_json(b"-" + b"9" * 5000) == b"-" + b"9" * 5000 + b".0"


json_values = st.recursive(
    # beyond 64 bits a number is read as a double: test_integers_beyond_64_bits_get_a_fraction
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def no_nul(value: object) -> bool:
    return "\\u0000" not in json.dumps(value)


@given(st.lists(json_values.filter(no_nul), min_size=1, max_size=4), st.booleans())
def test_json_values_keep_their_value(values, ascii_only):
    fragments = json_fragments(
        [json.dumps(value, ensure_ascii=ascii_only).encode() for value in values], Room()
    )
    assert [json.loads(fragment) for fragment in fragments] == values


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        (rb'"\u0000"', False),
        (rb'{"\u0000": 1}', False),
        (rb'"\\u0000"', True),
        (rb'"\\\u0000"', False),
        (rb'"\ud83d\ude00"', True),
        (rb'"\ud83d"', False),
        (rb'"\ude00"', False),
        (rb'"\ud83dx\ude00"', False),
        (rb'"\ud83d\ud83d\ude00"', False),
        (b"1e400", True),
        (b"1e401", False),
        (b"1e-400", True),
        (b"1e-401", False),
        (b"[" + b"1e131071," * 1000 + b"1]", False),
        (b"9" * 131073, False),
        (b"0." + b"1" * 16383, True),
        (b"1e99999999999999999999", False),
        (b"0." + b"1" * 16384, False),
        (b"[" * 256 + b"]" * 256, True),
        (b"[" * 257 + b"]" * 257, False),
        (b'"' + b"[" * 1000 + b'"', True),
        (b"[" + b"[]," * 1000 + b"[]]", True),
    ],
)
def test_json_that_cannot_be_stored_is_kept_as_text(value, is_kept):
    (fragment,) = json_fragments([value], Room())
    if is_kept:
        assert json.loads(fragment) == json.loads(value)
    else:
        assert json.loads(fragment) == value.decode()


def test_json_numbers_beyond_64_bits_are_written_out():
    value = (
        rb'[18446744073709551616, 1e20, -1E+20, 1.5e3, 123456789012345678901, "1e20", "12345678901234567890"]'
    )
    assert json_fragments([value], Room()) == [
        b"[18446744073709551616.0, 100000000000000000000.0, -100000000000000000000.0, 1.5e3, "
        b'123456789012345678901.0, "1e20", "12345678901234567890"]'
    ]


nested = st.recursive(st.none() | texts, lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=8)


def array_text(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "{" + ",".join(map(array_text, value)) + "}"
    text = str(value)
    if text and text != "NULL" and text.isalnum() and text.isascii():
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.lists(nested, max_size=4), max_size=4))
def test_arrays_of_text_come_back(values):
    sent = [array_text(value).encode() for value in values]
    assert written(Kind.ARRAY, sent, element=Kind.TEXT) == values


def test_arrays_lose_their_bounds_only():
    assert written(Kind.ARRAY, [b"[2:3]={1,NULL}", b"[0:0][1:2]={{1,2}}", b"{}"], element=Kind.INTEGER) == [
        [1, None],
        [[1, 2]],
        [],
    ]
    assert written(Kind.ARRAY, [b"[0:1]={NaN,1.50}"], element=Kind.NUMERIC) == [[None, 1.5]]
    assert written(Kind.ARRAY, [b"{(1,1),(0,0);(2,2),(0,0)}"], delimiter=";") == [
        ["(1,1),(0,0)", "(2,2),(0,0)"]
    ]
    assert encode_arrays([], ",", lambda flat: [b"" for _ in flat]) == []


moments = st.datetimes(
    datetime(2, 1, 1), datetime(9998, 12, 31),
    timezones=st.timedeltas(timedelta(hours=-15), timedelta(hours=15)).map(
        lambda offset: timezone(timedelta(seconds=offset // timedelta(seconds=1)))
    ),
)  # fmt: skip


def postgres_text(moment: datetime) -> bytes:
    text = moment.replace(tzinfo=None).isoformat(" ")
    if "." in text:
        text = text.rstrip("0")
    offset = moment.utcoffset()
    if offset is not None:
        seconds = abs(int(offset.total_seconds()))
        parts = [seconds // 3600, seconds // 60 % 60, seconds % 60]
        while len(parts) > 1 and not parts[-1]:
            parts.pop()
        text += ("-" if offset < timedelta(0) else "+") + ":".join(f"{part:02d}" for part in parts)
    return text.encode()


@given(st.lists(moments))
def test_timestamps_with_time_zone_are_moved_to_utc(values):
    clock = UtcClock()
    for value in values:
        iso = value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        # the second time from memory
        for _ in range(2):
            assert clock.write(postgres_text(value)) == f"{iso}Z".encode()


@given(st.datetimes())
def test_timestamps_without_time_zone_keep_their_microseconds(value):
    iso = value.isoformat(timespec="microseconds").encode()
    assert plain_timestamp(postgres_text(value)) == iso


@pytest.mark.parametrize(
    "text", ["infinity", "-infinity", "0044-03-15 12:00:00{} BC", "10000-01-01 00:00:00{}",
             "12345-01-01 00:00:00.5{}", "294276-12-31 23:59:59.999999{}"]
)  # fmt: skip
def test_timestamps_without_an_iso_form_are_left_alone(text):
    assert plain_timestamp(text.format("").encode()) is None
    for zone in ("+00", "-05", "+05:30", "-00:01:15"):
        assert UtcClock().write(text.format(zone).encode()) is None
    assert UtcClock().write(b"9999-12-31 23:59:59-05") is None
    assert UtcClock().write(b"0001-01-01 00:00:00+05:30") is None


@pytest.mark.parametrize(
    ("text", "in_utc"),
    [
        ("infinity", "infinity"),
        ("24.11.2026 12:00:00 CET", "24.11.2026 12:00:00 CET"),
        ("0044-03-15 12:00:00+05:30 BC", "0044-03-15 06:30:00+00 BC"),
        ("10000-01-01 00:30:00.5+01", "9999-12-31T23:30:00.500000Z"),
        ("9999-12-31 23:30:00-01", "10000-01-01 00:30:00+00"),
        ("0001-01-01 00:30:00+01", "0001-12-31 23:30:00+00 BC"),
        ("0001-12-31 23:30:00-01 BC", "0001-01-01T00:30:00.000000Z"),
        ("294276-12-31 23:59:59.999999-00:01:15", "294277-01-01 00:01:14.999999+00"),
        ("4714-11-24 00:00:00.25+00 BC", "4714-11-24 00:00:00.25+00 BC"),
    ],
)
def test_moments_without_an_iso_form_are_postgres_s_text_in_utc(text, in_utc):
    assert text_in_utc(text.encode()) == in_utc.encode()


@given(
    st.lists(texts, max_size=4, unique=True),
    st.integers(0, 5),
    st.data(),
)
def test_rows_come_back_whole_and_one_by_one(names, rows, data):
    columns = [data.draw(st.lists(st.none() | texts, min_size=rows, max_size=rows)) for _ in names]
    table = list(zip(*columns, strict=True)) if names else [()] * rows
    sent = [tuple(None if value is None else value.encode() for value in row) for row in table]
    encoder = RowEncoder(names, [column(Kind.TEXT)] * len(names))
    written = json.loads(b"[%b]" % encoder.encode(sent))
    assert written == [dict(zip(names, row, strict=True)) for row in table]
    assert b",".join(encoder.encode([row]) for row in sent) == encoder.encode(sent)
    # the order of jsonb, which parses it faster
    assert all(list(row) == sorted(names, key=lambda n: (len(n.encode()), n.encode())) for row in written)


def test_integers_that_pandas_does_not_read_beside_null_are_noticed_in_any_batch():
    def described(*batches: list[tuple[bytes | None]]) -> dict[str, object]:
        encoder = RowEncoder(["n"], [ColumnType(oid=20, name="bigint", kind=Kind.INTEGER)])
        for batch in batches:
            encoder.encode(batch)
        return json.loads(encoder.table_schema())["fields"][0]

    largest = b"%d" % LARGEST_BESIDE_NULL
    assert described([(largest,), (None,)])["extDtype"] == "Int64"
    above = b"%d" % (LARGEST_BESIDE_NULL + 1)
    assert described([(above,), (None,)])["extDtype"] == "float64"
    assert described([(above,)], [(b"1",)], [(None,)])["extDtype"] == "float64"
    assert "extDtype" not in described([(above,)])


def test_what_was_learnt_of_rows_that_are_not_stored_is_forgotten():
    encoder = RowEncoder(["n"], [ColumnType(oid=20, name="bigint", kind=Kind.INTEGER)])
    encoder.encode([(b"1",)])
    before, seen = encoder.table_schema(), encoder.seen()
    encoder.encode([(b"9223372036854775807",), (None,)])
    assert encoder.table_schema() != before
    encoder.forget_since(seen)
    assert encoder.table_schema() == before


#: integers of every size, oid, numeric, floats, boolean, timestamps, json, text, and arrays of them
TYPES = [
    *(20, 21, 23, 26, 1700, 700, 701, 16, 1114, 1184, 114, 3802, 25),
    *(1016, 1007, 1231, 1022, 1000, 1115, 1185, 199, 1009),
]
#: what a cell that lies may be made of
PIECES = [
    *(b"1", b"-", b"0", b".", b"e", b"e+", b"300000000", b"9" * 20, b"NaN", b"Infinity", b"null", b"t"),
    *(b",", b"{", b"}", b"[", b"]", b'"', b"\\", b":", b"=", b" ", b"\n", b"\0", b"\\u0000", b"\\ud800"),
    *(b'1},{"b":2', b'1,"z":2', b"2026-01-01 00:00:00", b"+00", b"+99:99:99", b"\xc3\xa9", b"NULL"),
    *(b"2026-13-45 25:61:61", b"[2:3]=", b"\xff", b"x"),
]
HONEST = {1114: b"2026-01-01 00:00:00", 1184: b"2026-01-01 00:00:00.5+00", 16: b"t"}


def cells(oid: int) -> st.SearchStrategy[bytes | None]:
    is_array = built_in_type(oid, -1).kind is Kind.ARRAY
    honest = st.just(HONEST.get(oid, b"{}" if is_array else b"1"))
    lie = st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join) | st.binary(max_size=12)
    return st.none() | honest | lie


@settings(max_examples=250)
@given(st.sampled_from(TYPES), st.data())
def test_whatever_a_cell_is_the_document_has_these_rows_and_columns_or_there_is_none(oid, data):
    rows = data.draw(st.lists(st.tuples(cells(oid), st.just(b"ok")), min_size=1, max_size=4))
    encoder = RowEncoder(["a", "b"], [built_in_type(oid, -1), built_in_type(25, -1)])
    try:
        written = encoder.encode(rows)
    except ProtocolBroken:
        return
    except QueryFailed:
        # text that is not UTF-8
        assert not all((cell or b"").isascii() for cell, _ in rows)
        return
    found = json.loads(b"[%b]" % written, object_pairs_hook=list)
    assert [[key for key, _ in row] for row in found] == [["a", "b"]] * len(rows)
    assert [row[1][1] for row in found] == ["ok"] * len(rows)
    assert [row[0][1] is None for row, (sent, _) in zip(found, rows, strict=True) if sent is None].count(
        False
    ) == 0


LIES = {
    20: [b"abc", b'1},{"b":2', b'1,"z":2', b"1,2", b"01", b"1-2", b"--1", b"", b"1.5", b"9" * 20],
    21: [b"32768", b"-32769"],
    1700: [b'1,"q":3', b"1e5", b"1e999999999", b"01", b".5", b"5.", b"", b"null", b"+1", b"1 "],
    701: [
        b"1e+300000000",
        b"0e+300000000",
        b"1e400",
        b"1e+x",
        b"Infinity1",
        b"1 ",
        b"",
        b"01",
        b'1,"q":3',
        b"1.2.3,4",
    ],
    700: [b"9" * 400, b"1e+10,2", b".", b"1" * 30 + b"e+10"],
    16: [b"maybe", b"", b"true"],
    1184: [b"2024-01-01 00:00:00+99:99:99", b"2024-13-45 25:61:61+00", b'2024-01-01 00:00:0"+00'],
    1114: [b'2024-01-01 00:00:0"', b"2024-02-30 00:00:00", b'"', b"\n"],
    114: [b"", b'{"a":', b'1,"zz":5', b"1,2", b"[1", b"01", b"nul", b"1}", b"1\0", b"'a'"],
    1007: [b"{1,2", b'{1],"q":[3}', b"{1}}", b"1", b"", b"{abc}", b"{1.5}", b"{2147483648}"],
    1016: [b"{" * depth + b"1" + b"}" * depth for depth in (7, 2000, 50_000)],
    1009: [b'{"', b"{", b"{,}", b'{"a"b}', b"a", b"{a}{b}", b"{" * 7 + b"}" * 7],
    1000: [b"{t,x}"],
    1022: [b"{NaN,1e+5,x}"],
    199: [b'{"{"}'],
    1231: [b'{1"}'],
}


@pytest.mark.parametrize(("oid", "lie"), [(oid, lie) for oid, lies in LIES.items() for lie in lies])
def test_a_value_that_is_none_of_its_type_is_a_lie_and_is_not_repeated(oid, lie):
    encoder = RowEncoder(["a column"], [built_in_type(oid, -1)])
    with pytest.raises(ProtocolBroken) as caught:
        encoder.encode([(lie,)])
    fault = caught.value
    assert "'a column'" in fault.detail
    assert built_in_type(oid, -1).name in fault.detail
    assert (fault.__cause__, fault.__suppress_context__) == (None, True)
    if len(lie) > 12:
        assert lie.decode() not in fault.detail


@given(st.lists(st.datetimes(datetime(1600, 1, 1), datetime(2300, 1, 1)), min_size=1))
def test_a_column_of_timestamps_is_text_when_one_is_beyond_what_pandas_holds(values):
    encoder = RowEncoder(["a"], [built_in_type(1114, -1)])
    encoder.encode([(postgres_text(value),) for value in values])
    (field,) = json.loads(encoder.table_schema())["fields"]
    fits = (
        datetime(1677, 9, 21, 0, 12, 43, 145225)
        <= min(values)
        <= max(values)
        <= datetime(2262, 4, 11, 23, 47, 16, 854775)
    )
    assert field["type"] == ("datetime" if fits else "string")


def test_values_that_are_json_together_only_are_lies():
    for oid, lies in ((114, [b"1,2", b"[3", b"4]"]), (1007, [b"{1},{2}", b"{{3}", b"{4}}"])):
        with pytest.raises(ProtocolBroken):
            RowEncoder(["a"], [built_in_type(oid, -1)]).encode([(lie,) for lie in lies])


TRUTHS = {
    20: [b"0", b"-1", b"9223372036854775807", b"-9223372036854775808"],
    26: [b"4294967295"],
    1700: [b"-0.00", b"9" * 1000, b"1." + b"0" * 500, b"NaN"],
    701: [b"1.7976931348623157e+308", b"5e-324", b"-0", b"1e+20", b"-Infinity"],
    114: [b' {"a" : [1, null] }\n', b"1e999999", b"9" * 5000, b'"\xc3\xa9"'],
    1007: [b"{{{{{{1}}}}}}", b"[0:0]={1}", b"{}"],
    1009: [b"{{{{{{a}}}}}}"],
    199: [rb'{"{\"a\": 1}"}'],
    1114: [b"infinity", b"Tue 24 Nov 12:00:00 2026"],
    1184: [b"0044-03-15 12:00:00+00 BC", b"2026-01-01 00:00:00+05:30"],
}


@pytest.mark.parametrize("oid", TRUTHS)
def test_what_postgres_prints_is_no_lie(oid):
    encoder = RowEncoder(["a"], [built_in_type(oid, -1)])
    assert len(json.loads(b"[%b]" % encoder.encode([(value,) for value in TRUTHS[oid]]))) == len(TRUTHS[oid])


@pytest.mark.parametrize("end", [b"", b"\\", b'"'])
@pytest.mark.parametrize("oid", [114, 1009, 199])
def test_the_end_of_a_string_is_looked_for_once(oid, end):
    # Regression: from each quote, to the end of the value: 80 s for 160 kB.
    value = b'"' + b'\\"' * 200_000 + b"[" * 300 + b"0" * 19 + end
    encoder = RowEncoder(["a"], [built_in_type(oid, -1)])
    is_told = contextlib.nullcontext() if end == b'"' else pytest.raises(ProtocolBroken)
    with is_told:
        encoder.encode([(value if oid == 114 else b"{%b}" % value,)])


@pytest.mark.parametrize("text", ["\\", "\\\\", '"', '\\"', '"\\', 'a\\"b\\\\"', '\\\\\\"\\'])
def test_quotes_and_backslashes_in_an_array_come_back(text):
    assert written(Kind.ARRAY, [array_text([text]).encode()], element=Kind.TEXT) == [[text]]


@pytest.mark.parametrize(
    ("oid", "value"),
    [(701, b"1e+308"), (1022, b"{%b}" % b",".join([b"1e+308"] * 1000)), (114, b"[%b1]" % (b"1e399," * 1000))],
)
def test_numbers_are_not_written_out_beyond_the_room(oid, value):
    # Regression: 270 kB of json were written out to 3.9 GB, and cut to nothing then.
    encoder = RowEncoder(["a"], [built_in_type(oid, -1)])
    with pytest.raises(NoRoom):
        encoder.encode([(value,)] * 50, room=300)
    written = encoder.encode([(value,)])
    assert encoder.encode([(value,)], room=len(written)) == written
