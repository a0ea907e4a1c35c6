"""Figures as values: a `Plot` has panels, a panel has two axes and layers, drawn in their order.

`reports.drawing` draws a plot with Plotly and with matplotlib. A layer has a role, and a role has
one colour on light and on dark ground.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from xortune.core.formats import plain

Floats = tuple[float, ...]
Ends = tuple[float, float]

Role = Literal["a", "b", "c", "d", "e", "f", "best", "muted"]

# Okabe and Ito's colours (Color Universal Design, 2008), each moved until it has a contrast of 3
# to 1 with a light and with a dark ground (WCAG 2.2, 1.4.11), and apart from the others by as much
# as this leaves, also for those who do not see red, green or blue.
COLOURS: Mapping[Role, str] = {
    "a": "#0072b2",
    "b": "#ee4a10",
    "c": "#049145",
    "d": "#bd6497",
    "e": "#ad932e",
    "f": "#489ac7",
    "best": "#9724eb",
    "muted": "#767676",
}

Scale = Literal["rate", "difference", "class", "lines"]


def _even(colours: str) -> tuple[tuple[float, str], ...]:
    """Colours at places from 0 to 1, evenly spaced."""
    found = colours.split()
    return tuple((place / (len(found) - 1), colour) for place, colour in enumerate(found))


SCALES: Mapping[Scale, tuple[tuple[float, str], ...]] = {
    # Nuñez, Anderton and Renslow (2018), PLOS ONE 13(7): the same with any colour vision.
    "rate": _even(
        "#00224e #123570 #3b496c #575d6d #707173 #8a8678 #a59c74 #c3b369 #e1cc55 #fee838"
    ),
    "difference": _even("#a63603 #f0a36f #f4f4f4 #7db8dd #08518c"),
    "class": ((0.0, "#c9520a"), (0.5, "#fbe0cf"), (0.5, "#d3e7f5"), (1.0, "#0067a3")),
    # Thin lines need a contrast with both grounds at every place.
    "lines": _even("#ee4a10 #d55a2f #bc6a4d #a37a6c #8a8a8a #678494 #457e9e #2278a8 #0072b2"),
}
"""Colours at places from 0 to 1."""

RATES = (-0.02, 1.02)  # the limits of an axis of rates, so that a mark at 0 % or 100 % is whole


@dataclass(frozen=True)
class Axis:
    """One axis; its label has the unit.

    Attributes:
        kind: `rate` is a share in [0, 1], shown in percent; `log` a positive number; on a
            `category` axis the numbers 0, 1, ... are the places of `categories`.
        limits: from where to where it reaches; None: as far as the data.
        categories: labels, the first at the top of a vertical axis and at the left of a
            horizontal one.
        whole: whether only whole numbers are meant.
    """

    label: str
    kind: Literal["number", "log", "rate", "category"] = "number"
    limits: Ends | None = None
    categories: tuple[str, ...] = ()
    whole: bool = False

    @property
    def ends(self) -> Ends | None:
        """`limits`, or those of the categories."""
        return (-0.5, len(self.categories) - 0.5) if self.categories else self.limits


class Mark(NamedTuple):
    """One place of a series; a series is a table of them.

    Attributes:
        x_ends, y_ends: the interval there; of a bar from where to where it reaches.
        text: more about it, shown where one points at it.
        key: of the config that it is, to which it leads.
    """

    x: float
    y: float
    x_ends: Ends | None = None
    y_ends: Ends | None = None
    text: str = ""
    key: str = ""


@dataclass(frozen=True)
class Series:
    """Marks of one look.

    Attributes:
        label: in the legend; empty: not in it.
        kind: `points` have bars for their intervals; a `line` goes from mark to mark, `steps` stay
            until the next x, and both have a band; `bars` lie if their marks have `x_ends`.
        role: which series it is among the others.
        marker: of points; how they are filled.
        dashed: of a line; whether it is a help to the eye, or a second one of the same role.
        written: whether the texts, which are short then, stand beside the points.
    """

    label: str
    marks: tuple[Mark, ...]
    kind: Literal["points", "line", "steps", "bars"] = "points"
    role: Role = "a"
    marker: Literal["dot", "ring", "diamond"] = "dot"
    dashed: bool = False
    written: bool = False


@dataclass(frozen=True)
class Lines:
    """Parallel coordinates: many thin lines over x = 0, 1, ..., each coloured by a value.

    Attributes:
        ys: one row for each line.
        values: what colours each line, a share in [0, 1], which is called `value_label`.
        texts: about each line.
        keys: of the config that each line is.
    """

    ys: tuple[Floats, ...]
    values: Floats
    value_label: str
    texts: tuple[str, ...]
    keys: tuple[str, ...]
    scale: Scale = "lines"


@dataclass(frozen=True)
class Cells:
    """A matrix of values: a heat map or a surface.

    Attributes:
        x, y: the middles of columns and rows, evenly spaced.
        values: shape (rows, columns), from the lowest y; NaN: an empty cell.
        scale: `rate` runs from 0 to 1; `difference` from -1 to 1, with 0 in the middle;
            `class` is rate with a sharp edge at one half (a decision surface).
        texts: shape (rows, columns): written into the cells; empty: nothing.
        notes: shape (rows, columns): shown where one can point at a cell; empty: nothing.
    """

    x: Floats
    y: Floats
    values: tuple[Floats, ...]
    value_label: str
    scale: Scale = "rate"
    texts: tuple[tuple[str, ...], ...] = ()
    notes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Rule:
    """A thin line across the panel at one value of an axis, or a shaded range.

    Attributes:
        label: of a line beside it, of a range in the legend; empty: none.
        to: the end of the range; None: it is a line.
    """

    axis: Literal["x", "y"]
    at: float
    label: str = ""
    to: float | None = None


Layer = Series | Lines | Cells | Rule


@dataclass(frozen=True)
class Panel:
    """Two axes and what is drawn on them, the first layer at the bottom.

    Its title says what it shows among the others; it is empty where it is the only one.
    """

    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    title: str = ""

    def has(self, kind: type[Layer]) -> bool:
        """Whether a layer is of this kind."""
        return any(isinstance(layer, kind) for layer in self.layers)


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
        columns: panels beside each other.
    """

    name: str
    title: str
    alt: str
    note: str
    panels: tuple[Panel, ...]
    columns: int = 1

    @property
    def rows(self) -> list[tuple[Panel, ...]]:
        """The panels beside each other."""
        starts = range(0, len(self.panels), self.columns)
        return [self.panels[start : start + self.columns] for start in starts]

    @property
    def coloured(self) -> Cells | Lines | None:
        """A layer that is coloured by a value; all others of the figure have its scale."""
        layers = (layer for panel in self.panels for layer in panel.layers)
        return next((layer for layer in layers if isinstance(layer, Cells | Lines)), None)


def span_of(layer: Cells | Lines) -> Ends:
    """From which value to which its scale reaches."""
    return (-1.0, 1.0) if layer.scale == "difference" else (0.0, 1.0)


def shortened(label: str, most: int) -> str:
    """The label on one line of at most so many signs: its middle goes first.

    Configs begin alike and differ at the end, names the other way round.
    """
    label = plain(label)
    if len(label) <= most:
        return label
    kept = most - 1
    return f"{label[: kept - kept // 2]}…{label[len(label) - kept // 2 :]}"


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most so many signs."""
    return textwrap.wrap(plain(text), width)
