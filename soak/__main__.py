"""`just soak [MINUTES]`: strain a node while its processes are killed, and see that nothing is lost.

Four services of a real node are called without a pause, while versions of them are deployed, rolled back and
pruned, and every few seconds one process is killed. The exit code is 0 when no call, no counter, no build was
lost and nothing was leaked. It is 1 otherwise, and then the node's directory is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from soak.events import Events
from soak.ledger import Ledger
from soak.report import render_findings, render_table
from soak.run import RETAIN, Plan, Soak

SOURCE = Path(__file__).parent / "worker.js"
FIRST_OFFSET = 5_000  # of the ports: a node that is started without one keeps its own


def main() -> None:
    """Read the arguments, strain a node, report."""
    plan = _parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    work = Path(tempfile.mkdtemp(prefix="gridiron-soak-"))
    print(f"seed {plan.seed}; {plan.seconds / 60:.3g} minutes; everything is written into {work}")
    ledger = _soak(plan, work)
    findings = render_findings(ledger)
    print(
        f"\n{render_table(ledger, time.monotonic())}\n\n{findings or 'Nothing is lost, nothing is leaked.'}"
    )
    if findings:
        sys.exit(f"\nIt did not hold (seed {plan.seed}). Node, its log and what was done to it are in {work}")
    shutil.rmtree(work)


def _parse_arguments() -> Plan:
    parser = argparse.ArgumentParser(
        prog="just soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "minutes", nargs="?", type=_duration, default=10, metavar="MINUTES", help="default: 10"
    )
    parser.add_argument("--seed", type=int, help="of all that is done at random; default: any")
    parser.add_argument(
        "--kill-every", type=_duration, default=10, metavar="SECONDS", help="default: 10; 0 kills nothing"
    )
    arguments = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    return Plan(seconds=arguments.minutes * 60, kill_every_seconds=arguments.kill_every, seed=seed)


def _duration(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or number < 0:
        raise argparse.ArgumentTypeError(f"{text} is no duration")
    return number


def _soak(plan: Plan, work: Path) -> Ledger:
    """Start a node, strain it, stop it; give what was seen."""
    settings = choose_settings(
        work / "node", FIRST_OFFSET, sweep_seconds=0.5, drain_grace_seconds=0.5, retain=RETAIN, cells=2
    )
    built = build_probe(find_toolchain(load_settings()), work / "built", SOURCE.read_text())
    node, events = Subject(settings, work), Events(work / "events.log")
    print(f"the node's log is {work / 'node.log'}, what is done to it stands in {events.path}", flush=True)
    began = time.monotonic()

    def report(ledger: Ledger) -> None:
        now = time.monotonic()
        print(f"\n{time.strftime('%H:%M:%S')} after {(now - began) / 60:.1f} minutes")
        print(render_table(ledger, now), flush=True)

    async def run() -> Ledger:
        soak = Soak(plan, node, ProbeBundles(built, work / "made"), events)
        await soak.run(report)
        await soak.stop()
        return soak.ledger

    try:
        node.start()
        return asyncio.run(run())
    finally:
        node.stop()
        events.close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # what was started is ended by now
        sys.exit(130)
