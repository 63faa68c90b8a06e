from __future__ import annotations

import asyncio

import pytest

from gridiron.errors import RestateUnavailable
from gridiron.lifecycle.observation import Demand
from gridiron.lifecycle.routing import Handler, Service
from gridiron.testing.restate import FakeRestate, Phase, fake_service

URI = "http://w/demo/1.0.0-1"
GREETER = fake_service("greeter", "wave", "greet")

# that it behaves as Restate does is what tests/contract holds it to; here are its switches


def test_a_service_is_made_with_its_handlers_in_order() -> None:
    handlers = (Handler("greet", None), Handler("wave", None))
    assert Service("greeter", "Service", handlers) == GREETER


async def test_it_remembers_what_was_asked_in_order() -> None:
    restate = FakeRestate()
    restate.serve(URI, GREETER)
    await restate.discover(URI)
    made = await restate.register(URI, {})
    await restate.unregister(made.deployment_id)
    assert restate.requests == ["discover", "register", "unregister"]


async def test_while_it_is_down_nothing_changes() -> None:
    restate = FakeRestate()
    restate.serve(URI, GREETER)
    restate.down = "stopped"
    with pytest.raises(RestateUnavailable, match="stopped"):
        await restate.register(URI, {})
    restate.down = None
    assert await restate.fetch_registrations() == ()


async def test_while_it_is_slow_requests_wait() -> None:
    restate = FakeRestate()
    restate.slow.clear()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(restate.fetch_version(), name="asked")
        await asyncio.sleep(0)  # lets it begin
        assert (restate.requests, asked.done()) == (["fetch_version"], False)
        restate.slow.set()
    assert asked.result() == "1.7.12"


async def test_an_invocation_goes_through_its_life() -> None:
    restate = FakeRestate()
    restate.serve(URI, GREETER)
    deployment_id = (await restate.register(URI, {})).deployment_id
    seen = []
    invocation = restate.start("greeter", Phase.SCHEDULED)
    seen.append(await restate.fetch_demand())
    restate.retry(invocation)
    seen.append(await restate.fetch_demand())
    restate.pin(invocation)
    seen.append(await restate.fetch_demand())
    restate.complete(invocation)
    seen.append(await restate.fetch_demand())
    attempting, pinned = Demand(pinned=0, attempting=1), Demand(pinned=1, attempting=0)
    assert seen == [{}, {deployment_id: attempting}, {deployment_id: pinned}, {}]
