"""One operation, cut short at each of its durable steps in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count

import httpx2

from gridiron.cli.demo.subject import Subject
from gridiron.testing.probe import ProbeBundles
from tests.acceptance.killing.aftermath import Aftermath, Shot, describe
from tests.acceptance.killing.operations import SOON, Operation
from tests.acceptance.killing.scene import Scene
from tests.acceptance.killing.trap import Trap
from tests.acceptance.nodes import Nodes
from tests.harness import Client, alive, wait_until
from tests.load import Load

ATTEMPTS = 3
"""How often a point is tried that an operation does not come to, since something else was in its way."""

CALLERS = 2


@dataclass(frozen=True)
class Victim:
    """Whom to kill, and what follows for those who ask and call."""

    name: str
    find: Callable[[Subject], int]
    load: Callable[[str, str, int], AbstractContextManager[Load]]
    excused: Callable[
        [httpx2.Response | None], bool
    ]  # an answer that does not say that it is done; None: none
    concerns: Callable[[str], bool] = lambda _: True  # which points


@dataclass(frozen=True)
class Outcome:
    """What came of all points of an operation."""

    summary: str
    faults: tuple[str, ...]  # a line each


class Campaign:
    """The points of one operation, on a node of its own that `nodes` stops in the end."""

    def __init__(
        self, nodes: Nodes, bundles: ProbeBundles, trap: Trap, operation: Operation, victim: Victim
    ) -> None:
        self._nodes, self._bundles, self._trap = nodes, bundles, trap
        self._operation, self._victim = operation, victim
        self._numbers = count()
        self._faults: list[str] = []  # of no point
        self._node: Subject = nodes.make(cells=1, **operation.settings)
        self._client = Client(self._node)
        self._aftermath = Aftermath(self._node.settings, self._client, operation)
        self._client.activate(bundles.make("1"), "1")  # for those who only stand by

    def run(self) -> Outcome:
        """Kill at each point, and see what is there afterwards."""
        began = time.monotonic()
        points = self._record()
        with self._calling("probe", self._faults):
            shots = [shot for point in points if (shot := self._attempt(point))]
        if self._operation.together:
            self._node = self._nodes.restart(self._node, sweep_seconds=SOON)
            self._aftermath.conclude(shots)
        for shot in shots:
            shot.faults += [f"lost: {lost}" for lost in shot.scene.find_lost()]
        self._faults += self._aftermath.find_leaks()
        faulty = [shot for shot in shots if shot.faults]
        return Outcome(
            f"{self._victim.name} killed, {self._operation.title}: "
            f"{len(shots) - len(faulty)} of {len(points)} converge ({time.monotonic() - began:.0f} s)",
            (*self._faults, *(f"{shot.point}: {'; '.join(shot.faults)}" for shot in faulty)),
        )

    def close(self) -> None:
        """Let go of the node."""
        self._trap.disarm()
        self._client.close()

    def _record(self) -> list[str]:
        """Find the points; what only happened to happen is none."""
        first, second = self._record_once(), self._record_once()
        points = [point for point in first if point in second and self._victim.concerns(point)]
        assert points, f"of {first} and {second}"
        return points

    def _record_once(self) -> list[str]:
        scene = self._arrange()
        with self._trap.recording() as points:
            response = self._operation.act(scene)
        assert response is None or response.status_code in self._operation.accepted, describe(response)
        return points

    def _arrange(self) -> Scene:
        """Set a scene of its own for one attempt; the manager does nothing else then."""
        scene = Scene(self._node.settings, self._client, self._bundles, next(self._numbers))
        self._operation.arrange(scene)
        wait_until(self._is_at_rest, what=self._node.log)
        return scene

    def _is_at_rest(self) -> bool:
        """Tell whether the manager did no step while it looked at everything, as a sweep does."""
        with self._trap.recording() as points:
            self._client.builds()
        return not points

    def _attempt(self, point: str) -> Shot | None:
        for _ in range(ATTEMPTS):
            shot = self._shoot(point)
            if shot is not None:
                if not self._operation.together:
                    self._aftermath.conclude([shot])
                return shot
        self._faults.append(f"{point}: the operation did not come to it")
        return None

    def _shoot(self, point: str) -> Shot | None:
        """Kill at a point and wait until all serve again; None where the operation did not come to it."""
        shot = Shot(point, self._arrange())
        pid = self._victim.find(self._node)
        with self._calling(shot.scene.service, shot.faults) if self._operation.called else nullcontext():
            self._trap.arm(point, pid)
            response = self._operation.act(shot.scene)
            if not self._has_sprung():
                return None
            wait_until(lambda: not alive([pid]), what=self._node.log)
            wait_until(self._client.is_ready, what=self._node.log)
        shot.done = response is not None and response.status_code in self._operation.accepted
        if not shot.done and not self._victim.excused(response):
            shot.faults.append(f"answered {describe(response)}")
        return shot

    def _has_sprung(self) -> bool:
        try:
            wait_until(lambda: self._trap.sprung, seconds=2)
        except AssertionError:
            self._trap.disarm()
            return False
        return True

    @contextmanager
    def _calling(self, service: str, faults: list[str]) -> Iterator[None]:
        """Call a service meanwhile, and add what went wrong to the faults at the end."""
        with self._victim.load(self._node.settings.ingress_url, service, CALLERS) as load:
            yield
        faults += [f"a call failed: {failure}" for failure in load.failures]
        faults += [f"a call crossed: {each}" for each in load.answers if each["begun"] != each["ended"]]
