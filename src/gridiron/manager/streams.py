"""Several streams as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Streams(Generic[T]):
    """What several streams give, as soon as each does; a context manager, which closes them.

    None is asked for more than one thing before somebody wants that: who takes things slowly slows them all.
    """

    def __init__(self) -> None:
        self._streams: dict[str, AsyncGenerator[T, None]] = {}
        self._coming: dict[str, asyncio.Task[T | None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for task in self._coming.values():
            task.cancel()
        await asyncio.gather(*self._coming.values(), return_exceptions=True)
        for stream in self._streams.values():
            await stream.aclose()

    def add(self, name: str, stream: AsyncGenerator[T, None]) -> None:
        """Take a stream in, unless there is one of this name already."""
        self._streams.setdefault(name, stream)

    def __contains__(self, name: object) -> bool:
        return name in self._streams

    async def fetch_first(self) -> dict[str, T | None]:
        """Wait until each stream has given something; None for one that has ended. Raises what one raised."""
        self._ask()
        await asyncio.wait(self._coming.values())
        return self._take()

    async def fetch(self) -> dict[str, T | None]:
        """Wait until some stream has given something; None for one that has ended. Raises what one raised."""
        self._ask()
        await asyncio.wait(self._coming.values(), return_when=asyncio.FIRST_COMPLETED)
        return self._take()

    def _ask(self) -> None:
        for name, stream in self._streams.items():
            if name not in self._coming:
                self._coming[name] = asyncio.create_task(_next(stream), name=f"next of {name}")

    def _take(self) -> dict[str, T | None]:
        taken = {name: task.result() for name, task in self._coming.items() if task.done()}
        for name, value in taken.items():
            del self._coming[name]
            if value is None:
                del self._streams[name]
        return taken


async def _next(stream: AsyncGenerator[T, None]) -> T | None:
    return await anext(stream, None)
