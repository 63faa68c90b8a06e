"""`just bench [NAME…]`: measure a node against baselines, say what holds.

Every measure runs real servers in a directory of its own, on free ports, and leaves nothing behind. The exit
code is 1 when a measure fails or misses its target, after all have run.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from bench.harness import BenchFailed, Failure, Outcome, is_successful
from bench.machine import describe_machine
from bench.measures import MEASURES
from bench.plots import render_plots
from bench.report import Report, merge_reports, put_between_marks, render_report, render_rows, render_table
from bench.scale_report import render_scale
from bench.session import Session
from bench.wrk import find_wrk
from gridiron.errors import GridironError
from gridiron.settings import load_settings
from gridiron.toolchain.programs import Toolchain, find_toolchain

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
PLOTS = DOCUMENT.with_suffix("")
SCALE = DOCUMENT.with_name("scale.md")
RESULTS = PLOTS / "results.json"


def main() -> None:
    """Read the arguments, measure, report."""
    arguments = _parse_arguments()
    if arguments.model:
        _model(write=arguments.write)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    toolchain = find_toolchain(load_settings())
    try:
        find_wrk()
        machine = describe_machine(toolchain)
    except (BenchFailed, GridironError) as error:
        sys.exit(str(error))
    outcomes: dict[str, Outcome | Failure] = {}
    for name in MEASURES:
        if name in (arguments.names or MEASURES):
            outcomes[name] = _run(name, arguments, toolchain)
            report = Report(machine=machine, outcomes=outcomes)
            if arguments.json:  # after each, so that an interruption loses one
                arguments.json.write_text(report.model_dump_json(indent=2) + "\n")
    print(f"\nOn {machine}:\n\n{render_table(outcomes)}")
    for name, outcome in outcomes.items():
        if isinstance(outcome, Outcome):
            print("".join(f"\n{name}: {note}" for note in outcome.notes))
    if arguments.write:
        _write(Report(machine=machine, outcomes=outcomes))
    sys.exit(0 if is_successful(outcomes) else 1)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="just bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(MEASURES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"measures to run; all by default: {names}")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it works, no more")
    parser.add_argument("--seconds", type=float, metavar="N", help="how long the load of `clients` lasts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--write", action="store_true", help="put table and plots into docs/performance.md")
    parser.add_argument(
        "--model",
        action="store_true",
        help="measure nothing: print what docs/scale.md has of a model, or put it there with --write",
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in MEASURES]
    if unknown:
        parser.error(f"there is no measure {unknown[0]}; there are: {names}")
    if arguments.quick and arguments.write:
        parser.error("--quick measures nothing that could be written down")
    return arguments


def _run(name: str, arguments: argparse.Namespace, toolchain: Toolchain) -> Outcome | Failure:
    """Run one measure; a failure of it is an outcome, so that the others go on."""
    print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="gridiron-bench-", ignore_cleanup_errors=True) as work:
        outcome: Outcome | Failure
        try:
            session = Session(toolchain, Path(work), arguments.quick, arguments.seconds)
            outcome = MEASURES[name](session)
        except Exception as error:  # noqa: BLE001 - the other measures go on, and the report has it
            traceback.print_exc()
            outcome = Failure(reason=f"{type(error).__name__}: {error}")
    print("\n".join(render_rows(name, outcome)), flush=True)
    return outcome


def _model(*, write: bool) -> None:
    """Print the model's tables, or put them into the document."""
    text = render_scale()
    if write:
        SCALE.write_text(put_between_marks(SCALE.read_text(), text))
    else:
        print(text)


def _write(report: Report) -> None:
    """Put the outcomes into the record of results, and the whole record into the document."""
    PLOTS.mkdir(exist_ok=True)
    old = Report.model_validate_json(RESULTS.read_bytes()) if RESULTS.exists() else None
    merged = merge_reports(old, report, tuple(MEASURES))
    RESULTS.write_text(merged.model_dump_json(indent=1) + "\n")
    for name, svg in render_plots(merged).items():
        (PLOTS / name).write_text(svg)
    text = render_report(merged, plots=PLOTS.name)
    DOCUMENT.write_text(put_between_marks(DOCUMENT.read_text(), text))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # what was started is ended by now
        sys.exit(130)
