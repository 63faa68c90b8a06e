"""A thread for what may never come back, as a disk may hang: it takes no thread that others wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class OwnThread(Generic[T]):
    """Calls one function in a thread of its own, once at a time. That thread keeps no process from ending."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._under_way: Future[T] | None = None

    async def __call__(self) -> T:
        """Call the function, or wait for the call that is under way; raises what that raises."""
        if self._under_way is None or self._under_way.done():
            self._under_way = Future()
            arguments = (self._under_way,)
            threading.Thread(target=self._run, args=arguments, name="own thread", daemon=True).start()
        waiting = asyncio.wrap_future(self._under_way)
        return await asyncio.shield(waiting)  # whoever gives up does not end it for the next

    def _run(self, outcome: Future[T]) -> None:
        try:
            outcome.set_result(self._function())
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            outcome.set_exception(error)
