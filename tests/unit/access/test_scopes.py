from __future__ import annotations

import pytest

from gridiron.access.scopes import Caller, Kind, Scope, parse_scope
from gridiron.errors import ScopeInvalid, ScopeMissing


def caller(*scopes: str) -> Caller:
    return Caller("0badcafe", "ci", tuple(parse_scope(text) for text in scopes))


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("read", Scope(Kind.READ)),
        ("admin", Scope(Kind.ADMIN)),
        ("deploy:shop-*", Scope(Kind.DEPLOY, "shop-*")),
        ("deploy:*", Scope(Kind.DEPLOY, "*")),
    ],
)
def test_a_scope_is_read_and_written(text: str, scope: Scope) -> None:
    assert parse_scope(text) == scope
    assert str(scope) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "Admin", "admin:", "admin:x", "read:shop", "deploy", "deploy:", "deploy:[a-z]*", "deploy:a?"),
        *("deploy:Shop", "deploy:-a", "deploy:a b", "deploy:a,b", "deploy:a\n", f"deploy:{'a' * 64}"),
    ],
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(ScopeInvalid):
        parse_scope(text)


@pytest.mark.parametrize(
    ("scopes", "name", "may"),
    [
        (("read",), "shop", False),
        (("deploy:shop",), "shop", True),
        (("deploy:shop",), "shop-2", False),
        (("deploy:shop-*",), "shop-2", True),
        (("deploy:shop-*",), "shop", False),
        (("deploy:a", "deploy:*-test"), "shop-test", True),
        (("deploy:*",), "shop", True),
        (("deploy:*",), None, False),  # of what nobody knows whose it is
        (("admin",), None, True),
    ],
)
def test_a_pattern_is_for_the_whole_name(scopes: tuple[str, ...], name: str | None, may: bool) -> None:
    assert caller(*scopes).may_deploy(name) is may
    if may:
        caller(*scopes).check_deploy(name)
    else:
        with pytest.raises(ScopeMissing):
            caller(*scopes).check_deploy(name)


@pytest.mark.parametrize(
    ("scopes", "may"), [(("deploy:a*", "deploy:b*"), False), (("deploy:*",), True), (("admin",), True)]
)
def test_all_names_are_for_who_may_deploy_any(scopes: tuple[str, ...], may: bool) -> None:
    if may:
        caller(*scopes).check_deploy_all()
    else:
        with pytest.raises(ScopeMissing):
            caller(*scopes).check_deploy_all()
