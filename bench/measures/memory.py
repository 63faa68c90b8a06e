"""Whether the memory of the cells stays bounded: over activations, and over invocations."""

from __future__ import annotations

import shutil

from bench.harness import Lines, Outcome, Row, at_most, find_plateau, spread_of
from bench.session import Session
from bench.subjects.node import Node, running_node
from bench.wrk import Calls, run_wrk
from gridiron.workers.memory import MEBIBYTE

SERVICE = "memory"
NEAR = 20  # activations before a count whose figures stand for it
CALLERS = 32
CALLS_PER_SAMPLE = 1000


def measure_activations(session: Session) -> Outcome:
    """Activate version after version, call each once, and remove the one before."""
    early, late = session.choose(full=50, quick=NEAR), session.choose(full=1000, quick=2 * NEAR)
    session.say(f"{late} activations")
    with running_node(session, "data", retain=0) as node:
        memory = []
        previous = None
        for number in range(1, late + 1):
            bundle = session.bundles.make(str(number), SERVICE)
            build_id = node.activate(bundle, SERVICE, str(number))["build_id"]
            shutil.rmtree(bundle)
            node.call(SERVICE, "one")
            if previous is not None:
                node.prune(previous)
            previous = build_id
            memory.append(node.fetch_cells_memory() / MEBIBYTE)
            if number % 100 == 0:
                session.say(f"{number} activations: {memory[-1]:.0f} MiB")
        replaced = _count_replaced(node)
    base = spread_of(memory[early - NEAR : early]).median
    last = spread_of(memory[late - NEAR : late])
    return Outcome(
        rows=(
            Row(
                title=f"memory of the cells after {late} activations",
                figure=spread_of([each / base for each in memory[late - NEAR : late]]),
                unit="×",
                target=at_most(1.3),
                baseline=f"after {early}: {last.median:.0f} MiB against {base:.0f} MiB",
            ),
        ),
        plots=(
            Lines(
                name="memory-activations",
                title="Memory of the cells over activations",
                x_title="activations, each of which removes the build before",
                y_title="MiB",
                series={"gridiron": tuple(enumerate(memory, start=1))[:: max(late // 100, 1)]},
            ),
        ),
        notes=(f"Activations: figures of the {NEAR} up to each count; {replaced} cells were replaced.",),
    )


def measure_invocations(session: Session) -> Outcome:
    """Call one build again and again."""
    target = session.choose(full=100_000, quick=1000)
    with running_node(session, "data") as node:
        node.activate(session.bundles.make("1", SERVICE), SERVICE, "1")
        samples = _sample(session, node, target)
        replaced = _count_replaced(node)
    plateau = find_plateau(samples)
    made = samples[-1][0]
    note = (
        f"Invocations: {len(samples)} samples; the level is the median of the last quarter, reached at the "
        f"first sample within a tenth of it; {replaced} cells were replaced."
    )
    return Outcome(
        rows=(
            Row(
                title=f"memory of the cells over {made:.0f} invocations, last quarter",
                figure=spread_of([plateau.growth]),
                unit="×",
                target=at_most(1.1),
                baseline=f"the quarter before; {plateau.level:.0f} MiB, reached after "
                f"{plateau.reached_at:.0f} invocations",
            ),
        ),
        plots=(
            Lines(
                name="memory-invocations",
                title="Memory of the cells over invocations",
                x_title="invocations",
                y_title="MiB",
                series={"gridiron": tuple(samples)},
            ),
        ),
        notes=(note,),
    )


def _sample(session: Session, node: Node, target: int) -> list[tuple[float, float]]:
    """Call so many times; give how many calls were made and the MiB of the cells, again and again."""
    calls = Calls(node.ingress_port, SERVICE, "one", "1")
    memory = [(0.0, node.fetch_cells_memory() / MEBIBYTE)]
    seconds, shown = 1, 0
    while memory[-1][0] < target:
        window = run_wrk(calls, CALLERS, seconds)
        seconds = max(round(session.choose(CALLS_PER_SAMPLE, 1) / window.rate), 1)
        memory.append((memory[-1][0] + window.calls, node.fetch_cells_memory() / MEBIBYTE))
        if memory[-1][0] >= shown:
            session.say(f"{memory[-1][0]:.0f} invocations: {memory[-1][1]:.0f} MiB")
            shown += target // 10
    return memory


def _count_replaced(node: Node) -> int:
    return int(sum(node.fetch_pool()["restarts"].values()))
