"""What builds that do harm cost their neighbours in the same cell."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.caller import Call, choose_rate, constant_load, failures_of, longest_gap
from bench.harness import Lines, Outcome, Row, at_most, single
from bench.session import Session
from bench.subjects.node import Node, running_node, wait_until
from bench.wrk import Calls
from gridiron.testing.hostile import BRING_DOWN, HOSTILE_SOURCE, WASTE
from gridiron.testing.probe import ProbeBundles

NEIGHBOUR, HOSTILE, VERSION = "neighbour", "hostile", "1"
CELL_MEMORY_MIB = 600
QUARANTINE_SECONDS = 120  # until a build that brings cells down has to be in quarantine
LOOK_SECONDS = 0.25  # between two looks at that: each takes something from the node
RECOVERY_SECONDS = 10  # that callers may need to have all their answers again
NO_STALL_SECONDS = 0.5  # quiet windows have calls of up to 0.3 s, when Restate's disk is behind
BUCKET_SECONDS = 0.5  # of the plot
DEEDS = {
    "loop": "an endless loop",
    "heap": "a heap bomb",
    "storm": "storms of 10,000 promises",
    "flood": "1 GB of console output",
    "abort": "abortIsolate",
}


@dataclass(frozen=True)
class Stall:
    """How long the neighbour's callers waited in a window, in seconds."""

    call: float  # the longest call that was due in it
    gap: float  # the longest time without an answer

    @property
    def longest(self) -> float:
        """The worse of both."""
        return max(self.call, self.gap)

    def __str__(self) -> str:
        """Say both."""
        return f"longest call {self.call:.2f} s, longest time without an answer {self.gap:.2f} s"


@dataclass(frozen=True)
class Suffered:
    """What one deed did to the calls of a neighbour. Times are of time.monotonic()."""

    deed: str
    rate: float
    calls: list[Call]
    begin: float  # of a quiet window, which ends with the deed
    done_at: float
    over_at: float  # its build is in quarantine, or it has ended
    end: float

    @property
    def failures(self) -> list[str]:
        """The calls that were lost."""
        return failures_of(self.calls, {VERSION})

    @property
    def recovered_at(self) -> float:
        """When every call had its answer that was due before it was over."""
        return max([self.over_at, *(call.answered for call in self.calls if call.due < self.over_at)])

    @property
    def quiet(self) -> Stall:
        """The stall before the deed."""
        return stall_of(
            [call for call in self.calls if call.answered < self.done_at], self.begin, self.done_at
        )

    @property
    def first(self) -> Stall:
        """The stall from the deed on; calls that were under way count."""
        calls = [
            call for call in self.calls if call.answered >= self.done_at and call.due < self.recovered_at
        ]
        return Stall(
            max(call.seconds for call in calls), longest_gap(self.calls, self.done_at, self.recovered_at)
        )

    @property
    def quarantined(self) -> Stall | None:
        """The stall after that, where the build is in quarantine."""
        if self.deed not in BRING_DOWN:
            return None
        return stall_of(self.calls, self.recovered_at, self.end)


def measure(session: Session) -> Outcome:
    """Do each deed on a node of its own, with one cell, so that all builds are neighbours."""
    bundles = session.make_bundles("hostile", HOSTILE_SOURCE)
    suffered = [_suffer(session, bundles, deed) for deed in (*BRING_DOWN, *WASTE)]
    lost = sum(len(each.failures) for each in suffered)
    made = sum(len(each.calls) for each in suffered)
    return Outcome(
        rows=(
            Row(
                title=f"calls that neighbours lost, of {made}",
                figure=single(lost),
                unit="",
                target=at_most(0),
                baseline=f"{len(suffered)} deeds: {', '.join(DEEDS[each.deed] for each in suffered)}",
            ),
            *(_first_row(each) for each in suffered),
            *(_quarantine_row(each, each.quarantined) for each in suffered if each.quarantined is not None),
        ),
        plots=(_plot(suffered),),
        notes=tuple(_note(each) for each in suffered),
    )


def _suffer(session: Session, bundles: ProbeBundles, deed: str) -> Suffered:
    with running_node(session, deed, cells=1, cell_memory_mib=CELL_MEMORY_MIB) as node:
        node.activate(session.bundles.make(VERSION, NEIGHBOUR), NEIGHBOUR, VERSION)
        node.activate(bundles.make(VERSION, HOSTILE), HOSTILE, VERSION)
        calls = Calls(node.ingress_port, NEIGHBOUR, "one", VERSION)
        rate = choose_rate(session, calls)
        session.say(f"{DEEDS[deed]}, {rate:.0f} calls of its neighbour a second")
        seconds = session.choose(full=30 if deed in BRING_DOWN else 15, quick=2)
        with constant_load(session, calls, rate) as load:
            time.sleep(1)
            begin = time.monotonic()
            time.sleep(seconds)
            done_at = time.monotonic()
            invocation = node.send(HOSTILE, deed)
            if deed in BRING_DOWN:
                wait_until(
                    lambda: _is_isolated(node), QUARANTINE_SECONDS, f"{deed} is in quarantine", LOOK_SECONDS
                )
            else:
                _wait_at_most(node, invocation, seconds)
            over_at = time.monotonic()
            time.sleep(session.choose(full=RECOVERY_SECONDS, quick=2))
            if deed in BRING_DOWN:
                time.sleep(seconds)
            end = time.monotonic()
    return Suffered(deed, rate, load.calls, begin, done_at, over_at, end)


def _is_isolated(node: Node) -> bool:
    """Tell whether the hostile build is in quarantine, and both its own cell and another serve."""
    pool = node.fetch_pool()
    own = any(build["cell"] is not None for build in pool["quarantined"])
    return own and any(cell["serving"] and cell["own"] is None for cell in pool["cells"])


def _wait_at_most(node: Node, invocation: str, seconds: float) -> None:
    """Wait until an invocation has ended, or so long; no shorter than a second."""
    deadline = time.monotonic() + seconds
    time.sleep(1)
    while time.monotonic() < deadline and not node.has_ended(invocation):
        time.sleep(0.5)


def stall_of(calls: list[Call], begin: float, end: float) -> Stall:
    """See how long callers waited in a window."""
    due = [call.seconds for call in calls if begin <= call.due < end]
    return Stall(max(due), longest_gap(calls, begin, end))


def _first_row(suffered: Suffered) -> Row:
    return Row(
        title=f"longest stall of neighbours by {DEEDS[suffered.deed]}",
        figure=single(suffered.first.longest),
        unit="s",
        target=at_most(5),
        baseline=f"quiet: {suffered.quiet.longest:.2f} s; here {suffered.first}",
    )


def _quarantine_row(suffered: Suffered, quarantined: Stall) -> Row:
    return Row(
        title=f"longest stall of neighbours once {DEEDS[suffered.deed]} is in quarantine",
        figure=single(quarantined.longest),
        unit="s",
        target=at_most(NO_STALL_SECONDS),
        baseline=f"quiet: {suffered.quiet.longest:.2f} s; here {quarantined}",
    )


def _note(suffered: Suffered) -> str:
    lasted = suffered.over_at - suffered.done_at
    recovered = suffered.recovered_at - suffered.over_at
    ending = "was in quarantine" if suffered.deed in BRING_DOWN else "was over, or watched no longer,"
    failures = f" Failures: {'; '.join(suffered.failures[:3])}." if suffered.failures else ""
    return (
        f"Hostile, {DEEDS[suffered.deed]}: {suffered.rate:.0f} calls of the neighbour a second; it {ending} "
        f"after {lasted:.1f} s, and the calls that waited were answered {recovered:.1f} s later.{failures}"
    )


def _plot(suffered: list[Suffered]) -> Lines:
    return Lines(
        name="hostile",
        title="Calls of a neighbour around a hostile call",
        x_title="seconds since the hostile call",
        y_title="longest call, milliseconds",
        logarithmic=True,
        series={DEEDS[each.deed]: _longest_in_buckets(each) for each in suffered},
    )


def _longest_in_buckets(suffered: Suffered) -> tuple[tuple[float, float], ...]:
    """Give the longest call that was due in each short time, from ten seconds before the deed on."""
    longest: dict[float, float] = {}
    for call in suffered.calls:
        bucket = (call.due - suffered.done_at) // BUCKET_SECONDS * BUCKET_SECONDS
        if bucket >= -10:
            longest[bucket] = max(longest.get(bucket, 0), call.seconds * 1000)
    return tuple(sorted(longest.items()))
