"""Calls a second, and what each costs: one step and ten, against Node.js and against request-response."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.harness import (
    Bars,
    Outcome,
    Row,
    Target,
    at_least,
    ratios_of,
    spread_of,
    take_turns,
)
from bench.session import Session
from bench.subjects.node import Node, running_node
from bench.subjects.nodejs import running_endpoint
from bench.subjects.processes import fetch_cpu_seconds
from bench.subjects.proxy import running_proxy
from bench.wrk import Calls, Window, run_wrk

VERSION = "1.0.0"
OURS, NODE, REQUEST_RESPONSE = "gridiron", "node", "request-response"
PROXIED = "node-behind-haproxy"  # what of the distance to `node` is the proxy's
SETTLE_SECONDS = 0.5  # what wrk left unanswered in the turn before comes to its end
# A window's callers all begin at once and are cut off at its end, which takes some four calls from it: the
# shorter the window, the more from a slow subject.
WINDOW_SECONDS = 4
COMPONENTS = ("restate", "haproxy", "cells", "pool", "node")


@dataclass(frozen=True)
class Measured:
    """One window of calls, and the processor time of each component in it."""

    window: Window
    cpu_seconds: dict[str, float]

    def cpu_millis(self, component: str) -> float:
        """Give a component's processor time, in milliseconds a call."""
        return self.cpu_seconds[component] * 1000 / self.window.calls


@dataclass(frozen=True)
class Contest:
    """Some subjects that answer the same calls in turn."""

    handler: str
    callers: int
    against: tuple[tuple[str, Target | None], ...]  # baseline, target
    rounds: int = 10  # a machine has slower seconds

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who takes part."""
        return OURS, *(baseline for baseline, _ in self.against)

    @property
    def title(self) -> str:
        """What is called."""
        steps = {"one": "1 step", "ten": "10 steps"}[self.handler]
        return f"{steps}, {self.callers} callers"


# The first is close to its target: its two are alone, so that their windows are neighbours, and have enough
# of them that chance moves the median by less than a tenth.
CONTESTS = (
    Contest("ten", 8, ((REQUEST_RESPONSE, at_least(3)),), rounds=40),
    Contest("ten", 8, ((NODE, at_least(0.8)), (PROXIED, None))),
    Contest("one", 8, ((NODE, at_least(0.8)), (PROXIED, None))),
    Contest("one", 32, ((NODE, None),)),
)


def measure(session: Session) -> Outcome:
    """Let the subjects take turns in each contest."""
    with running_subjects(session) as subjects:
        found = {contest: _compete(session, contest, subjects) for contest in CONTESTS}
    return Outcome(
        rows=tuple(row for contest, turns in found.items() for row in _rows(contest, turns)),
        plots=(_plot(found),),
        notes=tuple(_note(contest, turns) for contest, turns in found.items()),
        series={
            f"{contest.title}, {' and '.join(turns)}: {name}, calls a second": _rates(turn)
            for contest, turns in found.items()
            for name, turn in turns.items()
        },
    )


@dataclass(frozen=True)
class Subjects:
    """A node, and the process ids of what else answers, by component."""

    node: Node
    pids: dict[str, list[int]]

    def fetch_cpu_seconds(self) -> dict[str, float]:
        """Give the processor time that each component has used so far."""
        used = {component: fetch_cpu_seconds(self.pids.get(component, [])) for component in COMPONENTS}
        ours = self.node.fetch_cpu_seconds()
        return {component: used[component] + ours.get(component, 0) for component in COMPONENTS}


@contextmanager
def running_subjects(session: Session) -> Iterator[Subjects]:
    """Run a node with the build and the same build registered without streaming, and Node.js processes."""
    directory = session.work / "proxied"
    directory.mkdir()
    with (
        running_node(session, "data") as node,
        running_endpoint(session, NODE, VERSION) as plain,
        running_endpoint(session, PROXIED, VERSION) as proxied,
        running_proxy(session, directory, f"{proxied.address} proto h2", bind="proto h2") as proxy,
    ):
        node.activate(session.bundles.make(VERSION, OURS), OURS, VERSION)
        for uri in (plain.uri, proxy.uri):
            node.check_protocol(node.register(uri), "BidiStream")
        bundle = session.bundles.make(VERSION, REQUEST_RESPONSE, bidirectional=False)
        place = node.place(bundle, REQUEST_RESPONSE, VERSION)
        node.check_protocol(node.register(node.uri(place), use_http_11=True), "RequestResponse")
        yield Subjects(node, {"node": [plain.pid, proxied.pid], "haproxy": [proxy.pid]})


def _compete(session: Session, contest: Contest, subjects: Subjects) -> dict[str, tuple[Measured, ...]]:
    session.say(f"{contest.title}: {', '.join(contest.subjects)} in turn")

    def turn(service: str) -> Callable[[], Measured]:
        calls = Calls(subjects.node.ingress_port, service, contest.handler, VERSION)
        return lambda: _run(session, calls, contest.callers, subjects)

    turns = {service: turn(service) for service in contest.subjects}
    return take_turns(turns, session.choose(full=contest.rounds, quick=1))


def _run(session: Session, calls: Calls, callers: int, subjects: Subjects) -> Measured:
    time.sleep(SETTLE_SECONDS)
    before = subjects.fetch_cpu_seconds()
    window = run_wrk(calls, callers, session.choose(full=WINDOW_SECONDS, quick=1))
    after = subjects.fetch_cpu_seconds()
    return Measured(window, {component: after[component] - before[component] for component in COMPONENTS})


def _rates(turn: tuple[Measured, ...]) -> tuple[float, ...]:
    return tuple(each.window.rate for each in turn)


def _rows(contest: Contest, turns: dict[str, tuple[Measured, ...]]) -> Iterator[Row]:
    ours = _rates(turns[OURS])
    for baseline, target in contest.against:
        theirs = _rates(turns[baseline])
        figures = f"{spread_of(ours).median:.0f}/s here, {spread_of(theirs).median:.0f}/s there"
        yield Row(
            title=f"throughput of {contest.title}",
            figure=spread_of(ratios_of(ours, theirs)),
            unit="×",
            target=target,
            baseline=f"{baseline}: {figures}",
        )


def _note(contest: Contest, turns: dict[str, tuple[Measured, ...]]) -> str:
    """Say what a call costs each component."""
    costs = []
    for name, turn in turns.items():
        millis = {each: spread_of([m.cpu_millis(each) for m in turn]).median for each in COMPONENTS}
        used = ", ".join(f"{component} {value:.2f}" for component, value in millis.items() if value >= 0.01)
        costs.append(f"{name}: {used}")
    return f"Processor time of {contest.title}, in milliseconds a call. {'; '.join(costs)}."


def _plot(found: dict[Contest, dict[str, tuple[Measured, ...]]]) -> Bars:
    """Draw each contest, its subjects beside one another; those with the same calls as one."""
    groups: dict[str, dict[str, tuple[Measured, ...]]] = {}
    for contest, turns in found.items():
        groups[contest.title] = turns | groups.get(contest.title, {})
    return Bars(
        name="throughput",
        title="Calls a second",
        y_title="calls a second",
        groups=tuple(groups),
        series={
            name: tuple(
                spread_of(_rates(turns[name])) if name in turns else None for turns in groups.values()
            )
            for name in (OURS, NODE, PROXIED, REQUEST_RESPONSE)
        },
    )
