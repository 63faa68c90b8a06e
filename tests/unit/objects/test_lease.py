from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from gridiron.errors import BucketUnavailable, LeaseLost, LeaseTaken
from gridiron.objects.lease import LEASE, Held, Leases, parse_held, render_held
from gridiron.objects.port import Objects
from gridiron.testing.objects import FakeObjects
from tests.unit.objects.virtual import inline, now, run

T = TypeVar("T")
KEY = "leases/demo"
LONG = timedelta(minutes=5)


def leases(objects: Objects, node: str) -> Leases:
    return Leases(objects, node, now, inline)


def read(objects: Objects) -> Held:
    held = parse_held(objects.get(KEY, 4096).content)
    assert held is not None
    return held


def leave_behind(objects: Objects, node: str) -> None:
    """Have a node take the lease, and die."""
    objects.put(KEY, render_held(Held(node=node, nonce="0a", count=7, given_back=False)))


async def hold_for(seconds: float, mine: Leases, limit: timedelta = LONG) -> tuple[float, float]:
    """Hold the lease for a time, being sure of it at its end; give when that was."""
    async with mine.hold("demo", limit) as lease:
        began = now()
        await asyncio.sleep(seconds)
        lease.check()
        return began, now()


async def until(at: float) -> None:
    await asyncio.sleep(at - now())


class Stalled:
    """Calls what blocks, as `inline`; what is called while `goes_on` is cleared waits for it to be set."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def __call__(self, blocking: Callable[[], T], /) -> T:
        await self.goes_on.wait()
        return blocking()


# -- taking turns ----------------------------------------------------------------------------------------


def test_a_lease_is_held_and_given_back() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with leases(objects, "n1").hold("demo", LONG) as lease:
            lease.check()
            held = read(objects)
            assert (lease.name, held.node, held.count, held.given_back) == ("demo", "n1", 0, False)
            await until(5)
            assert read(objects) == held.model_copy(update={"count": 2})
        assert read(objects) == held.model_copy(update={"count": 3, "given_back": True})
        assert (await hold_for(0, leases(objects, "n2"))) == (5, 5)
        assert read(objects).node == "n2"

    run(story())


def test_leases_of_different_names_are_held_at_once() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with leases(objects, "n1").hold("demo", LONG), leases(objects, "n2").hold("other", LONG):
            assert [each.key for each in objects.list("leases")] == ["leases/demo", "leases/other"]

    run(story())


def test_who_waits_has_it_within_a_second_of_its_being_given_back() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(hold_for(40.5, leases(objects, "n1")))
            await asyncio.sleep(0.1)
            second = group.create_task(hold_for(40, leases(objects, "n2")))
        assert first.result() == (0, 40.5)
        assert 40.5 <= second.result()[0] <= 41.5

    run(story())


def test_who_waits_too_long_is_told_who_has_it() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with leases(objects, "n1").hold("demo", LONG):
            for limit in (0, 7.5, 60):
                began = now()
                with pytest.raises(LeaseTaken) as caught:
                    await hold_for(0, leases(objects, "n2"), timedelta(seconds=limit))
                assert now() - began == pytest.approx(limit)
                assert (caught.value.key, caught.value.node) == ("demo", "n1")

    run(story())


def test_of_several_who_wait_one_has_it() -> None:
    async def story() -> None:
        objects = FakeObjects()
        leave_behind(objects, "n0")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(hold_for(30, leases(objects, f"n{number}"))) for number in range(1, 5)]
        turns = sorted(task.result() for task in tasks)
        assert all(ended <= begun for (_, ended), (begun, _) in pairwise(turns))
        assert turns[-1][1] < 15 + 4 * 32

    run(story())


# -- holders that die or are stopped ---------------------------------------------------------------------


def test_a_dead_holder_is_outlasted_after_the_lease_and_not_before() -> None:
    async def story() -> None:
        objects = FakeObjects()
        leave_behind(objects, "n1")
        with pytest.raises(LeaseTaken, match="The node n1 works on demo"):
            await hold_for(0, leases(objects, "n2"), LEASE - timedelta(seconds=0.125))
        began = now()
        taken, _ = await hold_for(0, leases(objects, "n2"))
        assert LEASE.total_seconds() <= taken - began <= LEASE.total_seconds() + 1

    run(story())


def test_a_lease_that_nobody_understands_is_outlasted_too() -> None:
    async def story() -> None:
        objects = FakeObjects()
        objects.put(KEY, b"\xff{")
        with pytest.raises(LeaseTaken, match="The node unknown"):
            await hold_for(0, leases(objects, "n2"), timedelta(seconds=10))
        taken, _ = await hold_for(0, leases(objects, "n2"))
        assert 25 <= taken <= 26

    run(story())


def test_a_newer_version_may_say_more() -> None:
    assert parse_held(b'{"node":"n1","nonce":"a","count":1,"given_back":true,"more":[]}') == Held(
        node="n1", nonce="a", count=1, given_back=True
    )


def test_a_holder_that_was_stopped_notices() -> None:
    async def story() -> None:
        objects, stalled = FakeObjects(), Stalled()
        async with (
            asyncio.TaskGroup() as group,
            Leases(objects, "n1", now, stalled).hold("demo", LONG) as lease,
        ):
            await until(3)
            stalled.goes_on.clear()
            other = group.create_task(hold_for(60, leases(objects, "n2")))
            await until(9.4)
            lease.check()
            await until(9.6)
            with pytest.raises(LeaseLost, match="the bucket has not confirmed it for 8 s"):
                lease.check()
            await until(30)
            assert read(objects).node == "n2"
            stalled.goes_on.set()
            await until(31)
            with pytest.raises(LeaseLost, match="another node"):
                lease.check()
        taken, ended = other.result()
        assert 18 <= taken <= 19
        assert (ended, read(objects).node) == (taken + 60, "n2")

    run(story())


def test_a_lease_that_somebody_deleted_is_lost() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with leases(objects, "n1").hold("demo", LONG) as lease:
            objects.delete(KEY)
            await until(3)
            with pytest.raises(LeaseLost, match="another node"):
                lease.check()
        assert objects.list("") == ()

    run(story())


# -- a bucket that is away -------------------------------------------------------------------------------


def test_renewals_that_fail_and_then_succeed() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with asyncio.TaskGroup() as group, leases(objects, "n1").hold("demo", LONG) as lease:
            await until(2.5)
            objects.away = True
            with capture_logs() as logs:
                await until(7)
            assert [each["event"] for each in logs] == ["lease.not_renewed"] * 2
            lease.check()
            objects.away = False
            other = group.create_task(hold_for(0, leases(objects, "n2")))
            await until(60)
            lease.check()
            assert not other.done()
        assert 60 <= other.result()[0] <= 61

    run(story())


def test_a_lease_that_was_in_doubt_is_relied_on_again_where_nobody_took_it() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with leases(objects, "n1").hold("demo", LONG) as lease:
            await until(2.5)
            objects.away = True
            await until(20)
            with pytest.raises(LeaseLost, match="has not confirmed it for 18 s"):
                lease.check()
            objects.away = False
            await until(22.5)
            lease.check()

    run(story())


def test_a_renewal_whose_answer_is_lost_is_no_loss() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with leases(objects, "n1").hold("demo", LONG) as lease:
            objects.lost = 2
            await until(9)
            lease.check()
            assert objects.lost == 0
            assert read(objects).node == "n1"
        assert read(objects).given_back

    run(story())


def test_a_bucket_that_is_away_fails_who_waits_and_not_who_holds() -> None:
    async def story() -> None:
        objects = FakeObjects()
        async with leases(objects, "n1").hold("demo", LONG) as lease:
            waiting = asyncio.create_task(hold_for(0, leases(objects, "n2")))
            await until(4.5)
            objects.away = True
            with pytest.raises(BucketUnavailable):
                await waiting
            assert now() <= 5.5
            objects.away = False
            await until(8)
            lease.check()

    run(story())


def test_a_lease_that_cannot_be_taken_or_given_back() -> None:
    async def story() -> None:
        objects = FakeObjects()
        objects.away = True
        with pytest.raises(BucketUnavailable):
            await hold_for(0, leases(objects, "n1"))
        objects.away = False
        with capture_logs() as logs:
            async with leases(objects, "n1").hold("demo", LONG):
                objects.away = True
        assert [(each["event"], each["name"]) for each in logs] == [("lease.not_given_back", "demo")]
        objects.away = False
        taken, _ = await hold_for(0, leases(objects, "n2"))
        assert 15 <= taken <= 16

    run(story())


def test_giving_back_takes_five_seconds_at_the_most() -> None:
    async def story() -> None:
        objects, stalled = FakeObjects(), Stalled()
        with capture_logs() as logs:
            async with Leases(objects, "n1", now, stalled).hold("demo", LONG):
                stalled.goes_on.clear()
        assert now() == 5
        assert [each["event"] for each in logs] == ["lease.not_given_back"]

    run(story())


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    async def story() -> None:
        async def slow(blocking: Callable[[], T], /) -> T:
            answer = blocking()
            await asyncio.sleep(7 if 2 <= now() < 3 else 0)
            return answer

        async with Leases(FakeObjects(), "n1", now, slow).hold("demo", LONG) as lease:
            await until(9.25)
            lease.check()
            await until(9.75)
            with pytest.raises(LeaseLost):
                lease.check()
            await until(11.5)
            lease.check()

    run(story())


def test_a_lease_that_was_taken_too_slowly_is_none() -> None:
    async def story() -> None:
        objects = FakeObjects()

        async def slow(blocking: Callable[[], T], /) -> T:
            answer = blocking()
            await asyncio.sleep(4 if now() < 5 else 0)
            return answer

        objects.put(KEY, render_held(Held(node="n2", nonce="0a", count=7, given_back=True)))
        with pytest.raises(LeaseLost, match="has not confirmed it for 8 s"):
            await hold_for(0, Leases(objects, "n1", lambda: 2 * now(), slow))
        assert (read(objects).node, read(objects).given_back) == ("n1", True)

    run(story())


# -- what ends the block ---------------------------------------------------------------------------------


def test_an_error_comes_out_as_it_is_and_the_lease_is_given_back() -> None:
    async def story() -> None:
        objects, error = FakeObjects(), LookupError("mine")
        with pytest.raises(LookupError) as caught:
            async with leases(objects, "n1").hold("demo", LONG):
                raise error
        assert caught.value is error
        assert read(objects).given_back

    run(story())


def test_a_lease_is_given_back_when_its_holder_is_cancelled() -> None:
    async def story() -> None:
        objects = FakeObjects()
        task = asyncio.create_task(hold_for(60, leases(objects, "n1")))
        await until(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (now(), read(objects).given_back) == (5, True)

    run(story())


def test_a_renewal_that_was_not_waited_for_is_no_obstacle() -> None:
    """The thread of a request goes on where nobody waits for it any more."""

    async def story() -> None:
        objects, in_flight = FakeObjects(), list[Callable[[], object]]()

        async def leave_in_flight(blocking: Callable[[], T], /) -> T:
            if 2 <= now() < 3:
                in_flight.append(blocking)
                await asyncio.sleep(5)
            elif in_flight:
                in_flight.pop()()
            return blocking()

        async with Leases(objects, "n1", now, leave_in_flight).hold("demo", LONG):
            await until(3)
        assert (in_flight, now(), read(objects).given_back) == ([], 3, True)

    run(story())
