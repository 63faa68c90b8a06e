"""Who has a service: owners, changes that break callers, rollbacks, many activations at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from gridiron.errors import ComponentFailed
from tests.acceptance.world import World, problem, shape
from tests.harness import wait_until

NAMES, VERSIONS = 10, 10


# -- what has a node of its own comes first, so that one runs at a time ----------------------------------


def test_a_rollback_where_nothing_is_kept_says_so(make_world: Callable[..., World]) -> None:
    world = make_world(retain=0)
    world.deploy("unkept", "1")
    second = world.deploy("unkept", "2")["build_id"]
    wait_until(lambda: world.states() == {second: "active"}, what=world.node.log)
    refused = world.client.manager.post("/rollback", json={"name": "unkept"})
    assert problem(refused) == (409, "nothing_to_roll_back_to")
    with pytest.raises(ComponentFailed, match=r"\[nothing_to_roll_back_to\]"):
        world.node.run("rollback", "unkept")
    assert world.states() == {second: "active"}
    assert world.client.call("unkept", "version") == "2"


# -- one service, two names ------------------------------------------------------------------------------


def test_a_service_of_another_name_is_refused_and_taken_over_on_demand(shared_world: World) -> None:
    world = shared_world
    owner = world.deploy("owner", "1", {"contested": shape(), "owned": shape()})["build_id"]
    offered = {"contested": shape(), "wanted": shape()}
    refused = world.try_deploy("taker", "2", offered)
    assert problem(refused) == (409, "service_taken")
    assert refused.json()["detail"].startswith(f"These services belong to others: contested ({owner}).")
    assert world.states(name="taker") == {}
    assert world.client.call("contested", "version") == "1"
    taken = world.deploy("taker", "2", offered, takeover=True)
    assert (taken["takes_over"], taken["replaces"]) == ({"contested": owner}, [])
    newest = world.newest()
    assert {name: newest[name] for name in ("contested", "owned", "wanted")} == {
        "contested": taken["build_id"],
        "owned": owner,
        "wanted": taken["build_id"],
    }
    assert world.client.show(owner)["services"] == [
        {"name": "contested", "active": False},
        {"name": "owned", "active": True},
    ]
    answers = {name: world.client.call(name, "version") for name in ("contested", "owned", "wanted")}
    assert answers == {"contested": "2", "owned": "1", "wanted": "2"}
    assert problem(world.try_deploy("owner", "3", {"contested": shape()}, breaking=True)) == (
        409,
        "service_taken",
    )


def test_what_is_in_flight_ends_with_the_name_that_it_began_on(shared_world: World) -> None:
    world = shared_world
    old = world.deploy("giver", "1", {"given": shape()})
    invocation = world.bring("given", "runsAfterAStep", "running", pinned=True)
    new = world.deploy("getter", "2", {"given": shape()}, takeover=True)
    assert world.states(name="giver") == {old["build_id"]: "draining"}
    assert world.states(name="getter") == {new["build_id"]: "active"}
    world.open(old)
    assert world.attach(invocation) == {"begun": "1", "ended": "1"}
    wait_until(lambda: world.states(name="giver") == {old["build_id"]: "drained"})


# -- what breaks callers ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Breaking:
    """A change that callers would see."""

    before: Mapping[str, Any]  # of the service
    after: Mapping[str, Any] | None  # None: it is gone
    changes: list[tuple[str, str | None]]  # kind and handler


OBJECT = shape("VirtualObject", "version", "add", "get:shared")
BREAKING = {
    "service-removed": Breaking(shape(), None, [("service_removed", None)]),
    "handler-removed": Breaking(
        OBJECT, shape("VirtualObject", "version", "get:shared"), [("handler_removed", "add")]
    ),
    "handler-type-changed": Breaking(
        OBJECT,
        shape("VirtualObject", "version", "add:shared", "get:shared"),
        [("handler_type_changed", "add")],
    ),
    "service-type-changed": Breaking(
        shape("Service", "version"),
        shape("VirtualObject", "version"),
        [("service_type_changed", None)],
    ),
}


@pytest.mark.parametrize("what", BREAKING)
def test_what_would_break_callers_is_told_refused_and_done_on_demand(what: str, shared_world: World) -> None:
    world, case = shared_world, BREAKING[what]
    kept, changed = f"{what}-kept", f"{what}-changed"
    old = world.deploy(what, "1", {kept: shape(), changed: case.before})["build_id"]
    offered = {kept: shape()} | ({} if case.after is None else {changed: case.after})

    dry = world.deploy(what, "2", offered, dry_run=True)
    assert [
        (each["kind"], each["service"], each["handler"], each["breaking"]) for each in dry["changes"]
    ] == [(kind, changed, handler, True) for kind, handler in case.changes]
    assert (dry["outcome"], [each["code"] for each in dry["refusals"]]) == ("dry_run", ["breaking_change"])

    refused = world.try_deploy(what, "2", offered)
    assert problem(refused) == (409, "breaking_change")
    assert dry["changes"][0]["detail"] in refused.json()["detail"]
    assert world.states(name=what) == {old: "active"}
    assert call(world, changed, case.before) == "1"

    done = world.deploy(what, "2", offered, breaking=True)
    keeps = [] if case.after else [{"service": changed, "build_id": old}]
    assert (done["changes"], done["keeps"], done["replaces"]) == (dry["changes"], keeps, [old])
    assert world.states(name=what) == {
        old: "active" if keeps else "drained",
        done["build_id"]: "active",
    }
    assert world.client.call(kept, "version") == "2"
    assert call(world, changed, case.after or case.before) == ("1" if keeps else "2")


def call(world: World, service: str, described: Mapping[str, Any]) -> Any:
    return world.client.call(service if described["type"] == "Service" else f"{service}/key", "version")


def test_what_is_added_breaks_nobody(shared_world: World) -> None:
    world = shared_world
    old = world.deploy("grown", "1", {"grown": shape("Service", "version")})["build_id"]
    more = {"grown": shape("Service", "version", "runs"), "grown-more": shape("Workflow", "run")}
    dry = world.deploy("grown", "2", more, dry_run=True)
    assert [
        (each["kind"], each["service"], each["handler"], each["breaking"]) for each in dry["changes"]
    ] == [
        ("handler_added", "grown", "runs", False),
        ("service_added", "grown-more", None, False),
    ]
    assert dry["refusals"] == []
    done = world.deploy("grown", "2", more)
    assert (done["outcome"], done["changes"], done["keeps"]) == ("activated", dry["changes"], [])
    assert world.states(name="grown") == {old: "drained", done["build_id"]: "active"}


# -- rollback --------------------------------------------------------------------------------------------


def test_a_rollback_makes_the_code_before_a_new_build_and_ends_nothing(shared_world: World) -> None:
    world = shared_world
    first = world.deploy("back", "1")
    second = world.deploy("back", "2")
    invocation = world.bring("back", "runsAfterAStep", "running", pinned=True)
    response = world.client.manager.post("/rollback", json={"name": "back"})
    third = response.json()
    assert (response.status_code, third["outcome"], third["replaces"]) == (
        201,
        "activated",
        [second["build_id"]],
    )
    assert third["build_id"] not in {first["build_id"], second["build_id"]}
    shown = world.client.show(third["build_id"])
    assert (shown["version"], shown["source"], shown["sha256"]) == (
        "1",
        f"build:{first['build_id']}",
        first["sha256"],
    )
    assert world.client.call("back", "version") == "1"
    assert world.states(name="back") == {
        first["build_id"]: "drained",
        second["build_id"]: "draining",
        third["build_id"]: "active",
    }
    world.open(second)
    assert world.attach(invocation) == {"begun": "2", "ended": "2"}
    wait_until(lambda: world.states(name="back")[second["build_id"]] == "drained")


def test_a_rollback_to_a_build_that_is_named(shared_world: World) -> None:
    world = shared_world
    first, _, _ = (world.deploy("named", version)["build_id"] for version in "123")
    fourth = world.client.manager.post("/rollback", json={"name": "named", "build_id": first}).json()
    assert world.client.show(fourth["build_id"])["source"] == f"build:{first}"
    assert world.newest()["named"] == fourth["build_id"]
    assert world.client.call("named", "version") == "1"
    again = world.client.manager.post("/rollback", json={"name": "named", "build_id": first})
    assert (again.status_code, again.json()["outcome"], again.json()["build_id"]) == (
        200,
        "unchanged",
        fourth["build_id"],
    )


def test_a_rollback_by_the_command_line(shared_world: World) -> None:
    world = shared_world
    first, second = (world.deploy("typed", version)["build_id"] for version in "12")
    printed = world.node.run("rollback", "typed")
    assert (printed["outcome"], printed["replaces"]) == ("activated", [second])
    assert world.client.show(printed["build_id"])["source"] == f"build:{first}"
    assert world.newest()["typed"] == printed["build_id"]
    with pytest.raises(ComponentFailed, match=r"\[build_not_found\]"):
        world.node.run("rollback", "typed", "typed-9-9")


def test_a_rollback_to_a_build_that_was_retired(shared_world: World) -> None:
    world = shared_world
    first = world.deploy("retired", "1")
    world.deploy("retired", "2")
    assert world.client.manager.post("/prune", json={}).status_code == 200
    assert world.states(name="retired")[first["build_id"]] == "retired"
    back = world.client.manager.post("/rollback", json={"name": "retired"}).json()
    assert world.client.show(back["build_id"])["source"] == f"build:{first['build_id']}"
    assert world.client.call("retired", "version") == "1"


# -- many at once ----------------------------------------------------------------------------------------


def test_a_hundred_activations_at_once_lose_and_double_nothing(shared_world: World) -> None:
    world = shared_world
    wanted = [(f"many-{name}", str(version)) for version in range(VERSIONS) for name in range(NAMES)]

    def deploy(one: tuple[str, str]) -> tuple[str, str, str, float]:
        name, version = one
        build_id = world.deploy(name, version)["build_id"]
        return name, version, build_id, time.monotonic()

    with ThreadPoolExecutor(len(wanted)) as pool:
        acknowledged = list(pool.map(deploy, wanted))
    build_ids = {build_id for _, _, build_id, _ in acknowledged}
    assert len(build_ids) == len(wanted)
    listed = {each: state for each, state in world.states().items() if each.startswith("many-")}
    last = {name: (build_id, version) for name, version, build_id, _ in sorted(acknowledged, key=_timestamp)}
    active = {build_id for build_id, _ in last.values()}
    assert listed == {build_id: "active" if build_id in active else "drained" for build_id in build_ids}
    registered = Counter(each for each in world.registered().values() if each.startswith("many-"))
    assert registered == Counter(build_ids)
    assert {name: world.client.call(name, "version") for name in last} == {
        name: version for name, (_, version) in last.items()
    }
    latest = {name: build_id for name, _, build_id, _ in sorted(acknowledged, key=lambda one: one[3])}
    assert latest == {name: build_id for name, (build_id, _) in last.items()}


def _timestamp(acknowledged: tuple[str, str, str, float]) -> int:
    return int(acknowledged[2].rsplit("-", 1)[1])


def test_twenty_times_the_same_at_once_is_one_build(shared_world: World) -> None:
    world = shared_world
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: world.try_deploy("same", "1"), range(20)))
    (build_id,) = {answer.json()["build_id"] for answer in answers}
    outcomes = Counter((answer.status_code, answer.json()["outcome"]) for answer in answers)
    assert outcomes == {(201, "activated"): 1, (200, "unchanged"): 19}
    assert world.states(name="same") == {build_id: "active"}
    assert list(world.registered().values()).count(build_id) == 1


def test_of_two_names_that_want_a_service_at_once_one_gets_it(shared_world: World) -> None:
    world = shared_world
    names = [f"rival-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: world.try_deploy(name, "1", {"rivals": shape()}), names))
    (winner,) = (answer.json() for answer in answers if answer.status_code == 201)
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert [each["code"] for each in refused] == ["service_taken"] * (len(names) - 1)
    assert all(winner["build_id"] in each["detail"] for each in refused)
    assert world.newest()["rivals"] == winner["build_id"]
    assert [each for each in world.states() if each.startswith("rival-")] == [winner["build_id"]]
