from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from pgsched.config import SETTINGS, Settings, load

ROOT = Path(__file__).parents[2]


def test_settings_reference_page_lists_the_table() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text()
    rows = re.findall(r"^\| ([A-Z0-9_]+) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert rows == [(s.variable, s.default or "unset", s.purpose) for s in SETTINGS]


def test_settings_attributes_are_the_table_in_small_letters() -> None:
    names = [entry.name for entry in fields(Settings)]
    assert names == [s.variable.lower() for s in SETTINGS] + ["directory", "notes"]
    hidden = {entry.name for entry in fields(Settings) if not entry.repr}
    assert hidden == {s.variable.lower() for s in SETTINGS if s.secret}


def test_dotenv_example_names_every_setting_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text()
    lines = dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))
    assert set(lines) == {s.variable for s in SETTINGS if s.in_dotenv}
    for setting in SETTINGS:
        if setting.default is not None:
            assert lines[setting.variable] == setting.default
    # every line is a comment: copied as it is, it changes nothing
    assert all(line.startswith("#") or not line for line in text.splitlines())


def test_dotenv_example_loads_when_uncommented(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^#([A-Z0-9_]+=)", r"\1", text, flags=re.MULTILINE))
    (tmp_path / ".env").chmod(0o600)
    found = load({}, tmp_path)
    assert found.database_shown == "localhost:5432/pgsched"
    assert found.allowed_hosts == ("dash.example.com",)


def test_config_imports_nothing_heavy() -> None:
    program = (
        "import sys, pathlib, pgsched.config as c; c.load({}, pathlib.Path('/nonexistent'));"
        "print([m for m in ('psycopg', 'dotenv', 'click', 'sqlalchemy', 'msgspec', 'asyncio', 'logging',"
        " 'nacl', 'argon2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
