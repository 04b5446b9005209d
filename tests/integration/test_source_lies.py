"""Sources that lie in the protocol, flood, go mute or break off: one clear code, soon, in little memory."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import time
from dataclasses import replace

import pytest
from lying_server import (
    INT8,
    TEXT,
    LyingServer,
    complete,
    data_row,
    error,
    message,
    notice,
    row_description,
    scram,
)
from source_fixtures import run, run_at, statement

from pgsched.adapters.source import connections
from pgsched.adapters.source.login import MOST_ROUNDS, LoginWatch
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.ports.execution import SourceAddress
from pgsched.domain.errors import (
    LimitExceeded,
    ProtocolBroken,
    QueryFailed,
    QueryTimeout,
    SourceFault,
    SourceRefused,
    SourceUnreachable,
)
from pgsched.domain.results import OnLimit
from pgsched.domain.runs import Failure

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


def address_at(server):
    return SourceAddress(
        host="127.0.0.1", port=server.port, dbname="d", username="u", password="a-long-secret"
    )


async def ask(sources, server, **changes):
    return await run_at(sources, address_at(server), statement("select 1", **({"timeout_ms": 300} | changes)))


def says(*messages):
    async def lie(talk):
        await talk.say(*messages)

    return lie


def floods(part):
    async def lie(talk):
        await talk.flood(part)

    return lie


async def goes_mute(talk):
    await asyncio.sleep(600)


async def breaks_off(talk):
    await talk.say(data_row(b"1"))
    talk.reset()


async def ends_within_a_message(talk):
    await talk.say(data_row(b"x" * 100)[:30])
    talk.writer.close()


async def freezes_within_a_message(talk):
    await talk.say(data_row(b"x" * 100)[:30])
    await asyncio.sleep(600)


async def claims_a_gigabyte(talk):
    await talk.say(b"D" + struct.pack("!IhI", 0x3FFFFFFF, 1, 0x3FFFFFF0))
    await talk.flood(b"x" * 65536)


TWO_COLUMNS = (row_description(TEXT, TEXT), data_row(b"1", b"2"))
NOTIFICATION = message(b"A", struct.pack("!I", 1) + b"c\0" + b"p" * 900 + b"\0")
LIES = {
    "garbage": (says(b"\xff" * 20), ProtocolBroken),
    "an unknown message": (says(message(b"y", b"hello")), ProtocolBroken),
    "a copy in": (says(message(b"G", b"\0\0\0")), ProtocolBroken),
    "a copy out": (says(message(b"H", b"\0\0\0")), ProtocolBroken),
    "a copy both": (says(message(b"W", b"\0\0\0")), ProtocolBroken),
    "fewer cells than columns": (says(data_row(), complete(b"FETCH 1")), ProtocolBroken),
    "more cells than columns": (says(data_row(b"1", b"2"), complete(b"FETCH 1")), ProtocolBroken),
    "other columns": (says(*TWO_COLUMNS, complete(b"FETCH 1")), ProtocolBroken),
    "fewer rows than it counts": (says(data_row(b"1"), complete(b"FETCH 2")), ProtocolBroken),
    "more rows than it counts": (says(data_row(b"1"), data_row(b"1"), complete(b"FETCH 1")), ProtocolBroken),
    "no end": (says(data_row(b"1")), ProtocolBroken),
    "an empty statement": (says(message(b"I")), ProtocolBroken),
    "a suspended portal": (says(data_row(b"1"), message(b"s")), ProtocolBroken),
    "a login": (says(message(b"R", struct.pack("!I", 3))), ProtocolBroken),
    "a length below the least": (says(b"D" + struct.pack("!I", 2)), ProtocolBroken),
    "text that is not UTF-8": (says(data_row(b"\xff\xfe"), complete(b"FETCH 1")), QueryFailed),
    "an error without a code": (says(message(b"E", b"Mno code\0\0")), QueryFailed),
    "a break": (breaks_off, SourceUnreachable),
    "an end within a message": (ends_within_a_message, SourceUnreachable),
    "silence": (goes_mute, QueryTimeout),
    "silence within a message": (freezes_within_a_message, QueryTimeout),
    "endless rows": (floods(data_row(b"x" * 100)), ProtocolBroken),
    "endless notices": (floods(notice(b"x" * 100)), SourceFault),
    "endless notifications": (floods(NOTIFICATION), SourceFault),
    "a value of a gigabyte": (claims_a_gigabyte, LimitExceeded),
}  # fmt: skip


@pytest.mark.parametrize("name", ["garbage", "more rows than it counts", "a break", "a value of a gigabyte"])
async def test_a_lie_in_place_of_a_sample_is_one_clear_error(sources, name):
    lie, expected = LIES[name]
    async with LyingServer(fetch=lie) as server:
        with pytest.raises(expected):
            await ask(sources, server, on_limit=OnLimit.SAMPLE, timeout_ms=5000)


@pytest.mark.parametrize(("lie", "expected"), LIES.values(), ids=LIES.keys())
async def test_a_lie_in_place_of_rows_is_one_clear_error(sources, lie, expected):
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with LyingServer(fetch=lie) as server:
        with pytest.raises(expected) as caught:
            await ask(sources, server, timeout_ms=300 if expected is QueryTimeout else 5000)
    assert time.monotonic() - began < 10
    assert caught.value.detail
    # kilobytes: twice what may arrive before rows are complete, since libpq's buffer doubles
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    if expected is ProtocolBroken:
        # what lies does not mend itself
        failure = Failure.of(caught.value)
        assert (failure.code, failure.passing) == ("source_protocol", False)


@pytest.mark.parametrize("name", ["garbage", "a copy in", "silence", "a break", "endless notices"])
async def test_a_lie_in_place_of_the_columns_is_one_clear_error(sources, name):
    lie, expected = LIES[name]
    async with LyingServer(declare=lie) as server:
        with pytest.raises(expected):
            await ask(sources, server)


async def ever_more_settings(talk):
    number = 0
    while True:
        await talk.say(b"".join(message(b"S", b"p%d\0v\0" % each) for each in range(number, number + 500)))
        number += 500


async def ever_more_settings_among_rows(talk):
    number = 0
    while True:
        await talk.say(b"".join(message(b"S", b"p%d\0v\0" % each) for each in range(number, number + 1000)))
        await talk.say(data_row(b"1") * 60)
        number += 1000


@pytest.mark.parametrize("place", ["login", "declare", "fetch", "among rows"])
async def test_ever_more_settings_do_not_keep_a_worker_busy(sources, place):
    """libpq looks each of them up among all before."""
    lie = {"fetch": ever_more_settings_among_rows} if place == "among rows" else {place: ever_more_settings}
    began = time.thread_time()
    async with LyingServer(**lie) as server:
        with pytest.raises(ProtocolBroken):
            await ask(sources, server, timeout_ms=20_000)
    assert time.thread_time() - began < 5


async def says_much_about_a_begin(talk):
    await talk.say(*[notice(b"x" * 9_000)] * 200)


async def test_much_in_answer_to_a_statement_of_ours_is_one_clear_error(sources):
    async with LyingServer(begin=says_much_about_a_begin) as server:
        with pytest.raises(ProtocolBroken, match="in answer to a statement of pgsched"):
            await ask(sources, server, timeout_ms=5000)


async def test_a_catalog_that_lies_about_a_type_is_one_clear_error(sources):
    async with LyingServer(columns=(4711,)) as server:
        with pytest.raises(ProtocolBroken):
            await ask(sources, server)


async def test_a_look_at_a_source_that_lies_says_so(sources):
    async with LyingServer() as server:
        report = await sources.inspect(address_at(server))
    assert (report.ok, report.error_code) == (False, "source_protocol")


async def flood_of_settings(talk):
    number = 0
    await talk.say(message(b"R", struct.pack("!I", 0)))
    while True:
        number += 1
        await talk.say(message(b"S", b"p%d\0" % number + b"v" * 900 + b"\0"))


LOGINS = {
    "garbage": (says(b"\xff" * 20), ProtocolBroken),
    "another protocol": (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ProtocolBroken),
    "silence": (goes_mute, SourceUnreachable),
    "a break": (breaks_off, SourceFault),
    "endless settings": (flood_of_settings, ProtocolBroken),
    "an endless error": (floods(error(b"x" * 1000)), SourceFault),
}


@pytest.mark.parametrize(("lie", "expected"), LOGINS.values(), ids=LOGINS.keys())
async def test_a_lie_at_the_login_is_one_clear_error(sources, lie, expected, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 1.0)
    async with LyingServer(login=lie) as server:
        with pytest.raises(expected):
            await ask(sources, server)


async def test_a_long_error_is_cut(sources):
    async with LyingServer(fetch=says(error(b"x" * 20_000_000, code=b"22000"))) as server:
        with pytest.raises(QueryFailed) as caught:
            await ask(sources, server)
    assert len(caught.value.detail) < 20_000


JSON, FLOAT8, BOOL, INTEGERS = 114, 701, 16, 1016
#: an unterminated string that was read to its end from each of its quotes, a float that grows to 300 MB …
VALUES = {
    "a number that is none": (INT8, b"abc"),
    "a number with a key": (INT8, b'1,"x":2'),
    "a number with a row": (INT8, b'1},{"c0":2'),
    "a float of 300 million digits": (FLOAT8, b"1e+300000000"),
    "a float that is none": (FLOAT8, b"1e+x"),
    "a boolean that is none": (BOOL, b"maybe"),
    "an array in 50,000 others": (INTEGERS, b"{" * 50_000 + b"1" + b"}" * 50_000),
    "a string without an end": (JSON, b'"' + b'\\"' * 80_000 + b"0" * 19),
}


@pytest.mark.parametrize(("oid", "value"), VALUES.values(), ids=VALUES.keys())
async def test_a_value_that_lies_is_no_part_of_a_document(sources, source_db, oid, value):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with LyingServer(fetch=says(data_row(value), complete(b"FETCH 1")), columns=(oid,)) as server:
        began = time.monotonic()
        with pytest.raises(ProtocolBroken) as caught:
            await ask(sources, server, timeout_ms=5000)
        assert time.monotonic() - began < 3
    assert "'c0'" in caught.value.detail
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert (await run(sources, source_db, "select 1 as a")).data == [{"a": 1}]


POSITIONS = {"6,000 digits": b"9" * 6000, "other digits": "٣٣".encode(), "before the text": b"1"}


@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS.keys())
async def test_an_odd_position_of_an_error_is_none(sources, position):
    odd = message(b"E", b"SERROR\0C42601\0Mwrong\0P" + position + b"\0\0")
    async with LyingServer(declare=says(odd)) as server:
        with pytest.raises(QueryFailed) as caught:
            await ask(sources, server, timeout_ms=5000)
    assert caught.value.position is None


PLANS = {
    "no row": (),
    "nothing": (data_row(b""),),
    "no JSON": (data_row(b"x"),),
    "too deep": (data_row(b"[" * 100_000),),
    "no plan": (data_row(b"[{}]"),),
    "two": (data_row(b'[{"Plan":{"Total Cost":1}},{"Plan":{"Total Cost":1}}]'),),
    "a word": (data_row(b'[{"Plan":{"Total Cost":"a"}}]'),),
    "no number": (data_row(b'[{"Plan":{"Total Cost":NaN}}]'),),
    "too large a number": (data_row(b'[{"Plan":{"Total Cost":1e999}}]'),),
}


@pytest.mark.parametrize("rows", PLANS.values(), ids=PLANS.keys())
async def test_an_odd_answer_about_the_cost_is_one_clear_error(sources, rows):
    async with LyingServer(explain=says(*rows, complete(b"EXPLAIN"))) as server:
        with pytest.raises(ProtocolBroken):
            await ask(sources, server, timeout_ms=5000, max_cost=10)


@pytest.mark.parametrize("number", [b"9" * 6000, b"x", b"-"])
async def test_a_catalog_whose_numbers_are_none_is_one_clear_error(sources, number):
    row = data_row(number, b"-1", b"a type", b"", b"", b"")
    async with LyingServer(columns=(4711,), types=says(row, complete(b"SELECT 1"))) as server:
        with pytest.raises(ProtocolBroken):
            await ask(sources, server, timeout_ms=5000)


async def test_a_large_value_keeps_nobody_waiting(sources, source_db):
    """Numbers of 19 digits are looked at one by one, which takes seconds for millions of them."""
    many = "select json_agg(1234567890123456789 + g) as a from generate_series(1, 300000) g"
    large = asyncio.create_task(run(sources, source_db, many, max_bytes=64 << 20))
    longest, last = 0.0, time.monotonic()
    while not large.done():
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert len((await large).data[0]["a"]) == 300_000
    assert longest < 0.3


SECRET = b"it is a-long-secret"
SPILLED = {
    "a message": error(SECRET, code=b"22012"),
    "a detail": message(b"E", b"SERROR\0C22012\0Mwrong\0D" + SECRET + b"\0\0"),
    "a last message": error(SECRET, code=b"57P01", severity=b"FATAL"),
    "a code": error(b"wrong", code=SECRET),
}


@pytest.mark.parametrize("spilled", SPILLED.values(), ids=SPILLED.keys())
async def test_no_message_after_the_login_holds_the_password(sources, spilled):
    async with LyingServer(fetch=says(spilled)) as server:
        with pytest.raises(SourceFault) as caught:
            await ask(sources, server, timeout_ms=5000)
    failure = Failure.of(caught.value)
    assert "a-long-secret" not in f"{failure} {caught.value}"
    async with LyingServer(look=says(spilled)) as server:
        assert "a-long-secret" not in f"{await sources.inspect(address_at(server))}"


async def test_a_password_that_is_the_role_s_name_hides_no_reason(sources):
    refusal = error(b'role "u" is not permitted to log in', code=b"28000", severity=b"FATAL")
    async with LyingServer(login=says(refusal)) as server:
        report = await sources.inspect(replace(address_at(server), password="u"))
    assert "is not permitted to log in" in report.error_detail


async def test_others_are_served_while_one_floods(sources, source_db):
    async with LyingServer(fetch=floods(notice(b"x" * 100))) as server:
        flooded = asyncio.create_task(ask(sources, server, timeout_ms=2000))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        assert (await run(sources, source_db, "select 1 as a")).data == [{"a": 1}]
        assert time.monotonic() - began < 2
        with pytest.raises(SourceFault):
            await flooded


@pytest.mark.parametrize("rounds", [MOST_ROUNDS + 1, 2**31 - 1, 10**30])
async def test_no_login_keeps_a_worker_busy_with_hashing(sources, rounds):
    async with LyingServer(login=scram(rounds)) as server:
        began = time.monotonic()
        with pytest.raises(ProtocolBroken) as caught:
            await ask(sources, server)
    assert time.monotonic() - began < 2
    assert "hashing" in caught.value.detail


async def test_a_usual_number_of_rounds_is_hashed(sources):
    async with LyingServer(login=scram(20_000)) as server:
        with pytest.raises(SourceFault) as caught:
            await ask(sources, server)
    assert caught.value.sqlstate == "28P01"


SASL = message(b"R", struct.pack("!I", 10) + b"X\0\0")


@pytest.mark.parametrize("before", [b"", b"N", message(b"v", struct.pack("!II", 0, 0)), SASL])
async def test_a_login_is_looked_at_behind_whatever_comes_first(before):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(before + message(b"R", struct.pack("!I", 11) + b"r=a,s=b,i=999999999"))
        with pytest.raises(ProtocolBroken):
            await LoginWatch(asks_for_tls=before == b"N").let_through(ours.fileno())


async def test_a_value_too_large_to_be_held_is_refused_and_says_so(source_db):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sources = PsycopgSources()
    with pytest.raises(LimitExceeded) as caught:
        await run(sources, source_db, "select 1 as a, repeat('x', 150000000) as b")
    assert "value is held whole" in caught.value.detail
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert (await run(sources, source_db, "select 1 as a")).data == [{"a": 1}]
    await sources.close()


async def test_a_query_that_raises_notices_without_end_is_not_slowed_by_them(source_db, sources):
    source_db.execute(
        "create function chatty() returns int language plpgsql as $$ begin"
        " for i in 1..20000 loop raise notice '%', repeat('x', 5000); end loop; return 1; end $$"
    )
    outcome = await run(sources, source_db, "select chatty() as a", timeout_ms=10_000)
    assert outcome.data == [{"a": 1}]


async def test_messages_that_cannot_be_silenced_are_blamed_and_not_a_value(source_db, sources):
    source_db.execute(
        "create function talker() returns int language plpgsql as $$ begin"
        " for i in 1..20000 loop raise info '%', repeat('x', 5000); end loop; return 1; end $$"
    )
    with pytest.raises(LimitExceeded) as caught:
        await run(sources, source_db, "select talker() as a", max_bytes=1000)
    assert "most of them messages" in caught.value.detail
    assert "max_bytes" not in caught.value.detail


async def test_text_in_another_encoding_says_how_to_read_it(pg_server):
    name = f"ascii_{id(object())}"
    pg_server.execute(
        f"create database {name} encoding sql_ascii template template0 lc_collate 'C' lc_ctype 'C'"
    )
    sources = PsycopgSources()
    try:
        pg_server.execute(
            r"create table t as select E'caf\xe9' as a; grant select on t to reader", dbname=name
        )
        address = SourceAddress(
            host=pg_server.host, port=pg_server.port, dbname=name, username="reader",
            password=pg_server.reader_password,
        )  # fmt: skip
        with pytest.raises(QueryFailed) as caught:
            await run_at(sources, address, statement("select a from t"))
        assert caught.value.sqlstate == "22021"
        way_out = caught.value.detail.partition("say which: ")[2].splitlines()[0]
        outcome = await run_at(
            sources, address, statement(f"select {way_out.replace('column', 'a')} as a from t")
        )
        assert outcome.data == [{"a": "café"}]
    finally:
        await sources.close()
        pg_server.drop(name)


WORDS = {
    "28P01": ("Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen", SourceRefused),
    "28000": ("kein pg_hba.conf-Eintrag für Host »::1«", SourceRefused),
    "3D000": ("la base de données « d » n'existe pas", SourceRefused),
    "42501": ('データベース"d"へのアクセスが拒否されました', SourceRefused),
    "53300": ("извините, уже слишком много клиентов", SourceUnreachable),
    "57P01": ("terminando la conexión debido a una orden del administrador", SourceUnreachable),
    "57P03": ("das Datenbanksystem startet", SourceUnreachable),
}


@pytest.mark.parametrize("sqlstate", WORDS)
async def test_a_refused_login_is_told_by_its_sqlstate_in_any_language(sources, sqlstate):
    words, expected = WORDS[sqlstate]
    refusal = error(words.encode(), code=sqlstate.encode(), severity="ВАЖНО".encode())
    async with LyingServer(login=says(refusal)) as server:
        with pytest.raises(expected) as caught:
            await ask(sources, server)
    assert caught.value.sqlstate == sqlstate
    assert words in caught.value.detail
    assert sqlstate not in caught.value.detail
