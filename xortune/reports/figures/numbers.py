"""Figures of a number of the seeds: all seeds, means and medians, who is better, profiles.

They draw what rliable does (Agarwal et al., 2021, NeurIPS 34), with intervals that hold for few
seeds too (`core.numbers`, `stats.numbers`), of outcomes by themselves or of a comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.numbers import NumberComparison
from xortune.comparisons.runs import Better, Improvement, RunComparison, values_of
from xortune.core.errors import InputError, kind_of, refuse_unknown
from xortune.core.formats import estimated, measured, plain, span
from xortune.core.numbers import Estimate, statistic_named, summed
from xortune.core.outcome import Outcome
from xortune.core.success import Rule, larger_is_better
from xortune.racing.objectives import only_statistic
from xortune.reports.drawing.model import RATES, Axis, Guide, Mark, Panel, Plot, Series, shortened
from xortune.reports.figures.common import (
    CHOSEN,
    HUGE,
    KEY,
    LONGEST_NAME,
    finished,
    plot_of,
    sampled,
    share_line,
)
from xortune.runs.results import number_names, reported
from xortune.runs.run import Run
from xortune.stats.numbers import probability_of_larger

Floats = NDArray[np.float64]

Numbered: TypeAlias = (
    NumberComparison | RunComparison | Outcome | Mapping[str, Outcome] | Sequence[Outcome]
)
"""What has numbers of seeds: a comparison, an outcome, several of them, by their names or not."""

MOST_INTERVALS = 12
"""Configurations of a run whose intervals are drawn."""

ROWS, STEP = 7, 0.09
"""Seeds of a strip lie in so many rows, so far apart, that they do not hide each other."""


@dataclass(frozen=True)
class Samples:
    """A number of the seeds of several contestants.

    Attributes:
        name: of the number.
        better: which direction is better.
        labels: of the contestants.
        outcomes: theirs.
        comparison: by this number, if there is one.
    """

    name: str
    better: Better
    labels: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    comparison: NumberComparison | None = None

    def values(self, place: int) -> Floats:
        """float64, shape (S,): a failed seed is the worst infinity."""
        return values_of(self.outcomes[place], self.name, self.better)

    def finite(self, place: int) -> Floats:
        """The numbers that can be drawn."""
        values = self.values(place)
        return values[np.abs(values) < HUGE]

    def estimate(self, place: int, statistic: str) -> Estimate:
        """A statistic of the seeds that have a number."""
        return summed(self.name, self.values(place))[statistic]

    @property
    def sizes(self) -> str:
        """The numbers of seeds, as text."""
        return " and ".join(f"{n:,}" for n in sorted({one.n for one in self.outcomes}))

    @property
    def failed(self) -> int:
        """Seeds without a number."""
        return sum(one.n - self.finite(i).size for i, one in enumerate(self.outcomes))

    def chance(self, a: int, b: int) -> Improvement:
        """How probable it is that a seed of one is better than one of another."""
        if self.comparison is not None:
            return next(p.probability for p in self.comparison.pairs if (p.a, p.b) == (a, b))
        sign = 1.0 if self.better == "larger" else -1.0
        one, other = self.outcomes[a], self.outcomes[b]
        shared = np.array_equal(one.seeds, other.seeds)
        numbers = (sign * self.values(a), sign * self.values(b))
        return Improvement(*probability_of_larger(*numbers, shared=shared))


def samples_of(what: Numbered, number: str | None = None) -> Samples:
    """The number of what is to be drawn: by default the one that is compared, or the first.

    Raises:
        InputError: it is nothing of that kind, or has no such number.
    """
    comparison = None
    rules: list[Rule | None] = []
    if isinstance(what, NumberComparison | RunComparison):
        by_label = {one.label: one.outcome for one in what.contestants}
        rules = [one.rule for one in what.contestants]
        if isinstance(what, NumberComparison):
            comparison, number = what, number or what.measure.name
        else:
            number = number or next(iter(what.number_names), None)
    elif isinstance(what, Outcome):
        by_label = {"": what}
    elif isinstance(what, Mapping):
        by_label = dict(what)
    elif isinstance(what, Sequence):
        by_label = {f"outcome {place}": one for place, one in enumerate(what, 1)}
    else:
        by_label = {"": what}
    if not by_label or not all(isinstance(one, Outcome) for one in by_label.values()):
        wrong = next((o for o in by_label.values() if not isinstance(o, Outcome)), what)
        raise InputError(
            kind_of(wrong),
            field="outcomes",
            allowed="what xortune.compare returns, an Outcome, or several by their names: "
            '{"PPO": first, "SAC": second}',
        )
    names = number_names(list(by_label.values()))
    if not names:
        raise InputError("no seed has a number", field="outcomes")
    number = names[0] if number is None else number
    refuse_unknown(number, names, f"there is no number {number!r}", field="number")
    if comparison is not None and number != comparison.measure.name:
        comparison = None
    every = reported([*by_label.values()], number)
    better: Better = "larger" if larger_is_better(number, rules, every) else "smaller"
    if comparison is not None:
        better = comparison.measure.better
    return Samples(number, better, tuple(by_label), tuple(by_label.values()), comparison)


def number_figures(comparison: NumberComparison) -> tuple[Plot, ...]:
    """The figures of a comparison by a number."""
    return (
        strips(comparison),
        intervals(comparison),
        improvement(comparison),
        number_profile(comparison),
    )


# -------------------------------------------------------------------------------------------------
# The panels of numbers and of times: estimates, and who is better. (Bands: `share_line`.)

Row: TypeAlias = tuple[str, str, Improvement]
"""Two labels, and how probable it is that a seed of the first is better than one of the second."""


def chances(rows: Sequence[Row], axis: str, sign: str = ">", title: str = "") -> Panel:
    """How probable it is that one is better than another, with the interval of each two."""
    marks = tuple(
        Mark(one.probability, float(row), (one.low, one.high), text=f"{text} of pairs of seeds")
        for row, ((*_, one), (*_, text)) in enumerate(zip(rows, told(rows), strict=True))
    )
    names = tuple(pair_label(one, other, sign) for one, other, _ in rows)
    pairs = Axis("pair", "category", categories=names)
    layers = (Guide("x", 0.5, "neither"), Series("", marks))
    return Panel(Axis(axis, "rate", RATES), pairs, layers, title)


def told(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """The same for texts."""
    return [
        (plain(a), plain(b), measured(found.probability, found.low, found.high))
        for a, b, found in rows
    ]


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
        values = np.sort(samples.finite(place))
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
    known = [np.sort(samples.finite(place)) for place in range(len(samples.labels))]
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
