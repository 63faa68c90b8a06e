"""Loops of calls that go on while something else happens, and what they saw."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Self

import httpx2

CALLERS = 4
CALL_LIMIT_SECONDS = 30


@dataclass(slots=True)
class Tally:
    """What the callers saw."""

    calls: int = 0
    failures: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)  # version -> answers


class Callers:
    """Calls the greeter without a pause from several threads, as long as the context is open."""

    def __init__(self, ingress_url: str) -> None:
        self.tally = Tally()
        self._ingress_url = ingress_url
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._loop, name=f"caller {n}") for n in range(CALLERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def answers_of(self, version: str) -> int:
        """Count the answers of a version so far."""
        with self._lock:
            return self.tally.versions.get(version, 0)

    def _loop(self) -> None:
        with httpx2.Client(base_url=self._ingress_url, timeout=CALL_LIMIT_SECONDS) as client:
            while not self._stop.is_set():
                self._note(*_greet(client))

    def _note(self, version: str | None, failure: str | None) -> None:
        with self._lock:
            self.tally.calls += 1
            if version is not None:
                self.tally.versions[version] = self.tally.versions.get(version, 0) + 1
            if failure is not None:
                self.tally.failures.append(failure)


def _greet(client: httpx2.Client) -> tuple[str | None, str | None]:
    """Call once: the version that answered, or what went wrong."""
    try:
        response = client.post("/greeter/greet", json="Ada")
    except httpx2.TransportError as error:
        return None, repr(error)
    version = parse_version(response.text)
    if response.status_code != 200 or version is None:
        return None, f"HTTP {response.status_code}: {response.text}"
    return version, None


def parse_version(answer: str) -> str | None:
    """Read the version out of a greeter's answer."""
    match = re.search(r"greeter (\d+\.\d+\.\d+)", answer)
    return match[1] if match else None
