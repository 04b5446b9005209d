"""Every input that exists is given something to be found again: options, settings, fields, headers.

The inputs are taken from the program itself (the commands, the table of settings, the OpenAPI document), so
that a new one is tried too. What is secret by its name must be found nowhere; whatever else a caller sends
may be answered, since it is the caller's own, and must be in no log and no metric all the same.
"""

from __future__ import annotations

import base64
import itertools
import re
import secrets
from collections.abc import Iterator

import click
import httpx
import pytest
from processes import eventually, installation
from psycopg.conninfo import conninfo_to_dict

from pgsched import config
from pgsched.adapters.crypto.keygen import generate_pair, write_pair
from pgsched.config import SETTINGS
from pgsched.domain.errors import SettingFault
from pgsched.entrypoints.cli.main import root, run

#: an input that is secret by what it is called
SECRET = re.compile(r"password|secret|authorization|cookie|^sid$|enc_", re.IGNORECASE)
_numbers = itertools.count()


def canary(what: str) -> str:
    """A text that stands nowhere else."""
    return f"canary{next(_numbers)}{re.sub('[^a-z]', '', what.lower())}{secrets.token_hex(6)}"


# the command line


def commands(command: click.Command = root, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from commands(inner, (*path, name))
    else:
        yield path


def command_at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    return command


#: values under which a command gets as far as its use-case
RIGHT = {
    "host": "127.0.0.1",
    "port": "1",
    "sslmode": "prefer",
    "roles": "viewer",
    "email": "a@example.com",
    "schedule_expr": "PT1H",
    "type": "interval",
    "expr": "PT1H",
}


def values_of(parameter: click.Parameter, value: str) -> list[str]:
    if isinstance(parameter, click.Argument):
        return [value]
    return [parameter.opts[0]] if getattr(parameter, "is_flag", False) else [parameter.opts[0], value]


@pytest.fixture
def surroundings(database, tmp_path, monkeypatch):
    """A folder and an environment with a database and keys; gives the secrets that are in them."""
    pair = generate_pair()
    write_pair(pair, public=tmp_path / "public_key.base64", private=tmp_path / "private")
    hidden = {
        "dsn": conninfo_to_dict(database.conninfo)["password"],
        "pepper": base64.b64encode(canary("pepper").ljust(40).encode()).decode(),
        "private": (tmp_path / "private").read_text().strip(),
    }
    monkeypatch.chdir(tmp_path)
    for name in [setting.variable for setting in SETTINGS]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PG_DSN_APP", database.url)
    monkeypatch.setenv("APP_PRIVATE_KEY_B64_PATH", "private")
    monkeypatch.setenv("ARGON2_SECRET_KEY_B64", hidden["pepper"])
    return hidden


# services run until they are stopped; what they say is looked at below
COMMANDS = [path for path in commands() if path[0] not in ("up", "api", "worker")]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_command_tells_no_secret_whatever_it_is_given(path, surroundings, capsys):
    command = command_at(path)
    told = [each for each in command.params if each.name not in ("json", "as_json", "watch", "jsonl")]
    secret = [each for each in told if SECRET.search(each.name or "") and not getattr(each, "is_flag", False)]
    # a command that is told no secret has those around it
    for tried in (None, *told) if secret else (None,):
        hidden = dict(surroundings)
        arguments = list(path)
        for each in told:
            name = each.name or ""
            if each in secret:
                hidden[name] = canary(name)
                arguments += values_of(each, hidden[name])
            elif each is tried:
                arguments += values_of(each, canary(name))
            elif each.required or name in ("email", "roles"):
                arguments += values_of(each, RIGHT.get(name, "x"))
        assert isinstance(run(arguments), int)
        said = "".join(capsys.readouterr())
        assert not [name for name, value in hidden.items() if value in said], (arguments, said)
        assert "Traceback" not in said


def test_there_are_commands_with_secrets():
    taking = {
        path
        for path in COMMANDS
        for each in command_at(path).params
        if SECRET.search(each.name or "") and not getattr(each, "is_flag", False)
    }
    assert taking >= {("users", "add"), ("users", "set-password"), ("dsn", "add"), ("dsn", "update")}


# settings


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_setting_that_is_secret_is_not_shown_by_its_fault_nor_by_the_settings(setting, tmp_path):
    hidden = canary(setting.variable)
    for text in (hidden, f"postgresql://u:{hidden}@h/d", f"host=h password={hidden} x", f"x={hidden}\x01"):
        try:
            said = repr(config.load({setting.variable: text, "HOME": "/"}, tmp_path))
        except SettingFault as fault:
            said = f"{fault} {fault!r} {fault.detail}"
        # in one line
        assert "\n" not in said
        if setting.secret:
            assert hidden not in said


# HTTP

#: headers that are taken, beside those that the document names
HEADERS = ("Authorization", "Cookie", "Origin", "User-Agent", "Accept", "Content-Type", "X-Forwarded-For")
HEADERS += (
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "Sec-Fetch-Site",
    "Referer",
    "Range",
    "X-Api-Key",
    "From",
)
PASSWORD = "a password that is right"


def bodies(document: dict, operation: dict) -> list[dict]:
    """The fields of what an operation takes, references followed."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = next((each["schema"] for each in content.values()), {})
    while "$ref" in schema or "anyOf" in schema or "oneOf" in schema:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        else:
            options = schema.get("anyOf") or schema.get("oneOf")
            schema = next(each for each in options if each.get("type") != "null")
    return schema.get("properties", {})


def inputs(document: dict) -> Iterator[tuple[str, str, str, str]]:
    """Method, path, kind and name of every input."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                yield method, path, parameter["in"], parameter["name"]
            for name in bodies(document, operation):
                yield method, path, "body", name
            yield method, path, "body", "no_such_field"
            yield method, path, "query", "no_such_parameter"


@pytest.fixture
def place(database, source_db, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        place.add_query("orders", "select 1 as one")
        account = ["--email", "a@example.com", "--name", "A", "--roles", "admin"]
        assert place.run("users", "add", *account, "--password", PASSWORD).returncode == 0
        yield place


def test_nothing_that_is_sent_is_logged_and_no_secret_is_answered(place):
    _, url = place.api()
    sent: dict[str, tuple[str, ...]] = {}
    answered: list[str] = []
    with httpx.Client(base_url=url, timeout=30) as client:
        document = client.get("/schema/openapi.json").json()

        def log_in() -> None:
            login = client.post("/api/auth/login", json={"email": "a@example.com", "password": PASSWORD})
            assert login.status_code == 200, login.text

        def ask(method: str, path: str, **more) -> None:
            answer = client.request(method, path, **more)
            answered.append(f"{answer.text}\n{answer.headers}")
            assert answer.status_code != 500, (method, path, answer.text)
            assert "Traceback" not in answer.text
            if "sid" not in client.cookies:
                log_in()

        def fill(path: str, but: str | None = None, value: str = "") -> str:
            return re.sub(r"\{(\w+)\}", lambda found: value if found[1] == but else "999999", path)

        log_in()
        found = list(inputs(document))
        for method, path, kind, name in found:
            if path == "/api/auth/logout":
                continue
            value = canary(name)
            sent[value] = (method, path, kind, name)
            if kind == "path":
                # a path is logged as it is; that is why no secret belongs there
                ask(method, fill(path, name, value), json=None)
                del sent[value]
            elif kind == "query":
                ask(method, fill(path), params={name: value})
            elif kind == "header":
                ask(method, fill(path), headers={name: value})
            else:
                ask(method, fill(path), json={name: value})
        for name in HEADERS:
            value = canary(name)
            sent[value] = ("get", "/api/queries", "header", name)
            text = {"Authorization": f"Bearer {value}", "Cookie": f"sid={value}; other={value}"}.get(
                name, value
            )
            client.request("GET", "/api/queries", headers={name: text})
            answered.append(client.get("/api/queries", headers={name: text}).text)
            other = httpx.post(f"{url}/api/auth/login", headers={name: text}, content=value)
            answered.append(other.text)
        metrics = client.get("/metrics").text
        last = canary("last")
        client.get(f"/{last}")
        eventually(lambda: last in place.log("api"))
    logged = place.everything_said()
    assert len(sent) > 150
    assert not {where for value, where in sent.items() if value in logged}
    assert not {where for value, where in sent.items() if value in metrics}
    told = "\n".join(answered)
    assert not {where for value, where in sent.items() if SECRET.search(where[3]) and value in told}
    assert PASSWORD not in told + logged + metrics
