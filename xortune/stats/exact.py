"""Exact statistics: bounds of a success rate for one planned number of seeds, and two-sided tests.

What holds for one n that was chosen before looking; for looks in between there are anytime bounds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, betaincinv, gammaln, xlog1py, xlogy

from xortune.core.counts import mcnemar_greater
from xortune.core.errors import InputError

TIE = 1 + 1e-9
"""Probabilities that differ by less than this factor are equal but for rounding."""

Side = Literal["lower", "upper", "two-sided"]


def clopper_pearson(
    successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95, side: Side = "two-sided"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clopper and Pearson's exact bounds of a success probability.

    Whatever the probability is, it lies within the bounds with at least the given confidence. That
    holds for one n, fixed before the first seed is looked at.

    Args:
        successes: counts k, any shape.
        n: seeds trained, broadcast against `successes`; 0 gives (0, 1).
        confidence: in (0, 1), of the one bound or of both together.
        side: `lower` spends all the risk on the lower bound, and the upper is 1; `upper` the other
            way round; `two-sided` spends half of it on each.

    Returns:
        (low, high), float64, of the broadcast shape.

    Raises:
        InputError: counts that are none, a confidence outside (0, 1), another side.

    Source:
        Clopper and Pearson (1934), Biometrika 26, 404-413, with beta quantiles as in scipy's
        `binomtest(...).proportion_ci(method="exact")`, which takes one count at a time.
    """
    k, m = _counts(successes, n)
    if not 0 < confidence < 1:
        raise InputError(f"{confidence} is out of range", field="confidence", allowed="(0, 1)")
    if side not in ("lower", "upper", "two-sided"):
        raise InputError(f"{side!r}", field="side", allowed="lower, upper or two-sided")
    risk = (1 - confidence) / (2 if side == "two-sided" else 1)
    low, high = np.zeros(k.shape), np.ones(k.shape)
    if side != "upper":
        some = k > 0
        low[some] = betaincinv(k[some], m[some] - k[some] + 1, risk)
    if side != "lower":
        some = k < m
        # The mirrored lower bound: near 1 it keeps the digits that 1 - risk would lose.
        high[some] = 1 - betaincinv(m[some] - k[some], k[some] + 1, risk)
    return low, high


def mcnemar_two_sided(wins: ArrayLike, losses: ArrayLike) -> NDArray[np.float64]:
    """Exact McNemar test of "A and B succeed equally often" on shared seeds, two-sided.

    Args:
        wins: seeds that A solved and B did not, any shape.
        losses: seeds that B solved and A did not, broadcast against `wins`.

    Returns:
        The p-values: twice the smaller tail of Binomial(wins + losses, 1/2), at most 1; 1 where no
        seed tells them apart.

    Raises:
        InputError: counts that are none.

    Source:
        McNemar (1947), Psychometrika 12, 153-157, with the exact binomial tail, as in statsmodels'
        `mcnemar(exact=True)`, which takes one table at a time.
    """
    w, m = np.broadcast_arrays(np.asarray(wins, float), np.asarray(losses, float))
    _counts(w, w + m)
    _counts(m, w + m)
    return np.minimum(2 * mcnemar_greater(np.maximum(w, m), np.minimum(w, m)), 1.0)


def boschloo(k1: int, n1: int, k2: int, n2: int) -> float:
    """Boschloo's exact test of "both samples have the same success probability", two-sided.

    Unconditional: of all tables of these sizes, those count as extreme that Fisher's one-sided test
    finds at least as extreme as the one seen, and the p-value is their largest probability under
    any common success probability. Each side is tested, and the smaller p-value doubled. More
    powerful than Fisher's test, whatever the counts, and as exact.

    Args:
        k1: successes of the first sample, of other seeds than the second's.
        n1: its size.
        k2: successes of the second sample.
        n2: its size.

    Raises:
        InputError: counts that are none.

    Source:
        Boschloo (1970), Statistica Neerlandica 24, 1-35. As scipy's `boschloo_exact`, against which
        a test holds it; written out because that takes 18 s for two samples of 1,000, and this a
        fraction of one.
    """
    _counts([k1, k2], [n1, n2])
    if not n1 or not n2:
        return 1.0
    p = min(_boschloo_less(k1, n1, k2, n2), _boschloo_less(k2, n2, k1, n1))
    return min(1.0, 2 * p)


def fisher_region(
    n1: int, n2: int, level: float, among: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Where Fisher's one-sided test says "the first sample succeeds less often" at this level.

    Args:
        n1: size of the first sample.
        n2: size of the second sample.
        level: p-values up to this one count.
        among: the k1 that matter; all from 0 to n1 if not given.

    Returns:
        int64, of their shape: for each k1 the least k2 that is extreme enough; n2 + 1 where none
        is. It never decreases with k1.
    """
    k1 = np.arange(n1 + 1) if among is None else among
    low, high = np.zeros(k1.shape, np.int64), np.full(k1.shape, n2 + 1)
    while (low < high).any():  # p falls with k2: halve what is left, for all k1 at once
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
    # The probability of the region is a polynomial in the rate, whose peaks are as wide as the
    # rate is uncertain after n1 + n2 seeds: even steps of the arcsine see them all.
    angles = np.linspace(0, np.pi / 2, 1025)[1:-1]
    width = angles[1] - angles[0]
    best = 0.0
    for _ in range(4):
        sizes = _size(least, n1, n2, np.sin(angles) ** 2)
        best = max(best, float(sizes.max()))
        peak = angles[int(sizes.argmax())]
        angles = np.clip(peak + width * np.linspace(-1, 1, 33), 0, np.pi / 2)
        width /= 16
    return min(best, 1.0)


def _size(
    least: NDArray[np.int64], n1: int, n2: int, rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The probability of {k2 >= least[k1]} for each common rate."""
    k1 = np.flatnonzero(least <= n2)
    if not k1.size:
        return np.zeros(rates.shape)
    p = rates[:, None]
    mass = np.exp(
        gammaln(n1 + 1)
        - gammaln(k1 + 1)
        - gammaln(n1 - k1 + 1)
        + xlogy(k1, p)
        + xlog1py(n1 - k1, -p)
    )
    return np.asarray((mass * bdtrc(least[k1] - 1, n2, p)).sum(axis=1))


def _counts(successes: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k, m = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    wrong = ~((k >= 0) & (k <= m) & (k == np.floor(k)) & (m == np.floor(m)))
    if wrong.any():
        raise InputError(
            f"{k[wrong].flat[0]:g} of {m[wrong].flat[0]:g}",
            field="successes",
            allowed="whole numbers, 0 to n",
        )
    return k, m
