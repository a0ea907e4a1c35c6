"""Figures of a number of the seeds: all seeds, means and medians, who is better, profiles.

They draw what rliable does (Agarwal et al., 2021, NeurIPS 34), with intervals that hold for few
seeds too (`core.numbers`, `stats.numbers`), of outcomes by themselves or of a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    DRAWN_POINTS,
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


def _categories(samples: Samples) -> Axis:
    labels = tuple(shortened(label, LONGEST_NAME) for label in samples.labels)
    return Axis("contestant", "category", categories=labels)


def strips(what: Numbered, number: str | None = None) -> Plot:
    """All seeds side by side, with the interquartile mean and its interval."""
    samples = samples_of(what, number)
    layers = []
    for place, label in enumerate(samples.labels):
        values = np.sort(samples.finite(place))
        values = values[sampled(values.size)] if values.size > DRAWN_POINTS else values
        marks = tuple(
            Mark(x, place + STEP * (index % ROWS - ROWS // 2), text=f"{label}: {x:g}")
            for index, x in enumerate(values.tolist())
        )
        layers.append(Series("", marks, role="neutral", marker="ring"))
    middles = tuple(_marks(samples, "iqm"))
    layers.append(Series("interquartile mean, 95 % interval", middles, marker="diamond"))
    return plot_of(
        "number-strips",
        Panel(Axis(samples.name), _categories(samples), tuple(layers)),
        samples=samples,
        summaries=[
            (plain(label), str(samples.estimate(place, "iqm")))
            for place, label in enumerate(samples.labels)
        ],
    )


def _marks(samples: Samples, statistic: str) -> list[Mark]:
    marks = []
    for place in range(len(samples.labels)):
        value, low, high = samples.estimate(place, statistic)
        if not abs(value) < HUGE:
            continue
        ends = (low if abs(low) < HUGE else value, high if abs(high) < HUGE else value)
        text = f"{statistic_named(statistic).heading} {estimated(value, *ends)}"
        marks.append(
            Mark(value, float(place), ends, text=f"{text}, 95 % interval {span(low, high)}")
        )
    return marks


def intervals(what: Numbered, number: str | None = None) -> Plot:
    """Median, interquartile mean and mean of each, with 95 % intervals."""
    samples = samples_of(what, number)
    panels = [
        Panel(
            Axis(samples.name),
            _categories(samples),
            (Series("", tuple(_marks(samples, statistic))),),
            statistic_named(statistic).heading,
        )
        for statistic in ("median", "iqm", "mean")
    ]
    summaries = [
        (plain(label), [str(samples.estimate(i, one)) for one in ("median", "iqm", "mean")])
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
    pairs = list(combinations(range(len(samples.labels)), 2))
    if not pairs:
        raise InputError("one outcome, and nothing to compare it with", field="outcomes")
    half = (LONGEST_NAME - 3) // 2
    names, marks, chances = [], [], []
    for row, (a, b) in enumerate(pairs):
        chance = samples.chance(a, b)
        text = measured(chance.probability, chance.low, chance.high)
        ends = (chance.low, chance.high)
        marks.append(Mark(chance.probability, float(row), ends, text=f"{text} of pairs of seeds"))
        names.append(" > ".join(shortened(samples.labels[place], half) for place in (a, b)))
        chances.append((*(plain(samples.labels[place]) for place in (a, b)), text))
    return plot_of(
        "improvement",
        Panel(
            Axis(f"probability of a better {samples.name}", "rate", RATES),
            Axis("pair", "category", categories=tuple(names)),
            (Guide("x", 0.5, "neither"), Series("", tuple(marks))),
        ),
        samples=samples,
        chances=chances[: len(CHOSEN)],
    )


def number_profile(what: Numbered, number: str | None = None) -> Plot:
    """The share of seeds with a number at least as good as x: a performance profile."""
    samples = samples_of(what, number)
    larger = samples.better == "larger"
    known = [np.sort(samples.finite(place)) for place in range(len(samples.labels))]
    drawn = np.concatenate(known)
    ends = (float(drawn.min()), float(drawn.max())) if drawn.size else (0.0, 1.0)
    if ends[0] == ends[1]:
        ends = (ends[0] - 0.5, ends[1] + 0.5)
    lines = [
        share_line(label, values, outcome.n, ends, larger=larger, role=role)
        for label, values, outcome, role in zip(
            samples.labels, known, samples.outcomes, CHOSEN, strict=False
        )
    ]
    share = f"share of seeds with {'more than' if larger else 'at most'} that"
    return plot_of(
        "number-profile",
        Panel(Axis(samples.name), Axis(share, "rate", RATES), tuple(lines)),
        samples=samples,
        medians=[
            (plain(label), f"{np.median(values):.3g}" if values.size else "unknown")
            for label, values in zip(samples.labels, known, strict=True)
        ],
        drawn=len(lines),
    )
