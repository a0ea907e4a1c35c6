"""Summaries of numbers of seeds, such as accuracies: means, quantiles, bands, with intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, bdtrc, ndtri, stdtrit

# `summary` is of the seeds that have a finite number; a crashed seed has none, so reports show how
# many seeds these are. The objective of a search covers all seeds: in `of_all` a failed seed is
# infinitely bad.

CONFIDENCE = 0.95  # of all intervals here

TINY = 1e-9  # less than the length of any interval of a probability here

FEWEST_FOR_MEANS = 5
"""Means of fewer numbers have no interval: so few say little about their scatter."""


def _interquartile_mean(numbers: NDArray[np.float64]) -> Any:
    """The mean of the middle half; `trim_mean` cuts a whole number of seeds at each end."""
    from scipy.stats import trim_mean  # half a second to import

    return trim_mean(numbers, 0.25)


STATISTICS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "iqm": _interquartile_mean,
    "q10": partial(np.quantile, q=0.1),
    "median": np.median,
    "q90": partial(np.quantile, q=0.9),
}
"""Statistic functions, keyed by column suffix."""

ENDINGS = "_mean, _iqm, _median, _q01 to _q99"
"""Endings that make an objective of a number's name."""

_QUANTILE = re.compile(r"q(0[1-9]|[1-9][0-9])")


def named_statistic(text: str) -> tuple[str, str] | None:
    """("accuracy", "q10") for `accuracy_q10`; None without one of `ENDINGS`."""
    name, _, ending = text.rpartition("_")
    known = ending in STATISTICS or _QUANTILE.fullmatch(ending) is not None
    return (name, ending) if name and known else None


def finite(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The finite numbers."""
    return numbers[np.isfinite(numbers)]


# A sum near the largest float overflows: the statistic is NaN, without a warning.
@np.errstate(over="ignore", invalid="ignore")
def summary(numbers: NDArray[np.float64]) -> dict[str, float]:
    """Each of `STATISTICS` of the finite numbers; NaN without any, or if their sum overflows."""
    known = finite(numbers)
    if not known.size:
        return dict.fromkeys(STATISTICS, math.nan)
    values = {name: float(statistic(known)) for name, statistic in STATISTICS.items()}
    return {name: value if math.isfinite(value) else math.nan for name, value in values.items()}


@np.errstate(over="ignore", invalid="ignore")
def of_all(numbers: NDArray[np.float64], statistic: str) -> float:
    """A statistic of all seeds, where a failed seed has an infinite number: infinitely bad.

    A mean is infinite as soon as one seed failed, the interquartile mean if more than a quarter
    failed, a quantile if it falls on a failed seed or next to one. If none failed it is that of
    `STATISTICS`.

    Args:
        numbers: float64, shape (S,), at least one: finite, or infinite with one sign; no NaN.
        statistic: mean, iqm, median, or q01 to q99.
    """
    if (share := quantile_share(statistic)) is None:
        return float(STATISTICS[statistic](numbers))
    known = np.isfinite(numbers)
    if known.all():
        return float(np.quantile(numbers, share))
    bad = numbers[~known].flat[0]
    sides = [np.quantile(numbers, share, method=m) for m in ("lower", "higher")]
    if not np.isfinite(sides).all():
        return float(bad)
    # Failed seeds keep their end of the order, with a finite number that can be interpolated.
    worst = numbers[known].min() if bad < 0 else numbers[known].max()
    return float(np.quantile(np.where(known, numbers, worst), share))


def quantile_interval(numbers: NDArray[np.float64], share: float) -> tuple[float, float]:
    """The 95 % interval of a quantile between two order statistics, for any distribution.

    The number of seeds below the true quantile is binomial. So each end misses the truth with a
    probability of at most 2.5 %, for any distribution and any number of seeds.

    Args:
        numbers: shape (S,), at least one; may be infinite, no NaN.
        share: of the quantile, in (0, 1).

    Returns:
        (low, high). An end is infinite where no order statistic is far enough out: the 10 %
        quantile has a lower end from 36 seeds on, and an upper end from 2 on.

    Source:
        David and Nagaraja (2003), Order Statistics, section 7.1.
    """
    ordered, tail = np.sort(numbers), (1 - CONFIDENCE) / 2
    below = np.arange(ordered.size)
    low = int((bdtr(below, ordered.size, share) <= tail).sum()) - 1
    high = ordered.size - int((bdtrc(below, ordered.size, share) <= tail).sum())
    return (
        float(ordered[low]) if low >= 0 else -np.inf,
        float(ordered[high]) if high < ordered.size else np.inf,
    )


def interval_of_all(numbers: NDArray[np.float64], statistic: str) -> tuple[float, float] | None:
    """The 95 % interval of `of_all`: exact for a quantile, approximate for a mean.

    A quantile has `quantile_interval`, a mean Student's interval, and the interquartile mean Tukey
    and McLaughlin's: Student's of the middle half, with the winsorized standard deviation. The last
    two are exact in the limit only; docs/statistics.md says how often they cover with few seeds.

    Args:
        numbers: shape (S,), as of `of_all`.
        statistic: as of `of_all`.

    Returns:
        (low, high); None for a mean of fewer than `FEWEST_FOR_MEANS` seeds, for no seeds, and if
        squares of the numbers overflow. An end is infinite where failed seeds decide it: both ends
        of a mean as soon as one failed; the worse end of the interquartile mean unless a failure
        rate above a quarter is ruled out; an end of a quantile with too few seeds.

    Source:
        Tukey and McLaughlin (1963), Sankhya A 25, 331-352.
    """
    if (share := quantile_share(statistic)) is not None:
        return quantile_interval(numbers, share) if numbers.size else None
    if numbers.size < FEWEST_FOR_MEANS:
        return None
    ordered = np.sort(numbers)
    cut = ordered.size // 4 if statistic == "iqm" else 0
    middle = ordered[cut : ordered.size - cut]
    if not np.isfinite(middle).all():
        bad = float(ordered[~np.isfinite(ordered)][0])
        return (bad, bad) if statistic == "mean" else None
    with np.errstate(over="ignore", invalid="ignore"):
        winsorized = np.clip(ordered, middle[0], middle[-1])
        error = winsorized.std(ddof=1) * np.sqrt(ordered.size) / middle.size
        half = float(stdtrit(middle.size - 1, (1 + CONFIDENCE) / 2) * error)
        low, high = float(middle.mean()) - half, float(middle.mean()) + half
    if not np.isfinite([low, high]).all():
        return None
    if ordered[0] == -np.inf and np.isneginf(quantile_interval(ordered, 0.25)[0]):
        low = -np.inf
    if ordered[-1] == np.inf and np.isposinf(quantile_interval(ordered, 0.75)[1]):
        high = np.inf
    return low, high


def quantile_share(statistic: str) -> float | None:
    """The share of numbers up to a quantile; None for a mean."""
    if statistic in ("mean", "iqm"):
        return None
    return 0.5 if statistic == "median" else int(statistic[1:]) / 100


def probability_of_larger(
    first: NDArray[np.float64], second: NDArray[np.float64], *, shared: bool
) -> tuple[float, float, float]:
    """The probability that a seed of A has a larger number than a seed of B, and its 95 % interval.

    A tie counts half: theta = P(X > Y) + P(X = Y) / 2, the Mann-Whitney statistic as a share of all
    pairs. The interval holds each t with |theta - t| <= q sqrt(V(t)). V is the larger of two
    variances: Newcombe's, which is positive even if all numbers of A are larger than all of B, and
    Brunner and Munzel's estimate, which sees that the numbers of A scatter more than those of B,
    and that shared seeds are easy for one and hard for the other; it is taken as proportional to
    t (1 - t). Where shared seeds are easy or hard for both, Newcombe's is multiplied by 1 minus the
    lower 95 % bound of the correlation of placements (Fisher's z). q is Student's quantile of
    2 min(S, T) - 2 degrees of freedom instead of the normal one. docs/statistics.md says how often
    it covers.

    Args:
        first: the numbers of A, shape (S,), S >= 1; may be infinite, no NaN.
        second: those of B, shape (T,), T >= 1.
        shared: whether both have the same seeds in the same order.

    Returns:
        (theta, low, high), each in [0, 1]; low < high. With a single seed the interval is [0, 1].

    Source:
        Newcombe (2006), Statistics in Medicine 25, 559-573, method 5: V(t) = t (1 - t) (1 +
        N ((1 - t) / (2 - t) + t / (1 + t))) / (S T), N = (S + T) / 2 - 1. Brunner and Munzel
        (2000), Biometrical Journal 42, 17-25; for shared seeds Munzel and Brunner (2002),
        Biometrical Journal 44, 584-593: the variance of placements, and of their differences.
    """
    mine, theirs = _placements(first, second), _placements(second, first)
    theta, fewer = float(mine.mean()), min(first.size, second.size)
    pairs = float(first.size * second.size)
    if fewer < 2:
        return theta, 0.0, 1.0
    if shared:
        spread = (mine - theirs).var(ddof=1) / fewer
        pairs /= 1 - _least_correlation(mine, theirs)
    else:
        spread = mine.var(ddof=1) / first.size + theirs.var(ddof=1) / second.size
    estimate = float(spread) / (theta * (1 - theta)) if 0 < theta < 1 else 0.0
    weight = (first.size + second.size) / 2 - 1
    quantile = float(stdtrit(2 * fewer - 2, (1 + CONFIDENCE) / 2))

    def excess(t: float) -> float:
        newcombe = (1 + weight * ((1 - t) / (2 - t) + t / (1 + t))) / pairs
        return (theta - t) ** 2 - quantile**2 * t * (1 - t) * max(newcombe, estimate)

    from scipy.optimize import brentq  # a quarter of a second to import

    # At theta = 0 or 1 there is a root at theta itself, beside the one at the end of the interval.
    low = float(brentq(excess, 0.0, min(theta, 1 - TINY))) if theta > 0 else 0.0
    high = float(brentq(excess, max(theta, TINY), 1.0)) if theta < 1 else 1.0
    return theta, low, high


def _least_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The lower 95 % bound of the correlation of two samples of shared seeds; at least 0."""
    n = one.size
    if n < 4 or not np.ptp(one) or not np.ptp(other):
        return 0.0
    # Below 1, so that an interval has width even if all seeds are as easy for one as for the other.
    seen = max(0.0, min(float(np.corrcoef(one, other)[0, 1]), 1 - 1 / n))
    return max(0.0, math.tanh(math.atanh(seen) - ndtri(CONFIDENCE) / math.sqrt(n - 3)))


def _placements(numbers: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape (S,): the share of the others that each number is larger than; a tie counts half."""
    ordered = np.sort(among)
    below, upto = (np.searchsorted(ordered, numbers, side) for side in ("left", "right"))
    return (below + upto) / (2 * among.size)


def dkw_band(
    shares: ArrayLike, n: int, *, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The band around an observed distribution function that contains the whole true function.

    Its half width is sqrt(ln(2 / alpha) / (2 n)), alpha = 1 - confidence. With at least the given
    probability the largest distance of the two functions is at most that, for any true function:
    with jumps, and with a part that is never reached.

    Args:
        shares: of n observations, in [0, 1], any shape.
        n: observations, at least 1, chosen beforehand.
        confidence: the least probability that the whole function lies within the band.

    Returns:
        (low, high), of the same shape, within [0, 1].

    Source:
        Dvoretzky, Kiefer and Wolfowitz (1956), Ann. Math. Stat. 27, 642-669, with the constant of
        Massart (1990), Ann. Probab. 18, 1269-1283, corollary 1, the smallest possible one.
    """
    seen, half = np.asarray(shares, np.float64), math.sqrt(math.log(2 / (1 - confidence)) / (2 * n))
    return np.maximum(seen - half, 0.0), np.minimum(seen + half, 1.0)
