"""What stands in deploy/: each file linted, and nginx and PgBouncer run for real around pgsched."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from processes import ended_run, eventually, free_port, installation
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tools import environment, environment_of, program, running

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def listens(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", timeout=1)
    except httpx.ConnectError:
        return False
    except httpx.HTTPError:
        pass
    return True


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_verifies_and_leaves_little_exposed(unit, tmp_path):
    analyze = program("systemd-analyze")
    # a program that is there stands for the one that an installation has
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/pgsched/bin/pgsched", shutil.which("true")))
    env = environment_of(analyze)
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr, done.stderr
    command = [analyze, "security", "--offline=true", "--threshold=20", copy]
    exposed = subprocess.run(command, capture_output=True, text=True, env=env)
    assert exposed.returncode == 0, exposed.stdout


def test_units_start_commands_that_there_are():
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=\S+/pgsched (.*)$", unit.read_text(), re.MULTILINE)
        assert understood(line.split())


def test_compose_file_starts_commands_that_there_are():
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "migrate", "api", "worker"}
    for name in ("migrate", "api", "worker"):
        service = services[name]
        assert understood(service["command"])
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    for waiting in ("api", "worker"):
        assert services[waiting]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_manifests_hold_one_api_and_one_worker_deployment():
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes/pgsched.yaml").read_text()))
    kinds = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert kinds == [
        ("ConfigMap", "pgsched"),
        ("Deployment", "pgsched-api"),
        ("Deployment", "pgsched-worker"),
        ("Service", "pgsched"),
    ]
    config, api, worker, service = documents
    from pgsched.config import SETTINGS

    assert set(config["data"]) <= {setting.variable for setting in SETTINGS}
    for deployment in (api, worker):
        pod = deployment["spec"]["template"]
        labels = deployment["spec"]["selector"]["matchLabels"]
        assert labels.items() <= pod["metadata"]["labels"].items()
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert "limits" in container["resources"]
            if "args" in container:
                assert understood(container["args"])
    assert service["spec"]["selector"].items() <= api["spec"]["template"]["metadata"]["labels"].items()
    (port,) = api["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]


def test_image_is_built_in_two_stages_and_runs_as_nobody():
    text = (DEPLOY / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    assert len(stages) == 2
    last = lines[lines.index(stages[1]) :]
    users = [line for line in last if line.startswith("USER ")]
    assert users == ["USER 10001:10001"]
    # nothing is fetched in the second stage, nor at the start
    assert not any(re.search(r"\b(pip|apt-get|curl|wget)\b", line) for line in last)
    (entry,) = (line for line in last if line.startswith("ENTRYPOINT "))
    assert yaml.safe_load(entry.removeprefix("ENTRYPOINT ")) == ["pgsched"]
    (command,) = (line for line in last if line.startswith("CMD "))
    assert understood(yaml.safe_load(command.removeprefix("CMD ")))
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for path in source.split():
            assert (DEPLOY.parent / path).exists(), path
            assert f"!{path}" in (DEPLOY.parent / ".dockerignore").read_text()


def understood(arguments: list[str]) -> bool:
    """Whether the command line knows a command with these arguments; it is not run."""
    import click

    from pgsched.entrypoints.cli.main import root

    context = click.Context(root)
    command: click.Command = root
    rest = list(arguments)
    while isinstance(command, click.Group):
        found = command.get_command(context, rest.pop(0))
        assert found is not None
        command = found
    command.make_context(command.name, rest)
    return True


@pytest.fixture
def place(database, source_db, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        yield place


def test_nginx_stands_in_front(place, database, tmp_path):
    """The example with its names, ports and certificates replaced; TLS, forwarded headers and all."""
    place.add_query("one", "select 1 as one")
    place.worker()
    run = ended_run(database, place.json("queries", "run", "one")["id"])
    _, url = place.api(ALLOWED_HOSTS="pgsched.example.com")
    plain, secure = free_port(), free_port()
    openssl = [
        program("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=x",
    ]
    openssl += ["-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/cert.pem"]
    subprocess.run(openssl, check=True, capture_output=True, env=environment())
    text = (DEPLOY / "nginx/pgsched.conf").read_text()
    for old, new in (
        ("127.0.0.1:8000", url.removeprefix("http://")),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{secure} ssl"),
        ("/etc/ssl/certs/pgsched.example.com.pem", f"{tmp_path}/cert.pem"),
        ("/etc/ssl/private/pgsched.example.com.key", f"{tmp_path}/key.pem"),
    ):
        assert old in text
        text = text.replace(old, new)
    temporary = "\n".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log stderr;"
        f" {'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{text} }}\n"
    )
    command = [program("nginx"), "-p", tmp_path, "-e", "stderr", "-c", tmp_path / "nginx.conf"]
    check = subprocess.run([*map(str, command), "-t"], capture_output=True, text=True, env=environment())
    assert check.returncode == 0, check.stderr
    with running(command, tmp_path / "nginx.log"):
        eventually(lambda: listens(plain))
        host = {"Host": "pgsched.example.com"}
        moved = httpx.get(f"http://127.0.0.1:{plain}/api/queries", headers=host)
        assert (moved.status_code, moved.headers["location"]) == (
            301,
            "https://pgsched.example.com/api/queries",
        )
        with httpx.Client(base_url=f"https://127.0.0.1:{secure}", verify=False, headers=host) as client:
            latest = client.get("/api/queries/one/runs/latest", headers={"X-Forwarded-For": "6.6.6.6"})
            assert latest.json()["id"] == run["id"]
            again = client.get(
                "/api/queries/one/runs/latest", headers={"If-None-Match": latest.headers["etag"]}
            )
            assert again.status_code == 304
            assert client.get("/metrics").status_code == 200
            # the address that counts is the one nginx saw, not the one the client made up
            eventually(lambda: 'path="/api/queries/one/runs/latest"' in place.log("api"))
            assert "6.6.6.6" not in place.log("api")
            place.run(
                "users",
                "add",
                "--email",
                "a@x.de",
                "--name",
                "A",
                "--password",
                "long enough",
                "--roles",
                "admin",
            )
            login = client.post("/api/auth/login", json={"email": "a@x.de", "password": "long enough"})
            assert login.status_code == 200
            # https is known through X-Forwarded-Proto
            assert "secure" in login.headers["set-cookie"].lower()
        strange = httpx.get(f"https://127.0.0.1:{secure}/api/queries", verify=False, headers={"Host": "evil"})
        assert strange.status_code == 400


def test_pgbouncer_stands_between(place, database, tmp_path):
    """The example with its addresses replaced, in transaction mode: workers, API and commands through it."""
    options = conninfo_to_dict(database.conninfo)
    # each backend begins with them, and any may be next
    for setting in ("datestyle = 'German'", "intervalstyle = 'iso_8601'", "timezone = 'Asia/Tokyo'"):
        database.server.execute(f"alter role {options['user']} in database {options['dbname']} set {setting}")
    port = free_port()
    tmp_path.chmod(0o755)
    folder = Path("/tmp") / f"pgsched-bouncer-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        text = (DEPLOY / "pgbouncer/pgbouncer.ini").read_text()
        for old, new in (
            (
                "pgsched = host=127.0.0.1 port=5432 dbname=pgsched",
                f"pgsched = host={options['host']} port={options['port']} dbname={options['dbname']}",
            ),
            ("listen_port = 6432", f"listen_port = {port}"),
            ("/etc/pgbouncer/userlist.txt", f"{folder}/userlist.txt"),
        ):
            assert old in text
            text = text.replace(old, new)
        parsed = configparser.ConfigParser()
        parsed.read_string(text)
        assert parsed["pgbouncer"]["pool_mode"] == "transaction"
        (folder / "pgbouncer.ini").write_text(text)
        (folder / "userlist.txt").write_text(f'"{options["user"]}" "{options["password"]}"\n')
        # it refuses to run as root
        who = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
        with running([program("pgbouncer"), folder / "pgbouncer.ini"], tmp_path / "pgbouncer.log", **who):
            dsn = make_conninfo(
                host="127.0.0.1",
                port=port,
                dbname="pgsched",
                user=options["user"],
                password=options["password"],
            )

            def reachable() -> bool:
                try:
                    psycopg.connect(dsn, connect_timeout=2).close()
                except psycopg.OperationalError:
                    return False
                return True

            eventually(reachable)
            place.environment["PG_DSN_APP"] = dsn
            assert place.run("db", "upgrade").returncode == 0
            place.add_query("ticks", "select n from generate_series(1, 50) as n", schedule_expr="PT1S")
            big = "select n, repeat('x', 1000) as x from generate_series(1, 9000) as n"
            place.add_query("big", big, max_bytes="20000000")
            workers = [place.worker(), place.worker()]
            assert place.log("worker").count("worker.leases_alone") == 2
            done = "select count(*) from query_run where status = 'success'"
            eventually(lambda: database.execute(done)[0][0] >= 8)
            run = ended_run(database, place.json("queries", "run", "big")["id"])
            assert (run["status"], run["rows_returned"]) == ("success", 9000), run
            _, url = place.api()
            for _ in range(20):
                latest = httpx.get(f"{url}/api/queries/ticks/runs/latest")
                assert (latest.status_code, len(latest.json()["result"]["data"])) == (200, 50)
            assert httpx.get(f"{url}/readyz").json()["workers"] == 2
            assert httpx.get(f"{url}/metrics").status_code == 200
            assert database.execute("select bool_or(session_lock) from worker") == [(False,)]
            for worker in workers:
                assert worker.end() == 0
            assert database.execute(
                "select count(*) from query_run where status = 'error' or attempt > 1"
            ) == [(0,)]
            said = place.everything_said()
            assert "prepared statement" not in said
            assert "Traceback" not in said
    finally:
        shutil.rmtree(folder)
