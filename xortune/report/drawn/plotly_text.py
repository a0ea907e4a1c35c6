"""Numbers and words as plotly.js takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from xortune.report.drawn.geometry import finite
from xortune.report.drawn.words import lines, shortened

__all__ = [
    "Json",
    "broken",
    "escaped",
    "html",
    "keys",
    "lean",
    "leans",
    "legend_label",
    "named",
    "texts",
]

Json = dict[str, Any]

HOVER = 60  # signs to a line


def escaped(text: str) -> str:
    """As plotly.js shows it: it takes text for a little HTML, and what is between $ for LaTeX."""
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("$", "&#36;")):
        text = text.replace(sign, instead)
    return text


def legend_label(label: str) -> str:
    """A label short enough for a legend on a phone."""
    return escaped(shortened(label, 44))


def lean(value: float, digits: int = 6) -> float | int | None:
    """The number with so many digits, whole if it is; None where it is none."""
    if not finite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def texts(found: Sequence[str]) -> Json:
    """What is shown where one points at each mark; nothing if no mark has a text."""
    return {"hovertext": list(found), "hoverinfo": "text"} if any(found) else {}


def html(text: str) -> str:
    """A text for where one points, in lines."""
    return broken(text, HOVER)


def broken(text: str, width: int) -> str:
    """The text in lines of at most so many signs."""
    return "<br>".join(escaped(line) for line in lines(text, width))


def keys(found: Sequence[str]) -> Json:
    """The configs that the marks lead to, for a click."""
    return {"customdata": list(found)} if found else {}


def named(label: str) -> Json:
    """The entry in the legend."""
    return {"name": legend_label(label), "showlegend": True} if label else {"showlegend": False}


def leans(values: Iterable[float], digits: int = 6) -> list[float | int | None]:
    """`lean` of each."""
    return [lean(value, digits) for value in values]
