"""What the number of builds costs: a sweep, a page of the list, the whole list, an activation, memory.

Three nodes run side by side, with ten, a hundred and a thousand builds of fifty names; most builds are
drained, as nobody calls them. They take turns, so that noise falls on all alike. The sweeps are those of the
manager's loop in this process, over the node's Restate, cells and disk; the node's own loop sleeps meanwhile.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise

import httpx2

from bench.harness import (
    BenchFailed,
    Lines,
    Outcome,
    Row,
    at_most,
    ratios_of,
    single,
    spread_of,
    take_turns,
    timed,
)
from bench.session import Session
from bench.subjects.node import Node, running_node
from gridiron.bundles.intake import Intake, Policy
from gridiron.bundles.store import BundleStore
from gridiron.manager.admission import Admission
from gridiron.manager.context import Context
from gridiron.manager.execute import Executor
from gridiron.manager.loop import Loop
from gridiron.manager.observe import Observer
from gridiron.manager.registry import Registry
from gridiron.manager.turns import Turns
from gridiron.restate.admin import RestateAdmin
from gridiron.restate.incarnation import NodePort
from gridiron.secrets.store import SecretStore
from gridiron.workers.cells import Cells
from gridiron.workers.memory import MEBIBYTE

NAMES = 50
PAGE = 100  # builds, what `GET /deployments` gives by default
LONGEST_PAGE = 1000  # builds, what it gives at the most
SWEEP, ONE_PAGE, WHOLE_LIST, ACTIVATION = (
    "one sweep",
    "one page of the list",
    "the whole list",
    "an activation",
)
TIMED = (SWEEP, ONE_PAGE, WHOLE_LIST, ACTIVATION)


def measure(session: Session) -> Outcome:
    """Let the nodes take turns."""
    counts = session.choose(full=(10, 100, 1000), quick=(2, 4, 8))
    names = session.choose(full=NAMES, quick=2)
    turns_of: dict[str, Callable[[], float]] = {}
    with ExitStack() as stack:
        nodes: dict[int, Node] = {}
        for count in counts:
            nodes[count] = stack.enter_context(running_node(session, f"with-{count}"))
            _fill(session, nodes[count], count, names)
            sweep = stack.enter_context(_sweeping(session, nodes[count], count))
            turns_of |= {
                _key(SWEEP, count): sweep,
                _key(ONE_PAGE, count): partial(_millis, partial(nodes[count].fetch_page, PAGE)),
                _key(WHOLE_LIST, count): partial(_millis, partial(_list_all, nodes[count], count)),
                _key(ACTIVATION, count): partial(_activate, session, nodes[count]),
            }
        session.say("rounds")
        turns = take_turns(turns_of, session.choose(full=20, quick=2))
        memory = {count: node.fetch_manager_memory() / MEBIBYTE for count, node in nodes.items()}
    return _report(counts, turns, memory)


def _fill(session: Session, node: Node, builds: int, names: int) -> None:
    """Activate so many builds, of names in turn."""
    session.say(f"{builds} builds")
    for number in range(builds):
        name, version = f"name{number % names}", str(number // names)
        bundle = session.bundles.make(version, name)
        node.activate(bundle, name, version)
        shutil.rmtree(bundle)


def _activate(session: Session, node: Node) -> float:
    """Time an activation of a name of its own; the build goes again."""
    bundle = session.bundles.make("1", "made")
    activated, millis = timed(lambda: node.activate(bundle, "made", "1"))
    node.prune(activated["build_id"])
    shutil.rmtree(bundle)
    return millis


def _list_all(node: Node, builds: int) -> None:
    """Read the whole list."""
    listed, cursor = 0, None
    while listed == 0 or cursor is not None:
        page = node.fetch_page(LONGEST_PAGE, cursor)
        listed, cursor = listed + len(page["deployments"]), page["next"]
    if listed != builds:
        raise BenchFailed(f"{listed} builds are listed, and there are {builds}")


def _millis(act: Callable[[], object]) -> float:
    return timed(act)[1]


@contextmanager
def _sweeping(session: Session, node: Node, builds: int) -> Iterator[Callable[[], float]]:
    """Give what times a sweep that finds everything in order, in milliseconds."""
    settings = node.settings
    with asyncio.Runner() as runner:
        client = httpx2.AsyncClient(trust_env=False)
        store = BundleStore(settings.bundles_dir)
        intake = Intake(store, Policy.of(settings))
        context = Context(
            settings=settings.model_copy(update={"drain_grace_seconds": 3600.0}),
            store=store,
            intake=intake,
            admission=Admission(intake),
            restate=RestateAdmin(settings.restate_admin_url, client, NodePort(settings.fabric_url, client)),
            cells=Cells(settings.run_dir, settings.workers_url, client),
            registry=Registry(session.work / f"sweeping-{builds}.json"),
            secrets=SecretStore(settings.secrets_dir),
        )
        observer = Observer(context)
        loop = Loop(context, observer, Executor(context, observer, Turns()))

        def sweep() -> float:
            millis = _millis(lambda: runner.run(loop.sweep()))
            if len(context.registry.records) != builds:
                raise BenchFailed(f"a sweep saw {len(context.registry.records)} of {builds} builds")
            return millis

        try:
            yield sweep
        finally:
            runner.run(client.aclose())


def _key(what: str, builds: int) -> str:
    return f"{what}, {builds} builds, milliseconds"


def _report(
    counts: tuple[int, ...], turns: Mapping[str, tuple[float, ...]], memory: Mapping[int, float]
) -> Outcome:
    rows = [row for few, many in pairwise(counts) for row in _rows(few, many, turns, memory)]
    note = (
        f"Scale: a sweep finds everything in order; a page is of up to {PAGE} builds; the whole list is read "
        f"in pages of up to {LONGEST_PAGE}."
    )
    plot = Lines(
        name="scale",
        title="What the number of builds costs",
        x_title="builds",
        y_title="milliseconds",
        logarithmic=True,
        series={
            what: tuple((float(count), _median(turns[_key(what, count)])) for count in counts)
            for what in TIMED
        },
    )
    return Outcome(rows=tuple(rows), plots=(plot,), notes=(note,), series=dict(turns))


def _rows(
    few: int, many: int, turns: Mapping[str, tuple[float, ...]], memory: Mapping[int, float]
) -> Iterator[Row]:
    """Compare one number of builds with a smaller one: nothing may grow by more than they do."""
    proportion = at_most(many / few)
    for what in TIMED:
        ours, theirs = turns[_key(what, many)], turns[_key(what, few)]
        yield Row(
            title=f"{what}, {many} builds",
            figure=spread_of(ratios_of(ours, theirs)),
            unit="×",
            target=proportion,
            baseline=f"{few} builds: {_median(ours):.0f} ms against {_median(theirs):.0f} ms",
        )
    yield Row(
        title=f"memory of the manager, {many} builds",
        figure=single(memory[many] / memory[few]),
        unit="×",
        target=proportion,
        baseline=f"{few} builds: {memory[many]:.0f} MiB against {memory[few]:.0f} MiB",
    )


def _median(figures: tuple[float, ...]) -> float:
    return spread_of(figures).median
