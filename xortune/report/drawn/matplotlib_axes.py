"""Draws a figure with matplotlib: for files, and for those who go on with its axes.

The same figure gives the same bytes, as long as matplotlib is the same.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

from xortune.report.drawn.geometry import decades, grid, limits, rows_of
from xortune.report.drawn.matplotlib_marks import GREY, draw_layer, shown
from xortune.report.drawn.svg_text import compact
from xortune.report.drawn.words import lines, shortened
from xortune.report.format import number, plain
from xortune.report.plot import Axis, Cells, Lines, Panel, Plot, Rule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as Scale
    from matplotlib.figure import Figure

__all__ = ["draw_on", "matplotlib_axes", "matplotlib_figure", "pdf", "png", "svg"]

WIDTH = 7.0  # inches; GitHub shows an SVG of this size at full width
PANEL = 3.0  # the height of one with numbers up its side
ROW = 0.24  # of one of its labels
LETTER = 0.068  # the mean width of a sign
SMALL = 7.5  # points, of a note
NOTE = 16  # signs of it to an inch
LEGEND = 110  # signs of a row of it
UP = 40  # signs of a label up the side

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text that can be searched
    "svg.fonttype": "path",
    "svg.hashsalt": "xortune",  # else element ids are random
    "figure.facecolor": "white",  # readable on a dark page too
    "text.usetex": False,
}


def svg(plot: Plot) -> str:
    """The figure as SVG, with its title and alt text in it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    # No date, so that nothing changes from run to run.
    metadata = {"Date": None, **_said(plot, "Description")}
    with mpl.rc_context(STYLE):
        canvas = matplotlib_figure(plot)
        # As savefig does it, but that draws all once for nothing where a layout is left to do.
        FigureCanvasSVG(canvas)
        canvas.set_dpi(72)  # an SVG's points
        engine = canvas.get_layout_engine()
        assert engine is not None
        engine.execute(canvas)
        canvas.set_layout_engine(None)
        canvas.savefig(out, format="svg", dpi=150, metadata=metadata)
    return compact(out.getvalue())


def png(plot: Plot, *, dpi: int = 150) -> bytes:
    """The figure as a PNG of so many dots to an inch, with its title and alt text in it."""
    out = io.BytesIO()
    metadata = {**_said(plot, "Description")}
    _save(plot, out, format="png", dpi=dpi, metadata=metadata)
    return out.getvalue()


def pdf(plot: Plot) -> bytes:
    """The figure as a page of its own size, with its title, and its alt text as the subject."""
    out = io.BytesIO()
    metadata = {"CreationDate": None, **_said(plot, "Subject")}
    _save(plot, out, format="pdf", dpi=150, metadata=metadata)
    return out.getvalue()


def matplotlib_figure(plot: Plot) -> Figure:
    """The figure, with its title above and its legend below."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        canvas = Figure(figsize=_size(plot), layout="constrained")
        _draw(canvas, plot)
        return canvas


def matplotlib_axes(plot: Plot) -> tuple[Axes, ...]:
    """The axes of each panel, in a figure that pyplot and notebooks show.

    The figure's note is below it: it has no other place to be read.
    """
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    with mpl.rc_context(STYLE):
        width, height = _size(plot)
        note = [shown(line) for line in lines(plot.note, int(NOTE * width))]
        canvas = plt.figure(figsize=(width, height + 0.15 * len(note)), layout="constrained")
        axes = _draw(canvas, plot)
        text = "\n".join(note)
        if not canvas.legends:
            canvas.supxlabel(text, x=0.01, ha="left", fontsize=SMALL, color=GREY)
        for legend in canvas.legends:  # beside a legend, a text of the figure would lie over it
            legend.set_title(text)
            legend.get_title().set_fontsize(SMALL)
            legend.get_title().set_color(GREY)
        return axes


def draw_on(axes: Axes, panel: Panel) -> None:
    """Draw a panel on axes that are empty; a legend is left to whoever has them."""
    _set_axis(axes, panel, "x")
    _set_axis(axes, panel, "y")
    for layer in panel.layers:
        draw_layer(axes, layer, panel)
    if panel.title:
        labelled = any(isinstance(la, Rule) and la.axis == "x" and la.label for la in panel.layers)
        title = "\n".join(shown(line) for line in lines(panel.title, 52))
        axes.set_title(title, pad=16 if labelled else None)
    if any(isinstance(layer, Cells) for layer in panel.layers):
        return
    if any(isinstance(layer, Lines) for layer in panel.layers):  # places, no values
        axes.set_yticks([])
    for along in ("x", "y"):
        if (panel.x if along == "x" else panel.y).kind != "category":
            axes.grid(axis=along, alpha=0.25)
    axes.set_axisbelow(True)


def _said(plot: Plot, name: str) -> dict[str, str]:
    """The title and the alt text as metadata: of signs that any file may hold."""
    return {"Title": plain(plot.title), name: plain(plot.alt)}


def _save(plot: Plot, out: IO[Any], **options: Any) -> None:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        matplotlib_figure(plot).savefig(out, **options)


def _draw(canvas: Figure, plot: Plot) -> tuple[Axes, ...]:
    columns = min(plot.columns, len(plot.panels))
    places = grid(plot, columns)
    heights = _heights(plot)
    cells = canvas.add_gridspec(len(heights), columns, height_ratios=heights)
    found = []
    for panel, (row, column) in zip(plot.panels, places, strict=True):
        axes = canvas.add_subplot(cells[row, column])
        draw_on(axes, panel)
        found.append(axes)
    title = "\n".join(shown(line) for line in lines(plot.title, 84))
    canvas.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    _legend(canvas, found)
    _scale(canvas, plot, found)
    return tuple(found)


def _size(plot: Plot) -> tuple[float, float]:
    longest = max((len(label) for panel in plot.panels for label in panel.y.categories), default=0)
    beside = LETTER * min(longest, UP) * (min(plot.columns, len(plot.panels)) - 1)
    width = WIDTH + 2.2 * (min(plot.columns, len(plot.panels)) - 1) + beside
    above = 0.2 * len(lines(plot.title, 84)) + 0.4
    titles = 0.2 * sum(1 for _ in _heights(plot)) if any(p.title for p in plot.panels) else 0.0
    scale = 0.6 if _coloured(plot) is not None else 0.0
    return width, sum(height + 0.55 for height in _heights(plot)) + above + titles + scale


def _heights(plot: Plot) -> list[float]:
    columns = min(plot.columns, len(plot.panels))
    found: dict[int, float] = {}
    for panel, (row, _) in zip(plot.panels, grid(plot, columns), strict=True):
        rows = rows_of(panel.y)
        height = max(0.8, ROW * rows) if rows else PANEL
        found[row] = max(found.get(row, 0.0), height)
    return list(found.values())


def _legend(canvas: Figure, axes: list[Axes]) -> None:
    """One entry for each label, in as many columns as find room."""
    entries: dict[str, Any] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        widths = [len(label) + 7 for label in entries]
        columns = len(widths) if sum(widths) <= LEGEND else max(1, LEGEND // max(widths))
        canvas.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)


def _scale(canvas: Figure, plot: Plot, axes: list[Axes]) -> None:
    """The bar of colours of what is coloured by a value, for all panels."""
    layer = _coloured(plot)
    if layer is None:
        return
    drawn = next(mark for one in axes for mark in one.collections if mark.get_array() is not None)
    bar = canvas.colorbar(drawn, ax=axes, orientation="horizontal", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label(shown(layer.value_label))
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    signed = isinstance(layer, Cells) and layer.scale == "difference"
    bar.ax.xaxis.set_major_formatter(lambda value, _: _rate(value, signed=signed))


def _coloured(plot: Plot) -> Cells | Lines | None:
    layers = (layer for panel in plot.panels for layer in panel.layers)
    return next((layer for layer in layers if isinstance(layer, Cells | Lines)), None)


def _set_axis(axes: Axes, panel: Panel, along: str) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    axis, scale = (panel.x, axes.xaxis) if along == "x" else (panel.y, axes.yaxis)
    ends = limits(panel, along)
    label = "\n".join(shown(line) for line in lines(axis.label, 80 if along == "x" else 44))
    if along == "x":
        axes.set_xlabel(label)
    else:
        axes.set_ylabel(label)
    if axis.kind == "category":
        _set_labels(axes, axis, along, scale)
        if ends is not None and along == "y":
            ends = ends[1], ends[0]  # the first at the top
    elif axis.kind == "log":
        _set_log(axes, along)
        subs = (1, 2, 5) if decades(panel, along) < 1.7 else (1,)  # else one tick, or none
        scale.set_major_locator(LogLocator(10, subs, numticks=8))
        scale.set_major_formatter(lambda value, _: shown(number(value)))
        scale.set_minor_formatter(NullFormatter())
    elif axis.kind == "rate":
        scale.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))  # labels do not touch
        scale.set_major_formatter(lambda value, _: _rate(value))
    else:
        scale.set_major_formatter(lambda value, _: shown(_plain(value)))
        if axis.whole:
            scale.set_major_locator(MaxNLocator("auto", integer=True))
    if ends is not None:
        (axes.set_xlim if along == "x" else axes.set_ylim)(*ends)


def _set_log(axes: Axes, along: str) -> None:
    (axes.set_xscale if along == "x" else axes.set_yscale)("log")


def _set_labels(axes: Axes, axis: Axis, along: str, scale: Scale) -> None:
    most = UP if along == "y" else 18
    labels = [shown(shortened(label, most)) for label in axis.categories]
    scale.set_ticks(range(len(labels)), labels)
    room = 1.1 * axes.get_window_extent().width / axes.figure.dpi  # the layout leaves that much
    if along == "x" and LETTER * sum(len(label) + 2 for label in labels) > room:
        axes.tick_params(axis="x", labelrotation=30)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")


def _plain(value: float) -> str:
    """A number on an axis: all digits that it has there, and no more."""
    return f"{value:,.10g}".replace("-", "−")


def _rate(value: float, *, signed: bool = False) -> str:
    text = f"{100 * value:{'+' if signed else ''}.4g} %"
    return text.replace("+0 %", "0 %").replace("-", "−")
