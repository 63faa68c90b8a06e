"""How long calls take while builds are activated, against quiet."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.caller import Load, choose_rate, constant_load, failures_of
from bench.harness import BenchFailed, Outcome, Row, Target, at_most, percentile, ratios_of, spread_of
from bench.session import Session
from bench.subjects.node import Node, running_node
from bench.wrk import Calls

SERVICE = "live"

Window = tuple[float, float]  # its beginning and its end, of time.monotonic()


@dataclass(frozen=True)
class Pace:
    """How often is activated, and what calls may suffer by it."""

    interval_seconds: float  # from the beginning of one activation to that of the next
    window_seconds: float
    pairs: int  # of a quiet window and one of activations
    target: Target | None

    @property
    def title(self) -> str:
        """Say how often."""
        return f"an activation every {self.interval_seconds:g} s"


PACES = (Pace(10, 20, 6, at_most(1.5)), Pace(0.5, 10, 4, None))
QUICK = (Pace(1, 2, 1, at_most(1.5)), Pace(0.5, 1, 1, None))


def measure(session: Session) -> Outcome:
    """Call at a constant rate; let quiet windows and windows of activations take turns, at each pace."""
    with running_node(session, "data") as node:
        node.activate(session.bundles.make("0", SERVICE), SERVICE, "0")
        calls = Calls(node.ingress_port, SERVICE, "one", "0")
        rate = choose_rate(session, calls)
        activations = _Activations(session, node)
        windows = {}
        with constant_load(session, calls, rate) as load:
            _rest(1)
            for pace in session.choose(PACES, QUICK):
                session.say(f"{pace.pairs} quiet windows and as many with {pace.title}, {rate:.0f} calls/s")
                windows[pace] = [
                    (_rest(pace.window_seconds), activations.make(pace)) for _ in range(pace.pairs)
                ]
    failures = failures_of(load.calls, {str(number) for number in range(activations.made + 1)})
    if failures:
        raise BenchFailed(f"{len(failures)} of {len(load.calls)} calls failed: {failures[0]}")
    note = (
        f"Latency: {activations.made} activations of the very service that is called; {rate:.0f} calls a "
        "second, each timed from when it was due."
    )
    return Outcome(
        rows=tuple(
            _row(load, pace, pairs, percent) for pace, pairs in windows.items() for percent in (99, 50)
        ),
        notes=(note,),
        series={
            f"{pace.title}: p{percent}, {name} windows, milliseconds": _of_each(
                load, [pair[side] for pair in pairs], percent
            )
            for pace, pairs in windows.items()
            for percent in (50, 99, 100)
            for side, name in enumerate(("quiet", "busy"))
        },
    )


class _Activations:
    """Activates new versions of the service."""

    def __init__(self, session: Session, node: Node) -> None:
        self.made = 0
        self._session = session
        self._node = node

    def make(self, pace: Pace) -> Window:
        """Activate for a window at a pace; give the window."""
        begin = time.monotonic()
        while (due := time.monotonic()) < begin + pace.window_seconds:
            self.made += 1
            bundle = self._session.bundles.make(str(self.made), SERVICE)
            self._node.activate(bundle, SERVICE, str(self.made))
            time.sleep(max(due + pace.interval_seconds - time.monotonic(), 0))
        return begin, time.monotonic()


def _rest(seconds: float) -> Window:
    begin = time.monotonic()
    time.sleep(seconds)
    return begin, time.monotonic()


def _of_each(load: Load, windows: list[Window], percent: float) -> tuple[float, ...]:
    return tuple(
        percentile([call.seconds * 1000 for call in load.between(*window)], percent) for window in windows
    )


def _row(load: Load, pace: Pace, pairs: list[tuple[Window, Window]], percent: float) -> Row:
    during = _of_each(load, [busy for _, busy in pairs], percent)
    before = _of_each(load, [quiet for quiet, _ in pairs], percent)
    figures = f"{spread_of(during).median:.1f} ms against {spread_of(before).median:.1f} ms"
    return Row(
        title=f"p{percent:.0f} of calls, {pace.title}",
        figure=spread_of(ratios_of(during, before)),
        unit="×",
        target=pace.target if percent == 99 else None,
        baseline=f"quiet windows in turn: {figures}",
    )
