"""What is coloured by a value, as traces of plotly.js: cells and many lines.

Its basic bundle has neither heat maps nor parallel coordinates: each cell is a bar, and lines of
one colour are one trace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, groupby, islice, pairwise

from xortune.report.drawn.geometry import finite
from xortune.report.drawn.palette import LINES, SCALES, Scale, at, on
from xortune.report.drawn.plotly_text import (
    Json,
    escaped,
    html,
    keys,
    leans,
    legend_label,
    texts,
)
from xortune.report.format import plain
from xortune.report.plot import Cells, Lines, Plot

__all__ = ["cells_traces", "coloraxes", "coloraxis", "lines_traces", "scales_of"]

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
