from __future__ import annotations

from dataclasses import replace

import pytest

from gridiron.errors import BreakingChange, RoutingUnknown, ServiceTaken
from gridiron.lifecycle.observation import Unknown
from gridiron.lifecycle.routing import (
    Allowed,
    Change,
    ChangeKind,
    Handler,
    Holder,
    Owner,
    Routing,
    Service,
    compare,
    find_outranking,
    find_refusals,
    find_taken,
)
from tests.values import NOW, make_build, make_observation, make_registration

CART = Service("cart", "VirtualObject", (Handler("add", "Exclusive"), Handler("get", "Shared")))
GREETER = Service("greeter", "Service", (Handler("greet", None),))
V1, V2 = make_build("1", 1), make_build("2", 2)


def hold(*services: Service) -> dict[str, Holder]:
    return {service.name: Holder(service, "dp_1") for service in services}


def changed(before: Service, after: Service) -> list[str]:
    return [f"{change}{'!' if change.breaking else ''}" for change in compare([after], hold(before), [])]


def test_the_same_services_change_nothing() -> None:
    assert compare([CART, GREETER], hold(GREETER, CART), []) == ()


def test_what_is_new_breaks_nobody() -> None:
    assert compare([CART, GREETER], hold(GREETER), []) == (Change(ChangeKind.SERVICE_ADDED, "cart"),)
    wider = Service("greeter", "Service", (Handler("greet", None), Handler("wave", None)))
    assert changed(GREETER, wider) == ["greeter/wave is added"]


def test_what_is_missing_breaks_its_callers() -> None:
    assert compare([GREETER], hold(GREETER), ["cart"]) == (Change(ChangeKind.SERVICE_REMOVED, "cart"),)
    assert changed(CART, Service("cart", "VirtualObject", (Handler("get", "Shared"),))) == [
        "cart/add is removed!"
    ]


def test_another_type_breaks_callers() -> None:
    assert changed(GREETER, Service("greeter", "Workflow", (Handler("greet", "Workflow"),))) == [
        "greeter changes from Service to Workflow!"
    ]
    shared = Service("cart", "VirtualObject", (Handler("add", "Shared"), Handler("get", "Shared")))
    assert changed(CART, shared) == ["cart/add changes from Exclusive to Shared!"]


def test_a_service_of_another_name_is_taken() -> None:
    own = make_registration(V1.address, "dp_own", "greeter")
    other = make_registration(make_build("1", 1, "other").address, "dp_other", "cart")
    by_hand = make_registration(None, "dp_hand", "clock")
    alike = replace(make_registration(V2.address, "dp_alike", "bell"), metadata={})
    held = {
        "bell": Holder(GREETER, "dp_alike"),
        "greeter": Holder(GREETER, "dp_own"),
        "cart": Holder(CART, "dp_other"),
        "clock": Holder(GREETER, "dp_hand"),
        "gone": Holder(GREETER, "dp_gone"),
    }
    assert find_taken("demo", held, [own, other, by_hand, alike]) == {
        "bell": Owner(f"http://localhost:9080{V2.address.path}", None),
        "cart": Owner("other-1-1", "other"),
        "clock": Owner("http://localhost:9080/by-hand", None),
    }


@pytest.mark.parametrize(
    ("allowed", "codes"),
    [
        (Allowed(), ["service_taken", "breaking_change"]),
        (Allowed(takeover=True), ["takeover_forbidden", "breaking_change"]),
        (Allowed(takeover=True, may_take=lambda name: name == "other"), ["breaking_change"]),
        (Allowed(breaking=True), ["service_taken"]),
        (Allowed(breaking=True, takeover=True, may_take=lambda _: True), []),
    ],
)
def test_what_nobody_allowed_is_refused(allowed: Allowed, codes: list[str]) -> None:
    removed = Change(ChangeKind.SERVICE_REMOVED, "clock")
    added = Change(ChangeKind.SERVICE_ADDED, "more")
    refusals = find_refusals(Routing((removed, added), {"cart": Owner("other-1-1", "other")}), allowed)
    assert [refusal.code for refusal in refusals] == codes


def test_a_refusal_names_the_owner_and_the_change() -> None:
    removed = Change(ChangeKind.SERVICE_REMOVED, "clock")
    taken, breaking = find_refusals(Routing((removed,), {"cart": Owner("other-1-1", "other")}), Allowed())
    assert isinstance(taken, ServiceTaken)
    assert taken.owners == "cart (other-1-1)"
    assert isinstance(breaking, BreakingChange)
    assert breaking.changes == "clock is removed"


def test_a_harmless_change_is_not_refused() -> None:
    assert find_refusals(Routing((Change(ChangeKind.HANDLER_ADDED, "cart", "more"),), {}), Allowed()) == ()


def test_only_what_is_newer_outranks_a_build() -> None:
    old, new = (make_registration(build.address, f"dp_{build.version}", "s", "t") for build in (V1, V2))
    by_hand = make_registration(None, "dp_hand", "u")
    seen = make_observation(
        registrations=(old, new, by_hand), newest={"s": "dp_2", "t": "dp_1", "u": "dp_hand"}
    )
    assert find_outranking(V1, ["s", "t", "v"], seen) == {"s": V2.build_id}
    assert find_outranking(V2, ["s", "t"], seen) == {}
    earlier = V1.model_copy(update={"created_at": NOW.replace(year=2025)})
    assert find_outranking(earlier, ["u"], seen) == {"u": "http://localhost:9080/by-hand"}


@pytest.mark.parametrize("part", ["registrations", "newest"])
def test_what_is_unknown_may_outrank(part: str) -> None:
    with pytest.raises(RoutingUnknown):
        find_outranking(V1, ["s"], make_observation(**{part: Unknown("down")}))
