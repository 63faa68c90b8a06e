"""How long an activation takes, and whether it stays the same with many builds already there.

Two nodes run side by side: on one there are no builds, on the other many. On each, two things are timed:

    bare        POST /deployments to Restate for a build whose files are there and that was never loaded
    activate    POST /activate to the manager

The four take turns, round after round, so that noise falls on all of them alike, and what a round made is
removed again. Reported are medians, spreads, the steps of the activations, and ratios: many / none, and
activate / bare on each node.

Run by `just bench activation [--builds N] [--rounds N] [--json FILE]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from gridiron.bundles.store import BundleStore
from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.manager.activate import plan_build
from gridiron.manager.api import ActivateRequest
from gridiron.model import Address
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain

SETTLE_SECONDS = 0.15  # before each timed request: what went before is still being written to the disk
WARM_UP = 3  # rounds that are not counted
NODES = ("none", "many")


@dataclass(frozen=True)
class Series:
    """Milliseconds of one kind of request."""

    name: str
    millis: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.millis)

    def row(self) -> str:
        """One line of the table: how many, median, least, 90th percentile, most."""
        ordered = sorted(self.millis)
        return (
            f"{self.name:<24}{len(ordered):>6}{self.median:>10.1f}{ordered[0]:>10.1f}"
            f"{ordered[int(len(ordered) * 0.9)]:>10.1f}{ordered[-1]:>10.1f}"
        )


class Bench:
    """One node and the requests that are timed against it."""

    def __init__(self, subject: Subject, bundles: ProbeBundles) -> None:
        settings = subject.settings
        self._workers_url = settings.workers_url
        self._store = BundleStore(settings.bundles_dir)
        self._bundles = bundles
        self._manager = httpx2.Client(base_url=settings.manager_url, timeout=60)
        self._admin = httpx2.Client(base_url=settings.restate_admin_url, timeout=60)
        self.steps: dict[str, list[float]] = {}

    def activate(self, service: str, *, keep: bool = False) -> float:
        """Time `POST /activate` for a build of its own service; it goes again unless `keep`. Milliseconds."""
        bundle = self._bundles.make("1.0.0", service)
        time.sleep(SETTLE_SECONDS)
        body = {"source": bundle.as_uri(), "name": service, "version": "1.0.0"}
        began = time.perf_counter()
        response = self._manager.post("/activate", json=body)
        millis = (time.perf_counter() - began) * 1000
        if response.status_code != 201:
            sys.exit(f"activation failed: {response.text}")
        for step, taken in response.json()["timings_ms"].items():
            self.steps.setdefault(step, []).append(taken)
        if not keep:
            body = {"build_id": response.json()["build_id"], "force": True}
            self._manager.post("/prune", json=body).raise_for_status()
        return millis

    def bare(self, service: str) -> float:
        """Time a bare `POST /deployments` for a build that was never loaded; it goes again. Milliseconds."""
        address = self._place(service)
        time.sleep(SETTLE_SECONDS)
        began = time.perf_counter()
        response = self._admin.post(
            "/deployments", json={"uri": self._workers_url + address.path, "force": False}
        )
        millis = (time.perf_counter() - began) * 1000
        if response.status_code != 201:
            sys.exit(f"registration failed: {response.text}")
        self._admin.delete(f"/deployments/{response.json()['id']}?force=true").raise_for_status()
        self._store.remove(str(address))
        return millis

    def _place(self, service: str) -> Address:
        now = datetime.now(UTC)
        bundle = self._bundles.make("1.0.0", service)
        request = ActivateRequest(source=bundle.as_uri(), name=service, version="1.0.0")
        address = Address(name=service, version="1.0.0", timestamp=int(now.timestamp() * 1000))
        staged = self._store.stage(bundle)
        self._store.publish(staged, plan_build(address, staged, request, now))
        return address


@contextmanager
def running_node(work: Path, name: str, probe: Path) -> Iterator[Bench]:
    """Run a node of its own."""
    subject = Subject(choose_settings(work / name, sweep_seconds=3600), work)
    subject.start()
    try:
        yield Bench(subject, ProbeBundles(probe, work / f"{name}-made"))
    finally:
        subject.stop()


def measure(builds: int, rounds: int) -> dict[str, Series]:
    """Run it all; every series has one value for each round."""
    millis: dict[str, list[float]] = {
        f"{what} {where}": [] for where in NODES for what in ("bare", "activate")
    }
    with tempfile.TemporaryDirectory(prefix="gridiron-bench-") as directory:
        work = Path(directory)
        probe = build_probe(find_toolchain(load_settings()), work / "probe")
        with running_node(work, "none", probe) as none, running_node(work, "many", probe) as many:
            for number in range(builds):
                many.activate(f"filler-{number}", keep=True)
            for number in range(-WARM_UP, rounds):
                if number == 0:
                    none.steps.clear()
                    many.steps.clear()
                # each node rests while the other one works: Restate goes on a while after it has answered
                taken = {
                    "bare none": none.bare(f"bare{number + WARM_UP}"),
                    "bare many": many.bare(f"bare{number + WARM_UP}"),
                    "activate none": none.activate(f"made{number + WARM_UP}"),
                    "activate many": many.activate(f"made{number + WARM_UP}"),
                }
                if number >= 0:
                    for name, value in taken.items():
                        millis[name].append(value)
            for where, bench in (("none", none), ("many", many)):
                millis |= {f"  {where}: {step}": times for step, times in bench.steps.items()}
    return {name: Series(name, times) for name, times in millis.items()}


def report(series: dict[str, Series], builds: int) -> dict[str, float]:
    """Print the table; give the ratios of the medians."""
    median = {name: each.median for name, each in series.items()}
    ratios = {
        f"activation with {builds} builds there / with none": median["activate many"]
        / median["activate none"],
        "activation / bare registration, no builds": median["activate none"] / median["bare none"],
        f"activation / bare registration, {builds} builds": median["activate many"] / median["bare many"],
    }
    print(f"{'milliseconds':<24}{'n':>6}{'median':>10}{'least':>10}{'p90':>10}{'most':>10}")
    for each in series.values():
        print(each.row())
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    return ratios


def main() -> None:
    """Read the arguments, measure, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--builds", type=int, default=100, help="builds on the node with many")
    parser.add_argument("--rounds", type=int, default=40, help="timed requests of each kind")
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    series = measure(arguments.builds, arguments.rounds)
    ratios = report(series, arguments.builds)
    if arguments.json:
        figures = {"ratios": ratios, "series": {name: asdict(each) for name, each in series.items()}}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
