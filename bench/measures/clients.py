"""What many clients of the manager's API cost those who ask whether it is ready, and its memory."""

from __future__ import annotations

import http.client
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.harness import BenchFailed, Outcome, Row, at_most, find_plateau, percentile, single, timed
from bench.session import Session
from bench.subjects.api_clients import BUSY, SLOW
from bench.subjects.node import Node, running_node
from bench.subjects.processes import errors_of, running
from gridiron.access.tokens import ADMIN_FILE
from gridiron.workers.memory import MEBIBYTE

BUILDS = 10
PROBE_SECONDS = 0.05  # between two probes
SAMPLE_SECONDS = 1.0  # between two looks at the memory
LONGEST_MILLIS = 100
FLAT = 1.1  # times
UNLIMITED = (
    100_000  # requests a second of one client: what they cost is measured, and not that they are refused
)
ROOT = Path(__file__).parents[2]


def measure(session: Session) -> Outcome:
    """Ask again and again whether a node is ready, without clients and with all of them."""
    seconds = session.seconds or session.choose(full=60, quick=12)
    with running_node(session, "asked", sweep_seconds=30, request_rate=UNLIMITED) as node:
        builds = [
            node.activate(session.bundles.make("1", f"name{number}"), f"name{number}", "1")["build_id"]
            for number in range(BUILDS)
        ]
        _probe(node, 2)  # the first answers of all
        before = node.fetch_manager_memory()
        quiet = _probe(node, max(seconds / 4, 5))
        session.say(f"{SLOW} slow and {BUSY} busy clients for {seconds:.0f} s")
        host, port = node.settings.manager_host, str(node.settings.ports.manager)
        token = str(node.settings.manager_state_dir / ADMIN_FILE)
        command = [sys.executable, "-m", "bench.subjects.api_clients", host, port, builds[0], token]
        output = session.work / "clients"
        with running(command, output, cwd=ROOT) as clients:
            busy = _probe(node, seconds)
            if clients.poll() is not None:
                raise BenchFailed(f"the clients ended: {errors_of(output).read_text()}")
            clients.communicate(timeout=60)
    return _report(before, quiet, busy, json.loads(output.read_text()))


@dataclass(frozen=True)
class Probes:
    """What became of asking for a while."""

    seconds: float
    millis: list[float]  # of each answer
    memory: list[tuple[float, float]]  # of the manager, in bytes, by the seconds since the begin


def _probe(node: Node, seconds: float) -> Probes:
    """Ask for so long."""
    millis: list[float] = []
    memory: list[tuple[float, float]] = []
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        millis.append(timed(lambda: _ask(node))[1])
        if not memory or now - memory[-1][0] >= SAMPLE_SECONDS:
            memory.append((now, float(node.fetch_manager_memory())))
        time.sleep(PROBE_SECONDS)
    return Probes(seconds, millis, memory)


def _ask(node: Node) -> None:
    """Ask as probes do: on a connection of its own."""
    connection = http.client.HTTPConnection(
        node.settings.manager_host, node.settings.ports.manager, timeout=30
    )
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        body = response.read()
        if response.status not in {200, 503}:
            raise BenchFailed(f"readiness answered HTTP {response.status}: {body!r}")
    finally:
        connection.close()


def _report(before: int, quiet: Probes, busy: Probes, answers: dict[str, int]) -> Outcome:
    plateau = find_plateau(busy.memory)
    load = f"{SLOW} slow and {BUSY} busy clients, {busy.seconds:.0f} s"
    quiet_p50, quiet_p99 = percentile(quiet.millis, 50), percentile(quiet.millis, 99)
    alone = f"without them: p50 {quiet_p50:.1f} ms, p99 {quiet_p99:.1f} ms"
    ours = f"with them: p50 {percentile(busy.millis, 50):.1f} ms, at most {max(busy.millis):.0f} ms"
    level = f"{plateau.level / MEBIBYTE:.0f} MiB, and {before / MEBIBYTE:.0f} MiB before they came"
    rows = (
        Row(
            title=f"p99 of `GET /health/ready`, {load}",
            figure=single(percentile(busy.millis, 99)),
            unit="ms",
            target=at_most(LONGEST_MILLIS),
            baseline=f"{alone}; {ours}",
        ),
        Row(
            title=f"memory of the manager, {load}: in the last quarter",
            figure=single(plateau.growth),
            unit="×",
            target=at_most(FLAT),
            baseline=f"the quarter before: {level}",
        ),
    )
    listed = answers.pop("200", 0) / busy.seconds
    other = ", ".join(f"{count} {name}" for name, count in sorted(answers.items())) or "nothing"
    note = f"Clients: the busy ones had {listed:.0f} lists of {BUILDS} builds a second; besides, {other}."
    series = {"with clients, milliseconds": tuple(busy.millis), "without, milliseconds": tuple(quiet.millis)}
    return Outcome(rows=rows, notes=(note,), series=series)
