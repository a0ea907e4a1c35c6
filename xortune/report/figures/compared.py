"""Figures of a comparison of runs: how far apart their success rates are, and who beats whom."""

from __future__ import annotations

import math

from xortune.comparison_runs import Pair, RunComparison
from xortune.report.comparison_words import (
    answer,
    headline,
    p_text,
    points,
    points_interval,
    sentence,
)
from xortune.report.drawn.words import shortened
from xortune.report.figures.labels import LONGEST, clipped
from xortune.report.format import count, number, plain
from xortune.report.plot import Axis, Cells, Layer, Panel, Plot, Points, Rule

__all__ = ["differences", "label_of", "short_label", "wins"]

HALF = (LONGEST - 3) // 2
"""Characters of one of two names in a label."""


def differences(comparison: RunComparison) -> Plot:
    """The difference of success rates of every two, with its interval; 0 is no difference."""
    apart = [pair for pair in comparison.pairs if pair.differs]
    layers: list[Layer] = [Rule("x", 0.0, "no difference")]
    for differs in (True, False):
        rows = [(row, p) for row, p in enumerate(comparison.pairs) if p.differs == differs]
        if rows:
            layers.append(_differences(comparison, rows, differs=differs))
    names = tuple(
        f"{short_label(comparison, pair.a)} − {short_label(comparison, pair.b)}"
        for pair in comparison.pairs
    )
    one = len(comparison.pairs) == 1
    told = f"{len(apart):,} of {count(len(comparison.pairs), 'pair')} told apart"
    return Plot(
        name="differences",
        title=f"How far the success rates are apart: {told}",
        alt=sentence(comparison, comparison.pairs[0]) if one else f"{headline(comparison)} {told}.",
        note=_tested(comparison)
        + " Bars are 95 % intervals (Newcombe's), each for itself; the test decides, not the bar.",
        panels=(
            Panel(
                Axis("difference of success rates, percentage points"),
                Axis("pair", "category", categories=names),
                tuple(layers),
            ),
        ),
    )


def wins(comparison: RunComparison) -> Plot:
    """Who solves more seeds than whom, after Holm's correction."""
    size = len(comparison.contestants)
    names = tuple(label_of(comparison, place) for place in range(size))
    values, texts, notes = [], [], []
    for row in range(size):
        cells = [_against(comparison, row, column) for column in range(size)]
        values.append(tuple(value for value, _, _ in cells))
        texts.append(tuple(text for _, text, _ in cells))
        notes.append(tuple(note for _, _, note in cells))
    edges = tuple(place - 0.5 for place in range(size + 1))
    return Plot(
        name="wins",
        title="Who solves more seeds than whom",
        alt=headline(comparison) if size > 2 else answer(comparison)[0],
        note=_tested(comparison)
        + " A cell is the rate of its row minus that of its column, in percentage points; where"
        " it is followed by a question mark the data cannot tell the two apart.",
        panels=(
            Panel(
                Axis("against", "category", categories=names),
                Axis("rate of", "category", categories=names),
                (
                    Cells(
                        edges,
                        edges,
                        tuple(values),
                        "difference of success rates",
                        scale="difference",
                        texts=tuple(texts),
                        notes=tuple(notes),
                    ),
                ),
            ),
        ),
    )


def _differences(
    comparison: RunComparison, rows: list[tuple[int, Pair]], *, differs: bool
) -> Points:
    pairs = [pair for _, pair in rows]
    return Points(
        "told apart" if differs else "not told apart",
        x=tuple(100 * pair.difference for pair in pairs),
        y=tuple(float(row) for row, _ in rows),
        x_low=tuple(100 * pair.low for pair in pairs),
        x_high=tuple(100 * pair.high for pair in pairs),
        role="a" if differs else "muted",
        marker="dot" if differs else "ring",
        texts=tuple(sentence(comparison, pair) for pair in pairs),
    )


def _against(comparison: RunComparison, row: int, column: int) -> tuple[float, str, str]:
    """Value, text and note of a cell."""
    if row == column:
        return math.nan, "", ""
    pair = comparison.pair(row, column)
    low, high, difference = pair.low, pair.high, pair.difference
    if row > column:
        low, high, difference = -high, -low, -difference
    text = points(difference, low, high)
    shown = f"+{text}" if difference > 0 else text
    note = f"{shown} points {points_interval(low, high)}, {p_text(pair.p_holm)}"
    return difference, shown if pair.differs else f"{shown} ?", note


def _tested(comparison: RunComparison) -> str:
    seeds = sorted({f"{pair.n_a:,}" for pair in comparison.pairs})
    kinds = {pair.shared for pair in comparison.pairs}
    tests = [
        text
        for shared, text in (
            (True, "exact McNemar tests on shared seeds"),
            (False, "Boschloo's exact tests on seeds that are not shared"),
        )
        if shared in kinds
    ]
    pairs = count(len(comparison.pairs), "pair")
    return (
        f"n = {' or '.join(seeds)} seeds each; {' and '.join(tests)}, two-sided, Holm over {pairs} "
        f"at {number(100 * comparison.alpha)} %."
    )


def short_label(comparison: RunComparison, place: int) -> str:
    """The name of a contestant, so short that two find room beside a figure."""
    return shortened(comparison.contestants[place].label, HALF)


def label_of(comparison: RunComparison, place: int) -> str:
    """The name of a contestant beside a figure."""
    return clipped(plain(comparison.contestants[place].label), LONGEST)
