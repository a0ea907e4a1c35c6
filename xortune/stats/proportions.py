"""Success rates for numbers of seeds that were planned: bounds, exact tests, differences, Holm.

For rates that are looked at before the planned number there are `stats.anytime` and
`stats.sequential`. Counts that are an `ArrayLike` are broadcast; results are float64 of that shape.

`clopper_pearson_lower`, `clopper_pearson_upper`, `mcnemar_two_sided` and `boschloo` raise an
InputError for counts that are not whole numbers from 0 to n, and the two bounds for a confidence
outside (0, 1). The others check nothing: their callers have counts of outcomes.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, betainc, betaincinv, gammaln, ndtr, xlog1py, xlogy

from xortune.core.errors import InputError, check_share
from xortune.core.outcome import wilson

TIE = 1 + 1e-9
"""Probabilities within this factor of each other are equal up to rounding."""

RATES, ROUNDS, FINER_RATES, NARROWER = 1025, 4, 33, 16
"""The search for the largest size in `_boschloo_less`: a round with so many rates from 0 to 1, then
others around the peak of the one before, each with so many rates in steps so much narrower.

A first step is 1/1024 of a right angle, less than a tenth of a peak's width for 1,000 seeds. The
rates of a later round reach one step of the round before to each side.
"""


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


def most_of_rest(successes: int, n: int, rest: int, *, confidence: float = 0.95) -> int:
    """At most so many of `rest` others succeed, where the n that were seen were drawn of them all.

    Args:
        successes: of those that were seen.
        n: how many were seen.
        rest: how many were not.
        confidence: with which it holds.

    Source:
        The exact upper bound of a hypergeometric count: Buonaccorsi (1987), A note on confidence
        intervals for proportions in finite populations, Am. Stat. 41, 215-218.
    """

    def is_unlikely(more: int) -> bool:
        tail = _fisher_less(np.array(successes), n, np.array(more), rest)
        return float(tail) <= (1 - confidence) * TIE

    return bisect_left(range(rest + 1), True, key=is_unlikely) - 1


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
    both: ArrayLike, wins: ArrayLike, losses: ArrayLike, neither: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of the rate of A minus that of B, both trained on the same seeds.

    Args:
        both: seeds that both solve.
        wins: seeds that A solves and B does not.
        losses: seeds that B solves and A does not.
        neither: seeds that neither solves; with the other three at least one.

    Returns:
        (low, high), each in [-1, 1].

    Source:
        Newcombe (1998), Statistics in Medicine 17, 2635-2650, method 10 ("square and add"): the
        Wilson intervals of both rates, combined by their correlation. Fagerland, Lydersen and Laake
        (2014), Statistics in Medicine 33, 2850-2875, recommend it. Tests compare it with published
        examples, and its coverage with an enumeration.
    """
    a, b, c, d = np.broadcast_arrays(
        *(np.asarray(count, float) for count in (both, wins, losses, neither))
    )
    n = a + b + c + d
    first, second = (a + b) / n, (a + c) / n
    product = (a + b) * (c + d) * (a + c) * (b + d)
    agreement = a * d - b * c
    # Only a positive correlation, which narrows the interval, is corrected for continuity.
    corrected = np.where(agreement > 0, np.maximum(agreement - n / 2, 0.0), agreement)
    phi = np.divide(corrected, np.sqrt(product), out=np.zeros(n.shape), where=product > 0)
    return _square_and_add((first, n), (second, n), phi)


def unpaired_difference(
    k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of the rate of A minus that of B, each trained on seeds of its own.

    Args:
        k1: seeds that A solves.
        n1: its seeds, at least 1.
        k2: seeds that B solves.
        n2: its seeds, at least 1.

    Returns:
        (low, high), each in [-1, 1].

    Source:
        Newcombe (1998), Statistics in Medicine 17, 873-890, method 10: the hybrid of the two Wilson
        intervals, as statsmodels' `confint_proportions_2indep(method="newcomb")`.
    """
    k1, n1, k2, n2 = np.broadcast_arrays(*(np.asarray(c, float) for c in (k1, n1, k2, n2)))
    return _square_and_add((k1 / n1, n1), (k2 / n2, n2), np.zeros(n1.shape))


def _square_and_add(
    one: tuple[NDArray[np.float64], NDArray[np.float64]],
    other: tuple[NDArray[np.float64], NDArray[np.float64]],
    phi: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The interval from both rates, each with its number of seeds, and their correlation."""
    (first, n1), (second, n2) = one, other
    low1, high1 = wilson(first * n1, n1)
    low2, high2 = wilson(second * n2, n2)
    difference = first - second
    below = _length(first - low1, high2 - second, phi)
    above = _length(high1 - first, second - low2, phi)
    return np.maximum(difference - below, -1.0), np.minimum(difference + above, 1.0)


def _length(
    one: NDArray[np.float64], other: NDArray[np.float64], phi: NDArray[np.float64]
) -> NDArray[np.float64]:
    square = one**2 - 2 * phi * one * other + other**2
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))  # rounding may go below 0


def paired_margin_p(wins: int, losses: int, n: int, margin: float) -> float:
    """Of "A succeeds less often than B by `margin` or more", on the same seeds; one-sided.

    Args:
        wins: seeds that A solves and B does not.
        losses: seeds that B solves and A does not.
        n: shared seeds.
        margin: d, in (0, 1).

    Source:
        Tango (1998), Statistics in Medicine 17, 891-908: the score test of the difference -d. With
        q the most likely share of losses under it, a root of 2 n q^2 + b q + c = 0 with
        b = -(wins + losses) - (2 n - wins + losses) d and c = losses d (1 + d), it is
        (wins - losses + n d) / sqrt(n (2 q - d (1 + d))).
    """
    b = -(wins + losses) - (2 * n - wins + losses) * margin
    c = losses * margin * (1 + margin)
    share = (math.sqrt(max(b**2 - 8 * n * c, 0.0)) - b) / (4 * n)
    spread = n * (2 * share - margin * (1 + margin))
    return _p_of_score(wins - losses + n * margin, spread)


def unpaired_margin_p(k1: int, n1: int, k2: int, n2: int, margin: float) -> float:
    """Of "A succeeds less often than B by `margin` or more", each on seeds of its own; one-sided.

    Source:
        Miettinen and Nurminen (1985), Statistics in Medicine 4, 213-226: the score test of the
        difference -d, with the most likely rates under it, which are found by a search.
    """
    rates, total = (k1 / n1, k2 / n2), n1 + n2

    def against(rate: float) -> float:
        """Minus the logarithm of the likelihood; B's rate is larger by the margin."""
        other = rate + margin
        mine = xlogy(k1, rate) + xlog1py(n1 - k1, -rate)
        return -float(mine + xlogy(k2, other) + xlog1py(n2 - k2, -other))

    from scipy.optimize import minimize_scalar  # a quarter of a second to import

    found = minimize_scalar(
        against, bounds=(0.0, 1.0 - margin), method="bounded", options={"xatol": 1e-12}
    )
    rate = float(found.x)
    other = rate + margin
    spread = (rate * (1 - rate) / n1 + other * (1 - other) / n2) * total / (total - 1)
    return _p_of_score(rates[0] - rates[1] + margin, spread)


def _p_of_score(score: float, variance: float) -> float:
    """The upper tail of a score test, normal; without variance the sign of the score decides."""
    if variance <= 0:
        return 0.0 if score > 0 else 1.0
    return float(ndtr(-score / math.sqrt(variance)))


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
