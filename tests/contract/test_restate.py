from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gridiron.errors import InvocationFailed, RestateRejected, RestateUnavailable
from gridiron.lifecycle.observation import Demand, Registration
from gridiron.lifecycle.routing import Handler, Holder, Service
from gridiron.model import Address
from gridiron.restate.incarnation import start_of
from gridiron.restate.port import Discovered, RestatePort
from tests.contract.restate_worlds import Doing, Ending, RealWorld, World, becomes, probe

OLD, NEW = "/demo/1.0.0-1", "/demo/1.1.0-2"
LATER = datetime(2000, 1, 1, tzinfo=UTC)

COUNTER = Service(
    "counter",
    "VirtualObject",
    (Handler("add", "Exclusive"), Handler("get", "Shared")),
)
SIGNUP = Service("signup", "Workflow", (Handler("run", "Workflow"),))
GREETER = Service("greeter", "Service", (Handler("greet", None),))
PROBE = probe("probe")


async def registered(world: World, path: str, *services: Service) -> str:
    return (await world.restate.register(await world.serve(path, *services), {})).deployment_id


async def refusal(asking: Awaitable[object]) -> tuple[int, str]:
    with pytest.raises(RestateRejected) as failure:
        await asking
    return failure.value.status, failure.value.restate_code


# -- registrations ---------------------------------------------------------------------------------------


async def test_a_discovery_reads_the_services_and_registers_nothing(world: World) -> None:
    uri = await world.serve(OLD, SIGNUP, GREETER, COUNTER)
    assert await world.restate.discover(uri) == Discovered((COUNTER, GREETER, SIGNUP))
    assert await world.restate.fetch_registrations() == ()
    assert await world.restate.fetch_newest() == {}


@pytest.mark.parametrize("protocol", ["BidiStream", "RequestResponse"])
async def test_a_registration_is_listed_as_it_was_made(world: World, protocol: str) -> None:
    uri = await world.serve(OLD, GREETER, COUNTER, protocol=protocol)
    made = await world.restate.register(uri, {"build_id": "demo-1.0.0-1"})
    assert (made.services, made.protocol, made.created) == ((COUNTER, GREETER), protocol, True)
    (listed,) = await world.restate.fetch_registrations()
    assert listed.created_at.tzinfo is not None
    assert replace(listed, created_at=LATER) == Registration(
        deployment_id=made.deployment_id,
        uri=uri,
        address=Address(name="demo", version="1.0.0", timestamp=1),
        created_at=LATER,
        services=("counter", "greeter"),
        protocol=protocol,
        metadata={"build_id": "demo-1.0.0-1"},
    )
    assert await world.restate.fetch_newest() == dict.fromkeys(("counter", "greeter"), made.deployment_id)


async def test_registrations_are_listed_oldest_first(world: World) -> None:
    made = [await registered(world, f"/demo/1.0.0-{number}", GREETER) for number in range(1, 5)]
    assert [one.deployment_id for one in await world.restate.fetch_registrations()] == made


async def test_the_same_uri_again_changes_nothing(world: World) -> None:
    uri = await world.serve(OLD, GREETER)
    first = await world.restate.register(uri, {"build_id": "first"})
    newer = await registered(world, NEW, GREETER)
    before = await world.restate.fetch_registrations()
    again = await world.restate.register(uri, {"build_id": "second"})
    assert again == replace(first, created=False)
    assert await world.restate.fetch_registrations() == before
    assert await world.restate.fetch_newest() == {"greeter": newer}


async def test_an_endpoint_that_is_registered_is_not_asked_again(world: World) -> None:
    uri = await world.serve(OLD, GREETER)
    await world.restate.register(uri, {})
    await world.end(OLD, Ending.BAD_STATUS)
    assert await world.restate.discover(uri) == Discovered((GREETER,))


async def test_a_newer_one_takes_over_the_services_that_it_has(world: World) -> None:
    old = await registered(world, OLD, GREETER, COUNTER)
    new = await registered(world, NEW, GREETER, SIGNUP)
    assert await world.restate.fetch_newest() == {"counter": old, "greeter": new, "signup": new}


async def test_without_the_newest_the_one_before_is_newest_again(world: World) -> None:
    old = await registered(world, OLD, GREETER, COUNTER)
    new = await registered(world, NEW, GREETER, SIGNUP)
    await world.restate.unregister(new)
    assert await world.restate.fetch_newest() == {"counter": old, "greeter": old}
    assert [one.deployment_id for one in await world.restate.fetch_registrations()] == [old]


async def test_without_an_older_one_the_newest_stays(world: World) -> None:
    old = await registered(world, OLD, GREETER, COUNTER)
    new = await registered(world, NEW, GREETER)
    await world.restate.unregister(old)
    assert await world.restate.fetch_newest() == {"greeter": new}


async def test_one_made_after_a_removal_is_the_newest(world: World) -> None:
    await registered(world, OLD, GREETER)
    await world.restate.unregister(await registered(world, NEW, GREETER))
    third = await registered(world, "/demo/1.2.0-3", GREETER)
    assert await world.restate.fetch_newest() == {"greeter": third}


async def test_removing_twice_is_fine(world: World) -> None:
    deployment_id = await registered(world, OLD, GREETER)
    await world.restate.unregister(deployment_id)
    await world.restate.unregister(deployment_id)
    assert await world.restate.fetch_registrations() == ()


async def test_a_uri_that_was_removed_registers_anew(world: World) -> None:
    first = await registered(world, OLD, GREETER)
    await world.restate.unregister(first)
    again = await world.restate.register(world.uri(OLD), {})
    assert again.created
    assert again.deployment_id != first


# -- what discoveries fail with --------------------------------------------------------------------------


async def test_an_endpoint_that_answers_a_bad_status(world: World) -> None:
    uri = await world.end(OLD, Ending.BAD_STATUS)
    with pytest.raises(RestateRejected) as failure:
        await world.restate.discover(uri)
    assert (failure.value.status, failure.value.restate_code) == (500, "META0003")
    assert failure.value.action == f"discover {uri}"
    assert "Body: boom" in failure.value.reason


async def test_an_endpoint_that_is_not_of_restate(world: World) -> None:
    uri = await world.end(OLD, Ending.NO_RESTATE)
    assert await refusal(world.restate.discover(uri)) == (500, "META0013")
    assert await refusal(world.restate.register(uri, {})) == (500, "META0013")
    assert await world.restate.fetch_registrations() == ()


async def test_an_endpoint_that_is_not_there(world: World) -> None:
    assert await refusal(world.restate.discover(world.uri("/never/1-1"))) == (500, "META0003")


async def test_a_service_that_changes_its_type(world: World) -> None:
    old = await registered(world, OLD, GREETER)
    changed = replace(COUNTER, name="greeter")
    uri = await world.serve(NEW, changed)
    assert await world.restate.discover(uri) == Discovered((changed,))
    assert await refusal(world.restate.register(uri, {})) == (409, "META0006")
    assert (await world.restate.fetch_newest()) == {"greeter": old}
    new = await world.restate.register(uri, {}, breaking=True)
    assert await world.restate.fetch_newest() == {"greeter": new.deployment_id}


@pytest.mark.parametrize("less", [(), ("get",)], ids=["a service", "a handler"])
async def test_less_than_before_is_not_refused_by_restate(less: tuple[str, ...], world: World) -> None:
    """So this is for Gridiron to see."""
    old = await registered(world, OLD, GREETER, COUNTER)
    kept = tuple(handler for handler in COUNTER.handlers if handler.name in less)
    offered = (GREETER, replace(COUNTER, handlers=kept)) if kept else (GREETER,)
    new = await registered(world, NEW, *offered)
    assert await world.restate.fetch_newest() == {"greeter": new, "counter": new if kept else old}


async def test_the_holder_of_a_service_is_told_with_what_it_offers(world: World) -> None:
    old = await registered(world, OLD, GREETER, COUNTER)
    new = await registered(world, NEW, GREETER)
    assert await world.restate.fetch_holder("counter") == Holder(COUNTER, old)
    assert await world.restate.fetch_holder("greeter") == Holder(GREETER, new)
    assert await world.restate.fetch_holder("nobody's") is None


# -- demand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("doing", "demand"),
    [
        (Doing.RUNNING, Demand(pinned=0, attempting=1)),
        (Doing.RUNNING_PINNED, Demand(pinned=1, attempting=0)),
        (Doing.SLEEPING, Demand(pinned=1, attempting=0)),
        (Doing.SUSPENDED, Demand(pinned=1, attempting=0)),
        (Doing.BACKING_OFF, Demand(pinned=0, attempting=1)),
        (Doing.BACKING_OFF_PINNED, Demand(pinned=1, attempting=0)),
        (Doing.PAUSED_PINNED, Demand(pinned=1, attempting=0)),
    ],
    ids=lambda value: value.name if isinstance(value, Doing) else "",
)
async def test_what_needs_a_deployment(world: World, doing: Doing, demand: Demand) -> None:
    old = await registered(world, OLD, PROBE)
    await world.start("probe", doing)
    await becomes({old: demand}, world.restate.fetch_demand)


@pytest.mark.parametrize(
    "doing", [Doing.COMPLETED, Doing.SCHEDULED, Doing.WAITING, Doing.PAUSED, Doing.PAUSED_BACKING_OFF]
)
async def test_what_needs_no_deployment(world: World, doing: Doing) -> None:
    await registered(world, OLD, PROBE)
    await world.start("probe", doing)
    assert await world.restate.fetch_demand() == {}


async def test_what_holds_a_deployment_is_listed(world: World) -> None:
    old = await registered(world, OLD, PROBE)
    holding = [
        (await world.start("probe", doing), doing)
        for doing in (Doing.RUNNING, Doing.RUNNING_PINNED, Doing.SUSPENDED, Doing.PAUSED_PINNED)
    ]
    for doing in (Doing.COMPLETED, Doing.WAITING, Doing.PAUSED):
        await world.start("probe", doing)
    listed = await world.restate.fetch_holding(old, 10)
    assert {(one.invocation_id, one.status, one.pinned) for one in listed} == {
        (invocation_id, doing.value.status, doing.value.pinned) for invocation_id, doing in holding
    }
    assert {one.target.split("/")[0] for one in listed} == {"probe"}
    assert len(await world.restate.fetch_holding(old, 2)) == 2
    assert await world.restate.fetch_holding("dp_1none", 10) == ()


async def test_a_paused_invocation_can_be_moved_to_the_newest(world: World) -> None:
    old = await registered(world, OLD, PROBE)
    invocation = await world.start("probe", Doing.PAUSED_PINNED)
    new = await registered(world, NEW, PROBE)
    await becomes({old: Demand(pinned=1, attempting=0)}, world.restate.fetch_demand)
    await world.resume_on_newest(invocation)
    await becomes({new: Demand(pinned=1, attempting=0)}, world.restate.fetch_demand)


async def test_demand_is_counted_for_each_deployment(world: World) -> None:
    old = await registered(world, OLD, PROBE)
    for doing in (Doing.RUNNING, Doing.RUNNING_PINNED, Doing.SLEEPING, Doing.COMPLETED):
        await world.start("probe", doing)
    new = await registered(world, NEW, PROBE)
    for doing in (Doing.RUNNING, Doing.RUNNING, Doing.SUSPENDED):
        await world.start("probe", doing)
    assert await world.restate.fetch_demand() == {
        old: Demand(pinned=2, attempting=1),
        new: Demand(pinned=1, attempting=2),
    }


async def test_a_retry_without_a_journal_goes_to_the_newest(world: World) -> None:
    old = await registered(world, OLD, PROBE)
    invocation = await world.start("probe", Doing.BACKING_OFF)
    await becomes({old: Demand(pinned=0, attempting=1)}, world.restate.fetch_demand)
    new = await registered(world, NEW, PROBE)
    await world.let_retry(invocation)
    await becomes({new: Demand(pinned=0, attempting=1)}, world.restate.fetch_demand)


async def test_a_retry_with_a_journal_stays(world: World) -> None:
    old = await registered(world, OLD, PROBE)
    pinned = await world.start("probe", Doing.BACKING_OFF_PINNED)
    free = await world.start("probe", Doing.BACKING_OFF)
    new = await registered(world, NEW, PROBE)
    await world.let_retry(pinned)
    await world.let_retry(free)
    expected = {old: Demand(pinned=1, attempting=0), new: Demand(pinned=0, attempting=1)}
    await becomes(expected, world.restate.fetch_demand)


# -- Restate itself --------------------------------------------------------------------------------------


async def test_it_says_its_version(world: World) -> None:
    assert await world.restate.check() == "1.7.12"
    assert await world.restate.fetch_version() == "1.7.12"


METHODS: Mapping[str, Callable[[RestatePort], Awaitable[object]]] = {
    "discover": lambda restate: restate.discover("http://w/a/1-1"),
    "register": lambda restate: restate.register("http://w/a/1-1", {}),
    "fetch_registrations": lambda restate: restate.fetch_registrations(),
    "fetch_newest": lambda restate: restate.fetch_newest(),
    "fetch_demand": lambda restate: restate.fetch_demand(),
    "fetch_holder": lambda restate: restate.fetch_holder("probe"),
    "fetch_holding": lambda restate: restate.fetch_holding("dp_1", 10),
    "fetch_start": lambda restate: restate.fetch_start(),
    "fetch_incarnation": lambda restate: restate.fetch_incarnation(),
    "unregister": lambda restate: restate.unregister("dp_1"),
    "check": lambda restate: restate.check(),
    "fetch_version": lambda restate: restate.fetch_version(),
}


@pytest.mark.parametrize("method", METHODS)
async def test_when_it_is_down_every_method_says_so(world: World, method: str) -> None:
    with pytest.raises(RestateUnavailable):
        await METHODS[method](world.down)


async def test_it_names_its_start(world: World) -> None:
    name = await world.restate.fetch_incarnation()
    assert name == await world.restate.fetch_incarnation()
    assert name.startswith("N1:")
    assert await world.restate.fetch_start() == start_of(name)


# -- the ingress, which has no fake ----------------------------------------------------------------------


async def test_the_ingress_calls_sends_and_fetches(real: RealWorld) -> None:
    await registered(real, OLD, PROBE, COUNTER)
    ingress = real.ingress
    assert await ingress.call("probe", "answer", {"a": [1, None]}) == {"a": [1, None]}
    assert await ingress.call("probe", "answer") == "done"
    assert await ingress.call("counter", "add", 1, key="a/b ü") == 1
    sent = await ingress.send("probe", "answer", "x", idempotency_key="once")
    assert await ingress.send("probe", "answer", "x", idempotency_key="once") == sent
    assert await ingress.attach(sent) == "x"
    assert await ingress.fetch_output(sent) == "x"


async def test_the_ingress_tells_failures_apart(real: RealWorld) -> None:
    await registered(real, OLD, PROBE)
    ingress = real.ingress
    with pytest.raises(InvocationFailed) as failed:
        await ingress.call("probe", "refuse")
    assert (failed.value.status, failed.value.reason) == (418, "no such thing")
    for asking in (ingress.call("probe", "nothing"), ingress.call("nobody", "greet")):
        assert await refusal(asking) == (404, "")
    running = await real.start("probe", Doing.RUNNING)
    assert await refusal(ingress.fetch_output(running)) == (470, "")
