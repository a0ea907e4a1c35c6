"""What a notebook shows of a value: a sentence and a small table, as HTML that is escaped.

`Run`, `Outcome` and the comparisons have a `_repr_html_`, so this stands above them: of a report,
which knows them, they can know nothing. What it needs is pandas alone, when something is shown.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIRST", "as_html"]

FIRST = 10
"""Rows that are shown; the rest is counted."""

WIDEST = 60  # signs of a cell
DOWN, UP = frozenset({"low", "low_a", "low_b"}), frozenset({"high", "high_a", "high_b"})
RATES = frozenset({"rate", "share", "difference", "reference_rate", "mean_difference"}) | DOWN | UP


def as_html(sentence: str, rows: pd.DataFrame | None = None) -> str:
    """The sentence, and the first rows below it.

    Args:
        sentence: plain text.
        rows: rates and their bounds, known by the columns' names, are shown in percent, lower
            bounds rounded down and upper ones up; what is missing is empty.
    """
    import pandas as pd

    # Neither class lets MathJax read what stands between $ as a formula.
    parts = [f'<p class="tex2jax_ignore mathjax_ignore">{html.escape(sentence)}</p>']
    if rows is not None and len(rows):
        first = rows.head(FIRST)
        shown = first.assign(
            **{name: first[name].map(_percent(name)) for name in first if name in RATES}
        )
        with pd.option_context("display.html.use_mathjax", False, "display.max_colwidth", WIDEST):
            parts.append(
                shown.to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)
            )
        if len(rows) > FIRST:
            parts.append(f"<p>The first {FIRST} of {len(rows):,} rows.</p>")
    # A lone surrogate, as of a file's name, is no UTF-8.
    return "\n".join(parts).encode("utf-8", "backslashreplace").decode()


def _percent(name: str) -> Any:
    rounded = math.floor if name in DOWN else math.ceil if name in UP else round

    def shown(share: float) -> str:
        # The inner round() undoes binary dust such as 970.0000000001.
        return (
            ""
            if math.isnan(share)
            else f"{rounded(round(1000 * share, 6)) / 10:.1f}\N{NO-BREAK SPACE}%"
        )

    return shown
