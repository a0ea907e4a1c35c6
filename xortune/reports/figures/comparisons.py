"""Figures of comparisons, of rates and of numbers of the seeds; and of outcomes by themselves.

Those of numbers draw what rliable does (Agarwal et al., 2021, NeurIPS 34), with intervals that hold
for few seeds too (`core.numbers`, `stats.numbers`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.comparison import ComparedNumbers, Comparison, p_text
from xortune.comparisons.samples import Numbered, Samples, samples_of
from xortune.core.errors import InputError, refuse_unknown
from xortune.core.formats import estimated, measured, plain, span
from xortune.core.numbers import Estimate, finite, statistic_named
from xortune.racing.objectives import only_statistic
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
    KEY,
    LOG_FROM_RATIO,
    LONGEST_NAME,
    drawable,
    finished,
    plot_of,
    sampled,
    share_line,
)
from xortune.runs.run import Run

Floats = NDArray[np.float64]

# -------------------------------------------------------------------------------------------------
# Success rates of runs: the difference of every two, and who beats whom.


def differences(comparison: Comparison) -> Plot:
    """The difference of success rates of every two contestants, with its interval."""
    marks: dict[bool, list[Mark]] = {False: [], True: []}
    for row, pair in enumerate(comparison.pairs):
        difference, ends = 100 * pair.difference, (100 * pair.low, 100 * pair.high)
        text = comparison.sentence(pair)
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
            (Guide("x", 0.0, "no difference"), *series),
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
    drawn = drawable(drawn)
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
    found = zip(comparison.pairs, numbers.wins, strict=True)
    rows = [(labels[pair.a], labels[pair.b], win) for pair, win in found if win]
    means = [one and (one.value, *_ends(one)) for one in numbers.of]
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


# -------------------------------------------------------------------------------------------------
# A number of the seeds: all seeds, means and medians, who is better, profiles.
MOST_INTERVALS = 12
"""Configurations of a run whose intervals are drawn."""

ROWS, STEP = 7, 0.09
"""Seeds of a strip lie in so many rows, so far apart, that they do not hide each other."""


def number_figures(comparison: Comparison) -> tuple[Plot, ...]:
    """The figures of a comparison by a number."""
    return (
        strips(comparison),
        intervals(comparison),
        improvement(comparison),
        number_profile(comparison),
    )


# -------------------------------------------------------------------------------------------------
# The panels of numbers and of times: estimates, and who is better. (Bands: `share_line`.)

Row: TypeAlias = tuple[str, str, Estimate]
"""Two labels, and how probable it is that a seed of the first is better than one of the second."""


def chances(rows: Sequence[Row], axis: str, sign: str = ">", title: str = "") -> Panel:
    """How probable it is that one is better than another, with the interval of each two."""
    marks = tuple(
        Mark(one.value, float(row), (one.low, one.high), text=f"{text} of pairs of seeds")
        for row, ((*_, one), (*_, text)) in enumerate(zip(rows, told(rows), strict=True))
    )
    names = tuple(pair_label(one, other, sign) for one, other, _ in rows)
    pairs = Axis("pair", "category", categories=names)
    layers = (Guide("x", 0.5, "neither"), Series("", marks))
    return Panel(Axis(axis, "rate", RATES), pairs, layers, title)


def told(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """The same for texts."""
    return [(plain(a), plain(b), measured(*found)) for a, b, found in rows]


def pair_label(one: str, other: str, sign: str) -> str:
    """The label of two contestants."""
    half = (LONGEST_NAME - 3) // 2
    return f" {sign} ".join(shortened(label, half) for label in (one, other))


def estimates(
    axis: Axis,
    labels: Sequence[str],
    found: Iterable[Sequence[float | None] | None],
    what: str,
    *,
    title: str = "",
    seeds: Sequence[Series] = (),
) -> Panel:
    """An estimate of each contestant, with its interval, over its `seeds`.

    `found` has the estimate and its ends, or None. What is too large for an axis is not drawn; a
    bar without an end reaches to its mark.
    """
    marks = []
    for place, (amount, low, high) in enumerate(one or (None,) * 3 for one in found):
        if amount is not None and abs(amount) < HUGE:
            known = [amount if end is None or abs(end) >= HUGE else end for end in (low, high)]
            text = f"{what} {estimated(amount, low, high)}"
            text += "" if low is high is None else f", 95 % interval {span(low, high)}"
            marks.append(Mark(amount, float(place), (known[0], known[1]), text=text))
    look = Series("interquartile mean, 95 % interval", tuple(marks), marker="diamond")
    names = tuple(shortened(label, LONGEST_NAME) for label in labels)
    layers = (*seeds, look if seeds else Series("", tuple(marks)))
    return Panel(axis, Axis("contestant", "category", categories=names), layers, title)


def of_statistic(samples: Samples, statistic: str, seeds: Sequence[Series] = ()) -> Panel:
    """The `estimates` of a statistic of all samples."""
    heading = statistic_named(statistic).heading
    found = [samples.estimate(place, statistic) for place in range(len(samples.labels))]
    title = "" if seeds else heading
    axis = Axis(samples.name)
    return estimates(axis, samples.labels, found, heading, title=title, seeds=seeds)


# -------------------------------------------------------------------------------------------------
# The figures.


def strips(what: Numbered, number: str | None = None) -> Plot:
    """All seeds side by side, with the interquartile mean and its interval."""
    samples = samples_of(what, number)
    layers = []
    for place, label in enumerate(samples.labels):
        values = np.sort(drawable(samples.values(place)))
        marks = tuple(
            Mark(x, place + STEP * (index % ROWS - ROWS // 2), text=f"{label}: {x:g}")
            for index, x in enumerate(values[sampled(values.size)].tolist())
        )
        layers.append(Series("", marks, role="neutral", marker="ring"))
    summaries = [
        (plain(label), str(samples.estimate(place, "iqm")))
        for place, label in enumerate(samples.labels)
    ]
    panel = of_statistic(samples, "iqm", layers)
    return plot_of("number-strips", panel, samples=samples, summaries=summaries)


def intervals(what: Numbered, number: str | None = None) -> Plot:
    """Median, interquartile mean and mean of each, with 95 % intervals."""
    samples, shown = samples_of(what, number), ("median", "iqm", "mean")
    panels = [of_statistic(samples, statistic) for statistic in shown]
    summaries = [
        (plain(label), [str(samples.estimate(i, one)) for one in shown])
        for i, label in enumerate(samples.labels)
    ]
    return plot_of("intervals", *panels, columns=3, samples=samples, summaries=summaries)


def intervals_of_best(run: Run) -> Plot | None:
    """As `intervals`, of the configurations that are first by a number; None without one."""
    results, objective = finished(run), only_statistic(run.objectives)
    if objective is None or objective.number is None:
        return None
    best = {one.key[:KEY]: one.outcome for one in results[:MOST_INTERVALS]}
    if not any(objective.number in one.number_names for one in best.values()):
        return None
    return intervals(best, objective.number)


def improvement(what: Numbered, number: str | None = None) -> Plot:
    """How probable it is that a seed of one is better than a seed of another."""
    samples = samples_of(what, number)
    labels, pairs = samples.labels, combinations(range(len(samples.labels)), 2)
    rows = [(labels[a], labels[b], samples.chance(a, b)) for a, b in pairs]
    if not rows:
        raise InputError("one outcome, and nothing to compare it with", field="outcomes")
    panel = chances(rows, f"probability of a better {samples.name}")
    return plot_of("improvement", panel, samples=samples, chances=told(rows[: len(CHOSEN)]))


def number_profile(what: Numbered, number: str | None = None) -> Plot:
    """The share of seeds with a number at least as good as x: a performance profile."""
    samples = samples_of(what, number)
    larger = samples.better == "larger"
    known = [np.sort(drawable(samples.values(place))) for place in range(len(samples.labels))]
    drawn = np.concatenate(known)
    ends = (float(drawn.min()), float(drawn.max())) if drawn.size else (0.0, 1.0)
    if ends[0] == ends[1]:
        ends = (ends[0] - 0.5, ends[1] + 0.5)
    shown = zip(samples.labels, known, samples.outcomes, CHOSEN, strict=False)
    lines = tuple(
        share_line(label, values, outcome.n, ends, larger=larger, role=role)
        for label, values, outcome, role in shown
    )
    share = f"share of seeds with {'more than' if larger else 'at most'} that"
    return plot_of(
        "number-profile",
        Panel(Axis(samples.name), Axis(share, "rate", RATES), lines),
        samples=samples,
        medians=[
            (plain(label), f"{np.median(values):.3g}" if values.size else "unknown")
            for label, values in zip(samples.labels, known, strict=True)
        ],
        drawn=len(lines),
    )
