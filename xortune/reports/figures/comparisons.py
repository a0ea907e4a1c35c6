"""Figures of comparisons of runs with each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.runs import (
    ComparedNumbers,
    RunComparison,
    answer,
    epochs_needed,
    headline,
    p_text,
    points,
    points_interval,
    sentence,
    values_of,
)
from xortune.core.errors import InputError, refuse_unknown
from xortune.core.formats import estimated, plain
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
from xortune.reports.figures.numbers import chances, estimates, pair_label, told

Floats = NDArray[np.float64]

# -------------------------------------------------------------------------------------------------
# Success rates of runs: the difference of every two, and who beats whom.


def differences(comparison: RunComparison) -> Plot:
    """The difference of success rates of every two contestants, with its interval."""
    marks: dict[bool, list[Mark]] = {False: [], True: []}
    for row, pair in enumerate(comparison.pairs):
        difference, ends = 100 * pair.difference, (100 * pair.low, 100 * pair.high)
        text = sentence(comparison, pair)
        marks[pair.differs].append(Mark(difference, float(row), x_ends=ends, text=text))
    series = (
        Series("not told apart", tuple(marks[False]), role="neutral", marker="ring"),
        Series("told apart", tuple(marks[True])),
    )
    labels = [one.label for one in comparison.contestants]
    names = tuple(pair_label(labels[pair.a], labels[pair.b], "−") for pair in comparison.pairs)
    return plot_of(
        "differences",
        Panel(
            Axis("difference of success rates, percentage points"),
            Axis("pair", "category", categories=names),
            (Guide("x", 0.0, "no difference"), *(one for one in series if one.marks)),
        ),
        **_test_facts(comparison),
        apart=sum(pair.differs for pair in comparison.pairs),
        confidence=f"{100 * comparison.confidence:.4g}",
        first=sentence(comparison, comparison.pairs[0]),
        headline=headline(comparison),
    )


def wins(comparison: RunComparison) -> Plot:
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
    finding = headline(comparison) if len(labels) > 2 else answer(comparison)[0]
    return plot_of(
        "wins", Panel(against, rate, (cells,)), **_test_facts(comparison), finding=finding
    )


def _cell(comparison: RunComparison, row: int, column: int) -> tuple[float, str, str]:
    """Value, text and note of a cell of `wins`."""
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


def _test_facts(comparison: RunComparison) -> dict[str, Any]:
    """Values of tested.txt.jinja."""
    return {
        "comparison": comparison,
        "sizes": sorted({f"{pair.n_a:,}" for pair in comparison.pairs}),
        "shared": any(pair.shared for pair in comparison.pairs),
        "unshared": any(not pair.shared for pair in comparison.pairs),
    }


# -------------------------------------------------------------------------------------------------
# Epochs to solve, and numbers of the seeds.
#
# As in rliable (Agarwal et al., 2021, NeurIPS 34): a performance profile, the probability of
# improvement and the interquartile mean. Unlike theirs, the bands are simultaneous.


def profile(comparison: RunComparison) -> Plot:
    """The share of seeds solved by each epoch, and which contestant solves seeds sooner."""
    counting = [(one.label, one.outcome) for one in comparison.contestants if one.outcome.epochs]
    if not counting:
        raise InputError("no trainer of what is compared counts epochs")
    longest = float(max(outcome.epochs for _, outcome in counting[: len(CHOSEN)]))
    return _profiles(
        "profile",
        comparison,
        comparison.epochs,
        [(label, epochs_needed(outcome)) for label, outcome in counting],
        ends=(1.0, longest),
        x=Axis("epochs", "log", limits=(1.0, longest)),
        axis=Axis("epochs", "log"),
        share="share of seeds solved by then",
        won_title="how probable it is that a seed of the first is solved sooner than one of the "
        "second",
        middles_title="interquartile mean of the epochs to solve",
    )


def numbers_profile(comparison: RunComparison, number: str | None = None) -> Plot:
    """A number of the seeds: profiles, which contestant has better ones, interquartile means.

    The default is the first number of the comparison: one that a rule judges, if there is one.
    """
    numbers = _chosen(comparison, number)
    called, better = shortened(numbers.name, LONGEST_NAME), numbers.better or "larger"
    known = [
        (one, summed)
        for one, summed in zip(comparison.contestants, numbers.of, strict=True)
        if summed is not None
    ]
    by_label = [
        (one.label, values_of(one.outcome, numbers.name, numbers.better)) for one, _ in known
    ]
    drawn = np.concatenate([values for _, values in by_label[: len(CHOSEN)]])
    drawn = drawn[np.abs(drawn) < HUGE]
    ends = (float(drawn.min()), float(drawn.max())) if drawn.size else (0.0, 1.0)
    axis = Axis(called, "log" if 0 < LOG_FROM_RATIO * ends[0] <= ends[1] else "number")
    than = "at most" if numbers.better == "smaller" else "more than"
    return _profiles(
        "numbers",
        comparison,
        numbers,
        by_label,
        ends=ends,
        x=axis,
        axis=axis,
        share=f"share of seeds with {than} that",
        won_title=f"how probable it is that a seed's {called} is {better} in the first",
        middles_title=f"interquartile mean of {called}",
        called=called,
        better=better,
        means=[
            f"{plain(one.label)} {estimated(summed.middle, summed.low, summed.high)}"
            for one, summed in known
            if summed.middle is not None
        ][: len(CHOSEN)],
        known_sizes=_sizes(summed.known for _, summed in known),
        all_known=all(summed.known == summed.n for _, summed in known),
    )


def _profiles(
    name: str,
    comparison: RunComparison,
    numbers: ComparedNumbers,
    by_label: Sequence[tuple[str, Floats]],
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

    `by_label` has the label and the `values_of` of each contestant with these numbers. The profiles
    span `ends` on the axis `x`, and their y axis is labelled `share`; `axis` is that of the means.
    `words` are further values of the template.
    """
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
    labels = [one.label for one in comparison.contestants]
    found = zip(comparison.pairs, numbers.wins, strict=True)
    rows = [(labels[pair.a], labels[pair.b], win) for pair, win in found if win]
    means = [one and (one.middle, one.low, one.high) for one in numbers.of]
    middles = estimates(axis, labels, means, "interquartile mean", title=middles_title)
    known = sum(len(one.marks) for one in middles.layers if isinstance(one, Series))
    panels = [
        Panel(x, Axis(share, "rate", RATES), tuple(lines), "performance profile"),
        *([chances(rows, "probability", ">" if larger else "<", won_title)] if rows else []),
        *([middles] if known else []),
    ]
    return plot_of(
        name,
        *panels,
        numbers=numbers,
        won=told(rows[: len(CHOSEN)]),
        sizes=_sizes(values.size for _, values in by_label),
        having=len(by_label),
        known=known,
        most=len(CHOSEN),
        **words,
    )


def _chosen(comparison: RunComparison, name: str | None) -> ComparedNumbers:
    known = {numbers.name: numbers for numbers in comparison.numbers}
    if not known:
        raise InputError("no two of what is compared have recorded the same number")
    if name is None:
        return next(iter(known.values()))
    refuse_unknown(name, known, f"there is no number {name!r}", field="number")
    return known[name]


def _sizes(sizes: Iterable[int]) -> str:
    return " and ".join(f"{n:,}" for n in sorted(set(sizes)))
