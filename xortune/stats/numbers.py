"""Numbers of seeds: means, quantiles and bands with intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, bdtrc, stdtrit

# -------------------------------------------------------------------------------------------------
# Numbers of seeds in few: mean, interquartile mean, quantiles, with their intervals.
#
# What `summary` sums up are the seeds that have a finite number. How many these are goes with it:
# a seed that crashed has none, and a mean of the others says nothing of it. What a search looks
# for is to say something of all seeds: in `of_all` a failed one is infinitely bad.

CONFIDENCE = 0.95  # of all intervals here

LEAST = 5
"""Means of fewer numbers have no interval: they say next to nothing of how numbers scatter."""


def _interquartile_mean(numbers: NDArray[np.float64]) -> Any:
    """The mean of the middle half; scipy's `trim_mean` leaves out whole numbers of seeds."""
    from scipy.stats import trim_mean  # half a second to import

    return trim_mean(numbers, 0.25)


STATISTICS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "iqm": _interquartile_mean,
    "q10": partial(np.quantile, q=0.1),
    "median": np.median,
    "q90": partial(np.quantile, q=0.9),
}
"""By the ending of their column."""

ENDINGS = "_mean, _iqm, _median, _q01 to _q99"
"""What may follow the name of a number where a search looks for it."""

_QUANTILE = re.compile(r"q(0[1-9]|[1-9][0-9])")


def named_statistic(text: str) -> tuple[str, str] | None:
    """`accuracy_q10` as ("accuracy", "q10"); None if it has none of `ENDINGS`."""
    name, _, ending = text.rpartition("_")
    known = ending in STATISTICS or _QUANTILE.fullmatch(ending) is not None
    return (name, ending) if name and known else None


def finite(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that are finite."""
    return numbers[np.isfinite(numbers)]


# A sum of numbers near the largest ones is infinite, and so none: nobody is warned of it.
@np.errstate(over="ignore", invalid="ignore")
def summary(numbers: NDArray[np.float64]) -> dict[str, float]:
    """Each of `STATISTICS` of the finite numbers; NaN where there is none, or their sum is none."""
    known = finite(numbers)
    if not known.size:
        return dict.fromkeys(STATISTICS, float("nan"))
    found = {name: float(of(known)) for name, of in STATISTICS.items()}
    return {name: one if np.isfinite(one) else float("nan") for name, one in found.items()}


@np.errstate(over="ignore", invalid="ignore")
def of_all(numbers: NDArray[np.float64], statistic: str) -> float:
    """A statistic of all seeds, where the number of a failed one is infinite: infinitely bad.

    A mean is infinite as soon as one seed failed, the interquartile mean with more than a quarter
    of them, a quantile where it falls on a failed seed or between one and another. Where none
    failed it is that of `STATISTICS`.

    Args:
        numbers: float64, shape (S,), at least one: finite, or infinite with one sign; no NaN.
        statistic: mean, iqm, median, or q01 to q99.
    """
    if (share := quantile_share(statistic)) is None:
        return float(STATISTICS[statistic](numbers))
    known = np.isfinite(numbers)
    if known.all():
        return float(np.quantile(numbers, share))
    # Those that failed stay at their end of the order, but nothing infinite is interpolated.
    ends = numbers[known]
    bad = numbers[~known].flat[0]
    other = 0.0 if not ends.size else ends.min() if bad < 0 else ends.max()
    sides = [np.quantile(numbers, share, method=m) for m in ("lower", "higher")]
    if not np.isfinite(sides).all():
        return float(bad)
    return float(np.quantile(np.where(known, numbers, other), share))


def quantile_interval(numbers: NDArray[np.float64], share: float) -> tuple[float, float]:
    """The 95 % interval of a quantile between two order statistics, whatever the distribution is.

    The number of seeds below the true quantile is binomial. So each end lies beyond the truth with
    a probability of at most 2.5 %, for any distribution and any number of seeds.

    Args:
        numbers: shape (S,), at least one; they may be infinite, no NaN.
        share: of the quantile, in (0, 1).

    Returns:
        (low, high). An end is infinite where no order statistic is far enough out: the 10 %
        quantile has a lower end from 36 seeds on, and an upper one from 2 on.

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

    That of a quantile is `quantile_interval`. That of a mean is Student's, that of the
    interquartile mean is Tukey and McLaughlin's: Student's of the middle half, with the winsorized
    standard deviation. Both are exact in the limit only; docs/statistics.md says how often they
    cover with few seeds.

    Args:
        numbers: shape (S,), as of `of_all`.
        statistic: as of `of_all`.

    Returns:
        (low, high); None of a mean of fewer than `LEAST` seeds, of no seeds, and where numbers are
        too large for their squares. An end is infinite where failed seeds decide it: both ends of a
        mean as soon as one failed; the worse end of the interquartile mean where a failure rate
        above a quarter is not ruled out; and an end of a quantile for which seeds are too few.

    Source:
        Tukey and McLaughlin (1963), Sankhya A 25, 331-352.
    """
    if (share := quantile_share(statistic)) is not None:
        if not numbers.size:
            return None
        return quantile_interval(numbers, share)
    if numbers.size < LEAST:
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
    """Of a quantile the share of numbers up to it; None of a mean."""
    if statistic in ("mean", "iqm"):
        return None
    return 0.5 if statistic == "median" else int(statistic[1:]) / 100


def dkw_band(
    shares: ArrayLike, n: int, *, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The band around an observed distribution function, which holds the true one everywhere.

    Its half width is sqrt(ln(2 / alpha) / (2 n)), alpha = 1 - confidence: with at least the given
    probability the largest distance of the two functions is at most that, whatever the true one is:
    with jumps, and with a part that is never reached.

    Args:
        shares: of n observations, in [0, 1], any shape.
        n: observations, at least 1, a number chosen beforehand.
        confidence: the probability, at least, that the whole function lies within the band.

    Returns:
        (low, high), of the same shape, within [0, 1].

    Source:
        Dvoretzky, Kiefer and Wolfowitz (1956), Ann. Math. Stat. 27, 642-669, with the constant of
        Massart (1990), Ann. Probab. 18, 1269-1283, corollary 1, than which none is smaller.
    """
    seen, half = np.asarray(shares, np.float64), math.sqrt(math.log(2 / (1 - confidence)) / (2 * n))
    return np.maximum(seen - half, 0.0), np.minimum(seen + half, 1.0)
