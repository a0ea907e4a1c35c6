"""Figures of comparisons of runs with each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.comparison import ComparedNumbers, Comparison, Pair, p_text
from xortune.core.errors import InputError, refuse_unknown
from xortune.core.formats import estimated, measured, plain, span
from xortune.core.numbers import Estimate, finite
from xortune.reports.drawing.model import (
    RATES,
    Axis,
    Cells,
    Ends,
    Guide,
    Mark,
    Panel,
    Plot,
    Series,
    shortened,
)
from xortune.reports.figures.common import (
    CHOSEN,
    HUGE,
    LOG_FROM_RATIO,
    LONGEST_NAME,
    plot_of,
    share_line,
)

Floats = NDArray[np.float64]

# -------------------------------------------------------------------------------------------------
# Success rates of runs: the difference of every two, and who beats whom.

HALF = (LONGEST_NAME - 3) // 2  # characters of one of two names in a label


def differences(comparison: Comparison) -> Plot:
    """The difference of success rates of every two contestants, with its interval."""
    marks = []
    for row, pair in enumerate(comparison.pairs):
        difference, ends = 100 * pair.difference, (100 * pair.low, 100 * pair.high)
        text = comparison.sentence(pair)
        marks.append((pair.differs, Mark(difference, float(row), x_ends=ends, text=text)))
    names = tuple(_pair_label(comparison, pair, "−") for pair in comparison.pairs)
    return plot_of(
        "differences",
        Panel(
            Axis("difference of success rates, percentage points"),
            Axis("pair", "category", categories=names),
            (Guide("x", 0.0, "no difference"), *_by_difference(marks, "told apart")),
        ),
        **_test_facts(comparison),
        apart=sum(pair.differs for pair in comparison.pairs),
        confidence=f"{100 * comparison.confidence:.4g}",
        first=comparison.sentence(comparison.pairs[0]),
        headline=comparison.headline,
    )


def wins(comparison: Comparison) -> Plot:
    """Which contestant solves more seeds than which, after Holm's correction."""
    labels = tuple(one.label for one in comparison.contestants)
    places = range(len(labels))
    table = [[_cell(comparison, row, column) for column in places] for row in places]
    at = tuple(map(float, places))
    cells = Cells(
        *(at, at),
        values=tuple(tuple(value for value, *_ in row) for row in table),
        value_label="difference of success rates",
        scale="difference",
        texts=tuple(tuple(text for _, text, _ in row) for row in table),
        notes=tuple(tuple(note for *_, note in row) for row in table),
    )
    against, rate = (Axis(what, "category", categories=labels) for what in ("against", "rate of"))
    finding = comparison.headline if len(labels) > 2 else comparison.lines[0]
    return plot_of(
        "wins", Panel(against, rate, (cells,)), **_test_facts(comparison), finding=finding
    )


def _by_difference(marks: Sequence[tuple[bool, Mark]], label: str) -> list[Series]:
    """Marks of tests with a difference (True), drawn over those without."""
    apart, alike = (tuple(m for differs, m in marks if differs is at) for at in (True, False))
    series = Series("not told apart", alike, role="neutral", marker="ring"), Series(label, apart)
    return [one for one in series if one.marks]


def _cell(comparison: Comparison, row: int, column: int) -> tuple[float, str, str]:
    """Value, text and note of a cell of `wins`."""
    if row == column:
        return math.nan, "", ""
    pair = comparison.pair(row, column)
    text, ends = comparison.apart(pair)
    shown = f"+{text}" if pair.difference > 0 else text
    note = f"{shown} points {ends}, {p_text(pair.p_holm)}"
    return pair.difference, shown if pair.differs else f"{shown} ?", note


def _test_facts(comparison: Comparison) -> dict[str, Any]:
    """Values of tested.txt.jinja."""
    return {
        "comparison": comparison,
        "sizes": sorted({f"{pair.n_a:,}" for pair in comparison.pairs}),
        "shared": any(pair.shared for pair in comparison.pairs),
        "unshared": any(not pair.shared for pair in comparison.pairs),
    }


def _pair_label(comparison: Comparison, pair: Pair, sign: str) -> str:
    labels = (comparison.contestants[place].label for place in (pair.a, pair.b))
    return f" {sign} ".join(shortened(label, HALF) for label in labels)


# -------------------------------------------------------------------------------------------------
# Epochs to solve, and numbers of the seeds.
#
# As in rliable (Agarwal et al., 2021, NeurIPS 34): a performance profile, the probability of
# improvement and the interquartile mean. Unlike theirs, the bands are simultaneous.


def profile(comparison: Comparison) -> Plot:
    """The share of seeds solved by each epoch, and which contestant solves seeds sooner."""
    counting = [one.outcome.epochs for one in comparison.contestants if one.outcome.epochs]
    if not counting:
        raise InputError("no trainer of what is compared counts epochs")
    longest = float(max(counting[: len(CHOSEN)]))
    return _profiles(
        "profile",
        comparison,
        comparison.epochs,
        ends=(1.0, longest),
        x=Axis("epochs", "log", limits=(1.0, longest)),
        axis=Axis("epochs", "log"),
        share="share of seeds solved by then",
        won_title="how probable it is that a seed of the first is solved sooner than one of the "
        "second",
        middles_title="interquartile mean of the epochs to solve",
    )


def numbers_profile(comparison: Comparison, number: str | None = None) -> Plot:
    """A number of the seeds: profiles, which contestant has better ones, interquartile means.

    The default is the first number of the comparison: one that a rule judges, if there is one.
    """
    numbers = _chosen(comparison, number)
    called, better = shortened(numbers.name, LONGEST_NAME), numbers.better or "larger"
    known = [
        (one.label, values, summed)
        for one, values, summed in zip(
            comparison.contestants, numbers.values, numbers.of, strict=True
        )
        if values is not None and summed is not None
    ]
    drawn = np.concatenate([values for _, values, _ in known[: len(CHOSEN)]])
    drawn = drawn[np.abs(drawn) < HUGE]
    ends = (float(drawn.min()), float(drawn.max())) if drawn.size else (0.0, 1.0)
    axis = Axis(called, "log" if 0 < LOG_FROM_RATIO * ends[0] <= ends[1] else "number")
    than = "at most" if numbers.better == "smaller" else "more than"
    return _profiles(
        "numbers",
        comparison,
        numbers,
        ends=ends,
        x=axis,
        axis=axis,
        share=f"share of seeds with {than} that",
        won_title=f"how probable it is that a seed's {called} is {better} in the first",
        middles_title=f"interquartile mean of {called}",
        called=called,
        better=better,
        means=[
            f"{plain(label)} {estimated(summed.value, *_ends(summed))}"
            for label, _, summed in known
            if math.isfinite(summed.value)
        ][: len(CHOSEN)],
        known_sizes=_sizes(finite(values).size for _, values, _ in known),
        all_known=all(np.isfinite(values).all() for _, values, _ in known),
    )


def _profiles(
    name: str,
    comparison: Comparison,
    numbers: ComparedNumbers,
    *,
    ends: Ends,
    x: Axis,
    axis: Axis,
    share: str,
    won_title: str,
    middles_title: str,
    **words: Any,
) -> Plot:
    """A performance profile, the probability of improvement, and interquartile means.

    The profiles span `ends` on the axis `x`, and their y axis is labelled `share`; `axis` is that
    of the means. `words` are further values of the template.
    """
    labels = tuple(one.label for one in comparison.contestants)
    by_label = [
        (label, values)
        for label, values in zip(labels, numbers.values, strict=True)
        if values is not None
    ]
    larger = numbers.better != "smaller"
    lines = [
        share_line(
            *(label, np.sort(values[np.isfinite(values)]), values.size, ends),
            larger=larger,
            role=role,
        )
        for (label, values), role in zip(by_label, CHOSEN, strict=False)
        if values.size
    ]
    panels = [Panel(x, Axis(share, "rate", RATES), tuple(lines), "performance profile")]
    rows = [(pair, win) for pair, win in zip(comparison.pairs, numbers.wins, strict=True) if win]
    probabilities = [measured(*win) for _, win in rows]
    if rows:
        names = tuple(_pair_label(comparison, pair, ">" if larger else "<") for pair, _ in rows)
        marks = [
            Mark(win.value, float(row), (win.low, win.high), text=f"{text} of pairs of seeds")
            for row, ((_, win), text) in enumerate(zip(rows, probabilities, strict=True))
        ]
        layers = (Guide("x", 0.5, "neither"), Series("", tuple(marks)))
        pairs = Axis("pair", "category", categories=names)
        panels.append(Panel(Axis("probability", "rate", RATES), pairs, layers, won_title))
    marks = []
    for place, summed in enumerate(numbers.of):
        mean, low, high = (summed.value, *_ends(summed)) if summed else (math.nan, None, None)
        if all(one is None or abs(one) < HUGE for one in (mean, low, high)):
            # A bar without an end reaches to the point.
            bar = (mean if low is None else low, mean if high is None else high)
            text = f"{estimated(mean, low, high)} {axis.label}"
            if (low, high) != (None, None):
                text += f", 95 % interval {span(low, high)}"
            marks.append(Mark(mean, float(place), bar, text=text))
    if marks:
        contestants = Axis("contestant", "category", categories=labels)
        panels.append(Panel(axis, contestants, (Series("", tuple(marks)),), middles_title))
    named = [(plain(labels[pair.a]), plain(labels[pair.b])) for pair, _ in rows[: len(CHOSEN)]]
    return plot_of(
        name,
        *panels,
        numbers=numbers,
        won=[(*pair, text) for pair, text in zip(named, probabilities, strict=False)],
        sizes=_sizes(values.size for _, values in by_label),
        having=len(by_label),
        known=len(marks),
        most=len(CHOSEN),
        **words,
    )


def _chosen(comparison: Comparison, name: str | None) -> ComparedNumbers:
    known = {numbers.name: numbers for numbers in comparison.numbers}
    if not known:
        raise InputError("no two of what is compared have recorded the same number")
    if name is None:
        return next(iter(known.values()))
    refuse_unknown(name, known, f"there is no number {name!r}", field="number")
    return known[name]


def _ends(estimate: Estimate) -> tuple[float | None, float | None]:
    """The ends of its interval, None where it is open."""
    low, high = (end if math.isfinite(end) else None for end in estimate[1:])
    return low, high


def _sizes(sizes: Iterable[int]) -> str:
    return " and ".join(f"{n:,}" for n in sorted(set(sizes)))
