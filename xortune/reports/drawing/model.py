"""Figures as values: a `Plot` has panels; a panel has two axes, and layers from bottom to top.

A series has a role, and a role has the same colour on a light and on a dark background.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from xortune.core.formats import plain
from xortune.core.outcome import Status

Floats = tuple[float, ...]
Ends = tuple[float, float]

Meaning = Literal[
    "best", "other", "neutral", "solved", "failed", "proven", "refuted", "crashed", "stopped",
    "void", "pattern", "all_zero", "all_one", "diverged", "pruned",
]  # fmt: skip
Place = Literal["a", "b", "c", "d", "e", "f"]
Role = Meaning | Place

# Each has a contrast of 3 to 1 on the light and on the dark page (WCAG 2.2, 1.4.11). Those that one
# figure shows are as distinct as this allows, also with each kind of colour blindness.
COLOURS: Mapping[Role, str] = {
    # One meaning has one colour in all figures, and in the tables of pages.
    "best": "#9724eb",  # the first configuration
    "other": "#0072b2",  # what was measured in the search
    "neutral": "#767676",  # the ground on which others stand out; nothing is known
    "failed": "#ee4a10",
    "proven": "#049145",  # on fresh seeds, or by a bound
    "refuted": "#e00038",
    "stopped": "#ad932e",  # paused
    "void": "#6e6935",  # without an outcome
    "pattern": "#1299a5",  # another frequent wrong one
    # How a seed ended.
    **{cast("Role", one.label): one.ending.colour for one in Status if one.ending.colour},
    # Lines of several things of one sort, by their place. Okabe and Ito's colours (Color Universal
    # Design, 2008), changed for the contrast.
    "a": "#0072b2",
    "b": "#ee4a10",
    "c": "#049145",
    "d": "#bd6497",
    "e": "#ad932e",
    "f": "#489ac7",
}

MANY_MARKS = 150  # of one series: they are drawn smaller, or they would be a slab

Scale = Literal["rate", "difference", "class", "lines"]


def _even(colours: str) -> tuple[tuple[float, str], ...]:
    """Evenly spaced stops of a scale."""
    stops = colours.split()
    return tuple((place / (len(stops) - 1), colour) for place, colour in enumerate(stops))


SCALES: Mapping[Scale, tuple[tuple[float, str], ...]] = {
    # Nuñez, Anderton and Renslow (2018), PLOS ONE 13(7): the same with any colour vision.
    "rate": _even(
        "#00224e #123570 #3b496c #575d6d #707173 #8a8678 #a59c74 #c3b369 #e1cc55 #fee838"
    ),
    "difference": _even("#a63603 #f0a36f #f4f4f4 #7db8dd #08518c"),
    "class": ((0.0, "#c9520a"), (0.5, "#fbe0cf"), (0.5, "#d3e7f5"), (1.0, "#0067a3")),
    # Thin lines need contrast on both backgrounds at every stop.
    "lines": _even("#ee4a10 #d55a2f #bc6a4d #a37a6c #8a8a8a #678494 #457e9e #2278a8 #0072b2"),
}
"""The stops of each scale: positions from 0 to 1, and their colours."""

LABEL = 58  # characters of a line of a label

RATES = (-0.02, 1.02)  # limits of an axis of rates that leave room for marks at 0 % and 100 %


@dataclass(frozen=True)
class Axis:
    """One axis; its label has the unit.

    Attributes:
        kind: `rate` is a share in [0, 1], shown in percent; `log` a positive number; on a
            `category` axis the numbers 0, 1, ... are the positions of `categories`.
        limits: the ends of the axis; None: those of the data.
        categories: labels, the first at the top of a vertical axis and at the left of a
            horizontal one.
        whole: whether all its values are whole numbers.
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
    """One point of a series.

    Attributes:
        x_ends, y_ends: its interval, or the ends of a bar.
        text: shown on hover.
        key: of the config to which it links.
    """

    x: float
    y: float
    x_ends: Ends | None = None
    y_ends: Ends | None = None
    text: str = ""
    key: str = ""


@dataclass(frozen=True)
class Series:
    """Marks that look the same.

    Attributes:
        label: in the legend; empty: it has no entry.
        kind: `points` have bars for their intervals; a `line` goes from mark to mark, `steps` stay
            until the next x, and both have a band; `bars` are horizontal if marks have `x_ends`.
        role: decides the colour.
        marker: of points.
        dashed: whether a line is dashed: a guide, or a second line of the same role.
        written: whether the texts, which must be short, are written beside the points.
    """

    label: str
    marks: tuple[Mark, ...]
    kind: Literal["points", "line", "steps", "bars"] = "points"
    role: Role = "other"
    marker: Literal["dot", "ring", "diamond"] = "dot"
    dashed: bool = False
    written: bool = False


@dataclass(frozen=True)
class Lines:
    """Parallel coordinates: many thin lines over x = 0, 1, ..., each coloured by a value.

    Attributes:
        ys: one row for each line.
        values: a share in [0, 1] that colours each line; its name is `value_label`.
        texts: of each line, shown on hover.
        keys: of the config of each line.
        faint: whether the lines are only the ground on which others stand out.
    """

    ys: tuple[Floats, ...]
    values: Floats
    value_label: str
    texts: tuple[str, ...]
    keys: tuple[str, ...]
    scale: Scale = "lines"
    faint: bool = False


@dataclass(frozen=True)
class Cells:
    """A matrix of values: a heat map or a surface.

    Attributes:
        x, y: the middles of columns and rows, evenly spaced.
        values: shape (rows, columns), in the order of y; NaN: an empty cell.
        scale: `rate` runs from 0 to 1; `difference` from -1 to 1, with 0 in the middle;
            `class` is rate with a sharp edge at one half (a decision surface).
        texts: shape (rows, columns): written into the cells; may be empty.
        notes: shape (rows, columns): shown on hover; may be empty.
    """

    x: Floats
    y: Floats
    values: tuple[Floats, ...]
    value_label: str
    scale: Scale = "rate"
    texts: tuple[tuple[str, ...], ...] = ()
    notes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Guide:
    """A thin line across the panel at one value of an axis, or a shaded range.

    Attributes:
        label: above an upright line, in the legend for another one or for a range; may be empty.
        to: the end of the range; None for a line.
    """

    axis: Literal["x", "y"]
    at: float
    label: str = ""
    to: float | None = None


Layer = Series | Lines | Cells | Guide


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
        name: of its file, and of its element in a page: lower case, `-` or `_`.
        title: the finding in one line.
        alt: the finding in words, for those who do not see the figure.
        note: n, the kind of interval or band with its confidence, and how it could mislead. Its
            first sentence is the caption under the picture; the others are folded away.
        panels: row by row.
        columns: panels in each row.
        is_plain: whether it is drawn without its title and its note, as for a paper.
    """

    name: str
    title: str
    alt: str
    note: str
    panels: tuple[Panel, ...]
    columns: int = 1
    is_plain: bool = False

    @property
    def caption(self) -> tuple[str, str]:
        """The first sentence of the note, and the others."""
        sentence, stop, rest = self.note.partition(". ")
        return (f"{sentence}.", rest) if stop else (self.note, "")

    @property
    def rows(self) -> list[tuple[Panel, ...]]:
        """The panels of each row."""
        starts = range(0, len(self.panels), self.columns)
        return [self.panels[start : start + self.columns] for start in starts]

    @property
    def coloured(self) -> Cells | Lines | None:
        """A layer that is coloured by a value; all such layers of a figure share its scale."""
        layers = (layer for panel in self.panels for layer in panel.layers)
        return next((layer for layer in layers if isinstance(layer, Cells | Lines)), None)


def span_of(layer: Cells | Lines) -> Ends:
    """The values at the ends of its scale."""
    return (-1.0, 1.0) if layer.scale == "difference" else (0.0, 1.0)


def shortened(label: str, most: int) -> str:
    """The label on one line of at most `most` characters.

    It loses its middle: configs differ at the end, names at the beginning.
    """
    label = plain(label)
    if len(label) <= most:
        return label
    kept = most - 1
    return f"{label[: kept - kept // 2]}…{label[len(label) - kept // 2 :]}"


def label_lines(label: str, width: int = LABEL) -> list[str]:
    """The label of a row, on at most two lines of `LABEL` characters."""
    return wrapped(shortened(label, 2 * LABEL - 8), width) or [""]


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` characters."""
    return textwrap.wrap(plain(text), width)
