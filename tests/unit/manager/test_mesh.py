"""Two managers of one cluster: a Restate and a bucket between them, and a disk for each."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gridiron.bundles.shared import SharedStore
from gridiron.errors import (
    ActivationFailed,
    BucketUnavailable,
    DrainUnknown,
    LeaseLost,
    RestateUnavailable,
    RoutingUnknown,
)
from gridiron.lifecycle.observation import Mark, Registration
from gridiron.lifecycle.routing import Holder
from gridiron.manager.api import Activated, NodeCopy, PruneRequest, RollbackRequest
from gridiron.manager.context import to_nobody
from gridiron.manager.copies import Copies
from gridiron.manager.execute import NAME_TURN, REMOVAL, name_turn
from gridiron.manager.secrets import Change
from gridiron.manager.turns import Check
from gridiron.model import Address
from gridiron.restate.answers import address_of
from gridiron.restate.port import Registered
from gridiron.testing.objects import FakeObjects
from gridiron.testing.restate import FakeEndpoint, FakeRestate, Refusal
from tests.unit.manager.conftest import Clock, Manager, make_settings

LIMIT = 1 << 30


class Pair:
    """Two managers, `one` and `two`."""

    def __init__(self, directory: Path) -> None:
        self.bucket, self.restate, self.clock = FakeObjects(), FakeRestate(), Clock()
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.lost: set[str] = set()  # keys of turns that are another node's by now
        self.one, self.two = (self._make(directory / name, name) for name in ("n1", "n2"))
        find = self.one._find_endpoint, self.two._find_endpoint

        def find_endpoint(uri: str) -> FakeEndpoint | None:
            return find[0](uri) or find[1](uri)

        self.restate.find_endpoint = find_endpoint
        self.copies = {manager: copies_of(manager) for manager in (self.one, self.two)}
        self.one.context.spread = self._spread_to(self.two)
        self.two.context.spread = self._spread_to(self.one)

    def _make(self, directory: Path, name: str) -> Manager:
        directory.mkdir()
        settings = make_settings(directory)
        store = SharedStore(settings.bundles_dir, self.bucket, name)
        return Manager(
            directory, settings, self.restate, clock=self.clock, store=store, everywhere=self._take_turn
        )

    @asynccontextmanager
    async def _take_turn(self, key: str) -> AsyncIterator[Check]:
        """Keep apart what the managers of a mesh keep apart: see Mesh."""

        def check() -> None:
            if key in self.lost:
                raise LeaseLost(key, "another node has taken it over")

        if key != REMOVAL and not key.startswith(NAME_TURN):
            yield lambda: None
            return
        if key in self.lost:  # who has lost it does not keep others from it
            yield lambda: None
            return
        async with self._locks[key]:
            yield check

    @staticmethod
    def _spread_to(other: Manager):  # noqa: ANN205 - a Spread
        async def spread(address: Address) -> tuple[NodeCopy, ...]:
            present = await copies_of(other).ensure(address)
            return (NodeCopy(node="other", present=present),)

        return spread


def copies_of(manager: Manager) -> Copies:
    store = manager.context.store
    assert isinstance(store, SharedStore)
    return Copies(store, manager.observer, LIMIT)


def stored(pair: Pair) -> set[str]:
    return {listed.key for listed in pair.bucket.list("")}


async def sweep(pair: Pair, manager: Manager) -> None:
    """Do what a manager does in two rounds of its loop."""
    for _ in range(2):
        await manager.loop.sweep()
        await pair.copies[manager].tend()


def has_copy(manager: Manager, build_id: str) -> bool:
    return (manager.settings.bundles_dir / build_id / "index.js").is_file()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


async def test_what_one_activates_the_other_sees_at_once_and_has(pair: Pair) -> None:
    activated = await pair.one.activate("1")
    assert activated.copies == (NodeCopy(node="other", present=True),)
    assert list(activated.timings_ms)[3:6] == ["discover", "spread", "compare"]
    assert await pair.one.states() == await pair.two.states() == {"1": "active"}
    assert has_copy(pair.two, activated.build_id)


async def test_they_take_turns_with_a_name(pair: Pair) -> None:
    for version, manager in (("1", pair.one), ("2", pair.two), ("3", pair.one)):
        activated = await manager.activate(version)
        assert len(activated.replaces) == (version != "1")
    await pair.two.activator.rollback(RollbackRequest(name="demo"))
    expected = {"1": "drained", "2": "active", "3": "drained"}
    assert await pair.one.states() == await pair.two.states() == expected


async def test_the_same_content_is_activated_once(pair: Pair) -> None:
    source = pair.one.bundle("// demo 1\n// offers demo")
    outcomes = await asyncio.gather(
        *(manager.activate_source(source, "1") for manager in (pair.one, pair.two, pair.one))
    )
    assert sorted(activated.outcome for activated in outcomes) == ["activated", "unchanged", "unchanged"]
    assert len({activated.build_id for activated in outcomes}) == 1


async def test_many_activations_on_both_are_as_many_builds(pair: Pair) -> None:
    async def activate(number: int) -> str:
        manager = (pair.one, pair.two)[number % 2]
        source = manager.bundle(f"// {number}\n// offers service{number % 3}")
        return (await manager.activate_source(source, f"v{number}", name=f"name{number % 3}")).build_id

    builds = await asyncio.gather(*map(activate, range(12)))
    assert len(set(builds)) == 12
    assert {build.build_id for build in pair.two.context.store.list_builds()} == set(builds)
    registered = {each.build_id for each in await pair.restate.fetch_registrations()}
    assert registered == set(builds)


async def test_both_prune_at_once_without_harm(pair: Pair) -> None:
    for version in "123":
        await pair.one.activate(version)
    outcomes = await asyncio.gather(*(manager.loop.prune(PruneRequest()) for manager in (pair.one, pair.two)))
    pruned = [pruned.build_id for outcome in outcomes for pruned in outcome.pruned]
    assert len(pruned) == len(set(pruned)) == 2
    assert (
        await pair.one.states() == await pair.two.states() == {"1": "retired", "2": "retired", "3": "active"}
    )


async def test_what_one_has_under_way_the_other_leaves_alone(pair: Pair) -> None:
    seen = []

    async def spread(_address: Address) -> tuple[NodeCopy, ...]:
        await pair.two.loop.sweep()
        seen.append(await pair.two.states())
        return ()

    pair.one.context.spread = spread
    await pair.one.activate("1")
    assert seen == [{"1": "staged"}]
    assert await pair.two.states() == {"1": "active"}


async def test_what_has_lost_the_turn_of_its_name_is_not_registered(pair: Pair) -> None:
    await pair.one.activate("0")
    later: list[asyncio.Task[Activated]] = []

    async def lose(_address: Address) -> tuple[NodeCopy, ...]:
        pair.lost.add(name_turn("demo"))
        pair.one.context.spread = to_nobody
        later.append(asyncio.create_task(pair.two.activate("2")))
        await asyncio.wait(later)
        return ()

    pair.one.context.spread = lose
    with pytest.raises(ActivationFailed) as failed:
        await pair.one.activate("1")
    assert (await later[0]).outcome == "activated"
    assert await pair.two.states() == {"0": "drained", "2": "active"}
    assert (failed.value.step, failed.value.cause.code) == ("compare", "routing_unknown")


async def test_a_turn_that_is_lost_after_all_was_compared(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_holder = pair.restate.fetch_holder

    async def lose(service: str) -> Holder | None:
        pair.lost.add(name_turn("demo"))
        return await fetch_holder(service)

    monkeypatch.setattr(pair.restate, "fetch_holder", lose)
    with pytest.raises(ActivationFailed) as failed:
        await pair.one.activate("1")
    assert (failed.value.step, failed.value.cause.code) == ("register", "lease_lost")
    assert await pair.restate.fetch_registrations() == ()
    assert await pair.one.states() == {}


async def test_a_restate_that_starts_anew_in_a_turn_has_said_too_little(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.one.activate("1")
    fetch_registrations = pair.restate.fetch_registrations

    async def fetch_and_start() -> tuple[Registration, ...]:
        pair.restate.incarnation = "N1:2"
        await fetch_registrations()
        return ()

    monkeypatch.setattr(pair.restate, "fetch_registrations", fetch_and_start)
    change = Change("demo", "KEY", "value")
    with pytest.raises(RestateUnavailable, match="started anew"):
        await pair.one.activator.change_secret(change)


async def test_a_dry_run_brings_nothing_into_the_bucket(pair: Pair) -> None:
    before = stored(pair)
    pair.bucket.requests.clear()
    assert (await pair.one.activate("1", dry_run=True)).outcome == "dry_run"
    assert stored(pair) == before
    assert not [request for request in pair.bucket.requests if request.endswith((".tar.gz", "metadata.json"))]


async def test_a_build_on_its_way_into_the_bucket_stays_loaded(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_from, going_on = pair.bucket.create_from, threading.Event()

    def create_slowly(key: str, path: Path) -> None:
        going_on.wait(10)
        create_from(key, path)

    monkeypatch.setattr(pair.bucket, "create_from", create_slowly)
    activating = asyncio.create_task(pair.one.activate("1"))
    async with asyncio.timeout(10):
        while "discover" not in pair.restate.requests:  # noqa: ASYNC110 - a fake that notifies nobody
            await asyncio.sleep(0.001)
    (path,) = [f"/demo/{build_id.removeprefix('demo-')}" for build_id in pair.one.observer.activating]
    pair.one.cells.load(path)
    await pair.one.loop.sweep()
    assert await pair.one.loaded() == [path]
    going_on.set()
    assert (await activating).outcome == "activated"


async def test_what_does_not_load_is_gone_though_it_was_on_its_way_into_the_bucket(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_from, done = pair.bucket.create_from, []

    def create_slowly(key: str, path: Path) -> None:
        time.sleep(0.2)
        create_from(key, path)
        done.append(key)

    monkeypatch.setattr(pair.bucket, "create_from", create_slowly)
    monkeypatch.setattr(pair.restate, "find_endpoint", lambda _uri: Refusal("META0003", "no discovery"))
    before = stored(pair)
    with pytest.raises(ActivationFailed) as failed:
        await pair.one.activate("1")
    assert failed.value.step == "discover"
    assert len(done) == 1
    assert stored(pair) == before


async def test_what_does_not_come_into_the_bucket_is_not_registered(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_from(_key: str, _path: Path) -> None:
        raise BucketUnavailable(pair.bucket.url, "it is away")

    monkeypatch.setattr(pair.bucket, "create_from", create_from)
    before = stored(pair)
    with pytest.raises(ActivationFailed) as failed:
        await pair.one.activate("1")
    assert (failed.value.step, type(failed.value.cause)) == ("spread", BucketUnavailable)
    assert await pair.restate.fetch_registrations() == ()
    assert stored(pair) == before
    assert await pair.one.states() == {}


async def test_what_a_node_left_half_done_is_removed_by_itself(pair: Pair) -> None:
    async def spread(_address: Address) -> tuple[NodeCopy, ...]:
        raise asyncio.CancelledError

    pair.one.context.spread = spread
    with pytest.raises(asyncio.CancelledError):
        await pair.one.activate("1")
    await asyncio.sleep(0)  # the claim ends
    await pair.two.loop.sweep()
    assert await pair.two.states() == {"1": "staged"}
    await pair.one.loop.sweep()
    assert await pair.two.states() == {}


async def test_a_node_whose_copies_lack_fetches_them_and_drops_what_is_gone(pair: Pair) -> None:
    pair.one.context.spread = pair.two.context.spread  # back to itself: the other hears nothing
    first = await pair.one.activate("1")
    assert not has_copy(pair.two, first.build_id)
    await sweep(pair, pair.two)
    assert has_copy(pair.two, first.build_id)
    second = await pair.one.activate("2")
    await pair.one.loop.prune(PruneRequest(build_id=first.build_id))
    await sweep(pair, pair.two)
    assert not has_copy(pair.two, first.build_id)
    assert has_copy(pair.two, second.build_id)


async def test_a_build_that_is_loaded_keeps_its_copy(pair: Pair) -> None:
    first = await pair.one.activate("1")
    await pair.one.activate("2")
    await pair.one.loop.prune(PruneRequest(build_id=first.build_id))
    pair.two.cells.load(first.path)
    await pair.two.loop.sweep()  # which unloads it
    for _ in range(2):
        await pair.copies[pair.two].tend()
    assert has_copy(pair.two, first.build_id)
    await sweep(pair, pair.two)
    assert not has_copy(pair.two, first.build_id)


async def test_with_the_bucket_away_nothing_is_activated_or_removed_and_builds_are_told(pair: Pair) -> None:
    for version in "12":
        await pair.one.activate(version)
    before = await pair.one.states()
    assert before == {"1": "drained", "2": "active"}
    pair.bucket.away = True
    with pytest.raises((ActivationFailed, RoutingUnknown, BucketUnavailable)) as caught:
        await pair.one.activate("3")
    assert "s3://fake-bucket/gridiron" in str(caught.value)
    assert await pair.one.states() == {"1": "unknown", "2": "unknown"}
    await pair.one.loop.sweep()
    assert (await pair.one.loop.prune(PruneRequest())).pruned == ()
    with pytest.raises(DrainUnknown):
        await pair.one.loop.prune(PruneRequest(build_id=pair.one.stored[0], force=True))
    pair.bucket.away = False
    assert await pair.one.states() == before
    await pair.one.activate("3")


async def test_a_removal_that_one_began_is_ended_by_the_other(pair: Pair) -> None:
    first = await pair.one.activate("1")
    await pair.one.activate("2")
    pair.one.context.store.mark(first.build_id, Mark.LEAVING)
    await pair.two.loop.sweep()
    assert await pair.one.states() == {"2": "active"}


def test_the_uri_of_a_build_is_the_same_on_every_node(pair: Pair) -> None:
    address = Address(name="demo", version="1", timestamp=1)
    assert pair.one.context.uri(address) == pair.two.context.uri(address)
    assert address_of(pair.one.context.uri(address)) == address


async def test_a_mark_that_another_node_has_taken_away_fails_no_activation(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = pair.restate.register

    async def register_and_be_settled(*args: Any, **more: Any) -> Registered:
        registered = await register(*args, **more)
        await pair.two.loop.sweep()  # which sees that it is registered
        return registered

    monkeypatch.setattr(pair.restate, "register", register_and_be_settled)
    activated = await pair.one.activate("1")
    assert activated.outcome == "activated"
    assert await pair.one.states() == await pair.two.states() == {"1": "active"}
    assert pair.one.context.store.fetch_inventory().marks == {}
