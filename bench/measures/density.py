"""How many idle builds fit into a GiB, against one Node.js process for each build."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace

from bench.harness import Outcome, Row, Target, at_least, spread_of
from bench.session import Session
from bench.subjects.node import Node, running_node, wait_until
from bench.subjects.nodejs import running_endpoint
from bench.subjects.processes import fetch_memory

GIBIBYTE = 2**30
IDLE_SECONDS = 5
UNLOAD_SECONDS = 60
REPLACE_SECONDS = 120
VERSION = "1.0.0"


def measure(session: Session) -> Outcome:
    """Load builds into the cells of a node and call each once; do the same to Node.js processes."""
    with running_node(session, "loaded") as node:
        loaded = _fill_cells(session, node)
        processes = _fill_processes(session, node)
    with running_node(session, "unloaded", idle_unload_seconds=IDLE_SECONDS) as node:
        unloaded = _fill_cells(session, node)
        session.say("until they are unloaded, and the cells replaced that did it")
        wait_until(lambda: not node.is_any_loaded(), UNLOAD_SECONDS, "every build is unloaded")
        if not session.quick:  # a few builds leave too little behind
            wait_until(lambda: are_replaced(node), REPLACE_SECONDS, "the cells are replaced")
        unloaded = replace(unloaded, full=node.fetch_cells_memory())
    process = spread_of(processes).median
    note = (
        f"{len(processes)} processes of Node.js, each called once, had {_mib(process)} each; {loaded}; "
        f"unloaded when idle, {unloaded}. All of it is proportional set size: what is shared counts once."
    )
    return Outcome(
        rows=(
            _row("idle builds in a GiB, unloaded when idle", unloaded, processes, at_least(20)),
            _row("idle builds in a GiB, all kept loaded", loaded, processes, None),
        ),
        notes=(note,),
        series={
            "Node.js process, bytes": tuple(processes),
            "cells, bytes": (loaded.empty, loaded.full),
            "cells that have unloaded, bytes": (unloaded.empty, unloaded.full),
        },
    )


@dataclass(frozen=True)
class Filled:
    """The memory of the cells, in bytes, without a build and with so many."""

    empty: int
    full: int
    builds: int

    @property
    def each(self) -> float:
        """A build's share of all that the cells have, their own included."""
        return self.full / self.builds

    def __str__(self) -> str:
        """Say it all."""
        return (
            f"the cells {_mib(self.empty)} without a build and {_mib(self.full)} with {self.builds}, each "
            f"called once: {_mib(self.each)} a build, "
            f"{_mib((self.full - self.empty) / self.builds)} without the cells' own"
        )


def are_replaced(node: Node) -> bool:
    """Tell whether every cell has a successor, and has ended."""
    pool = node.fetch_pool()
    return bool(pool["restarts"].get("empty") == len(pool["cells"]))


def _row(title: str, filled: Filled, processes: list[int], target: Target | None) -> Row:
    there = GIBIBYTE / spread_of(processes).median
    return Row(
        title=title,
        figure=spread_of([process / filled.each for process in processes]),
        unit="×",
        target=target,
        baseline=f"a Node.js process for each build: {GIBIBYTE / filled.each:.0f} here, {there:.0f} there",
    )


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def _fill_cells(session: Session, node: Node) -> Filled:
    """Load builds, each of its own service, and call each once."""
    builds = session.choose(full=200, quick=10)
    session.say(f"{builds} builds in the cells")
    empty = node.fetch_cells_memory()
    for number in range(builds):
        service = f"idle{number}"
        node.activate(session.bundles.make(VERSION, service), service, VERSION)
        node.call(service, "one")
    time.sleep(IDLE_SECONDS)
    return Filled(empty, node.fetch_cells_memory(), builds)


def _fill_processes(session: Session, node: Node) -> list[int]:
    """Run Node.js processes, each of its own service; give the bytes of each."""
    count = session.choose(full=12, quick=3)
    session.say(f"{count} Node.js processes")
    with ExitStack() as stack:
        endpoints = [
            stack.enter_context(running_endpoint(session, f"node{number}", VERSION))
            for number in range(count)
        ]
        for number, endpoint in enumerate(endpoints):
            node.register(endpoint.uri)
            node.call(f"node{number}", "one")
        time.sleep(IDLE_SECONDS)
        return [fetch_memory([endpoint.pid]) for endpoint in endpoints]
