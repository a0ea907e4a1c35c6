"""Exact statistics: bounds of a success rate for one planned number of seeds, and two-sided tests.

What holds for one n that was chosen before looking; for looks in between there are anytime bounds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv

from xortune.errors import InputError

__all__ = ["Side", "clopper_pearson", "mcnemar_two_sided"]

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
    more, fewer = np.maximum(w, m), np.minimum(w, m)
    tail = betainc(np.maximum(more, 1.0), fewer + 1.0, 0.5)  # P(X >= more)
    return np.where(more == 0, 1.0, np.minimum(2 * tail, 1.0))


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
