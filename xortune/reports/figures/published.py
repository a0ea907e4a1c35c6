"""Figures of a run beside a published table: where they agree, and how far apart they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from xortune.comparisons.reference import Comparison
from xortune.core.formats import count, measured, number, plain, value
from xortune.reports.figures.labels import KEY, LONGEST, MOST, RULE, clipped, short_key, thinned
from xortune.reports.plot import Axis, Layer, Line, Panel, Plot, Points, Rule
from xortune.reports.words import points, points_interval

MOST_BARS, MOST_ROWS = 100, 20
"""Cells with bars: of more they hide everything. Rows of the figure of differences."""


def agreement(comparison: Comparison) -> Plot:
    """The run's success rate over the table's, one point for each cell.

    Args:
        comparison: of a run with a table.
    """
    cells, told = comparison.cells, comparison.summary
    apart, alike = cells[cells["differs"]], cells[~cells["differs"]]
    kept = thinned(alike["difference"].to_numpy())
    with_bars = len(cells) <= MOST_BARS
    layers: list[Layer] = [Line("equal rates", (0.0, 1.0), (0.0, 1.0), role="muted", dashed=True)]
    for found, differs in ((alike.iloc[kept], False), (apart, True)):
        if len(found):
            layers.append(_cells(comparison, found, differs=differs, bars=differs or with_bars))
    name = plain(comparison.reference.path.name)
    return Plot(
        name="agreement",
        title=f"{told.differ:,} of {count(told.cells, 'cell')} "
        f"{'differs' if told.differ == 1 else 'differ'} from the table beyond chance",
        alt=_alt(comparison),
        note=_note(comparison, with_bars=with_bars, drawn=len(kept), others=len(alike)),
        panels=(
            Panel(
                Axis(f"success rate in {clipped(name, LONGEST)}", "rate", (0.0, 1.0)),
                Axis("success rate in the run", "rate", (0.0, 1.0)),
                tuple(layers),
            ),
        ),
    )


def cell_differences(comparison: Comparison, top: int = MOST_ROWS) -> Plot:
    """The difference of success rates of the cells of the smallest p, with their intervals.

    Args:
        comparison: of a run with a table.
        top: how many cells.
    """
    shown = comparison.cells.head(max(top, 1))
    names = varied(comparison)
    rows = shown.to_dict("records")
    labels = tuple(f"{_label(row, names)} · {short_key(row['key'])}" for row in rows)
    layers: list[Layer] = [Rule("x", 0.0, "no difference")]
    for differs in (True, False):
        places = [place for place, row in enumerate(rows) if bool(row["differs"]) == differs]
        if places:
            own = [rows[place] for place in places]
            layers.append(
                Points(
                    "differs beyond chance" if differs else "not told apart",
                    x=tuple(100 * row["difference"] for row in own),
                    y=tuple(map(float, places)),
                    x_low=tuple(100 * row["difference_low"] for row in own),
                    x_high=tuple(100 * row["difference_high"] for row in own),
                    role="a" if differs else "muted",
                    marker="dot" if differs else "ring",
                    texts=tuple(_text(row, names) for row in own),
                )
            )
    first = rows[0]
    return Plot(
        name="cell-differences",
        title=_differences_title(len(shown), len(comparison.cells)),
        alt=f"The smallest p has {_text(first, names)}.",
        note=f"n = {_seeds(shown)}; Fisher's exact test of each cell, with Holm's correction over "
        f"{count(len(comparison.cells), 'cell')} at {number(100 * comparison.summary.alpha)} %. "
        "Bars are Newcombe's 95 % intervals, each for itself; the test decides, not the bar. "
        "Those shown were chosen by their p, so their differences look larger than they are.",
        panels=(
            Panel(
                Axis("success rate of the run minus the table's, percentage points"),
                Axis(
                    clipped(" · ".join([", ".join(map(plain, names)), "key"]), 2 * LONGEST),
                    "category",
                    categories=labels,
                ),
                tuple(layers),
            ),
        ),
    )


def varied(comparison: Comparison) -> list[str]:
    """The table's parameters that differ between cells; all of them if none does."""
    names = [name for name in comparison.parameters if name in comparison.reference.columns]
    return [n for n in names if comparison.cells[n].nunique(dropna=False) > 1] or names


def shown_value(given: Any) -> str:
    """A value of a frame or of a mapping; what a config does not have is empty in a frame."""
    if given is None or given is pd.NA or (isinstance(given, float) and math.isnan(given)):
        return "none"
    return value(given.item() if hasattr(given, "item") else given)


def _cells(comparison: Comparison, found: pd.DataFrame, *, differs: bool, bars: bool) -> Points:
    def column(name: str) -> tuple[float, ...]:
        return tuple(found[name].astype(float))

    names = varied(comparison)
    ends = ("reference_low", "reference_high", "low", "high") if bars else ()
    x_low, x_high, y_low, y_high = map(column, ends) if ends else ((),) * 4
    return Points(
        "differs beyond chance" if differs else "not told apart",
        x=column("reference_rate"),
        y=column("rate"),
        x_low=x_low,
        x_high=x_high,
        y_low=y_low,
        y_high=y_high,
        role="a" if differs else "muted",
        marker="dot" if differs else "ring",
        texts=tuple(_text(row, names) for row in found.to_dict("records")),
    )


def _label(row: dict[Any, Any], names: Sequence[str]) -> str:
    """The values that tell a cell from others, as far as there is room."""
    return clipped(", ".join(shown_value(row[name]) for name in names), LONGEST - KEY - 3)


def _text(row: dict[Any, Any], names: Sequence[str]) -> str:
    low, high = row["difference_low"], row["difference_high"]
    values = ", ".join(f"{plain(name)} {shown_value(row[name])}" for name in names)
    rate = measured(row["rate"], row["low"], row["high"])
    theirs = measured(row["reference_rate"], row["reference_low"], row["reference_high"])
    return (
        f"{clipped(values, 300)}: {row['k']:,} of {row['n']:,} ({rate}) in the run, "
        f"{row['reference_k']:,} of {row['reference_n']:,} ({theirs}) in the table, difference "
        f"{points(row['difference'], low, high)} points {points_interval(low, high)}, "
        f"p {number(row['p'])}"
    )


def _alt(comparison: Comparison) -> str:
    told, cells = comparison.summary, comparison.cells
    within = int(((cells["difference_low"] <= 0) & (cells["difference_high"] >= 0)).sum())
    return (
        f"{told.differ:,} of {count(told.cells, 'cell')} "
        f"{'differs' if told.differ == 1 else 'differ'} beyond chance; the 95 % interval of the "
        f"difference holds 0 in {within:,} of them. "
        f"{told.below_alpha:,} have p below {number(told.alpha)}, where chance alone gives "
        f"{told.expected_low:,} to {told.expected_high:,}."
    )


def _note(comparison: Comparison, *, with_bars: bool, drawn: int, others: int) -> str:
    told = comparison.summary
    bars = "Bars are 95 % Wilson intervals of both rates, each for itself"
    parts = [
        f"n = {_seeds(comparison.cells)}; Fisher's exact test of each cell, with Holm's correction "
        f"over {count(told.cells, 'cell')} at {number(100 * told.alpha)} %.",
        f"{bars}." if with_bars else f"{bars}, of cells that differ.",
    ]
    if drawn < others:
        parts.append(
            f"Of {others:,} others {drawn:,} are drawn: {RULE.format(parts=MOST // 4)}, by p."
        )
    parts.append("What lies close to the line is not shown to be equal.")
    return " ".join(parts)


def _seeds(cells: pd.DataFrame) -> str:
    """How many seeds are behind each cell, in the run and in the table."""
    return " and ".join(
        f"{_range(cells[name])} seeds in the {where}"
        for name, where in (("n", "run"), ("reference_n", "table"))
    )


def _range(sizes: pd.Series) -> str:
    low, high = f"{sizes.min():,}", f"{sizes.max():,}"
    return low if low == high else f"{low} to {high}"


def _differences_title(shown: int, cells: int) -> str:
    if shown < cells:
        return (
            f"How far apart run and table are: the {shown:,} of {cells:,} cells with the smallest p"
        )
    return f"How far apart run and table are, in {count(cells, 'cell')}"
