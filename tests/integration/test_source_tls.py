"""Encrypted connections: who is verified, with what, and that a cancel request travels the same way."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from lying_server import Talk, scram
from postgres_fixtures import fresh_source, throwaway
from source_fixtures import address_of, run_at, statement
from tools import environment, program

from pgsched.adapters.source import connections
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.ports.execution import SourceAddress
from pgsched.domain.errors import SourceRefused, SourceUnreachable, SourceUntrusted
from pgsched.domain.runs import Failure

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


async def test_a_login_behind_tls_that_hashes_for_long_keeps_nobody_else_waiting(tmp_path, monkeypatch):
    cert, key = certificate(tmp_path, "rogue")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 1.0)
    asked = asyncio.Event()

    async def talk(reader, writer):
        await reader.readexactly(8)
        writer.write(b"S")
        await writer.start_tls(context)
        rogue = Talk(reader, writer)
        await rogue.startup()
        asked.set()
        # some seconds, not hours: the processor is needed
        await scram(8_000_000)(rogue)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sources = PsycopgSources()
    address = SourceAddress(
        host="127.0.0.1", port=port, dbname="d", username="u", password="p", sslmode="require"
    )
    login = asyncio.create_task(run_at(sources, address, statement("select 1")))
    await asked.wait()
    turns = 0
    while not login.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(SourceUnreachable):
        await login
    # the loop went on while libpq hashed, and the login was given up at its deadline
    assert turns > 8
    assert any(thread.name == "pgsched-login" for thread in threading.enumerate())
    server.close()
    await sources.close()
