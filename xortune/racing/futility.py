"""Whether more seeds of a configuration are hardly worth their cost, without a proof.

For the plug-ins of Optuna and Ray Tune, whose trials cannot wait; a search has `racing.grants`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError

FUTILITY = 0.0005
"""The largest threshold that cost less than a quarter of a percentage point of the answer's rate in
each kind of simulated study: see benchmarks/README.md, Futility."""

NODES = 400
"""Of the quadrature: an expected gain is right to 1e-4 up to some 10,000 seeds."""


def checked_futility(futility: float | None) -> float | None:
    """The setting, as it is; outside of (0, 1) it is refused."""
    if futility is not None and not 0 < futility < 1:
        allowed = "a difference of rates in (0, 1), or None: stop only what is proven worse"
        raise InputError(f"{futility!r}", field="futility", allowed=allowed)
    return futility


def is_futile(
    successes: int, n: int, others: Iterable[tuple[int, int]], least: float | None
) -> bool:
    """Whether a configuration is expected to gain less than `least` over the best of the others.

    A configuration that leads is never futile, or two equal ones would stop each other.
    """
    if least is None:
        return False
    found = best_counts(others)
    if not found or _mean(successes, n) >= _mean(*found[0]):
        return False
    return expected_gain(successes, n, *found[0]) < least


def best_counts(counts: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The counts from which the highest rate is expected; of those the most seeds; () of none."""
    best = max(counts, key=lambda one: (_mean(*one), one[1]), default=None)
    return () if best is None else (best,)


def _mean(successes: int, n: int) -> float:
    return (successes + 1) / (n + 2)


@lru_cache(maxsize=4096)
def expected_gain(successes: int, n: int, best_successes: int, best_n: int) -> float:
    """E[max(P - Q, 0)], where P and Q are a configuration's rate and that of the best.

    Both are independent, and beta distributed as after uniform priors. As an integral it is that of
    Pr(Q < x) Pr(P > x) over x from 0 to 1.
    """
    from scipy.special import betainc, betaincc

    nodes, weights = _quadrature()
    below = betainc(best_successes + 1, best_n - best_successes + 1, nodes)
    above = betaincc(successes + 1, n - successes + 1, nodes)
    return float(weights @ (below * above))


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2
