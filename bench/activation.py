"""How long an activation takes, and whether it stays the same with many builds already there.

Three things are measured in turn, in one run on one node, so that noise falls on all of them alike:

    bare      POST /deployments to Restate for a build whose files are there and that was never loaded
    few       POST /activate with few builds there
    many      POST /activate with many builds there

Reported are medians, spreads, and two ratios: many / few, and few / bare. The order is: rounds of `bare` and
`few` in turn with few builds there, then the builds are added, then rounds of `bare` and `many` in turn.

Run by `just bench activation [--builds N] [--rounds N] [--json FILE]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from gridiron.bundles.store import BundleStore
from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.manager.activate import plan_build
from gridiron.manager.api import ActivateRequest
from gridiron.model import Address
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain

WARM_UP = 3


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

    def activate(self, service: str) -> float:
        """Time `POST /activate` for a build of its own service; the build stays. Milliseconds."""
        bundle = self._bundles.make("1.0.0", service)
        body = {"source": bundle.as_uri(), "name": service, "version": "1.0.0"}
        began = time.perf_counter()
        response = self._manager.post("/activate", json=body)
        millis = (time.perf_counter() - began) * 1000
        if response.status_code != 201:
            sys.exit(f"activation failed: {response.text}")
        for step, taken in response.json()["timings_ms"].items():
            self.steps.setdefault(step, []).append(taken)
        return millis

    def bare(self, service: str) -> float:
        """Time a bare `POST /deployments` for a build that lies there and was never loaded. Milliseconds."""
        path = self._place(service)
        began = time.perf_counter()
        response = self._admin.post("/deployments", json={"uri": self._workers_url + path, "force": False})
        millis = (time.perf_counter() - began) * 1000
        if response.status_code != 201:
            sys.exit(f"registration failed: {response.text}")
        return millis

    def _place(self, service: str) -> str:
        now = datetime.now(UTC)
        bundle = self._bundles.make("1.0.0", service)
        request = ActivateRequest(source=bundle.as_uri(), name=service, version="1.0.0")
        address = Address(name=service, version="1.0.0", timestamp=int(now.timestamp() * 1000))
        staged = self._store.stage(bundle)
        self._store.publish(staged, plan_build(address, staged, request, now))
        return address.path

    def rounds(self, label: str, count: int) -> tuple[Series, Series]:
        """Time `count` rounds of a bare registration and an activation, in turn."""
        bare, activated = [], []
        for number in range(count):
            bare.append(self.bare(f"bare-{label}-{number}"))
            activated.append(self.activate(f"{label}-{number}"))
        return Series(f"bare, {label} builds", bare), Series(f"activate, {label} builds", activated)


def measure(builds: int, rounds: int) -> dict[str, Series]:
    """Run it all on a node of its own."""
    with tempfile.TemporaryDirectory(prefix="gridiron-bench-") as work:
        settings = choose_settings(Path(work) / "data", sweep_seconds=3600)
        subject = Subject(settings, Path(work))
        probe = build_probe(find_toolchain(settings), Path(work) / "probe")
        try:
            subject.start()
            bench = Bench(subject, ProbeBundles(probe, Path(work) / "made"))
            bench.rounds("warm-up", WARM_UP)
            bare_few, few = bench.rounds("few", rounds)
            for number in range(builds):
                bench.activate(f"filler-{number}")
            bare_many, many = bench.rounds("many", rounds)
        finally:
            subject.stop()
    steps = {f"step {name}": Series(f"  step {name}", millis) for name, millis in bench.steps.items()}
    return {"bare_few": bare_few, "few": few, "bare_many": bare_many, "many": many, **steps}


def report(series: dict[str, Series], builds: int) -> dict[str, float]:
    """Print the table; give the ratios of the medians."""
    ratios = {
        f"activation with {builds} more builds / with few": series["many"].median / series["few"].median,
        "activation / bare registration, few builds": series["few"].median / series["bare_few"].median,
        "activation / bare registration, many builds": series["many"].median / series["bare_many"].median,
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
    parser.add_argument("--builds", type=int, default=100, help="builds added between the two halves")
    parser.add_argument("--rounds", type=int, default=20, help="timed requests of each kind in each half")
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    series = measure(arguments.builds, arguments.rounds)
    ratios = report(series, arguments.builds)
    if arguments.json:
        figures = {"ratios": ratios, "series": {name: asdict(each) for name, each in series.items()}}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
