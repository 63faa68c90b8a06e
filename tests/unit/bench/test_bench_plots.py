from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.harness import Bars, Lines, Spread
from bench.plots import decade_labels, linear_labels, render_plot

GOLDEN = Path(__file__).parent / "golden"
PLOTS = (
    Bars(
        name="bars",
        title="Calls a second",
        y_title="calls",
        groups=("1 step", "10 steps"),
        series={
            "ours": (Spread(median=10, low=8, high=12, count=5), Spread(median=5, low=4, high=6, count=5)),
            "theirs": (Spread(median=12, low=11, high=14, count=5), None),
        },
    ),
    Lines(
        name="lines",
        title="Memory",
        x_title="calls",
        y_title="MiB",
        series={"ours": ((0, 100), (1000, 150), (2000, 160))},
    ),
    Lines(
        name="logarithmic",
        title="Activation",
        x_title="builds",
        y_title="milliseconds",
        logarithmic=True,
        series={"ours": ((1, 50), (150, 55)), "theirs": ((1, 100), (150, 9900))},
    ),
)


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_a_plot_is_drawn_as_it_was(plot: Bars | Lines) -> None:
    """After a change that is meant, look at what `render_plot` gives, and put it into the golden file."""
    assert render_plot(plot) == (GOLDEN / f"{plot.name}.svg").read_text()


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_a_plot_stands_alone(plot: Bars | Lines) -> None:
    svg = render_plot(plot)
    assert re.findall(r"https?://[^\"' <>]+", svg) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in svg
    assert "<!--" not in svg


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 0, [0]),
        (0, 334, [0, 50, 100, 150, 200, 250, 300, 350]),
        (0, 150, [0, 50, 100, 150]),
        (-10, 30, [-10, 0, 10, 20, 30]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 100_000, [0, 20_000, 40_000, 60_000, 80_000, 100_000]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, labels: list[float]) -> None:
    assert linear_labels(low, high) == labels


def test_a_logarithmic_axis_has_powers_of_ten() -> None:
    assert decade_labels(50, 9900) == [10, 100, 1000, 10_000]
