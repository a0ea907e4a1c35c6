"""Figures of a comparison of runs: differences, wins, performance profiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.numbers import (
    RESAMPLES,
    Better,
    ComparedNumbers,
    Improvement,
    Summed,
    epochs_needed,
    values_of,
)
from xortune.comparisons.runs import Pair, RunComparison
from xortune.core.errors import InputError
from xortune.core.formats import count, estimated, measured, number, plain, span
from xortune.reports.drawing.style import shortened
from xortune.reports.figures.labels import HUGE, LONGEST, WIDE, clipped, even_sample
from xortune.reports.plot import Axis, Cells, Layer, Line, Panel, Plot, Points, Role, Rule
from xortune.reports.words import answer, headline, p_text, points, points_interval, sentence
from xortune.stats.numbers import dkw_band

# -------------------------------------------------------------------------------------------------
# Figures of a comparison of runs: how far apart their success rates are, and who beats whom.

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


# -------------------------------------------------------------------------------------------------
# Performance profiles of a comparison: how soon seeds are solved, and how good their numbers are.
#
# As in rliable (Agarwal et al., 2021, NeurIPS 34): a performance profile, the probability of
# improvement and the interquartile mean. The bands hold for all places at once, which theirs do
# not.

ROLES: tuple[Role, ...] = ("a", "b", "c", "d", "e", "f")

MOST_LINES = len(ROLES)
"""Contestants whose profiles can be told apart in one picture."""

MOST_STEPS = 1000
"""Of more places at which a line falls or rises only so many are drawn, evenly chosen."""

Floats = NDArray[np.float64]


def profile(comparison: RunComparison) -> Plot:
    """How soon seeds are solved: the share solved by each epoch, and who solves them sooner.

    Raises:
        InputError: nobody counted epochs.
    """
    outcomes = [one.outcome for one in comparison.contestants]
    counting = [place for place, outcome in enumerate(outcomes) if outcome.epochs]
    if not counting:
        raise InputError("the trainers of what is compared count no epochs")
    shown = counting[:MOST_LINES]
    longest = float(max(outcomes[place].epochs for place in shown))
    lines = [
        _line(
            comparison,
            place,
            role,
            _Seen(epochs_needed(outcomes[place]), outcomes[place].n, "smaller", (1.0, longest)),
        )
        for place, role in zip(shown, ROLES, strict=False)
    ]
    panels = [
        Panel(
            Axis("epochs", "log", limits=(1.0, longest)),
            Axis("share of seeds solved by then", "rate", limits=(0.0, 1.0)),
            tuple(lines),
            title="performance profile",
        ),
        _improvements(
            comparison,
            comparison.sooner,
            "<",
            "how probable it is that a seed of the first is solved sooner than one of the second",
        ),
    ]
    middles = [
        _Middle(place, one.epochs, one.low, one.high)
        for place, one in enumerate(comparison.middles)
        if one.epochs is not None
    ]
    if middles:
        title = "interquartile mean of the epochs to solve"
        panels.append(_middles(comparison, middles, Axis("epochs", "log"), "epochs", title))
    return Plot(
        name="profile",
        title="How soon seeds are solved",
        alt=" ".join(
            f"{first} solves a seed sooner than {second} in {told} of pairs of seeds, ties as "
            "halves."
            for first, second, told in _told(comparison, comparison.sooner)
        ),
        note=f"n = {_sizes(outcomes[place].n for place in counting)} seeds each. {_intervals()} An "
        "unsolved seed is later than any solved one. Fewer epochs never outweigh a "
        f"seed.{_without(len(middles), len(counting), 'unsolved')}{_left_out(shown, counting)}",
        panels=tuple(panels),
    )


def numbers_profile(comparison: RunComparison, name: str | None = None) -> Plot:
    """The numbers that trainers told of their seeds: profiles, whose are better, their middles.

    Args:
        comparison: of contestants that have numbers.
        name: of the number; None: the first of those that are judged, or of all.

    Raises:
        InputError: nobody has numbers, or none of this name is told by two of them.
    """
    numbers = _chosen(comparison, name)
    called = clipped(plain(numbers.name), LONGEST)
    having = [place for place, one in enumerate(numbers.of) if one is not None]
    shown = having[:MOST_LINES]
    every = [
        values_of(comparison.contestants[place].outcome, numbers.name, numbers.better)
        for place in shown
    ]
    ends = _ends(np.concatenate(every))
    log = ends[0] > 0 and ends[1] >= WIDE * ends[0]
    axis = Axis(called, "log" if log else "number")
    lines = [
        _line(comparison, place, role, _Seen(values, values.size, numbers.better, ends))
        for place, role, values in zip(shown, ROLES, every, strict=False)
        if values.size
    ]
    than, sign = ("at most", "<") if numbers.better == "smaller" else ("more than", ">")
    better = numbers.better or "larger"
    panels = [
        Panel(
            axis,
            Axis(f"share of seeds with {than} that", "rate", limits=(0.0, 1.0)),
            tuple(lines),
            title="performance profile",
        )
    ]
    if any(win is not None for win in numbers.wins):
        title = f"how probable it is that a seed's {called} is {better} in the first"
        panels.append(_improvements(comparison, numbers.wins, sign, title))
    middles = [
        _Middle(place, one.middle, one.low, one.high)
        for place, one in enumerate(numbers.of)
        if one is not None and one.middle is not None and _shown(one.middle, one.low, one.high)
    ]
    if middles:
        panels.append(
            _middles(comparison, middles, axis, called, f"interquartile mean of {called}")
        )
    return Plot(
        name="numbers",
        title=f"How the seeds compare in {called}"
        + (f": {numbers.better} is better" if numbers.better else ""),
        alt=_numbers_alt(comparison, numbers, called, better),
        note=f"{_counted([one for one in numbers.of if one is not None])} {_intervals()} "
        f"{_missing(numbers.better)}{_without(len(middles), len(having), 'without a number')}"
        f"{_left_out(shown, having)}",
        panels=tuple(panels),
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a line is of.

    Attributes:
        values: float64, shape (S,), not finite where a seed has none.
        n: seeds that count.
        better: what is; of `smaller` the line says how many have at most so much, else more.
        ends: from where to where all lines reach.
    """

    values: Floats
    n: int
    better: Better
    ends: tuple[float, float]


@dataclass(frozen=True)
class _Middle:
    """An interquartile mean and its interval, of the contestant at a place."""

    place: int
    mean: float
    low: float | None
    high: float | None


def _ends(values: Floats) -> tuple[float, float]:
    """From where to where numbers lie, as far as an axis can show them."""
    shown = values[np.abs(values) < HUGE]  # so that the infinite ones are not
    return (float(shown.min()), float(shown.max())) if shown.size else (0.0, 1.0)


def _shown(*places: float | None) -> bool:
    """Whether an axis can show them, as far as they are known."""
    return all(place is None or abs(place) < HUGE for place in places)


def _line(comparison: RunComparison, place: int, role: Role, seen: _Seen) -> Line:
    known = np.sort(seen.values[np.isfinite(seen.values)])
    at = np.unique(np.clip(np.concatenate([seen.ends, known]), *seen.ends))
    at = at[even_sample(at.size, MOST_STEPS)]
    below = np.searchsorted(known, at, side="right")
    shares = (below if seen.better == "smaller" else known.size - below) / seen.n
    low, high = dkw_band(shares, seen.n)
    return Line(
        label_of(comparison, place),
        tuple(at.tolist()),
        tuple(shares.tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
        role=role,
        step=True,
    )


def _improvements(
    comparison: RunComparison, wins: Sequence[Improvement | None], sign: str, title: str
) -> Panel:
    rows = [(pair, win) for pair, win in zip(comparison.pairs, wins, strict=True) if win]
    names = tuple(
        f"{short_label(comparison, pair.a)} {sign} {short_label(comparison, pair.b)}"
        for pair, _ in rows
    )
    found = [win for _, win in rows]
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
        title=title,
    )


def _middles(
    comparison: RunComparison, middles: Sequence[_Middle], axis: Axis, unit: str, title: str
) -> Panel:
    names = tuple(label_of(comparison, place) for place in range(len(comparison.contestants)))
    return Panel(
        axis,
        Axis("contestant", "category", categories=names),
        (
            Points(
                "",
                x=tuple(one.mean for one in middles),
                y=tuple(float(one.place) for one in middles),
                # Without an end the bar has none either: it ends at the point.
                x_low=tuple(one.mean if one.low is None else one.low for one in middles),
                x_high=tuple(one.mean if one.high is None else one.high for one in middles),
                texts=tuple(
                    f"{estimated(one.mean, one.low, one.high)} {unit}, 95 % interval "
                    f"{span(one.low, one.high)}"
                    for one in middles
                ),
            ),
        ),
        title=title,
    )


def _chosen(comparison: RunComparison, name: str | None) -> ComparedNumbers:
    known = {numbers.name: numbers for numbers in comparison.numbers}
    if not known:
        raise InputError("no two of what is compared have a number of their seeds in common")
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise InputError(
            f"no number {name!r}", field="number", allowed=", ".join(map(plain, known))
        )
    return known[name]


def _told(
    comparison: RunComparison, wins: Sequence[Improvement | None]
) -> Iterator[tuple[str, str, str]]:
    """The first pairs: both names, and how probable it is."""
    found = [(pair, win) for pair, win in zip(comparison.pairs, wins, strict=True) if win]
    for pair, win in found[:MOST_LINES]:
        a, b = (plain(comparison.contestants[place].label) for place in (pair.a, pair.b))
        yield a, b, measured(win.probability, win.low, win.high)


def _numbers_alt(
    comparison: RunComparison, numbers: ComparedNumbers, called: str, better: str
) -> str:
    parts = [
        f"{called} is {better} for a seed of {first} than for one of {second} in {told} of pairs, "
        "ties as halves."
        for first, second, told in _told(comparison, numbers.wins)
    ]
    middles = [
        f"{plain(one.label)} {estimated(found.middle, found.low, found.high)}"
        for one, found in zip(comparison.contestants, numbers.of, strict=True)
        if found is not None and found.middle is not None
    ]
    if middles:
        parts.append(f"Interquartile means: {', '.join(middles[:MOST_LINES])}.")
    return " ".join(parts) or f"No pair has seeds with {called} in common."


def _sizes(sizes: Iterable[int]) -> str:
    return " and ".join(f"{n:,}" for n in sorted(set(sizes)))


def _counted(found: Sequence[Summed]) -> str:
    known = f"{_sizes(one.known for one in found)} of them with a number"
    if all(one.known == one.n for one in found):
        known = "all with a number"
    return f"n = {_sizes(one.n for one in found)} seeds each, {known}."


def _intervals() -> str:
    return (
        "Bands hold for all places of a line at once with 95 % (DKW), each for itself; the other "
        f"bars are 95 % intervals of {RESAMPLES:,} bootstrap resamples of the seeds."
    )


def _missing(better: Better) -> str:
    if better:
        return "A seed without the number, which crashed or diverged, is worse than any with one."
    return "Nothing says what is better; seeds without the number are left out."


def _without(middles: int, all_: int, what: str) -> str:
    """Why some have no interquartile mean."""
    return f" Where more than a quarter is {what} there is no mean." if middles < all_ else ""


def _left_out(shown: Sequence[int], having: Sequence[int]) -> str:
    left = len(having) - len(shown)
    return f" The first {len(shown)} of {len(having)} are drawn." if left else ""
