"""Calls to a probe without a pause, as a user's would come."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from gridiron.access.tls import NO_TLS
from gridiron.restate.ingress import ERROR_SOURCE

CALLERS = 6
WORK = {"steps": 2, "millis": 150}
"""Steps and a short durable sleep, so that many calls are under way at each upgrade."""

LASTING_SECONDS = 60
"""How long a call is repeated. Restate is back within two seconds."""

UNKNOWN_SECONDS = 1
"""How long its ingress may know no service after that: it was seen to be a tenth of it (docs/limits.md)."""


@dataclass
class Load:
    """What came of the calls so far."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def constant_load(url: str, service: str = "probe", callers: int = CALLERS) -> Iterator[Load]:
    """Calls of which each is made once: what does not come through is a failure."""
    with _calling(url, callers, lambda http: http.post(f"/{service}/work", json=WORK)) as load:
        yield load


@contextmanager
def lasting_load(url: str, service: str = "probe", callers: int = CALLERS) -> Iterator[Load]:
    """Calls that are repeated, each under an idempotency key of its own, while Restate is away."""
    with _calling(url, callers, lambda http: _call_until_answered(http, f"/{service}/work")) as load:
        yield load


def _call_until_answered(http: httpx2.Client, path: str) -> httpx2.Response:
    headers = {"idempotency-key": str(uuid.uuid4())}
    deadline = time.monotonic() + LASTING_SECONDS
    again_until = {503: deadline}
    while True:
        try:
            response = http.post(path, json=WORK, headers=headers)
        except httpx2.TransportError:
            if time.monotonic() > deadline:
                raise
        else:
            if is_unknown_service(response):
                again_until.setdefault(404, time.monotonic() + UNKNOWN_SECONDS)
            if time.monotonic() > again_until.get(response.status_code, 0):
                return response
        time.sleep(0.05)


def is_unknown_service(response: httpx2.Response) -> bool:
    """Whether an ingress knows no such service, or not yet; a handler's own 404 is another thing."""
    return response.status_code == 404 and response.headers.get(ERROR_SOURCE) == "ingress"


@contextmanager
def _calling(url: str, callers: int, call: Callable[[httpx2.Client], httpx2.Response]) -> Iterator[Load]:
    load = Load()

    def loop() -> None:
        with httpx2.Client(base_url=url, timeout=60, verify=NO_TLS) as http:
            while not load.stop.is_set():
                try:
                    response = call(http)
                except httpx2.TransportError as error:
                    load.failures.append(repr(error))
                    continue
                if response.status_code == 200:
                    load.answers.append(response.json())
                else:
                    load.failures.append(response.text)

    threads = [threading.Thread(target=loop) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join()
