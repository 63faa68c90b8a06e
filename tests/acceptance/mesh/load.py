"""Invocations in flight without a pause, at whichever node answers; and what became of each of them."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx2

from gridiron.access.tls import NO_TLS
from gridiron.restate.ingress import ERROR_SOURCE
from soak.calls import Again, Answer, Failed, parse_attempt
from tests.harness import wait_until
from tests.load import is_unknown_service

IN_FLIGHT, CALLERS = 200, 220
"""Invocations, and those who call: some are always between two calls."""

MILLIS = (6000, 14_000)
"""How long an invocation sleeps: with so many callers, 20 end in each second, which take 0.7 of a core."""

COUNTERS, ADDERS = 4, 2
"""Counters, and callers of each."""

ADD_SECONDS = 0.5
AGAIN_SECONDS = 0.2
CONNECT_SECONDS = 3
PATIENCE_SECONDS = 5
"""How much longer than its invocation sleeps a caller waits for a node, before it asks another."""

LOST_SECONDS = 90
"""A call without an answer for so long after the last one began is lost."""

UNKNOWN = "404 of a node that starts"
"""Restate's ingress may answer before it has read what is registered (docs/limits.md)."""


@dataclass(frozen=True)
class Outcome:
    """A call that was answered."""

    key: str  # its idempotency key
    expected: int | None  # what it has to answer; None: it adds to a counter
    counter: str | None
    answer: Answer
    answered_at: float
    late: float  # seconds that it took beside its sleep


@dataclass
class Load:
    """Callers of one service of a mesh. `under_load` starts and ends them."""

    urls: Sequence[str]  # of ingresses
    service: str
    is_starting: Callable[[str], bool]  # the node behind a URL
    callers: int = CALLERS
    name: str = field(default_factory=lambda: f"load-{time.time_ns()}")
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)  # attempts that had to be repeated, by their reason
    in_flight: int = 0
    sent: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _random: Random = field(default_factory=lambda: Random(1))  # noqa: S311 - no secret

    def run(self) -> None:
        """Call until `stop` is set, and until every call has its answer."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        async with (
            httpx2.AsyncClient(limits=limits, verify=NO_TLS, trust_env=False) as http,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(self.callers):
                group.create_task(self._work(http))
            for number in range(COUNTERS * ADDERS):
                group.create_task(self._count(http, f"{self.name}-{number % COUNTERS}"))

    async def _work(self, http: httpx2.AsyncClient) -> None:
        while not self.stop.is_set():
            number, millis = next(self._numbers), self._random.randint(*MILLIS)
            body = {"number": number, "millis": millis}
            await self._call(http, f"/{self.service}/work", body, millis / 1000, expected=number)

    async def _count(self, http: httpx2.AsyncClient, counter: str) -> None:
        while not self.stop.is_set():
            await self._call(http, f"/{self.service}-counter/{counter}/add", None, 0, counter=counter)
            await asyncio.sleep(ADD_SECONDS)

    async def _call(
        self,
        http: httpx2.AsyncClient,
        path: str,
        body: Any,
        sleep: float,
        *,
        expected: int | None = None,
        counter: str | None = None,
    ) -> None:
        """Call until there is an answer, each time another node."""
        self.sent += 1
        self.in_flight += 1
        key, began = f"{self.name}-{self.sent}", time.monotonic()
        for url in itertools.islice(itertools.cycle(self.urls), self.sent % len(self.urls), None):
            match await self._attempt(http, url + path, body, key, sleep):
                case Answer() as answer:
                    now = time.monotonic()
                    self.outcomes.append(Outcome(key, expected, counter, answer, now, now - began - sleep))
                    break
                case Failed(reason):
                    self.failures.append(f"{key}: {reason}")
                    break
                case Again(reason):
                    self.again[reason] += 1
                    await asyncio.sleep(AGAIN_SECONDS)
        self.in_flight -= 1

    async def _attempt(
        self, http: httpx2.AsyncClient, url: str, body: Any, key: str, sleep: float
    ) -> Answer | Again | Failed:
        timeout = httpx2.Timeout(sleep + PATIENCE_SECONDS, connect=CONNECT_SECONDS)
        try:
            response = await http.post(url, json=body, headers={"idempotency-key": key}, timeout=timeout)
        except httpx2.TransportError as error:
            return Again(type(error).__name__)
        if is_unknown_service(response) and self.is_starting(url):
            return Again(UNKNOWN)
        return parse_attempt(response.status_code, response.headers.get(ERROR_SOURCE), response.content)

    # -- what came of it

    def stall(self) -> float:
        """The longest time without any answer, in seconds."""
        times = sorted(outcome.answered_at for outcome in self.outcomes)
        return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0)

    def latest(self) -> float:
        """By how many seconds the call was late that was late most."""
        return max(outcome.late for outcome in self.outcomes)

    def versions(self) -> Counter[str]:
        """How many calls each version has answered."""
        return Counter(outcome.answer.begun for outcome in self.outcomes)

    def describe(self) -> str:
        again = ", ".join(f"{count} {reason}" for reason, count in self.again.most_common()) or "none"
        return (
            f"{len(self.outcomes)} calls, longest without any answer {self.stall():.1f} s, "
            f"latest call {self.latest():.1f} s late, repeated: {again}"
        )

    def wrong(self, *versions: str) -> list[Outcome]:
        """Calls that got another answer than they asked for, or not of one of these versions throughout."""
        return [
            outcome
            for outcome in self.outcomes
            if outcome.answer.begun != outcome.answer.ended
            or outcome.answer.begun not in versions
            or outcome.expected not in {None, outcome.answer.value}
        ]

    def counted(self) -> dict[str, list[int]]:
        """What each counter has answered, in order."""
        found = defaultdict(list)
        for outcome in self.outcomes:
            if outcome.counter is not None:
                found[outcome.counter].append(outcome.answer.value)
        return {counter: sorted(values) for counter, values in found.items()}


@contextmanager
def under_load(
    urls: Sequence[str], service: str, is_starting: Callable[[str], bool], callers: int = CALLERS
) -> Iterator[Load]:
    """Keep invocations in flight; all callers have called at the beginning, all have answers at the end."""
    load = Load(urls, service, is_starting, callers)
    thread = threading.Thread(target=load.run, name="load", daemon=True)  # one that is lost must not stay
    thread.start()
    try:
        wait_until(lambda: load.in_flight >= callers, 30, "all have called")
        yield load
    finally:
        load.stop.set()
        thread.join(LOST_SECONDS)
