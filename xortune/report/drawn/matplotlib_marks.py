"""Layers as artists of matplotlib."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from xortune.report.drawn.geometry import bar_width, finite, lines_down, middle, share_along
from xortune.report.drawn.palette import COLOURS, LINES, RULE, SCALES, on
from xortune.report.drawn.palette import Scale as Colours
from xortune.report.drawn.words import WRITTEN, shortened
from xortune.report.format import plain
from xortune.report.plot import Bars, Cells, Layer, Line, Lines, Panel, Points, Rule, Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap

__all__ = ["GREY", "draw_layer", "shown"]

GREY = "#595f66"  # text beside marks: 6 to 1 on white
MARKERS = {"dot": "o", "ring": "o", "diamond": "D"}
LETTER, ACROSS = 0.075, 6.0
"""Inches: the width of a sign beside a point, and of a panel, about."""

PICTURE = 400
"""More cells than these are one picture in an SVG or PDF, not as many shapes."""


def shown(text: str) -> str:
    """The text as matplotlib draws it: no formula between $, no sign that its font lacks."""
    known = _signs()
    signs = (sign if ord(sign) in known else ascii(sign)[1:-1] for sign in plain(text))
    return "".join(signs).replace("$", r"\$")


@cache
def _signs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def draw_layer(axes: Axes, layer: Layer, panel: Panel) -> None:
    """Draw one layer of a panel above what is there."""
    # In the order of the layers; spans are behind the grid.
    order = 2.0 + 0.01 * panel.layers.index(layer)
    match layer:
        case Points():
            _points(axes, layer, panel, order)
        case Line():
            _line(axes, layer, order)
        case Lines():
            _lines(axes, layer, panel, order)
        case Bars():
            _bars(axes, layer, panel, order)
        case Cells():
            _cells(axes, layer, panel, order)
        case Rule():
            _rule(axes, layer, panel, order)
        case Span():
            draw = axes.axvspan if layer.axis == "x" else axes.axhspan
            draw(
                layer.low,
                layer.high,
                color="#808080",
                alpha=0.18,
                linewidth=0,
                zorder=0.4,
                **_label(layer.label),
            )


def _points(axes: Axes, points: Points, panel: Panel, order: float) -> None:
    colour = COLOURS[points.role]
    ring = points.marker == "ring"
    above = any(isinstance(layer, Cells) for layer in panel.layers)  # seen on any colour
    axes.scatter(
        points.x,
        points.y,
        s=45 if above else 18,
        marker=MARKERS[points.marker],
        color="white" if ring else colour,
        edgecolors="white" if above and not ring else colour,
        alpha=0.6 if points.role == "muted" and not (above or points.written) else None,
        zorder=order + 0.005,
        **_label(points.label),
    )
    # After the points: where lines come first, matplotlib 3.8 to 3.10 sees no positive values.
    for places, low, high, along in (
        (points.y, points.x_low, points.x_high, axes.hlines),
        (points.x, points.y_low, points.y_high, axes.vlines),
    ):
        if low:
            along(places, low, high, color=colour, linewidth=2, alpha=0.6, zorder=order)
    if points.written:
        for x, y, text in zip(points.x, points.y, points.texts, strict=True):
            rest = ACROSS * (1 - share_along(panel, x))
            left = LETTER * len(shortened(text, WRITTEN)) > rest
            axes.annotate(
                shown(shortened(text, WRITTEN)),
                (x, y),
                xytext=(-4 if left else 4, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                fontsize=7.5,
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
                zorder=order + 0.007,
            )


def _line(axes: Axes, line: Line, order: float) -> None:
    colour = COLOURS[line.role]
    if line.low:
        axes.fill_between(
            line.x,
            line.low,
            line.high,
            step="post" if line.step else None,
            color=colour,
            alpha=0.2,
            linewidth=0,
            zorder=order,
        )
    axes.plot(
        line.x,
        line.y,
        color=colour,
        linewidth=1.5,
        linestyle="--" if line.dashed else "-",
        marker="o" if len(line.x) == 1 else "",  # a line of one point is not seen
        markersize=4,
        drawstyle="steps-post" if line.step else "default",
        zorder=order + 0.005,
        **_label(line.label),
    )


def _lines(axes: Axes, many: Lines, panel: Panel, order: float) -> None:
    from matplotlib.collections import LineCollection

    drawn = LineCollection(
        [
            list(zip(*((ys, many.x) if lines_down(panel) else (many.x, ys)), strict=True))
            for ys in many.ys
        ],
        array=list(many.values),
        cmap=_colormap("lines", LINES),
        clim=(0, 1),
        linewidths=0.8,
        alpha=0.7,
        zorder=order,
    )
    axes.add_collection(drawn)
    axes.autoscale_view()


def _bars(axes: Axes, bars: Bars, panel: Panel, order: float) -> None:
    options: dict[str, Any] = {"color": COLOURS[bars.role], "zorder": order, **_label(bars.label)}
    width = bar_width(panel)
    base = bars.base or 0
    if bars.across:
        axes.barh(bars.at, bars.length, height=width, left=base, **options)
    else:
        axes.bar(bars.at, bars.length, width=width, bottom=base, **options)


def _cells(axes: Axes, cells: Cells, panel: Panel, order: float) -> None:
    import numpy as np

    values = np.array(cells.values)
    low, high = (-1, 1) if cells.scale == "difference" else (0, 1)
    colours = _colormap(cells.scale, SCALES[cells.scale])
    axes.pcolormesh(
        cells.x,
        cells.y,
        np.ma.masked_invalid(values),
        cmap=colours,
        vmin=low,
        vmax=high,
        zorder=order,
        rasterized=values.size > PICTURE,
    )
    for row, texts in enumerate(cells.texts):
        for column, text in enumerate(texts):
            if text and finite(cells.values[row][column]):
                share = (cells.values[row][column] - low) / (high - low)
                axes.text(
                    middle(panel.x, cells.x[column], cells.x[column + 1]),
                    middle(panel.y, cells.y[row], cells.y[row + 1]),
                    shown(text),
                    color=on(_hex(colours(share))),
                    ha="center",
                    va="center",
                    fontsize=8,
                    zorder=order + 0.005,
                )


def _rule(axes: Axes, rule: Rule, panel: Panel, order: float) -> None:
    upright = rule.axis == "x"
    draw = axes.axvline if upright else axes.axhline
    draw(rule.at, color=RULE, linestyle=":", linewidth=1, zorder=order)
    if rule.label:
        axes.annotate(
            shown(shortened(rule.label, 40)),
            (rule.at, 1.0) if upright else (1.0, rule.at),
            xycoords=("data", "axes fraction") if upright else ("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, 2) if upright else (-2, 2),
            ha=_aligned(panel, rule) if upright else "right",
            va="bottom",
            color=GREY,
            fontsize=8,
            zorder=order,
        )


def _aligned(panel: Panel, rule: Rule) -> Literal["left", "center", "right"]:
    """Which end of its label stands at a rule, so that the label stays above the panel."""
    share = share_along(panel, rule.at)
    return "left" if share < 0.3 else "right" if share > 0.7 else "center"


@cache
def _colormap(name: str, scale: Colours) -> LinearSegmentedColormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(f"xortune-{name}", list(scale), N=512)


def _hex(colour: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in colour[:3])


def _label(label: str) -> dict[str, Any]:
    """The entry in the legend; none without a label."""
    text = shown(shortened(label, 44))
    # Matplotlib leaves out what begins with an underscore: a blank goes before it.
    return {"label": f" {text}" if text.startswith("_") else text} if text else {}
