"""Whatever happens to requests and processes, no two nodes rely on a lease at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridiron.errors import (
    BucketUnavailable,
    LeaseLost,
    LeaseTaken,
    ObjectChanged,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
)
from gridiron.objects.lease import LEASE, Lease, Leases
from gridiron.testing.objects import FAKE_URL, FakeObjects
from tests.unit.objects.virtual import now, run

T = TypeVar("T")
NODES = 3
STORY = 100.0
"""Seconds, of the story's time."""

STOPPED = 0.3
"""The share of the turns in which a process is stopped for a while, where there is trouble."""

UNEVEN = 0.05
"""By how much the clock of a node may be too fast or too slow."""


class Witness:
    """Sees who relies on the lease, and that it is one at the most."""

    def __init__(self) -> None:
        self.holders: list[tuple[str, Lease]] = []
        self.turns: list[str] = []
        self.taken_over = 0
        self.looks = 0

    @contextmanager
    def sees(self, node: str, lease: Lease) -> Iterator[None]:
        # who has it still, though it is not relied on any more, must have had it for a whole LEASE in vain
        for other, abandoned in self.holders:
            age = abandoned.clock() - abandoned.renewed_at
            assert age >= LEASE.total_seconds() * (1 - 2 * UNEVEN), (other, node)
            self.taken_over += 1
        self.turns.append(node)
        self.holders.append((node, lease))
        try:
            yield
        finally:
            self.holders.remove((node, lease))

    def look(self) -> None:
        self.looks += 1
        relying = [node for node, lease in self.holders if relies_on(lease)]
        assert len(relying) <= 1, (now(), relying)


def relies_on(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return False
    return True


class Network:
    """Carries the requests of a node: late, never, later than anybody waits, or without the answer.

    While the process of the node is stopped, none of its requests begins.
    """

    def __init__(self, random: Random, trouble: float, witness: Witness) -> None:
        self._random = random
        self.trouble = trouble  # the share of the requests that have some
        self._witness = witness
        self._stopped_until = 0.0

    async def stop(self, seconds: float) -> None:
        """Have the process of the node stopped for a time."""
        self._stopped_until = now() + seconds
        await asyncio.sleep(seconds)

    async def __call__(self, blocking: Callable[[], T], /) -> T:
        fate = self._random.choice(FATES) if self._random.random() < self.trouble else None
        try:
            await asyncio.sleep(max(self._stopped_until - now(), 0) + self._random.uniform(0, 0.3))
        except asyncio.CancelledError:
            self._arrive_later(blocking)
            raise
        if fate == "lost":
            await self._fail_after(5)
        if fate == "late":
            self._arrive_later(blocking)
            await self._fail_after(5)
        answer = self._arrive(blocking)
        if fate == "answered late":
            await asyncio.sleep(self._random.uniform(0, 40))
        if fate == "unanswered":
            await self._fail_after(self._random.uniform(0, 5))
        await asyncio.sleep(self._random.uniform(0, 0.3))
        return answer

    def _arrive(self, blocking: Callable[[], T]) -> T:
        self._witness.look()
        try:
            return blocking()
        finally:
            self._witness.look()

    def _arrive_later(self, blocking: Callable[[], object]) -> None:
        def arrive() -> None:
            try:
                self._arrive(blocking)
            except (ObjectMissing, ObjectExists, ObjectChanged, ObjectDamaged):
                return  # there is nobody to tell

        asyncio.get_running_loop().call_later(self._random.uniform(0, 20), arrive)

    async def _fail_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise BucketUnavailable(FAKE_URL, "no answer in time")


FATES = ("lost", "late", "answered late", "unanswered")


async def live(node: str, leases: Leases, network: Network, random: Random, witness: Witness) -> None:
    """Hold the lease again and again, for a time or as long as it is sure, and be stopped now and then."""
    while now() < STORY:
        try:
            async with leases.hold("demo", timedelta(seconds=60)) as lease:
                with witness.sees(node, lease):
                    if network.trouble and random.random() < STOPPED:
                        await network.stop(random.uniform(0, 40))
                    ends_at = now() + random.choice((0, 1, 10, 30))
                    while now() < ends_at:
                        await asyncio.sleep(0.5)
                        witness.look()
                        lease.check()
        except (BucketUnavailable, LeaseTaken, LeaseLost):
            await asyncio.sleep(random.uniform(0, 3))
        await asyncio.sleep(random.uniform(0, 1))


async def tell(random: Random, trouble: float) -> Witness:
    objects, witness = FakeObjects(), Witness()
    async with asyncio.TaskGroup() as group:
        for number in range(NODES):
            network = Network(random, trouble, witness)
            leases = Leases(objects, f"n{number}", uneven_clock(random), network)
            group.create_task(live(f"n{number}", leases, network, random, witness))
    return witness


def uneven_clock(random: Random) -> Callable[[], float]:
    rate, start = random.uniform(1 - UNEVEN, 1 + UNEVEN), random.uniform(0, 1e6)
    loop = asyncio.get_running_loop()
    return lambda: start + rate * loop.time()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.sampled_from((0.0, 0.01, 0.1, 0.4)))
def test_no_two_nodes_rely_on_a_lease_at_once(seed: int, trouble: float) -> None:
    """The witness asserts it. Where much fails, nobody may come to have it in all of a story."""
    witness = run(tell(Random(seed), trouble))  # noqa: S311 - no secret
    assert witness.looks > 0


def test_all_have_their_turns_where_nothing_fails() -> None:
    witness = run(tell(Random(1), 0.0))  # noqa: S311 - no secret
    assert set(witness.turns) == {"n0", "n1", "n2"}
    assert witness.taken_over == 0


def test_what_is_abandoned_is_taken_over_where_processes_are_stopped() -> None:
    """So the test above sees what it is about."""
    stories = [run(tell(Random(seed), 0.01)) for seed in range(5)]  # noqa: S311 - no secret
    assert sum(story.taken_over for story in stories) > 0
