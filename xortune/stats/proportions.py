"""Success rates for numbers of seeds that were planned: bounds, exact tests, differences, Holm.

For rates that are looked at before the planned number there are `stats.anytime` and
`stats.sequential`. Counts that are an `ArrayLike` are broadcast; results are float64 of that shape.

`clopper_pearson_lower`, `clopper_pearson_upper`, `mcnemar_two_sided` and `boschloo` raise an
InputError for counts that are not whole numbers from 0 to n, and the two bounds for a confidence
outside (0, 1). The others check nothing: their callers have counts of outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, betainc, betaincinv, gammaln, ndtr, ndtri, xlog1py, xlogy

from xortune.core.errors import InputError, check_share

TIE = 1 + 1e-9
"""Probabilities within this factor of each other are equal up to rounding."""

RATES, ROUNDS, FINER_RATES, NARROWER = 1025, 4, 33, 16
"""The search for the largest size in `_boschloo_less`: a round with so many rates from 0 to 1, then
others around the peak of the one before, each with so many rates in steps so much narrower.

A first step is 1/1024 of a right angle, less than a tenth of a peak's width for 1,000 seeds. The
rates of a later round reach one step of the round before to each side.
"""


NEAREST_END = 1e-9
"""How near to its end the end of an interval of a difference is."""


def expected_rate(successes: int, n: int) -> float:
    """(k + 1) / (n + 2): 128 of 128 is more than 8 of 8, and both are less than certain.

    Laplace's rule of succession: the mean of the rate after a uniform prior.
    """
    return (successes + 1) / (n + 2)


def clopper_pearson_lower(
    successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95
) -> NDArray[np.float64]:
    """Clopper and Pearson's exact lower bound of a success probability.

    Any true probability is at least the bound with at least the given confidence, for one n that
    was fixed before the first seed was looked at.

    Source:
        Clopper and Pearson (1934), Biometrika 26, 404-413, with beta quantiles as in scipy's
        `binomtest(...).proportion_ci(method="exact")`, which takes one count at a time.
    """
    k, m = whole_counts(successes, n)
    check_share("confidence", confidence)
    low, positive = np.zeros(k.shape), k > 0
    low[positive] = betaincinv(k[positive], m[positive] - k[positive] + 1, 1 - confidence)
    return low


def clopper_pearson_upper(
    successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95
) -> NDArray[np.float64]:
    """Clopper and Pearson's exact upper bound; as `clopper_pearson_lower`, of the failures."""
    k, m = whole_counts(successes, n)
    return np.asarray(1 - clopper_pearson_lower(m - k, m, confidence=confidence), np.float64)


def mcnemar_greater(wins: ArrayLike, losses: ArrayLike) -> NDArray[np.float64]:
    """One-sided exact McNemar test of "A succeeds more often than B" on shared seeds.

    Args:
        wins: seeds that A solved and B did not.
        losses: seeds that B solved and A did not.

    Returns:
        P(X >= wins) for X ~ Binomial(wins + losses, 1/2), the p-value of "not more often".

    Source:
        McNemar (1947), Psychometrika 12, 153-157, with the exact binomial tail, written as an
        incomplete beta function: P(X >= w) = I_{1/2}(w, l + 1).
    """
    w, m = np.broadcast_arrays(np.asarray(wins, float), np.asarray(losses, float))
    tail = betainc(np.maximum(w, 1.0), m + 1.0, 0.5)
    return np.where(w == 0, 1.0, tail)


def mcnemar_two_sided(wins: ArrayLike, losses: ArrayLike) -> NDArray[np.float64]:
    """Exact McNemar test of "A and B succeed equally often" on shared seeds, two-sided.

    Twice the smaller p-value of `mcnemar_greater`, at most 1, as statsmodels'
    `mcnemar(exact=True)`, which takes one table at a time.
    """
    w, m = np.broadcast_arrays(np.asarray(wins, float), np.asarray(losses, float))
    whole_counts(np.stack([w, m]), w + m)
    return np.minimum(2 * mcnemar_greater(np.maximum(w, m), np.minimum(w, m)), 1.0)


def boschloo(k1: int, n1: int, k2: int, n2: int) -> float:
    """Boschloo's exact test of "both samples have the same success probability", two-sided.

    The test is unconditional. Of all tables of these sizes, those that Fisher's one-sided test
    finds at least as extreme as the observed one are extreme, and the p-value is their largest
    probability under any common success rate. Each side is tested, and the smaller p-value doubled.
    Exact like Fisher's test, and more powerful for all counts.

    Args:
        k1: successes of the first sample, whose seeds are not those of the second.
        n1: its size.
        k2: successes of the second sample.
        n2: its size.

    Source:
        Boschloo (1970), Statistica Neerlandica 24, 1-35, as scipy's `boschloo_exact`, with which a
        test compares it: that takes 18 s for two samples of 1,000, and this a fraction of one.
    """
    whole_counts([k1, k2], [n1, n2])
    if not n1 or not n2:
        return 1.0
    p = min(_boschloo_less(k1, n1, k2, n2), _boschloo_less(k2, n2, k1, n1))
    return min(1.0, 2 * p)


def fisher_region(
    n1: int, n2: int, level: float, among: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Where Fisher's one-sided test finds at a level that the first sample succeeds less often.

    Args:
        n1: size of the first sample.
        n2: size of the second sample.
        level: the largest p-value that rejects.
        among: k1 for which to answer; by default all from 0 to n1.

    Returns:
        int64, of their shape: for each k1 the least k2 that rejects; n2 + 1 where none does. It
        never decreases with k1.
    """
    k1 = np.arange(n1 + 1) if among is None else among
    low, high = np.zeros(k1.shape, np.int64), np.full(k1.shape, n2 + 1)
    while (low < high).any():  # p falls with k2: bisection for all k1 at once
        middle = (low + high) // 2
        extreme = _fisher_less(k1, n1, np.minimum(middle, n2), n2) <= level * TIE
        extreme |= middle > n2
        open_ = low < high
        high = np.where(open_ & extreme, middle, high)
        low = np.where(open_ & ~extreme, middle + 1, low)
    return high


def _fisher_less(
    k1: NDArray[np.int64], n1: int, k2: NDArray[np.int64], n2: int
) -> NDArray[np.float64]:
    """P(K1 <= k1) given k1 + k2."""
    from scipy.stats import hypergeom  # half a second to import

    return np.asarray(hypergeom.cdf(k1, n1 + n2, k1 + k2, n1), np.float64)


def _boschloo_less(k1: int, n1: int, k2: int, n2: int) -> float:
    """The one-sided p-value of "the first sample succeeds less often"."""
    least = fisher_region(n1, n2, _fisher_less(np.array([k1]), n1, np.array([k2]), n2)[0])
    # The probability of the region is a polynomial in the rate. Its peaks are as wide as the rate
    # is uncertain after n1 + n2 seeds, so that even steps of the arcsine find them all.
    angles = np.linspace(0, np.pi / 2, RATES)[1:-1]
    width = angles[1] - angles[0]
    best = 0.0
    for _ in range(ROUNDS):
        sizes = _size(least, n1, n2, np.sin(angles) ** 2)
        best = max(best, float(sizes.max()))
        peak = angles[int(sizes.argmax())]
        angles = np.clip(peak + width * np.linspace(-1, 1, FINER_RATES), 0, np.pi / 2)
        width /= NARROWER
    return min(best, 1.0)


def _size(
    least: NDArray[np.int64], n1: int, n2: int, rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The probability of {k2 >= least[k1]} for each common rate."""
    k1 = np.flatnonzero(least <= n2)
    if not k1.size:
        return np.zeros(rates.shape)
    p = rates[:, None]
    return np.asarray((binomial_mass(k1, n1, p) * bdtrc(least[k1] - 1, n2, p)).sum(axis=1))


def binomial_mass(k: NDArray[np.int64], n: int, p: ArrayLike) -> NDArray[np.float64]:
    """P(k successes of n), of the broadcast shape; `scipy.stats` takes half a second to import."""
    log = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p)
    return np.asarray(np.exp(log + xlog1py(n - k, -np.asarray(p))))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values: those below alpha are all right with probability 1 - alpha.

    Args:
        p: p-values of one family, shape (m,); they may depend on each other in any way.

    Returns:
        The adjusted p-values, in the same order, each the largest of (m - i) p_(i) up to its rank.

    Source:
        Holm (1979), Scand. J. Stat. 6, 65-70, as statsmodels' `multipletests(method="holm")`.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def paired_difference(
    wins: int, losses: int, n: int, *, alpha: float, apart: bool | None = None
) -> tuple[float, float]:
    """Interval of the rate of A minus that of B, both trained on the same seeds.

    Args:
        wins: seeds that A solves and B does not.
        losses: seeds that B solves and A does not.
        n: shared seeds, at least 1.
        alpha: 1 minus its confidence.
        apart: whether an exact test at this level tells the two apart; None: none was made.

    Returns:
        (low, high), each in [-1, 1].

    Source:
        Tango (1998), Statistics in Medicine 17, 891-908: the differences that his score test does
        not refute. Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33, 2850-2875,
        recommend it. `_not_refuted` says what an exact test changes. Tests compare it with
        published examples, and its coverage with an enumeration.
    """

    def score(difference: float) -> float:
        return _paired_score(wins, losses, n, difference)

    step = 2 / math.sqrt(max(wins + losses, 1))
    return _not_refuted(score, (wins - losses) / n, step, alpha, apart)


def unpaired_difference(
    k1: int, n1: int, k2: int, n2: int, *, alpha: float, apart: bool | None = None
) -> tuple[float, float]:
    """Interval of the rate of A minus that of B, each trained on seeds of its own.

    Args:
        k1: seeds that A solves.
        n1: its seeds, at least 1.
        k2: seeds that B solves.
        n2: its seeds, at least 1.
        alpha: as of `paired_difference`.
        apart: as there.

    Returns:
        (low, high), each in [-1, 1].

    Source:
        Miettinen and Nurminen (1985), Statistics in Medicine 4, 213-226: the differences that
        their score test does not refute. Newcombe (1998), Statistics in Medicine 17, 873-890, has
        examples (method 6). `_not_refuted` says what an exact test changes.
    """

    def score(difference: float) -> float:
        return _unpaired_score(k1, n1, k2, n2, difference)

    value, total = k1 / n1 - k2 / n2, k1 + k2
    # One success more for A, one fewer for B: the next table with as many in all.
    spread = total * (n1 + n2 - total) / (n1 * n2 * (n1 + n2 - 1))
    step = (1 / n1 + 1 / n2) / math.sqrt(spread) if spread else 1.0
    return _not_refuted(score, value, step, alpha, apart)


def _not_refuted(
    score: Callable[[float], float], value: float, step: float, alpha: float, apart: bool | None
) -> tuple[float, float]:
    """The differences between whose scores and 0 there is less than the critical value.

    The score test of "no difference" and an exact one disagree about some tables. There the
    critical value is that of the exact test: half-way from the score of this table to that of the
    next one, which is more extreme if the exact test does not tell the two apart, and less extreme
    if it does. So 0 is in the interval if and only if it does not, and what decides about 0 decides
    about every other difference.

    Args:
        score: of a difference; it falls as that grows.
        value: the difference that was seen.
        step: between the scores of no difference of two tables.
        alpha: 1 minus the confidence.
        apart: whether the exact test tells the two apart; None: there is none.
    """
    critical, at_0 = float(-ndtri(alpha / 2)), abs(score(0.0))
    if apart is not None and apart != (at_0 > critical):
        critical = at_0 - step / 2 if apart else at_0 + step / 2

    def end(towards: float) -> float:
        inside, outside = value, towards
        while abs(outside - inside) > NEAREST_END:
            middle = (inside + outside) / 2
            if abs(score(middle)) > critical:
                outside = middle
            else:
                inside = middle
        return inside

    return end(-1.0), end(1.0)


def _paired_score(wins: int, losses: int, n: int, difference: float) -> float:
    """Tango's score of a difference d.

    With q the most likely share of losses under it, a root of 2 n q^2 + b q + c = 0 with
    b = (2 n - wins + losses) d - (wins + losses) and c = -losses d (1 - d), it is
    (wins - losses - n d) / sqrt(n (2 q + d (1 - d))).
    """
    b = (2 * n - wins + losses) * difference - (wins + losses)
    c = -losses * difference * (1 - difference)
    share = (math.sqrt(max(b**2 - 8 * n * c, 0.0)) - b) / (4 * n)
    return _score(wins - losses - n * difference, n * (2 * share + difference * (1 - difference)))


def _unpaired_score(k1: int, n1: int, k2: int, n2: int, difference: float) -> float:
    """Miettinen and Nurminen's score of a difference.

    The most likely rates under it are a root of a cubic equation, by their appendix 1.
    """
    total, solved = n1 + n2, k1 + k2
    c2 = ((n1 + 2 * n2) * difference - total - solved) / (3 * total)
    c1 = ((n2 * difference - total - 2 * k2) * difference + solved) / (3 * total)
    c0 = k2 * difference * (1 - difference) / total
    q = c2**3 - 1.5 * c1 * c2 + c0 / 2
    r = math.copysign(math.sqrt(max(c2**2 - c1, 0.0)), q)
    cosine = q / r**3 if r**3 else 0.0
    angle = (math.pi + math.acos(min(max(cosine, -1.0), 1.0))) / 3
    other = min(max(2 * r * math.cos(angle) - c2, -difference, 0.0), 1.0, 1.0 - difference)
    rate = other + difference
    spread = (rate * (1 - rate) / n1 + other * (1 - other) / n2) * total / (total - 1)
    return _score(k1 / n1 - k2 / n2 - difference, spread)


def _score(difference: float, variance: float) -> float:
    """In standard deviations; without variance any difference is infinitely many."""
    if variance > 0:
        return difference / math.sqrt(variance)
    return math.copysign(math.inf, difference) if difference else 0.0


def paired_margin_p(wins: int, losses: int, n: int, margin: float) -> float:
    """Of "A succeeds less often than B by `margin` or more", on the same seeds; one-sided.

    Args:
        wins: seeds that A solves and B does not.
        losses: seeds that B solves and A does not.
        n: shared seeds.
        margin: d, in (0, 1).

    Source:
        Tango (1998), as `paired_difference`: the score test of the difference -d.
    """
    return float(ndtr(-_paired_score(wins, losses, n, -margin)))


def unpaired_margin_p(k1: int, n1: int, k2: int, n2: int, margin: float) -> float:
    """Of "A succeeds less often than B by `margin` or more", each on seeds of its own; one-sided.

    Source:
        Miettinen and Nurminen (1985), as `unpaired_difference`: the score test of the difference
        -d.
    """
    return float(ndtr(-_unpaired_score(k1, n1, k2, n2, -margin)))


def whole_counts(
    successes: ArrayLike, n: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as floats of one shape.

    Raises:
        InputError: counts are not whole numbers from 0 to n.
    """
    k, m = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    wrong = ~((k >= 0) & (k <= m) & (k == np.floor(k)) & (m == np.floor(m)))
    if wrong.any():
        raise InputError(
            f"{k[wrong].flat[0]:g} of {m[wrong].flat[0]:g}",
            field="successes",
            allowed="whole numbers, 0 to n",
        )
    return k, m
