"""Plots as SVG that stands alone: no script, no address of another file. Pure functions."""

from __future__ import annotations

import math
import sys
from xml.etree.ElementTree import Element

import pygal
from pygal.style import Style

from bench.harness import Bars, Lines, Outcome, Spread
from bench.report import Report

# pygal adds a finder of maps that Python asks no longer since 3.12, and warns of before
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

COLOURS = ("#1f6feb", "#d9730d", "#8250df", "#2da44e", "#cf222e", "#6e7781")
FEW_POINTS = 60
"""Fewer points than these are drawn as dots as well."""

EXTRAS = {"script", "desc"}

MOST_STEPS = 7
"""Between the labels of an axis."""

INK, FAINT = "#24292f", "#d0d7de"
STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    foreground=INK,
    foreground_strong=INK,
    foreground_subtle=INK,
    guide_stroke_color=FAINT,
    major_guide_stroke_color=FAINT,
    guide_stroke_dasharray="0",
    major_guide_stroke_dasharray="0",
    opacity="1",
    opacity_hover="1",
    colors=COLOURS,
    value_colors=("#ffffff",) * len(COLOURS),
    font_family="system-ui, sans-serif",
    title_font_size=15,
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=13,
    value_font_size=12,
    ci_colors=(INK,) * len(COLOURS),
    stroke_width=2,
)
SHAPE = {
    "style": STYLE,
    "width": 860,
    "height": 420,
    "js": (),
    "no_prefix": True,  # the same figures give the same text
    "legend_at_bottom": True,
    "legend_box_size": 12,
    "margin": 16,
}


def render_plots(report: Report) -> dict[str, str]:
    """Draw every plot of a report, by the name of its file."""
    return {
        f"{plot.name}.svg": render_plot(plot)
        for outcome in report.outcomes.values()
        if isinstance(outcome, Outcome)
        for plot in outcome.plots
    }


def render_plot(plot: Bars | Lines) -> str:
    """Draw a plot; the same plot gives the same text."""
    chart = _draw_bars(plot) if isinstance(plot, Bars) else _draw_lines(plot)
    chart.add_xml_filter(_without_extras)
    return str(chart.render(is_unicode=True)) + "\n"


def _draw_bars(plot: Bars) -> pygal.Bar:
    top = max(spread.high for series in plot.series.values() for spread in series if spread is not None)
    chart = pygal.Bar(
        title=plot.title,
        y_title=plot.y_title,
        print_values=True,
        print_values_position="bottom",
        formatter=lambda value: f"{value:.0f}",
        y_labels=linear_labels(0, top),
        **SHAPE,
    )
    chart.x_labels = plot.groups
    for name, spreads in plot.series.items():
        chart.add(name, [None if spread is None else _bar(spread) for spread in spreads])
    return chart


def _bar(spread: Spread) -> dict[str, object]:
    return {"value": spread.median, "ci": {"low": spread.low, "high": spread.high}}


def _draw_lines(plot: Lines) -> pygal.XY:
    points = [point for series in plot.series.values() for point in series]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    # pygal's own logarithmic scale would take both axes
    scale = math.log10 if plot.logarithmic else float
    labels = decade_labels(min(ys), max(ys)) if plot.logarithmic else linear_labels(0, max(ys))
    chart = pygal.XY(
        title=plot.title,
        x_title=plot.x_title,
        y_title=plot.y_title,
        dots_size=2.5 if len(points) < FEW_POINTS else 0.1,
        x_labels=[{"value": x, "label": render_label(x)} for x in linear_labels(min(0, *xs), max(xs))],
        y_labels=[{"value": scale(y), "label": render_label(y)} for y in labels],
        range=(scale(labels[0]), scale(labels[-1])),
        **SHAPE,
    )
    for name, series in plot.series.items():
        chart.add(name, [(x, scale(y)) for x, y in series])
    return chart


def render_label(value: float) -> str:
    """Write a number at an axis."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def linear_labels(low: float, high: float) -> list[float]:
    """Choose at most nine round numbers for an axis that both ends lie on."""
    width = high - low or 1.0
    power = 10.0 ** math.floor(math.log10(width))
    step = next(power * factor for factor in (0.1, 0.2, 0.5, 1, 2) if width / (power * factor) <= MOST_STEPS)
    return [round(number * step, 9) for number in range(math.floor(low / step), math.ceil(high / step) + 1)]


def decade_labels(low: float, high: float) -> list[float]:
    """Choose the powers of ten around figures that are above 0."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [10.0**power for power in powers]


def _without_extras(root: Element) -> Element:
    """Take out scripts, what only those need, and comments, which hold the date."""
    for parent in list(root.iter()):
        for child in list(parent):
            tag: object = child.tag  # a comment's is no text
            if not isinstance(tag, str) or tag.rpartition("}")[2] in EXTRAS:
                parent.remove(child)
    return root
