"""What a mesh costs: three nodes against one on the same cores, with calls and without.

All of it is on one machine, with a network namespace for each node, so that there is nothing to gain from
three nodes here: what is seen is what they cost. docs/scale.md has what follows from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from bench.harness import BenchFailed, Outcome, Row, ratios_of, single, spread_of, take_turns
from bench.session import Session
from bench.subjects.counting import Requests, counting
from bench.subjects.node import PROGRAMS, REQUEST_SECONDS, wait_until
from bench.subjects.processes import fetch_cpu_seconds, fetch_ended_cpu_seconds, fetch_memory
from bench.wrk import Requests as Calls
from bench.wrk import Window, run_requests
from gridiron.testing.processes import fetch_program
from tests.acceptance.mesh.node import MeshNode
from tests.acceptance.mesh.rig import REPLICATION, Mesh
from tests.machines import OWN_ADDRESS, switched

NEEDS = "the measure `mesh` makes network namespaces: it needs root, and Debian's package iproute2"
VERSION, SERVICE, HANDLER = "1.0.0", "scaled", "one"
CALLERS = 24  # eight for each node
ROUNDS = 8
WINDOW_SECONDS = 4
QUIET_SECONDS = 35  # a round of the loop, and some more
IDLE_SECONDS = 60
READY_SECONDS = 180
SETTLE_SECONDS = 0.5
ALONE, MESH = "one node", "three nodes"
ON_THE_WAY = ("restate", "haproxy", "cells", "pool")
"""Of a call: what a manager does besides is idle work."""

COUNTED = """#!/bin/sh
# restatectl, with a line for each time that it is started
echo >> "$0.count"
exec '{restatectl}' "$@"
"""


def measure(session: Session) -> Outcome:
    """Run three nodes and one, call them in turn, and look at what they do while nobody calls."""
    if os.geteuid() != 0:
        raise BenchFailed(NEEDS)
    with _running(session) as (mesh, alone, requests):
        groups = {ALONE: [alone], MESH: mesh.nodes}
        for nodes in groups.values():
            bundle = session.bundles.make(VERSION, SERVICE)
            nodes[0].client.activate(bundle, VERSION, SERVICE)
            for node in nodes:
                wait_until(lambda node=node: _is_answered(node), READY_SECONDS, f"{node!r} answers calls")
        time.sleep(
            session.choose(full=QUIET_SECONDS, quick=0)
        )  # until what was activated is known everywhere
        idle = _watch_idle(session, groups, requests)
        session.say("calls of one step: one node and three in turn")
        turns = {name: _calling(session, nodes) for name, nodes in groups.items()}
        calls = take_turns(turns, session.choose(full=ROUNDS, quick=1))
    return _conclude(calls, idle)


# -- what runs


@contextmanager
def _running(session: Session) -> Iterator[tuple[Mesh, MeshNode, Requests]]:
    """Give three nodes, one alone with the same settings, and what counts the requests to the bucket."""
    session.say("three nodes, a bucket, and a node alone")
    restatectl = _make_counted(session)
    with switched() as switch:
        mesh = Mesh(switch, session.work / "mesh")
        alone = MeshNode(switch.add(), session.work / "alone", {}, node_name="alone")
        try:
            mesh.bucket.start()
            bucket = urlsplit(mesh.bucket.endpoint)
            with counting(OWN_ADDRESS, (str(bucket.hostname), int(bucket.port or 80))) as requests:
                # as they are by default, which the tests are not
                changes = {
                    "sweep_seconds": 30.0,
                    "drain_grace_seconds": 60.0,
                    "source_roots": (session.work,),
                    "restatectl": restatectl,
                }
                for node in mesh.nodes:
                    node.start(s3_endpoint=requests.url, **changes)
                alone.start(**changes)
                for node in (*mesh.nodes, alone):
                    node.await_ready(READY_SECONDS)
                yield mesh, alone, requests
        finally:
            try:
                mesh.close()
            finally:
                alone.close()


def _make_counted(session: Session) -> Path:
    path = session.work / "restatectl"
    path.write_text(COUNTED.format(restatectl=session.toolchain.restatectl().path))
    path.chmod(0o755)
    return path


# -- calls


@dataclass(frozen=True)
class Called:
    """A window of calls; what processor time all nodes took, in seconds, and how many bytes they sent."""

    window: Window
    cpu_seconds: Mapping[str, float]
    sent: int
    nodes: int

    def cpu_millis(self, idle: Mapping[str, float]) -> dict[str, float]:
        """Give the processor time of a call in milliseconds, by component.

        What an idle node uses is taken off, in seconds for each second: at few calls a second it would be
        most of it.
        """
        quiet = {name: share * self.nodes * self.window.seconds for name, share in idle.items()}
        used = {name: self.cpu_seconds[name] - quiet[name] for name in ON_THE_WAY}
        return {name: seconds * 1000 / self.window.calls for name, seconds in used.items()}


def _calling(session: Session, nodes: Sequence[MeshNode]) -> Callable[[], Called]:
    seconds = session.choose(full=WINDOW_SECONDS, quick=1)
    urls = [_url(node) for node in nodes]

    def call(url: str) -> Window:
        return run_requests(Calls(url, json.dumps(VERSION)), CALLERS // len(urls), seconds)

    def turn() -> Called:
        time.sleep(SETTLE_SECONDS)
        before, sent_before = _fetch_cpu(nodes), _fetch_sent(nodes)
        with ThreadPoolExecutor(len(urls)) as callers:
            windows = list(callers.map(call, urls))
        after, sent = _fetch_cpu(nodes), _fetch_sent(nodes) - sent_before
        window = Window(sum(each.calls for each in windows), max(each.seconds for each in windows))
        return Called(window, {name: after[name] - before[name] for name in after}, sent, len(nodes))

    return turn


def _find_pids(nodes: Sequence[MeshNode]) -> Mapping[str, list[int]]:
    pids: dict[str, list[int]] = {component: [] for component in PROGRAMS.values()}
    for node in nodes:
        for pid in node.processes():
            if component := PROGRAMS.get(fetch_program(pid)):
                pids[component].append(pid)
    return pids


def _fetch_cpu(nodes: Sequence[MeshNode]) -> dict[str, float]:
    found = _find_pids(nodes)
    used = {component: fetch_cpu_seconds(pids) for component, pids in found.items()}
    return {**used, "restatectl": fetch_ended_cpu_seconds(found["manager"])}


def _is_answered(node: MeshNode) -> bool:
    """Tell whether a call through a node's ingress is answered: a first one takes its time."""
    try:
        response = httpx2.post(_url(node), json=None, timeout=REQUEST_SECONDS, trust_env=False)
    except httpx2.TransportError:
        return False
    return response.status_code == 200


def _url(node: MeshNode) -> str:
    return f"{node.settings.ingress_url}/{SERVICE}/{HANDLER}"


def _fetch_sent(nodes: Sequence[MeshNode]) -> int:
    """Add up the bytes that machines have sent to others: what came in at the other ends of their cables."""
    done = subprocess.run(
        ("ip", "-statistics", "-json", "link", "show"),  # noqa: S607 - as the tests find it
        capture_output=True,
        check=True,
        timeout=10,
    )
    came = {link["ifname"]: link["stats64"]["rx"]["bytes"] for link in json.loads(done.stdout)}
    return sum(came[node.machine.cable] for node in nodes)


# -- nothing


@dataclass(frozen=True)
class Idle:
    """What a node does in a time in which nobody calls."""

    seconds: float
    cpu_seconds: Mapping[str, Mapping[str, float]]  # by group and component, of a node
    memory: Mapping[str, Mapping[str, float]]  # the same, in bytes (PSS)
    requests: Counter[str]  # to the bucket, of all nodes, by what they are
    restatectl: int  # how often it was started, by all nodes

    def cpu_shares(self, group: str) -> dict[str, float]:
        """Give the processor time of a node for each second, by component, in seconds."""
        return {name: seconds / self.seconds for name, seconds in self.cpu_seconds[group].items()}

    def cpu_of(self, group: str) -> float:
        """Give the processor time of a node, in milliseconds for each second."""
        return sum(self.cpu_seconds[group].values()) * 1000 / self.seconds

    @property
    def restatectl_millis(self) -> float:
        """Give the processor time of one process of restatectl, of three nodes."""
        return self.cpu_seconds[MESH]["restatectl"] * 3 * 1000 / max(self.restatectl, 1)

    def memory_of(self, group: str) -> float:
        """Give the memory of a node, in MiB."""
        return sum(self.memory[group].values()) / 2**20


def _watch_idle(session: Session, groups: Mapping[str, Sequence[MeshNode]], requests: Requests) -> Idle:
    seconds = session.choose(full=IDLE_SECONDS, quick=5)
    session.say(f"{seconds} s without a call")
    count = (session.work / "restatectl").with_suffix(".count")
    requests.take()
    before, started_before, began = _fetch_cpus(groups), _count_lines(count), time.monotonic()
    time.sleep(seconds)
    after, started, took = _fetch_cpus(groups), _count_lines(count), time.monotonic() - began
    asked = Counter[str]()
    for (method, target), times in requests.take().items():
        asked[name_request(method, target)] += times
    memory = {}
    for group, nodes in groups.items():
        found = _find_pids(nodes)
        memory[group] = {component: fetch_memory(pids) / len(nodes) for component, pids in found.items()}
    cpu = {
        group: {name: (after[group][name] - before[group][name]) / len(nodes) for name in after[group]}
        for group, nodes in groups.items()
    }
    return Idle(took, cpu, memory, asked, started - started_before)


def _fetch_cpus(groups: Mapping[str, Sequence[MeshNode]]) -> dict[str, dict[str, float]]:
    return {group: _fetch_cpu(nodes) for group, nodes in groups.items()}


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def name_request(method: str, target: str) -> str:
    """Say what a request to the bucket is for: `LIST builds`, `GET shared`, `PUT leases`."""
    url = urlsplit(target)
    if "list-type" in url.query:
        _, _, prefix = url.query.partition("prefix=")
        return f"LIST {_name_folder(prefix.partition('&')[0].replace('%2F', '/'))}"
    return f"{method} {_name_folder('/'.join(url.path.strip('/').split('/')[1:]))}"


def _name_folder(key: str) -> str:
    """Name the folder of a key below the prefix of the mesh; what is not below it has none."""
    prefix, _, rest = key.partition("/")
    return rest.partition("/")[0] or prefix or "nothing"


# -- what came of it


def _conclude(calls: Mapping[str, tuple[Called, ...]], idle: Idle) -> Outcome:
    rates = {name: [each.window.rate for each in turn] for name, turn in calls.items()}
    parts = {name: [each.cpu_millis(idle.cpu_shares(name)) for each in turn] for name, turn in calls.items()}
    costs = {name: [sum(each.values()) for each in turn] for name, turn in parts.items()}
    sent = {name: [each.sent / each.window.calls / 1000 for each in turn] for name, turn in calls.items()}
    middle = {name: spread_of(figures).median for name, figures in rates.items()}
    cost = {name: spread_of(figures).median for name, figures in costs.items()}
    asked = sum(times for what, times in idle.requests.items() if not what.startswith("HEAD "))
    rows = (
        Row(
            title=f"throughput of 1 step, {CALLERS} callers, three nodes on the cores of one",
            figure=spread_of(ratios_of(rates[MESH], rates[ALONE])),
            unit="×",
            target=None,
            baseline=f"a node alone: {middle[MESH]:.0f}/s here, {middle[ALONE]:.0f}/s there",
        ),
        Row(
            title=f"processor time of a call of 1 step, {CALLERS} callers, three nodes",
            figure=spread_of(ratios_of(costs[MESH], costs[ALONE])),
            unit="×",
            target=None,
            baseline=f"a node alone: {cost[MESH]:.2f} ms here, {cost[ALONE]:.2f} ms there",
        ),
        Row(
            title="sent by three nodes for a call of 1 step",
            figure=spread_of(sent[MESH]),
            unit="kB",
            target=None,
            baseline=f"a node alone, which sends the answers only: {spread_of(sent[ALONE]).median:.1f} kB",
        ),
        Row(
            title="memory of an idle node of three",
            figure=single(idle.memory_of(MESH) / idle.memory_of(ALONE)),
            unit="×",
            target=None,
            baseline=f"a node alone: {idle.memory_of(MESH):.0f} MiB against {idle.memory_of(ALONE):.0f} MiB",
        ),
        Row(
            title="processor time of an idle node of three",
            figure=single(idle.cpu_of(MESH) / idle.cpu_of(ALONE)),
            unit="×",
            target=None,
            baseline=(
                f"a node alone: {idle.cpu_of(MESH):.0f} ms against {idle.cpu_of(ALONE):.0f} ms in a second"
            ),
        ),
        Row(
            title="requests to the bucket by three idle nodes",
            figure=single(asked * 60 / idle.seconds),
            unit="a minute",
            target=None,
            baseline=", ".join(f"{times} {what}" for what, times in sorted(idle.requests.items())),
        ),
        Row(
            title="processes of restatectl by three idle nodes",
            figure=single(idle.restatectl * 60 / idle.seconds),
            unit="a minute",
            target=None,
            baseline=f"{idle.restatectl_millis:.0f} ms of processor time each, with what else managers start",
        ),
    )
    notes = (
        f"Mesh: replication {REPLICATION}, one cell a node; nodes and the bucket's server share the cores.",
        *(f"Mesh, {note}" for note in _describe_calls(parts)),
        *(f"Mesh, an idle node of {group}: {_describe_idle(idle, group)}." for group in (ALONE, MESH)),
    )
    series = {f"{name}: calls a second": tuple(figures) for name, figures in rates.items()}
    series |= {f"{name}: processor time of a call, ms": tuple(figures) for name, figures in costs.items()}
    return Outcome(rows=rows, notes=notes, series=series)


def _describe_calls(parts: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[str]:
    for name, turns in parts.items():
        millis = {component: spread_of([each[component] for each in turns]).median for component in turns[0]}
        used = ", ".join(f"{component} {value:.2f}" for component, value in millis.items() if value >= 0.01)
        yield f"processor time of 1 step in milliseconds a call beyond what is idle, {name}: {used}."


def _describe_idle(idle: Idle, group: str) -> str:
    memory = ", ".join(f"{name} {size / 2**20:.0f}" for name, size in idle.memory[group].items())
    cpu = idle.cpu_seconds[group].items()
    used = ", ".join(f"{name} {seconds * 1000 / idle.seconds:.1f}" for name, seconds in cpu)
    return f"{memory} MiB (PSS); {used} ms of processor time a second"
