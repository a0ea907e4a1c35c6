"""Figures as values: what is drawn, with its units and what one sees in it; `draw` draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Curves", "Dots", "Line", "Mark", "Series"]


@dataclass(frozen=True)
class Line:
    """A line with its band.

    Attributes:
        label: in the legend.
        x, y, low, high: of the same length; low and high bound the band.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Mark:
    """A vertical line at one x, with its label."""

    x: float
    label: str


@dataclass(frozen=True)
class Curves:
    """Rates over a number.

    Attributes:
        name: of its file, without the ending.
        title: what one sees.
        alt: the finding, in words, for those who do not see it.
        x_label: with the unit.
        x_log: whether the axis is logarithmic.
        y_label: with the unit; y is a rate in [0, 1], drawn in percent.
        lines: one or more.
        marks: values of x to point at.
    """

    name: str
    title: str
    alt: str
    x_label: str
    x_log: bool
    y_label: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Series:
    """A rate with its interval for some of the rows of `Dots`.

    Attributes:
        label: in the legend.
        marker: `dot` or `ring`.
        rows: the places of the rows, from 0 at the top.
        x, low, high: rates in [0, 1], one for each of `rows`.
    """

    label: str
    marker: Literal["dot", "ring"]
    rows: tuple[int, ...]
    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Dots:
    """Rates with intervals, one row below the other.

    Attributes:
        name: of its file, without the ending.
        title: what one sees.
        alt: the finding, in words.
        x_label: with the unit; x is a rate in [0, 1], drawn in percent.
        rows: labels, from the top.
        series: each beside the others in every row.
        gaps: rows above which a new group begins.
    """

    name: str
    title: str
    alt: str
    x_label: str
    rows: tuple[str, ...]
    series: tuple[Series, ...]
    gaps: tuple[int, ...] = ()
