"""Draws figures with matplotlib: the same bytes for the same figure and library."""

from __future__ import annotations

import io
from typing import IO, Any

from xortune.report.figure import Curves, Dots

__all__ = ["png", "svg"]

# Okabe and Ito's colours, which people tell apart whatever their colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
GREY = "#666666"
WIDTH = 7.0  # inches; GitHub shows an SVG of this size at full width

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "xortune",  # else element ids are random
    "figure.facecolor": "white",  # readable on a dark page too
}


def svg(figure: Curves | Dots) -> str:
    """The figure as SVG, with its title and alt text in it."""
    out = io.StringIO()
    # No date, so that nothing changes from run to run.
    metadata = {"Date": None, "Title": figure.title, "Description": figure.alt}
    _save(figure, out, format="svg", metadata=metadata)
    # Matplotlib ends lines with blanks, which some tools would strip from a committed file.
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def png(figure: Curves | Dots, *, dpi: int = 150) -> bytes:
    """The figure as a PNG of so many dots to an inch."""
    out = io.BytesIO()
    _save(figure, out, format="png", dpi=dpi)
    return out.getvalue()


def _save(figure: Curves | Dots, out: IO[Any], **options: Any) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        height = 3.6 if isinstance(figure, Curves) else 1.3 + 0.24 * len(figure.rows)
        canvas = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = canvas.add_subplot()
        axes.set_title(figure.title, wrap=True)
        if isinstance(figure, Curves):
            _draw_curves(axes, figure)
        else:
            _draw_dots(axes, figure)
        canvas.savefig(out, **options)


def _draw_curves(axes: object, figure: Curves) -> None:
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    assert isinstance(axes, Axes)
    for line, colour in zip(figure.lines, COLOURS, strict=False):
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(line.x, line.y, color=colour, marker="o", markersize=3, label=line.label)
    for mark in figure.marks:
        axes.axvline(mark.x, color=GREY, linestyle=":", linewidth=1)
        axes.annotate(
            mark.label, (mark.x, 1.0), textcoords="offset points", xytext=(3, -2), color=GREY
        )
    if figure.x_log:
        axes.set_xscale("log")
    elif all(x.is_integer() for line in figure.lines for x in line.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=figure.x_label, ylabel=figure.y_label, ylim=(-0.02, 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.25)
    if len(figure.lines) > 1:
        axes.legend(loc="center left")


def _draw_dots(axes: object, figure: Dots) -> None:
    from matplotlib.axes import Axes
    from matplotlib.ticker import PercentFormatter

    assert isinstance(axes, Axes)
    shift = 0.3 / max(1, len(figure.series) - 1)
    for index, (series, colour) in enumerate(zip(figure.series, COLOURS, strict=False)):
        at = [row + shift * (index - (len(figure.series) - 1) / 2) for row in series.rows]
        axes.hlines(at, series.low, series.high, color=colour, linewidth=2, alpha=0.6)
        face = colour if series.marker == "dot" else "white"
        axes.scatter(
            series.x, at, s=18, color=face, edgecolors=colour, label=series.label, zorder=3
        )
    for gap in figure.gaps:
        axes.axhline(gap - 0.5, color=GREY, linewidth=0.5)
    axes.set_yticks(range(len(figure.rows)), figure.rows)
    axes.set_ylim(len(figure.rows) - 0.4, -0.6)
    axes.set(xlabel=figure.x_label, xlim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.25)
    if len(figure.series) > 1:
        axes.figure.legend(loc="outside lower center", ncols=len(figure.series))
