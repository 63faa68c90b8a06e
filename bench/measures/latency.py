"""How long calls take while builds are activated, against quiet."""

from __future__ import annotations

import time

from bench.caller import Load, choose_rate, constant_load, failures_of
from bench.harness import BenchFailed, Outcome, Row, at_most, percentile, ratios_of, spread_of
from bench.session import Session
from bench.subjects.node import Node, running_node
from bench.wrk import Calls

SERVICE = "live"
ACTIVATION_SECONDS = 0.5  # from the beginning of one to that of the next

Window = tuple[float, float]  # its beginning and its end, of time.monotonic()


def measure(session: Session) -> Outcome:
    """Call at a constant rate; let quiet windows and windows of activations take turns."""
    pairs, seconds = session.choose(full=8, quick=2), session.choose(full=10, quick=2)
    with running_node(session, "data") as node:
        node.activate(session.bundles.make("0", SERVICE), SERVICE, "0")
        calls = Calls(node.ingress_port, SERVICE, "one", "0")
        rate = choose_rate(session, calls)
        session.say(f"{pairs} quiet windows and as many of activations, {seconds} s each, {rate:.0f} calls/s")
        quiet, busy, version = [], [], 0
        with constant_load(session, calls, rate) as load:
            _rest(seconds / 2)
            for _ in range(pairs):
                quiet.append(_rest(seconds))
                window, version = _activate(session, node, seconds, version)
                busy.append(window)
    failures = failures_of(load.calls, {str(number) for number in range(version + 1)})
    if failures:
        raise BenchFailed(f"{len(failures)} of {len(load.calls)} calls failed: {failures[0]}")
    return _report(load, quiet, busy, version)


def _rest(seconds: float) -> Window:
    begin = time.monotonic()
    time.sleep(seconds)
    return begin, time.monotonic()


def _activate(session: Session, node: Node, seconds: float, version: int) -> tuple[Window, int]:
    """Activate new versions for a while; give the window and the last version."""
    begin = time.monotonic()
    while (due := time.monotonic()) < begin + seconds:
        version += 1
        node.activate(session.bundles.make(str(version), SERVICE), SERVICE, str(version))
        time.sleep(max(due + ACTIVATION_SECONDS - time.monotonic(), 0))
    return (begin, time.monotonic()), version


def _report(load: Load, quiet: list[Window], busy: list[Window], activations: int) -> Outcome:
    def of_each(windows: list[Window], percent: float) -> tuple[float, ...]:
        return tuple(
            percentile([call.seconds * 1000 for call in load.between(*window)], percent) for window in windows
        )

    def row(percent: float) -> Row:
        during, before = of_each(busy, percent), of_each(quiet, percent)
        figures = f"{spread_of(during).median:.1f} ms against {spread_of(before).median:.1f} ms"
        return Row(
            title=f"p{percent:.0f} of calls during activations",
            figure=spread_of(ratios_of(during, before)),
            unit="×",
            target=at_most(1.5) if percent == 99 else None,
            baseline=f"quiet windows in turn: {figures}",
        )

    note = (
        f"Latency: {activations} activations of the very service that is called, one every "
        f"{ACTIVATION_SECONDS} s; {load.rate:.0f} calls a second, each timed from when it was due."
    )
    return Outcome(
        rows=(row(99), row(50)),
        notes=(note,),
        series={
            f"p{percent}, {name} windows, milliseconds": of_each(windows, percent)
            for percent in (50, 99, 100)
            for name, windows in (("quiet", quiet), ("busy", busy))
        },
    )
