"""Accounts, sessions and tokens for tests over HTTP, as logins and admins would have left them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import httpx
import psycopg
from http_fixtures import PEPPER, served, services_over
from postgres_fixtures import Database

from pgsched.adapters.crypto.passwords import Argon2Passwords
from pgsched.domain.sessions import sid_hash
from pgsched.domain.tokens import token_hash, token_text

#: everybody's password
PASSWORD = "correct-horse-7"


@lru_cache(maxsize=1)
def hashed() -> str:
    """The hash of everybody's password, worked out once."""
    return Argon2Passwords(base64.b64decode(PEPPER)).hash(PASSWORD)


@dataclass(frozen=True, kw_only=True)
class People:
    """Makes people in a database that a server at some URL serves."""

    conninfo: str
    url: str
    clients: list[httpx.Client] = field(default_factory=list)

    def account(self, name: str, *roles: str, active: bool = True) -> int:
        """An account ``name@example.com`` with everybody's password; its id."""
        [(account_id,)] = self.sql(
            "insert into user_account (email, name, password_hash, is_active) values (%s, %s, %s, %s)"
            " returning id",
            [f"{name}@example.com", name.title(), hashed(), active],
        )
        for role in roles or ("viewer",):
            self.sql("insert into user_role (user_id, role) values (%s, %s)", [account_id, role])
        return account_id

    def sid(self, account_id: int, **changes: str) -> str:
        """A session of an account, as its cookie's value; ``changes`` are SQL expressions by column."""
        sid = secrets.token_urlsafe(32)
        values = {"expires_at": "clock_timestamp() + '1 hour'"} | changes
        self.sql(
            f"insert into user_session (id, user_id, {', '.join(values)})"
            f" values (%s, %s, {', '.join(values.values())})",
            [sid_hash(sid), account_id],
        )
        return sid

    def token(self, account_id: int, queries: list[int] | None = None, **changes: str) -> str:
        """A token of an account, as text; ``changes`` are SQL expressions by column."""
        text = token_text(secrets.token_bytes(32))
        columns = "".join(f", {name}" for name in changes)
        values = "".join(f", {value}" for value in changes.values())
        self.sql(
            f"insert into api_token (user_id, name, token_hash, queries{columns})"
            f" values (%s, 'made', %s, %s{values})",
            [account_id, token_hash(text), queries],
        )
        return text

    def client(
        self, *, sid: str | None = None, token: str | None = None, **headers: str | bytes
    ) -> httpx.Client:
        """A client that shows a cookie, a token, or nothing."""
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            shown["Authorization"] = f"Bearer {token}"
        if sid is not None:
            shown["Cookie"] = f"sid={sid}"
        client = httpx.Client(base_url=self.url, headers=shown, timeout=30)
        self.clients.append(client)
        return client

    def session(self, account_id: int, **headers: str) -> httpx.Client:
        """A client that is logged in as an account."""
        return self.client(sid=self.sid(account_id), **headers)

    def login(self, name: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
        """Log in, as a fresh browser or program does."""
        return self.client(**headers).post(
            "/api/auth/login", json={"email": f"{name}@example.com", "password": password}
        )

    def sql(self, statement: str, values: list[object] | None = None) -> list[tuple]:
        """Run a statement as the application's role."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Close every client."""
        for client in self.clients:
            client.close()


@contextmanager
def people_over(database: Database, **settings: object) -> Iterator[People]:
    """People, and a server over a database; ``settings`` as ``services_over`` takes them."""
    with served(lambda: services_over(database.conninfo, **settings)) as url:
        people = People(conninfo=database.conninfo, url=url)
        try:
            yield people
        finally:
            people.close()


def code(answer: httpx.Response) -> tuple[int, str | None]:
    """The status of an answer, and the code of its problem."""
    if answer.headers.get("content-type") != "application/problem+json":
        return answer.status_code, None
    return answer.status_code, answer.json()["code"]
