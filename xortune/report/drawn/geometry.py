"""What both ways of drawing need to know of a panel: sizes and places, no colours."""

from __future__ import annotations

import math
from itertools import pairwise

from xortune.report.plot import Axis, Bars, Cells, Line, Lines, Panel, Plot, Points

__all__ = [
    "bar_width",
    "decades",
    "finite",
    "grid",
    "limits",
    "lines_down",
    "middle",
    "rows_of",
    "share_along",
    "span",
]

PAD = 0.02
"""Of the length of an axis of rates, so that a mark at 0 % or 100 % is whole."""


def grid(plot: Plot, columns: int) -> tuple[tuple[int, int], ...]:
    """The row and the column of each panel, with so many beside each other."""
    return tuple(divmod(index, columns) for index in range(len(plot.panels)))


def rows_of(axis: Axis) -> int:
    """How many labels stand along the axis; 0 if it has numbers."""
    return len(axis.categories) if axis.kind == "category" else 0


def lines_down(panel: Panel) -> bool:
    """Whether its `Lines` run from one label up its side to the next, and not from x to x."""
    return bool(panel.y.categories) and any(isinstance(la, Lines) for la in panel.layers)


def limits(panel: Panel, along: str) -> tuple[float, float] | None:
    """From where to where the axis `x` or `y` reaches as it is drawn; None: as far as the data."""
    axis = panel.x if along == "x" else panel.y
    if axis.kind == "category":
        return axis.limits or (-0.5, len(axis.categories) - 0.5)
    if axis.limits is None:
        return None
    low, high = axis.limits
    pad = PAD * (high - low) if axis.kind == "rate" else 0.0
    stands = any(isinstance(la, Bars) and la.across == (along == "x") for la in panel.layers)
    return (low if stands else low - pad), high + pad


def share_along(panel: Panel, at: float) -> float:
    """Where a place of the x axis is, from 0 at the left to 1 at the right; 0.5 if unknown."""
    ends = limits(panel, "x") or span(panel, "x")
    if ends is None:
        return 0.5
    low, high = min(ends[0], at), max(ends[1], at)  # an axis reaches to all that stands on it
    if low == high:
        return 0.5
    if panel.x.kind == "log":
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)


def middle(axis: Axis, low: float, high: float) -> float:
    """The middle between two places of an axis, as one sees it."""
    return math.sqrt(low * high) if axis.kind == "log" else (low + high) / 2


def decades(panel: Panel, along: str) -> float:
    """How many powers of ten an axis reaches over; 0 without marks."""
    ends = limits(panel, along) or span(panel, along)
    return math.log10(ends[1] / ends[0]) if ends and ends[0] > 0 else 0.0


def bar_width(panel: Panel) -> float:
    """How broad the bars of a panel are: four fifths of the way to the nearest."""
    places = sorted({at for layer in panel.layers if isinstance(layer, Bars) for at in layer.at})
    ways = [b - a for a, b in pairwise(places) if b - a > 1e-9]
    return 0.8 * min(ways, default=1.0)


def finite(value: float) -> bool:
    """Whether a value can be drawn."""
    return math.isfinite(value)


def span(panel: Panel, along: str) -> tuple[float, float] | None:
    """The least and the greatest place of the marks along `x` or `y`; None without marks."""
    found: list[float] = []
    for layer in panel.layers:
        if isinstance(layer, Points | Line | Cells):
            found += layer.x if along == "x" else layer.y
        elif isinstance(layer, Bars):
            bases = layer.base or (0.0,) * len(layer.at)
            tips = [base + length for base, length in zip(bases, layer.length, strict=True)]
            found += [*bases, *tips] if (along == "x") == layer.across else layer.at
        elif isinstance(layer, Lines) and along == ("y" if lines_down(panel) else "x"):
            found += layer.x
    found = [value for value in found if finite(value)]
    return (min(found), max(found)) if found else None
