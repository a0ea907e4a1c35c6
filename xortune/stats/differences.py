"""How far two success rates are apart, with an interval: on shared seeds and on others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.core.counts import wilson

Floats = NDArray[np.float64]


def paired_difference(
    both: ArrayLike, wins: ArrayLike, losses: ArrayLike, neither: ArrayLike
) -> tuple[Floats, Floats]:
    """95 % interval of the rate of A minus that of B, both trained on the same seeds.

    Args:
        both: seeds that both solve, any shape; the others are broadcast against it.
        wins: seeds that A solves and B does not.
        losses: seeds that B solves and A does not.
        neither: seeds that neither solves; with the other three at least one.

    Returns:
        (low, high), float64, of the broadcast shape, each in [-1, 1].

    Source:
        Newcombe (1998), Statistics in Medicine 17, 2635-2650, method 10 ("square and add"): the
        Wilson intervals of both rates, put together by their correlation. It is what Fagerland,
        Lydersen and Laake (2014), Statistics in Medicine 33, 2850-2875, recommend, and, unlike a
        likelihood, in closed form. A test holds it against published examples, and its coverage
        against an enumeration.
    """
    a, b, c, d = np.broadcast_arrays(
        *(np.asarray(count, float) for count in (both, wins, losses, neither))
    )
    n = a + b + c + d
    first, second = (a + b) / n, (a + c) / n
    product = (a + b) * (c + d) * (a + c) * (b + d)
    agreement = a * d - b * c
    # Positive correlation is taken with a correction for continuity: it makes intervals narrower.
    corrected = np.where(agreement > 0, np.maximum(agreement - n / 2, 0.0), agreement)
    phi = np.divide(corrected, np.sqrt(product), out=np.zeros(n.shape), where=product > 0)
    return _square_and_add((first, n), (second, n), phi)


def unpaired_difference(
    k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike
) -> tuple[Floats, Floats]:
    """95 % interval of the rate of A minus that of B, each trained on seeds of its own.

    Args:
        k1: seeds that A solves, any shape; the others are broadcast against it.
        n1: its seeds, at least 1.
        k2: seeds that B solves.
        n2: its seeds, at least 1.

    Returns:
        (low, high), float64, of the broadcast shape, each in [-1, 1].

    Source:
        Newcombe (1998), Statistics in Medicine 17, 873-890, method 10: the hybrid of the two Wilson
        intervals. As statsmodels' `confint_proportions_2indep(method="newcomb")`, against which a
        test holds it; written out because that takes two seconds to import, and shares the last
        step with the interval on shared seeds.
    """
    k1, n1, k2, n2 = np.broadcast_arrays(*(np.asarray(c, float) for c in (k1, n1, k2, n2)))
    return _square_and_add((k1 / n1, n1), (k2 / n2, n2), np.zeros(n1.shape))


def _square_and_add(
    one: tuple[Floats, Floats], other: tuple[Floats, Floats], phi: Floats
) -> tuple[Floats, Floats]:
    """From both rates, each with its number of seeds, and their correlation."""
    (first, n1), (second, n2) = one, other
    low1, high1 = wilson(first * n1, n1)
    low2, high2 = wilson(second * n2, n2)
    difference = first - second
    below = _length(first - low1, high2 - second, phi)
    above = _length(high1 - first, second - low2, phi)
    return np.maximum(difference - below, -1.0), np.minimum(difference + above, 1.0)


def _length(one: Floats, other: Floats, phi: Floats) -> Floats:
    square = one**2 - 2 * phi * one * other + other**2
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))  # rounding may go below 0
