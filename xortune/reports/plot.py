"""Figures as values: the data, its units, what one sees and what it says; `drawn` draws them.

A figure is a `Plot` of one or more `Panel`s; a panel has two axes and layers, drawn in their order.
Nothing here knows a library that draws, and no value here is a colour: a layer has a `Role`, and
whoever draws knows its colour on light and on dark ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Floats = tuple[float, ...]

Role = Literal["a", "b", "c", "d", "e", "f", "best", "muted", "solved", "failed"]
"""What a layer is among the others: `a` to `f` are told apart whatever one's colour vision."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: with the unit.
        kind: `rate` is a share in [0, 1], shown in percent; `log` a positive number; on a
            `category` axis the numbers 0, 1, ... are the places of `categories`.
        limits: from where to where it reaches; None: as far as the data.
        categories: labels, the first at the top of a vertical axis and at the left of a
            horizontal one.
        whole: whether only whole numbers are meant.
    """

    label: str
    kind: Literal["number", "log", "rate", "category"] = "number"
    limits: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Points:
    """Single values with their intervals.

    Attributes:
        label: in the legend; empty: not in it.
        x, y: places, of the same length.
        x_low, x_high, y_low, y_high: ends of intervals, one for each point; empty: none.
        role: which layer it is.
        marker: filled, or only its rim.
        texts: more about each point, shown where one can point at it; empty: nothing.
        keys: of the config that each point is, to which it leads; empty: none.
        written: whether the texts, which are short then, stand beside the points.
    """

    label: str
    x: Floats
    y: Floats
    x_low: Floats = ()
    x_high: Floats = ()
    y_low: Floats = ()
    y_high: Floats = ()
    role: Role = "a"
    marker: Literal["dot", "ring", "diamond"] = "dot"
    texts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    written: bool = False


@dataclass(frozen=True)
class Line:
    """A line with its band.

    Attributes:
        label: in the legend; empty: not in it.
        x, y: of the same length.
        low, high: bounds of the band, of the same length; empty: no band.
        role: which layer it is.
        step: whether y stays as it is until the next x.
        dashed: whether it is only a help to the eye, or a second one of the same role.
        texts: more about each point of it; empty: nothing.
    """

    label: str
    x: Floats
    y: Floats
    low: Floats = ()
    high: Floats = ()
    role: Role = "a"
    step: bool = False
    dashed: bool = False
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines:
    """Many thin lines over the same x, each coloured by a value: parallel coordinates.

    On a panel whose y axis has the categories, they lie on their side: x are places down it.

    Attributes:
        x: places, shape (X,).
        ys: one line each, shape (lines, X); NaN: the line is not there.
        values: what colours each line, a share in [0, 1], shape (lines,).
        value_label: what `values` are, with the unit.
        texts: about each line; empty: nothing.
        keys: of the config that each line is; empty: none.
    """

    x: Floats
    ys: tuple[Floats, ...]
    values: Floats
    value_label: str
    texts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bars:
    """Bars, which stand or lie one after the other where they have a base.

    Attributes:
        label: in the legend; empty: not in it.
        at: the middle of each bar across its length.
        length: how long each is.
        base: where each begins; empty: at 0.
        role: which layer it is.
        across: whether they lie (x is the length) instead of standing.
        texts: about each bar; empty: nothing.
        keys: of the config that each bar is; empty: none.
    """

    label: str
    at: Floats
    length: Floats
    base: Floats = ()
    role: Role = "a"
    across: bool = False
    texts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cells:
    """A matrix of values: a heat map or a surface.

    Attributes:
        x, y: edges, one more than there are columns and rows.
        values: shape (rows, columns), from the lowest y; NaN: an empty cell.
        value_label: what they are, with the unit.
        scale: `rate` runs from 0 to 1; `difference` from -1 to 1, with 0 in the middle;
            `class` is rate with a sharp edge at one half (a decision surface).
        texts: shape (rows, columns): written into the cells; empty: nothing.
        notes: shape (rows, columns): shown where one can point at a cell; empty: nothing.
    """

    x: Floats
    y: Floats
    values: tuple[Floats, ...]
    value_label: str
    scale: Literal["rate", "difference", "class"] = "rate"
    texts: tuple[tuple[str, ...], ...] = ()
    notes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Rule:
    """A thin line across the panel at one value of an axis, with its label."""

    axis: Literal["x", "y"]
    at: float
    label: str = ""


@dataclass(frozen=True)
class Span:
    """A shaded range of an axis across the panel, behind all else.

    Attributes:
        axis: of which.
        low, high: from where to where.
        label: in the legend; empty: not in it.
    """

    axis: Literal["x", "y"]
    low: float
    high: float
    label: str = ""


Layer = Points | Line | Lines | Bars | Cells | Rule | Span


@dataclass(frozen=True)
class Panel:
    """Two axes and what is drawn on them.

    Attributes:
        x, y: the axes.
        layers: the first is at the bottom.
        title: what this one shows among the others; empty where it is the only one.
    """

    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    title: str = ""


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes:
        name: of its file without the ending, and of its place in a page: lower case, `-` or `_`.
        title: what one sees.
        alt: the finding, in words, for those who do not see it.
        note: n, the kind of interval or band with its confidence, and how it could mislead; one to
            three sentences under the picture.
        panels: row by row.
        columns: panels beside each other, where there is room.
    """

    name: str
    title: str
    alt: str
    note: str
    panels: tuple[Panel, ...]
    columns: int = 1
