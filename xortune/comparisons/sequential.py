"""Configurations compared while they train, until one is proven better than the others.

What is proven worse than another is dropped at once: it gets no more seeds. The others go on until
one is left, or the seeds are used up. Each pair has an equal share of alpha, and its proof holds at
whatever seed it ends, so that with probability 1 - alpha no proof is wrong. Then whoever is left is
better than all that were dropped, also than those that another one beat.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.comparisons.numbers import SIGN, Measure
from xortune.comparisons.runs import Reused
from xortune.core.errors import InputError
from xortune.core.formats import as_html, count, estimated, number, span
from xortune.core.point import Point
from xortune.stats.anytime import anytime_quantile, anytime_quantiles
from xortune.stats.betting import (
    UNIT,
    mean_bounds,
    mean_evidence_above,
    mean_evidence_below,
    paired_limits,
)
from xortune.stats.sequential import PairedAnswer, paired_answer

Seeds: TypeAlias = NDArray[Any]
"""Shape (S,): which seeds one solves, or their numbers."""


@dataclass(frozen=True)
class SequentialPair:
    """Two configurations, A and B, on the same seeds.

    Attributes:
        a, b: their places, a < b.
        n: seeds that both have: until one of the two was dropped.
        wins, losses: seeds under which A is better, and B: that only one of them solves, or with
            different numbers.
        value_a, value_b: the success rate of both, or the statistic of a number, or the share of
            seeds under which each has the better number.
        difference: value of A minus that of B.
        low, high: its interval. All intervals of a comparison hold together with probability
            1 - alpha, at whatever seed it stopped.
        ahead: the place of the one that is proven better; None if neither is.
        decided_at: the seed that proved it, counted from 1; None if neither is.
    """

    a: int
    b: int
    n: int
    wins: int
    losses: int
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    ahead: int | None
    decided_at: int | None

    @property
    def counts(self) -> tuple[int, int]:
        """Of success rates: how many of the n seeds A solves, and B."""
        return round(self.value_a * self.n), round(self.value_b * self.n)


@dataclass(frozen=True)
class SequentialComparison:
    """Several configurations, compared seed after seed.

    Attributes:
        labels: their names.
        points: the configurations.
        measure: the statistic of a number, and the direction; None: their success rates.
        values: of each: its statistic, or success rate, under its own seeds; NaN if only the signs
            of differences are compared.
        n: seeds of those that were left, up to the deciding one.
        seeds: of each: n, or fewer of what was dropped.
        first_seed: the first of them; the others follow.
        max_seeds: the most seeds of each.
        alpha: greatest probability of calling a configuration better than another that is as good.
        pairs: all pairs.
        notes: warnings.
        reused: how many seeds are old; None if none were asked for.
    """

    labels: tuple[str, ...]
    points: tuple[Point, ...]
    measure: Measure | None
    values: tuple[float, ...]
    n: int
    first_seed: int
    max_seeds: int
    alpha: float
    pairs: tuple[SequentialPair, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    reused: Reused | None = None

    def __str__(self) -> str:
        return "\n".join([f"{'. '.join(self.lines)}.", *(f"{note}." for note in self.notes)])

    def _repr_html_(self) -> str:
        """Show the answer and what each configuration came to in a notebook."""
        columns = zip(self.labels, self.points, self.shown, strict=True)
        return as_html(
            str(self).replace("\n", " "),
            [{"label": label, **p, **shown} for label, p, shown in columns],
        )

    @property
    def k(self) -> tuple[int, ...]:
        """Of success rates: the seeds that each solves, of its own."""
        return tuple(round(rate * n) for rate, n in zip(self.values, self.seeds, strict=True))

    @property
    def shown(self) -> list[dict[str, str]]:
        """What each came to, by the heads of columns."""
        if self.measure is None:
            return [{"solved": f"{k:,}/{n:,}"} for k, n in zip(self.k, self.seeds, strict=True)]
        if self.of_tosses:
            return [{"seeds": f"{n:,}"} for n in self.seeds]
        return [
            {"seeds": f"{n:,}", self.measure.text: number(one)}
            for n, one in zip(self.seeds, self.values, strict=True)
        ]

    @property
    def of_tosses(self) -> bool:
        """Whether all that counts of a seed is which of two is better."""
        return _are_tosses(self.measure)

    @property
    def best(self) -> int | None:
        """The place of the one that is left, where each other one is proven worse; else None."""
        left = set(range(len(self.labels))) - self.dropped
        return left.pop() if len(left) == 1 else None

    @property
    def dropped(self) -> frozenset[int]:
        """The places of those that are proven worse than another."""
        proven = (pair for pair in self.pairs if pair.ahead is not None)
        return frozenset(pair.b if pair.ahead == pair.a else pair.a for pair in proven)

    @property
    def first_is_worse(self) -> bool:
        """Whether another is proven better than the first."""
        return any(pair.a == 0 and pair.ahead == pair.b for pair in self.pairs)

    @property
    def table(self) -> pd.DataFrame:
        """One row for each pair, with labels instead of places; differences are fractions."""
        names: Mapping[int | None, str | None] = {None: None} | dict(enumerate(self.labels))
        rows = []
        for pair in self.pairs:
            row: dict[str, Any] = asdict(pair)
            row |= {name: names[getattr(pair, name)] for name in ("a", "b", "ahead")}
            if self.measure is None:
                del row["value_a"], row["value_b"]
                row |= dict(zip(("k_a", "k_b"), pair.counts, strict=True))
            rows.append(row)
        return pd.DataFrame(rows).astype({"decided_at": "Int64"})

    @property
    def lines(self) -> list[str]:
        """A sentence about each pair."""
        return [f"{self._verdict(pair)}: {self._between(pair)}" for pair in self.pairs]

    def _verdict(self, pair: SequentialPair) -> str:
        a, b = self.labels[pair.a], self.labels[pair.b]
        if pair.ahead is not None:
            better, worse = (a, b) if pair.ahead == pair.a else (b, a)
            if self.measure is None:
                told = f"{better} solves more seeds than {worse}"
            else:
                under = " under more seeds" if self.of_tosses else ""
                told = f"{better} has a better {self.measure.text} than {worse}{under}"
            return f"{told}, proven by seed {pair.decided_at}"
        if pair.n < self.n:
            first, other = (a, b) if self.seeds[pair.a] <= self.seeds[pair.b] else (b, a)
            after = count(pair.n, "seed")
            return f"{first} was dropped after {after}, before it was told apart from {other}"
        what = "" if self.measure is None else f" in {self.measure.text}"
        after = "of each" if pair.n < self.max_seeds else "of each, all that were allowed"
        return f"{a} is indistinguishable from {b}{what} after {count(pair.n, 'seed')} {after}"

    def _between(self, pair: SequentialPair) -> str:
        a, b = self.labels[pair.a], self.labels[pair.b]
        if not self.of_tosses:
            return (
                f"{a} {number(pair.value_a)}, {b} {number(pair.value_b)}, difference "
                f"{estimated(pair.difference, pair.low, pair.high)} [{span(pair.low, pair.high)}]"
            )
        if self.measure is None:
            k_a, k_b = pair.counts
            counts = f"{a} {k_a}/{pair.n}, {b} {k_b}/{pair.n}"
        else:
            counts = f"{a} is better under {pair.wins}, {b} under {pair.losses} of {pair.n}"
        low, high = (f"{100 * end:.1f}" for end in (pair.low, pair.high))
        return f"{counts}, difference {100 * pair.difference:.1f} points [{low}, {high}]"


def check_sequential(measure: Measure) -> None:
    """Refuse a statistic that has no bounds which hold at every look.

    Raises:
        InputError: it is an interquartile mean, or a mean of numbers without known limits.
    """
    known = measure.statistic == SIGN or measure.of_numbers.share is not None
    if known or measure.is_bounded:
        return
    raise InputError(
        f"{measure.text}, looked at after every seed",
        field="by",
        allowed="quantiles, means of numbers with known limits, and the name of the number alone: "
        "nothing else has bounds that hold at every look",
        fix=f"compare {measure.name}, which is better under more seeds, or {measure.name}_median; "
        "or give bounds=[0, 1] for a mean",
    )


def compared_in_step(
    seeds: Sequence[Seeds],
    labels: Sequence[str],
    points: Sequence[Point],
    measure: Measure | None = None,
    *,
    first_seed: int,
    max_seeds: int,
    alpha: float,
    looked: MutableMapping[tuple[int, int], PairedAnswer] | None = None,
) -> tuple[SequentialComparison, bool]:
    """Compare configurations by their seeds so far.

    Each pair has an equal share of alpha (Bonferroni), and each side of a pair half of that.

    Success rates, and numbers of which only the signs of differences count, by the seeds under
    which one of two is better, which are fair tosses if both are alike
    (`stats.sequential.paired_answer`). Means of numbers with limits by bets on the differences of
    each seed; quantiles by bounds of both that hold at every look.

    Args:
        seeds: shape (S,) for each: which seeds it solves, or their numbers; the same seeds in the
            same order, fewer of what was dropped.
        labels: their names.
        points: the configurations.
        measure: what is compared of numbers; None for success rates.
        first_seed: the first of the S.
        max_seeds: the most seeds of each, fixed beforehand.
        alpha: of all pairs together.
        looked: by the places of a pair, what an earlier call with fewer of these seeds answered,
            so that each look at quantiles is computed once; this call's answers are put there.

    Returns:
        The comparison, and whether it has ended.
    """
    share = alpha / math.comb(len(seeds), 2)
    answers = {} if looked is None else looked
    for a, b in combinations(range(len(seeds)), 2):
        both = min(len(seeds[a]), len(seeds[b]))
        one, other = seeds[a][:both], seeds[b][:both]
        answers[a, b] = _answer(
            one,
            other,
            measure,
            max_seeds=max_seeds,
            alpha=share,
            earlier=answers.get((a, b)),
        )
    ends, over = _ends(answers, [len(one) for one in seeds], max_seeds)
    cut = [one[:end] for one, end in zip(seeds, ends, strict=True)]
    comparison = SequentialComparison(
        labels=tuple(labels),
        points=tuple(points),
        measure=measure,
        values=tuple(_value(one, measure) for one in cut),
        n=max(ends),
        first_seed=first_seed,
        max_seeds=max_seeds,
        alpha=alpha,
        pairs=tuple(_pair(pair, cut, found, measure, share) for pair, found in answers.items()),
        seeds=tuple(ends),
    )
    return comparison, over


def _ends(
    answers: Mapping[tuple[int, int], PairedAnswer], trained: Sequence[int], max_seeds: int
) -> tuple[list[int], bool]:
    """How many seeds of each count, and whether the comparison is over.

    The order of seeds alone decides, not how many were trained at a time: a proof at seed n counts
    if neither of its two was dropped before n.
    """
    dropped: dict[int, int] = {}
    proofs = sorted((found.n, pair) for pair, found in answers.items() if found.ahead)
    for n, (a, b) in proofs:
        loser = b if answers[a, b].ahead > 0 else a
        if all(dropped.get(place, n) >= n for place in (a, b)):
            dropped.setdefault(loser, n)
    left = [place for place in range(len(trained)) if place not in dropped]
    # Two that beat each other's beaters at the same seed may both be out: then nobody is left.
    end = max(trained[place] for place in left) if len(left) > 1 else max(dropped.values())
    ends = [min(dropped.get(place, end), end) for place in range(len(trained))]
    return ends, len(left) < 2 or end == max_seeds


def _pair(
    places: tuple[int, int],
    seeds: Sequence[Seeds],
    answer: PairedAnswer,
    measure: Measure | None,
    alpha: float,
) -> SequentialPair:
    """Two by the seeds that count, and the answer about all that were trained."""
    both = [seeds[place] for place in places]
    n = min(map(len, both))
    one, other = (own[:n] for own in both)
    won, lost = _better(one, other, measure), _better(other, one, measure)
    ahead = answer.ahead if answer.n <= n else 0
    values = _value(one, measure), _value(other, measure)
    if measure is None:
        low, high = _bounds_of_tosses(won, lost, ahead, alpha)
    elif measure.statistic == SIGN:
        values = float(won.mean()), float(lost.mean())
        low, high = _bounds_of_tosses(won, lost, ahead, alpha)
    else:
        low, high = _bounds(one, other, measure, alpha)
    return SequentialPair(
        *(*places, n, int(won.sum()), int(lost.sum()), *values),
        difference=values[0] - values[1],
        low=low,
        high=high,
        ahead=None if ahead == 0 else places[ahead < 0],
        decided_at=answer.n if ahead else None,
    )


def _are_tosses(measure: Measure | None) -> bool:
    """Whether all that counts of a seed is which of two is better."""
    return measure is None or measure.statistic == SIGN


def _better(one: Seeds, other: Seeds, measure: Measure | None) -> NDArray[np.bool_]:
    """Shape (S,): under which seeds the first one is better."""
    smaller = measure is not None and measure.better == "smaller"
    return np.less(one, other) if smaller else np.greater(one, other)


def _value(seeds: Seeds, measure: Measure | None) -> float:
    """The success rate of one, or its statistic; NaN if only signs are compared."""
    if measure is None:
        return float(np.mean(seeds))
    return math.nan if measure.statistic == SIGN else measure.of_numbers.estimate(seeds)


def _answer(
    one: Seeds,
    other: Seeds,
    measure: Measure | None,
    *,
    max_seeds: int,
    alpha: float,
    earlier: PairedAnswer | None,
) -> PairedAnswer:
    """Which of two is proven better, by the first look that proves it.

    `earlier` is the answer about the seeds before, if there is one.
    """
    won, lost = _better(one, other, measure), _better(other, one, measure)
    if measure is None or _are_tosses(measure):
        return paired_answer(won, lost, seeds=max_seeds, alpha=alpha)
    sign = 1 if measure.better == "larger" else -1
    if measure.is_bounded:
        limits, target = paired_limits(measure.limits or UNIT), math.log(2 / alpha)
        sides = mean_evidence_above, mean_evidence_below
        above, below = (side(one - other, 0.0, limits=limits) >= target for side in sides)
        decided = np.flatnonzero(above | below)
        if not decided.size:
            return PairedAnswer(0, one.size)
        first = int(decided[0])
        return PairedAnswer(sign if above[first] else -sign, first + 1)
    if earlier is not None and earlier.ahead:
        return earlier
    first = 1 if earlier is None else earlier.n + 1
    # The bounds of `_bounds`, at each look from this one on.
    (low, high), (other_low, other_high) = (
        anytime_quantiles(numbers, _share(measure), alpha=alpha / 4, first=first)
        for numbers in (one, other)
    )
    with np.errstate(invalid="ignore"):  # two that are infinite prove nothing
        above, below = low - other_high > 0, high - other_low < 0
    decided = np.flatnonzero(above | below)
    if not decided.size:
        return PairedAnswer(0, one.size)
    at = int(decided[0])
    return PairedAnswer(sign if above[at] else -sign, first + at)


def _share(measure: Measure) -> float:
    """Of the quantile that is compared."""
    share = measure.of_numbers.share
    assert share is not None  # `check_sequential` refuses the rest
    return share


def _bounds(one: Seeds, other: Seeds, measure: Measure, alpha: float) -> tuple[float, float]:
    """The interval of the difference of two statistics, which holds at every look."""
    if measure.is_bounded:
        limits = paired_limits(measure.limits or UNIT)
        return mean_bounds(one - other, alpha=alpha / 2, limits=limits, ordered=False)
    share = _share(measure)
    ends = [anytime_quantile(numbers, share, alpha=alpha / 4) for numbers in (one, other)]
    with np.errstate(invalid="ignore"):
        low, high = float(ends[0][0] - ends[1][1]), float(ends[0][1] - ends[1][0])
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


def _bounds_of_tosses(
    won: NDArray[np.bool_], lost: NDArray[np.bool_], ahead: int, alpha: float
) -> tuple[float, float]:
    """The interval of the share of seeds that A wins minus that of B.

    The verdict has half of alpha; it decides whether 0 is in the interval, and excludes nothing
    else. The two ends have the other half: bets on the differences, which are -1, 0 or 1.
    """
    apart = won.astype(np.float64) - lost
    low, high = mean_bounds(apart, alpha=alpha / 4, limits=(-1.0, 1.0), ordered=False)
    if ahead == 0:
        return min(low, 0.0), max(high, 0.0)
    return (max(low, 0.0), high) if ahead > 0 else (low, min(high, 0.0))
