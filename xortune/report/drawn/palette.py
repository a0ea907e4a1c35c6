"""The colours of figures: one for each role, readable on light and on dark ground alike.

A mark keeps its colour when a page goes dark, so that a figure is drawn once and words such as "the
blue line" stay true. What is text has the colours of its ground.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xortune.report.plot import Role

__all__ = [
    "COLOURS",
    "GRID",
    "GROUNDS",
    "LINES",
    "RULE",
    "SCALES",
    "SPAN",
    "Ground",
    "Scale",
    "at",
    "contrast",
    "on",
    "translucent",
]

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
