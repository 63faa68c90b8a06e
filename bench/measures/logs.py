"""What it costs a call that its build's log is kept, and that somebody follows it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.harness import BenchFailed, Outcome, Row, Target, at_most, spread_of, take_turns
from bench.session import Session
from bench.subjects.node import Node, running_node, wait_until
from bench.subjects.processes import running
from bench.wrk import Calls, Window, run_wrk

SERVICE, HANDLER, VERSION = "printer", "says", "1.0.0"
NOTHING, KEPT, FOLLOWED = "nothing kept", "kept", "kept and followed"
CALLERS = 8
WINDOW_SECONDS = 4
BLOCKS, ROUNDS = 8, 4
"""Each block has nodes of its own: the same code costs up to a tenth more in one process than in another."""
SETTLE_SECONDS = 1  # what was printed last is read by then
MOST = 1.05  # of what every call costs; to follow a log is somebody's choice, and costs while they do

SOURCE = """
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
const handlers = {
  says: async (ctx) => {
    console.log("began", { version: "@VERSION@", at: 1 });
    const version = await ctx.run("step", () => "@VERSION@");
    console.info("the step is done: %s", version);
    console.warn("and that was it");
    return version;
  },
};
const service = restate.service({ name: "@SERVICE@", handlers });
const bidirectional = JSON.parse("@BIDIRECTIONAL@");
export default { fetch: restate.createEndpointHandler({ services: [service], bidirectional }) };
"""


@dataclass(frozen=True)
class Measured:
    """One window of calls, and the processor time of each component in it."""

    window: Window
    cpu_seconds: Mapping[str, float]

    @property
    def millis(self) -> float:
        """Processor time of a call, in milliseconds."""
        return sum(self.cpu_millis.values())

    @property
    def log_millis(self) -> float:
        """What of it is of those who have to do with logs."""
        return sum(self.cpu_millis[component] for component in ("cells", "pool", "manager"))

    @property
    def cpu_millis(self) -> Mapping[str, float]:
        """Processor time of a call, in milliseconds, by component."""
        return {name: spent * 1000 / self.window.calls for name, spent in self.cpu_seconds.items()}


def measure(session: Session) -> Outcome:
    """Call a build that prints three lines a call, on a node that keeps nothing and on one that does."""
    bundle = session.make_bundles("printer", SOURCE).make(VERSION, SERVICE)
    turns: dict[str, tuple[Measured, ...]] = {}
    for block in range(session.choose(full=BLOCKS, quick=1)):
        session.say(f"{NOTHING}, {KEPT}, {FOLLOWED} in turn, by the nodes of block {block + 1}")
        for name, turn in _measure_block(session, block, bundle).items():
            turns[name] = turns.get(name, ()) + turn
    return Outcome(
        rows=(_row(KEPT, turns, at_most(MOST)), _row(FOLLOWED, turns, None)),
        series={
            f"{name}, {what}": figures
            for name, turn in turns.items()
            for what, figures in (
                ("processor milliseconds a call", tuple(each.millis for each in turn)),
                ("those of cells, pool and manager", tuple(each.log_millis for each in turn)),
                ("calls a second", tuple(each.window.rate for each in turn)),
            )
        },
        notes=(_note(turns),),
    )


def _measure_block(session: Session, block: int, bundle: Path) -> Mapping[str, tuple[Measured, ...]]:
    with (
        running_node(session, f"nothing-{block}", logs_mib=0) as plain,
        running_node(session, f"kept-{block}") as keeping,
    ):
        for node in (plain, keeping):
            node.activate(bundle, SERVICE, VERSION)
            node.call(SERVICE, HANDLER)
        subjects = {
            NOTHING: lambda: _run(session, plain),
            KEPT: lambda: _run(session, keeping),
            FOLLOWED: _followed(session, keeping),
        }
        return take_turns(subjects, session.choose(full=ROUNDS, quick=1), seed=block)


def _run(session: Session, node: Node) -> Measured:
    calls = Calls(node.ingress_port, SERVICE, HANDLER, VERSION)
    time.sleep(SETTLE_SECONDS)
    before = node.fetch_cpu_seconds()
    window = run_wrk(calls, CALLERS, session.choose(full=WINDOW_SECONDS, quick=1))
    after = node.fetch_cpu_seconds()
    return Measured(window, {component: after[component] - before[component] for component in after})


def _followed(session: Session, node: Node) -> Callable[[], Measured]:
    def run() -> Measured:
        output = session.work / "followed.jsonl"
        output.unlink(missing_ok=True)
        environment = {**os.environ, **node.settings.environment()}
        arguments = (sys.executable, "-m", "gridiron", "logs", SERVICE, "-f", "--json")
        with running(arguments, output, environment=environment):
            wait_until(lambda: output.stat().st_size, 30, "who follows sees what is there")
            measured = _run(session, node)
            seen = output.read_bytes().count(b"\n")
        if seen < measured.window.calls:  # of each call there are four events; a flood is cut
            raise BenchFailed(f"of {measured.window.calls} calls, who followed saw {seen} events")
        return measured

    return run


def _row(name: str, turns: Mapping[str, tuple[Measured, ...]], target: Target | None) -> Row:
    ours, theirs = turns[name], turns[NOTHING]
    more = spread_of([our.log_millis - their.log_millis for our, their in zip(ours, theirs, strict=True)])
    whole = spread_of([their.millis for their in theirs])
    return Row(
        title=f"processor time of a call that prints three lines, log {name}",
        figure=spread_of([add_share(our, their) for our, their in zip(ours, theirs, strict=True)]),
        unit="×",
        target=target,
        baseline=f"{NOTHING}: {more.median:.2f} ms more than {whole.median:.2f} ms",
    )


def add_share(ours: Measured, theirs: Measured) -> float:
    """Say how many times a call's processor time is what it is, by what has to do with logs alone.

    Restate and HAProxy have nothing to do with them; but their own work, on disks say, would be most of what
    is seen.
    """
    return (theirs.millis + ours.log_millis - theirs.log_millis) / theirs.millis


def _note(turns: Mapping[str, tuple[Measured, ...]]) -> str:
    """Say what a call costs each component, and how many there were."""
    said = []
    for name, turn in turns.items():
        rate = spread_of([each.window.rate for each in turn]).median
        components = turn[0].cpu_millis
        millis = {each: spread_of([m.cpu_millis[each] for m in turn]).median for each in components}
        said.append(f"{name}: {rate:.0f}/s, " + ", ".join(f"{each} {ms:.3f}" for each, ms in millis.items()))
    return (
        f"Calls a second, and processor time of a call in milliseconds, {CALLERS} callers. {'; '.join(said)}."
    )
