"""A loop whose clock goes on only when there is nothing to do: then, at once, to the next thing to do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits for something else"
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story in no time. It must not use threads."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)


def now() -> float:
    """Give the time of the story, in seconds from its beginning."""
    return asyncio.get_running_loop().time()


async def inline(blocking: Callable[[], T]) -> T:
    """Call what would block elsewhere in a thread: here it never does."""
    return blocking()
