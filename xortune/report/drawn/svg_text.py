"""The SVG that matplotlib writes, in three quarters of its bytes.

A run has ten figures, some of a thousand points, and matplotlib gives each point its style and six
decimals. The picture is the same to a two-hundredth of a point of type.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter

__all__ = ["compact"]

_TAG = re.compile(r"<[A-Za-z][^>]*>")
"""Of an element: matplotlib escapes `<` and `>` everywhere else."""

_PLACE = re.compile(r'( d| x| y)="([^"]*)|(translate)\(([^)]*)')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_STYLE = re.compile(r' style="([^"]*)"')
_SHEET = "*{stroke-linejoin: round; stroke-linecap: butt}"
"""What matplotlib says of all elements; what is said of a class goes before it."""

_OFTEN = 4
"""Elements of one style, from which on it is worth a name."""


def compact(svg: str) -> str:
    """Round places to 0.01 points, name the styles that many share, indent nothing."""
    # Matplotlib ends lines with blanks, which some tools would strip from a committed file.
    svg = "\n".join(line.strip() for line in svg.splitlines()) + "\n"
    counted = Counter(style for tag in _TAG.findall(svg) for style in _STYLE.findall(tag))
    # Named by what they are: in a page with several figures each name still means one style.
    names = {
        style: f"s{hashlib.sha256(style.encode()).hexdigest()[:6]}"
        for style, often in counted.items()
        if often >= _OFTEN and _SHEET in svg
    }

    def named(found: re.Match[str]) -> str:
        return f' class="{names[found[1]]}"' if found[1] in names else found[0]

    svg = _TAG.sub(lambda tag: _STYLE.sub(named, _PLACE.sub(_rounded, tag[0])), svg)
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    return svg.replace(_SHEET, _SHEET + rules, 1)


def _rounded(place: re.Match[str]) -> str:
    return _LONG.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), place[0])
