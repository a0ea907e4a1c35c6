"""Figures of a comparison of runs: how far apart they are, who beats whom, and how soon they solve.

How soon is shown as in rliable (Agarwal et al., 2021, NeurIPS 34): a performance profile, the
probability of improvement and the interquartile mean, of epochs to solve.
"""

from __future__ import annotations

import math

import numpy as np

from xortune.comparison_runs import Contestant, Pair, RunComparison
from xortune.comparison_speed import RESAMPLES, epochs_needed
from xortune.errors import InputError
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
from xortune.report.format import count, measured, number, plain
from xortune.report.plot import Axis, Cells, Layer, Line, Panel, Plot, Points, Role, Rule
from xortune.stats_bands import dkw_band

__all__ = ["differences", "profile", "wins"]

ROLES: tuple[Role, ...] = ("a", "b", "c", "d", "e", "f")

HALF = (LONGEST - 3) // 2
"""Characters of one of two names in a label."""

MOST_LINES = len(ROLES)
"""Contestants whose profiles can be told apart in one picture."""


def differences(comparison: RunComparison) -> Plot:
    """The difference of success rates of every two, with its interval; 0 is no difference."""
    apart = [pair for pair in comparison.pairs if pair.differs]
    layers: list[Layer] = [Rule("x", 0.0, "no difference")]
    for differs in (True, False):
        rows = [(row, p) for row, p in enumerate(comparison.pairs) if p.differs == differs]
        if rows:
            layers.append(_differences(comparison, rows, differs=differs))
    names = tuple(
        f"{_short(comparison, pair.a)} − {_short(comparison, pair.b)}" for pair in comparison.pairs
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
    names = tuple(_name(comparison, place) for place in range(size))
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


def profile(comparison: RunComparison) -> Plot:
    """How soon seeds are solved: the share solved by each epoch, and who solves them sooner.

    Raises:
        InputError: nobody counted epochs.
    """
    shown = comparison.contestants[:MOST_LINES]
    left = len(comparison.contestants) - len(shown)
    longest = max(one.outcome.epochs for one in shown)
    if not longest:
        raise InputError("the trainers of what is compared count no epochs")
    lines = tuple(_line(one, role, longest) for one, role in zip(shown, ROLES, strict=False))
    panels = [
        Panel(
            Axis("epochs", "log", limits=(1.0, float(longest))),
            Axis("share of seeds solved by then", "rate", limits=(0.0, 1.0)),
            lines,
            title="performance profile",
        ),
        _improvements(comparison),
    ]
    if any(middle.epochs is not None for middle in comparison.middles):
        panels.append(_middles(comparison))
    n = " and ".join(sorted({f"{one.outcome.n:,}" for one in comparison.contestants}))
    more = f" The first {len(shown)} of {len(comparison.contestants)} are drawn." if left else ""
    return Plot(
        name="profile",
        title="How soon seeds are solved",
        alt=_sooner(comparison),
        note=f"n = {n} seeds each. Bands hold for all epochs at once with 95 % (DKW), each for "
        f"itself; the other bars are 95 % intervals of {RESAMPLES:,} bootstrap resamples of the "
        "seeds. An unsolved seed is later than any solved one. Fewer epochs never outweigh a "
        f"seed.{more}",
        panels=tuple(panels),
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


def _line(one: Contestant, role: Role, longest: int) -> Line:
    solved = np.sort(epochs_needed(one.outcome))
    at = np.unique(np.concatenate([[1.0], solved[np.isfinite(solved)], [float(longest)]]))
    shares = np.searchsorted(solved, at, side="right") / one.outcome.n
    low, high = dkw_band(shares, one.outcome.n)
    return Line(
        clipped(plain(one.label), LONGEST),
        tuple(at.tolist()),
        tuple(shares.tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
        role=role,
        step=True,
    )


def _improvements(comparison: RunComparison) -> Panel:
    found = comparison.sooner
    names = tuple(
        f"{_short(comparison, pair.a)} < {_short(comparison, pair.b)}" for pair in comparison.pairs
    )
    return Panel(
        Axis("probability", "rate", limits=(0.0, 1.0)),
        Axis("pair", "category", categories=names),
        (
            Rule("x", 0.5, "neither"),
            Points(
                "",
                x=tuple(one.probability for one in found),
                y=tuple(map(float, range(len(found)))),
                x_low=tuple(one.low for one in found),
                x_high=tuple(one.high for one in found),
                texts=tuple(
                    f"{measured(one.probability, one.low, one.high)} of pairs of seeds"
                    for one in found
                ),
            ),
        ),
        title="how probable it is that a seed of the first is solved sooner than one of the second",
    )


def _middles(comparison: RunComparison) -> Panel:
    rows = [
        (row, one)
        for row, one in enumerate(comparison.middles)
        if one.epochs is not None and one.low is not None
    ]
    names = tuple(_name(comparison, place) for place in range(len(comparison.contestants)))
    return Panel(
        Axis("epochs", "log"),
        Axis("", "category", categories=names),
        (
            Points(
                "",
                x=tuple(one.epochs or 0.0 for _, one in rows),
                y=tuple(float(row) for row, _ in rows),
                x_low=tuple(one.low or 0.0 for _, one in rows),
                # Without an upper end the bar has none either: it ends at the point.
                x_high=tuple(one.high or one.epochs or 0.0 for _, one in rows),
                texts=tuple(f"{number(one.epochs or 0.0)} epochs" for _, one in rows),
            ),
        ),
        title="interquartile mean of the epochs to solve",
    )


def _sooner(comparison: RunComparison) -> str:
    parts = []
    for pair, sooner in list(zip(comparison.pairs, comparison.sooner, strict=True))[:MOST_LINES]:
        a, b = (plain(comparison.contestants[place].label) for place in (pair.a, pair.b))
        parts.append(
            f"{a} solves a seed sooner than {b} in "
            f"{measured(sooner.probability, sooner.low, sooner.high)} of pairs of seeds, ties as "
            "halves."
        )
    return " ".join(parts)


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


def _short(comparison: RunComparison, place: int) -> str:
    """A name of which two find room beside a figure."""
    return shortened(comparison.contestants[place].label, HALF)


def _name(comparison: RunComparison, place: int) -> str:
    return clipped(plain(comparison.contestants[place].label), LONGEST)
