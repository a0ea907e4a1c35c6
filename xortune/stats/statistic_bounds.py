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

Sources: Massart (1990), Ann. Probab. 18, 1269-1283 (the one-sided inequality with its sharp
constant). Smirnov (1944) and Birnbaum and Tingey (1951), Ann. Math. Stat. 22, 592-596 (its exact
distribution). Anderson (1969), Confidence limits for the expected value of an arbitrary bounded
random variable (bounds of an integral from a band). Howard and Ramdas (2022), Sequential estimation
of quantiles, Bernoulli 28, 1704-1728, theorem 2 and corollary 2. David and Nagaraja (2003), Order
Statistics, section 7.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import smirnovi, stdtrit

from xortune.core.errors import check_share
from xortune.core.numbers import FEWEST_FOR_MEANS, Statistic, quantile_interval
from xortune.stats.anytime import anytime_quantile
from xortune.stats.betting import checked_numbers, mean_bounds, planned_mean_bounds

SMIRNOV = 1000
"""Most seeds for which the exact one-sided distance is computed, in milliseconds."""

GROWTH, LOOKS = 1.25, 12
"""By what the seeds of one band exceed those of the one before, and after how many bands shares of
the risk begin to fall: at some hundred seeds."""


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


def _distance(n: int, alpha: float) -> float:
    """How far the true distribution function of n numbers is above the observed one, at most."""
    if n <= SMIRNOV:
        return float(smirnovi(n, alpha))
    return math.sqrt(math.log(1 / alpha) / (2 * n))


def _last_look(n: int, trim: float, alpha: float, *, is_limited: bool) -> tuple[int, float]:
    """The seeds of the last band up to n seeds, and its risk; none before the first band."""
    seeds, used, risk = math.log((LOOKS + 1) / alpha) / (2 * trim**2), 0, alpha
    seeds, look = seeds / 4 if is_limited else seeds, 1
    while math.ceil(seeds) <= n:
        used, risk = math.ceil(seeds), alpha * LOOKS / ((look + LOOKS) * (look + LOOKS - 1))
        seeds, look = GROWTH * seeds, look + 1
    return used, risk


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
