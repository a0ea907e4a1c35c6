"""What a notebook shows of a value: a sentence and a small table, as HTML that is escaped.

`Run`, `Outcome` and the comparisons have a `_repr_html_`, so this stands above them: of a report,
which knows them, they can know nothing, nor of its `format`. A test holds what is shown here
against what that shows. What it needs is pandas alone, when something is shown.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIRST", "as_html"]

FIRST = 10
"""Rows that are shown; the rest is counted."""

WIDEST = 60  # signs of a cell

ENDS = {
    "rate": ("low", "high"),
    "reference_rate": ("reference_low", "reference_high"),
    "difference": ("difference_low", "difference_high"),
}
"""The columns of rates that are estimates, and of their intervals."""

SHARES = frozenset({"share"})
"""The columns of shares that are no estimates: one decimal."""

MAX_DECIMALS = 2


def as_html(sentence: str, rows: pd.DataFrame | None = None) -> str:
    """The sentence, and the first rows below it.

    Args:
        sentence: plain text.
        rows: rates and their intervals, known by the columns' names, are shown in percent, in as
            many decimals as the interval supports, lower bounds rounded down and upper ones up;
            what is missing is empty.
    """
    import pandas as pd

    # Neither class lets MathJax read what stands between $ as a formula.
    parts = [f'<p class="tex2jax_ignore mathjax_ignore">{html.escape(sentence)}</p>']
    if rows is not None and len(rows):
        first = rows.head(FIRST)
        shown = first.assign(**_in_percent(first))
        with pd.option_context("display.html.use_mathjax", False, "display.max_colwidth", WIDEST):
            parts.append(
                shown.to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)
            )
        if len(rows) > FIRST:
            parts.append(f"<p>The first {FIRST} of {len(rows):,} rows.</p>")
    # A lone surrogate, as of a file's name, is no UTF-8.
    return "\n".join(parts).encode("utf-8", "backslashreplace").decode()


def _in_percent(rows: pd.DataFrame) -> Mapping[Any, list[str]]:
    """The columns of rates, shares and intervals, as they are shown."""
    found = {name: [_percent(share, 1) for share in rows[name]] for name in rows if name in SHARES}
    for name, (low, high) in ENDS.items():
        if not {name, low, high} <= set(rows):
            continue
        digits = [_decimals(*pair) for pair in zip(rows[low], rows[high], strict=True)]
        for column, rounded in ((name, None), (low, math.floor), (high, math.ceil)):
            pairs = zip(rows[column], digits, strict=True)
            found[column] = [_percent(share, places, rounded) for share, places in pairs]
    return found


def _decimals(low: float, high: float) -> int:
    """As `report.format.decimals`."""
    half = 50 * (high - low)
    if not half > 0:
        return 1
    power = math.floor(math.log10(half))
    first_three = round(100 * half / 10.0**power)
    return min(max((1 if first_three <= 354 else 0) - power, 0), MAX_DECIMALS)


def _percent(share: float, digits: int, rounded: Any = None) -> str:
    if math.isnan(share):
        return ""
    shown = 100 * share
    if rounded is not None:  # the inner round() undoes binary dust such as 970.0000000001
        shown = rounded(round(shown * 10**digits, 6)) / 10**digits
    text, unit = f"{round(shown, digits) + 0.0:.{digits}f}", 10.0**-digits
    if rounded is None and share < 1 and float(text) >= 100:  # only all is 100 %
        text = f"> {100 - unit:.{digits}f}"
    elif rounded is None and share > 0 and float(text) == 0:
        text = f"< {unit:.{digits}f}"
    return f"{text}\N{NO-BREAK SPACE}%"
