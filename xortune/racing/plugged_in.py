"""What the plug-ins for Optuna and Ray Tune share: the counts that programs report, and futility.

Futility says that more seeds of a configuration are hardly worth their cost, without a proof. It is
for the plug-ins, whose trials cannot be paused; a search has `racing.grants`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache, lru_cache
from numbers import Real

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc

from xortune.core.errors import InputError, check_number
from xortune.core.outcome import SeedCount
from xortune.stats.proportions import expected_rate


def checked_count(successes: object, n: object, before: SeedCount, *, place: str) -> SeedCount:
    """The cumulative counts that a user's program reports.

    Raises:
        InputError: they are not whole numbers, or are less than the counts before.
    """
    counts = []
    for field, value in (("successes", successes), ("n", n)):
        whole = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not whole or int(value) != value or value < 0:  # type: ignore[call-overload,operator]
            raise InputError(
                f"{value!r} is not a count",
                field=field,
                place=f"{place}: {field}",
                allowed="whole numbers, 0 or more",
            )
        counts.append(int(value))  # type: ignore[call-overload]
    now = SeedCount(*counts)
    if now.k > now.n:
        raise InputError(
            f"{now.k} successes of {now.n} seeds",
            field="successes",
            place=place,
            allowed="at most as many successes as seeds",
            fix="swap the two numbers if their order is wrong",
        )
    if not 0 <= now.k - before.k <= now.n - before.n:
        raise InputError(
            f"{now.k} of {now.n} seeds after {before.k} of {before.n}",
            field="n",
            place=place,
            allowed="cumulative counts: all seeds so far, those reported before included",
            fix="add each step's counts to those before",
        )
    return now


FUTILITY = 0.0005
"""The default threshold, as a difference of success rates: the largest one that lowers the rate of
the final answer by less than 0.25 percentage points in each kind of simulated study; see
benchmarks/README.md, Futility."""

NODES = 400
"""Nodes of the quadrature: expected gains are accurate to 1e-4 up to some 10,000 seeds."""


def checked_futility(futility: float | None) -> float | None:
    """The setting; outside (0, 1) it is refused."""
    if futility is not None:
        allowed = "a difference of rates in (0, 1), or None: stop only what is proven worse"
        check_number("futility", futility, lambda share: 0 < share < 1, allowed)
    return futility


def is_futile(count: SeedCount, best: SeedCount | None, least: float | None) -> bool:
    """Whether a configuration is expected to gain less than `least` over the best of the others.

    The leader is never futile: otherwise two equal configurations would stop each other.
    """
    if least is None or best is None:
        return False
    if expected_rate(count.k, count.n) >= expected_rate(best.k, best.n):
        return False
    return expected_gain(count.k, count.n, best.k, best.n) < least


def best_count(counts: Iterable[SeedCount]) -> SeedCount | None:
    """The one with the highest expected rate, and of those with the most seeds; None of none."""
    return max(counts, key=lambda one: (expected_rate(one.k, one.n), one.n), default=None)


@lru_cache(maxsize=4096)
def expected_gain(successes: int, n: int, best_successes: int, best_n: int) -> float:
    """E[max(P - Q, 0)] for the rates P of a configuration and Q of the best one.

    P and Q are independent, with the beta distributions that uniform priors lead to. The mean is
    the integral of Pr(Q < x) Pr(P > x) over x from 0 to 1.
    """
    nodes, weights = _quadrature()
    below = betainc(best_successes + 1, best_n - best_successes + 1, nodes)
    above = betaincc(successes + 1, n - successes + 1, nodes)
    return float(weights @ (below * above))


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2
