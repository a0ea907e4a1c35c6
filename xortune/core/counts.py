"""Statistics of success counts; the mathematics is scipy's and statsmodels', the names are ours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln, ndtri

TIE = 1 + 1e-7
"""Probabilities that differ by less than this factor are equal but for rounding."""


def wilson(
    successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval for a success probability.

    Args:
        successes: counts k, any shape.
        n: seeds trained, broadcast against `successes`; 0 gives the interval (0, 1).
        confidence: two-sided level in (0, 1).

    Returns:
        (low, high), float64, of the broadcast shape.

    Source:
        Wilson (1927), JASA 22, 209-212; no continuity correction. The closed form is written out
        because the report of a search starts in a second and importing statsmodels takes two; a
        test holds it against statsmodels' `proportion_confint(method="wilson")`.
    """
    k, m = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    z = float(ndtri(0.5 + confidence / 2))
    empty = m == 0
    m = np.where(empty, 1.0, m)
    rate = k / m
    scale = 1 + z**2 / m
    middle = (rate + z**2 / (2 * m)) / scale
    half = z / scale * np.sqrt(rate * (1 - rate) / m + z**2 / (4 * m**2))
    # At 0 of n and n of n one end is exact; rounding must not move it off.
    low = np.where(empty | (k == 0), 0.0, np.maximum(middle - half, 0.0))
    high = np.where(empty | (k == m), 1.0, np.minimum(middle + half, 1.0))
    return low, high


def mcnemar_greater(wins: ArrayLike, losses: ArrayLike) -> NDArray[np.float64]:
    """One-sided exact McNemar test of "A succeeds more often than B" on shared seeds.

    Args:
        wins: seeds that A solved and B did not, any shape.
        losses: seeds that B solved and A did not, broadcast against `wins`.

    Returns:
        P(X >= wins) for X ~ Binomial(wins + losses, 1/2): the p-value of "not more often"; 1 where
        no seed tells them apart.

    Source:
        McNemar (1947), Psychometrika 12, 153-157, with the exact binomial tail, written as an
        incomplete beta function: P(X >= w) = I_{1/2}(w, l + 1).
    """
    w, m = np.broadcast_arrays(np.asarray(wins, float), np.asarray(losses, float))
    tail = betainc(np.maximum(w, 1.0), m + 1.0, 0.5)
    return np.where(w == 0, 1.0, tail)


def fisher_two_sided(
    k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike
) -> NDArray[np.float64]:
    """Fisher's exact test of "both samples have the same success probability", two-sided.

    It is conservative: whatever the common probability, it rejects a true hypothesis at level
    alpha with at most that probability. So the share of p < 0.05 among many cells that differ by
    chance only is below 5 % by construction, and how far below is known without an estimate of
    any rate (`fisher_size`). Unconditional exact tests such as Boschloo's have more power, but
    not that.

    Args:
        k1: successes of the first sample, any shape; the other arguments are broadcast with it.
        n1: its size.
        k2: successes of the second sample.
        n2: its size.

    Returns:
        The p-values: the probability, given n1, n2 and k1 + k2, of all tables that are at most as
        probable as the one seen. Each distinct quadruple is tested once.

    Source:
        Fisher (1935), J. R. Stat. Soc. 98, 39-82; two-sided as in scipy's `fisher_exact` and R's
        `fisher.test`, against the first of which a test holds it. Written out because scipy's
        tests one table at a call, in half a millisecond, and keeps the conditional distribution,
        which `fisher_size` needs, to itself.
    """
    quadruples = np.broadcast_arrays(*(np.asarray(a, np.int64) for a in (k1, n1, k2, n2)))
    if not quadruples[0].size:
        return np.empty(quadruples[0].shape)
    stacked = _mirrored(*(array.ravel() for array in quadruples))
    distinct, place = np.unique(stacked, axis=1, return_inverse=True)
    found = np.empty(distinct.shape[1])
    margins = np.stack([distinct[1], distinct[3], distinct[0] + distinct[2]])
    for margin, members in _grouped(margins):
        first, _, p = _conditional(*margin)
        found[members] = p[distinct[0, members] - first]
    return found[place.ravel()].reshape(quadruples[0].shape)


def fisher_size(
    successes: ArrayLike, n1: ArrayLike, n2: ArrayLike, *, alpha: float = 0.05
) -> NDArray[np.float64]:
    """How probable `fisher_two_sided` < alpha is if both samples have the same probability.

    Counts are discrete, so this is below alpha, and far below where nearly all or nearly none of
    the seeds succeed. It is exact for every common probability, and needs no estimate of it, since
    it is conditional on the successes of both samples together, as the test itself is.

    Args:
        successes: of both samples together, any shape; the other arguments are broadcast with it.
        n1: size of the first sample.
        n2: size of the second sample.
        alpha: the level.

    Returns:
        The probabilities, each in [0, alpha).
    """
    margins = np.broadcast_arrays(*(np.asarray(a, np.int64) for a in (n1, n2, successes)))
    stacked = np.stack([array.ravel() for array in margins])
    if not stacked.size:
        return np.empty(margins[0].shape)
    found = np.empty(stacked.shape[1])
    for margin, members in _grouped(stacked):
        _, probability, p = _conditional(*margin)
        found[members] = probability[p < alpha].sum()
    return found.reshape(margins[0].shape)


def count_range(
    probabilities: ArrayLike, groups: ArrayLike | None = None, *, confidence: float = 0.95
) -> tuple[int, int]:
    """How many of some events happen, but for a rare case at either end.

    Args:
        probabilities: of each event, shape (m,).
        groups: a whole number for each event, shape (m,): those of one group may depend on each
            other in any way, those of different groups are independent; None if all are.
        confidence: probability that the range holds the number, or a little more.

    Returns:
        (low, high): quantiles of the number, equally far from its ends. Events of one group are
        taken to happen together as far as their probabilities allow: of all ways to depend on each
        other that is the one in which their number varies most (it is the largest in convex order).
        So the range is exact for independent events, and for others rather too wide. Computed
        group after group; only tails below 1e-15 are cut off.

    Source:
        Shaked and Shanthikumar (2007), Stochastic Orders, theorem 3.A.24: of all sums of given
        marginals the comonotone one is the largest.
    """
    given = np.asarray(probabilities, np.float64)
    group = np.arange(given.size) if groups is None else np.asarray(groups, np.int64)
    order = np.lexsort((-given, group))
    starts = np.flatnonzero(np.diff(group[order])) + 1
    mass, least = np.ones(1), 0
    for falling in np.split(given[order], starts):
        # At least j of them happen with the j-th largest of their probabilities.
        at_least = np.concatenate([[1.0], falling, [0.0]])
        mass, more = _trimmed(np.convolve(mass, at_least[:-1] - at_least[1:]))
        least += more
    below = np.cumsum(mass / mass.sum())
    tail = (1 - confidence) / 2
    low = int(np.searchsorted(below, tail, side="left"))
    high = int(np.searchsorted(below, 1 - tail, side="left"))
    return least + low, least + min(high, mass.size - 1)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values: those below alpha hold together with probability 1 - alpha.

    Args:
        p: p-values of one family, shape (m,); they may depend on each other in any way.

    Returns:
        The adjusted ones, in the same order, each the largest of (m - i) p_(i) up to its rank.

    Source:
        Holm (1979), Scand. J. Stat. 6, 65-70. A test holds it against statsmodels'
        `multipletests`; for three lines the package need not be installed.
    """
    given = np.asarray(p, np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(given.size, 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _mirrored(
    k1: NDArray[np.int64], n1: NDArray[np.int64], k2: NDArray[np.int64], n2: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One of the quadruples that differ in nothing but what is called first, and success.

    So their p-values are the same to the last bit, and fewer are computed.
    """
    smaller, larger = np.where(n1 > n2, (k2, n2, k1, n1), (k1, n1, k2, n2)).reshape(2, 2, -1)
    (k1, n1), (k2, n2) = smaller, larger
    flipped = 2 * (k1 + k2) > n1 + n2
    k1, k2 = np.where(flipped, n1 - k1, k1), np.where(flipped, n2 - k2, k2)
    return np.where((n1 == n2) & (k1 > k2), (k2, n2, k1, n1), (k1, n1, k2, n2))


def _grouped(columns: NDArray[np.int64]) -> Iterator[tuple[tuple[int, ...], NDArray[np.intp]]]:
    """Each distinct column, and where it is."""
    distinct, place = np.unique(columns, axis=1, return_inverse=True)
    place = place.ravel()
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(1, distinct.shape[1]))
    for column, members in zip(distinct.T.tolist(), np.split(order, bounds), strict=True):
        yield tuple(column), members


def _conditional(
    n1: int, n2: int, successes: int
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """The least k1 that the margins allow; for it and all above, probability and Fisher's p."""
    first, last = max(0, successes - n2), min(n1, successes)
    k1 = np.arange(first, last + 1, dtype=np.float64)
    k2 = successes - k1
    # The hypergeometric distribution; what does not depend on k1 falls out in the division.
    log = -(gammaln(k1 + 1) + gammaln(n1 - k1 + 1) + gammaln(k2 + 1) + gammaln(n2 - k2 + 1))
    probability = np.exp(log - log.max())
    probability /= probability.sum()
    rising = np.sort(probability)
    upto = np.cumsum(rising)
    p = upto[np.searchsorted(rising, probability * TIE, side="right") - 1]
    return first, probability, np.where(p > 1 - 1e-12, 1.0, p)


def _trimmed(mass: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Without the negligible ends, and how many entries went in front."""
    kept = np.flatnonzero(mass > 1e-15)
    return mass[kept[0] : kept[-1] + 1], int(kept[0])
