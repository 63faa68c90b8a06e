"""How many idle builds fit into a GiB, against one Node.js process for each build."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.harness import Outcome, Row, at_least, spread_of
from bench.session import Session
from bench.subjects.node import Node, running_node
from bench.subjects.nodejs import running_endpoint
from bench.subjects.processes import fetch_memory

GIBIBYTE = 2**30
IDLE_SECONDS = 5
VERSION = "1.0.0"


def measure(session: Session) -> Outcome:
    """Load builds into the cells of a node and call each once; do the same to Node.js processes."""
    with running_node(session, "data") as node:
        empty, full, builds = _fill_cells(session, node)
        processes = _fill_processes(session, node)
    each = full / builds
    added = (full - empty) / builds
    process = spread_of(processes).median
    figures = f"{GIBIBYTE / each:.0f} here, {GIBIBYTE / process:.0f} there"
    note = (
        f"The cells had {_mib(empty)} without a build and {_mib(full)} with {builds}, each called once: "
        f"{_mib(each)} a build, {_mib(added)} without the cells' own. {len(processes)} processes of Node.js, "
        f"each called once, had {_mib(process)} each. All of it is proportional set size."
    )
    return Outcome(
        rows=(
            Row(
                title="idle builds in a GiB",
                figure=spread_of([other / each for other in processes]),
                unit="×",
                target=at_least(20),
                baseline=f"a Node.js process for each build: {figures}",
            ),
        ),
        notes=(note,),
        series={"Node.js process, bytes": tuple(processes), "cells, bytes": (empty, full)},
    )


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def _fill_cells(session: Session, node: Node) -> tuple[int, int, int]:
    """Load builds, each of its own service; give the bytes before and after, and how many builds."""
    builds = session.choose(full=200, quick=10)
    session.say(f"{builds} builds in the cells")
    empty = node.fetch_cells_memory()
    for number in range(builds):
        service = f"idle{number}"
        node.activate(session.bundles.make(VERSION, service), service, VERSION)
        node.call(service, "one")
    time.sleep(IDLE_SECONDS)
    return empty, node.fetch_cells_memory(), builds


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
