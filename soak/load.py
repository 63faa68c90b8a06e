"""Calls without a pause: each caller calls, repeats the call until it is answered, and calls again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx2

from gridiron.restate.ingress import ERROR_SOURCE
from soak.calls import Again, Answer, Call, Failed, parse_attempt
from soak.events import Events
from soak.ledger import Ledger

ATTEMPT_SECONDS = 15
"""How long an attempt may take: it meets the same invocation again when it is repeated."""

REPEAT_SECONDS = 0.1

CALLERS: Mapping[str, int] = {"steps": 1, "sleep": 4, "count": 1}
"""How many there are for each service, by what they call."""


@dataclass(frozen=True, slots=True)
class Line:
    """What all callers share."""

    ingress: httpx2.AsyncClient
    ledger: Ledger
    events: Events
    random: Random


@dataclass(slots=True)
class Caller:
    """One caller of one service. Its counter, if it counts, is nobody else's."""

    line: Line
    name: str
    kind: str
    number: int
    _calls: int = field(default=0, init=False)
    _value: int = field(default=0, init=False)  # of its counter

    async def run(self, stop: asyncio.Event) -> None:
        """Call until `stop` is set; a call that is under way then is still waited for."""
        while not stop.is_set():
            match self.kind:
                case "steps":
                    await self._work(steps=3, millis=0)
                case "sleep":
                    await self._work(steps=1, millis=self.line.random.randint(1000, 5000))
                case _:
                    await self._count("add", more=1)
        if self.kind == "count":
            await self._count("read", more=0)

    async def _work(self, steps: int, millis: int) -> None:
        await self._call(f"/{self.name}/work", {"steps": steps, "millis": millis}, None)

    async def _count(self, handler: str, more: int) -> None:
        """Add to the counter, or read it: each addition that was answered counts once."""
        answer = await self._call(f"/{self.name}-counter/{self.number}/{handler}", None, self._value + more)
        if answer is not None:
            self._value = answer.value

    async def _call(self, path: str, body: Any, value: int | None) -> Answer | None:  # noqa: ANN401 - JSON
        """Call until there is an answer, whatever dies meanwhile; None when that is a failure."""
        self._calls += 1
        key = f"{self.name}-{self.kind}-{self.number}-{self._calls}"
        call = Call(key, self.kind, self.name, time.monotonic(), value)
        ledger = self.line.ledger
        ledger.send(call)
        while True:
            match await self._attempt(path, body, key):
                case Answer() as answer:
                    ledger.answer(call, answer, time.monotonic())
                    return answer
                case Failed(reason):
                    self.line.events.note(f"call {key} failed: {reason}")
                    ledger.fail(call, reason)
                    return None
                case Again(reason):
                    ledger.repeated[reason] += 1
                    await asyncio.sleep(REPEAT_SECONDS)

    async def _attempt(self, path: str, body: Any, key: str) -> Answer | Again | Failed:  # noqa: ANN401 - JSON
        try:
            response = await self.line.ingress.post(path, json=body, headers={"idempotency-key": key})
        except httpx2.TransportError as error:
            return Again(type(error).__name__)
        return parse_attempt(response.status_code, response.headers.get(ERROR_SOURCE), response.content)


async def call_without_pause(line: Line, names: tuple[str, ...], stop: asyncio.Event) -> None:
    """Have every service called until `stop` is set, and wait for the last answers."""
    async with asyncio.TaskGroup() as group:
        for name in names:
            for kind, count in CALLERS.items():
                for number in range(count):
                    caller = Caller(line, name, kind, number)
                    group.create_task(caller.run(stop), name=f"caller {name} {kind} {number}")
