"""Operations, each cut short at each of its durable steps in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
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
class Series:
    """The attempts at one operation, one for each of its points."""

    operation: Operation
    points: list[str]
    shots: list[Shot]
    seconds: float

    @property
    def faulty(self) -> list[Shot]:
        return [shot for shot in self.shots if shot.faults]


@dataclass(frozen=True)
class Outcome:
    """What came of all points of all operations."""

    summaries: tuple[str, ...]  # one for each operation
    faults: tuple[str, ...]  # a line each


class Campaign:
    """The points of operations with the same settings, on a node of its own that `nodes` stops in the end."""

    def __init__(
        self,
        nodes: Nodes,
        bundles: ProbeBundles,
        trap: Trap,
        operations: tuple[Operation, ...],
        victim: Victim,
    ) -> None:
        self._nodes, self._bundles, self._trap = nodes, bundles, trap
        assert all(each.settings == operations[0].settings for each in operations)
        self._operations, self._victim = operations, victim
        self._numbers = count()
        self._faults: list[str] = []  # of no point
        self._node: Subject = nodes.make(cells=1, **operations[0].settings)
        self._client = Client(self._node)
        self._aftermath = Aftermath(self._node.settings, self._client)
        self._client.activate(bundles.make("1"), "1")  # for those who only stand by

    def run(self) -> Outcome:
        """Kill at each point, and see what is there afterwards."""
        all_series = [self._kill_at_each(operation) for operation in self._operations]
        together = [series for series in all_series if series.operation.together]
        if together:
            self._node = self._nodes.restart(self._node, sweep_seconds=SOON)
        for series in together:
            self._aftermath.conclude(series.operation, series.shots)
        shots = [shot for series in all_series for shot in series.shots]
        for shot in shots:
            shot.faults += [f"lost: {lost}" for lost in shot.scene.find_lost()]
        self._faults += self._aftermath.find_leaks()
        return Outcome(
            tuple(self._summarise(series) for series in all_series),
            (
                *self._faults,
                *(
                    f"{series.operation.title}, {shot.point}: {'; '.join(shot.faults)}"
                    for series in all_series
                    for shot in series.faulty
                ),
            ),
        )

    def _summarise(self, series: Series) -> str:
        return (
            f"{self._victim.name} killed, {series.operation.title}: "
            f"{len(series.shots) - len(series.faulty)} of {len(series.points)} converge "
            f"({series.seconds:.0f} s of killing)"
        )

    def close(self) -> None:
        """Let go of the node."""
        self._trap.disarm()
        self._client.close()

    def _kill_at_each(self, operation: Operation) -> Series:
        began = time.monotonic()
        points = self._record(operation)
        with self._calling("probe", self._faults), ExitStack() as calls:
            shots = [shot for point in points if (shot := self._attempt(operation, point, calls))]
        return Series(operation, points, shots, time.monotonic() - began)

    def _record(self, operation: Operation) -> list[str]:
        """Find the points; what only happened to happen is none."""
        first, second = self._record_once(operation), self._record_once(operation)
        begin = first.index(operation.begins_at) if operation.begins_at else 0
        points = [point for point in first[begin:] if point in second and self._victim.concerns(point)]
        assert points, f"of {first} and {second}"
        return points

    def _record_once(self, operation: Operation) -> list[str]:
        scene = self._arrange(operation)
        with self._trap.recording() as points:
            response = operation.act(scene)
        assert response is None or response.status_code in operation.accepted, describe(response)
        return points

    def _arrange(self, operation: Operation) -> Scene:
        """Set a scene of its own for one attempt; the manager does nothing else then."""
        scene = Scene(self._node.settings, self._client, self._bundles, next(self._numbers))
        operation.arrange(scene)
        wait_until(self._is_at_rest, what=self._node.log)
        return scene

    def _is_at_rest(self) -> bool:
        """Tell whether the manager did no step while it looked at everything, as a sweep does."""
        with self._trap.recording() as points:
            self._client.builds()
        return not points

    def _attempt(self, operation: Operation, point: str, calls: ExitStack) -> Shot | None:
        """Kill at a point. What is called meanwhile ends with `calls`, unless the attempt stands alone."""
        for _ in range(ATTEMPTS):
            shot = Shot(point, self._arrange(operation))
            with nullcontext(calls) if operation.together else ExitStack() as own_calls:
                hit = self._shoot(operation, shot, own_calls)
            if hit:
                if not operation.together:
                    self._aftermath.conclude(operation, [shot])
                return shot
        self._faults.append(f"{operation.title}, {point}: the operation did not come to it")
        return None

    def _shoot(self, operation: Operation, shot: Shot, calls: ExitStack) -> bool:
        """Kill at a point and wait until all serve again; False where the operation did not come to it.

        The last of what is called meanwhile is waited for at the end of `calls`.
        """
        pid = self._victim.find(self._node)
        load = (
            calls.enter_context(self._calling(shot.scene.service, shot.faults))
            if operation.called
            else Load()
        )
        try:
            self._trap.arm(shot.point, pid)
            response = operation.act(shot.scene)
            if not self._has_sprung():
                return False
            wait_until(lambda: not alive([pid]), what=self._node.log)
            self._client.await_ready(what=self._node.log)
        finally:
            load.stop.set()
        shot.done = response is not None and response.status_code in operation.accepted
        if not shot.done and not self._victim.excused(response):
            shot.faults.append(f"answered {describe(response)}")
        return True

    def _has_sprung(self) -> bool:
        try:
            wait_until(lambda: self._trap.sprung, seconds=2)
        except AssertionError:
            self._trap.disarm()
            return False
        return True

    @contextmanager
    def _calling(self, service: str, faults: list[str]) -> Iterator[Load]:
        """Call a service meanwhile, and add what went wrong to the faults at the end."""
        with self._victim.load(self._node.settings.ingress_url, service, CALLERS) as load:
            yield load
        faults += [f"a call failed: {failure}" for failure in load.failures]
        faults += [f"a call crossed: {each}" for each in load.answers if each["begun"] != each["ended"]]
