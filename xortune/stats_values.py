"""Numbers of seeds in few: mean, interquartile mean, quantiles, with bootstrap intervals.

What `summary` sums up are the seeds that have a finite number. How many these are goes with it: a
seed that crashed has none, and a mean of the others says nothing of it. What a search looks for is
to say something of all seeds: in `of_all` a failed one is infinitely bad.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ENDINGS",
    "LEAST",
    "RESAMPLES",
    "STATISTICS",
    "bootstrapped",
    "bootstrapped_of_all",
    "finite",
    "named_statistic",
    "of_all",
    "summary",
]

RESAMPLES, PART = 2000, 200
"""Resamples of a bootstrap, and how many are in memory at once."""

LEAST = 5
"""Of fewer numbers there is no interval: their resamples are few."""


def _interquartile_mean(numbers: NDArray[np.float64], *, axis: int) -> Any:
    """The mean of the middle half; scipy's `trim_mean` leaves out whole numbers of seeds."""
    from scipy.stats import trim_mean  # half a second to import

    with _quiet():
        return trim_mean(numbers, 0.25, axis=axis)


def _mean(numbers: NDArray[np.float64], *, axis: int) -> Any:
    with _quiet():
        return np.mean(numbers, axis=axis)


def _quiet() -> np.errstate:
    """A sum of numbers near the largest ones is infinite, and so none: nobody is warned of it."""
    return np.errstate(over="ignore", invalid="ignore")


STATISTICS: dict[str, Callable[..., Any]] = {
    "mean": _mean,
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


def summary(numbers: NDArray[np.float64]) -> dict[str, float]:
    """Each of `STATISTICS` of the finite numbers; NaN where there is none, or their sum is none."""
    known = finite(numbers)
    if not known.size:
        return dict.fromkeys(STATISTICS, float("nan"))
    found = {name: float(of(known, axis=0)) for name, of in STATISTICS.items()}
    return {name: one if np.isfinite(one) else float("nan") for name, one in found.items()}


def bootstrapped(
    numbers: NDArray[np.float64], name: str, *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """The percentile bootstrap interval of one of `STATISTICS` over the seeds with a finite number.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 13.3; by scipy.

    Args:
        numbers: float64, shape (S,).
        name: of the statistic.
        confidence: of the interval.
        seed: of the resampling.

    Returns:
        None of fewer than `LEAST` numbers, or of such that their sum is infinite.
    """
    from scipy.stats import bootstrap

    known = finite(numbers)
    if known.size < LEAST or np.abs(known).max() > np.finfo(np.float64).max / known.size:
        return None
    found = bootstrap(
        (known,),
        STATISTICS[name],
        n_resamples=RESAMPLES,
        batch=PART,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        random_state=np.random.default_rng(seed),  # `rng` only since scipy 1.15
    ).confidence_interval
    return float(found.low), float(found.high)


def of_all(numbers: NDArray[np.float64], statistic: str, *, axis: int = -1) -> Any:
    """A statistic of all seeds, where the number of a failed one is infinite: infinitely bad.

    A mean is infinite as soon as one seed failed, the interquartile mean with more than a quarter
    of them, a quantile where it falls on a failed seed or between one and another. Where none
    failed it is that of `STATISTICS`.

    Args:
        numbers: float64, finite, or infinite with one sign; no NaN, at least one along the axis.
        statistic: mean, iqm, median, or q01 to q99.
        axis: of the seeds.
    """
    if statistic in ("mean", "iqm"):
        return STATISTICS[statistic](numbers, axis=axis)
    share = 0.5 if statistic == "median" else int(statistic[1:]) / 100
    known = np.isfinite(numbers)
    if known.all():
        return np.quantile(numbers, share, axis=axis)
    # Those that failed stay at their end of the order, but nothing infinite is interpolated.
    ends = numbers[known]
    bad = numbers[~known].flat[0]
    other = 0.0 if not ends.size else ends.min() if bad < 0 else ends.max()
    found = np.quantile(np.where(known, numbers, other), share, axis=axis)
    sides = [np.quantile(numbers, share, axis=axis, method=m) for m in ("lower", "higher")]
    return np.where(np.isfinite(sides[0]) & np.isfinite(sides[1]), found, bad)


def bootstrapped_of_all(
    numbers: NDArray[np.float64], statistic: str, *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """The percentile bootstrap interval of `of_all`; an end is infinite where failed seeds decide.

    As `bootstrapped`, but scipy's interval would be NaN where a resample comes out infinite.

    Args:
        numbers: shape (S,), as of `of_all`.
        statistic: as of `of_all`.
        confidence: of the interval.
        seed: of the resampling.

    Returns:
        None of fewer than `LEAST` seeds.
    """
    if numbers.size < LEAST:
        return None
    rng = np.random.default_rng(seed)
    parts = [
        of_all(numbers[rng.integers(0, numbers.size, (PART, numbers.size))], statistic)
        for _ in range(RESAMPLES // PART)
    ]
    found = np.sort(np.concatenate(parts))
    # Ends of the order, one resample further out where it falls between two: never too narrow.
    outside = (1 - confidence) / 2 * (RESAMPLES - 1)
    low, high = int(np.floor(outside)), int(np.ceil(RESAMPLES - 1 - outside))
    return float(found[low]), float(found[high])
