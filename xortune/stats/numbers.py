"""Numbers of seeds: which configuration has the better ones, and bands of whole distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, bdtrc, ndtri, stdtr, stdtrit

from xortune.core.numbers import CONFIDENCE, FEWEST_FOR_MEANS, IQM, Statistic, quantile_interval

TINY = 1e-9  # less than the length of any interval of a probability here


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


@dataclass(frozen=True)
class StatisticDifference:
    """A statistic of A minus that of B.

    Attributes:
        value: of the two samples; NaN if failed seeds decide one of them.
        low, high: its interval with confidence 1 - alpha; an end may be infinite.
        p: two-sided, of "there is no difference"; below alpha if and only if 0 is not in the
            interval.
    """

    value: float
    low: float
    high: float
    p: float


LARGEST_PERMUTED = 20_000
"""Most rearrangements of the labels that are all tried; of more as many are drawn."""

FEWEST_SWAPS = 6
"""Of fewer pairs the labels can be swapped in so few ways that none is improbable."""

FROM_SEEDS = 40
"""From so many seeds on, the distribution of a studentised difference is Student's, whatever that
of the numbers is: rearrangements would only take time. Not so that of interquartile means of tied
numbers, whose winsorized variance depends on which numbers lie at the quartiles, for any number of
seeds."""

FEWER_PERMUTED = 2_000
"""As `LARGEST_PERMUTED`, from `FROM_SEEDS` on: their number times that of seeds takes time."""


def difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    statistic: Statistic,
    *,
    shared: bool,
    alpha: float,
) -> StatisticDifference:
    """A statistic of A minus that of B, with an interval and a test.

    Quantiles: both have bounds between two of their numbers, and the difference lies between the
    differences of these bounds. Each of the four holds with 1 - alpha / 4, for any distributions
    and whether seeds are shared or not.

    Means and interquartile means: Yuen's studentised difference (Welch's for means), for shared
    seeds of pairs; p is at least the share of rearrangements of the labels whose studentised
    difference is as large (of shared seeds with fewer than 6 only if some numbers are equal).
    The interval holds each difference that this test does not refute, so p < alpha where 0 is not
    in it; nothing in it is larger than the numbers themselves allow. The test holds if both
    distributions are equal, whatever they are, and for normal numbers. For others it holds in the
    limit, and nothing holds for few: no test of a mean can know of seeds that are far off and so
    rare that none is in the sample (Bahadur and Savage 1956). n seeds all miss what happens under
    a share s of them with probability (1 - s)^n. Bounds of the numbers, or a quantile, need
    nothing. Standard errors of interquartile means of few seeds are a little larger than Yuen's
    (`_stretch`).

    Args:
        first: the numbers of A, shape (S,), S >= 1; infinite where a seed failed, no NaN.
        second: those of B, shape (T,), T >= 1.
        statistic: a quantile or a mean.
        shared: whether both have the same seeds in the same order.
        alpha: in (0, 1).

    Source:
        David and Nagaraja (2003), Order Statistics, section 7.1. Yuen (1974), Biometrika 61,
        165-170; for pairs Wilcox (2012), Introduction to Robust Estimation and Hypothesis Testing,
        section 5.9.5. Janssen (1997), Stat. Probab. Lett. 36, 9-21: rearranged studentised
        differences are exact if both distributions are equal, and right in the limit if not.
    """
    if statistic.share is not None:
        return _of_quantiles(first, second, statistic, statistic.share, alpha)
    return _of_means(first, second, statistic.trim or 0.0, shared=shared, alpha=alpha)


def _of_quantiles(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    statistic: Statistic,
    share: float,
    alpha: float,
) -> StatisticDifference:
    def both(level: float) -> tuple[float, float]:
        (low, high), (their_low, their_high) = (
            quantile_interval(x, share, alpha=level / 4) for x in (first, second)
        )
        with np.errstate(invalid="ignore"):
            down, up = low - their_high, high - their_low
        return (-np.inf if math.isnan(down) else down), (np.inf if math.isnan(up) else up)

    # p changes only where a tail of the binomial distribution is used up.
    tails = [f(np.arange(x.size), x.size, share) for x in (first, second) for f in (bdtr, bdtrc)]
    levels = np.unique(np.minimum(4 * np.concatenate(tails), 1.0))
    apart = [not low <= 0 <= high for low, high in map(both, levels.tolist())]
    p = float(levels[apart.index(True)]) if any(apart) else 1.0
    low, high = both(alpha)
    one, other = map(statistic.estimate, (first, second))
    with np.errstate(invalid="ignore"):
        return StatisticDifference(float(np.subtract(one, other)), low, high, p)


def _of_means(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    trim: float,
    *,
    shared: bool,
    alpha: float,
) -> StatisticDifference:
    both = (first, second)
    if (found := _estimated(*both, trim, shared=shared)) is None:
        return StatisticDifference(math.nan, -math.inf, math.inf, 1.0)
    value, errors, freedom = found
    if value < 0:  # so that who is first does not matter: rearrangements are drawn
        back = _of_means(second, first, trim, shared=shared, alpha=alpha)
        return StatisticDifference(value, -back.high, -back.low, back.p)
    down, up = (float(stdtrit(freedom, 1 - alpha / 2)) * one for one in errors)
    p = float(2 * stdtr(freedom, -value / errors[0])) if errors[0] else float(value == 0)
    low, high = value - down, value + up
    if _is_rearranged(*both, trim, shared=shared):
        p = max(p, _rearranged(*both, trim, shared=shared))

        def is_kept(shift: float) -> bool:
            few = _rearranged(first - shift, second, trim, shared=shared, most=FEWER_PERMUTED)
            return few >= alpha

        if p < alpha:
            low, high = _outermost(is_kept, low, -down, True), _outermost(is_kept, high, up)
        else:  # of numbers without scatter too
            low = _outermost(is_kept, min(low, 0.0), -(down or value))
            high = _outermost(is_kept, high, up or value)
    if min(first.size, second.size) >= FEWEST_FOR_MEANS:
        low = max(low, min(value, float(first.min() - second.max())))
        high = min(high, max(value, float(first.max() - second.min())))
    return StatisticDifference(value, low if p < alpha else min(low, 0.0), high, p)


DOUBLINGS, HALVINGS = 8, 10
"""Steps of the search for an end of an interval: outwards from Student's, by its half width and
twice as much each time, then inwards, to a thousandth of the last step."""


def _outermost(
    is_kept: Callable[[float], bool], end: float, step: float, refutes_0: bool = False
) -> float:
    """The last difference from `end` on that a test keeps; infinite if it refutes none.

    Args:
        is_kept: whether the test does not refute a difference.
        end: where to begin; if it is refuted the answer.
        step: which way to go, and how far at first; 0 to stay.
        refutes_0: whether 0, which lies beyond `end`, is known to be refuted.
    """
    if not step or not is_kept(end):
        return end
    kept, refuted = end, 0.0 if refutes_0 else None
    for _ in range(DOUBLINGS if refuted is None else 0):
        if not is_kept(kept + step):
            refuted = kept + step
            break
        kept, step = kept + step, 2 * step
    if refuted is None:
        return math.copysign(math.inf, step)
    for _ in range(HALVINGS):
        middle = (kept + refuted) / 2
        kept, refuted = (middle, refuted) if is_kept(middle) else (kept, middle)
    return kept


def p_not_larger(
    first: NDArray[np.float64], second: NDArray[np.float64], statistic: Statistic, *, shared: bool
) -> float:
    """One-sided p of "the statistic of A is not larger than that of B", as of `difference`."""
    if statistic.share is not None:
        found = difference(first, second, statistic, shared=shared, alpha=0.05)
        return found.p / 2 if found.value > 0 and found.p < 1 else 1.0  # two of the four bounds
    both, trim = (first, second), statistic.trim or 0.0
    if (known := _estimated(*both, trim, shared=shared)) is None:
        return 1.0
    value, (error, _), freedom = known
    p = float(stdtr(freedom, -value / error)) if error else float(value <= 0)
    if _is_rearranged(*both, trim, shared=shared):
        p = max(p, _rearranged(*both, trim, shared=shared, sides=1))
    return p


def is_larger(
    first: NDArray[np.float64], second: NDArray[np.float64], statistic: Statistic, *, alpha: float
) -> bool:
    """Whether the statistic of A is shown to be larger than that of B, on shared seeds; one-sided.

    As `p_not_larger` is at most alpha, for any small alpha and hundreds of pairs: that p is at
    least one over the number of rearrangements. Here `FEW_PERMUTED` of them say how much farther
    than Student's the studentised difference lies at 1 %, and Student's tail is stretched by that.

    Args:
        first: the numbers of A, shape (S,); infinite where a seed failed, no NaN.
        second: those of B, of the same seeds.
        statistic: a quantile or a mean.
        alpha: in (0, 1).
    """
    if statistic.share is not None:
        low = quantile_interval(first, statistic.share, alpha=alpha / 2)[0]
        return low > quantile_interval(second, statistic.share, alpha=alpha / 2)[1]
    trim = statistic.trim or 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        found = _studentised(first, second, trim, shared=True)
    value, error, freedom = (float(one[0]) for one in found)
    if not np.isfinite([value, error]).all() or value <= 0:
        return False
    enough = -float(stdtrit(freedom, alpha))
    if value < enough * error:  # most pairs end here
        return False
    if trim:
        error = _errors(first, second, error, freedom, shared=True)[0]
    if _is_rearranged(first, second, trim, shared=True):
        error *= _stretch_of_labels(first, second, trim, freedom)
    return value >= enough * error


FEW_PERMUTED = 200
"""Rearrangements that say at which studentised difference 1 % of them lie."""


def _stretch_of_labels(
    first: NDArray[np.float64], second: NDArray[np.float64], trim: float, freedom: float
) -> float:
    """By how much rearranged studentised differences exceed Student's at 1 %; at least 1."""
    swapped = np.random.default_rng(0).random((FEW_PERMUTED, first.size)) < 0.5
    ones, others = np.where(swapped, second, first), np.where(swapped, first, second)
    with np.errstate(invalid="ignore", divide="ignore"):
        value, error, _ = _studentised(ones, others, trim, shared=True)
        sizes = np.where(value == 0, 0.0, np.abs(value) / error)
    seen = np.quantile(np.nan_to_num(sizes, nan=np.inf), 0.98, method="higher")  # of both sides
    return max(1.0, float(seen / stdtrit(freedom, 0.99)))


def _estimated(
    first: NDArray[np.float64], second: NDArray[np.float64], trim: float, *, shared: bool
) -> tuple[float, tuple[float, float], float] | None:
    """A difference of means, its `_errors` and degrees of freedom; None where they are unknown."""
    if min(first.size, second.size) < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        found = _studentised(first, second, trim, shared=shared)
    value, error, freedom = (float(one[0]) for one in found)
    if not np.isfinite([value, error]).all():
        return None
    errors = _errors(first, second, error, freedom, shared=shared) if trim else (error, error)
    return value, errors, freedom


def _errors(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    error: float,
    freedom: float,
    *,
    shared: bool,
) -> tuple[float, float]:
    """The standard errors of a difference of interquartile means, of its lower and its upper end.

    Yuen's, which knows nothing of a gap at a quartile, but at least what the resampled intervals of
    both samples come to: their lengths towards each other, squared and added (Zou and Donner 2008,
    Statistics in Medicine 27, 1693-1702, as Newcombe's interval of rates), for shared seeds with
    their correlation, over Student's quantile.
    """
    known, others = (_resampled_ends(one.tobytes()) for one in (first, second))
    if known is None or others is None:
        return error, error
    (low, high), (other_low, other_high) = known, others
    found = [_winsorized(one[None], one.size // 4) for one in (first, second)]
    mean, other = (float(one[0]) for one, _ in found)
    alike = 0.0
    if shared:
        pair = [winsorized[0] for _, winsorized in found]
        alike = float(np.corrcoef(*pair)[0, 1]) if all(map(np.ptp, pair)) else 0.0

    def added(one: float, two: float) -> float:
        square = one**2 - 2 * alike * one * two + two**2 if math.isfinite(one + two) else math.inf
        return math.sqrt(max(square, 0.0)) / float(stdtrit(freedom, (1 + CONFIDENCE) / 2))

    below = added(max(mean - low, 0.0), max(other_high - other, 0.0))
    above = added(max(high - mean, 0.0), max(other - other_low, 0.0))
    return max(error, below), max(error, above)


@lru_cache(maxsize=64)
def _resampled_ends(numbers: bytes) -> tuple[float, float] | None:
    """The interval of an interquartile mean, as often as one sample is compared with others."""
    return IQM.interval(np.frombuffer(numbers))


def _is_rearranged(
    first: NDArray[np.float64], second: NDArray[np.float64], trim: float, *, shared: bool
) -> bool:
    """Whether p is compared with that of rearranged labels."""
    ties = _has_ties(first, second, shared=shared)
    few = shared and first.size < FEWEST_SWAPS and not ties
    return bool(ties and trim) or (max(first.size, second.size) < FROM_SEEDS and not few)


def _has_ties(first: NDArray[np.float64], second: NDArray[np.float64], *, shared: bool) -> bool:
    """Whether two numbers of one sample are equal, or two differences of shared seeds."""
    with np.errstate(invalid="ignore"):  # of failed seeds
        samples = (first, second, first - second) if shared else (first, second)
    return any(np.unique(one).size < one.size for one in samples)


def _studentised(
    first: NDArray[np.float64], second: NDArray[np.float64], trim: float, *, shared: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The difference of trimmed means, its standard error, and its degrees of freedom.

    Numbers have shape (S,) or (R, S); the results (R,).
    """
    both = [np.atleast_2d(numbers) for numbers in (first, second)]
    cuts = [int(trim * numbers.shape[1]) for numbers in both]
    sizes = [numbers.shape[1] - 2 * cut for numbers, cut in zip(both, cuts, strict=True)]
    found = [_winsorized(numbers, cut) for numbers, cut in zip(both, cuts, strict=True)]
    (mean, winsorized), (other, others) = found
    value = mean - other
    if shared:
        error = np.sqrt(_variance(winsorized - others, cuts[0]))
        return value, error, np.full(value.shape, float(max(sizes[0] - 1, 1)))
    parts = [_variance(clipped, cut) for (_, clipped), cut in zip(found, cuts, strict=True)]
    total = parts[0] + parts[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / sum(
            part**2 / max(kept - 1, 1) for part, kept in zip(parts, sizes, strict=True)
        )
    return value, np.sqrt(total), np.where(np.isfinite(freedom), freedom, 1.0)


def _winsorized(
    numbers: NDArray[np.float64], cut: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The means without the `cut` numbers at each end, shape (R,), and the winsorized ones."""
    middle = np.sort(numbers, axis=1)[:, cut : numbers.shape[1] - cut]
    return middle.mean(axis=1), np.clip(numbers, middle[:, :1], middle[:, -1:])


def _variance(winsorized: NDArray[np.float64], cut: int) -> NDArray[np.float64]:
    """The estimated variance of trimmed means, shape (R,)."""
    kept = winsorized.shape[1] - 2 * cut
    squares = ((winsorized - winsorized.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    wider = _stretch(winsorized.shape[1], cut)
    return np.asarray(wider**2 * squares / (kept * max(kept - 1, 1)), np.float64)


SIMULATED = 40_000
"""Samples of which `_stretch` takes a quantile: it is known to 1 %."""


@lru_cache(maxsize=FROM_SEEDS)
def _stretch(size: int, cut: int) -> float:
    """By how much the standard error of a trimmed mean is too small for Student's quantile.

    With few seeds Yuen's studentised mean is not quite Student's: at 95 % its interval of normal
    numbers covers 92 to 94 %. This is its 95 % quantile, simulated, divided by Student's.
    """
    if not cut or size >= FROM_SEEDS:
        return 1.0
    mean, winsorized = _winsorized(np.random.default_rng(0).normal(size=(SIMULATED, size)), cut)
    freedom = max(size - 2 * cut - 1, 1)
    squares = winsorized.var(axis=1) * size / ((size - 2 * cut) * freedom)
    seen = np.quantile(np.abs(mean) / np.sqrt(squares), CONFIDENCE)
    return float(seen / stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _rearranged(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    trim: float,
    *,
    shared: bool,
    sides: int = 2,
    most: int = LARGEST_PERMUTED,
) -> float:
    """The share of rearrangements of the labels with a studentised difference as large as seen.

    As far from 0, or with one side as far above it; of at most so many rearrangements.
    """
    from scipy.stats import permutation_test  # half a second to import

    def sizes_of(
        ones: NDArray[np.float64], others: NDArray[np.float64], **_axis: int
    ) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            value, error, _ = _studentised(ones, others, trim, shared=shared)
            sizes = np.where(value == 0, 0.0, (np.abs(value) if sides == 2 else value) / error)
        # Where failed seeds come to lie in the middle, the difference is as large as it can be.
        known = np.nan_to_num(sizes.clip(-FAR, FAR), nan=FAR)
        return np.asarray(known.round(9).reshape(ones.shape[:-1]), np.float64)

    found = permutation_test(
        (first, second),
        sizes_of,
        permutation_type="samples" if shared else "independent",
        vectorized=True,
        n_resamples=most if max(first.size, second.size) < FROM_SEEDS else FEWER_PERMUTED,
        batch=max(NUMBERS_AT_ONCE // (first.size + second.size), 1),
        alternative="greater",
        rng=0,  # the same numbers always have the same p
    )
    return float(found.pvalue)


FAR = 1e99
"""More than any studentised difference."""

NUMBERS_AT_ONCE = 2_000_000
"""Of rearrangements, so that they fit into memory."""


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
