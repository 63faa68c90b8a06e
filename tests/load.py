"""Calls to the probe without a pause, as a user's would come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

CALLERS = 6


@dataclass
class Load:
    """What came of the calls so far."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def constant_load(url: str) -> Iterator[Load]:
    """Calls with steps and a short durable sleep, so that many are under way at each upgrade."""
    load = Load()

    def loop() -> None:
        with httpx2.Client(base_url=url, timeout=60) as http:
            while not load.stop.is_set():
                try:
                    response = http.post("/probe/work", json={"steps": 2, "millis": 150})
                except httpx2.TransportError as error:
                    load.failures.append(repr(error))
                    continue
                if response.status_code == 200:
                    load.answers.append(response.json())
                else:
                    load.failures.append(response.text)

    threads = [threading.Thread(target=loop) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join()
