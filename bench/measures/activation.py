"""How long an activation takes: with many builds there, against few, against restarting workerd.

Two nodes run side by side. One has one build and keeps it, the other gets more and more, as does workerd with
a service for each build (`restart`). At each number of builds they take turns, so that noise falls on all
alike, and what a turn made is removed again. `bare` is a `POST /deployments` to Restate for a build whose
files are in place and that was never loaded: the least that any activation does.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from bench.harness import (
    Lines,
    Outcome,
    Row,
    Spread,
    at_least,
    at_most,
    ratios_of,
    spread_of,
    take_turns,
    timed,
)
from bench.session import Session
from bench.subjects.node import Node, running_node
from bench.subjects.restart import RestartedWorkers, running_restarted_workers

VERSION = "1.0.0"
SETTLE_SECONDS = 0.15  # before each timed request: what went before is still being written to the disk
FEW, MANY, RESTART = "few builds", "many builds", "restart"

Turns = Mapping[str, tuple[float, ...]]  # milliseconds, by what was timed


@dataclass
class Contestants:
    """What takes turns."""

    session: Session
    few: Node
    many: Node
    restarted: RestartedWorkers
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def fill(self, builds: int) -> None:
        """Bring all but the node with few to so many builds."""
        self.session.say(f"{builds} builds")
        missing = builds - self.restarted.builds
        for _ in range(missing):
            service = f"filler{next(self.numbers)}"
            self.many.activate(self.session.bundles.make(VERSION, service), service, VERSION)
        services = [f"filler{next(self.numbers)}" for _ in range(missing)]
        self.restarted.deploy(
            *((f"{service}/{VERSION}", self.session.bundles.make(VERSION, service)) for service in services)
        )

    def activate(self, node: Node) -> float:
        """Time an activation; the build goes again."""
        service = f"made{next(self.numbers)}"
        bundle = self.session.bundles.make(VERSION, service)
        time.sleep(SETTLE_SECONDS)
        activated, millis = timed(lambda: node.activate(bundle, service, VERSION))
        node.prune(activated["build_id"])
        return millis

    def register(self, node: Node) -> float:
        """Time a bare registration; the build goes again."""
        service = f"bare{next(self.numbers)}"
        address = node.place(self.session.bundles.make(VERSION, service), service, VERSION)
        time.sleep(SETTLE_SECONDS)
        deployment, millis = timed(lambda: node.register(node.uri(address)))
        node.unregister(deployment)
        node.displace(address)
        return millis

    def restart(self) -> float:
        """Time a restart of workerd with one build more, and its registration; the build goes again."""
        service = f"made{next(self.numbers)}"
        bundle = self.session.bundles.make(VERSION, service)
        time.sleep(SETTLE_SECONDS)

        def deploy() -> str:
            return self.many.register(self.restarted.deploy((f"{service}/{VERSION}", bundle)))

        deployment, millis = timed(deploy)
        self.many.unregister(deployment)
        self.restarted.forget_last()
        return millis


def measure(session: Session) -> Outcome:
    """Let them take turns at each number of builds."""
    counts = (1, 3) if session.quick else (1, 10, 50, 150)
    with (
        running_node(session, "few") as few,
        running_node(session, "many") as many,
        running_restarted_workers(session) as restarted,
    ):
        contestants = Contestants(session, few, many, restarted)
        service = "first"
        few.activate(session.bundles.make(VERSION, service), service, VERSION)
        restarts = {}
        for count in counts:
            contestants.fill(count)
            restarts[count] = _take_turns_with_restart(contestants)
        session.say("many rounds without restarts")
        turns = _take_turns(contestants)
    return _report(counts[-1], restarts, turns)


def _take_turns_with_restart(contestants: Contestants) -> Turns:
    return take_turns(
        {MANY: lambda: contestants.activate(contestants.many), RESTART: contestants.restart},
        contestants.session.choose(full=5, quick=1),
        warm_up=contestants.session.choose(full=1, quick=0),
    )


def _take_turns(contestants: Contestants) -> Turns:
    turns_of: dict[str, Callable[[], float]] = {}
    for name, node in ((FEW, contestants.few), (MANY, contestants.many)):
        turns_of[_bare(name)] = partial(contestants.register, node)
        turns_of[name] = partial(contestants.activate, node)
    return take_turns(turns_of, contestants.session.choose(full=30, quick=2), warm_up=3)


def _report(builds: int, restarts: Mapping[int, Turns], turns: Turns) -> Outcome:
    last = restarts[builds]
    return Outcome(
        rows=(
            Row(
                title=f"activation with {builds} builds there, times faster",
                figure=spread_of(ratios_of(last[RESTART], last[MANY])),
                unit="×",
                target=at_least(40),
                baseline=f"restart: {_millis(last[MANY])} here, {_millis(last[RESTART])} there",
            ),
            Row(
                title=f"activation with {builds} builds there",
                figure=spread_of(ratios_of(turns[MANY], turns[FEW])),
                unit="×",
                target=at_most(1.3),
                baseline=f"with 1 build there: {_millis(turns[MANY])} against {_millis(turns[FEW])}",
            ),
            *(_bare_row(turns, name, there) for name, there in ((FEW, 1), (MANY, builds))),
        ),
        plots=(_plot(restarts),),
        series={
            **{f"{name}, milliseconds": figures for name, figures in turns.items()},
            **{
                f"{name} in turn with restarts, {count} builds, milliseconds": figures
                for count, turns in restarts.items()
                for name, figures in turns.items()
            },
        },
    )


def _bare_row(turns: Turns, name: str, builds: int) -> Row:
    ours, bare = turns[name], turns[_bare(name)]
    return Row(
        title=f"activation with {builds} build{'s' * (builds > 1)} there",
        figure=spread_of(ratios_of(ours, bare)),
        unit="×",
        target=None,
        baseline=f"a bare registration with Restate: {_millis(ours)} against {_millis(bare)}",
    )


def _bare(name: str) -> str:
    return f"bare, {name}"


def _millis(figures: tuple[float, ...]) -> str:
    median = spread_of(figures).median
    return f"{median:.0f} ms" if median < 1000 else f"{median / 1000:.1f} s"


def _plot(restarts: Mapping[int, Turns]) -> Lines:
    def points(name: str) -> tuple[tuple[float, float], ...]:
        medians: dict[int, Spread] = {count: spread_of(turns[name]) for count, turns in restarts.items()}
        return tuple((count, spread.median) for count, spread in medians.items())

    return Lines(
        name="activation",
        title="How long an activation takes",
        x_title="builds there already",
        y_title="milliseconds",
        logarithmic=True,
        series={"gridiron": points(MANY), "restart": points(RESTART)},
    )
