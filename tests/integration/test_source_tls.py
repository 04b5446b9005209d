"""Encrypted connections: who is verified, with what, and that a cancel request travels the same way."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time

import pytest
from postgres_fixtures import fresh_source, throwaway
from source_fixtures import address_of, run_at, statement

from pgsched.adapters.source.sources import PsycopgSources
from pgsched.domain.errors import SourceUnreachable

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")

ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


def certificate(folder, name):
    """A self-signed certificate for localhost; the paths of its PEM files."""
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    subprocess.run(
        ["openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
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
        ("127.0.0.1", "verify-full", "own", None),
        ("localhost", "verify-full", "other", None),
        ("localhost", "verify-full", None, None),
        ("127.0.0.1", "verify-ca", "other", None),
    ],
)
async def test_sslmode_decides_who_is_trusted(encrypted, sources, host, sslmode, root, encrypts):
    source, own, other = encrypted
    pem = {"own": own, "other": other, None: None}[root]
    address = address_of(source, host=host, sslmode=sslmode, sslrootcert=pem)
    if encrypts is None:
        with pytest.raises(SourceUnreachable) as caught:
            await run_at(sources, address, statement("select 1"))
        assert caught.value.public == "the source cannot be reached"
    else:
        assert (await run_at(sources, address, statement(ENCRYPTED))).data == [{"ssl": encrypts}]


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
