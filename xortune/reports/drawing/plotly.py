"""Draws a figure with Plotly: for a notebook as its `Figure`, for a page as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby, islice, pairwise
from typing import TYPE_CHECKING, Any

from xortune.core.formats import number, percent, plain
from xortune.reports.drawing.style import (
    COLOURS,
    GRID,
    GROUNDS,
    LINES,
    RULE,
    SCALES,
    SPAN,
    WRITTEN,
    Ground,
    Scale,
    at,
    bar_width,
    decades,
    finite,
    grid,
    limits,
    lines,
    lines_down,
    on,
    rows_of,
    share_along,
    shortened,
    span,
    translucent,
)
from xortune.reports.plot import (
    Axis,
    Bars,
    Cells,
    Floats,
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
    import plotly.graph_objects as go


# -------------------------------------------------------------------------------------------------
# Numbers and words as plotly.js takes them.

Json = dict[str, Any]

HOVER = 60  # signs to a line


def escaped(text: str) -> str:
    """As plotly.js shows it: it takes text for a little HTML, and what is between $ for LaTeX."""
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("$", "&#36;")):
        text = text.replace(sign, instead)
    return text


def legend_label(label: str) -> str:
    """A label short enough for a legend on a phone."""
    return escaped(shortened(label, 44))


def lean(value: float, digits: int = 6) -> float | int | None:
    """The number with so many digits, whole if it is; None where it is none."""
    if not finite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def texts(found: Sequence[str]) -> Json:
    """What is shown where one points at each mark; nothing if no mark has a text."""
    return {"hovertext": list(found), "hoverinfo": "text"} if any(found) else {}


def html(text: str) -> str:
    """A text for where one points, in lines."""
    return broken(text, HOVER)


def broken(text: str, width: int) -> str:
    """The text in lines of at most so many signs."""
    return "<br>".join(escaped(line) for line in lines(text, width))


def keys(found: Sequence[str]) -> Json:
    """The configs that the marks lead to, for a click."""
    return {"customdata": list(found)} if found else {}


def named(label: str) -> Json:
    """The entry in the legend."""
    return {"name": legend_label(label), "showlegend": True} if label else {"showlegend": False}


def leans(values: Iterable[float], digits: int = 6) -> list[float | int | None]:
    """`lean` of each."""
    return [lean(value, digits) for value in values]


# -------------------------------------------------------------------------------------------------
# What is coloured by a value, as traces of plotly.js: cells and many lines.
#
# Its basic bundle has neither heat maps nor parallel coordinates: each cell is a bar, and lines of
# one colour are one trace.

Ends = tuple[float, float]

BINS = 10
"""Colours of `Lines`, so many traces at most."""

OVER = 1.001
"""Cells are larger by this, so that rounding to pixels leaves no gap between them."""

STEPS = 20
"""Levels of a surface; neighbours of one level are one bar."""


def lines_traces(many: Lines, axis: str, *, down: bool = False) -> list[Json]:
    """The lines, and what brings the layout's scale of that name into sight.

    Args:
        many: the lines.
        axis: the name of the scale.
        down: whether they lie on their side.
    """
    found: list[Json] = []
    order = sorted(range(len(many.ys)), key=lambda index: many.values[index])
    for which, members in groupby(order, key=lambda index: _bin(many.values[index], BINS)):
        x: list[float] = []
        y: list[float] = []
        told: list[str] = []
        led: list[str] = []
        for index in members:
            x += [*many.x, math.nan]
            y += [*many.ys[index], math.nan]
            if many.texts:
                told += [html(many.texts[index])] * len(many.x) + [""]
            if many.keys:
                led += [many.keys[index]] * len(many.x) + [""]
        trace: Json = {
            "type": "scatter",
            "mode": "lines",
            "x": leans(y if down else x),
            "y": leans(x if down else y),
            "line": {"color": at(LINES, (which + 0.5) / BINS), "width": 1},
            "opacity": 0.7,
            "showlegend": False,
        }
        found.append(trace | texts(told) | keys(led))
    return [*found, _in_sight(axis)]


def _in_sight(axis: str) -> Json:
    """What brings a scale into sight, which only markers do: a trace of them without a mark."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "marker": {"color": [0], "coloraxis": axis},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def cells_traces(cells: Cells, axis: str) -> list[Json]:
    """Bars that stand on the lower edges of their cells, and what brings that scale into sight.

    Each bar has its colour as it is, since plotly.js complains of each that is a number.
    """
    ends, scale = _ends(cells), SCALES[cells.scale]
    found = _filled(cells)
    merged = not cells.texts and not cells.notes
    if merged:
        found = _levels(found, ends)
    trace: Json = {
        "type": "bar",
        "x": leans(((cell.left + cell.right) / 2 for cell in found), 5),
        "width": leans((OVER * (cell.right - cell.left) for cell in found), 5),
        "base": leans((cells.y[cell.row] for cell in found), 5),
        "y": leans((OVER * (cells.y[cell.row + 1] - cells.y[cell.row]) for cell in found), 5),
        "marker": {
            "color": [at(scale, _place(cell.value, ends)) for cell in found],
            "line": {"width": 0},
        },
        "showlegend": False,
    }
    if cells.texts:
        trace |= {
            "text": [escaped(plain(cells.texts[cell.row][cell.column])) for cell in found],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "insidetextfont": {"color": [on(at(scale, _place(c.value, ends))) for c in found]},
        }
    if cells.notes:
        trace |= texts([html(cells.notes[cell.row][cell.column]) for cell in found])
    elif merged:
        trace["hoverinfo"] = "skip"
    return [trace, _in_sight(axis)]


@dataclass(frozen=True)
class Cell:
    """One that is not empty, or several beside each other."""

    row: int
    column: int
    left: float
    right: float
    value: float


def _filled(cells: Cells) -> list[Cell]:
    return [
        Cell(row, column, left, right, value)
        for row, values in enumerate(cells.values)
        for column, ((left, right), value) in enumerate(zip(pairwise(cells.x), values, strict=True))
        if finite(value)
    ]


def _levels(cells: list[Cell], ends: Ends) -> list[Cell]:
    """Neighbours in a row on one level as one cell, with the middle of the level as its value."""
    low, high = ends
    found: list[Cell] = []
    for cell in cells:
        level = _bin(_place(cell.value, ends), STEPS)
        middle = low + (high - low) * (level + 0.5) / STEPS
        last = found[-1] if found else None
        if last and (last.row, last.right, last.value) == (cell.row, cell.left, middle):
            found[-1] = replace(last, right=cell.right)
        else:
            found.append(replace(cell, value=middle))
    return found


def _place(value: float, ends: Ends) -> float:
    return min(1.0, max(0.0, (value - ends[0]) / (ends[1] - ends[0])))


def _bin(share: float, bins: int) -> int:
    return min(bins - 1, max(0, int(share * bins + 1e-9)))


def coloraxes(plot: Plot) -> Json:
    """The layout's scales of colours, each with its bar: for all panels, so that they compare."""
    return {
        axis: {
            "colorscale": [list(stop) for stop in scale],
            "cmin": ends[0],
            "cmax": ends[1],
            "colorbar": {
                "title": {"text": legend_label(title), "side": "top", "font": {"size": 12}},
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "yanchor": "top",
                "xpad": 0,
                "ypad": 0,
                "thickness": 10,
                "outlinewidth": 0,
                "tickangle": 0,
                "tickvals": [ends[0], (ends[0] + ends[1]) / 2, ends[1]],
                "ticktext": ["−100 %", "0 %", "+100 %"] if ends[0] else ["0 %", "50 %", "100 %"],
            },
        }
        for axis, (scale, ends, title) in zip(_axes(), scales_of(plot), strict=False)
    }


def scales_of(plot: Plot) -> list[tuple[Scale, Ends, str]]:
    """The scales of what is coloured by a value, each once: colours, ends, what it shows."""
    layers = (layer for panel in plot.panels for layer in panel.layers)
    found = [_scale(layer) for layer in layers if isinstance(layer, Cells | Lines)]
    return list(dict.fromkeys(found))


def coloraxis(layer: Cells | Lines, plot: Plot) -> str:
    """The name of the layer's scale in the layout."""
    place = scales_of(plot).index(_scale(layer))
    return next(islice(_axes(), place, None))


def _axes() -> Iterator[str]:
    return (f"coloraxis{number if number > 1 else ''}" for number in count(1))


def _scale(layer: Cells | Lines) -> tuple[Scale, Ends, str]:
    if isinstance(layer, Lines):
        return LINES, (0.0, 1.0), layer.value_label
    return SCALES[layer.scale], _ends(layer), layer.value_label


def _ends(cells: Cells) -> Ends:
    return (-1.0, 1.0) if cells.scale == "difference" else (0.0, 1.0)


# -------------------------------------------------------------------------------------------------
# Where the panels of a figure are, in pixels down and in shares of the width across.
#
# A page knows its width only when it is shown, so there are two arrangements, one for where panels
# find room beside each other and one for where they do not; each is a set of changes to a layout.

WIDE, NARROW = 760.0, 330.0
"""Pixels that an arrangement is made for; it fits those near it too."""

PANEL = 280.0  # the height of one with numbers up its side
ROW = 22.0  # of one of its labels
DOWN = 54.0  # of one from which lines run down to the next, with a line of names above it
LEGEND = 20.0  # of a line of the legend
LINE = 18.0  # of a line of text
LETTER = 6.6  # the width of a sign, of 12 pixels
SCALE = 56.0  # of a bar of colours with its title
TITLE = 8.4  # the width of a sign of a panel's title
LABELS = {WIDE: 40, NARROW: 20}  # signs of a label up the side
BELOW = {WIDE: 18, NARROW: 12}  # and of one below


def narrow(plot: Plot) -> Json:
    """The places with one panel below the other, on a phone."""
    return _arranged(plot, 1, NARROW)


def wide(plot: Plot) -> Json:
    """The places with as many panels beside each other as the figure says."""
    return _arranged(plot, plot.columns, WIDE)


def _arranged(plot: Plot, columns: int, room: float) -> Json:
    places = grid(plot, columns)
    panels = list(zip(plot.panels, places, strict=True))
    count = places[-1][0] + 1
    of_row = [[panel for panel, (row, _) in panels if row == wanted] for wanted in range(count)]
    # Panels below each other begin at one line, whichever has the longest labels.
    across = room / columns - max(beside(panel, room / columns) for panel in plot.panels)
    title = [max(_title_height(panel, across) for panel in row) for row in of_row]
    body = [max(_height(panel) for panel in row) for row in of_row]
    foot = [max(_foot(panel, room / columns) for panel in row) for row in of_row]
    # The first row's titles and the last row's labels stand in the margins.
    inner = sum(title[1:]) + sum(body) + sum(foot[:-1])
    top = title[0] + _legend_height(plot, room) + 8
    bars = len(scales_of(plot))
    bottom = foot[-1] + SCALE * bars + 4
    tops = [sum(body[:row]) + sum(foot[:row]) + sum(title[1 : row + 1]) for row in range(count)]
    gap = max((_side(p, room) for p, (_, column) in panels if column), default=0.0) / room
    width = (1 - gap * (columns - 1)) / columns
    found: Json = {"height": round(inner + top + bottom)}
    found |= {"margin.t": round(top), "margin.b": round(bottom), "margin.l": 8, "margin.r": 14}
    for bar in range(bars):
        place = f"coloraxis{bar + 1 if bar else ''}.colorbar"
        found[f"{place}.y"] = round(-(foot[-1] + SCALE * bar) / inner, 4)
        found[f"{place}.len"] = 0.4 if room == WIDE else 0.92
    titled = 0
    for index, (panel, (row, column)) in enumerate(panels):
        which = str(index + 1) if index else ""
        left, upper = column * (width + gap), 1 - tops[row] / inner
        lower = 1 - (tops[row] + body[row]) / inner
        found[f"xaxis{which}.domain"] = [_share(left), _share(left + width)]
        found[f"yaxis{which}.domain"] = [_share(lower), _share(upper)]
        found[f"xaxis{which}.title.text"] = broken(panel.x.label, _letters(panel, room / columns))
        if panel.x.kind == "category":
            below = _below(panel, room / columns)
            found[f"xaxis{which}.ticktext"] = [escaped(label) for label in below]
            found[f"xaxis{which}.tickangle"] = -35 if _leaning(panel, room / columns) else 0
        if panel.y.kind == "category":
            found[f"yaxis{which}.ticktext"] = [
                escaped(shortened(label, LABELS[room])) for label in panel.y.categories
            ]
        if panel.title:
            text = "<br>".join(map(escaped, _title(panel, across)))
            found[f"annotations[{titled}].text"] = f"<b>{text}</b>"
            found[f"annotations[{titled}].x"] = _share(left)
            found[f"annotations[{titled}].y"] = _share(upper)
            found[f"annotations[{titled}].yshift"] = LINE * _labelled(panel)
            titled += 1
    return found


def nested(changes: Json) -> Json:
    """The changes as the part of a layout that they make: `annotations[0].x` as list and dict."""
    found: Json = {}
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = found
        for parent in parents:
            name, _, index = parent.rstrip("]").partition("[")
            if index:
                items = place.setdefault(name, [])
                items += [{} for _ in range(int(index) + 1 - len(items))]
                place = items[int(index)]
            else:
                place = place.setdefault(name, {})
        place[last] = value
    return found


def _height(panel: Panel) -> float:
    rows, cells = rows_of(panel.y), any(isinstance(layer, Cells) for layer in panel.layers)
    if lines_down(panel):
        return DOWN * rows
    if rows:
        return max(70.0, (1.5 if cells else 1.0) * ROW * rows + 12)
    return 340.0 if cells else PANEL


def _title(panel: Panel, across: float) -> list[str]:
    """Its title in lines that are not broader than a panel, in bold."""
    return lines(panel.title, max(12, int(across / TITLE)))


def _title_height(panel: Panel, across: float) -> float:
    text = LINE * (len(_title(panel, across)) + _labelled(panel))
    return text + 8 if text else 0.0


def _letters(panel: Panel, room: float) -> int:
    """How many signs of an axis's label find room below a panel."""
    return max(20, int((room - beside(panel, room)) / (LETTER * 1.17)))


def beside(panel: Panel, room: float) -> float:
    """What stands at the left of a panel."""
    return _side(panel, room) if panel.y.categories else 60.0


def letters_up(panel: Panel) -> int:
    """How many signs of an axis's label find room up the side of a panel."""
    return max(12, int(_height(panel) / (LETTER * 1.17)))


def _labelled(panel: Panel) -> bool:
    """Whether the labels of upright rules stand above the panel."""
    return any(isinstance(la, Rule) and la.axis == "x" and la.label for la in panel.layers)


def _foot(panel: Panel, room: float) -> float:
    """The labels below a panel and the axis's own."""
    longest = max(map(len, _below(panel, room)), default=0)
    lines_ = panel.x.label and math.ceil(len(panel.x.label) / _letters(panel, room))
    return 36 + 20 * (lines_ or 0) + (longest * LETTER * 0.6 if _leaning(panel, room) else 0)


def _below(panel: Panel, room: float) -> list[str]:
    return [shortened(label, BELOW[WIDE if room > 360 else NARROW]) for label in panel.x.categories]


def _leaning(panel: Panel, room: float) -> bool:
    """Whether the labels below a panel find no room side by side."""
    labels_ = _below(panel, room)
    broadest = max(map(len, labels_), default=0) + 2
    return broadest * LETTER * len(labels_) > room - beside(panel, room)


def _side(panel: Panel, room: float) -> float:
    longest = max((len(label) for label in panel.y.categories), default=0)
    title = LINE * len(lines(panel.y.label, letters_up(panel)))
    return max(76.0, 24 + title + LETTER * min(longest, LABELS[WIDE if room > 360 else NARROW]))


def _legend_height(plot: Plot, room: float) -> float:
    """Of the lines that its entries need, side by side."""
    entries = {getattr(layer, "label", "") for panel in plot.panels for layer in panel.layers}
    entries -= {la.label for p in plot.panels for la in p.layers if isinstance(la, Rule)} | {""}
    widths = [52 + LETTER * min(44, len(entry)) for entry in entries]
    if sum(widths) <= room:
        return LEGEND * bool(widths)
    # In several rows all entries are as broad as the broadest.
    return LEGEND * math.ceil(len(widths) / max(1, room // max(widths)))


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 4)


# -------------------------------------------------------------------------------------------------
# What is written beside points, and lines on their side where a page has no room for names.

SIGN = 7.2  # pixels, the width of a sign
RING = 24.0  # of a point and the blanks around a name
MARGIN = 14.0  # beyond the right end of a panel


def written(points: Points, panel: Panel) -> Json:
    """The texts of points and where each stands: beside its point; above it along a row.

    Of those that would lie over each other in a row, the ones at its ends stay: all others are
    told where one points.
    """
    labels = [shortened(text, WRITTEN) for text in points.texts]
    if not lines_down(panel):
        rest = [WIDE * (1 - share_along(panel, x)) + MARGIN for x in points.x]
        needed = [SIGN * len(label) + RING / 2 for label in labels]
        sides = ["right" if n <= r else "left" for n, r in zip(needed, rest, strict=True)]
        return {
            "text": [escaped(label) for label in labels],
            "textposition": [f"middle {side}" for side in sides],
        }
    shares = [share_along(panel, x) for x in points.x]
    sides = ["right" if s < 0.3 else "left" if s > 0.7 else "center" for s in shares]
    room = NARROW - beside(panel, NARROW)
    kept: dict[int, tuple[float, float]] = {}
    for place in sorted(range(len(shares)), key=lambda i: -abs(shares[i] - 0.5)):
        width = SIGN * len(labels[place])
        left = room * shares[place] - width * {"right": 0, "center": 0.5, "left": 1}[sides[place]]
        row = [ends for other, ends in kept.items() if points.y[other] == points.y[place]]
        if all(left + width + SIGN <= low or high + SIGN <= left for low, high in row):
            kept[place] = left, left + width
    return {
        "text": [escaped(label) if at in kept else "" for at, label in enumerate(labels)],
        "textposition": [f"top {side}" for side in sides],
    }


def room_for_names(plot: Plot) -> float:
    """Pixels that a figure needs across, so that a name beside a point ends before the next one."""
    needed = [0.0]
    for panel in plot.panels:
        for layer in panel.layers:
            if isinstance(layer, Points) and layer.written and panel.x.categories:
                longest = max(len(shortened(text, WRITTEN)) for text in layer.texts)
                needed.append((RING + SIGN * longest) * len(panel.x.categories))
    return max(needed)


def turned(plot: Plot) -> Plot | None:
    """The figure with its lines on their side, one axis below the other; None without lines."""
    if not any(isinstance(layer, Lines) for panel in plot.panels for layer in panel.layers):
        return None
    return replace(plot, panels=tuple(_turned_panel(panel) for panel in plot.panels))


def _turned_panel(panel: Panel) -> Panel:
    layers = tuple(_exchanged(layer) for layer in panel.layers)
    return replace(panel, x=panel.y, y=replace(panel.x, label=""), layers=layers)


def _exchanged(layer: Layer) -> Layer:
    match layer:
        case Points():
            return replace(
                layer,
                x=layer.y,
                y=layer.x,
                x_low=layer.y_low,
                x_high=layer.y_high,
                y_low=layer.x_low,
                y_high=layer.x_high,
            )
        case Rule() | Span():
            return replace(layer, axis="y" if layer.axis == "x" else "x")
        case _:  # lines follow the categories; nothing else is drawn among them
            return layer


# -------------------------------------------------------------------------------------------------
# Layers as traces and shapes of plotly.js: only scatter and bar, which its basic bundle has.

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


# Plotly.js measures text outside the figure, where `inherit` would be another font.
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
TITLED = {
    "xref": "paper",
    "yref": "paper",
    "xanchor": "left",
    "yanchor": "bottom",
    "align": "left",
    "showarrow": False,
    "font": {"size": 13},
}
"""How the title of a panel stands above it."""

SINGLE, SEVERAL = 600, 700
"""Pixels of a page's column, below which a figure of one or of several columns is narrow."""

TITLE_SIGNS = 92  # signs to a line of a notebook's figure
NOTE = 120
WHOLE = 10  # an axis of whole numbers that is no longer has a tick at each


def plotly_json(plot: Plot) -> dict[str, Any]:
    """The figure as a page needs it, for plotly.js's basic bundle; no Plotly is imported.

    The page writes the title and the note itself, and gives the figure its `alt`. Marks have the
    same colours on light and on dark ground, so that `data` stays as it is.

    Returns:
        `data` and `layout` for `Plotly.newPlot(div, data, layout, {responsive: true})`: on light
        ground, panels side by side; and four sets of changes for `Plotly.relayout(div, changes)`:
        `dark` and `light` after the ground, `narrow` (panels one below the other) and `wide` after
        the room there is: narrow below `room` pixels. Keys of configs are the traces' `customdata`.
        Where `turned` is not None, the figure lies on its side where it is narrow: the layout is
        `turned.layout` then, and each trace has x and y exchanged and the changes in
        `turned.traces`.
    """
    data = _data(plot)
    return {
        "data": data,
        "layout": _layout(plot, wide),
        "light": _changes(GROUNDS["light"]),
        "dark": _changes(GROUNDS["dark"]),
        "wide": wide(plot),
        "narrow": narrow(plot),
        "room": round(max(SEVERAL if plot.columns > 1 else SINGLE, room_for_names(plot))),
        "turned": _turned(plot, data),
    }


def plotly_figure(plot: Plot) -> go.Figure:
    """The figure for a notebook, with its title, and its note below that."""
    import plotly.graph_objects as go

    title, note = lines(plot.title, TITLE_SIGNS), lines(plot.note, NOTE)
    layout = _layout(plot, wide)
    above = LINE * (1.3 * len(title) + len(note)) + 16
    layout["title"] = {
        "text": "<br>".join(f"<b>{escaped(line)}</b>" for line in title),
        "subtitle": {
            "text": "<br>".join(map(escaped, note)),
            "font": {"size": 12, "color": GROUNDS["light"].ink},
        },
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 12, "l": 12},
        "font": {"size": 15},
    }
    layout["margin"]["t"] += above
    layout["height"] += above
    layout["legend"]["y"] = 1 - above / layout["height"]
    layout |= {"template": "none", "paper_bgcolor": "white", "plot_bgcolor": "white"}
    return go.Figure(data=_data(plot), layout=layout)


def _data(plot: Plot) -> list[Json]:
    found = []
    for index, panel in enumerate(plot.panels):
        axes = {"xaxis": f"x{_number(index)}", "yaxis": f"y{_number(index)}"}
        found += [trace | axes for trace in marks(panel, plot)]
    _once(found)
    return found


def _turned(plot: Plot, data: list[Json]) -> Json | None:
    """The figure on its side, without what it has in common with `data`, which is the most."""
    other = turned(plot)
    if other is None:
        return None
    traces = [
        {name: value for name, value in new.items() if value != old.get(name)}
        for new, old in zip(_data(other), data, strict=True)
    ]
    for trace in traces:
        trace.pop("x", None)
        trace.pop("y", None)
    return {"layout": _layout(other, narrow), "traces": traces}


def _layout(plot: Plot, arranged: Callable[[Plot], Json]) -> Json:
    layout = nested(arranged(plot) | _changes(GROUNDS["light"]))
    layout |= {
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "barmode": "overlay",
        "bargap": 0,
        "hovermode": "closest",
        "dragmode": False,  # a finger on the figure moves the page
        "legend": {
            "orientation": "h",
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "bgcolor": "rgba(0,0,0,0)",
            "tracegroupgap": 0,
        },
    }
    for axis, scale in coloraxes(plot).items():
        scale["colorbar"] |= layout[axis]["colorbar"]
        layout[axis] = scale
    layout["font"] |= {"family": FONT, "size": 12}
    layout["hoverlabel"]["align"] = "left"
    layout["shapes"] = []
    titles = iter(layout.setdefault("annotations", []))
    for index, panel in enumerate(plot.panels):
        which = _number(index)
        for along, across in (("x", "y"), ("y", "x")):
            placed = layout[f"{along}axis{which}"]
            drawn = _axis(panel, along) | {"anchor": f"{across}{which}"}
            drawn["title"] |= placed.get("title", {})
            layout[f"{along}axis{which}"] = placed | drawn
        layout["shapes"] += shapes(panel, f"x{which}", f"y{which}")
        if panel.title:
            next(titles).update(TITLED)
    _once(layout["shapes"])
    return layout


def _once(entries: list[Json]) -> None:
    """One entry in the legend for all panels, which shows and hides what it names in all."""
    seen: set[str] = set()
    for entry in entries:
        if entry.get("showlegend"):
            entry |= {"legendgroup": entry["name"], "showlegend": entry["name"] not in seen}
            seen.add(entry["name"])


def _axis(panel: Panel, along: str) -> Json:
    axis = panel.x if along == "x" else panel.y
    drawn: Json = {
        "title": {"standoff": 10},
        "automargin": True,
        "zeroline": False,
        "gridcolor": GRID,
        "linecolor": RULE,
        "tickcolor": RULE,
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
    }
    if along == "y":
        drawn["title"]["text"] = broken(axis.label, letters_up(panel))
    ends = limits(panel, along)
    if axis.kind == "log":
        drawn |= {"type": "log", "tickformat": "~g", "hoverformat": ".3~g"}
        reach = decades(panel, along)
        if reach >= 1:  # at 1, 2, 5 or only powers of ten
            drawn["dtick"] = "D2" if reach < 2.5 else math.ceil(reach / 6)
        else:
            drawn["nticks"] = 5
        ends = None if ends is None else (math.log10(ends[0]), math.log10(ends[1]))
    elif axis.kind == "rate":
        drawn |= {"tickformat": "~%", "hoverformat": ".1%"}
    elif axis.kind == "category":
        drawn |= {"tickvals": list(range(len(axis.categories))), "showgrid": False}
        if along == "y" and ends is not None:
            ends = ends[1], ends[0]  # the first at the top
    elif axis.whole:
        drawn["tickformat"] = ",d"
        extent = span(panel, along)
        if extent is not None and extent[1] - extent[0] <= WHOLE:
            drawn["dtick"] = 1
    over = "x" if lines_down(panel) else "y"
    if along == over and any(isinstance(layer, Lines) for layer in panel.layers):
        drawn |= {"showticklabels": False, "showgrid": False}  # places, no values
    if ends is not None:
        drawn["range"] = [lean(ends[0]), lean(ends[1])]
    return drawn


def _changes(ground: Ground) -> Json:
    return {
        "font.color": ground.ink,
        "hoverlabel.bgcolor": ground.raised,
        "hoverlabel.bordercolor": RULE,
        "hoverlabel.font.color": ground.ink,
    }


def _number(index: int) -> str:
    """As plotly.js counts axes: x, x2, x3."""
    return str(index + 1) if index else ""
