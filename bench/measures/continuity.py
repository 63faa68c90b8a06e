"""Calls that fail while builds are activated and cells are replaced or killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.caller import Call, choose_rate, constant_load, failures_of
from bench.harness import Outcome, Row, at_most, single
from bench.session import Session
from bench.subjects.node import Node, running_node, wait_until
from bench.subjects.restart import RestartedWorkers, running_restarted_workers
from bench.wrk import Calls

SERVICE = "live"
PAUSE_SECONDS = 0.3  # after each change, so that every version is called
KILL_SECONDS = 5  # from one kill to the next
REPLACE_SECONDS = 60  # until a cell has to be there that can be killed


@dataclass(frozen=True)
class Endured:
    """What became of the calls while something was done so many times."""

    times: int
    rate: float
    calls: Sequence[Call]
    failures: Sequence[str]

    @property
    def longest(self) -> float:
        """The seconds of the longest call."""
        return max(call.seconds for call in self.calls)

    def row(self, title: str, baseline: str) -> Row:
        """Demand that no call failed."""
        return Row(
            title=f"calls failed, of {len(self.calls)}, {title}",
            figure=single(len(self.failures)),
            unit="",
            target=at_most(0),
            baseline=baseline,
        )

    def note(self, what: str) -> str:
        """Say at what rate was called, and what the first failures were."""
        failures = f" Failures: {'; '.join(self.failures[:3])}." if self.failures else ""
        return f"{what}: {self.rate:.0f} calls a second, the longest took {self.longest:.2f} s.{failures}"


def measure_upgrades(session: Session) -> Outcome:
    """Activate versions of what is being called and replace its cells; then do the same by restarts."""
    with running_node(session, "data") as node, running_restarted_workers(session) as restarted:
        ours = _upgrade(session, node)
        theirs = _upgrade_by_restarts(session, node, restarted)
    replacements = _replacements(session)
    return Outcome(
        rows=(
            ours.row(
                f"in {ours.times} activations and {replacements} replacements of all cells",
                f"restart: {len(theirs.failures)} of {len(theirs.calls)} in {theirs.times} restarts",
            ),
            Row(
                title="longest call meanwhile",
                figure=single(ours.longest),
                unit="s",
                target=None,
                baseline=f"restart: {theirs.longest:.1f} s",
            ),
        ),
        notes=(ours.note("Activations and replacements"), theirs.note("Restarts")),
    )


def _replacements(session: Session) -> int:
    return session.choose(full=10, quick=2)


def _upgrade(session: Session, node: Node) -> Endured:
    activations = session.choose(full=50, quick=4)
    replacements = _replacements(session)
    session.say(f"{activations} activations and {replacements} replacements of all cells")
    versions = [str(number) for number in range(activations + 1)]
    node.activate(session.bundles.make(versions[0], SERVICE), SERVICE, versions[0])
    calls = Calls(node.ingress_port, SERVICE, "one", versions[0])
    rate = choose_rate(session, calls)
    with constant_load(session, calls, rate) as load:
        for number, version in enumerate(versions[1:], start=1):
            node.activate(session.bundles.make(version, SERVICE), SERVICE, version)
            time.sleep(PAUSE_SECONDS)
            if number % (activations // replacements) == 0:
                node.restart_cells()
    return Endured(activations, rate, load.calls, failures_of(load.calls, versions))


def _upgrade_by_restarts(session: Session, node: Node, restarted: RestartedWorkers) -> Endured:
    restarts = session.choose(full=50, quick=4)
    session.say(f"{restarts} restarts of workerd with one build more each")
    versions = [str(number) for number in range(restarts + 1)]
    service = f"{SERVICE}-restart"

    def deploy(version: str) -> None:
        bundle = session.bundles.make(version, service)
        node.register(restarted.deploy((f"{service}/{version}", bundle)))

    deploy(versions[0])
    calls = Calls(node.ingress_port, service, "one", versions[0])
    rate = choose_rate(session, calls)
    with constant_load(session, calls, rate) as load:
        for version in versions[1:]:
            deploy(version)
            time.sleep(PAUSE_SECONDS)
    return Endured(restarts, rate, load.calls, failures_of(load.calls, versions))


def measure_kills(session: Session) -> Outcome:
    """Kill one cell after the other while a build is being called."""
    kills = session.choose(full=24, quick=2)
    session.say(f"{kills} kills, one every {KILL_SECONDS} s")
    with running_node(session, "data") as node:
        build_id = node.activate(session.bundles.make("1", SERVICE), SERVICE, "1")["build_id"]
        calls = Calls(node.ingress_port, SERVICE, "one", "1")
        rate = choose_rate(session, calls)
        with constant_load(session, calls, rate) as load:
            for number in range(kills):
                time.sleep(KILL_SECONDS)
                # the pool takes longer and longer to replace what dies again and again
                wait_until(lambda: node.fetch_pids()["cells"], REPLACE_SECONDS, "a cell runs")
                cells = node.fetch_pids()["cells"]
                os.kill(cells[number % len(cells)], signal.SIGKILL)
            time.sleep(KILL_SECONDS)
            quarantined = node.fetch_build(build_id)["quarantine"] is not None
    endured = Endured(kills, rate, load.calls, failures_of(load.calls, {"1"}))
    end = "was quarantined, as it was in flight each time" if quarantined else "was not quarantined"
    return Outcome(
        rows=(
            endured.row(
                f"a cell killed every {KILL_SECONDS} s, {kills} times",
                f"none; the longest call took {endured.longest:.2f} s",
            ),
        ),
        notes=(endured.note(f"Kills (SIGKILL, each cell in its turn; the build {end})"),),
    )
