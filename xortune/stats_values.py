"""Numbers of seeds in few: mean, interquartile mean, quantiles, with bootstrap intervals.

What is summed up are the seeds that have a finite number. How many these are goes with it: a seed
that crashed has none, and a mean of the others says nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "RESAMPLES", "STATISTICS", "bootstrapped", "finite", "summary"]

RESAMPLES, PART = 2000, 200
"""Resamples of a bootstrap, and how many are in memory at once."""

LEAST = 5
"""Of fewer numbers there is no interval: their resamples are few."""


def _interquartile_mean(numbers: NDArray[np.float64], *, axis: int) -> Any:
    """The mean of the middle half; scipy's `trim_mean` leaves out whole numbers of seeds."""
    from scipy.stats import trim_mean  # half a second to import

    return trim_mean(numbers, 0.25, axis=axis)


STATISTICS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "iqm": _interquartile_mean,
    "q10": partial(np.quantile, q=0.1),
    "median": np.median,
    "q90": partial(np.quantile, q=0.9),
}
"""By the ending of their column."""


def finite(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that are finite."""
    return numbers[np.isfinite(numbers)]


def summary(numbers: NDArray[np.float64]) -> dict[str, float]:
    """Each of `STATISTICS` of the finite numbers; NaN where there is none."""
    known = finite(numbers)
    if not known.size:
        return dict.fromkeys(STATISTICS, float("nan"))
    return {name: float(of(known, axis=0)) for name, of in STATISTICS.items()}


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
        None of fewer than `LEAST` numbers.
    """
    from scipy.stats import bootstrap

    known = finite(numbers)
    if known.size < LEAST:
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
