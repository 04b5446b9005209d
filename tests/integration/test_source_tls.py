"""Encrypted connections: who is verified, with what, and that a cancel request travels the same way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from lying_server import Talk, error, scram
from postgres_fixtures import fresh_source, throwaway
from source_fixtures import address_of, run_at, statement
from tools import environment, program

from pgsched.adapters.source import connections
from pgsched.adapters.source.libpq import MOST_ABANDONED
from pgsched.adapters.source.login import MOST_ROUNDS
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.ports.execution import SourceAddress
from pgsched.domain.errors import ProtocolBroken, SourceRefused, SourceUnreachable, SourceUntrusted
from pgsched.domain.runs import Failure

#: the request of a client that wants TLS, a version of the protocol in its place
ASKS_FOR_TLS = b"\x04\xd2\x16\x2f"
ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


def certificate(folder, name):
    """A self-signed certificate for localhost; the paths of its PEM files."""
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    subprocess.run(
        [program("openssl"), "req", "-new", "-x509", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, env=environment(),
    )  # fmt: skip
    key.chmod(0o600)
    return cert, key


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    """A source that offers TLS, its certificate, and one of somebody else."""
    with throwaway() as server:
        ((data,),) = server.execute("show data_directory")
        folder = tmp_path_factory.mktemp("certificates")
        cert, key = certificate(folder, "server")
        other, _ = certificate(folder, "other")
        for file, name in ((cert, "server.crt"), (key, "server.key")):
            shutil.copy2(file, f"{data}/{name}")
            owner = os.stat(data)
            os.chown(f"{data}/{name}", owner.st_uid, owner.st_gid)
        server.execute("alter system set ssl = on")
        server.execute("select pg_reload_conf()")
        time.sleep(0.5)
        with fresh_source(server) as source:
            yield source, cert.read_text(), other.read_text()


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


@pytest.mark.parametrize(
    ("host", "sslmode", "root", "encrypts"),
    [
        ("127.0.0.1", "disable", None, False),
        ("127.0.0.1", "prefer", None, True),
        ("127.0.0.1", "require", None, True),
        ("127.0.0.1", "verify-ca", "own", True),
        ("localhost", "verify-full", "own", True),
        ("127.0.0.1", "verify-full", "own", "for another host"),
        ("localhost", "verify-full", "other", "another authority"),
        ("localhost", "verify-full", None, "another authority"),
        ("127.0.0.1", "verify-ca", "other", "another authority"),
        ("127.0.0.1", "verify-ca", "broken", "check sslrootcert"),
    ],
)
async def test_sslmode_decides_who_is_trusted(encrypted, sources, host, sslmode, root, encrypts):
    source, own, other = encrypted
    broken = "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"
    pem = {"own": own, "other": other, "broken": broken, None: None}[root]
    address = address_of(source, host=host, sslmode=sslmode, sslrootcert=pem)
    if isinstance(encrypts, bool):
        assert (await run_at(sources, address, statement(ENCRYPTED))).data == [{"ssl": encrypts}]
        return
    with pytest.raises(SourceUntrusted) as caught:
        await run_at(sources, address, statement("select 1"))
    assert encrypts in caught.value.detail
    assert "pgsched-" not in caught.value.detail
    assert caught.value.public == "the source's server is not trusted"
    # a certificate does not mend itself
    assert not Failure.of(caught.value).passing
    report = await sources.inspect(address)
    assert (report.ok, report.error_code) == (False, "source_untrusted")


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_tls_is_not_trusted(source_db, encrypted, sources, sslmode):
    _, own, _ = encrypted
    with pytest.raises(SourceUntrusted) as caught:
        await run_at(sources, address_of(source_db, sslmode=sslmode, sslrootcert=own), statement("select 1"))
    assert "let the server offer TLS" in caught.value.detail


@pytest.fixture
def asks_for_clear_text(encrypted):
    """The server wants the password in clear for as long as the test runs."""
    source, own, _ = encrypted
    [(hba,)] = source.execute("show hba_file")
    before = Path(hba).read_text()
    Path(hba).write_text("host all reader 127.0.0.1/32 password\n" + before)
    source.execute("select pg_reload_conf()")
    time.sleep(0.5)
    yield source, own
    Path(hba).write_text(before)
    source.execute("select pg_reload_conf()")
    time.sleep(0.5)


async def test_a_password_in_clear_goes_to_a_verified_server_only(asks_for_clear_text, sources):
    source, own = asks_for_clear_text
    for host, sslmode in (("127.0.0.1", "verify-ca"), ("localhost", "verify-full")):
        verified = address_of(source, host=host, sslmode=sslmode, sslrootcert=own)
        assert (await run_at(sources, verified, statement(ENCRYPTED))).data == [{"ssl": True}]
    for sslmode in ("disable", "prefer", "require"):
        with pytest.raises(SourceRefused) as caught:
            await run_at(sources, address_of(source, sslmode=sslmode), statement("select 1"))
        assert caught.value.sqlstate == "28000"
        assert "password" in caught.value.detail


async def test_cancelling_works_over_tls(encrypted, sources):
    source, own, _ = encrypted
    address = address_of(source, host="localhost", sslmode="verify-full", sslrootcert=own)
    task = asyncio.create_task(run_at(sources, address, statement("select pg_sleep(30)")))
    busy = "select count(*) from pg_stat_activity where query like 'FETCH%' and state = 'active'"
    for _ in range(200):
        if source.execute(busy) == [(1,)]:
            break
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.3)
    assert source.execute(busy) == [(0,)]


@contextlib.asynccontextmanager
async def rogue(folder, login, *, unencrypted=None):
    """An address at which a server offers TLS, and has its own way of logging in."""
    cert, key = certificate(folder, "rogue")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    tasks = set()

    async def talk(reader, writer):
        tasks.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            talk = Talk(reader, writer)
            if (await reader.readexactly(8))[4:] == ASKS_FOR_TLS:
                writer.write(b"S")
                await writer.start_tls(context)
                await talk.startup()
                await login(talk)
            else:
                # libpq does without, where sslmode lets it
                await reader.read(4096)
                await unencrypted(talk)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield SourceAddress(
        host="127.0.0.1", port=server.sockets[0].getsockname()[1],
        dbname="d", username="u", password="a secret", sslmode="require",
    )  # fmt: skip
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("rounds", [MOST_ROUNDS + 1, 2_000_000_000])
async def test_no_login_behind_tls_keeps_a_processor_busy_with_hashing(tmp_path, sources, rounds):
    async with rogue(tmp_path, scram(rounds)) as address:
        with pytest.raises(ProtocolBroken, match="rounds of hashing"):
            await run_at(sources, address, statement("select 1"))
    assert all(thread.name != "pgsched-login" for thread in threading.enumerate())


async def refuses(talk):
    await talk.say(error(b"no", code=b"28000", severity=b"FATAL"))


async def test_a_login_that_turns_from_tls_to_none_is_looked_at_again(tmp_path, sources):
    async with rogue(tmp_path, refuses, unencrypted=scram(2_000_000_000)) as address:
        with pytest.raises(ProtocolBroken, match="rounds of hashing"):
            await run_at(sources, replace(address, sslmode="prefer"), statement("select 1"))


async def test_a_usual_number_of_rounds_behind_tls_is_hashed(tmp_path, sources):
    async with rogue(tmp_path, scram(20_000)) as address:
        with pytest.raises(SourceRefused) as caught:
            await run_at(sources, address, statement("select 1"))
    assert caught.value.sqlstate == "28P01"


async def test_logins_that_hash_for_long_keep_no_other_source_waiting(
    encrypted, tmp_path, sources, monkeypatch
):
    """Where what TLS decrypts cannot be looked at."""
    source, _, _ = encrypted
    monkeypatch.setattr(connections, "decrypted", lambda _: None)
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 1.0)
    # some seconds, not hours: the processor is needed
    async with rogue(tmp_path, scram(8_000_000)) as address:
        logins = [
            asyncio.create_task(run_at(sources, address, statement("select 1")))
            for _ in range(MOST_ABANDONED)
        ]
        turns = 0
        while not all(login.done() for login in logins):
            await asyncio.sleep(0.01)
            turns += 1
        for login in logins:
            with pytest.raises(SourceUnreachable, match="no answer"):
                await login
        # the loop went on while libpq hashed, and the logins were given up at their deadline
        assert turns > 8
        with pytest.raises(SourceUnreachable, match="still busy hashing") as caught:
            await run_at(sources, address, statement("select 1"))
        assert Failure.of(caught.value).passing
        monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 10.0)
        other = address_of(source, sslmode="require")
        assert (await run_at(sources, other, statement(ENCRYPTED))).data == [{"ssl": True}]
    for thread in threading.enumerate():
        if thread.name == "pgsched-login":
            await asyncio.to_thread(thread.join, 60)
