"""Plots as SVG that stands alone: no script, no address of another file. Pure functions."""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element

import pygal
from pygal.style import Style

from bench.harness import Bars, Lines, Spread

COLOURS = ("#1f6feb", "#d9730d", "#8250df", "#2da44e", "#cf222e", "#6e7781")
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
    title_font_size=17,
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
    "show_minor_y_labels": False,
}


def render_plot(plot: Bars | Lines) -> str:
    """Draw a plot; the same plot gives the same text."""
    chart = _draw_bars(plot) if isinstance(plot, Bars) else _draw_lines(plot)
    chart.add_xml_filter(_without_scripts)
    return str(chart.render(is_unicode=True)) + "\n"


def _draw_bars(plot: Bars) -> pygal.Bar:
    top = max(spread.high for series in plot.series.values() for spread in series if spread is not None)
    chart = pygal.Bar(
        title=plot.title,
        y_title=plot.y_title,
        print_values=True,
        print_values_position="bottom",
        formatter=lambda value: f"{value:.0f}",
        y_labels=linear_labels(top),
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
    ys = [y for _, y in points]
    chart = pygal.XY(
        title=plot.title,
        x_title=plot.x_title,
        y_title=plot.y_title,
        logarithmic=False,
        dots_size=2.5 if len(points) < 60 else 0.1,
        x_labels=linear_labels(max(x for x, _ in points)),
        y_labels=decade_labels(ys) if plot.logarithmic else linear_labels(max(ys)),
        x_value_formatter=render_label,
        **SHAPE,
    )
    for name, series in plot.series.items():
        chart.add(name, series)
    return chart


def render_label(value: float) -> str:
    """Write a number at an axis."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def linear_labels(top: float) -> list[float]:
    """Choose round numbers for an axis that begins at 0 and ends at `top` or a little above."""
    step = 10 ** math.floor(math.log10(top)) if top > 0 else 1.0
    for divisor in (5, 2):
        if top / step < 4 and top / (step / divisor) <= 8:
            step /= divisor
            break
    return [number * step for number in range(math.ceil(top / step) + 1)]


def decade_labels(figures: list[float]) -> list[float]:
    """Choose the powers of ten, and 2 and 5 times those, around figures that are all above 0."""
    low, high = math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))
    return [10.0**power for power in range(low, high + 1)]


def _without_scripts(root: Element) -> Element:
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).rpartition("}")[2] == "script":
                parent.remove(child)
    return root
