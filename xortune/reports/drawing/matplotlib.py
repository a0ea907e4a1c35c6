"""Draws a figure with matplotlib: for files, and for those who go on with its axes."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from functools import cache
from typing import IO, TYPE_CHECKING, Any, Literal

from xortune.core.formats import number, plain
from xortune.reports.drawing.style import (
    COLOURS,
    LINES,
    RULE,
    SCALES,
    WRITTEN,
    bar_width,
    decades,
    finite,
    grid,
    limits,
    lines,
    lines_down,
    middle,
    on,
    rows_of,
    share_along,
    shortened,
)
from xortune.reports.drawing.style import Scale as Colours
from xortune.reports.plot import (
    Axis,
    Bars,
    Cells,
    Layer,
    Line,
    Lines,
    Panel,
    Plot,
    Points,
    Rule,
    Span,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as Scale
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure


# -------------------------------------------------------------------------------------------------
# The SVG that matplotlib writes, in three quarters of its bytes.
#
# A run has ten figures, some of a thousand points, and matplotlib gives each point its style and
# six decimals. The picture is the same to a two-hundredth of a point of type.

_TAG = re.compile(r"<[A-Za-z][^>]*>")
"""Of an element: matplotlib escapes `<` and `>` everywhere else."""

_PLACE = re.compile(r'( d| x| y)="([^"]*)|(translate)\(([^)]*)')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_STYLE = re.compile(r' style="([^"]*)"')
_SHEET = "*{stroke-linejoin: round; stroke-linecap: butt}"
"""What matplotlib says of all elements; what is said of a class goes before it."""

_OFTEN = 4
"""Elements of one style, from which on it is worth a name."""


def compact(svg: str) -> str:
    """Round places to 0.01 points, name the styles that many share, indent nothing."""
    # Matplotlib ends lines with blanks, which some tools would strip from a committed file.
    svg = "\n".join(line.strip() for line in svg.splitlines()) + "\n"
    counted = Counter(style for tag in _TAG.findall(svg) for style in _STYLE.findall(tag))
    # Named by what they are: in a page with several figures each name still means one style.
    names = {
        style: f"s{hashlib.sha256(style.encode()).hexdigest()[:6]}"
        for style, often in counted.items()
        if often >= _OFTEN and _SHEET in svg
    }

    def named(found: re.Match[str]) -> str:
        return f' class="{names[found[1]]}"' if found[1] in names else found[0]

    svg = _TAG.sub(lambda tag: _STYLE.sub(named, _PLACE.sub(_rounded, tag[0])), svg)
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    return svg.replace(_SHEET, _SHEET + rules, 1)


def _rounded(place: re.Match[str]) -> str:
    return _LONG.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), place[0])


# -------------------------------------------------------------------------------------------------
# Layers as artists of matplotlib.

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


# -------------------------------------------------------------------------------------------------
# Draws a figure with matplotlib: for files, and for those who go on with its axes.
#
# The same figure gives the same bytes, as long as matplotlib is the same.

WIDTH = 7.0  # inches; GitHub shows an SVG of this size at full width
PANEL = 3.0  # the height of one with numbers up its side
ROW = 0.24  # of one of its labels
SIGN = 0.068  # the mean width of a sign
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
    beside = SIGN * min(longest, UP) * (min(plot.columns, len(plot.panels)) - 1)
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
    if along == "x" and SIGN * sum(len(label) + 2 for label in labels) > room:
        axes.tick_params(axis="x", labelrotation=30)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")


def _plain(value: float) -> str:
    """A number on an axis: all digits that it has there, and no more."""
    return f"{value:,.10g}".replace("-", "−")


def _rate(value: float, *, signed: bool = False) -> str:
    text = f"{100 * value:{'+' if signed else ''}.4g} %"
    return text.replace("+0 %", "0 %").replace("-", "−")
