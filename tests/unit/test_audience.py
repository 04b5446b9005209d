"""Who may see which query and which of its rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.accounts import Account, Right
from pgsched.domain.audience import (
    EVERYTHING,
    NO_ACCESS,
    WHOLE_ACCESS,
    Access,
    Audience,
    Grant,
    access_to,
    anonymous,
    of_account,
    of_token,
)
from pgsched.domain.callers import Caller
from pgsched.domain.errors import Forbidden, NotAuthenticated
from pgsched.domain.jobs import Visibility

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EAST, WEST = {"region": ("east",)}, {"region": ("west",)}


def account(*roles: str) -> Account:
    return Account(id=7, email="a@example.com", name="A", roles=roles, created_at=NOW, updated_at=NOW)


def seen(audience: Audience, *grants: Grant, visibility: Visibility = Visibility.RESTRICTED) -> Access:
    return access_to(audience, query_id=1, visibility=visibility, grants=grants)


grants = st.lists(
    st.one_of(
        st.builds(Grant, user_id=st.integers(6, 8), row_filter=st.sampled_from([None, EAST, WEST])),
        st.builds(
            Grant, role=st.sampled_from(["viewer", "tenant"]), row_filter=st.sampled_from([None, EAST, WEST])
        ),
        st.builds(Grant, token_id=st.integers(1, 3), row_filter=st.sampled_from([None, EAST, WEST])),
    ),
    max_size=5,
)


@given(grants, st.sampled_from(Visibility))
def test_editors_and_admins_see_everything(given_, visibility):
    for role in ("editor", "admin"):
        assert seen(of_account(account(role)), *given_, visibility=visibility) == WHOLE_ACCESS


@given(grants)
def test_nobody_known_sees_public_queries_alone(given_):
    for public_read in (True, False):
        audience = anonymous(public_read=public_read)
        assert seen(audience, *given_, visibility=Visibility.PUBLIC).visible is public_read
        assert seen(audience, *given_, visibility=Visibility.USERS) == NO_ACCESS
        assert seen(audience, *given_) == NO_ACCESS


@given(grants, st.sampled_from(Visibility), st.sampled_from(["viewer", "tenant", "editor"]))
def test_token_sees_no_more_than_its_owner_but_for_its_own_grants(given_, visibility, role):
    owner = account(role)
    others = [grant for grant in given_ if grant.token_id is None]
    token = of_token(owner, 1, None)
    assert seen(token, *others, visibility=visibility) == seen(
        of_account(owner), *others, visibility=visibility
    )
    assert token.whole_errors is False


def test_token_narrowed_to_other_queries_sees_its_own_grants_alone():
    token = of_token(account("editor"), 1, [2])
    assert seen(token, Grant(role="editor"), Grant(user_id=7)) == NO_ACCESS
    assert seen(token, visibility=Visibility.PUBLIC) == NO_ACCESS
    assert seen(token, Grant(token_id=1, row_filter=EAST)) == Access(visible=True, rows=(EAST,))
    assert access_to(token, query_id=2, visibility=Visibility.RESTRICTED) == WHOLE_ACCESS


def test_rows_of_every_grant_held_are_shown():
    viewer = of_account(account("viewer", "tenant"))
    both = seen(viewer, Grant(user_id=7, row_filter=EAST), Grant(role="tenant", row_filter=WEST))
    assert both.rows == (EAST, WEST)
    assert seen(viewer, Grant(user_id=7), Grant(role="tenant", row_filter=WEST)) == WHOLE_ACCESS
    assert seen(viewer, Grant(user_id=8), Grant(role="other")) == NO_ACCESS


def test_grants_do_not_count_on_queries_that_are_not_restricted():
    nobody = replace(anonymous(public_read=False), user_id=7)
    assert seen(nobody, Grant(user_id=7), visibility=Visibility.USERS) == NO_ACCESS


def test_rights_are_required_in_their_order():
    for held, allowed in {"viewer": 1, "editor": 2, "admin": 3}.items():
        caller = Caller(audience=EVERYTHING, account=account(held))
        for place, right in enumerate(Right, 1):
            if place <= allowed:
                assert caller.require(right).id == 7
            else:
                with pytest.raises(Forbidden):
                    caller.require(right)


def test_tokens_and_strangers_may_do_nothing_but_read():
    with pytest.raises(NotAuthenticated):
        Caller(audience=anonymous(public_read=True)).require(Right.VIEWER)
    with pytest.raises(Forbidden):
        Caller(audience=EVERYTHING, account=account("admin"), token_id=1).require(Right.VIEWER)


def test_an_account_is_its_own_and_admins_are_everybodys():
    own = Caller(audience=EVERYTHING, account=account("viewer"))
    assert own.require_self_or_admin(7).id == 7
    with pytest.raises(Forbidden):
        own.require_self_or_admin(8)
    assert Caller(audience=EVERYTHING, account=account("admin")).require_self_or_admin(8).id == 7
