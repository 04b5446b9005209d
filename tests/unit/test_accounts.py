from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.accounts import (
    Account,
    NewAccount,
    Right,
    account_name_fault,
    check_password,
    checked_roles,
    email_fault,
    email_key,
    ensure_admin_left,
    password_fault,
    right_of,
)
from pgsched.domain.errors import InvalidInput, LastAdmin

ALLOWED = ("viewer", "editor", "admin", "sales")


def account(*roles: str, is_active: bool = True) -> Account:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Account(
        id=1,
        email="ada@example.com",
        name="Ada",
        roles=roles,
        is_active=is_active,
        created_at=at,
        updated_at=at,
    )


@pytest.mark.parametrize(
    ("roles", "right"),
    [
        ((), Right.VIEWER),
        (("viewer",), Right.VIEWER),
        (("sales",), Right.VIEWER),
        (("sales", "editor"), Right.EDITOR),
        (("editor", "admin"), Right.ADMIN),
    ],
)
def test_right_is_the_most_that_the_roles_allow(roles: tuple[str, ...], right: Right) -> None:
    assert right_of(roles) is right


def test_roles_are_brought_into_the_order_of_the_setting() -> None:
    assert checked_roles(["sales", "admin", "sales", "viewer"], ALLOWED) == ("viewer", "admin", "sales")


@pytest.mark.parametrize("roles", [[], ["root"], ["Admin"], ["admin", ""]])
def test_roles_that_do_not_exist_are_refused(roles: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_roles(roles, ALLOWED)
    assert caught.value.faults[0].field == "roles"
    assert "viewer, editor, admin, sales" in caught.value.detail


@pytest.mark.parametrize(
    "email",
    [
        "ada@example.com",
        "Ada.Lovelace+x@Example.COM",
        "admin@localhost",
        "a_b'c@x-y.example",
        "1@2.3",
        f"{'a' * 64}@b.c",
    ],
)
def test_email_addresses_are_taken(email: str) -> None:
    assert email_fault(email) is None


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@@example.com",
        "ada@exa mple.com",
        " ada@example.com",
        "ada@example.com\n",
        ".ada@example.com",
        "ada..l@example.com",
        "ada.@example.com",
        "ada@-example.com",
        "ada@example-.com",
        "ada@example..com",
        "ada@example.com.",
        "ada@[192.0.2.1]",
        '"ada"@example.com',
        "Ada <ada@example.com>",
        "ada@exämple.com",
        "ada\0@example.com",
        f"{'a' * 65}@b.c",
        f"a@{'b' * 64}.c",
        f"a@{'b.' * 130}c",
    ],
)
def test_email_addresses_are_refused(email: str) -> None:
    fault = email_fault(email)
    assert fault is not None
    assert fault.field == "email"


@given(st.from_regex(r"[A-Za-z0-9]{1,10}@[A-Za-z0-9]{1,10}", fullmatch=True))
def test_email_addresses_compare_without_letter_case(email: str) -> None:
    assert email_key(email.upper()) == email_key(email.lower()) == email_key(email)


@given(st.text(max_size=40))
def test_email_that_is_taken_is_ascii_without_blanks(email: str) -> None:
    if email_fault(email) is None:
        assert email.isascii()
        assert email.isprintable()
        assert " " not in email


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("x" * 7, False),
        ("x" * 8, True),
        ("ключ", True),
        ("клю", False),
        ("        ", True),
        ("x" * 1024, True),
        ("x" * 1025, False),
        ("ß" * 513, False),
        ("\ud800" * 8, False),
    ],
)
def test_password_has_8_to_1024_bytes_and_no_other_rule(password: str, good: bool) -> None:
    assert (password_fault(password) is None) is good


def test_password_refusal_names_the_field_and_not_the_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_password("hunter2", "new_password")
    assert caught.value.faults[0].field == "new_password"
    assert "hunter2" not in caught.value.detail


@pytest.mark.parametrize(("name", "good"), [("Ada", True), ("Ада Л.", True), ("", False), (" ", False)])
def test_account_name_is_visible(name: str, good: bool) -> None:
    assert (account_name_fault(name) is None) is good


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "x" * 201, " Ada", "a\u202eb", "a\ud800"])
def test_account_name_is_one_line(name: str) -> None:
    assert account_name_fault(name) is not None


def test_new_account_tells_every_fault_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        NewAccount(email="ada", name="", roles=("viewer",))
    assert [fault.field for fault in caught.value.faults] == ["email", "name"]


@pytest.mark.parametrize("after", [None, account("viewer"), account("admin", is_active=False), account()])
def test_last_admin_cannot_be_deleted_demoted_or_deactivated(after: Account | None) -> None:
    with pytest.raises(LastAdmin, match=r"ada@example\.com"):
        ensure_admin_left(before=account("admin"), after=after, other_active_admins=0)
    ensure_admin_left(before=account("admin"), after=after, other_active_admins=1)


@pytest.mark.parametrize("before", [account("editor"), account("admin", is_active=False)])
def test_who_does_not_administer_may_go(before: Account) -> None:
    ensure_admin_left(before=before, after=None, other_active_admins=0)


def test_last_admin_may_stay_one() -> None:
    ensure_admin_left(before=account("admin"), after=account("admin", "viewer"), other_active_admins=0)
