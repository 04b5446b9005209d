"""Makes an account with a session and a token; prints ``{"email", "password", "sid", "token"}``."""

from __future__ import annotations

import asyncio
import json
import secrets

from pgsched.domain.accounts import NewAccount
from pgsched.domain.audit import Actor
from pgsched.entrypoints.container import Container, opened


async def main() -> None:
    """Make them and print."""
    email, password = f"{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(16)
    by = Actor(name="bench", ip="192.0.2.1")
    async with opened(Container()) as container:
        new = NewAccount(email=email, name="Bench", roles=("viewer",))
        account = await container.add_account()(new, password, by)
        login = await container.log_in()(
            email, password, by, user_agent=None, instead_of=container.authenticate().nobody()
        )
        token = await container.add_token()(account, "bench", by)
    print(json.dumps({"email": email, "password": password, "sid": login.sid, "token": token.text}))


if __name__ == "__main__":
    asyncio.run(main())
