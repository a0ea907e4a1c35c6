"""Confidence bounds of any statistic of numbers: a mean, an interquartile mean, a quantile.

What holds depends on the statistic, and on whether limits of the numbers are known:

=================== ============================== ========================= =======
statistic           for one n chosen beforehand    at every n                exact
=================== ============================== ========================= =======
quantile            binomial order statistics      the mixture of `anytime`  yes
interquartile mean  Smirnov's one-sided band       bands at growing n        yes
mean, with limits   the planned bet of `betting`   spread bets of `betting`  yes
mean, no limits     Student's t                    none                      no
=================== ============================== ========================= =======

"Exact" bounds hold for any distribution, with jumps, gaps and failed seeds, and any number of
seeds. A failed seed is worse than any number: infinite in the direction that is worse, or with
limits the worse limit.

**The interquartile mean** is twice the integral of the quantile function Q over (1/4, 3/4). If the
true distribution function is nowhere more than eps above the observed one, then Q(u) is at least
the observed quantile of u - eps; so the same integral over (1/4 - eps, 3/4 - eps) of the observed
quantiles is a lower bound, and with + eps an upper one. It is finite once eps < 1/4: from 28 seeds
on at alpha 0.025, or with limits from the first seed on, since a quantile is no smaller than the
lower limit. Each side needs a one-sided band alone: its exact eps is Smirnov's, which is
conservative for distributions with jumps; beyond `SMIRNOV` seeds that of Massart is used,
sqrt(ln(1 / alpha) / (2 n)), which is no smaller and 1 % larger at 100 seeds.

At every n: a band is made at fixed numbers of seeds that grow by a quarter, the j-th of them with
the share J / ((j + J) (j + J - 1)) of alpha, J = `LOOKS`; these shares add up to 1, so all bands
together are wrong with a probability of at most alpha. In between the last of them stays. The first
is where eps is a quarter, since earlier ones leave the bounds open; with limits at a quarter of
that. At 100 to 1,000 seeds and alpha 0.025 its eps is 0.68 to 0.75 of that of the time-uniform
inequality of Howard and Ramdas, 0.85 sqrt((ln ln (e n) + 0.8 ln (1612 / alpha)) / n).

**A claim** ("at least 300") is tested seed after seed by `StatisticTest`. Who knows the most seeds
beforehand gives them all of alpha:

=================== ======================================================================
quantile            a claim about the share of seeds beyond the goal: `sequential.boundary`
interquartile mean  the bands above, the last one, after all seeds, with what is left of alpha
mean, with limits   the spread bets of `betting`
mean, no limits     Student's t at numbers of seeds that double, each with the same share of
                    alpha: approximate
=================== ======================================================================

Sources: Massart (1990), Ann. Probab. 18, 1269-1283 (the one-sided inequality with its sharp
constant). Smirnov (1944) and Birnbaum and Tingey (1951), Ann. Math. Stat. 22, 592-596 (its exact
distribution). Anderson (1969), Confidence limits for the expected value of an arbitrary bounded
random variable (bounds of an integral from a band). Howard and Ramdas (2022), Sequential estimation
of quantiles, Bernoulli 28, 1704-1728, theorem 2 and corollary 2. David and Nagaraja (2003), Order
Statistics, section 7.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import smirnovi, stdtrit

from xortune.core.errors import check_share
from xortune.core.numbers import FEWEST_FOR_MEANS, Statistic, quantile_interval
from xortune.stats.anytime import anytime_quantile
from xortune.stats.betting import (
    checked_numbers,
    mean_bounds,
    mean_evidence_above,
    mean_evidence_below,
    most_evidence_above,
    planned_mean_bounds,
)
from xortune.stats.sequential import MAX_SEEDS_OF_BOUNDARY, Boundary, boundary

SMIRNOV = 1000
"""Most seeds for which the exact one-sided distance is computed, in milliseconds."""

GROWTH, LOOKS = 1.25, 12
"""By what the seeds of one band exceed those of the one before, and after how many bands shares of
the risk begin to fall: at some hundred seeds."""

FIRST_OF_MEANS = 20
"""Seeds at the first look of a test of a mean without limits: fewer say little of a shape."""

Answer: TypeAlias = Literal["proven", "refuted", "undecided"]


@dataclass(frozen=True)
class StatisticBounds:
    """A lower and an upper bound of a statistic, each wrong with the same risk at most.

    Attributes:
        low, high: infinite where nothing bounds that side.
        exact: whether they hold for any distribution of the numbers.
        method: what they are, in words, with the source.
    """

    low: float
    high: float
    exact: bool
    method: str


def statistic_bounds(
    numbers: ArrayLike,
    statistic: Statistic,
    *,
    alpha: float,
    anytime: bool,
    maximize: bool = True,
    limits: tuple[float, float] | None = None,
) -> StatisticBounds:
    """Bounds of a statistic of all seeds from the numbers of some, which were drawn at random.

        found = statistic_bounds(returns, IQM, alpha=0.025, anytime=False)
        found.low, found.high, found.exact

    Args:
        numbers: shape (S,), in the order of the seeds; may be empty. One that is not finite
            belongs to a failed seed.
        statistic: a mean, a trimmed mean or a quantile. Nothing bounds others.
        alpha: the risk of each of both bounds, in (0, 1).
        anytime: whether the bounds hold at all numbers of seeds together, from 1 to infinity, so
            that the results may decide when to stop; else for an S chosen beforehand.
        maximize: whether a large number is good: failed seeds are worse than any number.
        limits: what no number can be below or above, if that is known.

    Raises:
        InputError: a number is beyond the limits, or alpha is out of range.
    """
    check_share("alpha", alpha)
    worst = -math.inf if maximize else math.inf
    if limits is not None:
        worst = limits[0] if maximize else limits[1]
    given = np.asarray(numbers, np.float64)
    given = np.where(np.isfinite(given), given, worst)
    if limits is not None:
        checked_numbers(given, limits)
    floor, ceiling = (-math.inf, math.inf) if limits is None else limits
    if statistic.share is not None:
        find = anytime_quantile if anytime else quantile_interval
        low, high = map(float, find(given, statistic.share, alpha=alpha))
        held = "at every number of seeds (Howard and Ramdas 2022)" if anytime else "(binomial)"
        method = f"order statistics, for any distribution, {held}"
        return StatisticBounds(max(low, floor), min(high, ceiling), True, method)
    if statistic.trim:
        low, high = _trimmed(given, statistic.trim, alpha, anytime, (floor, ceiling))
        held = "at every number of seeds" if anytime else "of Smirnov"
        method = f"a band of the distribution, for any distribution, {held} (Massart 1990)"
        return StatisticBounds(low, high, True, method)
    if statistic.trim is not None and limits is not None:
        if anytime:
            low, high = mean_bounds(given, alpha=alpha, limits=limits, ordered=False)
        else:
            low, high = planned_mean_bounds(given, alpha=alpha, limits=limits)
        method = "bets on bounded numbers, for any distribution (Waudby-Smith and Ramdas 2024)"
        return StatisticBounds(low, high, True, method)
    if statistic.trim is None or anytime:
        method = f"nothing bounds the {statistic.heading} of numbers without limits"
        return StatisticBounds(-math.inf, math.inf, statistic.trim is not None, method)
    method = "Student's t, approximate: right in the limit of many seeds, no proof"
    return StatisticBounds(*_students(given, alpha), False, method)


def _students(numbers: NDArray[np.float64], alpha: float) -> tuple[float, float]:
    """Student's bounds of a mean; both are infinite as soon as a seed failed."""
    if (failed := numbers[~np.isfinite(numbers)]).size:
        return float(failed[0]), float(failed[0])
    if numbers.size < FEWEST_FOR_MEANS:
        return -math.inf, math.inf
    mean, error = float(numbers.mean()), float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
    half = float(stdtrit(numbers.size - 1, 1 - alpha)) * error
    return mean - half, mean + half


def _trimmed(
    numbers: NDArray[np.float64],
    trim: float,
    alpha: float,
    anytime: bool,
    limits: tuple[float, float],
) -> tuple[float, float]:
    """The bounds of a trimmed mean by a band around the distribution function."""
    used, risk = numbers.size, alpha
    if anytime:
        used, risk = _last_look(used, trim, alpha, is_limited=math.isfinite(limits[0]))
    if not used:
        return limits
    ordered, eps = np.sort(numbers[:used]), _distance(used, risk)
    return tuple(  # type: ignore[return-value]
        _mean_between(ordered, trim + shift, 1 - trim + shift, limits) for shift in (-eps, eps)
    )


@lru_cache(maxsize=4096)
def _distance(n: int, alpha: float) -> float:
    """How far the true distribution function of n numbers is above the observed one, at most."""
    if n <= SMIRNOV:
        return float(smirnovi(n, alpha))
    return math.sqrt(math.log(1 / alpha) / (2 * n))


def _last_look(n: int, trim: float, alpha: float, *, is_limited: bool) -> tuple[int, float]:
    """The seeds of the last band up to n seeds, and its risk; none before the first band."""
    looks = list(_bands(n, trim, alpha, is_limited=is_limited))
    return looks[-1][:2] if looks else (0, alpha)


def _bands(
    n: int, trim: float, alpha: float, *, is_limited: bool
) -> Iterator[tuple[int, float, float]]:
    """The seeds of each band up to n seeds, its risk, and that of it and all later ones."""
    seeds, look = math.log((LOOKS + 1) / alpha) / (2 * trim**2), 1
    seeds = seeds / 4 if is_limited else seeds
    while math.ceil(seeds) <= n:
        left = alpha * LOOKS / (look + LOOKS - 1)
        yield math.ceil(seeds), left / (look + LOOKS), left
        seeds, look = GROWTH * seeds, look + 1


def _mean_between(
    ordered: NDArray[np.float64], start: float, stop: float, limits: tuple[float, float]
) -> float:
    """The mean of observed quantiles between two shares; limits where these leave (0, 1)."""
    edges = np.clip(np.linspace(0, 1, ordered.size + 1), start, stop)
    outside = max(min(stop, 0.0) - start, 0.0), max(stop - max(start, 1.0), 0.0)
    for share, limit in zip(outside, limits, strict=True):
        if share > 0 and math.isinf(limit):  # an open end, whichever side failed seeds are on
            return limit
    weights = np.concatenate([outside[:1], np.diff(edges), outside[1:]]) / (stop - start)
    values = np.concatenate([limits[:1], ordered, limits[1:]])
    return float(weights[weights > 0] @ values[weights > 0])


# -------------------------------------------------------------------------------------------------
# A claim about a statistic, which is tested seed after seed.


def decided(
    proven: NDArray[np.bool_], refuted: NDArray[np.bool_], lost: NDArray[np.bool_]
) -> tuple[Answer | None, int]:
    """The answer, None if there is none yet, and how many seeds count.

    Shapes are (S,): whether the first seeds prove what is asked, refute it, or leave too few others
    for a proof.
    """
    ends = np.flatnonzero(proven | refuted | lost)
    if not ends.size:
        return None, proven.size
    first = int(ends[0])
    answer: Answer = "refuted" if refuted[first] else "undecided"
    return "proven" if proven[first] else answer, first + 1


@dataclass(frozen=True)
class StatisticTest:
    """A test, seed after seed, of "the statistic of all seeds is at least `goal`", or at most.

        test = StatisticTest(IQM, 300.0, maximize=True, most=200, alpha=0.05)
        answer, n = test.decide(returns)

    A claim that is wrong is called proven with a probability of at most alpha, and one that is
    right refuted: for any distribution, if `exact`. It is `undecided` from the seed after which
    even the best numbers could not prove it.

    Attributes:
        statistic: a mean, a trimmed mean or a quantile.
        goal: the least, or with `maximize` False the greatest, that is to be proven; where limits
            are known, between them.
        maximize: whether a large number is good. A failed seed is worse than any number.
        most: the most seeds, fixed beforehand; of a quantile up to 20,000.
        alpha: in (0, 1).
        limits: what no number can be below or above, if that is known.
    """

    statistic: Statistic
    goal: float
    maximize: bool
    most: int
    alpha: float
    limits: tuple[float, float] | None = None

    @property
    def exact(self) -> bool:
        """Whether alpha is kept for any distribution."""
        return self.statistic.share is not None or bool(self.statistic.trim) or self._bets

    @property
    def method(self) -> str:
        """How it decides, in words."""
        if self.statistic.share is not None:
            return "an exact binomial test of the seeds beyond it"
        if self.statistic.trim:
            return f"bands of the distribution at {len(self._looks)} looks (Massart 1990)"
        if self._bets:
            return "bets on bounded numbers (Waudby-Smith and Ramdas 2024)"
        return f"Student's t at {len(self._looks)} looks, approximate without limits of the number"

    @cached_property
    def least(self) -> int | None:
        """The fewest seeds, as `most`, that can prove the claim; None if 20,000 cannot."""
        low, high = 0, 1
        while not self._may_prove(high):
            low, high = high, 2 * high
            if high > MAX_SEEDS_OF_BOUNDARY:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._may_prove(middle) else (middle, high)
        return high

    def decide(self, numbers: ArrayLike) -> tuple[Answer | None, int]:
        """The answer by the first seeds, None while more are needed, and how many of them count.

        Those behind the deciding one do not: the answer must not depend on how many are trained at
        a time.

        Args:
            numbers: shape (S,), in the order of the seeds. One that is not finite belongs to a
                failed seed; infinitely good is a seed that is not known.

        Raises:
            InputError: a number is beyond the limits.
        """
        given = self._turned(numbers)
        if self.statistic.share is not None:
            failures, seeds = self._failures(given), np.arange(1, given.size + 1)
            allowed, opposite = self._line.allowed, self._opposite.allowed
            proven, refuted = failures <= allowed[seeds], seeds - failures <= opposite[seeds]
            return decided(proven, refuted, failures > allowed[-1])
        if self._bets:
            target, asked = -math.log(self.alpha), (given, self._goal)
            limits = self._limits
            proven = mean_evidence_above(*asked, limits=limits) >= target
            refuted = mean_evidence_below(*asked, limits=limits) >= target
            lost = most_evidence_above(*asked, self.most, limits=limits) < target
            return decided(proven, refuted, lost)
        last, left = self._looks[-1]
        for n, risk in self._looks:
            if n > given.size:
                return None, given.size
            low, high = self._bounds(given[:n], risk)
            if low >= self._goal:
                return "proven", n
            if high < self._goal:
                return "refuted", n
            # With the best numbers bounds rise from look to look.
            # Failed seeds beside unknown ones have no mean: they decide it, too.
            best, _ = self._bounds(self._filled(given[:n], last), left)
            if n == last or not best >= self._goal:
                return "undecided", n
        return None, given.size

    def value(self, numbers: ArrayLike) -> float:
        """The statistic of the numbers themselves; infinite where failed seeds decide it."""
        return self.statistic.estimate(np.sort(self._turned(numbers) * self._sign))

    def further(self, numbers: ArrayLike) -> int:
        """How many more seeds, at least, can prove the claim, after numbers that do not decide."""
        given = self._turned(numbers)
        left = self.most - given.size
        if self.statistic.share is not None:
            failures = int(self._failures(given)[-1]) if given.size else 0
            return max((self._line.first(failures) or self.most) - given.size, 1)
        if not self._bets:
            return next(n for n, _ in self._looks if n > given.size) - given.size
        low, high = 0, left
        while high - low > 1:
            middle = (low + high) // 2
            found = mean_evidence_above(
                self._filled(given, given.size + middle), self._goal, limits=self._limits
            )
            enough = found.max() >= -math.log(self.alpha)
            low, high = (low, middle) if enough else (middle, high)
        return max(high, 1)

    def interval(self, numbers: ArrayLike) -> StatisticBounds:
        """Both bounds, which hold together with 1 - alpha, whatever made the test stop."""
        alpha = self.alpha / 2 if self.exact else self.alpha / 2 / len(self._looks)
        options = {"maximize": self.maximize, "limits": self.limits}
        return statistic_bounds(
            numbers,
            self.statistic,
            alpha=alpha,
            anytime=self.exact,
            **options,  # type: ignore[arg-type]
        )

    # What follows has the sign by which more is better.

    @property
    def _bets(self) -> bool:
        return self.statistic.trim == 0 and self.limits is not None

    @property
    def _sign(self) -> float:
        return 1.0 if self.maximize else -1.0

    @property
    def _goal(self) -> float:
        return self._sign * self.goal

    @property
    def _limits(self) -> tuple[float, float]:
        if self.limits is None:
            return -math.inf, math.inf
        low, high = self.limits
        return (low, high) if self.maximize else (-high, -low)

    def _turned(self, numbers: ArrayLike) -> NDArray[np.float64]:
        given = np.asarray(numbers, np.float64) * self._sign
        given = np.where(np.isnan(given), -math.inf, given)
        if self.limits is None:
            return given
        return checked_numbers(
            np.where(np.isinf(given), given.clip(*self._limits), given), self._limits
        )

    def _filled(self, given: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        """These numbers, and the best ones up to n seeds."""
        return np.concatenate([given, np.full(n - given.size, self._limits[1])])

    def _may_prove(self, most: int) -> bool:
        test = replace(self, most=most)
        return test.decide(np.full(most, math.inf if self.maximize else -math.inf))[0] == "proven"

    @cached_property
    def _share(self) -> float:
        assert self.statistic.share is not None
        return self.statistic.share if self.maximize else 1 - self.statistic.share

    def _failures(self, given: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many of the first seeds are worse than the goal.

        A quantile is at least the goal exactly where these are no more than its share of all seeds.
        """
        return np.cumsum(given < self._goal)

    @property
    def _line(self) -> Boundary:
        return boundary(1 - self._share, self.most, self.alpha)

    @property
    def _opposite(self) -> Boundary:
        return boundary(self._share, self.most, self.alpha)

    @cached_property
    def _looks(self) -> list[tuple[int, float]]:
        """The seeds of each look, and the risk of each side there."""
        trim, most = self.statistic.trim, self.most
        if trim:
            is_limited, left = self.limits is not None, self.alpha
            looks = list(_bands(most, trim, self.alpha, is_limited=is_limited))
            if looks and looks[-1][0] == most:
                left = looks.pop()[2]
            elif looks:
                left = looks[-1][2] - looks[-1][1]
            return [*((n, risk) for n, risk, _ in looks), (most, left)]
        seeds = [FIRST_OF_MEANS]
        while 2 * seeds[-1] < most:
            seeds.append(2 * seeds[-1])
        seeds = [n for n in seeds if n < most] + [most]
        return [(n, self.alpha / len(seeds)) for n in seeds]

    def _bounds(self, given: NDArray[np.float64], risk: float) -> tuple[float, float]:
        """The bounds of a trimmed mean, or of a mean without limits, for one look."""
        if self.statistic.trim:
            with np.errstate(invalid="ignore"):
                return _trimmed(given, self.statistic.trim, risk, False, self._limits)
        if (endless := given[np.isinf(given)]).size:
            return float(endless.min()), float(endless.min())
        return _students(given, risk)
