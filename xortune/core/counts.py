"""Statistics of success counts: Wilson's interval, tests of two counts, Holm's correction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, ndtri

from xortune.core.formats import measured


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


def rate_of(k: int, n: int) -> str:
    """K / n in percent, in the decimals that its 95 % Wilson interval supports."""
    low, high = wilson(k, n)
    return measured(k / n, float(low), float(high))
