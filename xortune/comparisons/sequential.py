"""Configurations compared while they train, until one is proven better than the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.core.formats import as_html
from xortune.core.point import Point
from xortune.stats.anytime import anytime_lower, anytime_upper
from xortune.stats.sequential import PairedAnswer, paired_answer


@dataclass(frozen=True)
class SequentialPair:
    """Two configurations, A and B, on the same seeds.

    Attributes:
        a, b: their places, a < b.
        k_a, k_b: seeds solved, of the n of both.
        n: seeds.
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
        k: seeds that each solves, of n.
        n: seeds of each, the same for all, up to the deciding one.
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
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{'. '.join(self.lines)}."

    def _repr_html_(self) -> str:
        """Show the answer and each configuration's seeds solved in a notebook."""
        rows = [
            {"label": label, **point, "solved": f"{k:,} of {self.n:,}"}
            for label, point, k in zip(self.labels, self.points, self.k, strict=True)
        ]
        return as_html(str(self), rows)

    @property
    def best(self) -> int | None:
        """The place of the one that is proven better than all others; None if there is none."""
        for place in range(len(self.labels)):
            own = [pair for pair in self.pairs if place in (pair.a, pair.b)]
            if all(pair.ahead == place for pair in own):
                return place
        return None

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
            if pair.ahead is None:
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
    (`stats.sequential.paired_answer`). The comparison ends at the first seed after which one
    configuration is proven better than all others.

    Args:
        solved: shape (S,) for each: which seeds it solves; the same seeds in the same order.
        labels: their names.
        points: the configurations.
        first_seed: the first of the S.
        max_seeds: the most seeds of each, fixed beforehand.
        alpha: of all pairs together.

    Returns:
        The comparison, and whether it has ended.
    """
    everyone = range(len(solved))
    share = alpha / len(list(combinations(everyone, 2)))
    answers = {
        (a, b): paired_answer(solved[a], solved[b], seeds=max_seeds, alpha=share)
        for a, b in combinations(everyone, 2)
    }
    n = len(solved[0])
    views = [_seen_from(place, answers) for place in everyone]
    # A configuration is proven better than all others at the last of its deciding seeds.
    ends = (max(by for _, by in view) for view in views if all(ahead == 1 for ahead, _ in view))
    end = min(ends, default=None)
    stop = n if end is None else end
    pairs = tuple(
        _pair(places, [solved[one][:stop] for one in places], answer, share)
        for places, answer in answers.items()
    )
    comparison = SequentialComparison(
        labels=tuple(labels),
        points=tuple(points),
        k=tuple(int(one[:stop].sum()) for one in solved),
        n=stop,
        first_seed=first_seed,
        max_seeds=max_seeds,
        alpha=alpha,
        pairs=pairs,
    )
    over = end is not None or n == max_seeds or all(answer.ahead for answer in answers.values())
    return comparison, over


def _seen_from(place: int, answers: dict[tuple[int, int], PairedAnswer]) -> list[tuple[int, int]]:
    """Return for each answer about one: 1 if it is ahead, -1 if behind, else 0; and its seed."""
    sides = ((pair.index(place), answer) for pair, answer in answers.items() if place in pair)
    return [(one.ahead * (1 - 2 * side), one.n) for side, one in sides]


def _pair(
    places: tuple[int, int], solved: Sequence[NDArray[np.bool_]], answer: PairedAnswer, alpha: float
) -> SequentialPair:
    (a, b), (one, other) = places, solved
    n = len(one)
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    decided = answer.ahead != 0 and answer.n <= n
    # The verdict has half of alpha; it decides whether 0 is in the interval, and excludes nothing
    # else. The two ends have the other half, and each of their four bounds a quarter of it.
    each = alpha / 8
    low = float(anytime_lower(wins, n, alpha=each) - anytime_upper(losses, n, alpha=each))
    high = float(anytime_upper(wins, n, alpha=each) - anytime_lower(losses, n, alpha=each))
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
