"""Layers as traces and shapes of plotly.js: only scatter and bar, which its basic bundle has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from xortune.report.drawn.geometry import bar_width, finite, lines_down, share_along
from xortune.report.drawn.palette import COLOURS, RULE, SPAN, translucent
from xortune.report.drawn.plotly_coloured import cells_traces, coloraxis, lines_traces
from xortune.report.drawn.plotly_text import (
    Json,
    escaped,
    html,
    keys,
    lean,
    leans,
    legend_label,
    named,
    texts,
)
from xortune.report.drawn.plotly_written import written
from xortune.report.drawn.words import shortened
from xortune.report.format import number, percent
from xortune.report.plot import (
    Axis,
    Bars,
    Cells,
    Floats,
    Line,
    Lines,
    Panel,
    Plot,
    Points,
    Rule,
    Span,
)

__all__ = ["marks", "shapes"]

SYMBOLS = {"dot": "circle", "ring": "circle-open", "diamond": "diamond"}


def marks(panel: Panel, plot: Plot) -> list[Json]:
    """The traces of a panel's layers, from the bottom; their axes are not in them."""
    found: list[Json] = []
    for layer in panel.layers:
        match layer:
            case Points():
                found.append(_points(layer, panel))
            case Line():
                found += _line(layer)
            case Lines():
                found += lines_traces(layer, coloraxis(layer, plot), down=lines_down(panel))
            case Bars():
                found.append(_bars(layer, panel))
            case Cells():
                found += cells_traces(layer, coloraxis(layer, plot))
            case Rule() | Span():
                pass
    return found


def shapes(panel: Panel, x: str, y: str) -> list[Json]:
    """The rules and spans of a panel, whose axes plotly.js calls `x` and `y`."""
    found: list[Json] = []
    for layer in panel.layers:
        if isinstance(layer, Rule):
            found.append(_across(layer.axis, layer.at, layer.at, x, y) | _rule(layer, panel))
        elif isinstance(layer, Span):
            found.append(_across(layer.axis, layer.low, layer.high, x, y) | _span(layer))
    return found


def _across(axis: str, low: float, high: float, x: str, y: str) -> Json:
    if axis == "x":
        place: Json = {"xref": x, "yref": f"{y} domain"}
        return place | {"x0": lean(low), "x1": lean(high), "y0": 0, "y1": 1}
    place = {"xref": f"{x} domain", "yref": y}
    return place | {"x0": 0, "x1": 1, "y0": lean(low), "y1": lean(high)}


def _rule(rule: Rule, panel: Panel) -> Json:
    drawn: Json = {"type": "line", "line": {"color": RULE, "width": 1, "dash": "dot"}}
    if rule.label:
        drawn["label"] = {
            "text": escaped(shortened(rule.label, 30)),
            "textposition": "end",
            "textangle": 0,
            "xanchor": _anchor(panel, rule) if rule.axis == "x" else "right",
            "yanchor": "bottom",
            "font": {"size": 11},
        }
    return drawn


def _anchor(panel: Panel, rule: Rule) -> str:
    """Which end of its label stands at a rule, so that the label stays above the panel."""
    share = share_along(panel, rule.at)
    return "left" if share < 0.3 else "right" if share > 0.7 else "center"


def _span(span: Span) -> Json:
    drawn: Json = {"type": "rect", "fillcolor": SPAN, "line": {"width": 0}, "layer": "below"}
    if span.label:
        drawn |= {"name": legend_label(span.label), "showlegend": True}
    return drawn


def _points(points: Points, panel: Panel) -> Json:
    colour = COLOURS[points.role]
    marker: Json = {"color": colour, "symbol": SYMBOLS[points.marker], "size": 7}
    above = any(isinstance(layer, Cells) for layer in panel.layers)
    if above:  # seen on any colour
        marker |= {"size": 10, "line": {"width": 1.5, "color": "#ffffff"}}
        if points.marker == "ring":
            marker |= {
                "symbol": "circle",
                "color": "#ffffff",
                "line": {"width": 2, "color": colour},
            }
    elif points.marker == "ring":
        marker["line"] = {"width": 2}
    trace: Json = {
        "type": "scatter",
        "mode": "markers",
        "x": leans(points.x),
        "y": leans(points.y),
        "marker": marker,
    }
    if points.role == "muted" and not (points.written or above):  # many, behind what matters
        marker |= {"size": 6, "opacity": 0.6}
    for name, middle, low, high in (
        ("error_x", points.x, points.x_low, points.x_high),
        ("error_y", points.y, points.y_low, points.y_high),
    ):
        if low:
            trace[name] = {
                "type": "data",
                "symmetric": False,
                "array": leans(b - a for a, b in zip(middle, high, strict=True)),
                "arrayminus": leans(a - b for a, b in zip(middle, low, strict=True)),
                "color": translucent(colour, 0.65),
                "thickness": 1.5,
                "width": 0,
            }
    if points.written:
        trace |= written(points, panel) | {
            "mode": "markers+text",
            "textfont": {"size": 11, "weight": 700, "shadow": "auto"},
            "cliponaxis": False,
        }
    hover = _hover(points.texts, points.x, points.y, panel)
    return trace | named(points.label) | hover | keys(points.keys)


def _line(line: Line) -> list[Json]:
    colour = COLOURS[line.role]
    found: list[Json] = []
    if line.low:
        found += _band(line, translucent(colour, 0.2))
    stroke: Json = {"color": colour, "width": 2}
    if line.step:
        stroke["shape"] = "hv"
    if line.dashed:
        stroke["dash"] = "dash"
    drawn: Json = {
        "type": "scatter",
        "mode": "lines" if len(line.x) > 1 else "markers",  # a line of one point is not seen
        "x": leans(line.x),
        "y": leans(line.y),
        "line": stroke,
        "marker": {"color": colour},
    }
    if line.label:
        drawn["legendgroup"] = line.label
    found.append(drawn | named(line.label) | texts([html(text) for text in line.texts]))
    return found


def _band(line: Line, colour: str) -> list[Json]:
    """Around each part of the line without a gap, all in one trace."""
    places = list(zip(line.x, line.low, line.high, strict=True))
    x: list[float] = []
    y: list[float] = []
    for whole, part in groupby(places, key=lambda place: all(map(finite, place))):
        if not whole:
            continue
        edge = list(part)
        if line.step:  # each corner, since the way back would step otherwise than the way there
            steps = pairwise(edge)
            edge = [edge[0], *(p for a, b in steps for p in ((b[0], a[1], a[2]), b))]
        if x:
            x.append(math.nan)
            y.append(math.nan)
        x += [place[0] for place in edge] + [place[0] for place in reversed(edge)]
        y += [place[1] for place in edge] + [place[2] for place in reversed(edge)]
    trace: Json = {
        "type": "scatter",
        "mode": "lines",
        "x": leans(x),
        "y": leans(y),
        "fill": "toself",
        "fillcolor": colour,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    if line.label:
        trace["legendgroup"] = line.label  # so that it goes with its line
    return [trace]


def _bars(bars: Bars, panel: Panel) -> Json:
    at_, length = leans(bars.at), leans(bars.length)
    trace: Json = {
        "type": "bar",
        "orientation": "h" if bars.across else "v",
        "x": length if bars.across else at_,
        "y": at_ if bars.across else length,
        "width": lean(bar_width(panel)),
        "marker": {"color": COLOURS[bars.role]},
    }
    if bars.base:
        trace["base"] = leans(bars.base)
    x, y = (bars.length, bars.at) if bars.across else (bars.at, bars.length)
    return trace | named(bars.label) | _hover(bars.texts, x, y, panel) | keys(bars.keys)


def _hover(told: Sequence[str], x: Floats, y: Floats, panel: Panel) -> Json:
    """What is shown of each mark: the whole label of its category, and its text or its value."""
    found = [html(text) for text in told]
    pairs = ((panel.x, x, panel.y, y), (panel.y, y, panel.x, x))
    for axis, places, other, values in pairs:
        if axis.kind == "category":
            found = found or [_shown(other, value) for value in values]
            labels = [_category(axis, place) for place in places]
            found = [
                text if text.startswith(label) else f"{label}<br>{text}".removesuffix("<br>")
                for label, text in zip(labels, found, strict=True)
            ]
    return texts(found)


def _category(axis: Axis, value: float) -> str:
    place = round(value) if finite(value) else -1
    return html(axis.categories[place]) if 0 <= place < len(axis.categories) else ""


def _shown(axis: Axis, value: float) -> str:
    if not finite(value) or axis.kind == "category":
        return ""
    return escaped(percent(value) if axis.kind == "rate" else number(value))
