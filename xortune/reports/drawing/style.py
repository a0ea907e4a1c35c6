"""Colours, labels and sizes that both ways of drawing share."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from xortune.core.formats import plain
from xortune.reports.plot import Axis, Bars, Cells, Line, Lines, Panel, Plot, Points, Role

# -------------------------------------------------------------------------------------------------
# The colours of figures: one for each role, readable on light and on dark ground alike.
#
# A mark keeps its colour when a page goes dark, so that a figure is drawn once and words such as
# "the blue line" stay true. What is text has the colours of its ground.

# Okabe and Ito's colours (Color Universal Design, 2008), each moved until it has a contrast of 3
# to 1 with both grounds (WCAG 2.2, 1.4.11), and apart from the others by as much as this leaves,
# also for those who do not see red, green or blue.
COLOURS: Mapping[Role, str] = {
    "a": "#0072b2",
    "b": "#ee4a10",
    "c": "#049145",
    "d": "#bd6497",
    "e": "#ad932e",
    "f": "#489ac7",
    "best": "#9724eb",
    "muted": "#767676",
    "solved": "#0072b2",
    "failed": "#ee4a10",
}


@dataclass(frozen=True)
class Ground:
    """What is behind a figure, and what is written on it.

    Attributes:
        paper: behind it.
        ink: text, with a contrast of 7 to 1 at least.
        raised: behind text that lies above marks, with a contrast of 7 to 1 as well.
    """

    paper: str
    ink: str
    raised: str


GROUNDS: Mapping[Literal["light", "dark"], Ground] = {
    "light": Ground(paper="#ffffff", ink="#1f2328", raised="#f3f4f6"),
    "dark": Ground(paper="#15181c", ink="#e6e8eb", raised="#2a2f36"),
}

# Grey that lies over either ground.
GRID = "rgba(128,128,128,0.22)"
RULE = "#767676"
SPAN = "rgba(128,128,128,0.18)"

Scale = tuple[tuple[float, str], ...]
"""Colours at places from 0 to 1; between them each channel goes in a straight line."""

_CIVIDIS = (
    *("#00224e", "#123570", "#3b496c", "#575d6d", "#707173"),
    *("#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"),
)

SCALES: Mapping[Literal["rate", "difference", "class"], Scale] = {
    # Nuñez, Anderton and Renslow (2018), PLOS ONE 13(7): the same with any colour vision.
    "rate": tuple((place / 9, colour) for place, colour in enumerate(_CIVIDIS)),
    "difference": (
        (0.0, "#a63603"),
        (0.25, "#f0a36f"),
        (0.5, "#f4f4f4"),
        (0.75, "#7db8dd"),
        (1.0, "#08518c"),
    ),
    "class": ((0.0, "#c9520a"), (0.5, "#fbe0cf"), (0.5, "#d3e7f5"), (1.0, "#0067a3")),
}

LINES: Scale = ((0.0, "#ee4a10"), (0.5, "#8a8a8a"), (1.0, "#0072b2"))
"""For thin lines, which need a contrast with both grounds at every place."""


def at(scale: Scale, place: float) -> str:
    """The colour at a place in [0, 1]; where two are at one place, the second."""
    for (low, first), (high, second) in zip(reversed(scale[:-1]), reversed(scale[1:]), strict=True):
        if place >= low and high > low:
            share = min(1.0, (place - low) / (high - low))
            pairs = zip(_channels(first), _channels(second), strict=True)
            return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)
    return scale[0][1]


def on(colour: str) -> str:
    """Black or white, whichever is the easier to read on it: 4.5 to 1 at least."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, colour))


def translucent(colour: str, share: float) -> str:
    """The colour with so much of it left, as CSS has it."""
    red, green, blue = _channels(colour)
    return f"rgba({red},{green},{blue},{share:g})"


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast of two colours, from 1 to 21."""
    low, high = sorted((_luminance(_channels(one)), _luminance(_channels(other))))
    return (high + 0.05) / (low + 0.05)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(channels: Sequence[int]) -> float:
    """WCAG 2.2's relative luminance, in [0, 1]."""
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in channels)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# -------------------------------------------------------------------------------------------------
# Labels that fit: shortened in the middle, broken into lines, never read as markup.

WRITTEN = 14
"""Signs of what is written beside a point."""


def shortened(label: str, most: int) -> str:
    """The label on one line of at most so many signs: its middle goes first.

    Configs begin alike and differ at the end, names the other way round.
    """
    label = plain(label)
    if len(label) <= most:
        return label
    kept = most - 1
    return f"{label[: kept - kept // 2]}…{label[len(label) - kept // 2 :]}"


def lines(text: str, width: int) -> list[str]:
    """The text in lines of at most so many signs; lines that it has stay lines."""
    found = []
    for line in text.splitlines():
        found += textwrap.wrap(plain(line), width) or [""]
    return found


# -------------------------------------------------------------------------------------------------
# What both ways of drawing need to know of a panel: sizes and places, no colours.

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
