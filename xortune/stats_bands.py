"""Bands that hold for a whole distribution function at once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.errors import InputError

__all__ = ["dkw_band", "dkw_half_width"]


def dkw_half_width(n: int, *, confidence: float = 0.95) -> float:
    """How far an observed distribution function may lie from the true one, at every place.

    Args:
        n: observations, at least 1, a number chosen beforehand.
        confidence: in (0, 1).

    Returns:
        sqrt(ln(2 / alpha) / (2 n)), alpha = 1 - confidence. With at least the given probability
        the largest distance of the two functions is at most that, whatever the true one is: with
        jumps, and with a part that is never reached.

    Raises:
        InputError: an argument out of range.

    Source:
        Dvoretzky, Kiefer and Wolfowitz (1956), Ann. Math. Stat. 27, 642-669, with the constant of
        Massart (1990), Ann. Probab. 18, 1269-1283, corollary 1, than which none is smaller.
    """
    if n < 1:
        raise InputError(f"{n}", field="n", allowed="1 or more")
    if not 0 < confidence < 1:
        raise InputError(f"{confidence} is out of range", field="confidence", allowed="(0, 1)")
    return math.sqrt(math.log(2 / (1 - confidence)) / (2 * n))


def dkw_band(
    shares: ArrayLike, n: int, *, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The band around an observed distribution function, which holds the true one everywhere.

    Args:
        shares: of n observations, in [0, 1], any shape.
        n: observations.
        confidence: the probability, at least, that the whole function lies within the band.

    Returns:
        (low, high), of the same shape, within [0, 1].

    Raises:
        InputError: as `dkw_half_width`.
    """
    seen, half = np.asarray(shares, np.float64), dkw_half_width(n, confidence=confidence)
    return np.maximum(seen - half, 0.0), np.minimum(seen + half, 1.0)
