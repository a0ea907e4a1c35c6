"""Bounds and tests of success counts that hold however often one looks.

A fixed-n interval is right for one n that was chosen beforehand. Looking after every seed, and
stopping at a convenient answer, needs a sequence of bounds that holds at *all* n simultaneously. A
95 % Wilson interval that is looked at from n = 10 to 500 misses the truth in about 40 % of all
series; the bounds here miss it in at most 5 %, however long the series.

Method: bet against the hypothesis "the rate is p". If k of the first n seeds succeed, a bet on the
rate q has multiplied its stake by

    L(q) / L(p),    L(q) = q^k (1 - q)^(n - k),

and a mixture of bets by the mean of that over the mixture. Under the hypothesis this wealth is a
nonnegative martingale that starts at 1, so that it ever reaches 1 / alpha with probability at most
alpha (Ville's inequality). The rates whose wealth has stayed below form the confidence sequence,
and the wealth is the evidence (an e-value) against a rate. With a beta mixture both are closed
forms in beta functions.

A mixture over all q in [0, 1] wastes half of its stake on one side. For the question "is the rate
above p" only q > p can win, and with them alone the wealth is a supermartingale for every true rate
up to p: the factor of one seed, t q/p + (1 - t) (1 - q)/(1 - p), grows with the true rate t and is
1 at t = p. So the mixture here is cut off at p. A comparison:

=========== ================================================= ====== ====== =====
mixture     density of q                                      0.95   0.99   0.98
=========== ================================================= ====== ====== =====
jeffreys    in proportion to 1/sqrt(q (1 - q)), only q > p        74    377   287
truncated   uniform, only q > p                                   88    449   286
uniform     uniform, all q in [0, 1]                             158    984   553
=========== ================================================= ====== ====== =====

The first two columns of numbers are the successes in a row that prove a rate above 0.95 and 0.99 at
alpha 0.05; no test can do with fewer than 59 and 299. The last column is the mean number of seeds
that prove "above 0.95" if the truth is 0.98. The Jeffreys mixture, cut off, is used: near 0 and 1
it needs a sixth fewer seeds than the uniform one, and in the middle up to a few percent more.

In all functions `successes` are counts k and `n` numbers of seeds, of any shape and broadcast with
the other arguments; results are float64 of the broadcast shape. They raise an InputError for counts
that are not whole numbers from 0 to n, and for probabilities outside (0, 1).

Sources: Ville (1939), Étude critique de la notion de collectif. Robbins (1970), Statistical methods
related to the law of the iterated logarithm, Ann. Math. Stat. 41, 1397-1409 (mixtures). Krichevsky
and Trofimov (1981), IEEE Trans. Inf. Theory 27, 199-207 (the Beta(1/2, 1/2) mixture). Howard,
Ramdas, McAuliffe and Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence
sequences, Ann. Stat. 49, 1055-1080 (the beta-binomial mixture, one- and two-sided). Waudby-Smith
and Ramdas (2024), Estimating means of bounded random variables by betting, J. R. Stat. Soc. B 86,
1-27. Ramdas, Grünwald, Vovk and Shafer (2023), Game-theoretic statistics and safe anytime-valid
inference, Stat. Sci. 38, 576-601 (a review).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaln, expit, logit

from xortune.core.errors import InputError, check_share
from xortune.stats.proportions import whole_counts

Floats: TypeAlias = NDArray[np.float64]

_SHAPE = 0.5
"""Both parameters of the Jeffreys mixture, a beta distribution."""


def anytime_lower(successes: ArrayLike, n: ArrayLike, *, alpha: ArrayLike) -> Floats:
    """A lower bound on a success probability that holds at every n simultaneously.

    The probability that the bound is above the true rate at any n, from 1 to infinity, is at most
    alpha. So the choice of n may depend on the results so far.

    It is the least rate p whose wealth, the mean of L(q) / L(p) over the mixture, is below
    1 / alpha: 0 where k is 0, and below k/n otherwise. Each single bound has this alpha, in (0, 1).
    """
    k, m = whole_counts(successes, n)
    _check(alpha)
    k, m, level = np.broadcast_arrays(k, m, np.asarray(alpha, np.float64))
    stacked = np.stack([k.ravel(), m.ravel(), level.ravel()])
    distinct, place = np.unique(stacked, axis=1, return_inverse=True)
    bounds = np.zeros(distinct.shape[1])
    positive = distinct[0] > 0
    won, seeds, level = distinct[:, positive]
    bounds[positive] = _root(won, seeds, -np.log(level))
    return bounds[place.ravel()].reshape(k.shape)


def anytime_upper(successes: ArrayLike, n: ArrayLike, *, alpha: ArrayLike) -> Floats:
    """An upper bound on a success probability that holds at every n simultaneously.

    As `anytime_lower`, with successes and failures exchanged; 1 where k is n.
    """
    k, m = whole_counts(successes, n)
    return 1.0 - anytime_lower(m - k, m, alpha=alpha)


def anytime_interval(
    successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """(low, high): an interval for a success probability that holds at every n simultaneously.

    It contains the true rate at every n with probability `confidence`, in (0, 1): both one-sided
    bounds, each with half of the risk.
    """
    check_share("confidence", confidence)
    half = (1 - confidence) / 2
    low = anytime_lower(successes, n, alpha=half)
    return low, anytime_upper(successes, n, alpha=half)


def anytime_evidence_above(successes: ArrayLike, n: ArrayLike, rate: ArrayLike) -> Floats:
    """The logarithm of an e-value for "the true rate is above `rate`".

    If the true rate is `rate` or less, the e-value at any n, chosen in any way, has a mean of at
    most 1, and ever reaches 1 / alpha with probability at most alpha. E-values of independent
    series multiply, so their natural logarithms, which are returned, add. `anytime_lower` with
    alpha is above `rate`, in (0, 1), where they are above log(1 / alpha).
    """
    k, m = whole_counts(successes, n)
    return _evidence(k, m, _logits(rate))


def anytime_evidence_below(successes: ArrayLike, n: ArrayLike, rate: ArrayLike) -> Floats:
    """The logarithm of an e-value for "the true rate is below `rate`".

    As `anytime_evidence_above`, with successes and failures exchanged.
    """
    k, m = whole_counts(successes, n)
    return _evidence(m - k, m, -_logits(rate))


def _check(alpha: ArrayLike) -> None:
    level = np.asarray(alpha, np.float64)
    if not ((level > 0) & (level < 1)).all():
        raise InputError(f"{alpha!r}", field="alpha", allowed="a number in (0, 1)")


def _logits(rate: ArrayLike) -> Floats:
    p = np.asarray(rate, np.float64)
    if not ((p > 0) & (p < 1)).all():
        raise InputError(f"{rate!r}", field="rate", allowed="numbers in (0, 1)")
    return np.asarray(logit(p), np.float64)


def _evidence(k: Floats, n: Floats, u: Floats) -> Floats:
    k, n, u = np.broadcast_arrays(k, n, u)
    return np.where(n == 0, 0.0, _log_wealth(k, n, u))


def _log_wealth(k: Floats, n: Floats, u: Floats) -> Floats:
    """Log of the mean of L(q) / L(p) over the mixture.

    With a = b = 1/2 the parameters of the mixture and I the regularised incomplete beta function,

        B(a + k, b + n - k) I_{1-p}(b + n - k, a + k) / (B(a, b) I_{1-p}(b, a) p^k (1-p)^(n-k)),

    in logits, since 1 - p must not be rounded.
    """
    won, lost = k + _SHAPE, n - k + _SHAPE
    log = betaln(won, lost) - betaln(_SHAPE, _SHAPE)
    # log p is -log(1 + exp(-u)), log(1 - p) is -log(1 + exp(u)).
    log = log + k * np.logaddexp(0.0, -u) + (n - k) * np.logaddexp(0.0, u)
    with np.errstate(divide="ignore"):  # -inf where the wealth underflows
        log = log + np.log(betainc(lost, won, expit(-u)))
    return np.asarray(log - np.log(betainc(_SHAPE, _SHAPE, expit(-u))), np.float64)


def _root(k: Floats, n: Floats, target: Floats) -> Floats:
    """The rate below k/n (k > 0) whose log wealth is `target`, by Newton steps inside a bracket.

    In u = logit p the log wealth falls up to k/n with a slope of n p - k plus at most 1, and apart
    from that it is convex. So Newton's method hardly ever leaves the bracket, which is halved then.
    """
    low = np.full(k.shape, -700.0)
    with np.errstate(divide="ignore"):
        high = np.minimum(logit(k / n), 60.0)
    middle = (k + 0.5) / (n + 1)
    spread = np.sqrt(2 * (target + 0.5 * np.log(n + 1)) / ((n + 1) * middle * (1 - middle)))
    u = np.clip(logit(middle) - spread, low, high)
    for _ in range(200):
        excess = _log_wealth(k, n, u) - target
        low, high = np.where(excess > 0, u, low), np.where(excess > 0, high, u)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = u - excess / (n * expit(u) - k)
        inside = (step > low) & (step < high)
        following = np.where(inside, step, (low + high) / 2)
        following = np.where(excess == 0, u, following)
        moved = np.abs(following - u)
        u = following
        if not (moved > 1e-13 * np.maximum(np.abs(u), 1.0)).any():
            break
    return np.asarray(expit(u), np.float64)


def anytime_quantile(
    numbers: ArrayLike, share: float, *, alpha: float
) -> tuple[np.float64, np.float64]:
    """Bounds of a quantile that hold at every n simultaneously, for any distribution.

    A quantile is above x exactly where the rate of numbers up to x is below its share. So of n
    numbers the j-th smallest is an upper bound if j of n successes prove a rate above `share`: were
    it below the quantile, j numbers would lie below the quantile, each with a probability of at
    most `share`. Likewise from below. Each side is wrong at any n from 1 to infinity with a
    probability of at most alpha, by the proof of `anytime_lower`.

    Args:
        numbers: shape (S,), of all seeds so far; may be infinite, no NaN.
        share: of the quantile, in (0, 1).
        alpha: of each single bound, in (0, 1).

    Returns:
        (low, high): two of the numbers; infinite where there are too few seeds for a bound.

    Source:
        Howard and Ramdas (2022), Sequential estimation of quantiles with applications to A/B
        testing and best-arm identification, Bernoulli 28, 1704-1728: confidence sequences for a
        quantile that is chosen beforehand; here with the mixture of this module for the rate.
    """
    _check(alpha)
    ordered = np.sort(np.asarray(numbers, np.float64))
    above, below = _order_evidence(ordered.size, share)
    ends = np.concatenate([[-np.inf], ordered, [np.inf]])
    level = -np.log(alpha)
    # `above` rises with the count and `below` falls, so the sums are the orders of the ends.
    return ends[(below > level).sum()], ends[1 + (above[1:] <= level).sum()]


@lru_cache(maxsize=4096)
def _order_evidence(n: int, share: float) -> tuple[Floats, Floats]:
    """Evidence of 0 to n successes of n that a rate is above a share, and that it is below."""
    counts = np.arange(n + 1)
    return anytime_evidence_above(counts, n, share), anytime_evidence_below(counts, n, share)


def anytime_quantiles(
    numbers: ArrayLike, share: float, *, alpha: float, first: int = 1
) -> tuple[Floats, Floats]:
    """`anytime_quantile` of the first n numbers, for each n from `first` to all S of them.

    Args:
        numbers: shape (S,), in the order of the seeds; may be infinite, no NaN.
        share: of the quantile, in (0, 1).
        alpha: of each single bound, in (0, 1).
        first: the least n, from 1.

    Returns:
        (low, high), each of shape (S - first + 1,); empty where `first` is above S.
    """
    _check(alpha)
    series = np.asarray(numbers, np.float64)
    n = np.arange(first, series.size + 1)
    level = -np.log(alpha)
    low = _least_count(n, lambda counts: anytime_evidence_below(counts, n, share) <= level)
    high = _least_count(n, lambda counts: anytime_evidence_above(counts, n, share) > level)
    ends = [-np.inf, *np.sort(series[: first - 1]).tolist(), np.inf]
    bounds = np.empty((2, n.size))
    for place, (number, lower, upper) in enumerate(
        zip(series[first - 1 :].tolist(), low.tolist(), high.tolist(), strict=True)
    ):
        insort(ends, number)
        bounds[:, place] = ends[lower], ends[upper]
    return bounds[0], bounds[1]


def _least_count(
    n: NDArray[np.int64], holds: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> NDArray[np.int64]:
    """The least of the counts 0 to n for which it holds, by bisection; n + 1 if it never does.

    It holds for all counts above one for which it does.
    """
    least, most = np.zeros_like(n), n + 1
    while (searched := least < most).any():
        middle = (least + most) // 2
        is_held = holds(np.minimum(middle, n))
        least = np.where(searched & ~is_held, middle + 1, least)
        most = np.where(searched & is_held, middle, most)
    return least
