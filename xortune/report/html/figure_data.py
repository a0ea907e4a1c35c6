"""The data of a figure as tables: for those who do not see it, and for those who want numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from xortune.report.document import Column, Inline, Link, Table, Text
from xortune.report.format import number, percent
from xortune.report.plot import (
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

__all__ = ["SHOWN", "data_tables"]

SHOWN = 40
"""Rows of each panel; a picture of more is not read value by value."""

Row = tuple[str, str, str, str, Inline]


def data_tables(plot: Plot) -> tuple[Table, ...]:
    """One table for each panel that has marks."""
    return tuple(_table(panel, panel.title or plot.title) for panel in plot.panels if panel.layers)


def _table(panel: Panel, title: str) -> Table:
    rows = [row for layer in panel.layers for row in _rows(layer, panel)]
    names = ("", panel.x.label, panel.y.label, "from, to", "more")
    # A column in which nothing stands says nothing.
    kept = [at for at in range(len(names)) if any(row[at] for row in rows[:SHOWN])]
    x, y = panel.x.kind != "category", panel.y.kind != "category"
    numbers = (False, x, y, x and y, False)
    columns = tuple(Column(names[at] or "what", numeric=numbers[at]) for at in kept)
    cells: list[tuple[Text, ...]] = [tuple((row[at],) for at in kept) for row in rows[:SHOWN]]
    more = f"; the first {SHOWN} of {len(rows):,} rows" if len(rows) > SHOWN else ""
    return Table(columns, tuple(cells), f"Data: {title}{more}")


def _rows(layer: Layer, panel: Panel) -> Iterator[Row]:
    x, y = panel.x, panel.y
    match layer:
        case Points():
            for i, (across, up) in enumerate(zip(layer.x, layer.y, strict=True)):
                ends = [
                    _between(axis, low[i], high[i])
                    for axis, low, high in (
                        (x, layer.x_low, layer.x_high),
                        (y, layer.y_low, layer.y_high),
                    )
                    if low and high
                ]
                more = _more(layer.texts, layer.keys, i)
                yield layer.label, _at(x, across), _at(y, up), "; ".join(ends), more
        case Line():
            for i, (across, up) in enumerate(zip(layer.x, layer.y, strict=True)):
                ends_of = _between(y, layer.low[i], layer.high[i]) if layer.low else ""
                yield layer.label, _at(x, across), _at(y, up), ends_of, _more(layer.texts, (), i)
        case Lines():
            for i, values in enumerate(layer.ys):
                path = ", ".join(
                    f"{_at(x, place)} {_at(y, up)}"
                    for place, up in zip(layer.x, values, strict=True)
                    if not math.isnan(up)
                )
                said = f"{layer.value_label} {percent(layer.values[i])}"
                yield said, "", "", "", _more(layer.texts, layer.keys, i) or path
        case Bars():
            bases = layer.base or (0.0,) * len(layer.at)
            along, beside = (x, y) if layer.across else (y, x)
            for i, (at, length) in enumerate(zip(layer.at, layer.length, strict=True)):
                ends_of = _between(along, bases[i], bases[i] + length) if bases[i] else ""
                pair = _at(along, length), _at(beside, at)
                more = _more(layer.texts, layer.keys, i)
                yield layer.label, *(pair if layer.across else pair[::-1]), ends_of, more
        case Cells():
            yield from _cells(layer, x, y)
        case Rule(axis, at, label):
            on = x if axis == "x" else y
            yield (label, *((_at(on, at), "") if axis == "x" else ("", _at(on, at))), "", "")
        case Span(axis, low, high, label):
            yield label, "", "", _between(x if axis == "x" else y, low, high), ""


def _cells(layer: Cells, x: Axis, y: Axis) -> Iterator[Row]:
    for r, values in enumerate(layer.values):
        for c, value in enumerate(values):
            if math.isnan(value):
                continue
            noted = layer.notes[r][c] if layer.notes else ""
            text = layer.texts[r][c] if layer.texts else ""
            shown = percent(value) if layer.scale != "difference" else f"{100 * value:+.1f}"
            across = _cell(x, layer.x[c], layer.x[c + 1])
            up = _cell(y, layer.y[r], layer.y[r + 1])
            yield layer.value_label, across, up, "", noted or text or shown


def _cell(axis: Axis, low: float, high: float) -> str:
    if axis.kind == "category":
        return _at(axis, (low + high) / 2)
    return _between(axis, low, high)


def _between(axis: Axis, low: float, high: float) -> str:
    return f"{_at(axis, low)} – {_at(axis, high)}"


def _at(axis: Axis, place: float) -> str:
    if math.isnan(place):
        return "–"
    if axis.kind == "rate":
        return percent(place)
    if axis.kind == "category":
        near = round(place)
        return axis.categories[near] if 0 <= near < len(axis.categories) else number(place)
    return number(place)


def _more(texts: Iterable[str], keys: Iterable[str], at: int) -> Inline:
    texts, keys = tuple(texts), tuple(keys)
    text = " ".join(texts[at].split()) if texts else ""
    return Link(text or keys[at], f"#{keys[at]}") if keys and keys[at] else text
