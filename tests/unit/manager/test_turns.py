from __future__ import annotations

import asyncio

from gridiron.manager.holdoff import MAX_ROUNDS, HoldOff
from gridiron.manager.turns import Turns


async def test_turns_of_a_key_come_in_order_and_others_beside_them() -> None:
    turns, order = Turns(), list[str]()

    async def act(name: str, *keys: str) -> None:
        async with turns.hold(*keys):
            order.append(name)
            await asyncio.sleep(0)
            order.append(name)

    await asyncio.gather(act("1", "a"), act("2", "a"), act("3", "a"), act("4", "b"))
    assert [name for name in order if name != "4"] == ["1", "1", "2", "2", "3", "3"]
    assert order[1] == "4"
    assert not turns.taken("a")


async def test_several_keys_never_wait_for_each_other_crosswise() -> None:
    turns = Turns()

    async def act(*keys: str) -> None:
        async with turns.hold(*keys):
            await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await asyncio.gather(*(act("a", "b") for _ in range(10)), *(act("b", "a", "b") for _ in range(10)))


async def test_whoever_gives_up_waiting_holds_up_nobody() -> None:
    turns = Turns()
    async with turns.hold("a"):
        waiting = asyncio.create_task(turns.hold("a").__aenter__())
        await asyncio.sleep(0)
        assert turns.taken("a")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert not turns.taken("a")


def rounds_until_tried(failures: HoldOff) -> int:
    rounds = 1
    failures.begin_round()
    while failures.held_off:
        failures.begin_round()
        rounds += 1
    return rounds


def test_what_fails_again_waits_for_twice_as_many_rounds_up_to_a_limit() -> None:
    failures, waited = HoldOff(), []
    for _ in range(9):
        failures.fail("a", "no")
        waited.append(rounds_until_tried(failures))
    assert waited == [1, 1, 2, 4, 8, 16, 32, MAX_ROUNDS, MAX_ROUNDS]
    assert failures.reasons == {"a": "no"}
    failures.succeed("a")
    failures.fail("a", "again")
    assert rounds_until_tried(failures) == 1


def test_what_is_not_held_off_only_says_why() -> None:
    failures = HoldOff()
    for _ in range(3):
        failures.fail("a", "no", hold_off=False)
    assert (failures.reasons, failures.held_off) == ({"a": "no"}, frozenset())
    failures.keep({"b"})
    assert failures.reasons == {}
