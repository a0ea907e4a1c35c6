"""Bounds and tests of the mean of bounded numbers that hold however often one looks.

The mean of numbers without limits has no such bound: one number in a million may be a billion. If
all numbers lie between two known limits, here 0 and 1, one can bet against the hypothesis "the mean
is m": put the share f of a stake on a paper that is worth x/m after a number x, and keep the rest.
One number multiplies the stake by

    1 - f + f x/m = 1 + (f/m) (x - m),

which is not negative and has a mean of 1 under the hypothesis, of less if the mean is below m. So
the stake is a nonnegative supermartingale for every mean up to m: it ever grows to 1 / alpha with
probability at most alpha (Ville's inequality). A stake that is spread over several shares f, each
left alone, is one too. It falls with m. So the means against which it has ever
grown to 1 / alpha lie below a bound, which is above the true mean at any number of seeds with
probability at most alpha. The upper bound comes from 1 - x.

The share that wins most is not known beforehand. Spread bets do nearly as well as the best one:
they lose the logarithm of its part of the stake, where strategies that learn the share from the
numbers so far lose about as much while they learn. Here 97 % of the stake lies on 20 even shares,
in proportion to f^0.5 (1 - f)^-0.5, so that numbers near the upper limit are soon proven to be
there, and 3 % on shares that halve down to 1/160,000, which many seeds want. At 1,000 seeds
intervals are 0.8 to 1.08 times as wide as those of the paper's hedged capital. A mean of 0.9 is
proven to be above 0.8 with 1.1 to 1.27 times the seeds that any test needs, log(1 / alpha) over the
largest expected logarithm of a factor (a Kullback-Leibler divergence). benchmarks/README.md has the
figures.

`numbers` always have shape (S,): the seeds in their order,
which the caller must not choose by their results.

Sources: Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, J.
R. Stat. Soc. B 86, 1-27 (the capital process, equation 19; hedged, section 4.2). Cover (1991),
Universal portfolios, Math. Finance 1, 1-29, and Orabona and Jun (2024), Tight concentrations and
confidence sequences from the regret of universal portfolio, IEEE Trans. Inf. Theory 70, 436-455
(spread bets). Ville (1939), Étude critique de la notion de collectif.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.core.errors import InputError, check_share

Floats: TypeAlias = NDArray[np.float64]

UNIT = (0.0, 1.0)
"""The limits of numbers where none are given."""


_EVEN = (np.arange(20) + 0.5) / 20
_HALVED = 2.0 ** -np.arange(1, 13) / 40

SHARES = np.concatenate([_EVEN, _HALVED])
"""Shape (F,): f of each bet, in (0, 1)."""

_WEIGHTS = (_EVEN / (1 - _EVEN)) ** 0.5
PARTS = np.concatenate(
    [0.97 * _WEIGHTS / _WEIGHTS.sum(), np.full(_HALVED.size, 0.03 / _HALVED.size)]
)
"""Shape (F,): of the stake, for each bet; their sum is 1."""


NEAREST = 1e-12
"""The least distance of a mean from a limit, as a share of the width, that floats tell apart."""


def mean_evidence_above(
    numbers: ArrayLike, mean: float, *, limits: tuple[float, float] = UNIT
) -> Floats:
    """The logarithm of an e-value for "the true mean is above `mean`", after each seed.

    If the true mean is `mean` or less, it ever reaches log(1 / alpha) with probability at most
    alpha. Each seed's number may depend on those before; its mean given them must be at most `mean`
    under the hypothesis.

    Args:
        numbers: shape (S,), in the order of the seeds.
        mean: within the limits.
        limits: (low, high): what no number can be below or above.

    Returns:
        shape (S,).

    Raises:
        InputError: a number is beyond the limits.
    """
    unit, m = _unit(numbers, limits), _in_unit(mean, limits)
    return _log_stake(unit, m)


def mean_evidence_below(
    numbers: ArrayLike, mean: float, *, limits: tuple[float, float] = UNIT
) -> Floats:
    """As `mean_evidence_above`, for "the true mean is below `mean`"."""
    unit, m = _unit(numbers, limits), _in_unit(mean, limits)
    return _log_stake(1 - unit, 1 - m)


def most_evidence_above(
    numbers: ArrayLike, mean: float, seeds: int, *, limits: tuple[float, float] = UNIT
) -> Floats:
    """The most that `mean_evidence_above` can still come to, after each seed.

    It is what it would be if each of the other seeds, up to `seeds`, had the greatest number.
    """
    unit, m = _unit(numbers, limits), _in_unit(mean, limits)
    if not 0 < m < 1:
        return np.full(unit.size, 0.0 if m >= 1 else math.inf)
    logs = _log_stakes(unit, m)
    left = np.maximum(seeds - np.arange(1, unit.size + 1), 0)
    reached = _log_sum(logs + np.multiply.outer(left, np.log1p((1 / m - 1) * SHARES)))
    return np.maximum(reached, np.maximum.accumulate(_log_sum(logs)))


def mean_bounds(
    numbers: ArrayLike,
    *,
    alpha: float,
    limits: tuple[float, float] = UNIT,
    ordered: bool = True,
) -> tuple[float, float]:
    """(low, high): bounds of the mean of bounded numbers that hold at every n simultaneously.

    Each is wrong at any number of seeds, from 1 to infinity, with probability at most alpha. They
    are the best of those after each of the seeds; where these contradict each other, as of numbers
    that change with their order, those after the last seed.

    Args:
        numbers: shape (S,), in the order of the seeds; may be empty.
        alpha: of each single bound, in (0, 1).
        limits: as of `mean_evidence_above`.
        ordered: False if the numbers are not in the order of the seeds: then the bounds are those
            after the last one, which do not depend on the order.

    Raises:
        InputError: a number is beyond the limits, or alpha is out of range.
    """
    check_share("alpha", alpha)
    unit, (start, end) = _unit(numbers, limits), limits
    target = -math.log(alpha)
    low = _lower(unit, target, ordered=ordered)
    high = 1 - _lower(1 - unit, target, ordered=ordered)
    if low > high:
        return mean_bounds(numbers, alpha=alpha, limits=limits, ordered=False)
    return start + (end - start) * low, start + (end - start) * high


def planned_mean_bounds(
    numbers: ArrayLike, *, alpha: float, limits: tuple[float, float] = UNIT
) -> tuple[float, float]:
    """(low, high): bounds of the mean of bounded numbers for a number of seeds chosen beforehand.

    As `mean_bounds`, by one bet whose size is best for that many seeds and for the scatter of the
    numbers before: lambda of seed t is sqrt(2 ln(1 / alpha) / (S v)), v their variance, and at most
    3/4 of what could be lost. At 100 to 1,000 seeds of broad distributions the bounds are 0.6 to
    0.8 times as far from the mean as those of `mean_bounds`. They depend on the order of the seeds,
    and are the limits where both contradict each other, as of numbers that change with their order.

    Source:
        Waudby-Smith and Ramdas (2024), section 4.2 and equation 26 (fixed n).
    """
    check_share("alpha", alpha)
    unit, (start, end) = _unit(numbers, limits), limits
    low, high = _planned_lower(unit, alpha), 1 - _planned_lower(1 - unit, alpha)
    if low > high:
        return limits
    return start + (end - start) * low, start + (end - start) * high


def _planned_lower(unit: Floats, alpha: float) -> float:
    """The largest mean that the bet of `planned_mean_bounds` refutes; 0 if there is none."""
    if not unit.any():
        return 0.0
    seen = np.arange(2, unit.size + 2)
    means = (0.5 + unit.cumsum()) / seen
    variances = (0.25 + np.square(unit - means).cumsum()) / seen
    before = np.concatenate([[0.25], variances[:-1]])
    sizes, target = np.sqrt(-2 * math.log(alpha) / (unit.size * before)), -math.log(alpha)

    def excess(mean: float) -> float:
        factors = np.log1p(np.minimum(sizes, 0.75 / mean) * (unit - mean))
        return float(factors.cumsum().max()) - target

    return _root(excess)


def paired_limits(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits of the difference of two numbers within these limits."""
    width = limits[1] - limits[0]
    return -width, width


def checked_limits(given: object, field: str = "bounds") -> tuple[float, float]:
    """Two finite numbers, the smaller one first.

    Raises:
        InputError: they are not.
    """
    try:
        low, high = (float(one) for one in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high - low) and low < high):
        raise InputError(
            f"{given!r}",
            field=field,
            allowed="two numbers, the least and the greatest that a seed can have: [0, 1]",
        )
    return low, high


def _in_unit(mean: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return (mean - low) / (high - low)


def checked_numbers(numbers: ArrayLike, limits: tuple[float, float]) -> Floats:
    """The numbers, shape (S,).

    Raises:
        InputError: one is beyond the limits.
    """
    given, (low, high) = np.asarray(numbers, np.float64), limits
    if not ((given >= low) & (given <= high)).all():
        wrong = given[~((given >= low) & (given <= high))][0]
        raise InputError(
            f"a seed has the number {wrong:g}",
            field="bounds",
            allowed=f"numbers from {low:g} to {high:g}",
            fix="give wider bounds: what no seed can be below or above",
        )
    return given


def _unit(numbers: ArrayLike, limits: tuple[float, float]) -> Floats:
    low, high = limits
    return (checked_numbers(numbers, limits) - low) / (high - low)


def _log_stake(unit: Floats, mean: float) -> Floats:
    """Shape (S,): the logarithm of the stake after each seed; inf once it cannot be true."""
    if mean <= 0:  # a single number above 0 refutes a mean of 0
        return np.where(np.maximum.accumulate(unit > 0), math.inf, 0.0)
    if mean >= 1:
        return np.zeros(unit.size)
    return _log_sum(_log_stakes(unit, mean))


def _log_stakes(unit: Floats, mean: float) -> Floats:
    """Shape (S, F): the logarithm of what each bet has come to after each seed."""
    factors = np.log1p(np.multiply.outer(unit / mean - 1, SHARES))
    return np.asarray(np.cumsum(factors, axis=0) + np.log(PARTS), np.float64)


def _log_sum(logs: Floats) -> Floats:
    """Shape (S,): the logarithm of the sum of each row."""
    most = logs.max(axis=1, keepdims=True)
    return np.asarray(most[:, 0] + np.log(np.exp(logs - most).sum(axis=1)), np.float64)


def _lower(unit: Floats, target: float, *, ordered: bool) -> float:
    """The largest mean against which the stake has ever, or in the end, grown to exp(target)."""
    if not unit.any():
        return 0.0

    def excess(mean: float) -> float:
        if ordered:
            return float(_log_stake(unit, mean).max()) - target
        factors = np.log1p(np.multiply.outer(unit / mean - 1, SHARES))
        return float(_log_sum((factors.sum(axis=0) + np.log(PARTS))[None])[0]) - target

    return _root(excess)


def _root(excess: Callable[[float], float]) -> float:
    """Where a falling function of a mean is 0; 0 if it is negative before."""
    from scipy.optimize import brentq  # a quarter of a second to import

    # No stake grows beyond (1/m)^S, so this mean is refuted unless all numbers are tiny.
    low, high = NEAREST, 1 - NEAREST
    if excess(low) <= 0:
        return 0.0
    if excess(high) >= 0:
        return high
    return float(brentq(excess, low, high, xtol=1e-10))
