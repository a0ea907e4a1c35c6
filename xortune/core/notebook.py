"""What a notebook shows of a value: a sentence and a small table, as HTML that is escaped.

`Run`, `Outcome` and the comparisons have a `_repr_html_`, so this stands above them: of a report,
which knows them, they can know nothing. What it needs is pandas alone, when something is shown.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from xortune.core.formats import decimals, hundredths, rounded_down, rounded_up

if TYPE_CHECKING:
    import pandas as pd


FIRST = 10
"""Rows that are shown; the rest is counted."""

WIDEST = 60  # signs of a cell

_NO_FORMULAS = "tex2jax_ignore mathjax_ignore"
"""Classes: neither MathJax 2 nor 3 reads what stands between $ as a formula."""

ENDS = {
    "rate": ("low", "high"),
    "reference_rate": ("reference_low", "reference_high"),
    "difference": ("difference_low", "difference_high"),
}
"""The columns of rates that are estimates, and of their intervals."""

SHARES = frozenset({"share"})
"""The columns of shares that are no estimates: one decimal."""


def as_html(sentence: str, rows: pd.DataFrame | None = None) -> str:
    """The sentence, and the first rows below it.

    Args:
        sentence: plain text.
        rows: rates and their intervals, known by the columns' names, are shown in percent, in as
            many decimals as the interval supports, lower bounds rounded down and upper ones up;
            what is missing is empty.
    """
    import pandas as pd

    parts = [f'<p class="{_NO_FORMULAS}">{html.escape(sentence)}</p>']
    if rows is not None and len(rows):
        first = rows.head(FIRST)
        shown = first.assign(**_in_percent(first))
        with pd.option_context("display.max_colwidth", WIDEST):
            parts.append(
                shown.to_html(
                    classes=_NO_FORMULAS,
                    index=False,
                    border=0,
                    na_rep="",
                    float_format="{:.4g}".format,
                )
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
        digits = [decimals(*pair) for pair in zip(rows[low], rows[high], strict=True)]
        for column, rounded in ((name, None), (low, rounded_down), (high, rounded_up)):
            pairs = zip(rows[column], digits, strict=True)
            found[column] = [_percent(share, places, rounded) for share, places in pairs]
    return found


def _percent(
    share: float, digits: int, outwards: Callable[[float, int], float] | None = None
) -> str:
    """A share; as an end of an interval it is rounded outwards."""
    if math.isnan(share):
        return ""
    if outwards is None:
        text = hundredths(share, digits)
    else:
        text = f"{outwards(100 * share, digits) + 0.0:.{digits}f}"
    return f"{text}\N{NO-BREAK SPACE}%"
