from __future__ import annotations

import pytest

from bench.__main__ import DOCUMENT, PLOTS, RESULTS
from bench.harness import BenchFailed, Failure, Lines, Outcome, Row, Spread, at_least, at_most, single
from bench.plots import render_plots
from bench.report import Report, merge_reports, put_between_marks, render_number, render_report

FAST = Row(
    title="activation",
    figure=Spread(median=41.26, low=39.94, high=120.4, count=5),
    unit="×",
    target=at_least(40),
    baseline="restart: 50 ms here, 2.1 s there",
)
LOST = Row(title="calls lost", figure=single(2), unit="", target=at_most(0), baseline="restart: 7")
LONGEST = Row(title="longest call", figure=single(0.4), unit="s", target=None, baseline="quiet: 0.03 s")
PLOT = Lines(name="activation", title="How long", x_title="builds", y_title="ms", series={"a": ((1, 2),)})

RENDERED = """Measured on a machine.

| measure | of | target | measured | holds | against |
| --- | --- | --- | --- | --- | --- |
| `activation` | activation | ≥ 40× | 41.3× (39.9–120) | yes | restart: 50 ms here, 2.1 s there |
| `upgrades` | calls lost | ≤ 0 | 2 | **no** | restart: 7 |
| `upgrades` | longest call | – | 0.40 s | – | quiet: 0.03 s |
| `kills` | – | – | – | **no** | it failed: no node |

![How long](plots/activation.svg)

- It was quiet.
- It was loud."""


def make_report(machine: str = "a machine") -> Report:
    return Report(
        machine=machine,
        outcomes={
            "activation": Outcome(rows=(FAST,), plots=(PLOT,), notes=("It was quiet.",)),
            "upgrades": Outcome(rows=(LOST, LONGEST), notes=("It was loud.",)),
            "kills": Failure(reason="no\n node"),
        },
    )


def test_the_report_is_a_table_with_plots_and_notes() -> None:
    assert render_report(make_report(), "plots") == RENDERED


def test_a_report_survives_its_file() -> None:
    assert Report.model_validate_json(make_report().model_dump_json()) == make_report()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (3, "3"), (0.8, "0.80"), (9.876, "9.88"), (12.34, "12.3"), (1234.5, "1234")],
)
def test_numbers_have_three_digits(number: float, text: str) -> None:
    assert render_number(number) == text


def test_the_report_stands_between_the_marks_of_the_document() -> None:
    document = "Before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nAfter\n"
    put = put_between_marks(document, "new")
    assert put == "Before\n<!-- bench: begin -->\nnew\n<!-- bench: end -->\nAfter\n"
    assert put_between_marks(put, "new") == put
    with pytest.raises(BenchFailed, match="bench: begin"):
        put_between_marks("Before\n", "new")


def test_a_run_of_some_measures_renews_those_and_keeps_the_others() -> None:
    renewed = Report(machine="a machine", outcomes={"activation": Outcome(rows=(LOST,))})
    order = ("kills", "activation", "latency")
    merged = merge_reports(make_report(), renewed, order)
    assert list(merged.outcomes.items()) == [
        ("kills", make_report().outcomes["kills"]),
        ("activation", Outcome(rows=(LOST,))),
    ]
    assert merge_reports(None, renewed, order) == renewed
    assert merge_reports(make_report("another machine"), renewed, order) == renewed


@pytest.mark.skipif(not RESULTS.exists(), reason="nothing was measured yet")
def test_the_document_says_what_was_measured() -> None:
    report = Report.model_validate_json(RESULTS.read_bytes())
    document = DOCUMENT.read_text()
    assert put_between_marks(document, render_report(report, PLOTS.name)) == document
    assert {file.name: file.read_text() for file in PLOTS.glob("*.svg")} == render_plots(report)
