from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from gridiron.manager.streams import Streams


class Tap:
    """A stream that gives what a test puts into it, and None for its end."""

    def __init__(self, *values: int | None) -> None:
        self.values: asyncio.Queue[int | None] = asyncio.Queue()
        for value in values:
            self.values.put_nowait(value)
        self.is_closed = False

    async def run(self) -> AsyncGenerator[int, None]:
        try:
            while (value := await self.values.get()) is not None:
                yield value
        finally:
            self.is_closed = True


async def test_what_comes_first_of_each_is_waited_for() -> None:
    slow, quick = Tap(), Tap(1, 2)
    async with Streams[int]() as streams:
        streams.add("slow", slow.run())
        streams.add("quick", quick.run())
        first = asyncio.create_task(streams.fetch_first())
        slow.values.put_nowait(3)
        assert await first == {"slow": 3, "quick": 1}
        assert await streams.fetch() == {"quick": 2}
    assert (slow.is_closed, quick.is_closed) == (True, True)


async def test_a_stream_that_ends_is_taken_out() -> None:
    ends, stays = Tap(1, None), Tap()
    async with Streams[int]() as streams:
        streams.add("ends", ends.run())
        streams.add("stays", stays.run())
        assert await streams.fetch() == {"ends": 1}
        assert await streams.fetch() == {"ends": None}
        assert ("ends" in streams, "stays" in streams) == (False, True)
        stays.values.put_nowait(2)
        assert await streams.fetch() == {"stays": 2}
    assert stays.is_closed


async def test_what_a_stream_raises_is_raised_and_the_others_are_closed() -> None:
    async def fail() -> AsyncGenerator[int, None]:
        raise ValueError("no")
        yield 1

    other = Tap()
    async with Streams[int]() as streams:
        streams.add("other", other.run())
        streams.add("failing", fail())
        with pytest.raises(ValueError, match="no"):
            await streams.fetch()
    assert other.is_closed
