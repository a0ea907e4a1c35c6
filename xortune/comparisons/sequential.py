"""Configurations compared while they train, until one is proven better than the others.

What is proven worse than another is dropped at once: it gets no more seeds. The others go on until
one is left, or the seeds are used up. Each pair has an equal share of alpha, and its proof holds at
whatever seed it ends, so that with probability 1 - alpha no proof is wrong. Then whoever is left is
better than all that were dropped, also than those that another one beat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.comparisons.numbers import Measure
from xortune.core.errors import InputError
from xortune.core.formats import as_html, count, number
from xortune.core.numbers import of_all, quantile_share
from xortune.core.point import Point
from xortune.stats.anytime import anytime_quantile
from xortune.stats.betting import (
    mean_bounds,
    mean_evidence_above,
    mean_evidence_below,
    paired_limits,
)
from xortune.stats.sequential import PairedAnswer, paired_answer

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class SequentialPair:
    """Two configurations, A and B, on the same seeds.

    Attributes:
        a, b: their places, a < b.
        k_a, k_b: seeds solved, of the n of both.
        n: seeds that both have: until one of the two was dropped.
        wins, losses: seeds that only A solves, and only B.
        difference: rate of A minus that of B, in [-1, 1].
        low, high: its interval. All intervals of a comparison hold together with probability
            1 - alpha, at whatever seed it stopped.
        ahead: the place of the one that is proven better; None if neither is.
        decided_at: the seed that proved it, counted from 1; None if neither is.
    """

    a: int
    b: int
    k_a: int
    k_b: int
    n: int
    wins: int
    losses: int
    difference: float
    low: float
    high: float
    ahead: int | None
    decided_at: int | None


@dataclass(frozen=True)
class SequentialComparison:
    """Several configurations, compared seed after seed.

    Attributes:
        labels: their names.
        points: the configurations.
        k: seeds that each solves, of its own.
        n: seeds of those that were left, up to the deciding one.
        seeds: of each: n, or fewer of what was dropped.
        first_seed: the first of them; the others follow.
        max_seeds: the most seeds of each.
        alpha: greatest probability of calling a configuration better than another that is as good.
        pairs: all pairs.
        notes: warnings.
    """

    labels: tuple[str, ...]
    points: tuple[Point, ...]
    k: tuple[int, ...]
    n: int
    first_seed: int
    max_seeds: int
    alpha: float
    pairs: tuple[SequentialPair, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{'. '.join(self.lines)}."

    def _repr_html_(self) -> str:
        """Show the answer and each configuration's seeds solved in a notebook."""
        rows = [
            {"label": label, **point, "solved": f"{k:,} of {n:,}"}
            for label, point, k, n in zip(self.labels, self.points, self.k, self.seeds, strict=True)
        ]
        return as_html(str(self), rows)

    @property
    def best(self) -> int | None:
        """The place of the one that is left, where all others are proven worse; else None."""
        return _left(self.pairs, len(self.labels))

    @property
    def dropped(self) -> frozenset[int]:
        """The places of those that are proven worse than another."""
        return _losers(self.pairs)

    @property
    def first_is_worse(self) -> bool:
        """Whether another is proven better than the first."""
        return any(pair.a == 0 and pair.ahead == pair.b for pair in self.pairs)

    @property
    def table(self) -> pd.DataFrame:
        """One row for each pair, with labels instead of places; differences are fractions."""
        names = {"a": self.labels, "b": self.labels, "ahead": (*self.labels, None)}
        rows = [
            {
                name: value if name not in names else names[name][-1 if value is None else value]
                for name, value in asdict(pair).items()
            }
            for pair in self.pairs
        ]
        return pd.DataFrame(rows).astype({"decided_at": "Int64"})

    @property
    def lines(self) -> list[str]:
        """A sentence about each pair."""
        lines = []
        for pair in self.pairs:
            a, b = self.labels[pair.a], self.labels[pair.b]
            counts = f"{a} {pair.k_a}/{pair.n}, {b} {pair.k_b}/{pair.n}"
            low, high = (f"{100 * end:.1f}" for end in (pair.low, pair.high))
            between = f"difference {100 * pair.difference:.1f} points [{low}, {high}]"
            if pair.ahead is None and pair.n < self.n:
                lines.append(f"{_dropped_text(self, pair)}: {counts}, {between}")
            elif pair.ahead is None:
                after = "of each" if pair.n < self.max_seeds else "of each, all that were allowed"
                lines.append(
                    f"{a} is indistinguishable from {b} after {pair.n} seeds {after}: {counts}, "
                    f"{between}"
                )
            else:
                better, worse = (a, b) if pair.ahead == pair.a else (b, a)
                lines.append(
                    f"{better} solves more seeds than {worse}, proven by seed {pair.decided_at}: "
                    f"{counts}, {between}"
                )
        return lines


def _left(pairs: Sequence[SequentialPair | SequentialNumberPair], count: int) -> int | None:
    left = set(range(count)) - _losers(pairs)
    return left.pop() if len(left) == 1 else None


def _dropped_text(
    comparison: SequentialComparison | SequentialNumbers,
    pair: SequentialPair | SequentialNumberPair,
) -> str:
    seeds = comparison.seeds
    first, other = sorted((pair.a, pair.b), key=lambda place: seeds[place])
    names = comparison.labels
    return (
        f"{names[first]} was dropped after {count(pair.n, 'seed')}, "
        f"before it was told apart from {names[other]}"
    )


def compared_in_step(
    solved: Sequence[NDArray[np.bool_]],
    labels: Sequence[str],
    points: Sequence[Point],
    *,
    first_seed: int,
    max_seeds: int,
    alpha: float,
) -> tuple[SequentialComparison, bool]:
    """Compare configurations by their seeds so far.

    Each pair has an equal share of alpha (Bonferroni), and each side of a pair half of that
    (`stats.sequential.paired_answer`).

    Args:
        solved: shape (S,) for each: which seeds it solves; the same seeds in the same order, fewer
            of what was dropped.
        labels: their names.
        points: the configurations.
        first_seed: the first of the S.
        max_seeds: the most seeds of each, fixed beforehand.
        alpha: of all pairs together.

    Returns:
        The comparison, and whether it has ended.
    """

    def answer(one: NDArray[np.bool_], other: NDArray[np.bool_], share: float) -> PairedAnswer:
        return paired_answer(one, other, seeds=max_seeds, alpha=share)

    answers, ends, over, share = _in_step(solved, answer, max_seeds, alpha)
    cut = [one[:end] for one, end in zip(solved, ends, strict=True)]
    comparison = SequentialComparison(
        labels=tuple(labels),
        points=tuple(points),
        k=tuple(int(one.sum()) for one in cut),
        n=max(ends),
        first_seed=first_seed,
        max_seeds=max_seeds,
        alpha=alpha,
        pairs=tuple(_pair(places, cut, answer, share) for places, answer in answers.items()),
        seeds=tuple(ends),
    )
    return comparison, over


def _losers(pairs: Sequence[SequentialPair | SequentialNumberPair]) -> frozenset[int]:
    return frozenset(pair.a + pair.b - pair.ahead for pair in pairs if pair.ahead is not None)


def _in_step(
    seeds: Sequence[NDArray[np.generic]],
    answer: Callable[..., PairedAnswer],
    max_seeds: int,
    alpha: float,
) -> tuple[dict[tuple[int, int], PairedAnswer], list[int], bool, float]:
    """The answers about all pairs, the seeds of each that count, whether it is over, and the share.

    The order of seeds alone decides, not how many were trained at a time: a proof at seed n counts
    if neither of its two was dropped before n.
    """
    everyone = range(len(seeds))
    places = list(combinations(everyone, 2))
    share = alpha / len(places)
    answers = {}
    for a, b in places:
        both = min(len(seeds[a]), len(seeds[b]))
        answers[a, b] = answer(seeds[a][:both], seeds[b][:both], share)
    dropped: dict[int, int] = {}
    proofs = sorted((found.n, pair) for pair, found in answers.items() if found.ahead)
    for n, (a, b) in proofs:
        loser = b if answers[a, b].ahead > 0 else a
        if all(dropped.get(place, n) >= n for place in (a, b)):
            dropped.setdefault(loser, n)
    left = [place for place in everyone if place not in dropped]
    # Two that beat each other's beaters at the same seed may both be out: then nobody is left.
    end = max(len(seeds[place]) for place in left) if len(left) > 1 else max(dropped.values())
    ends = [min(dropped.get(place, end), end) for place in everyone]
    over = len(left) < 2 or end == max_seeds
    return answers, ends, over, share


def _pair(
    places: tuple[int, int], solved: Sequence[NDArray[np.bool_]], answer: PairedAnswer, alpha: float
) -> SequentialPair:
    a, b = places
    n = min(len(solved[a]), len(solved[b]))
    one, other = solved[a][:n], solved[b][:n]
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    decided = answer.ahead != 0 and answer.n <= n
    # The verdict has half of alpha; it decides whether 0 is in the interval, and excludes nothing
    # else. The two ends have the other half: bets on the differences, which are -1, 0 or 1.
    apart = one.astype(np.float64) - other
    low, high = mean_bounds(apart, alpha=alpha / 4, limits=(-1.0, 1.0))
    if decided:
        low, high = (max(low, 0.0), high) if answer.ahead > 0 else (low, min(high, 0.0))
    else:
        low, high = min(low, 0.0), max(high, 0.0)
    return SequentialPair(
        *(a, b, int(one.sum()), int(other.sum()), n, wins, losses),
        difference=(wins - losses) / n,
        low=low,
        high=high,
        ahead=(a if answer.ahead > 0 else b) if decided else None,
        decided_at=answer.n if decided else None,
    )


# -------------------------------------------------------------------------------------------------
# By a number of the seeds.


@dataclass(frozen=True)
class SequentialNumberPair:
    """Two configurations, A and B, by a statistic of a number of the same seeds.

    Attributes:
        a, b: their places, a < b.
        value_a, value_b: the statistic of both.
        n: seeds that both have: until one of the two was dropped.
        difference: of A minus B.
        low, high: its interval. All intervals of a comparison hold together with probability
            1 - alpha, at whatever seed it stopped.
        ahead: the place of the one that is proven better; None if neither is.
        decided_at: the seed that proved it, counted from 1; None if neither is.
    """

    a: int
    b: int
    value_a: float
    value_b: float
    n: int
    difference: float
    low: float
    high: float
    ahead: int | None
    decided_at: int | None


@dataclass(frozen=True)
class SequentialNumbers:
    """Several configurations, compared by a number, seed after seed.

    Attributes:
        labels, points, n, seeds, first_seed, max_seeds, alpha, notes: as of `SequentialComparison`.
        measure: the statistic and the direction.
        values: the statistic of each.
        pairs: all pairs.
    """

    labels: tuple[str, ...]
    points: tuple[Point, ...]
    measure: Measure
    values: tuple[float, ...]
    n: int
    seeds: tuple[int, ...]
    first_seed: int
    max_seeds: int
    alpha: float
    pairs: tuple[SequentialNumberPair, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{'. '.join(self.lines)}."

    def _repr_html_(self) -> str:
        return as_html(str(self), self.table)

    @property
    def best(self) -> int | None:
        """As of `SequentialComparison`."""
        return _left(self.pairs, len(self.labels))

    @property
    def dropped(self) -> frozenset[int]:
        """The places of those that are proven worse than another."""
        return _losers(self.pairs)

    @property
    def first_is_worse(self) -> bool:
        """Whether another is proven better than the first."""
        return any(pair.a == 0 and pair.ahead == pair.b for pair in self.pairs)

    @property
    def table(self) -> pd.DataFrame:
        """One row for each pair, with labels instead of places."""
        names: Mapping[int | None, str | None] = {None: None} | dict(enumerate(self.labels))
        rows = [
            asdict(pair) | {name: names[getattr(pair, name)] for name in ("a", "b", "ahead")}
            for pair in self.pairs
        ]
        return pd.DataFrame(rows).astype({"decided_at": "Int64"})

    @property
    def lines(self) -> list[str]:
        """A sentence about each pair."""
        lines, what = [], self.measure.text
        for pair in self.pairs:
            a, b = self.labels[pair.a], self.labels[pair.b]
            between = (
                f"{a} {number(pair.value_a)}, {b} {number(pair.value_b)}, difference "
                f"{number(pair.difference)} [{number(pair.low)}, {number(pair.high)}]"
            )
            if pair.ahead is not None:
                better, worse = (a, b) if pair.ahead == pair.a else (b, a)
                lines.append(
                    f"{better} has a better {what} than {worse}, proven by seed "
                    f"{pair.decided_at}: {between}"
                )
            elif pair.n < self.n:
                lines.append(f"{_dropped_text(self, pair)}: {between}")
            else:
                after = "of each" if pair.n < self.max_seeds else "of each, all that were allowed"
                lines.append(
                    f"{a} and {b} are indistinguishable in {what} after {pair.n} seeds {after}: "
                    f"{between}"
                )
        return lines


def check_sequential(measure: Measure) -> None:
    """Refuse a statistic that has no bounds which hold at every look.

    Raises:
        InputError: it is an interquartile mean, or a mean of numbers without known limits.
    """
    if measure.is_bounded or quantile_share(measure.statistic) is not None:
        return
    raise InputError(
        f"{measure.text}, looked at after every seed",
        field="by",
        allowed="quantiles, and means of numbers with known limits: nothing else has bounds that "
        "hold at every look",
        fix=f"give bounds=[0, 1], or compare {measure.name}_median",
    )


def numbers_in_step(
    values: Sequence[Floats],
    labels: Sequence[str],
    points: Sequence[Point],
    measure: Measure,
    *,
    first_seed: int,
    max_seeds: int,
    alpha: float,
) -> tuple[SequentialNumbers, bool]:
    """Compare configurations by their numbers so far; as `compared_in_step`.

    Means of numbers with limits by bets on the differences of each seed; quantiles by bounds of
    both that hold at every look.
    """
    sign = 1 if measure.better == "larger" else -1

    def answer(one: Floats, other: Floats, share: float) -> PairedAnswer:
        if measure.is_bounded:
            return _bet_answer(sign * (one - other), measure, share)
        return _quantile_answer(one, other, measure, share)

    answers, ends, over, share = _in_step(values, answer, max_seeds, alpha)
    cut = [one[:end] for one, end in zip(values, ends, strict=True)]
    pairs = []
    for (a, b), found in answers.items():
        n = min(len(cut[a]), len(cut[b]))
        one, other = cut[a][:n], cut[b][:n]
        low, high = _interval(one, other, measure, share)
        decided = found.ahead != 0 and found.n <= n
        mine, theirs = (of_all(numbers, measure.statistic) for numbers in (one, other))
        pairs.append(
            SequentialNumberPair(
                *(a, b, mine, theirs, n),
                difference=mine - theirs,
                low=low,
                high=high,
                ahead=(a if found.ahead > 0 else b) if decided else None,
                decided_at=found.n if decided else None,
            )
        )
    comparison = SequentialNumbers(
        labels=tuple(labels),
        points=tuple(points),
        measure=measure,
        values=tuple(of_all(numbers, measure.statistic) for numbers in cut),
        n=max(ends),
        seeds=tuple(ends),
        first_seed=first_seed,
        max_seeds=max_seeds,
        alpha=alpha,
        pairs=tuple(pairs),
    )
    return comparison, over


def _bet_answer(better_by: Floats, measure: Measure, alpha: float) -> PairedAnswer:
    limits, target = paired_limits(measure.limits or (0.0, 1.0)), math.log(2 / alpha)
    above = mean_evidence_above(better_by, 0.0, limits=limits) >= target
    below = mean_evidence_below(better_by, 0.0, limits=limits) >= target
    decided = np.flatnonzero(above | below)
    if not decided.size:
        return PairedAnswer(0, better_by.size)
    first = int(decided[0])
    return PairedAnswer(1 if above[first] else -1, first + 1)


def _quantile_answer(one: Floats, other: Floats, measure: Measure, alpha: float) -> PairedAnswer:
    """Whose quantile is better, by the first look at which the bounds of both lie apart."""
    sign = 1 if measure.better == "larger" else -1
    for n in range(1, one.size + 1):
        low, high = _quantiles_apart(one[:n], other[:n], measure, alpha)
        if low > 0 or high < 0:
            return PairedAnswer(sign if low > 0 else -sign, n)
    return PairedAnswer(0, one.size)


def _quantiles_apart(
    one: Floats, other: Floats, measure: Measure, alpha: float
) -> tuple[float, float]:
    share = quantile_share(measure.statistic)
    assert share is not None
    ends = [anytime_quantile(numbers, share, alpha=alpha / 4) for numbers in (one, other)]
    with np.errstate(invalid="ignore"):
        low, high = float(ends[0][0] - ends[1][1]), float(ends[0][1] - ends[1][0])
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


def _interval(one: Floats, other: Floats, measure: Measure, alpha: float) -> tuple[float, float]:
    if measure.is_bounded:
        limits = paired_limits(measure.limits or (0.0, 1.0))
        return mean_bounds(one - other, alpha=alpha / 2, limits=limits)
    return _quantiles_apart(one, other, measure, alpha)
