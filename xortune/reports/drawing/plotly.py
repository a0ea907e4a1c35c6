"""Draws a figure with Plotly: for a page as JSON, for a notebook as its `Figure`."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from xortune.reports.drawing.model import (
    COLOURS,
    LABEL,
    MANY_MARKS,
    SCALES,
    Axis,
    Cells,
    Guide,
    Lines,
    Mark,
    Panel,
    Plot,
    Series,
    label_lines,
    shortened,
    span_of,
    wrapped,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

Json = dict[str, Any]

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
GREY = COLOURS["neutral"]
GRID, SHADE = "rgba(128,128,128,0.22)", "rgba(128,128,128,0.18)"  # on a light or dark background
HOLLOW = "rgba(128,128,128,0.2)"
SYMBOLS = {"dot": "circle", "ring": "circle", "diamond": "diamond"}

# Characters of a line of hover text, of an axis title, of a legend entry, of a label below a panel;
# and of a line of a panel's title by the number of columns.
HOVER, AXIS, LEGEND, UNDER = 60, 48, 44, 10
TITLES = {1: 92, 2: 40, 3: 32}
NARROW_TITLE = 32  # the same on a telephone

# Pixels: minimum width of a panel, distance of two parallel axes; height of a panel with numbers up
# its side, of a line of one of its labels, of what is around these lines, of what is below a panel.
ACROSS, BETWEEN, PANEL, LINE, AROUND, FOOT = 300, 90, 250, 15, 9, 64
GAP = 0.08  # between two panels, as a share of the width

# On a telephone labels stand above their rows: pixels of a line of one, and around the lines; the
# share of a row that its bar leaves free; how far marks reach up and down, as a share of a row.
NARROW_LINE, BELOW, NARROW_GAP, RAISED = 14, 12, 0.6, 0.22
NARROW_LABEL = 48  # characters of a line of such a label
CELLS = 190  # pixels: the least height of a matrix, beside which its scale has a title
RULE = 16  # pixels: the height of the label of an upright line, above its panel
NARROW_AXES = 3  # parallel axes for which a telephone has room


def plotly_json(plot: Plot) -> Json:
    """The figure for plotly.js's cartesian bundle in a page; the package Plotly is not imported.

    The page adds the title, the note and the alt text, and sets the colour of text.

    Returns:
        `data` and `layout` for `Plotly.newPlot(div, data, layout)`, the minimum `width` of the
        figure in pixels, and what of the layout is `narrow`, where there is less room: one panel
        below the other, labels above their rows. Keys of configs are the traces' `customdata`.
    """
    data: list[Json] = []
    shapes = []
    layers = [layer for panel in plot.panels for layer in panel.layers]
    # One size of marks in a figure, whatever the series.
    many = any(isinstance(one, Series) and len(one.marks) > MANY_MARKS for one in layers)
    for index, panel in enumerate(plot.panels):
        x, y = _axes_of(index)
        for layer in panel.layers:
            if isinstance(layer, Guide):
                shapes.append(_rule(layer, x, y))
            else:
                data += [trace | {"xaxis": x, "yaxis": y} for trace in _traces(layer, many=many)]
    seen: set[str] = set()
    for entry in (*data, *shapes):  # one entry of the legend switches its name in all panels
        if label := entry.get("name"):
            entry |= {"legendgroup": label, "showlegend": label not in seen}
            seen.add(label)
    layout: Json = {
        "font": {"family": FONT, "size": 12},
        "margin": {"t": 10, "r": 24, "b": 10, "l": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "barmode": "overlay",
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "dragmode": False,  # a finger on the figure scrolls the page
        "shapes": shapes,
    }
    if plot.coloured:
        low, high = span_of(plot.coloured)
        title = {"text": escaped(shortened(plot.coloured.value_label, LEGEND)), "side": "right"}
        layout["coloraxis"] = {
            "colorscale": [list(stop) for stop in SCALES[plot.coloured.scale]],
            "cmin": low,
            "cmax": high,
            "colorbar": {"title": title, "thickness": 10, "outlinewidth": 0, "tickformat": "~%"},
        }
    beside = max(len(line) for panel in plot.panels for line in (*_lines_of(panel), ""))
    width = min(plot.columns * ACROSS, 700) + 7 * beside
    if isinstance(plot.coloured, Lines):
        width = BETWEEN * (len(plot.coloured.ys[0]) + 1)
    return {
        "data": data,
        "layout": layout | _placed(plot, plot.columns),
        "width": width,
        "narrow": _placed(plot, 1, narrow=True),
    }


def _axes_of(index: int) -> tuple[str, str]:
    """The names of the axes of a panel; those of plotly.js are x, x2, x3."""
    number = str(index + 1) if index else ""
    return f"x{number}", f"y{number}"


def _placed(plot: Plot, columns: int, *, narrow: bool = False) -> Json:
    """The part of a layout that says where the panels are, with their axes and titles."""
    height, foot, domains = _places(plot, columns, narrow=narrow)
    annotations: list[Json] = []
    axes: Json = {}
    for index, panel in enumerate(plot.panels):
        x, y = _axes_of(index)
        across, up = domains[index]
        x_axis = _axis(panel.x, AXIS) | {"domain": across, "anchor": y}
        y_axis = _axis(panel.y, int(_height(panel, narrow=narrow) / 7), up=True) | {
            "domain": up,
            "anchor": x,
        }
        if panel.has(Lines):
            y_axis |= {"showticklabels": False, "showgrid": False}
            if narrow and len(panel.x.categories) > NARROW_AXES:
                x_axis["range"] = [-0.3, NARROW_AXES - 0.1]
                x_axis["title"] = {"text": f"the first {NARROW_AXES} of all axes"}
        if _has_rows(panel):
            y_axis.pop("title")  # the labels say what they are
            if narrow:
                rows = len(panel.y.categories)
                # The label of the first row needs half a row above it.
                y_axis |= {"showticklabels": False, "ticks": "", "range": [rows - 0.5, -1]}
                raised = RAISED * _row(panel, narrow=True) + 4
                annotations += [
                    {
                        "text": "<br>".join(map(escaped, label_lines(label, NARROW_LABEL))),
                        "xref": f"{x} domain",
                        "yref": y,
                        "x": 0,
                        "y": row,
                        "yshift": round(raised),
                        "xanchor": "left",
                        "yanchor": "bottom",
                        "align": "left",
                        "showarrow": False,
                        "font": {"size": 11},
                    }
                    for row, label in enumerate(panel.y.categories)
                ]
        axes |= {f"{x[0]}axis{x[1:]}": x_axis, f"{y[0]}axis{y[1:]}": y_axis}
        if panel.title:
            lines = wrapped(panel.title, NARROW_TITLE if narrow else TITLES[columns])
            text = "<br>".join(f"<b>{escaped(line)}</b>" for line in lines)
            place = {"xref": f"{x} domain", "yref": f"{y} domain", "x": 0, "y": 1}
            anchor = {"xanchor": "left", "yanchor": "bottom", "align": "left", "showarrow": False}
            above = {"yshift": RULE} if _rule_labels(panel) else {}
            annotations.append({"text": text} | place | anchor | above)
        annotations += [
            {
                "text": escaped(shortened(rule.label, LEGEND)),
                "xref": x,
                "x": math.log10(rule.at) if panel.x.kind == "log" else rule.at,
                "xanchor": _anchor(panel, rule.at),
                "yref": f"{y} domain",
                "y": 1,
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 11, "color": GREY},
            }
            for rule in _rule_labels(panel)
        ]
    legend = {"orientation": "h", "x": 0, "y": -foot, "yanchor": "top", "traceorder": "normal"}
    gap = NARROW_GAP if narrow and any(map(_has_rows, plot.panels)) else 0.2
    return {"height": height, "legend": legend, "annotations": annotations, "bargap": gap} | axes


def _rule_labels(panel: Panel) -> list[Guide]:
    """Its upright lines with a label, which stands above the panel, where nothing is drawn."""
    rules = (layer for layer in panel.layers if isinstance(layer, Guide))
    return [rule for rule in rules if rule.axis == "x" and rule.to is None and rule.label]


def _anchor(panel: Panel, at: float) -> str:
    """The side of its label that an upright line has: near an end of the axis it goes inwards."""
    ends = panel.x.ends
    if ends is None:
        marks = [m for layer in panel.layers if isinstance(layer, Series) for m in layer.marks]
        places = [end for mark in marks for end in (mark.x, *(mark.x_ends or ()))]
        places = [at, *filter(math.isfinite, places)]
        ends = min(places), max(places)
    share = (at - ends[0]) / ((ends[1] - ends[0]) or 1)
    return "left" if share < 0.2 else "right" if share > 0.8 else "center"


def _has_rows(panel: Panel) -> bool:
    """Whether its labels name rows: of bars or points, and not of the cells of a matrix."""
    return bool(panel.y.categories) and not panel.has(Cells)


def _lines_of(panel: Panel) -> list[str]:
    """The lines of all labels beside a panel."""
    return [line for label in panel.y.categories for line in label_lines(label)]


def plotly_figure(plot: Plot) -> go.Figure:
    """The figure for a notebook, with its title, and its note as the subtitle, unless plain."""
    import plotly.graph_objects as go

    drawn = plotly_json(plot)
    white = {"template": "none", "paper_bgcolor": "white", "plot_bgcolor": "white"}
    if plot.is_plain:
        return go.Figure(data=drawn["data"], layout=drawn["layout"] | white)
    note = wrapped(plot.note, 120)
    title = {
        "text": "<br>".join(f"<b>{escaped(line)}</b>" for line in wrapped(plot.title, 92)),
        "subtitle": {"text": "<br>".join(map(escaped, note)), "font": {"size": 12}},
        "font": {"size": 15},
        "x": 0,
        "xref": "paper",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 12},
        "automargin": True,
    }
    height = drawn["layout"]["height"] + 40 + 16 * len(note)
    layout = drawn["layout"] | white | {"title": title, "height": height}
    return go.Figure(data=drawn["data"], layout=layout)


def escaped(text: str) -> str:
    """The text for plotly.js, which interprets some HTML, and LaTeX between dollar signs."""
    return html.escape(text, quote=False).replace("$", "&#36;")


# -------------------------------------------------------------------------------------------------
# Layers as traces and shapes.


def _traces(layer: Series | Lines | Cells, *, many: bool) -> list[Json]:
    match layer:
        case Series(kind="points"):
            return [_points(layer, many=many)]
        case Series(kind="bars"):
            return [_bars(layer)]
        case Series():
            return _line(layer)
        case Lines():
            return _lines(layer)
        case Cells():
            return [_cells(layer)]


def _points(series: Series, *, many: bool) -> Json:
    colour, ring = COLOURS[series.role], series.marker == "ring"
    trace = _scatter(series) | {
        "mode": "markers",
        "cliponaxis": False,
        "marker": {
            "symbol": SYMBOLS[series.marker],
            "size": 5 if many else 7,
            "color": HOLLOW if ring else colour,
            "line": {
                "color": colour if ring else "#ffffff",
                "width": (1 if many else 2) if ring else 0.5,
            },
            "opacity": 0.6 if series.role == "neutral" and not series.written else 1,
        },
    }
    for name, bars in (
        ("error_x", [(mark.x, mark.x_ends) for mark in series.marks]),
        ("error_y", [(mark.y, mark.y_ends) for mark in series.marks]),
    ):
        if any(ends for _, ends in bars):
            trace[name] = {
                "type": "data",
                "symmetric": False,
                "array": _numbers(ends[1] - at if ends else 0 for at, ends in bars),
                "arrayminus": _numbers(at - ends[0] if ends else 0 for at, ends in bars),
                "color": colour,
                "thickness": 1.5,
                "width": 0,
            }
    if series.written:
        trace |= {
            "mode": "markers+text",
            "text": [escaped(shortened(mark.text, 14)) for mark in series.marks],
            "textposition": "middle right",
            "textfont": {"size": 11, "weight": 700, "shadow": "auto"},
        }
    return trace


def _line(series: Series) -> list[Json]:
    colour = COLOURS[series.role]
    line: Json = {"color": colour, "width": 2, "dash": "dash" if series.dashed else "solid"}
    line["shape"] = "hv" if series.kind == "steps" else "linear"
    mode = "lines" if len(series.marks) > 1 else "markers"  # one point makes no line
    drawn = _scatter(series) | {"mode": mode, "line": line, "marker": {"color": colour}}
    bands = []
    if any(mark.y_ends for mark in series.marks):
        ends = [mark.y_ends or (mark.y, mark.y) for mark in series.marks]
        for at, fill in ((0, "none"), (1, "tonexty")):
            bands.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": drawn["x"],
                    "y": _numbers(end[at] for end in ends),
                    "line": line | {"width": 0},
                    "fill": fill,
                    "fillcolor": _faint(colour),
                    "hoverinfo": "skip",
                    "legendgroup": _entry(series.label),  # the legend switches it with its line
                    "showlegend": False,
                }
            )
    return [*bands, drawn]


def _faint(colour: str) -> str:
    """A fifth of a colour #rrggbb: Plotly 6 takes no #rrggbbaa."""
    return f"rgba{(*bytes.fromhex(colour[1:]), 0.2)}"


def _bars(series: Series) -> Json:
    lying = any(mark.x_ends for mark in series.marks)
    ends = [(mark.x_ends if lying else mark.y_ends) or (0, 0) for mark in series.marks]
    lengths = _numbers(high - low for low, high in ends)
    drawn = _scatter(series)
    return drawn | {
        "type": "bar",
        "orientation": "h" if lying else "v",
        "x": lengths if lying else drawn["x"],
        "y": drawn["y"] if lying else lengths,
        "base": _numbers(low for low, _ in ends),
        "marker": {"color": COLOURS[series.role]},
    }


def _lines(many: Lines) -> list[Json]:
    """One trace for each colour, with gaps between its lines: plotly.js colours whole traces."""
    colours = [colour for _, colour in SCALES[many.scale]]
    traces = []
    for at, colour in enumerate(colours):
        marks = []
        for ys, value, text, key in zip(many.ys, many.values, many.texts, many.keys, strict=True):
            if round(value * (len(colours) - 1)) == at:
                marks += [Mark(float(x), y, text=text, key=key) for x, y in enumerate(ys)]
                marks.append(Mark(math.nan, math.nan))
        if marks:
            look: Json = {"mode": "lines", "line": {"color": colour, "width": 1.5}, "opacity": 0.9}
            if many.faint:
                look |= {"line": {"color": colour, "width": 1}, "opacity": 0.12}
            traces.append(_scatter(Series("", tuple(marks))) | look)
    # plotly.js shows a scale only for markers.
    scale = {"mode": "markers", "marker": {"color": [0], "coloraxis": "coloraxis"}}
    return [*traces, {"type": "scatter", "x": [None], "y": [None], "showlegend": False} | scale]


def _cells(cells: Cells) -> Json:
    trace: Json = {
        "type": "heatmap",
        "x": _numbers(cells.x),
        "y": _numbers(cells.y),
        "z": [_numbers(row, 4) for row in cells.values],
        "coloraxis": "coloraxis",
        "hoverongaps": False,
    }
    if cells.texts:
        trace |= {
            "text": [list(map(_hover, row)) for row in cells.texts],
            "texttemplate": "%{text}",
        }
    if cells.notes:
        trace |= {"hovertext": [list(map(_hover, row)) for row in cells.notes], "hoverinfo": "text"}
    return trace


def _rule(rule: Guide, x: str, y: str) -> Json:
    ends = rule.at, rule.at if rule.to is None else rule.to
    along = {f"{rule.axis}0": ends[0], f"{rule.axis}1": ends[1]}
    if rule.axis == "x":
        place: Json = {"xref": x, "yref": f"{y} domain", "y0": 0, "y1": 1} | along
    else:
        place = {"xref": f"{x} domain", "yref": y, "x0": 0, "x1": 1} | along
    if rule.to is not None:
        named = {"name": _entry(rule.label), "showlegend": bool(rule.label)}
        look = {"type": "rect", "fillcolor": SHADE, "line": {"width": 0}, "layer": "below"}
        return place | look | named
    drawn = place | {"type": "line", "line": {"color": GREY, "width": 1, "dash": "dot"}}
    if rule.label and rule.axis == "y":  # beside it there may be marks
        drawn |= {"name": _entry(rule.label), "showlegend": True}
    return drawn


def _scatter(series: Series) -> Json:
    marks = series.marks
    trace: Json = {
        "type": "scatter",
        "x": _numbers(mark.x for mark in marks),
        "y": _numbers(mark.y for mark in marks),
        "showlegend": bool(series.label),
    }
    if series.label:
        trace["name"] = _entry(series.label)
    if any(mark.text for mark in marks):
        trace |= {"hovertext": [_hover(mark.text) for mark in marks], "hoverinfo": "text"}
    if any(mark.key for mark in marks):
        trace["customdata"] = [mark.key for mark in marks]
    return trace


def _entry(label: str) -> str:
    return escaped(shortened(label, LEGEND))


@lru_cache(maxsize=1000)  # many marks of a line have the same text
def _hover(text: str) -> str:
    return "<br>".join(map(escaped, wrapped(text, HOVER)))


def _numbers(values: Iterable[float], digits: int = 6) -> list[float | None]:
    """The values rounded to significant digits; None for what is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


# -------------------------------------------------------------------------------------------------
# Axes, and the sizes of panels.


def _axis(axis: Axis, width: int, *, up: bool = False) -> Json:
    drawn: Json = {
        "title": {"text": "<br>".join(map(escaped, wrapped(axis.label, width))), "standoff": 10},
        "automargin": True,
        "zeroline": False,
        "gridcolor": GRID,
        "linecolor": GREY,
        "tickcolor": GREY,
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
    }
    ends = axis.ends
    if axis.kind == "log":
        drawn |= {"type": "log", "tickformat": "~g", "hoverformat": ".3~g", "nticks": 3}
        ends = None if ends is None else (math.log10(ends[0]), math.log10(ends[1]))
    elif axis.kind == "rate":
        drawn |= {"tickformat": "~%", "hoverformat": ".1%"}
    elif axis.kind == "category":
        lines = label_lines if up else _upright
        labels = ["<br>".join(map(escaped, lines(one))) for one in axis.categories]
        drawn |= {"tickvals": list(range(len(labels))), "ticktext": labels, "showgrid": False}
        if up and ends is not None:
            ends = ends[1], ends[0]  # the first at the top
    elif axis.whole:
        drawn["tickformat"] = ",~r"
    if ends is not None:
        drawn["range"] = list(ends)
    return drawn


def _places(
    plot: Plot, columns: int, *, narrow: bool
) -> tuple[int, float, list[tuple[list[float], list[float]]]]:
    """The height in pixels, the share of it below the last row, and the domains of each panel."""
    starts = range(0, len(plot.panels), columns)
    rows = [plot.panels[start : start + columns] for start in starts]
    title = NARROW_TITLE if narrow else TITLES[columns]
    titles = [max(len(wrapped(p.title, title)) for p in row) for row in rows]
    ruled = [any(map(_rule_labels, row)) for row in rows]
    heads = [18 * lines + 8 + RULE * named for lines, named in zip(titles, ruled, strict=True)]
    bodies = [max(_height(panel, narrow=narrow) for panel in row) for row in rows]
    feet = [max(map(_foot, row)) for row in rows]
    total = sum(heads) + sum(bodies) + sum(feet[:-1])
    width = (1 - GAP * (columns - 1)) / columns
    domains, top = [], 0.0
    for row, head, body, foot in zip(rows, heads, bodies, feet, strict=True):
        up = [round(1 - (top + head + body) / total, 4), round(1 - (top + head) / total, 4)]
        starts_at = [column * (width + GAP) for column in range(len(row))]
        domains += [([round(at, 4), round(min(at + width, 1), 4)], up) for at in starts_at]
        top += head + body + foot
    return round(total + feet[-1] + _legend_height(plot)), feet[-1] / total, domains


def _legend_height(plot: Plot) -> int:
    """The height of the legend and of the margins; without entries only of the margins."""
    layers = [layer for panel in plot.panels for layer in panel.layers]
    named = any(layer.label for layer in layers if isinstance(layer, Series | Guide))
    return 44 if named else 20


def _height(panel: Panel, *, narrow: bool = False) -> float:
    labels = panel.y.categories
    if not labels:
        return PANEL
    if not _has_rows(panel):
        return max(1.5 * (LINE + AROUND) * len(labels), CELLS)
    return max(_row(panel, narrow=narrow) * (len(labels) + 0.5 * narrow), 40)


def _row(panel: Panel, *, narrow: bool) -> float:
    """The height of a row with a label."""
    width = NARROW_LABEL if narrow else LABEL
    lines = max(len(label_lines(label, width)) for label in panel.y.categories)
    if narrow:  # the label has what the marks of this row and of the one above leave free
        return (NARROW_LINE * lines + BELOW) / (1 - 2 * RAISED)
    return LINE * lines + AROUND


def _foot(panel: Panel) -> float:
    """The height below a panel; plotly.js turns labels that do not fit side by side."""
    labels = [_upright(label) for label in panel.x.categories]
    if not labels:
        return FOOT
    longest = max(len(line) for lines in labels for line in lines)
    turned = 4 * longest if longest * len(labels) > 40 else 0
    return FOOT + LINE * (max(map(len, labels)) - 1) + turned


def _upright(label: str) -> list[str]:
    """The lines of a label below a panel."""
    return textwrap.wrap(shortened(label, LABEL), UNDER, break_long_words=False) or [""]
