from __future__ import annotations

import base64
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.config import SETTINGS, Settings, load
from pgsched.domain.errors import SettingFault

HERE = Path("/nonexistent/here")


def settings(**variables: str) -> Settings:
    return load(variables, HERE)


def fault(**variables: str) -> str:
    with pytest.raises(SettingFault) as caught:
        settings(**variables)
    text = caught.value.detail
    assert "\n" not in text
    assert text.isprintable()
    assert text.startswith(f"{caught.value.variable}: ")
    return text


def test_settings_have_the_documented_defaults() -> None:
    found = settings()
    assert found.pg_dsn_app is None
    assert found.pgsched_home == HERE / ".pgsched"
    assert found.pgsched_pg_bin is None
    assert found.argon2_secret_key_b64 is None
    assert found.pepper is None
    assert (found.session_ttl_hours, found.session_extend_on_use_min, found.session_max_hours) == (
        72,
        60,
        720,
    )
    assert found.allowed_roles == ("viewer", "editor", "admin")
    assert found.default_query_interval == 21600
    assert found.app_name_for("api") == "pgsched-api"
    assert found.app_name_for("worker") == "pgsched-worker"
    assert found.log_dir == HERE / "logs"
    assert found.rfc_enterprise_id == 32473
    assert found.rotate_utc is True
    assert (found.gzip_after_days, found.keep_days, found.max_log_bytes) == (7, 200, 4096)
    assert found.redact_keys == (
        "password",
        "new_password",
        "current_password",
        "token",
        "authorization",
        "secret",
    )
    assert found.trust_proxy is True
    assert found.trusted_proxies == (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    assert found.allowed_hosts is None
    assert found.cors_allowed_origins == ("*",)
    assert found.public_read is True


@pytest.mark.parametrize("variable", [setting.variable for setting in SETTINGS])
def test_settings_take_an_empty_value_for_unset(variable: str) -> None:
    assert settings(**{variable: "  "}) == settings()


@pytest.mark.parametrize("variable", [setting.variable for setting in SETTINGS])
def test_settings_refuse_control_characters_by_name(variable: str) -> None:
    assert fault(**{variable: "a\x1b[31mb"}).startswith(f"{variable}: ")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("0", False), ("true", True), ("NO", False), ("On", True), ("off", False)],
)
def test_switches_take_their_spellings(text: str, value: bool) -> None:
    assert settings(PUBLIC_READ=text).public_read is value


@pytest.mark.parametrize("text", ["2", "y", "enabled", "-1", "1 0"])
def test_switches_refuse_anything_else(text: str) -> None:
    assert "write 1 for yes or 0 for no" in fault(TRUST_PROXY=text)


@given(st.integers(1, 87600))
def test_numbers_in_range_are_read(hours: int) -> None:
    assert settings(SESSION_TTL_HOURS=f" {hours} ").session_ttl_hours == hours


@given(st.text(max_size=30).filter(lambda text: text.strip() and not text.strip().isascii()))
def test_numbers_refuse_other_scripts(text: str) -> None:
    fault(KEEP_DAYS=text)


@pytest.mark.parametrize("text", ["0", "87601", "-1", "+1", "1_0", "1.5", "1e3", "0x10", "72h", "9" * 5000])
def test_numbers_refuse_what_is_out_of_range_or_no_number(text: str) -> None:
    assert "whole number from 1 to 87600" in fault(SESSION_TTL_HOURS=text)


def test_networks_are_cidr() -> None:
    assert settings(TRUSTED_PROXIES="10.0.0.0/8, fd00::/8,192.0.2.1").trusted_proxies == (
        IPv4Network("10.0.0.0/8"),
        IPv6Network("fd00::/8"),
        IPv4Network("192.0.2.1/32"),
    )
    assert "write 10.0.0.0/8" in fault(TRUSTED_PROXIES="10.0.0.1/8")
    assert "is not a network" in fault(TRUSTED_PROXIES="proxy.example.com")


def test_origins_are_normalised_as_browsers_send_them() -> None:
    found = settings(
        CORS_ALLOWED_ORIGINS="https://Dash.example.com:443, http://localhost:3000,http://[::1]:80/,*"
    )
    assert found.cors_allowed_origins == (
        "https://dash.example.com",
        "http://localhost:3000",
        "http://[::1]",
        "*",
    )


@pytest.mark.parametrize(
    "text",
    [
        "example.com",
        "https://",
        "https://a.b/path",
        "null",
        "https://u@a.b",
        "https://a.b:0",
        "https://*.a.b",
        ",",
    ],
)
def test_origins_refuse_what_is_none(text: str) -> None:
    fault(CORS_ALLOWED_ORIGINS=text)


def test_hosts_are_names_without_port() -> None:
    found = settings(ALLOWED_HOSTS="Dash.Example.com, [::1],192.0.2.7,localhost.")
    assert found.allowed_hosts == ("dash.example.com", "::1", "192.0.2.7", "localhost")
    assert settings(ALLOWED_HOSTS="*").allowed_hosts == ("*",)
    for text in ("http://a.b", "a.b:8000", "*.a.b", "a b", "-a.b", "ä.de"):
        fault(ALLOWED_HOSTS=text)


def test_roles_must_contain_admin() -> None:
    assert settings(ALLOWED_ROLES="admin, viewer,sales,admin").allowed_roles == ("admin", "viewer", "sales")
    assert "does not contain admin" in fault(ALLOWED_ROLES="viewer,editor")
    assert "is not a role name" in fault(ALLOWED_ROLES="admin,Sales")
    fault(ALLOWED_ROLES=",")


def test_app_name_can_name_a_file() -> None:
    assert settings(APP_NAME="shop").app_name_for("worker") == "shop"
    for text in ("../etc/passwd", ".hidden", "a/b", "a b", "ä", "x" * 49):
        fault(APP_NAME=text)


def test_redact_keys_are_kept_small() -> None:
    assert settings(REDACT_KEYS="Api-Key,TOKEN,token").redact_keys == ("api-key", "token")


def test_paths_are_absolute() -> None:
    found = load({"LOG_DIR": "~/logs", "PGSCHED_HOME": "/var/lib/pgsched", "HOME": "/home/ada"}, HERE)
    assert found.log_dir == Path("/home/ada/logs")
    assert found.pgsched_home == Path("/var/lib/pgsched")
    assert found.keys_dir == Path("/var/lib/pgsched/keys")
    assert "HOME is not set" in fault(LOG_DIR="~/logs")


@given(st.binary(min_size=32, max_size=64))
def test_pepper_is_decoded(secret: bytes) -> None:
    found = settings(ARGON2_SECRET_KEY_B64=base64.b64encode(secret).decode())
    assert found.pepper == secret
    assert (
        settings(ARGON2_SECRET_KEY_B64=base64.urlsafe_b64encode(secret).decode().rstrip("=")).pepper == secret
    )


@pytest.mark.parametrize("size", [0, 1, 31, 65, 1000])
def test_pepper_of_another_length_is_refused_without_showing_it(size: int) -> None:
    text = base64.b64encode(b"\xa7" * size).decode() or "===="
    detail = fault(ARGON2_SECRET_KEY_B64=text)
    assert f"{size} bytes" in detail
    assert size == 0 or text.rstrip("=") not in detail


def test_pepper_that_is_no_base64_is_refused_without_showing_it() -> None:
    detail = fault(ARGON2_SECRET_KEY_B64="correct horse battery staple!")
    assert "is not base64" in detail
    assert "horse" not in detail


def test_settings_repr_holds_no_secret() -> None:
    pepper = base64.b64encode(b"p" * 32).decode()
    found = settings(PG_DSN_APP="postgresql://u:hunter22@h/db", ARGON2_SECRET_KEY_B64=pepper)
    assert "hunter22" not in repr(found)
    assert pepper not in repr(found)


@given(
    st.dictionaries(
        st.sampled_from([setting.variable for setting in SETTINGS]), st.text(max_size=80), max_size=4
    )
)
def test_settings_load_or_name_the_variable(variables: dict[str, str]) -> None:
    try:
        load(variables, HERE)
    except SettingFault as error:
        named = error
    else:
        return
    assert named.variable in variables
    assert "\n" not in named.detail
