from __future__ import annotations

import json
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.adapters.logs.redaction import Redactor

KEYS = ("password", "new_password", "current_password", "token", "authorization", "secret")
REDACTOR = Redactor(KEYS)
SECRET = "s3cr3tV4lue"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{SECRET}@h:5432/db",
        f"postgresql+psycopg://u:a@{SECRET}@h/db",
        f"postgresql://u:a/{SECRET}@h/db?sslmode=require",
        f"redis://:{SECRET}@h",
        f"host=h password={SECRET} dbname=x",
        f"host=h password='a b {SECRET}' dbname=x",
        f"host=h password='a\\' {SECRET}' dbname=x",
        f"password=ab,{SECRET}",
        f"PGPASSWORD={SECRET}",
        f"Password: {SECRET}",
        f'{{"new_password": "{SECRET}"}}',
        f'{{"password": "a\\"{SECRET}"}}',
        f"{{'Token': '{SECRET}'}}",
        f"{{'db-password' : '{SECRET}'}}",
        f"ALTER ROLE x PASSWORD '{SECRET}'",
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}",
        f"{{'authorization': 'Basic {SECRET}'}}",
        f"[(b'authorization', b'Bearer {SECRET}')]",
        f"sent bearer {SECRET}",
        f"Cookie: a=b; sid={SECRET}; c=d",
        f"Set-Cookie: sid={SECRET}; HttpOnly",
        f"[(b'cookie', b'x=y; sid={SECRET}')]",
        f"GET /?token={SECRET}&x=1",
        f"sid={SECRET}",
        f"password => '{SECRET}'",
        json.dumps({"body": json.dumps({"password": f"a b {SECRET}", "x": 1})}),
        json.dumps([json.dumps({"a": json.dumps({"token": f"a b {SECRET}"})})]),
    ],
)
def test_secrets_in_text_are_masked(text: str) -> None:
    found = REDACTOR.text(f"before {text} after\nnext line")
    assert SECRET not in found
    assert "***" in found
    assert found.startswith("before ")
    assert found.endswith("next line")


@pytest.mark.parametrize(
    "text",
    [
        "run 7 finished in 20 ms",
        'FATAL: password authentication failed for user "ada"',
        "http://127.0.0.1:8000/api/runs/7",
        "http://127.0.0.1:8000/x?mail=ada@example.com",
        "postgresql://reader@db.example.com:5432/shop",
        "the tokens of 3 users were revoked",
        "mail to ada@example.com at 10:30",
    ],
)
def test_text_without_secrets_is_left_alone(text: str) -> None:
    assert REDACTOR.text(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "New_Password",
        "new-password",
        "dbPassword",
        "access_token",
        "Set-Cookie",
        "sid",
    ],
)
def test_keys_are_secret_by_their_end_in_any_letter_case(key: str) -> None:
    assert REDACTOR.secret(key)
    assert REDACTOR.secret(key.encode())


@pytest.mark.parametrize("key", ["passwords_checked", "token_count", "user", "", 7, None])
def test_other_keys_are_not_secret(key: object) -> None:
    assert not REDACTOR.secret(key)


nested = st.recursive(
    st.just(SECRET),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.text("abc", max_size=2), inner, min_size=1, max_size=3),
        st.tuples(inner),
    ),
    max_leaves=10,
)


@given(nested, st.sampled_from(KEYS), st.integers(0, 30))
def test_values_under_a_secret_key_are_masked_at_any_depth(value: object, key: str, depth: int) -> None:
    wrapped: object = {key.upper(): value}
    for level in range(depth):
        wrapped = {"a": wrapped} if level % 2 else [wrapped]
    assert SECRET not in repr(REDACTOR.value(wrapped))


def test_values_that_contain_themselves_end() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert "***" in repr(REDACTOR.value(loop))


def test_value_is_copied_not_changed() -> None:
    value = {"password": "x", "rows": [1, 2]}
    assert REDACTOR.value(value) == {"password": "***", "rows": [1, 2]}
    assert value == {"password": "x", "rows": [1, 2]}


@pytest.mark.parametrize(
    "piece", ["://a:", "password=", "password ", "cookie", "Bearer ", "'\\", "authorization: "]
)
def test_hostile_text_takes_no_long_time(piece: str) -> None:
    started = thread_time()
    REDACTOR.text(piece * (100_000 // len(piece)))
    # quadratic in 100,000 characters would be minutes of this thread; a busy machine does not count
    assert thread_time() - started < 10


def test_tokens_are_masked_wherever_they_stand_in_text() -> None:
    token = "pgs_" + "a1B2" * 12 + "x"
    for text in (f"got {token}", f"/api/x?q={token}&y=1", f'["{token}"]', f"X-Key:{token}"):
        masked = Redactor(()).text(text)
        assert token not in masked
        assert "pgs_***" in masked
    assert Redactor(()).text("the query pgs_orders_daily ran") == "the query pgs_orders_daily ran"
