from __future__ import annotations

import asyncio

import pytest

from gridiron.errors import StorageFailed
from gridiron.manager.shared import Shared


class Source:
    """What is read: the number of the reading, when the test lets it end."""

    def __init__(self) -> None:
        self.begun = 0
        self.failure: Exception | None = None
        self.may_end = asyncio.Semaphore(0)

    async def read(self) -> int:
        self.begun += 1
        number = self.begun
        await self.may_end.acquire()
        if self.failure is not None:
            raise self.failure
        return number


async def asked(shared: Shared[int], times: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(shared()) for _ in range(times)]
    for _ in range(5):  # turns of the loop, in which each gets as far as it can
        await asyncio.sleep(0)
    return tasks


async def test_who_asks_while_it_is_read_shares_the_next_reading() -> None:
    source = Source()
    shared = Shared("test", source.read)
    first = await asked(shared, 1)
    later = await asked(shared, 50)
    assert source.begun == 1
    source.may_end.release()
    assert await asyncio.gather(*first) == [1]
    await asyncio.sleep(0)
    source.may_end.release()
    assert await asyncio.gather(*later) == [2] * 50
    source.may_end.release()
    assert await shared() == 3


async def test_all_are_told_of_a_failure_and_the_next_are_not() -> None:
    source = Source()
    shared = Shared("test", source.read)
    source.failure = StorageFailed("Reading", "/data", "no such disk")
    tasks = await asked(shared, 2)
    source.may_end.release()
    for task in tasks:
        with pytest.raises(StorageFailed):
            await task
    source.failure = None
    source.may_end.release()
    assert await shared() == 2


async def test_who_gives_up_leaves_the_reading_to_the_others() -> None:
    source = Source()
    shared = Shared("test", source.read)
    leaves, stays = await asked(shared, 2)
    leaves.cancel()
    source.may_end.release()
    assert await stays == 1
