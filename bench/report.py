"""What people read: the table and its notes, and where they go in the document. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.harness import BenchFailed, Failure, Outcome, Row, Spread, Target
from gridiron.model import Value

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
"""The lines of the document between which the report stands."""

SIGNS = {"at least": "≥", "at most": "≤"}


class Report(Value):
    """The results of the benches: what `--json` writes."""

    machine: str  # what it ran on, and which versions of what
    outcomes: dict[str, Outcome | Failure]  # by measure


def render_number(number: float) -> str:
    """Write a figure with three significant digits, large ones whole."""
    if number == int(number) or abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.2f}" if abs(number) < 10 else f"{number:.1f}"


def render_spread(spread: Spread, unit: str) -> str:
    """Write a median, and the quartiles where there is more than one figure."""
    median = f"{render_number(spread.median)} {unit}".replace(" ×", "×").strip()
    if spread.count == 1:
        return median
    return f"{median} ({render_number(spread.low)}–{render_number(spread.high)})"


def render_target(target: Target | None, unit: str) -> str:
    """Write what a figure has to be."""
    if target is None:
        return "–"
    return f"{SIGNS[target.bound]} {render_number(target.value)} {unit}".replace(" ×", "×").strip()


def render_row(measure: str, row: Row) -> str:
    """Write one line of the table, in Markdown."""
    verdict = {None: "–", True: "yes", False: "**no**"}[row.holds]
    cells = (
        f"`{measure}`",
        row.title,
        render_target(row.target, row.unit),
        render_spread(row.figure, row.unit),
        verdict,
        row.baseline,
    )
    return f"| {' | '.join(cells)} |"


def render_rows(measure: str, outcome: Outcome | Failure) -> list[str]:
    """Write the lines of a measure; one that failed has a line with the reason."""
    if isinstance(outcome, Failure):
        return [f"| `{measure}` | – | – | – | **no** | it failed: {' '.join(outcome.reason.split())} |"]
    return [render_row(measure, row) for row in outcome.rows]


def render_table(outcomes: Mapping[str, Outcome | Failure]) -> str:
    """Write the table, in Markdown."""
    lines = [
        "| measure | of | target | measured | holds | against |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for measure, outcome in outcomes.items():
        lines += render_rows(measure, outcome)
    return "\n".join(lines)


def render_report(report: Report, plots: str) -> str:
    """Write everything that stands between the marks; `plots` is where the plots lie, seen from there."""
    return "\n\n".join(_sections(report, plots))


def _sections(report: Report, plots: str) -> Iterator[str]:
    yield f"Measured on {report.machine}."
    yield render_table(report.outcomes)
    for outcome in report.outcomes.values():
        if isinstance(outcome, Outcome):
            yield from (f"![{plot.title}]({plots}/{plot.name}.svg)" for plot in outcome.plots)
    notes = [note for each in report.outcomes.values() if isinstance(each, Outcome) for note in each.notes]
    if notes:
        yield "\n".join(f"- {note}" for note in notes)


def put_between_marks(document: str, text: str) -> str:
    """Replace what stands between the marks. Raises BenchFailed where the document has not both of them."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchFailed(f"the document has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def merge_reports(old: Report | None, new: Report, order: Sequence[str]) -> Report:
    """Put new outcomes into an old report, in the order of their names given.

    An old report of another machine counts for nothing, nor does an outcome whose name there is no longer.
    """
    kept = old.outcomes if old is not None and old.machine == new.machine else {}
    outcomes = {**kept, **new.outcomes}
    return Report(machine=new.machine, outcomes={name: outcomes[name] for name in order if name in outcomes})
