"""Secrets that can be told apart, put into every input: found in no log, metric, output or error."""

from __future__ import annotations

import base64
import secrets

import httpx
import pytest
from processes import ended_run, eventually, installation


def canary(what: str) -> str:
    return f"canary-{what}-{secrets.token_hex(8)}"


@pytest.fixture
def place(database, source_db, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        yield place


def test_no_secret_leaves_by_log_metric_output_or_error(place, database, source_db):
    pepper = secrets.token_bytes(32)
    place.environment["ARGON2_SECRET_KEY_B64"] = base64.b64encode(pepper).decode()
    private = (place.folder / "private").read_text().strip()
    hidden = {
        "metadata password": database.url.partition("://")[2].partition("@")[0].partition(":")[2],
        "source password": source_db.password,
        "private key": private,
        "pepper": place.environment["ARGON2_SECRET_KEY_B64"],
        **{what: canary(what) for what in ("account", "dsn", "wrong", "sealed", "bearer", "cookie", "login")},
        **{what: canary(what) for what in ("query", "typed", "json")},
    }
    assert all(len(secret) > 7 for secret in hidden.values())
    said: list[str] = []

    def run(*arguments: str, answers: str | None = None, **settings: str) -> None:
        done = place.run(*arguments, answers=answers, **settings)
        said.extend((done.stdout, done.stderr))

    worker = place.worker()
    _, url = place.api(REDACT_KEYS="password,token,authorization,secret")
    account = ["--email", "a@x.de", "--name", "A", "--roles", "admin"]
    run("users", "add", *account, "--password", hidden["account"])
    run("users", "add", *account, "--password", hidden["account"])  # taken
    run("users", "add", "--email", "b@x.de", "--name", "B", answers=f"{hidden['typed']}\nother\n")
    # settings that are wrong, and databases that refuse
    for dsn in (
        f"postgresql://u:{hidden['dsn']}@127.0.0.1:1/d",
        f"postgresql://u:{hidden['dsn']}@/d?nonsense=1",
        f"host=127.0.0.1 port=1 password={hidden['dsn']} user=u dbname=d",
        f"postgresql://pgsched:{hidden['dsn']}@{source_db.host}:{source_db.port}/{source_db.dbname}",
    ):
        for command in (("dsn", "list"), ("db", "current"), ("doctor",), ("status",)):
            run(*command, PG_DSN_APP=dsn)
    run("api", ARGON2_SECRET_KEY_B64=hidden["wrong"])
    run("keys", "check", APP_PRIVATE_KEY_B64_PATH=str(place.folder / "public"))
    # sources that cannot be used, by a wrong password and by a wrong place
    for name, more in (("wrong", {}), ("nowhere", {"port": "1"}), ("bad host", {"host": "/tmp"})):
        given = {"name": name, "host": source_db.host, "port": str(source_db.port)}
        given |= {"dbname": source_db.dbname, "username": source_db.username, "password": hidden["sealed"]}
        run("dsn", "add", *(part for key, value in (given | more).items() for part in (f"--{key}", value)))
    run("dsn", "test", "wrong", "--json")
    # statements that fail at the source, and at the guard
    for name, sql in (
        ("fails", "select 1 / 0"),
        ("casts", "select 'x'::int"),
        ("guarded", f"select dblink('host=x password={hidden['query']}', 'select 1')"),
    ):
        run("queries", "add", "--name", name, "--sql", sql, "--data-source", "shop", "--disabled")
    for name, source in (("fails", "shop"), ("refused", "wrong")):
        if source == "wrong":
            run("queries", "add", "--name", name, "--sql", "select 1", "--data-source", source, "--disabled")
        run("queries", "run", name, "--wait", "--json")
    # what a client sends
    with httpx.Client(base_url=url) as client:
        said += [
            client.get("/api/queries", headers={"Authorization": f"Bearer {hidden['bearer']}"}).text,
            client.get("/api/queries", headers={"Cookie": f"sid={hidden['cookie']}"}).text,
            client.get("/api/queries", params={"token": hidden["bearer"]}).text,
            client.post("/api/auth/login", json={"email": "a@x.de", "password": hidden["login"]}).text,
            client.post("/api/auth/login", json={"email": "a@x.de", "passwort": hidden["json"]}).text,
            client.post("/api/auth/login", content=f'{{"password": "{hidden["json"]}"').text,
        ]
        login = client.post("/api/auth/login", json={"email": "a@x.de", "password": hidden["account"]})
        assert login.status_code == 200
        hidden["session"] = login.cookies["sid"]
        said.append(login.text)
        made = client.post("/api/tokens", json={"name": "t"})
        assert made.status_code == 201
        hidden["token"] = made.json()["token"]
        said += [client.get(path).text for path in ("/api/tokens", "/api/users", "/api/audit", "/metrics")]
        said += [client.get(path).text for path in ("/readyz", "/api/queries", "/schema/openapi.json")]
    for command in ("dsn list", "queries list", "users list", "keys list", "keys check", "doctor", "status"):
        run(*command.split(), "--json")
    run("keys", "rotate", "--json")
    run("keys", "rotate", "--finish")
    hidden |= {
        f"private key {n}": line for n, line in enumerate((place.folder / "private").read_text().split(":"))
    }
    hidden.pop("private key 0", None)
    eventually(
        lambda: (
            "keys.reread" in place.log("worker")
            or ended_run(database, place.json("queries", "run", "fails")["id"])
        )
    )
    worker.end()
    everything = "\n".join([*said, place.everything_said()])
    found = {what for what, secret in hidden.items() if secret.strip() in everything}
    assert not found
    # who asked is told by id
    assert 'user_id="1"' in place.log("api")
    # the raw bytes of a key are no better than their base64
    assert pepper.hex() not in everything
    assert base64.b64decode(private).hex() not in everything
    # and it is the place to look: what is no secret is there
    for shown in ("a@x.de", "division by zero", "http.request", "run.failed", "pgsched_runs_total"):
        assert shown in everything


def test_reprs_show_no_secret(tmp_path):
    from pgsched.adapters.crypto.keygen import generate_pair, write_pair
    from pgsched.adapters.crypto.keyring import PrivateKeyring
    from pgsched.adapters.crypto.passwords import Argon2Passwords
    from pgsched.adapters.crypto.vault import SealedBoxVault
    from pgsched.adapters.postgres.database import Database
    from pgsched.application.ports.execution import SourceAddress
    from pgsched.config import load
    from pgsched.domain.sources import SourceBinding

    secret = canary("repr")
    pepper = base64.b64encode(secret.ljust(40).encode()).decode()
    pair = generate_pair()
    write_pair(pair, public=tmp_path / "public", private=tmp_path / "private")
    vault = SealedBoxVault.load(public=tmp_path / "public", private=tmp_path / "private")
    settings = load(
        {"PG_DSN_APP": f"postgresql://u:{secret}@h/d", "ARGON2_SECRET_KEY_B64": pepper, "HOME": "/"}, tmp_path
    )
    address = SourceAddress(host="h", port=1, dbname="d", username="u", password=secret)
    sealed = vault.seal(secret, SourceBinding(host="h", port=1, dbname="d", username="u"))
    things = [
        settings,
        pair,
        vault,
        PrivateKeyring.load(tmp_path / "private"),
        Argon2Passwords(secret.ljust(40).encode()),
        Database(f"password={secret}", application_name="x"),
        address,
        sealed,
    ]
    for thing in things:
        for shown in (repr(thing), str(thing), f"{thing}"):
            assert secret not in shown
            assert pepper not in shown
            assert repr(pair.private) not in shown
            assert repr(sealed.ciphertext) not in shown
