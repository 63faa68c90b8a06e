"""What is there after the deaths: all of what was asked for, or nothing of it, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import httpx2

from gridiron.settings import Settings
from tests.acceptance.killing.operations import Operation
from tests.acceptance.killing.scene import Scene
from tests.acceptance.killing.world import (
    Builds,
    World,
    active_version,
    fetch_world,
    find_faults,
    find_leaks,
    find_unserved,
)
from tests.harness import Client

T = TypeVar("T")

SETTLED_SECONDS = 20
"""How long after a death it may take until nothing is left of what was cut short."""


@dataclass
class Shot:
    """What came of one point."""

    point: str
    scene: Scene
    done: bool = False  # somebody was told so
    faults: list[str] = field(default_factory=list)


class Aftermath:
    """What the attempts at operations left on one node; what is wrong is added to their faults."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings, self._client = settings, client

    def conclude(self, operation: Operation, shots: Collection[Shot]) -> None:
        """See that all of it happened or nothing; where that is so, do the operation once more."""
        self._settle(shots, lambda shot: (operation.done, *(() if shot.done else operation.undone)))
        well = [shot for shot in shots if not shot.faults]
        for shot in well:
            if operation.repeated:
                self._repeat(operation, shot)
        self._settle(well, lambda _: (operation.done, *operation.redone))

    def find_leaks(self) -> list[str]:
        """Name what is left over, whosever it was."""
        return wait_for_none(lambda: find_leaks(self._look()))

    def _look(self) -> World:
        return fetch_world(self._settings, self._client)

    def _repeat(self, operation: Operation, shot: Shot) -> None:
        response = operation.act(shot.scene)
        if response is None or response.status_code not in operation.repeated:
            shot.faults.append(f"repeated, it was answered {describe(response)}")

    def _settle(self, shots: Collection[Shot], allowed: Callable[[Shot], tuple[Builds, ...]]) -> None:
        """Wait until there is what may be there, and see who answers then."""

        def find() -> list[tuple[Shot, list[str]]]:
            world = self._look()
            found = [(shot, find_faults(world.of(shot.scene.name), allowed(shot))) for shot in shots]
            return [(shot, faults) for shot, faults in found if faults]

        for shot, faults in wait_for_none(find):
            shot.faults += faults
        for shot in shots:
            shot.faults += wait_for_none(partial(self._find_misrouted, shot.scene))

    def _find_misrouted(self, scene: Scene) -> list[str]:
        """Look anew each time: what was not done yet may be done meanwhile."""
        world = self._look().of(scene.name)
        faults = find_unserved(self._client, world)
        active = active_version(world)
        if active is not None and (answered := scene.call()) != active:
            faults.append(f"{active} is active, and a call came to {answered}")
        return faults


def wait_for_none(find: Callable[[], list[T]]) -> list[T]:
    """Look until nothing is found; give what still is at the deadline."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while (found := find()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def describe(response: httpx2.Response | None) -> str:
    """Put an answer into a line."""
    return "nothing" if response is None else f"HTTP {response.status_code} {response.text[:200]}"
