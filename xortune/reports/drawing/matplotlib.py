"""Draws a figure with matplotlib: for files, and as Axes for users.

With one version of matplotlib, the same figure gives the same bytes.
"""

from __future__ import annotations

import io
import math
from functools import cache
from typing import TYPE_CHECKING, Any

from xortune.core.formats import number, plain
from xortune.reports.drawing.model import (
    COLOURS,
    LABEL,
    MANY_MARKS,
    SCALES,
    Axis,
    Cells,
    Guide,
    Lines,
    Panel,
    Plot,
    Scale,
    Series,
    label_lines,
    shortened,
    span_of,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

GREY = "#595f66"  # of text beside marks: a contrast of 6 to 1 on white
MARKERS = {"dot": "o", "ring": "o", "diamond": "D"}

WIDTH, COLUMN = 7.0, 2.4  # inches: width of a figure, and of each further column

PANEL, LINE, AROUND = 2.6, 0.15, 0.09
"""Inches: the height of a panel with numbers up its side, of a line of one of its labels, and of
what is around these lines."""

TITLE, NOTE = 84, 112  # characters of a line of the title and of the note
DPI = 150  # pixels of an inch
PICTURE = 400  # more cells than these are one bitmap in an SVG or PDF

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text that can be searched
    "svg.fonttype": "path",
    "svg.hashsalt": "xortune",  # otherwise element ids are random
    "figure.facecolor": "white",  # readable on a dark page, too
    "text.usetex": False,
    "text.parse_math": False,
}


DARK: dict[Any, Any] = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), "#0d1117"),  # as a dark page of GitHub
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), "#e6e8eb"),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), "#8a929b"),
}
"""What a picture for a dark page has instead."""


def svg(plot: Plot, *, dark: bool = False) -> str:
    """The figure as SVG, with its title and alt text in it; `dark` for a dark page."""
    metadata = {"Date": None, "Description": plain(plot.alt)}
    drawn = _saved(plot, "svg", metadata, STYLE | DARK if dark else STYLE)
    # Matplotlib ends lines with blanks, which some tools strip from a committed file.
    return "\n".join(line.rstrip() for line in drawn.decode().splitlines()) + "\n"


def png(plot: Plot) -> bytes:
    """The figure as a PNG, with its title and alt text in it."""
    return _saved(plot, "png", {"Description": plain(plot.alt)})


def pdf(plot: Plot) -> bytes:
    """The figure as a PDF page of its size, with its title, and its alt text as the subject."""
    return _saved(plot, "pdf", {"CreationDate": None, "Subject": plain(plot.alt)})


def _saved(
    plot: Plot, kind: str, metadata: dict[str, str | None], style: dict[Any, Any] = STYLE
) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with mpl.rc_context(style):
        canvas = Figure(figsize=_size(plot), layout=_rounded_layout())
        _draw(canvas, plot)
        metadata = {"Title": plain(plot.title), **metadata}
        canvas.savefig(out, format=kind, dpi=DPI, metadata=metadata)
    return out.getvalue()


@cache
def _rounded_layout() -> LayoutEngine:
    """A constrained layout whose places are rounded: the last digits depend on memory addresses."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    class RoundedLayout(ConstrainedLayoutEngine):
        def execute(self, fig: Figure) -> None:
            super().execute(fig)
            for axes in fig.axes:
                left, bottom, width, height = axes.get_position(original=True).bounds
                axes.set_position(
                    (round(left, 9), round(bottom, 9), round(width, 9), round(height, 9))
                )

    return RoundedLayout()


def matplotlib_axes(plot: Plot) -> tuple[Axes, ...]:
    """The axes of each panel, in a figure of pyplot with its note below it, unless it is plain."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    with mpl.rc_context(STYLE):
        width, height = _size(plot)
        note = [] if plot.is_plain else [shown(line) for line in wrapped(plot.note, NOTE)]
        canvas = plt.figure(figsize=(width, height + 0.15 * len(note)), layout="constrained")
        axes = _draw(canvas, plot)
        text = "\n".join(note)
        if not note:
            return axes
        if not canvas.legends:
            canvas.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color=GREY)
        for legend in canvas.legends:  # any other text would overlap the legend
            legend.set_title(text)
            legend.get_title().set(size=7.5, color=GREY)
        return axes


def _size(plot: Plot) -> tuple[float, float]:
    titled = 1.0 if plot.panels[0].title else 0.7
    scale = 0.6 if plot.coloured else 0.0
    heights = _heights(plot)
    height = sum(heights) + titled * len(heights) + scale + (0.2 if plot.is_plain else 0.5)
    return WIDTH + COLUMN * (plot.columns - 1), height


def _heights(plot: Plot) -> list[float]:
    """The height of each row of panels, in inches."""
    return [max(map(_height, row)) for row in plot.rows]


def _height(panel: Panel) -> float:
    labels = panel.y.categories
    if not labels:
        return PANEL
    lines = max(len(label_lines(label)) for label in labels)
    return max(0.5, (LINE * lines + AROUND) * len(labels))


def _draw(canvas: Figure, plot: Plot) -> tuple[Axes, ...]:
    """Draw the panels, with the title above and one legend below."""
    from matplotlib.ticker import PercentFormatter

    heights = _heights(plot)
    grid = canvas.add_gridspec(len(heights), plot.columns, height_ratios=heights)
    all_axes = []
    for index, panel in enumerate(plot.panels):
        axes = canvas.add_subplot(grid[divmod(index, plot.columns)])
        _draw_panel(axes, panel)
        all_axes.append(axes)
    if not plot.is_plain:
        title = "\n".join(shown(line) for line in wrapped(plot.title, TITLE))
        canvas.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    entries: dict[str, Any] = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        columns = max(1, 110 // (max(map(len, entries)) + 7))
        canvas.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)
    if plot.coloured:
        layers = (layer for axes in all_axes for layer in axes.collections)
        coloured = next(layer for layer in layers if layer.get_array() is not None)
        low, high = span_of(plot.coloured)
        look: dict[str, Any] = {"shrink": 0.5, "aspect": 40, "location": "bottom", "pad": 0.02}
        bar = canvas.colorbar(coloured, ax=all_axes, ticks=[low, (low + high) / 2, high], **look)
        bar.set_label(shown(plot.coloured.value_label))
        bar.outline.set_visible(False)
        bar.ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return tuple(all_axes)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    _set_axis(axes, panel.x, "x")
    _set_axis(axes, panel.y, "y")
    for place, layer in enumerate(panel.layers):
        order = 2 + 0.01 * place
        match layer:
            case Series(kind="points"):
                _points(axes, layer, order)
            case Series(kind="bars"):
                _bars(axes, layer, order)
            case Series():
                _line(axes, layer, order)
            case Lines():
                _lines(axes, layer, order)
            case Cells():
                _cells(axes, layer, order)
            case Guide():
                _rule(axes, layer, order)
    if panel.y.categories and not panel.has(Cells):
        axes.set_ylabel("")  # the labels say what they are
    named = any(isinstance(one, Guide) and one.axis == "x" and one.label for one in panel.layers)
    title = "\n".join(shown(line) for line in wrapped(panel.title, 52))
    axes.set_title(title, pad=16 if named else None)  # above the label of an upright line
    if panel.has(Lines):
        axes.set_yticks([])
    for scale, axis in ((axes.xaxis, panel.x), (axes.yaxis, panel.y)):
        scale.grid(visible=axis.kind != "category" and not panel.has(Cells))


def _set_axis(axes: Axes, axis: Axis, along: str) -> None:
    from matplotlib.ticker import LogFormatter, MaxNLocator

    scale = axes.xaxis if along == "x" else axes.yaxis
    scale.set_label_text("\n".join(shown(line) for line in wrapped(axis.label, 60)))
    ends = axis.ends
    if axis.kind == "category":
        upright = along == "y"
        labels = [
            "\n".join(map(shown, label_lines(one))) if upright else shown(shortened(one, LABEL))
            for one in axis.categories
        ]
        scale.set_ticks(range(len(labels)), labels)
        if along == "y" and ends is not None:
            ends = ends[1], ends[0]  # the first at the top
        elif sum(map(len, labels)) > 80:
            axes.tick_params(axis="x", labelrotation=20)
    elif axis.kind == "log":
        (axes.set_xscale if along == "x" else axes.set_yscale)("log")
        scale.set_major_formatter(lambda value, _: shown(number(value)))
        scale.set_minor_formatter(LogFormatter())  # within a decade; the default is TeX
    elif axis.kind == "rate":
        scale.set_major_formatter(lambda value, _: f"{100 * value:.6g} %")
        scale.set_major_locator(MaxNLocator(6))
    else:
        scale.set_major_formatter(lambda value, _: f"{value:,.10g}".replace("-", "−"))
        if axis.whole:
            scale.set_major_locator(MaxNLocator("auto", integer=True))
    if ends is not None:
        (axes.set_xlim if along == "x" else axes.set_ylim)(*ends)


def _points(axes: Axes, series: Series, order: float) -> None:
    colour, ring = COLOURS[series.role], series.marker == "ring"
    many = len(series.marks) > MANY_MARKS
    axes.scatter(
        [mark.x for mark in series.marks],
        [mark.y for mark in series.marks],
        s=14 if many else 28,
        marker=MARKERS[series.marker],
        color=axes.get_facecolor() if ring else colour,
        edgecolors=colour if ring else axes.get_facecolor(),
        linewidths=1 if ring else 0.3,
        alpha=0.6 if series.role == "neutral" and not series.written else None,
        zorder=order + 0.005,
        **_label(series),
    )
    # After the points: if lines come first, matplotlib 3.8 to 3.10 finds no positive values.
    look: dict[str, Any] = {"color": colour, "linewidth": 2, "alpha": 0.6, "zorder": order}
    if across := [(mark.y, *mark.x_ends) for mark in series.marks if mark.x_ends]:
        axes.hlines(*zip(*across, strict=True), **look)
    if upright := [(mark.x, *mark.y_ends) for mark in series.marks if mark.y_ends]:
        axes.vlines(*zip(*upright, strict=True), **look)
    for mark in series.marks:
        if series.written:
            axes.annotate(
                shown(shortened(mark.text, 14)),
                (mark.x, mark.y),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
                zorder=order + 0.007,
            )


def _line(axes: Axes, series: Series, order: float) -> None:
    colour, steps = COLOURS[series.role], series.kind == "steps"
    x = [mark.x for mark in series.marks]
    if any(mark.y_ends for mark in series.marks):
        low, high = zip(*(mark.y_ends or (mark.y, mark.y) for mark in series.marks), strict=True)
        band: dict[str, Any] = {"step": "post" if steps else None, "alpha": 0.2, "linewidth": 0}
        axes.fill_between(x, low, high, color=colour, zorder=order, **band)
    axes.plot(
        x,
        [mark.y for mark in series.marks],
        color=colour,
        linestyle="--" if series.dashed else "-",
        marker="o" if len(x) == 1 else "",  # one point makes no line
        drawstyle="steps-post" if steps else "default",
        zorder=order + 0.005,
        **_label(series),
    )


def _bars(axes: Axes, series: Series, order: float) -> None:
    look: dict[str, Any] = {"color": COLOURS[series.role], "zorder": order, **_label(series)}
    lying = any(mark.x_ends for mark in series.marks)
    ends = [(mark.x_ends if lying else mark.y_ends) or (0, 0) for mark in series.marks]
    starts, lengths = [low for low, _ in ends], [high - low for low, high in ends]
    if lying:
        axes.barh([mark.y for mark in series.marks], lengths, left=starts, **look)
    else:
        axes.bar([mark.x for mark in series.marks], lengths, bottom=starts, **look)


def _lines(axes: Axes, many: Lines, order: float) -> None:
    from matplotlib.collections import LineCollection

    axes.add_collection(
        LineCollection(
            [list(enumerate(ys)) for ys in many.ys],
            array=list(many.values),
            cmap=_colormap(many.scale),
            clim=span_of(many),
            linewidths=0.8 if many.faint else 1.2,
            alpha=0.12 if many.faint else 0.9,
            zorder=order,
        )
    )


def _cells(axes: Axes, cells: Cells, order: float) -> None:
    import numpy as np

    values = np.ma.masked_invalid(np.array(cells.values))
    low, high = span_of(cells)
    mesh = axes.pcolormesh(
        cells.x,
        cells.y,
        values,
        cmap=_colormap(cells.scale),
        clim=(low, high),
        shading="nearest",
        zorder=order,
        rasterized=values.size > PICTURE,
    )
    for y, texts, row in zip(cells.y, cells.texts, cells.values, strict=False):
        for x, text, value in zip(cells.x, texts, row, strict=True):
            if text and math.isfinite(value):
                red, green, blue, _ = mesh.cmap((value - low) / (high - low))
                ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
                look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
                axes.text(x, y, shown(text), color=ink, zorder=order + 0.005, **look)


def _rule(axes: Axes, rule: Guide, order: float) -> None:
    upright = rule.axis == "x"
    if rule.to is not None:
        shade = axes.axvspan if upright else axes.axhspan
        look: dict[str, Any] = {"color": "#808080", "alpha": 0.18, "linewidth": 0, "zorder": 0.4}
        shade(rule.at, rule.to, **look, **_label(rule))
        return
    line: dict[str, Any] = {"color": COLOURS["neutral"], "linestyle": ":", "linewidth": 1}
    if not upright:
        axes.axhline(rule.at, zorder=order, **line, **_label(rule))
        return
    axes.axvline(rule.at, zorder=order, **line)
    if rule.label:
        axes.annotate(
            shown(shortened(rule.label, LABEL)),
            (rule.at, 1.01),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            color=GREY,
            fontsize=8,
        )


def _label(layer: Series | Guide) -> dict[str, Any]:
    """The entry in the legend; none without a label."""
    text = shown(shortened(layer.label, 44))
    # Matplotlib omits labels that begin with an underscore, hence the blank.
    return {"label": f" {text}" if text.startswith("_") else text} if text else {}


@cache
def _colormap(scale: Scale) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(f"xortune-{scale}", list(SCALES[scale]), N=512)


def shown(text: str) -> str:
    """The text with escapes for characters that the font lacks."""
    known = _code_points()
    return "".join(s if ord(s) in known else ascii(s)[1:-1] for s in plain(text))


@cache
def _code_points() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
