"""Where the panels of a figure are, in pixels down and in shares of the width across.

A page knows its width only when it is shown, so there are two arrangements, one for where panels
find room beside each other and one for where they do not; each is a set of changes to a layout.
"""

from __future__ import annotations

import math

from xortune.report.drawn.geometry import grid, lines_down, rows_of
from xortune.report.drawn.plotly_coloured import scales_of
from xortune.report.drawn.plotly_text import Json, broken, escaped
from xortune.report.drawn.words import lines, shortened
from xortune.report.plot import Cells, Panel, Plot, Rule

__all__ = ["NARROW", "WIDE", "beside", "letters_up", "narrow", "nested", "wide"]

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
